//! What a node takes from its machine: memory, processor, and the time until it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::free_port;
use support::node::{Node, memory_of, tcp_client, tcp_server};
use support::skills::{self, config, meet, sync};

/// Entries of the catalog data.
const ENTRIES: usize = 420;
/// What a node may have resident at any time, in bytes.
const NODE_MAX: u64 = 30 << 20;
/// The same for a node and its embedder together.
const TOGETHER_MAX: u64 = 200 << 20;
/// How long a node at rest is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// What it may use of one processor meanwhile.
const PROCESSOR_MAX: f64 = 0.01;
/// How long after its last text an embedder has to be gone: a minute, and the time to notice.
const EMBEDDER_GONE: Duration = Duration::from_secs(68);
/// What a tiny build may have resident at rest with one listener, in bytes.
const TINY_MAX: u64 = 5_000_000;
/// How long after its start it is at rest.
const TINY_REST: Duration = Duration::from_secs(5);
/// How long a node may take from its start to its first answer.
const ANSWER_MAX: Duration = Duration::from_millis(300);

fn catalog_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/catalog/adapters.jsonl")
}

/// Processes whose parent this is.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("it is mounted");
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|fields| fields[1] == parent.to_string())).collect()
}

/// What follows the name in `/proc/<process>/stat`: the state, the parent, ...; `None` when it is gone.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Time on a processor that a process has had, in its own and the system's name.
fn processor_time(process: u32) -> Duration {
    let fields = stat(process).expect("it runs");
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[test]
fn a_node_with_420_cards_is_small_and_idle_and_lets_its_embedder_go_after_a_minute() {
    let Some(model) = std::env::var_os("WEND_TEST_MODEL") else {
        eprintln!("SKIPPED: without WEND_TEST_MODEL nothing is embedded, so that nothing can be measured");
        return;
    };
    let model = model.to_string_lossy();
    let (port, arguments) = (free_port(), ["--model", &*model, "--log", "info"]);
    let mut publisher = Node::new(&config("publisher", true, 180, &[tcp_server(port)])).with_arguments(&arguments);
    let mut reader = Node::new(&config("reader", true, 180, &[tcp_client(port)])).with_arguments(&arguments);
    publisher.run();
    reader.run();
    let started = publisher.memory().now_bytes;
    let published = publisher.json(&["publish", &catalog_data().to_string_lossy()]);
    assert_eq!((&published["added"], &published["embedded"]), (&ENTRIES.into(), &ENTRIES.into()));
    let after_publishing = publisher.memory().now_bytes;
    meet(&publisher, &reader);
    sync(&reader, &publisher);
    for query in ["pixel art", "soil moisture in Swahili", "review unsafe code"] {
        for node in [&publisher, &reader] {
            assert_ne!(node.json(&["search", query])["hits"][0], serde_json::Value::Null);
        }
    }
    let searched = Instant::now();

    let (process, embedder) = (publisher.process(), children(publisher.process()));
    assert_eq!(embedder.len(), 1, "the embedder is there while it is needed");
    // The peaks need not have been at one time, so this is more than was ever taken.
    let together = publisher.memory().peak_bytes + memory_of(embedder[0]).peak_bytes;
    assert!(together < TOGETHER_MAX, "node and embedder took {}", mib(together));

    let busy = || processor_time(process) + embedder.iter().map(|child| processor_time(*child)).sum::<Duration>();
    let before = busy();
    thread::sleep(WATCHED);
    let share = (busy() - before).as_secs_f64() / WATCHED.as_secs_f64();
    assert!(share < PROCESSOR_MAX, "at rest it takes {:.2} % of a processor", share * 100.0);

    while !children(process).is_empty() {
        assert!(searched.elapsed() < EMBEDDER_GONE, "the embedder is still there");
        thread::sleep(Duration::from_millis(100));
    }
    let gone = searched.elapsed();
    let [peak, peak_reader] = [&publisher, &reader].map(|node| node.memory().peak_bytes);
    println!(
        "node {} after its start, {} after publishing, {} at most; one that received the cards {} at most; with the \
         embedder {} at most; {:.2} % of a processor at rest; embedder gone after {gone:.1?}",
        mib(started),
        mib(after_publishing),
        mib(peak),
        mib(peak_reader),
        mib(together),
        share * 100.0,
    );
    for peak in [peak, peak_reader] {
        assert!(peak < NODE_MAX, "a node took {}", mib(peak));
    }
}

#[test]
fn a_tiny_build_has_5_mb_resident_at_rest() {
    let Some(program) = std::env::var_os("WEND_TEST_TINY") else {
        eprintln!("SKIPPED: WEND_TEST_TINY names no program of the profile `tiny`, so that nothing can be measured");
        return;
    };
    let (home, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let settings = "[node]\ntransport = true\nfootprint = \"tiny\"\n[catalog]\nsync = false\n";
    let config = settings.to_owned() + &tcp_server(port);
    fs::write(home.path().join("config.toml"), config).expect("written");
    let mut command = Command::new(program);
    command.args(["up", "--log", "warn", "--home"]).arg(home.path()).stdin(Stdio::null());
    // The first start makes what the second finds.
    let resident = [(); 2].map(|()| {
        let mut node = command.spawn().expect("the program starts");
        thread::sleep(TINY_REST);
        let running = node.try_wait().is_ok_and(|ended| ended.is_none());
        let memory = running.then(|| memory_of(node.id()).now_bytes);
        drop(node.kill());
        drop(node.wait());
        memory.expect("it runs until it is ended")
    });
    println!("tiny build: {} after its first start, {} after the next", mib(resident[0]), mib(resident[1]));
    assert!(resident[1] <= TINY_MAX, "a tiny node took {}", mib(resident[1]));
}

#[test]
fn a_node_with_420_cards_answers_within_300_ms_of_its_start() {
    let mut node = skills::by_words(Node::new(""));
    node.run();
    let published = node.json(&["publish", &catalog_data().to_string_lossy()]);
    assert_eq!(published["added"], ENTRIES);
    // The best of a few: on a machine that is busy with other things, a start tells how busy it is.
    let mut times = Vec::new();
    for crashed in [false, true, false, true] {
        if crashed {
            node.kill();
        } else {
            node.stop();
        }
        let start = Instant::now();
        node.run();
        let status = node.json(&["status"]);
        times.push(start.elapsed());
        assert_eq!(status["catalog_count"], ENTRIES);
    }
    println!("answers after {times:.0?}");
    assert!(times.iter().any(|time| *time < ANSWER_MAX), "it took {times:?}");
}
