//! The demo, whole: three processes, two kinds of link, as a person runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::node::{finish, program};

/// How long the demo may take once everything is built and the model is there.
const LIMIT: Duration = Duration::from_secs(60);

fn demo(model: &Path) -> (Option<i32>, Value, Duration) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = program();
    // Nothing of the person who runs the test is used or left behind.
    command.args(["demo", "--json", "--model"]).arg(model);
    command.env("HOME", home.path()).env("TMPDIR", home.path()).env_remove("XDG_DATA_HOME");
    let started = Instant::now();
    let ended = finish(command, LIMIT + Duration::from_secs(30));
    let story = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {ended:?}"));
    let left: Vec<_> = std::fs::read_dir(home.path()).expect("readable").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    (ended.code, story, started.elapsed())
}

#[test]
fn the_demo_tells_its_whole_story_within_a_minute() {
    let Some(model) = std::env::var_os("WEND_TEST_MODEL") else {
        eprintln!("SKIPPED: without WEND_TEST_MODEL the demo would have to install a model");
        return;
    };
    let (code, story, took) = demo(Path::new(&model));
    assert_eq!(code, Some(0), "{story:#}");
    assert_eq!(story["ok"], true);
    assert!(took < LIMIT, "{took:?}");
    let steps = story["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 11);
    let facts = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name}"));
        &step["facts"]
    };
    assert_eq!(facts("announces and paths")["field"]["hops"], 2);
    assert_eq!(facts("the catalogs are brought into agreement")["laptop_workshop"]["catalog_count"], 36);
    let again = facts("4 skills more, and again");
    assert!(again["workshop_field"]["sync_bytes"].as_u64().expect("bytes") <= 700);
    assert!(again["equal"]["sync_bytes"].as_u64().expect("bytes") < 60);
    assert_eq!(facts("a search on laptop")["reply"]["hits"][0]["name"], "poultry-small-flock");
    assert_eq!(facts("its signed manifest")["entry"]["manifest_verified"], true);
}

#[test]
fn a_step_that_fails_is_named() {
    // No such model: the first step fails, and says so.
    let (code, story, _) = demo(Path::new("/nonexistent"));
    assert_eq!(code, Some(1));
    assert_eq!(story["ok"], false);
    let failed = story["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
    assert_eq!((&failed["name"], &failed["ok"]), (&Value::from("the embedding model"), &Value::from(false)));
}
