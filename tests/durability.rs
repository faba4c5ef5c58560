//! What was acknowledged outlives crashes and full disks, and nothing is ever half there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand_core::Rng;
use serde_json::Value;
use support::free_port;
use support::node::{Node, tcp_client, tcp_server};
use support::skills::{self, call, meet};
use tempfile::TempDir;
use wend_commands::EntryId;
use wend_commands::builtin::genome::{Catalog, CatalogReply, Show};
use wend_packet::testing::TestRng;

/// How often a node is killed.
const CRASHES: usize = 50;
/// When after the command began, at most: publishing and syncing a batch take about as long.
const KILL_WITHIN: Duration = Duration::from_millis(150);
/// Entries that are published at once: few, so that some publications and syncs end before the kill, and now and then
/// more than the 256 that a node stores in one go.
const BATCHES: [usize; 5] = [30, 10, 300, 20, 40];

/// The seed of this run: `SEED=<n>` repeats an earlier one, as far as processes do.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let seed = given.unwrap_or_else(|| u64::try_from(now).expect("for a long time"));
    println!("SEED={seed}");
    seed
}

/// The catalog of a node, after checks that hold whatever happened: its count is that of its list, everything in it can
/// be read, and it has the manifest of everything it published.
fn whole_catalog(node: &Node) -> CatalogReply {
    let catalog = call(node, &Catalog { kind: None, limit: None }).expect("the node lists its catalog");
    assert_eq!(usize::try_from(catalog.count).unwrap(), catalog.entries.len(), "an entry is listed and not there");
    let bare: Vec<_> = catalog.entries.iter().filter(|entry| entry.own && !entry.manifest).collect();
    assert!(bare.is_empty(), "published without a manifest: {bare:?}");
    catalog
}

fn ids(catalog: &CatalogReply) -> BTreeSet<EntryId> {
    catalog.entries.iter().map(|entry| entry.entry).collect()
}

/// Checks the signature and the manifest of these entries.
fn verify(node: &Node, entries: impl IntoIterator<Item = EntryId>) {
    for entry in entries {
        let shown = call(node, &Show { entry: entry.to_string(), node: None }).expect("a listed entry can be shown");
        assert!(shown.card_verified && shown.manifest_verified && shown.fetched_from.is_none(), "{shown:?}");
    }
}

/// Starts a subcommand with `--json`, kills the node after `delay`, and starts it again. What the command printed, if
/// it succeeded.
fn kill_during(node: &mut Node, arguments: &[&str], delay: Duration) -> Option<Value> {
    let mut command = node.wend();
    command.args(arguments).arg("--json").stdout(Stdio::piped()).stderr(Stdio::null());
    let running = command.spawn().expect("the program starts");
    thread::sleep(delay);
    node.kill();
    let ended = running.wait_with_output().expect("it is our child");
    node.run();
    ended.status.success().then(|| serde_json::from_slice(&ended.stdout).expect("success comes with a result"))
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it_and_nothing_is_half_there() {
    let mut random = TestRng::seeded(seed());
    let mut delay = || {
        let micros = u64::try_from(KILL_WITHIN.as_micros()).unwrap();
        Duration::from_micros(random.next_u64() % micros)
    };
    let port = free_port();
    let mut publisher = skills::node("publisher", false, 180, &[tcp_server(port)]);
    let mut reader = skills::node("reader", false, 180, &[tcp_client(port)]);
    publisher.run();
    reader.run();
    meet(&publisher, &reader);
    // Whom they heard is on disk from now on, so that they do business right after each start.
    for node in [&mut publisher, &mut reader] {
        node.stop();
        node.run();
    }
    let (mut published, mut received) = (BTreeSet::new(), BTreeSet::new());
    let (mut publications, mut syncs) = (0, 0);
    for (crash, batch) in (0..CRASHES).zip(BATCHES.into_iter().flat_map(|batch| [batch; 2]).cycle()) {
        if crash % 2 == 0 {
            let file = skills::write(publisher.folder(), &format!("batch-{crash}"), batch);
            let file = file.to_string_lossy();
            let reply = kill_during(&mut publisher, &["publish", &file], delay());
            let there = ids(&whole_catalog(&publisher));
            assert!(published.is_subset(&there), "crash {crash}: something published before is gone");
            let fresh = batch - (there.len() - published.len());
            if let Some(reply) = reply {
                publications += 1;
                assert_eq!((&reply["added"], fresh), (&batch.into(), 0), "crash {crash}: acknowledged and not there");
            }
            // What was broken off is made whole by doing it again.
            let again = publisher.json(&["publish", &file]);
            assert_eq!((&again["added"], &again["unchanged"]), (&fresh.into(), &(batch - fresh).into()), "{again}");
            let now = ids(&whole_catalog(&publisher));
            verify(&publisher, now.difference(&published).copied());
            published = now;
        } else {
            reader.wait_up(1);
            let to = publisher.destination().to_string();
            let reply = kill_during(&mut reader, &["catalog", "sync", &to], delay());
            let there = ids(&whole_catalog(&reader));
            assert!(there.is_subset(&published), "crash {crash}: a card nobody published");
            assert!(received.is_subset(&there), "crash {crash}: something received before is gone");
            if let Some(reply) = reply {
                syncs += 1;
                assert_eq!(reply["equal"], true, "{reply}");
                assert_eq!(there, published, "crash {crash}: acknowledged and not there");
            }
            received = there;
        }
    }
    println!("{publications} of {0} publications and {syncs} of {0} syncs were acknowledged", CRASHES / 2);
    reader.wait_up(1);
    skills::sync(&reader, &publisher);
    assert_eq!(ids(&whole_catalog(&reader)), published);
    verify(&publisher, published.iter().copied());

    // Cards whose publisher's key had got lost could not be passed on.
    let port = free_port();
    reader.stop();
    reader.configure(&skills::config("reader", false, 180, &[tcp_server(port)]));
    reader.run();
    let mut third = skills::node("third", false, 180, &[tcp_client(port)]);
    third.run();
    meet(&third, &reader);
    skills::sync(&third, &reader);
    assert_eq!(ids(&whole_catalog(&third)), published);
}

/// A file system in memory of this size; `None`, said aloud, where this process may not mount one.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount(kib: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("wend-disk-").tempdir().expect("a temporary folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).arg(folder.path());
        match command.stderr(Stdio::null()).status() {
            Ok(status) if status.success() => Some(Self { folder }),
            _ => {
                eprintln!("SKIPPED: a full disk cannot be tried, this user may not mount a file system");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes it larger.
    fn grow(&self, kib: u32) {
        let remounted = Command::new("mount").args(["-o", &format!("remount,size={kib}k")]).arg(self.path()).status();
        assert!(remounted.is_ok_and(|status| status.success()));
    }

    /// Takes the disk's last room away; removing the file gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).expect("a file on the disk");
        let mut size = 64 << 10;
        while size > 0 {
            let block = vec![0; size];
            if file.write_all(&block).is_err() {
                size /= 2;
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
    }
}

/// Names of the entries that a publication brought.
fn names_of(reply: &Value) -> Vec<String> {
    let entries = reply["entries"].as_array().into_iter().flatten();
    entries.map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

/// Publishes batch after batch until one fails; the names of those that were acknowledged, and what was said in the end.
fn publish_until_full(node: &Node, label: &str) -> (Vec<String>, String) {
    let mut names = Vec::new();
    for number in 0..1000 {
        let file = skills::write(node.folder(), &format!("{label}-{number}"), 20);
        let ended = node.command(&["publish", &file.to_string_lossy(), "--json"]);
        if ended.code != Some(0) {
            assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
            return (names, ended.stderr);
        }
        let reply: Value = serde_json::from_str(&ended.stdout).expect("a result");
        names.extend(names_of(&reply));
    }
    panic!("the disk never was full");
}

#[test]
fn a_node_whose_disk_is_full_says_so_goes_on_serving_and_publishes_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(3000) else { return };
    let mut node = skills::by_words(Node::at(&disk.path().join("home"), ""));
    node.run();
    let mut names = names_of(&skills::publish(&node, "first", 100));

    // The room goes at one stroke.
    let ballast = disk.fill();
    let (acknowledged, said) = publish_until_full(&node, "sudden");
    names.extend(acknowledged);
    println!("full after {} entries: {said}", names.len());
    goes_on_serving(&node, &names, &said);
    fs::remove_file(ballast).expect("it is there");
    names.extend(names_of(&skills::publish(&node, "room-again", 20)));

    // The node takes the last of it, in the middle of a file.
    let file = skills::write(node.folder(), "gradual", 5000);
    let ended = node.command(&["publish", &file.to_string_lossy()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let there = whole_catalog(&node).entries;
    println!("full after {} entries: {}", there.len(), ended.stderr);
    let kept = there.len() - names.len();
    assert!(kept > 0 && ended.stderr.contains(&format!("{kept} entries before that are published")), "{ended:?}");
    names.extend((0..kept).map(|number| format!("gradual-{number}")));
    goes_on_serving(&node, &names, &ended.stderr);
    disk.grow(16_000);
    let reply = node.json(&["publish", &file.to_string_lossy()]);
    assert_eq!((&reply["added"], &reply["unchanged"]), (&(5000 - kept).into(), &kept.into()));
    names.extend(names_of(&reply));

    node.kill();
    node.run();
    let there: BTreeSet<String> = whole_catalog(&node).entries.iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(there, names.into_iter().collect());
}

/// The node, whose disk is full and which said so, has exactly what was acknowledged, and answers.
fn goes_on_serving(node: &Node, names: &[String], said: &str) {
    assert!(said.contains("No space left on device") && said.contains("free some disk space"), "{said}");
    for _ in 0..3 {
        let listed = whole_catalog(node);
        let there: BTreeSet<&String> = listed.entries.iter().map(|entry| &entry.name).collect();
        assert_eq!(there, names.iter().collect());
        verify(node, ids(&listed));
        assert_eq!(node.json(&["status"])["catalog_count"], names.len());
        let found = node.json(&["search", "work of first for case 42", "--local"]);
        assert_eq!(found["hits"][0]["name"], "first-42", "{found}");
        let file = skills::write(node.folder(), "more", 300);
        let more = node.command(&["publish", &file.to_string_lossy()]);
        assert_eq!(more.code, Some(1), "{more:?}");
        assert!(more.stderr.contains("free some disk space"), "it is said every time: {more:?}");
    }
}
