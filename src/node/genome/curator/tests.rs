use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wend_commands::builtin::genome::Wanted;
use wend_genome::entry::{DIMS, QuantisedVector};
use wend_genome::publish::{Draft, Published as Signed, from_jsonl};
use wend_genome::search::{Filter, QueryVector};
use wend_genome::verified::Verified;
use wend_packet::time::{Instant, UnixTime};

use super::*;
use crate::home::Home;
use crate::node::genome::{Question, outward};

const DAY: u64 = 86_400;
const SPACE: SpaceId = SpaceId([1; 4]);

/// A day in 2027.
fn now() -> Now {
    Now { mono: Instant::ZERO, unix: UnixTime(1_800_000_000) }
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * DAY)
}

fn identity(seed: u8) -> Identity {
    Identity::from_slice(&[seed; 64]).expect("64 bytes are an identity")
}

fn draft(name: &str) -> Draft {
    let line = format!(
        r#"{{"name": "{name}", "version": "1.0.0", "kind": "lora", "description": "reviews crates for {name}", "tags": []}}"#
    );
    from_jsonl(&line, 1).expect("a draft")
}

fn vector(direction: f32) -> (SpaceId, QuantisedVector) {
    (SPACE, QuantisedVector::from_f32(&[direction; DIMS]))
}

/// What somebody else publishes.
fn published_by(seed: u8, name: &str, sequence: u32) -> Signed {
    draft(name).finish(&identity(seed), None, sequence, now(), now().unix.plus(days(180))).expect("within bounds")
}

/// A card of somebody else that names a manifest that is not his.
fn naming(seed: u8, name: &str, sequence: u32, manifest: ManifestHash) -> Verified<Card> {
    let honest = published_by(seed, name, sequence);
    wend_genome::card::CardFields { manifest, ..honest.card.view().to_fields() }.sign(&identity(seed))
}

struct Node {
    curator: Curator,
    folder: TempDir,
}

impl Node {
    fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a temporary folder"), now())
    }

    fn at(folder: TempDir, now: Now) -> Self {
        // The writer of the run before closes the database a moment after its last handle is gone.
        let (store, stored) = loop {
            match Store::open(&folder.path().join("state.redb")) {
                Err(StoreError::InUse { .. }) => std::thread::yield_now(),
                other => break other.expect("opened"),
            }
        };
        let (summary, _) = watch::channel(CatalogSummary { count: 0, root: CatalogRoot::new([0; 8]) });
        let parts = Parts {
            home: Home::locate(Some(folder.path().to_owned())).expect("a folder is given"),
            identity: identity(1),
            store,
            cards: stored.cards,
            model: None,
            expiry: days(180),
            summary,
            clock: Clock::start(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        };
        Self { curator: Curator::new(parts, now), folder }
    }

    fn restarted(self, now: Now) -> Self {
        let Self { curator, folder } = self;
        drop(curator);
        Self::at(folder, now)
    }

    fn publish(&mut self, now: Now, name: &str, vector: Option<(SpaceId, QuantisedVector)>) -> Published {
        self.curator.publish(now, vec![Prepared { draft: draft(name), vector }]).expect("published")
    }

    /// A neighbour pushes a card with its publisher's key. Whether it is in the catalog then.
    fn take(&mut self, now: Now, seed: u8, card: &Card) -> bool {
        let (card_bytes, key) = (card.as_bytes().to_vec(), identity(seed).public().as_bytes().to_vec());
        let push = rmpv::Value::Array(vec![1.into(), 1.into(), card_bytes.into(), key.into()]);
        self.curator.answer(now, IdentityHash::new([7; 16]), &write_value(&push)).expect("stored");
        self.curator.catalog.contains(&card.id())
    }

    fn keep(&mut self, entry: &Signed, seed: u8) {
        let id = outward(entry.card.id());
        let key = *identity(seed).public().as_bytes();
        self.curator.keep_manifest(id, entry.manifest.as_bytes(), &key).expect("its manifest");
    }

    fn own(&self, name: &str) -> Option<Card> {
        let id = self.curator.catalog.by_name(identity(1).hash(), name)?;
        self.curator.card(&id)
    }

    fn shown(&self, entry: &str) -> wend_commands::builtin::genome::ShowReply {
        self.curator.entry(entry).expect("in the catalog").reply
    }
}

#[test]
fn a_strangers_card_does_not_take_a_manifest_with_it() {
    let mut node = Node::new();
    node.publish(now(), "mine", None);
    let mine = node.own("mine").expect("published").view().manifest();
    let theirs = published_by(2, "theirs", 1);
    assert!(node.take(now(), 2, &theirs.card));
    node.keep(&theirs, 2);
    for manifest in [mine, theirs.manifest.hash()] {
        let name = format!("stranger {}", &manifest.to_string()[..8]);
        assert!(node.take(now(), 9, &naming(9, &name, 1, manifest)));
        assert!(node.take(now(), 9, &published_by(9, &name, 2).card));
        assert!(node.curator.manifest(manifest).is_some());
    }
    assert!(node.shown("mine").manifest_verified && node.shown("theirs").manifest_verified);
}

#[test]
fn a_manifest_goes_with_the_last_card_of_its_publisher_that_names_it() {
    let mut node = Node::new();
    let entry = published_by(2, "a", 1);
    let manifest = entry.manifest.hash();
    let twin = naming(2, "twin", 1, manifest);
    node.take(now(), 2, &entry.card);
    node.take(now(), 2, &twin);
    node.take(now(), 9, &naming(9, "stranger", 1, manifest));
    node.keep(&entry, 2);
    node.take(now(), 2, &published_by(2, "a", 2).card);
    assert!(node.curator.manifest(manifest).is_some(), "another card names it");
    node.take(now(), 2, &published_by(2, "twin", 2).card);
    assert!(node.curator.manifest(manifest).is_none(), "only a stranger names it");
}

#[test]
fn publishing_anew_leaves_nothing_of_the_old_behind() {
    let mut node = Node::new();
    node.publish(now(), "mine", None);
    let before = node.own("mine").expect("published");
    assert_eq!(node.publish(now(), "mine", Some(vector(0.1))).updated, 1);
    assert!(node.curator.card(&before.id()).is_none());
    assert!(node.curator.manifest(before.view().manifest()).is_none());
    assert!(node.shown("mine").manifest_verified);
}

#[test]
fn a_card_that_names_what_somebody_else_published_has_no_manifest() {
    let mut node = Node::new();
    node.publish(now(), "mine", Some(vector(0.1)));
    let mine = node.own("mine").expect("published").view().manifest();
    let forged = naming(9, "copy", 1, mine);
    node.take(now(), 9, &forged);
    let shown = node.shown("copy");
    assert!(!shown.manifest_verified && shown.description.is_none() && shown.name == "copy");
    let given = node.curator.give_manifest(Wanted::Entry(outward(forged.id())));
    assert_eq!(given.map(|_| ()).map_err(|failure| failure.code), Err(Code::UNAVAILABLE));
    let listed = node.curator.list(None, 9).expect("no kind is named").entries;
    assert!(listed.iter().all(|entry| entry.manifest == (entry.name == "mine")));
    // Neither the words nor the vector of the other.
    for (text, vector) in [("crates", None), ("unrelated", Some((SPACE, vector(0.1).1)))] {
        let question = question(text, vector);
        let hits = node.curator.find(&question).hits;
        assert_eq!(hits.iter().map(|hit| hit.name.as_str()).collect::<Vec<_>>(), ["mine"], "{text}");
    }
}

fn question(text: &str, vector: Option<(SpaceId, QuantisedVector)>) -> Question {
    let vector = vector.map(|(space, vector)| (space, QueryVector::Quantised(vector)));
    Question { text: text.to_owned(), vector, filter: Filter::default(), limit: 10, why_words: None }
}

#[test]
fn what_was_published_survives_a_start_with_a_clock_far_ahead() {
    let mut node = Node::new();
    node.publish(now(), "mine", Some(vector(0.1)));
    let theirs = published_by(2, "theirs", 1);
    node.take(now(), 2, &theirs.card);
    let before = node.own("mine").expect("published");
    let ahead = now().later(days(200));
    let node = node.restarted(ahead);
    let renewed = node.own("mine").expect("renewed");
    assert_eq!(renewed.view().manifest(), before.view().manifest());
    assert_eq!(renewed.view().sequence(), before.view().sequence() + 1);
    assert_eq!(renewed.view().expiry(), ahead.unix.plus(days(180)));
    assert!(node.shown("mine").manifest_verified);
    assert!(!node.curator.catalog.contains(&theirs.card.id()), "expired by this clock");
    // The clock is right again: what others published comes back from the disk.
    let node = node.restarted(now());
    assert!(node.shown("mine").manifest_verified);
    assert!(node.curator.catalog.contains(&theirs.card.id()));
    assert!(node.curator.shelf.key(&identity(2).hash()).is_some());
}

#[test]
fn own_entries_from_an_impossible_date_are_renewed_when_the_clock_is_right() {
    let mut node = Node::new();
    let far_ahead = now().later(days(1000));
    node.publish(far_ahead, "mine", None);
    node.curator.keep_time(now());
    assert_eq!(node.own("mine").map(|card| card.view().expiry()), Some(now().unix.plus(days(180))));
    let mut node = node.restarted(now());
    node.publish(far_ahead, "other", None);
    let node = node.restarted(now());
    assert_eq!(node.own("other").map(|card| card.view().expiry()), Some(now().unix.plus(days(180))));
    assert!(node.shown("mine").manifest_verified && node.shown("other").manifest_verified);
}

#[test]
fn own_entries_are_renewed_at_half_their_life_and_not_before() {
    let mut node = Node::new();
    node.publish(now(), "mine", None);
    let first = node.own("mine").expect("published");
    node.curator.keep_time(now().later(days(89)));
    assert_eq!(node.own("mine"), Some(first.clone()));
    node.curator.keep_time(now().later(days(91)));
    let second = node.own("mine").expect("renewed");
    assert_eq!(second.view().expiry(), now().unix.plus(days(271)));
    assert!(node.curator.card(&first.id()).is_none() && node.shown("mine").manifest_verified);
}

#[test]
fn expired_cards_of_others_stay_on_the_disk_for_thirty_days() {
    let mut node = Node::new();
    let entry = published_by(2, "theirs", 1);
    node.take(now(), 2, &entry.card);
    node.keep(&entry, 2);
    node.curator.keep_time(now().later(days(181)));
    assert!(!node.curator.catalog.contains(&entry.card.id()));
    let mut node = node.restarted(now().later(days(209)));
    assert!(!node.curator.catalog.contains(&entry.card.id()));
    assert!(node.curator.card(&entry.card.id()).is_some() && node.curator.manifest(entry.manifest.hash()).is_some());
    node.curator.keep_time(now().later(days(211)));
    assert!(node.curator.card(&entry.card.id()).is_none() && node.curator.manifest(entry.manifest.hash()).is_none());
    assert!(node.curator.shelf.key(&identity(2).hash()).is_none());
}

#[test]
fn nothing_is_published_by_a_clock_that_was_never_set() {
    let mut node = Node::new();
    let unset = Now { mono: Instant::ZERO, unix: UnixTime(5000) };
    let refused = node.curator.publish(unset, vec![Prepared { draft: draft("mine"), vector: None }]);
    let failure = refused.map(|_| ()).expect_err("refused");
    assert!(failure.code == Code::UNAVAILABLE && failure.detail.contains("set the clock"), "{failure}");
}

#[test]
fn publishing_without_an_embedder_keeps_the_vector_of_the_same_text() {
    let mut node = Node::new();
    let vector_of = |node: &Node| {
        let card = node.own("mine").expect("published");
        node.curator.manifest_of(&card.view()).and_then(|manifest| manifest.fields().vector)
    };
    node.publish(now(), "mine", Some(vector(0.1)));
    let again = node.publish(now(), "mine", None);
    assert_eq!((again.unchanged, again.embedded), (1, 1));
    let newer = Draft { version: "1.1.0".to_owned(), ..draft("mine") };
    let published = node.curator.publish(now(), vec![Prepared { draft: newer, vector: None }]).expect("published");
    assert_eq!((published.updated, published.embedded), (1, 1));
    assert_eq!(vector_of(&node), Some(vector(0.1)));
    let other = Draft { description: "something else".to_owned(), ..draft("mine") };
    node.curator.publish(now(), vec![Prepared { draft: other, vector: None }]).expect("published");
    assert_eq!(vector_of(&node), None, "the vector of another text");
}

#[test]
fn sequences_go_on_upwards_where_the_state_was_lost() {
    let mut node = Node::new();
    node.publish(now(), "mine", None);
    node.publish(now(), "mine", Some(vector(0.1)));
    let before = node.own("mine").expect("published").view().sequence();
    assert_eq!(u64::from(before), now().unix.0 / 60 + 1);
    let mut fresh = Node::new();
    fresh.publish(now().later(Duration::from_secs(180)), "mine", None);
    assert!(fresh.own("mine").expect("published").view().sequence() > before);
}

#[test]
fn a_card_that_may_not_enter_is_neither_stored_nor_remembered() {
    let mut node = Node::new();
    let entry = published_by(2, "theirs", 1);
    let late = now().later(days(300));
    assert!(!node.take(late, 2, &entry.card));
    assert!(node.curator.card(&entry.card.id()).is_none() && node.curator.shelf.key(&identity(2).hash()).is_none());
    assert!(node.take(now(), 2, &entry.card));
}
