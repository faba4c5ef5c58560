//! The mistakes a person can make, each with what the program says to it: one sentence that names the thing and says what to
//! do, on standard error, and the exit code of docs/architecture.md, section 10.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use rustix::process::{Pid, Signal, kill_process};
use support::free_port;
use support::node::{Ended, Node, finish, program, tcp_client, tcp_server};
use support::skills::{self, meet};
use tempfile::TempDir;
use wend_mesh::node::node_name;
use wend_packet::identity::Identity;

const NEGATIVE: i32 = 1;
const USAGE: i32 = 2;
const NO_NODE: i32 = 3;
const EXPIRED: i32 = 4;

/// How long a command may take that reaches nobody.
const SOON: Duration = Duration::from_secs(20);
/// Most time that may pass between the deadline a person gave and the end.
const SLACK: Duration = Duration::from_secs(4);

/// Words that only programmers know, and that tell of a message nobody wrote.
const JARGON: [&str; 12] = [
    "panicked",
    "backtrace",
    "Os {",
    "Custom {",
    "Some(",
    "None,",
    "Err(",
    "Error {",
    "marker",
    "untagged",
    "variant of",
    "u32",
];

/// The program said what is wrong and what to do, in words, and ended with this code.
#[track_caller]
fn refused(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "results only go there: {ended:?}");
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    said(ended, words);
}

/// Its standard error holds all these words and nothing that is not for people.
#[track_caller]
fn said(ended: &Ended, words: &[&str]) {
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in: {}", ended.stderr);
    }
    for word in JARGON {
        assert!(!ended.stderr.contains(word), "{word:?} in: {}", ended.stderr);
    }
    assert!(!ended.stderr.chars().any(|c| c.is_control() && c != '\n'), "{ended:?}");
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("wend-test-").tempdir().expect("a temporary folder")
}

/// Runs the program with this home.
fn wend(home: &Path, arguments: &[&str]) -> Ended {
    let mut command = program();
    command.arg("--home").arg(home).args(arguments);
    finish(command, SOON)
}

/// Runs it where there is no home and never was one.
fn homeless(arguments: &[&str]) -> Ended {
    wend(&folder().path().join("home"), arguments)
}

/// Runs `wend up` with this config; it must not come up.
fn up_with(config: &str) -> (Ended, String) {
    let home = folder();
    let path = home.path().join("config.toml");
    fs::write(&path, config).unwrap();
    (wend(home.path(), &["up"]), path.display().to_string())
}

/// A node without interfaces that goes by words alone.
fn node() -> Node {
    let mut node = skills::by_words(Node::new(""));
    node.run();
    node
}

fn model() -> Option<PathBuf> {
    let model = env::var_os("WEND_TEST_MODEL").map(PathBuf::from);
    if model.is_none() {
        eprintln!("skipped: WEND_TEST_MODEL names no model; tests/run prepares one");
    }
    model
}

#[test]
fn a_subcommand_that_does_not_exist_is_told_with_the_nearest_one() {
    refused(&homeless(&["serach", "x"]), USAGE, &["'serach'", "'search'"]);
    refused(&homeless(&["frobnicate"]), USAGE, &["'frobnicate'", "--help"]);
    let ended = finish(program(), SOON);
    assert_eq!(ended.code, Some(USAGE), "nothing was asked for: {ended:?}");
    said(&ended, &["Usage: wend", "search"]);
    assert!(!ended.stderr.contains("embed-child"), "what is not for people is not shown: {ended:?}");
}

#[test]
fn without_a_running_node_its_home_is_named_and_how_to_start_one() {
    let home = folder();
    let shown = home.path().display().to_string();
    let commands: [&[&str]; 10] = [
        &["status"],
        &["paths"],
        &["announce"],
        &["ping", "x"],
        &["exec", "node/info"],
        &["publish", "/x"],
        &["search", "x"],
        &["show", "x"],
        &["catalog"],
        &["catalog", "sync", "x"],
    ];
    for command in commands {
        refused(&wend(home.path(), command), NO_NODE, &["no node is running", &shown, "`wend up`", "--home"]);
    }
    refused(&wend(home.path(), &["id"]), NO_NODE, &["no node has been set up", &shown, "`wend up`"]);
}

#[test]
fn the_socket_that_a_killed_node_left_behind_is_no_running_node_and_no_obstacle() {
    let mut node = node();
    node.kill();
    assert!(node.home().control_socket().exists(), "it had no chance to remove it");
    refused(&node.command(&["status"]), NO_NODE, &["no node is running", "`wend up`"]);
    node.run();
    assert_eq!(node.command(&["status"]).code, Some(0));
}

#[test]
fn a_file_in_place_of_the_home_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for home in [file.clone(), file.join("below")] {
        for command in ["up", "status", "id"] {
            let shown = file.display().to_string();
            refused(&wend(&home, &[command]), USAGE, &["it is not a folder", &shown, "--home DIR"]);
        }
    }
}

#[test]
fn a_home_that_cannot_be_made_is_named() {
    refused(&wend(Path::new("/proc/x"), &["up"]), USAGE, &["/proc/x", "--home DIR"]);
}

#[test]
fn a_home_with_too_long_a_path_is_refused_by_whoever_would_use_it() {
    let home = folder().path().join("x".repeat(110));
    for command in ["up", "status", "id"] {
        refused(&wend(&home, &[command]), USAGE, &["too long", "shorter", "--home DIR"]);
    }
}

#[test]
fn a_damaged_identity_is_named_and_stays_as_it_is() {
    let home = folder();
    let file = home.path().join("identity");
    fs::write(&file, [7; 63]).unwrap();
    for command in ["up", "id"] {
        let shown = file.display().to_string();
        refused(&wend(home.path(), &[command]), USAGE, &[&shown, "64 bytes, found 63", "backup"]);
    }
    assert_eq!(fs::read(&file).unwrap(), [7; 63]);
}

#[test]
fn a_second_node_on_one_home_is_refused_while_the_first_goes_on() {
    let first = node();
    refused(&first.command(&["up"]), USAGE, &["running already", "--home DIR"]);
    assert_eq!(first.command(&["status"]).code, Some(0));
}

#[test]
fn a_port_that_another_program_listens_on_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let words = [&*address.to_string(), "in use by another program", "another port"];
    refused(&homeless(&["up", "--listen", words[0]]), USAGE, &words);
    let (ended, _) = up_with(&tcp_server(address.port()));
    refused(&ended, USAGE, &words);
}

#[test]
fn arguments_of_up_that_make_no_sense_are_named_with_how_to_write_them() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--listen", "here"], &["--listen here", "192.0.2.7:4965"]),
        (&["--listen", "127.0.0.1:99999"], &["127.0.0.1:99999", "192.0.2.7:4965"]),
        (&["--connect", "192.0.2.7"], &["--connect 192.0.2.7", "192.0.2.7:4965"]),
        (&["--serial", "/dev/x@fast"], &["`fast`", "--serial /dev/ttyUSB0@9600"]),
        (&["--name", "twenty bytes are the most"], &["25 bytes", "1 to 20 bytes"]),
        (&["--name", "\u{1b}[31mred"], &["control characters"]),
        (&["--log", "a=b=c"], &["--log a=b=c", "error, warn, info, debug or trace"]),
    ];
    for (arguments, words) in cases {
        refused(&homeless(&[&["up"], arguments].concat()), USAGE, words);
    }
}

#[test]
fn every_mistake_in_the_config_is_named_with_file_line_and_what_to_write() {
    let interface = |rest: &str| format!("[[interface]]\nname = \"x\"\n{rest}\n");
    let server = |rest: &str| interface(&format!("type = \"tcp-server\"\nlisten = \"127.0.0.1:1\"\n{rest}"));
    let cases: [(String, usize, &[&str]); 20] = [
        ("[node]\ntranport = true".into(), 2, &["`tranport`", "did you mean `transport`?"]),
        ("\n[nod]".into(), 2, &["`nod`", "did you mean `node`?"]),
        ("[node]\ntransport = \"yes\"".into(), 2, &["`transport`", "true or false", "transport = false"]),
        ("[node]\nname = 3".into(), 2, &["`name`", "text in quotes", "name = \"workshop\""]),
        ("[node]\nname = \"\\u001b[31m\"".into(), 2, &["control characters", "1 to 20 bytes"]),
        ("[node\n".into(), 1, &["`]`", "default config"]),
        (interface("type = \"tcp-sever\""), 3, &["`tcp-sever`", "did you mean `tcp-server`?"]),
        (interface("type = \"tcp-server\""), 2, &["lacks the key `listen`", "add a line"]),
        (interface("type = \"tcp-server\"\nlisten = \"127.0.0.1\""), 4, &["\"127.0.0.1\"", "192.0.2.7:4965"]),
        (interface("type = \"serial\"\nport = \"/dev/x\"\nspeed = \"fast\""), 5, &["`speed`", "speed = 9600"]),
        (server("announce_cap = 0"), 5, &["`announce_cap` is 0", "in percent, above 0 and at most 100"]),
        (server("ic_burst_freq = -1.0"), 5, &["`ic_burst_freq` is -1", "in a second"]),
        (server("announce_rate_target = \"1h\""), 5, &["`announce_rate_target`", "whole number"]),
        (server("mode = \"gatway\""), 5, &["`gatway`", "did you mean `gateway`?"]),
        ("[policy]\n\"node/info\" = \"trustd\"".into(), 2, &["`trustd`", "did you mean `trusted`?"]),
        ("[policy]\n\"node/info\" = 3".into(), 2, &["`node/info`", "a level", "\"known\""]),
        ("[policy]\n\"node/inof\" = \"known\"".into(), 2, &["`node/inof`", "did you mean `node/info`?"]),
        ("[policy]\n\"genome/publish\" = \"own\"".into(), 2, &["`genome/publish`", "only runs for the owner"]),
        ("[trust]\nown = [\"abc\"]".into(), 2, &["`own`", "32 hexadecimal digits"]),
        ("[catalog]\nexpiry_days = 0".into(), 2, &["`expiry_days` is 0", "1 to 400 days"]),
    ];
    for (config, line, words) in cases {
        let (ended, path) = up_with(&config);
        refused(&ended, USAGE, &[&[&*format!("config: {path}, line {line}\n")], words].concat());
    }
}

#[test]
fn a_command_that_does_not_exist_is_told_with_the_nearest_one() {
    refused(&homeless(&["exec", "info"]), USAGE, &["`info`", "did you mean `node/info`?", "docs/commands.md"]);
    refused(&node().command(&["exec", "node/inof"]), USAGE, &["`node/inof`", "did you mean `node/info`?"]);
}

#[test]
fn parameters_that_make_no_sense_are_named_with_how_to_write_them() {
    let node = node();
    let cases: [(&[&str], &[&str]); 8] = [
        (&["node/ping", "payload"], &["`payload`", "name=value", "limit=3"]),
        (&["genome/search", "text=x", "text=y"], &["`text`", "twice"]),
        (&["genome/search", "--params", "{"], &["not JSON", "--params '{\"limit\": 3}'"]),
        (&["genome/search", "--params", "[1]"], &["must be a JSON object"]),
        (&["genome/search"], &["parameter `text` is missing", "What to look for"]),
        (&["genome/search", "text=x", "limit=many"], &["`limit`", "whole number", "found \"many\""]),
        (&["genome/search", "text=x", "txet=y"], &["`txet`", "did you mean `text`?"]),
        (&["genome/publish", "path=here"], &["`path`", "absolute"]),
    ];
    for (arguments, words) in cases {
        refused(&node.command(&[&["exec"], arguments].concat()), USAGE, words);
    }
}

#[test]
fn figures_out_of_range_are_refused_before_a_node_is_asked() {
    for timeout in ["0", "-1", "x", "1.5", "99999999999"] {
        let seconds = ["--timeout", timeout];
        let commands: [&[&str]; 3] = [&["ping", "x"], &["catalog", "sync", "x"], &["exec", "--node", "x", "node/info"]];
        for command in commands {
            refused(
                &homeless(&[command, &seconds].concat()),
                USAGE,
                &[timeout, "--timeout", "whole seconds, 1 to 86400"],
            );
        }
    }
    refused(&homeless(&["search", "x", "--limit", "0"]), USAGE, &["--limit", "1..=100"]);
    refused(&homeless(&["search", "x", "--limit", "101"]), USAGE, &["--limit", "1..=100"]);
    refused(&homeless(&["ping", "x", "--count", "0"]), USAGE, &["--count"]);
}

#[test]
fn a_kind_that_does_not_exist_is_told_with_those_that_do() {
    let node = node();
    for command in [&["search", "x", "--kind", "lorra"][..], &["catalog", "list", "--kind", "lorra"]] {
        refused(&node.command(command), USAGE, &["\"lorra\"", "lora, persona, dataset, service, embedder"]);
    }
    let none = node.command(&["catalog", "list", "--kind", "persona"]);
    assert_eq!((none.code, &*none.stdout), (Some(NEGATIVE), ""), "a kind that exists, but not here");
    said(&none, &["no persona", "wend publish"]);
}

#[test]
fn a_node_that_nobody_has_heard_of_is_named_with_where_to_look() {
    let node = node();
    let commands: [&[&str]; 3] =
        [&["ping", "nobody"], &["exec", "--node", "nobody", "node/info"], &["catalog", "sync", "nobody"]];
    for command in commands {
        refused(&node.command(command), NEGATIVE, &["\"nobody\"", "`wend paths`"]);
    }
    let none = node.command(&["paths", "nobody"]);
    assert_eq!((none.code, &*none.stdout), (Some(NEGATIVE), ""));
    said(&none, &["`nobody`", "`wend paths`"]);
}

#[test]
fn a_node_is_not_sent_to_itself() {
    let node = node();
    let name = node.json(&["status"])["name"].as_str().unwrap().to_owned();
    for itself in [&node.destination().to_string(), &node.identity().to_string(), &name] {
        refused(&node.command(&["ping", itself]), USAGE, &["this node itself", "another"]);
    }
}

#[test]
fn an_address_without_a_path_ends_with_the_patience_of_who_asked() {
    let node = node();
    let (address, started) = ("ab".repeat(16), Instant::now());
    refused(&node.command(&["ping", &address, "--timeout", "1"]), NEGATIVE, &["no path", &address, "1 s", "is up"]);
    assert!(started.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", started.elapsed());
}

/// Identities of which two have destinations that begin with the same four digits.
fn alike() -> [Identity; 2] {
    let mut known: std::collections::BTreeMap<String, Identity> = std::collections::BTreeMap::new();
    loop {
        let identity = Identity::generate(&mut UnwrapErr(SysRng));
        let head = node_name().of(identity.hash()).to_string()[..4].to_owned();
        if let Some(other) = known.insert(head, identity.clone()) {
            return [identity, other];
        }
    }
}

#[test]
fn what_fits_two_nodes_is_told_with_the_addresses_of_both() {
    let (ports, identities) = ([free_port(), free_port()], alike());
    let twins = [0, 1].map(|at| {
        let mut twin = skills::node("twin", false, 180, &[tcp_server(ports[at])]);
        fs::write(twin.home().identity_file(), identities[at].to_private_bytes().as_ref()).unwrap();
        twin.run();
        twin
    });
    let mut asker = skills::node("asker", false, 180, &ports.map(tcp_client));
    asker.run();
    let addresses = [0, 1].map(|at| twins[at].destination().to_string());
    twins.iter().for_each(|twin| meet(&asker, twin));
    for name in ["twin", &addresses[0][..4]] {
        let words = [name, "fits 2 nodes", &*addresses[0], &*addresses[1]];
        refused(&asker.command(&["ping", name]), USAGE, &words);
    }
    assert_eq!(asker.command(&["ping", &addresses[1]]).code, Some(0));
}

#[test]
fn a_node_that_is_gone_is_said_to_be_within_the_patience_of_who_asked() {
    let port = free_port();
    let mut far = skills::node("far", false, 180, &[tcp_server(port)]);
    far.run();
    let mut near = skills::node("near", false, 180, &[tcp_client(port)]);
    near.run();
    meet(&near, &far);

    let started = Instant::now();
    let pid = Pid::from_raw(i32::try_from(far.process()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    refused(&near.command(&["ping", "far", "--timeout", "2"]), EXPIRED, &["far", "within 2 s"]);
    assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", started.elapsed());

    far.kill();
    let started = Instant::now();
    let ended = near.command(&["exec", "--node", "far", "--timeout", "2", "node/info"]);
    assert!([Some(NEGATIVE), Some(EXPIRED)].contains(&ended.code), "{ended:?}");
    refused(&ended, ended.code.unwrap(), &["far"]);
    assert!(started.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", started.elapsed());
}

#[test]
fn what_another_node_answers_is_said_to_be_its_word() {
    let port = free_port();
    let mut far =
        Node::new(&format!("[node]\nname = \"far\"\n[policy]\n\"node/ping\" = \"known\"\n{}", tcp_server(port)));
    far.run();
    let mut near = skills::node("near", false, 180, &[tcp_client(port)]);
    near.run();
    meet(&near, &far);
    let exec = |command: &str| near.command(&["exec", "--node", "far", command]);
    refused(&exec("node/info"), NEGATIVE, &["far (", "refuses", "`node/info`", "[policy]"]);
    refused(&exec("node/status"), NEGATIVE, &["far (", "refuses", "`node/status`", "the owner of a node only"]);
    refused(&exec("node/inof"), USAGE, &["far (", "answers", "did you mean `node/info`?"]);
}

/// Writes an adapter with a fault into a folder of this name.
fn broken_adapter(folder: &Path, fault: &str) -> String {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/make_adapter.py");
    let path = folder.join(fault);
    let mut command = Command::new("python3");
    command.arg(tool).args(["--rank", "2", "--targets", "q_proj,v_proj", "--broken", fault, "--out"]).arg(&path);
    let made = finish(command, SOON);
    assert_eq!(made.code, Some(0), "{made:?}");
    path.display().to_string()
}

#[test]
fn an_adapter_with_a_fault_is_refused_with_file_tensor_and_what_to_do() {
    let node = node();
    let cases: [(&str, &str, &[&str]); 8] = [
        ("truncated", "adapter_model.safetensors", &["is cut short", "tensor `", "copy it again"]),
        ("overlapping-offsets", "adapter_model.safetensors", &["overlap", "tensors `", "export the adapter again"]),
        ("header-too-long", "adapter_model.safetensors", &["header of 100000001 bytes", "export it again"]),
        ("duplicate-keys", "adapter_model.safetensors", &["twice", "export the adapter again"]),
        ("wrong-rank", "adapter_model.safetensors", &["has rank 2", "adapter_config.json says 4"]),
        ("tensor-not-in-targets", "adapter_model.safetensors", &["k_proj", "target_modules", "adapter_config.json"]),
        ("nan-weights", "adapter_model.safetensors", &["NaN at position 0", "tensor `"]),
        ("pickle", "adapter_model.bin", &["a pickle", "can run code", "as safetensors"]),
    ];
    for (fault, file, words) in cases {
        let path = broken_adapter(node.folder(), fault);
        let file = format!("{path}/{file}: ");
        refused(&node.command(&["publish", &path]), NEGATIVE, &[&[&*file], words].concat());
    }
    assert_eq!(skills::count(&node), 0, "nothing of them is kept");
}

#[test]
fn what_cannot_be_published_at_all_is_named_with_what_can() {
    let node = node();
    let path = |name: &str| node.folder().join(name).display().to_string();
    let write = |name: &str, content: &str| {
        fs::write(path(name), content).unwrap();
        path(name)
    };
    fs::create_dir(path("folder")).unwrap();
    let cases: [(String, &[&str]); 5] = [
        (path("nothing"), &["does not exist", "check the path"]),
        (write("notes.txt", "x"), &["adapter_config.json", ".jsonl"]),
        (path("folder"), &["has no adapter_model.safetensors", "give the folder"]),
        (write("empty.jsonl", ""), &["holds no entries", "one JSON object on each line"]),
        (write("blank.jsonl", "\n \n"), &["holds no entries", "name, version, kind and description"]),
    ];
    for (path, words) in cases {
        refused(&node.command(&["publish", &path]), USAGE, &[&[&*path], words].concat());
    }
}

#[test]
fn a_line_that_is_no_entry_is_named_by_its_number_and_the_others_are_published() {
    let node = node();
    let entry = |rest: &str| format!(r#"{{"name":"x","version":"1.0.0","kind":"lora",{rest}}}"#);
    let lines = [
        r#"{"name":"fine","version":"1.0.0","kind":"lora","description":"Works."}"#.to_owned(),
        entry(r#""description":5"#),
        entry(r#""descripton":"misspelt""#),
        entry(r#""description":"x","kind":"lorra""#),
        "not JSON".to_owned(),
        entry(r#""description":"\u001b[31m""#),
    ];
    let path = node.folder().join("lines.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    let path = path.display().to_string();
    let ended = node.command(&["publish", &path]);
    assert_eq!(ended.code, Some(NEGATIVE), "{ended:?}");
    assert!(ended.stdout.starts_with("1 entry: 1 new"), "{ended:?}");
    let place = |line: &str| format!("error: {path}: line {line}");
    said(
        &ended,
        &[
            &place("2, field `description`: found 5; accepted: a text"),
            &place("3, field `descripton`"),
            &place("4"),
            &place("5 is not a JSON object"),
            &place("6, field `description`"),
        ],
    );
}

#[test]
fn an_entry_that_does_not_exist_is_named_with_where_to_look() {
    refused(&node().command(&["show", "nothing"]), NEGATIVE, &["\"nothing\"", "`wend catalog`", "`wend search`"]);
}

#[test]
fn without_a_model_it_is_said_how_to_get_one() {
    let home = folder();
    let mut command = program();
    command.env("XDG_DATA_DIRS", home.path()).arg("--home").arg(home.path()).arg("model");
    let shown = home.path().display().to_string();
    refused(&finish(command, SOON), NEGATIVE, &["no embedding model is installed", &shown, "`wend model install`"]);
}

#[test]
fn a_damaged_model_is_named_and_searching_goes_on_by_words() {
    let Some(whole) = model() else { return };
    let folder = folder();
    for file in fs::read_dir(&whole).unwrap().map(Result::unwrap) {
        // What was checked before is noted in a hidden file.
        if !file.file_name().to_string_lossy().starts_with('.') {
            fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    let damaged = folder.path().join("tokenizer.json");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1000] ^= 1;
    fs::write(&damaged, bytes).unwrap();

    let shown = folder.path().display().to_string();
    let words = ["damaged", &*shown, "tokenizer.json", "`wend model install`"];
    refused(&homeless(&["model", "--model", &shown]), NEGATIVE, &words);
    refused(&homeless(&["model", "verify", "--model", &shown]), NEGATIVE, &words);

    let mut node = Node::new("").with_arguments(&["--model", &shown]);
    node.run();
    skills::publish(&node, "gardening", 1);
    let ended = node.command(&["search", "gardening"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("gardening-0"), "{ended:?}");
    said(&ended, &[&["1 hit among 1 entry, ranked by words\n", "not by meaning: "], &words[..]].concat());
}
