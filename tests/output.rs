//! What the program prints: help that fits a terminal, documents for other programs, and nothing that a stranger could steer
//! a terminal with.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use support::free_port;
use support::node::{Ended, Node, finish, program, tcp_client, tcp_server};
use support::skills::{self, meet};
use wend_commands::builtin;
use wend_commands::describe::{Field, Kind};
use wend_commands::{Call, Reply};

/// How long a command may take that asks no other node.
const SOON: Duration = Duration::from_secs(20);
/// The terminal that everybody has.
const COLUMNS: usize = 80;
const LINES: usize = 24;

fn wend(arguments: &[&str]) -> Ended {
    let mut command = program();
    command.env_remove("COLUMNS").args(arguments);
    finish(command, SOON)
}

/// What succeeded and said nothing but its result.
#[track_caller]
fn stdout(ended: Ended) -> String {
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    ended.stdout
}

/// The words that each visible subcommand is called with, from the lists that help prints.
fn subcommands() -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("-h");
        let help = stdout(wend(&arguments));
        let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        // A line that goes on has no name in its column.
        let names = list.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            open.push([&words[..], &[name.to_owned()]].concat());
        }
        all.push(words);
    }
    all
}

#[test]
fn help_fits_a_terminal_and_ends_with_an_example_that_the_program_takes() {
    let subcommands = subcommands();
    for expected in ["up", "search", "catalog sync", "model install", "completions"] {
        assert!(subcommands.iter().any(|words| words.join(" ") == expected), "{expected}: {subcommands:?}");
    }
    for words in &subcommands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let help = |option| stdout(wend(&[&words[..], &[option]].concat()));
        let short = help("-h");
        assert!(short.lines().count() <= LINES, "{} lines: {short}", short.lines().count());
        assert!(short.lines().all(|line| line.chars().count() <= COLUMNS), "{short}");
        if !words.is_empty() {
            for help in [short, help("--help")] {
                let example = help.lines().last().and_then(|line| line.strip_prefix("Example: wend "));
                takes(example.unwrap_or_else(|| panic!("{words:?} has no example: {help}")));
            }
        }
    }
}

/// The program understands this command line, of which it only shows the help.
#[track_caller]
fn takes(line: &str) {
    let line = line.split(['>', '#']).next().unwrap_or_default();
    // Words in quotes are one argument; what is in them does not matter here.
    let line: Vec<&str> =
        line.split('"').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "quoted" }).collect();
    let line = line.concat();
    let mut arguments: Vec<&str> = line.split_whitespace().collect();
    arguments.push("-h");
    stdout(wend(&arguments));
}

#[test]
fn every_command_line_in_the_readme_is_one_the_program_takes() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let lines: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("wend ")).collect();
    assert!(lines.len() >= 10, "{lines:?}");
    lines.into_iter().for_each(takes);
}

#[test]
fn completions_are_scripts_that_their_shell_can_read() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = stdout(wend(&["completions", shell]));
        assert!(script.contains("catalog") && script.lines().count() > 100, "{script}");
        let mut command = Command::new(shell);
        let child = command.arg(check).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            assert_ne!(shell, "bash", "it is there wherever tests run");
            eprintln!("not checked: {shell} is not installed");
            continue;
        };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_a_clean_end() {
    let mut node = skills::by_words(Node::new(""));
    node.run();
    skills::publish(&node, "many", 50);
    let commands: [&[&str]; 7] = [
        &["catalog"],
        &["catalog", "--json"],
        &["search", "work"],
        &["status"],
        &["--help"],
        &["completions", "bash"],
        &["exec", "node/info"],
    ];
    for arguments in commands {
        let mut command = node.wend();
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("error") && !said.contains("panicked"), "{arguments:?}: {said}");
    }
    let mut full = node.wend();
    full.arg("catalog").stdout(File::options().write(true).open("/dev/full").unwrap()).stderr(Stdio::piped());
    let output = full.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a result that was lost is not a clean end: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: cannot write the result"), "{output:?}");
}

/// A document has the fields that docs/commands.md lists, all but optional ones, and no others.
#[track_caller]
fn has_fields(value: &Value, fields: &[Field], place: &str) {
    let object = value.as_object().unwrap_or_else(|| panic!("{place} is no object: {value}"));
    for key in object.keys() {
        assert!(fields.iter().any(|field| field.name == key), "{place}.{key} is not documented: {value}");
    }
    for field in fields {
        let place = format!("{place}.{}", field.name);
        match object.get(field.name).filter(|value| !value.is_null()) {
            None => assert!(field.optional, "{place} is missing: {value}"),
            Some(value) => has_kind(value, &field.kind, &place),
        }
    }
}

fn has_kind(value: &Value, kind: &Kind, place: &str) {
    let fits = match kind {
        Kind::Text => value.is_string(),
        Kind::Flag => value.is_boolean(),
        Kind::Whole(max) => value.as_u64().is_some_and(|number| number <= *max),
        Kind::Number => value.is_number(),
        Kind::Bytes => value.as_str().is_some_and(|text| hex::decode(text).is_ok()),
        Kind::Octets(len) => value.as_str().and_then(|text| hex::decode(text).ok()).is_some_and(|it| it.len() == *len),
        Kind::Time => value.is_u64() || value.is_string(),
        Kind::List(of) => {
            value.as_array().into_iter().flatten().for_each(|item| has_kind(item, of, &format!("{place}[]")));
            value.is_array()
        }
        Kind::Record(fields) => {
            has_fields(value, fields, place);
            true
        }
        Kind::Any => true,
    };
    assert!(fits, "{place} should be {kind}: {value}");
}

/// The documented fields of a command's reply.
fn reply(command: &str) -> &'static [Field] {
    let known = builtin::describe().into_iter().find(|known| known.name.as_str() == command);
    known.unwrap_or_else(|| panic!("there is no {command}")).reply
}

#[test]
fn every_json_document_is_one_and_has_the_documented_fields() {
    let port = free_port();
    let mut far = skills::node("far", false, 180, &[tcp_server(port)]);
    let mut near = skills::node("near", false, 180, &[tcp_client(port)]);
    far.run();
    near.run();
    meet(&near, &far);
    let published = skills::publish(&near, "made-up", 3);
    has_fields(&published, reply("genome/publish"), "publish");
    let cases: [(&[&str], &str); 7] = [
        (&["status"], "node/status"),
        (&["paths"], "node/paths"),
        (&["announce"], "node/announce"),
        (&["catalog"], "genome/catalog"),
        (&["search", "made-up work"], "genome/search"),
        (&["show", "made-up-1"], "genome/show"),
        (&["catalog", "sync", "far"], "genome/catalog-sync"),
    ];
    for (arguments, command) in cases {
        has_fields(&near.json(arguments), reply(command), command);
    }
    has_fields(&near.json(&["exec", "node/info"]), reply("node/info"), "exec node/info");
    has_fields(&near.json(&["exec", "--node", "far", "node/info"]), reply("node/info"), "exec on far");
    let pings = near.json(&["ping", "far", "--count", "2"]);
    assert_eq!(pings.as_array().map(Vec::len), Some(2), "{pings}");
    pings.as_array().unwrap().iter().for_each(|ping| has_fields(ping, reply("mesh/ping"), "ping"));

    let id = near.json(&["id"]);
    assert_eq!(id["identity"], near.identity().to_string());
    assert_eq!(id["destination"], near.destination().to_string());
    assert_eq!(id["home"], near.home().dir().display().to_string());
    if let Some(model) = std::env::var_os("WEND_TEST_MODEL") {
        let found = near.json(&["model", "--model", &model.to_string_lossy()]);
        assert_eq!((&found["name"], &found["folder"]), (&json!("all-MiniLM-L6-v2"), &json!(model.to_string_lossy())));
        assert!(found["space"].is_string() && found["size_bytes"].as_u64() > Some(1 << 20), "{found}");
    }
    for arguments in [&["paths", "nobody", "--json"][..], &["catalog", "list", "--kind", "persona", "--json"]] {
        let none = near.command(arguments);
        assert_eq!(none.code, Some(1), "as without --json: {none:?}");
        serde_json::from_str::<Value>(&none.stdout).expect("a document all the same");
    }
    let one = near.command(&["ping", "far"]).stdout;
    assert!(one.contains(" over 1 hop") && !one.contains("hops"), "{one}");
}

/// What a stranger might call itself: colours, a title for the window, the same begun with a single character, an erased
/// line, and letters that run backwards.
const STRANGE: &str = "a\u{1b}[31mb\u{1b}]0;title\u{7}c\u{9b}2Jd\r\u{8}e\u{7f}f\u{202e}g";

/// Something in the place of a node, which gives this answer to one call.
fn answer_once(home: &Path, outcome: Result<Value, wend_commands::Failure>) -> thread::JoinHandle<()> {
    let path = home.join("control.sock");
    drop(fs::remove_file(&path));
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::try_from(u32::from_be_bytes([head[0], head[1], head[2], head[3]])).unwrap()];
        stream.read_exact(&mut body).unwrap();
        let id = Call::decode(&body).unwrap().id;
        let outcome = outcome.map(|value| {
            let value: wend_commands::Value = serde_json::from_value(value).unwrap();
            value.to_msgpack().into()
        });
        let reply = Reply { id, outcome }.encode();
        stream.write_all(&u32::try_from(reply.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&[1]).unwrap();
        stream.write_all(&reply).unwrap();
    })
}

/// Neither output can steer a terminal.
#[track_caller]
fn is_harmless(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let steering = text.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202a}'..='\u{202e}'));
        assert_eq!(steering, None, "{ended:?}");
    }
}

#[test]
fn what_strangers_call_themselves_steers_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let (hash, entry) = ("ab".repeat(16), "cd".repeat(16));
    let path = json!({
        "destination": hash, "identity": hash, "name": STRANGE, "hops": 1, "interface": STRANGE, "age_s": 1, "expires_in_s": 1
    });
    let ping = json!({"destination": hash, "name": STRANGE, "hops": 1, "setup_ms": 1, "round_trip_ms": 1});
    let hit = json!({
        "entry": entry, "name": STRANGE, "kind": STRANGE, "publisher": hash, "score": 0.5, "description": STRANGE
    });
    let listed = json!({
        "entry": entry, "name": STRANGE, "kind": STRANGE, "publisher": hash, "own": false, "manifest": true,
        "expires": 2_000_000_000
    });
    let shown = json!({
        "entry": entry, "name": STRANGE, "kind": STRANGE, "publisher": hash, "own": false, "sequence": 1,
        "expires": 2_000_000_000, "size_bytes": 1, "licence_class": STRANGE, "card_verified": true,
        "manifest_hash": "ef".repeat(32), "manifest_verified": true, "manifest_bytes": 9, "version": STRANGE,
        "description": STRANGE, "tags": [STRANGE], "languages": [STRANGE], "licence": STRANGE, "base_model": STRANGE,
        "described_only": false, "files": [{"path": STRANGE, "size_bytes": 1, "sha256": "00"}],
        "adapter": {STRANGE: STRANGE}
    });
    let synced = json!({
        "destination": hash, "name": STRANGE, "received": 1, "sent": 1, "rounds": 1, "card_bytes": 1, "key_bytes": 1,
        "sync_bytes": 1, "elapsed_ms": 1, "equal": true, "catalog_count": 1
    });
    let cases: [(&[&str], Value); 8] = [
        (&["paths"], json!({"paths": [path]})),
        (&["ping", "x"], ping),
        (
            &["search", "x"],
            json!({"hits": [hit], "ranked_by": STRANGE, "searched": 1, "nodes_asked": 1, "nodes_answered": 1}),
        ),
        (&["catalog"], json!({"count": 1, "entries": [listed]})),
        (&["show", "x"], shown),
        (&["catalog", "sync", "x"], synced),
        (&["announce"], json!({"destination": hash, "interfaces": [STRANGE]})),
        (&["exec", "node/info"], json!({STRANGE: STRANGE, "list": [STRANGE, {STRANGE: [STRANGE]}]})),
    ];
    for (arguments, answer) in cases {
        for json in [false, true] {
            let node = answer_once(folder.path(), Ok(answer.clone()));
            let mut all = vec!["--home", home];
            all.extend(arguments);
            all.extend(json.then_some("--json"));
            let ended = wend(&all);
            node.join().expect("it was asked");
            assert_eq!(ended.code, Some(0), "{ended:?}");
            is_harmless(&ended);
            if json {
                let document: Value = serde_json::from_str(&ended.stdout).expect("still one document");
                let name = STRANGE.to_owned();
                assert!(document.to_string().contains(&json!(name).to_string()), "and a true one: {document}");
            } else {
                assert!(ended.stdout.contains("[31mb"), "what can be shown is: {ended:?}");
            }
        }
    }
    let failure = wend_commands::Failure::unavailable(STRANGE);
    let node = answer_once(folder.path(), Err(failure));
    let ended = wend(&["--home", home, "status"]);
    node.join().expect("it was asked");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    is_harmless(&ended);
}
