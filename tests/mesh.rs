//! Whole nodes together: what it costs to bring catalogs into agreement, and calls over a line that fails them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::free_port;
use support::node::{Node, program, serial, tcp_client, tcp_server};
use support::skills::{self, config, count, meet, publish, sync};
use wend_commands::builtin::node::Resolve;

/// What finding out ten differences may cost, in bytes. docs/protocol/mesh.md, Catalog sync.
const TEN_DIFFERENCES_MAX: u64 = 700;
/// What two equal catalogs may cost somebody who asks, in bytes.
const EQUAL_MAX: u64 = 60;
/// How long a line is dead, so that a call is repeated meanwhile.
const DEAD: Duration = Duration::from_secs(11);
/// How long the answer may take once the line is back: some kilobytes, twice.
const ONCE_BACK: Duration = Duration::from_secs(12);
/// How long a catalog may take to come by itself: announces leave a second after an interface came up.
const UNASKED: Duration = Duration::from_secs(20);

#[test]
fn ten_new_entries_between_nodes_that_share_400_cost_at_most_700_bytes_wherever_they_lie() {
    // The expiry is the only time in a card, so it is what makes entries older or newer than others. None is below half of
    // another: nodes renew what is past half of the life they give.
    let port = free_port();
    let third_config = |days| config("third", false, days, &[tcp_server(port)]);
    let mut third = skills::by_words(Node::new(&third_config(170)));
    third.run();
    publish(&third, "early", 200);
    third.stop();
    third.configure(&third_config(190));
    third.run();
    publish(&third, "late", 200);

    let between = free_port();
    let mut asker = skills::node("asker", false, 180, &[tcp_client(port), tcp_client(between)]);
    let mut other = skills::node("other", false, 180, &[tcp_client(port), tcp_server(between)]);
    for node in [&mut asker, &mut other] {
        node.run();
        meet(node, &third);
        assert_eq!(sync(node, &third)["received"], 400);
    }
    drop(third);

    for (when, days) in [("before", 160), ("between", 180), ("after", 250)] {
        for (node, name, link) in
            [(&mut asker, "asker", tcp_client(between)), (&mut other, "other", tcp_server(between))]
        {
            node.stop();
            node.configure(&config(name, false, days, &[link]));
            node.run();
        }
        meet(&asker, &other);
        for (place, here, there) in [("here", 10, 0), ("there", 0, 10), ("both", 5, 5)] {
            for (node, number) in [(&asker, here), (&other, there)] {
                if number > 0 {
                    publish(node, &format!("{when}-{place}"), number);
                }
            }
            let took = sync(&asker, &other);
            assert_eq!((&took["sent"], &took["received"]), (&here.into(), &there.into()), "{when} {place}: {took}");
            let cost = took["sync_bytes"].as_u64().unwrap();
            println!("ten {when} the shared ones, new {place}: {cost} bytes in {} requests", took["rounds"]);
            assert!(cost <= TEN_DIFFERENCES_MAX, "{when} {place}: {took}");
            let again = sync(&asker, &other);
            assert_eq!((&again["sent"], &again["received"]), (&0.into(), &0.into()), "{again}");
            assert!(again["sync_bytes"].as_u64().unwrap() < EQUAL_MAX, "{again}");
        }
    }
    assert_eq!((count(&asker), count(&other)), (490, 490));
}

#[test]
fn equal_catalogs_cost_nothing_beyond_announces_until_one_of_them_changes() {
    let port = free_port();
    let (server, client) = (tcp_server(port), tcp_client(port));
    let with = |sync| {
        [
            config("one", sync, 180, std::slice::from_ref(&server)),
            config("other", sync, 180, std::slice::from_ref(&client)),
        ]
    };
    let [mut one, mut other] = with(false).map(|config| skills::by_words(Node::new(&config)));
    one.run();
    other.run();
    publish(&one, "shared", 30);
    meet(&one, &other);
    assert_eq!(sync(&other, &one)["received"], 30);

    for (node, config) in [&mut one, &mut other].into_iter().zip(with(true)) {
        node.stop();
        node.configure(&config);
        node.run();
    }
    // One announce each; the end that dials also names its tunnel.
    for (node, frames) in [(&one, 2), (&other, 1)] {
        node.wait_json("all came", &["status"], UNASKED, |status| traffic(status, "received_frames") >= frames);
    }
    // As long as a dialogue would take many times over.
    thread::sleep(Duration::from_secs(2));
    for (node, frames) in [(&one, 1), (&other, 2)] {
        let status = node.json(&["status"]);
        // Requests need a link, and one that nobody uses stays open for two minutes.
        assert_eq!(status["links"], 0, "{status}");
        assert_eq!(traffic(&status, "sent_frames"), frames, "nothing else: {status}");
    }

    publish(&one, "news", 1);
    one.json(&["announce"]);
    other.wait_json("the news came", &["status"], UNASKED, |status| status["catalog_count"] == 31);
    assert_ne!(other.json(&["status"])["links"], 0, "what is counted as nothing above is seen here");
}

/// A counter of a node's only link. A server counts again what those do that it took in.
fn traffic(status: &Value, counter: &str) -> u64 {
    status["interfaces"][0][counter].as_u64().expect("an interface that counts")
}

#[test]
fn a_node_that_starts_beside_another_gets_its_cards_and_gives_its_own_unasked() {
    let port = free_port();
    let mut first = skills::node("first", true, 180, &[tcp_server(port)]);
    first.run();
    publish(&first, "older", 40);
    let mut second = skills::node("second", true, 180, &[]);
    second.run();
    publish(&second, "younger", 5);
    second.stop();
    second.configure(&config("second", true, 180, &[tcp_client(port)]));
    second.run();
    for node in [&first, &second] {
        node.wait_json("the other's cards came", &["status"], UNASKED, |status| status["catalog_count"] == 45);
    }
    let shown = second.json(&["show", "older-7"]);
    assert_eq!((&shown["own"], &shown["manifest_verified"]), (&false.into(), &true.into()), "{shown}");
}

#[test]
fn a_restarted_node_knows_by_name_whom_it_heard_before() {
    let port = free_port();
    let mut first = skills::node("first", false, 180, &[tcp_server(port)]);
    let mut second = skills::node("second", false, 180, &[tcp_client(port)]);
    first.run();
    second.run();
    meet(&first, &second);
    second.stop();
    // Without an interface nothing can be heard anew.
    second.configure(&config("second", false, 180, &[]));
    second.run();
    let known = skills::call(&second, &Resolve { node: "first".into() }).expect("it is known");
    assert_eq!((known.destination, known.identity), (first.destination(), Some(first.identity())));
}

/// A half-duplex line of 9,600 bit/s in a process of its own, and a node at either end that has heard the other.
struct SlowLine {
    process: Child,
    ends: [PathBuf; 2],
}

impl SlowLine {
    const SPEED: u32 = 9600;

    fn start() -> Self {
        let mut command = program();
        command.args(["serial-line", &Self::SPEED.to_string(), "--stop-with-stdin"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut end = || PathBuf::from(lines.next().expect("two lines").expect("text"));
        Self { ends: [end(), end()], process }
    }

    /// Two nodes, the caller first.
    fn nodes(&self) -> [Node; 2] {
        let [near, far] = &self.ends;
        let mut nodes = [("caller", near), ("called", far)]
            .map(|(name, end)| skills::node(name, false, 180, &[serial(end, Self::SPEED)]));
        for node in &mut nodes {
            node.run();
        }
        meet(&nodes[0], &nodes[1]);
        nodes
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("it is our child");
    }

    /// Carries nothing for a while. What is on its way inside a frame is then too late for the rest of that frame.
    fn pause(&self, during: Duration) {
        self.signal(Signal::STOP);
        thread::sleep(during);
        self.signal(Signal::CONT);
    }

    /// Bytes that nobody sent appear on the way from the near end to the far one.
    fn noise(&self) {
        // The far side of the near terminal, where the caller's bytes come from too.
        let flags = i32::try_from((OFlags::NOCTTY | OFlags::NONBLOCK).bits()).expect("small flags");
        let mut end = OpenOptions::new().write(true).custom_flags(flags).open(&self.ends[0]).expect("it opens");
        end.write_all(&[0x7e, 0x00, 0x7d, 0xff, 0x7e]).expect("the line takes it");
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// How often the node began to run this command, and how often it heard of a call again.
fn runs(node: &Node, command: &str) -> (usize, usize) {
    let log = node.log();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what) && line.contains(command)).count();
    (lines("command runs"), lines("call repeated"))
}

fn node_info(caller: &Node, called: &Node) -> Value {
    caller.json(&["exec", "--node", &called.destination().to_string(), "node/info"])
}

#[test]
fn a_call_over_a_slow_line_that_loses_frames_is_answered_and_runs_once() {
    let line = SlowLine::start();
    let [caller, called] = line.nodes();
    let reply = thread::scope(|scope| {
        let reply = scope.spawn(|| node_info(&caller, &called));
        // In the middle of the link being made, and again while request and response cross.
        thread::sleep(Duration::from_millis(200));
        line.pause(Duration::from_secs(2));
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(150));
            line.noise();
        }
        line.pause(Duration::from_secs(2));
        reply.join().expect("the call is answered")
    });
    assert_eq!(reply["name"], "called", "{reply}");
    assert_eq!(runs(&called, "node/info").0, 1, "{}", called.log());
}

#[test]
fn a_call_that_is_repeated_because_the_line_was_dead_for_long_runs_once() {
    let line = SlowLine::start();
    let [caller, called] = line.nodes();
    // The link is there; the request and its repetition wait in the line together.
    caller.json(&["ping", &called.destination().to_string(), "--count", "1"]);
    // On a busy machine one of the two may be lost to a pause within its frame; then nothing was shown.
    for calls in 1..=3 {
        let (reply, took) = thread::scope(|scope| {
            line.signal(Signal::STOP);
            let reply = scope.spawn(|| node_info(&caller, &called));
            thread::sleep(DEAD);
            line.signal(Signal::CONT);
            let back = Instant::now();
            (reply.join().expect("the call is answered"), back.elapsed())
        });
        assert_eq!(reply["name"], "called", "{reply}");
        let (ran, repeated) = runs(&called, "node/info");
        assert_eq!(ran, calls, "{}", called.log());
        if repeated > 0 {
            assert!(took < ONCE_BACK, "it took {took:?}: {}", called.log());
            return;
        }
    }
    panic!("no call was heard again: {}", called.log());
}
