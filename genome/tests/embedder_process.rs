//! The embedder in its own process, against processes that answer, crash, hang, lie and end. Has a `main` of its own,
//! because the processes it starts are this binary again.

#![expect(clippy::disallowed_methods, reason = "processes and their idle time are what is tested here")]

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wend_genome::embed::{ChildCommand, ChildEmbedder, EmbedError, Embedder, Limits, MINI_LM, embed_one};
use wend_genome::entry::{DIMS, SpaceId};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        #[cfg(feature = "embeddings")]
        ["embed-child", folder] => {
            wend_genome::embed::serve(std::path::Path::new(folder), std::io::stdin().lock(), std::io::stdout().lock())
                .unwrap();
        }
        ["pretend", how] => pretend(how),
        ["parent", folder] => be_a_parent(folder),
        ["--list", ..] => {}
        _ => all_tests(),
    }
}

fn all_tests() {
    let tests: [(&str, fn()); 11] = [
        ("texts become vectors", texts_become_vectors),
        ("a crash costs one query", a_crash_costs_one_query),
        ("a process that cannot be started is an error", a_process_that_cannot_be_started),
        ("a silent process is ended", a_silent_process_is_ended),
        ("nonsense ends the process", nonsense_ends_the_process),
        ("another space is refused", another_space_is_refused),
        ("what the embedder says is passed on", what_the_embedder_says_is_passed_on),
        ("an idle process goes and comes back", an_idle_process_goes_and_comes_back),
        ("dropping the embedder ends the process", dropping_ends_the_process),
        ("threads take turns", threads_take_turns),
        ("the real model", the_real_model),
    ];
    for (name, test) in tests {
        print!("test {name} ... ");
        std::io::stdout().flush().unwrap();
        test();
        println!("ok");
    }
}

/// A process that speaks the protocol and misbehaves as told. Texts are answered with a vector of their length.
fn pretend(how: &str) {
    let (mut texts, mut answers) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut say = |bytes: &[u8]| {
        answers.write_all(&u32::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
        answers.write_all(bytes).unwrap();
        answers.flush().unwrap();
    };
    let space = if how == "other-space" { [7; 4] } else { MINI_LM.0 };
    match how {
        "mute" => loop {
            std::thread::sleep(Duration::from_secs(60));
        },
        "no-model" => return say(b"\x02the model is not there"),
        "garbage" => return say(b"\xffwhat?"),
        _ => say(&[&[0][..], &space, &384_u16.to_be_bytes()].concat()),
    }
    let mut length = [0; 4];
    while texts.read_exact(&mut length).is_ok() {
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        texts.read_exact(&mut text).unwrap();
        let vector = |value: f32| [&[1][..], &value.to_le_bytes().repeat(DIMS)].concat();
        match text.as_slice() {
            b"crash" => std::process::abort(),
            b"hang" => std::thread::sleep(Duration::from_secs(60)),
            b"short" => say(&[1, 0, 0, 0, 0]),
            b"nan" => say(&vector(f32::NAN)),
            b"huge" => {
                answers_raw(&u32::MAX.to_be_bytes());
                std::thread::sleep(Duration::from_secs(60));
            }
            b"refuse" => say(b"\x02not this one"),
            text => say(&vector(text.len() as f32)),
        }
    }
}

fn answers_raw(bytes: &[u8]) {
    use std::os::fd::AsFd;
    let mut file = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    file.write_all(bytes).unwrap();
}

/// Starts an embedder, says its process id, and waits to be killed.
fn be_a_parent(how: &str) {
    let embedder = pretending(how, Limits::default());
    embed_one(&embedder, "hello").unwrap();
    println!("{}", embedder.process_id().unwrap());
    std::thread::sleep(Duration::from_secs(60));
}

fn this_with(arguments: [&str; 2]) -> ChildCommand {
    ChildCommand::new(std::env::current_exe().unwrap(), arguments)
}

fn pretending(how: &str, limits: Limits) -> ChildEmbedder {
    ChildEmbedder::new(this_with(["pretend", how]), MINI_LM, limits)
}

fn quick() -> Limits {
    let second = Duration::from_secs(1);
    Limits { idle: 60 * second, answer: 10 * second, goodbye: 5 * second }
}

fn is_running(process: u32) -> bool {
    // A process that ended and was not waited for is a zombie, state Z.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
    state.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

fn soon(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn texts_become_vectors() {
    let embedder = pretending("well", quick());
    assert_eq!(embedder.process_id(), None, "nothing runs before the first text");
    let vectors = ["a", "bb", "ccc"].map(|text| embed_one(&embedder, text).unwrap());
    assert_eq!(vectors.map(|vector| vector[0]), [1.0, 2.0, 3.0]);
    let mut rows = Vec::new();
    embedder.embed(&["a", "bb"], &mut rows).unwrap();
    assert_eq!((rows.len(), embedder.dims(), embedder.space()), (2 * DIMS, DIMS, MINI_LM));
    // Longer than a frame may be: cut, at a character.
    assert!(embed_one(&embedder, &"ä".repeat(100_000)).unwrap()[0] <= 8192.0);
    assert_eq!(embed_one(&embedder, "").unwrap()[0], 0.0);
}

fn a_crash_costs_one_query() {
    let embedder = pretending("well", quick());
    embed_one(&embedder, "hello").unwrap();
    let before = embedder.process_id().unwrap();
    let error = embed_one(&embedder, "crash").unwrap_err();
    assert!(matches!(&error, EmbedError::Ended { status } if status.contains("signal")), "{error}");
    assert_eq!(embedder.process_id(), None);
    assert_eq!(embed_one(&embedder, "hello").unwrap()[0], 5.0);
    assert!(!is_running(before) && embedder.process_id() != Some(before));
    // Killed from outside between two texts.
    Command::new("kill").args(["-9", &embedder.process_id().unwrap().to_string()]).status().unwrap();
    assert!(soon(|| !is_running(embedder.process_id().unwrap_or(before))));
    assert!(matches!(embed_one(&embedder, "hello"), Err(EmbedError::Ended { .. })));
    assert_eq!(embed_one(&embedder, "hello").unwrap()[0], 5.0);
}

fn a_process_that_cannot_be_started() {
    let embedder = ChildEmbedder::new(ChildCommand::new("/no/such/program", ["x"]), MINI_LM, quick());
    let error = embed_one(&embedder, "hello").unwrap_err();
    assert!(matches!(&error, EmbedError::Start { .. }) && error.to_string().contains("/no/such/program"), "{error}");
    let embedder = ChildEmbedder::new(ChildCommand::new("/bin/true", [""; 0]), MINI_LM, quick());
    assert!(matches!(embed_one(&embedder, "hello"), Err(EmbedError::Ended { .. })));
}

fn a_silent_process_is_ended() {
    let limits = Limits { answer: Duration::from_millis(300), ..quick() };
    let embedder = pretending("well", limits);
    embed_one(&embedder, "hello").unwrap();
    let process = embedder.process_id().unwrap();
    assert!(matches!(embed_one(&embedder, "hang"), Err(EmbedError::Silent { .. })));
    assert!(!is_running(process));
    let mute = pretending("mute", limits);
    assert!(matches!(embed_one(&mute, "hello"), Err(EmbedError::Silent { .. })));
}

fn nonsense_ends_the_process() {
    for text in ["short", "nan", "huge"] {
        let embedder = pretending("well", quick());
        embed_one(&embedder, "hello").unwrap();
        let process = embedder.process_id().unwrap();
        assert!(matches!(embed_one(&embedder, text), Err(EmbedError::Nonsense { .. })), "{text}");
        assert!(!is_running(process));
        assert!(embed_one(&embedder, "hello").is_ok());
    }
    assert!(matches!(embed_one(&pretending("garbage", quick()), "hello"), Err(EmbedError::Nonsense { .. })));
}

fn another_space_is_refused() {
    let error = embed_one(&pretending("other-space", quick()), "hello").unwrap_err();
    assert!(matches!(error, EmbedError::OtherSpace { found: SpaceId([7, 7, 7, 7]), .. }), "{error}");
}

fn what_the_embedder_says_is_passed_on() {
    let error = embed_one(&pretending("no-model", quick()), "hello").unwrap_err();
    assert_eq!(error.to_string(), "the model is not there");
    let embedder = pretending("well", quick());
    let process = embed_one(&embedder, "hello").map(|_| embedder.process_id()).unwrap();
    assert_eq!(embed_one(&embedder, "refuse").unwrap_err().to_string(), "not this one");
    assert_eq!(embedder.process_id(), process, "one refused text does not end it");
}

fn an_idle_process_goes_and_comes_back() {
    let embedder = pretending("well", Limits { idle: Duration::from_millis(400), ..quick() });
    embed_one(&embedder, "hello").unwrap();
    let process = embedder.process_id().unwrap();
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(100));
        embed_one(&embedder, "work").unwrap();
    }
    assert_eq!(embedder.process_id(), Some(process), "work keeps it");
    assert!(soon(|| embedder.process_id().is_none() && !is_running(process)));
    assert_eq!(embed_one(&embedder, "hello").unwrap()[0], 5.0);
    embedder.end();
    assert_eq!(embedder.process_id(), None);
}

fn dropping_ends_the_process() {
    let embedder = pretending("well", quick());
    embed_one(&embedder, "hello").unwrap();
    let process = embedder.process_id().unwrap();
    drop(embedder);
    assert!(!is_running(process));

    // Nobody ends it when the parent is killed: it must notice by itself.
    let this = std::env::current_exe().unwrap();
    let mut parent = Command::new(this).args(["parent", "well"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(parent.stdout.take().unwrap()), &mut line).unwrap();
    let process: u32 = line.trim().parse().unwrap();
    assert!(is_running(process));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(soon(|| !is_running(process)));
}

fn threads_take_turns() {
    let embedder = Arc::new(pretending("well", quick()));
    let threads = (1..=4_usize).map(|length| {
        let embedder = Arc::clone(&embedder);
        std::thread::spawn(move || {
            for _ in 0..50 {
                assert_eq!(embed_one(&*embedder, &"x".repeat(length)).unwrap()[0], length as f32);
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
}

#[cfg(not(feature = "embeddings"))]
fn the_real_model() {
    print!("SKIPPED: built without the feature `embeddings` ... ");
}

#[cfg(feature = "embeddings")]
fn the_real_model() {
    let Ok(folder) = std::env::var("WEND_TEST_MODEL") else {
        print!("SKIPPED: WEND_TEST_MODEL names no prepared model ... ");
        return;
    };
    let embedder = ChildEmbedder::new(this_with(["embed-child", &folder]), MINI_LM, Limits::default());
    let texts = ["review rust code for unsafe blocks", "find memory bugs in Rust", "a recipe for dumplings"];
    let vectors = texts.map(|text| embed_one(&embedder, text).unwrap());
    let dot = |a: &[f32; DIMS], b: &[f32; DIMS]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    assert!((dot(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-4);
    assert!(dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]) + 0.2);
    // The same text gives the same vector, whatever came before it.
    assert_eq!(embed_one(&embedder, texts[0]).unwrap(), vectors[0]);

    let started = Instant::now();
    let before = embedder.process_id();
    let long = "the quick brown fox jumps over the lazy dog and runs away ".repeat(50);
    embed_one(&embedder, &long).unwrap();
    let query = Instant::now();
    for _ in 0..20 {
        embed_one(&embedder, "soil moisture logger").unwrap();
    }
    print!("long text {:?}, query {:?}, ", query - started, query.elapsed() / 20);
    if let Some(memory) = resident_mb(before.unwrap()) {
        print!("resident {} MB, at most {} MB ... ", memory.0, memory.1);
        assert!(memory.1 < 150, "the child takes {} MB; node and child have 200", memory.1);
    }

    let nowhere = ChildEmbedder::new(this_with(["embed-child", "/no/such/folder"]), MINI_LM, Limits::default());
    let error = embed_one(&nowhere, "hello").unwrap_err().to_string();
    assert!(error.contains("no embedding model is installed") && error.contains("wend model install"), "{error}");
}

/// Resident memory of a process now and at its highest.
#[cfg(feature = "embeddings")]
fn resident_mb(process: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some((field("VmRSS:")? / 1024, field("VmHWM:")? / 1024))
}
