//! Identities that are shut out: who, by whom, until when, and why. docs/protocol/1-core.md, section 4.9.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::hash::IdentityHash;
use crate::msgpack::{Invalid, Reader, Writer};
use crate::time::UnixTime;

/// Time between two looks for entries that have expired. They shut out until then.
pub const BLACKHOLE_SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Longest reason kept, in bytes of UTF-8.
pub const REASON_MAX: usize = 200;

/// Why an identity is shut out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlackholeEntry {
    /// Whose decision it is: this node's transport identity, or that of the node whose list it came with.
    pub source: IdentityHash,
    /// When it ends; never when absent.
    pub until: Option<UnixTime>,
    /// Why, at most [`REASON_MAX`] bytes.
    pub reason: Option<String>,
}

impl BlackholeEntry {
    /// An entry whose reason is cut to what is kept.
    pub fn new(source: IdentityHash, until: Option<UnixTime>, reason: Option<&str>) -> Self {
        let cut = |text: &str| {
            text.chars()
                .scan(0, |len, char| {
                    *len += char.len_utf8();
                    (*len <= REASON_MAX).then_some(char)
                })
                .collect()
        };
        Self { source, until, reason: reason.map(cut) }
    }

    fn is_over(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| now > until)
    }
}

/// What became of an entry that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blackholed {
    /// It is in the list now.
    Added,
    /// The identity was shut out already, and that entry stays.
    Already,
    /// There is no room.
    Full,
    /// It would be over at once.
    Expired,
    /// It is an identity of this node.
    Own,
}

/// The list, of at most `capacity` entries.
///
/// When it is full, what another node says is not taken; what this node's owner says takes the place of the oldest entry of
/// the source that has most, and is refused when all are the owner's.
#[derive(Debug)]
pub struct Blackhole {
    own: IdentityHash,
    entries: BTreeMap<IdentityHash, (u64, BlackholeEntry)>,
    next: u64,
    capacity: usize,
    /// The published form, from the first time it is asked for until something changes: anybody may ask.
    published: OnceLock<Bytes>,
}

impl Blackhole {
    /// An empty list of a node with this transport identity.
    pub const fn new(own: IdentityHash, capacity: usize) -> Self {
        Self { own, entries: BTreeMap::new(), next: 0, capacity, published: OnceLock::new() }
    }

    /// Whether an identity is shut out.
    pub fn contains(&self, identity: &IdentityHash) -> bool {
        self.entries.contains_key(identity)
    }

    /// Adds an entry. One that is there stays as it is, unless it came from another node and this one is the owner's.
    pub fn add(&mut self, now: UnixTime, identity: IdentityHash, entry: BlackholeEntry) -> Blackholed {
        if entry.is_over(now) {
            return Blackholed::Expired;
        }
        let owners = entry.source == self.own;
        let before = self.entries.get(&identity).map(|(_, before)| before.source);
        if before.is_some_and(|source| !owners || source == self.own) {
            return Blackholed::Already;
        }
        let full = before.is_none() && self.entries.len() >= self.capacity;
        if full && !(owners && self.make_room()) {
            return Blackholed::Full;
        }
        self.published.take();
        self.entries.insert(identity, (self.next, entry));
        self.next += 1;
        Blackholed::Added
    }

    /// Takes the oldest entry of the source that has most out, of others than this node. Says whether there was one.
    fn make_room(&mut self) -> bool {
        let foreign = || self.entries.iter().filter(|(_, (_, entry))| entry.source != self.own);
        let mut counts = BTreeMap::<_, usize>::new();
        for (_, (_, entry)) in foreign() {
            *counts.entry(entry.source).or_default() += 1;
        }
        let Some(largest) = counts.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source) else {
            return false;
        };
        let oldest = foreign().filter(|(_, (_, entry))| entry.source == largest).min_by_key(|(_, (age, _))| *age);
        let oldest = oldest.map(|(identity, _)| *identity);
        oldest.is_some_and(|identity| self.entries.remove(&identity).is_some())
    }

    /// Takes an identity out, whoever put it in. Says whether it was there.
    pub fn remove(&mut self, identity: &IdentityHash) -> bool {
        self.published.take();
        self.entries.remove(identity).is_some()
    }

    /// Takes out what `source` put in and no longer names in `list`. Says how many those were.
    pub fn retain_of(&mut self, source: IdentityHash, list: &BTreeMap<IdentityHash, BlackholeEntry>) -> usize {
        self.published.take();
        let before = self.entries.len();
        self.entries.retain(|identity, (_, entry)| entry.source != source || list.contains_key(identity));
        before - self.entries.len()
    }

    /// Takes out what has expired.
    pub fn sweep(&mut self, now: UnixTime) {
        self.published.take();
        self.entries.retain(|_, (_, entry)| !entry.is_over(now));
    }

    /// Whether any entry ends by itself.
    pub fn has_deadlines(&self) -> bool {
        self.entries.values().any(|(_, entry)| entry.until.is_some())
    }

    /// All entries in the order of their identities.
    pub fn iter(&self) -> impl Iterator<Item = (&IdentityHash, &BlackholeEntry)> {
        self.entries.iter().map(|(identity, (_, entry))| (identity, entry))
    }

    /// How many identities are shut out.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The list as it is published: one MessagePack map of identity hash to a map of `source`, `until` and `reason`.
    pub fn encode(&self) -> Bytes {
        self.published.get_or_init(|| self.written().into()).clone()
    }

    fn written(&self) -> Vec<u8> {
        let start = Writer::new().map(self.entries.len());
        let written = self.iter().fold(start, |writer, (identity, entry)| {
            let writer = writer.bin(identity.as_bytes()).map(3).str("source").bin(entry.source.as_bytes()).str("until");
            let writer = match entry.until {
                Some(until) => writer.float(seconds(until)),
                None => writer.nil(),
            };
            let writer = writer.str("reason");
            match &entry.reason {
                Some(reason) => writer.str(reason),
                None => writer.nil(),
            }
        });
        written.into_bytes()
    }
}

/// Why a published list is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBlackholeList {
    /// It is not MessagePack of that form.
    #[error(transparent)]
    Form(#[from] Invalid),
    /// A key is not an identity hash.
    #[error("a key of the blackhole list is not an identity hash")]
    Key,
}

/// Reads a list as another node publishes it, no more than its first `max` entries. Every entry counts as that node's,
/// whatever it says of where it has it from.
///
/// # Errors
/// When it is not such a list. Unknown fields of an entry are passed over.
pub fn decode_list(
    bytes: &[u8],
    source: IdentityHash,
    max: usize,
) -> Result<BTreeMap<IdentityHash, BlackholeEntry>, InvalidBlackholeList> {
    let mut reader = Reader::new(bytes);
    let mut list = BTreeMap::new();
    for _ in 0..reader.map()?.min(max) {
        let identity = IdentityHash::from_slice(reader.bin()?).ok_or(InvalidBlackholeList::Key)?;
        let (mut until, mut reason) = (None, None);
        for _ in 0..reader.map()? {
            match reader.str()? {
                "until" if !reader.nil() => until = Some(whole_seconds(reader.number()?)),
                "reason" if !reader.nil() => reason = Some(reader.str()?),
                "until" | "reason" => {}
                _ => drop(reader.value()?),
            }
        }
        list.insert(identity, BlackholeEntry::new(source, until, reason));
    }
    Ok(list)
}

/// As the network writes times: seconds as a float.
#[expect(clippy::cast_precision_loss, reason = "times have far fewer than 53 bits")]
pub(super) fn seconds(time: UnixTime) -> f64 {
    time.0 as f64
}

/// The first whole second that is not before `time`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and no-number becomes 0"
)]
fn whole_seconds(time: f64) -> UnixTime {
    UnixTime(time.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IdentityHash = IdentityHash::new([0; 16]);
    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn id(number: u32) -> IdentityHash {
        let mut bytes = [9; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        IdentityHash::new(bytes)
    }

    fn by(source: IdentityHash) -> BlackholeEntry {
        BlackholeEntry::new(source, None, None)
    }

    #[test]
    fn what_is_there_stays_but_the_owners_word_counts_more() {
        let mut list = Blackhole::new(OWN, 4);
        assert_eq!(list.add(NOW, id(1), by(id(90))), Blackholed::Added);
        assert_eq!(list.add(NOW, id(1), by(id(91))), Blackholed::Already);
        assert_eq!(list.add(NOW, id(1), by(OWN)), Blackholed::Added);
        assert_eq!(list.add(NOW, id(1), BlackholeEntry::new(OWN, None, Some("again"))), Blackholed::Already);
        assert_eq!(list.iter().collect::<Vec<_>>(), [(&id(1), &by(OWN))]);
    }

    #[test]
    fn a_flood_from_sources_leaves_the_size_and_the_owners_entries() {
        let mut list = Blackhole::new(OWN, 100);
        assert_eq!(list.add(NOW, id(5000), by(OWN)), Blackholed::Added);
        for number in 0..1000 {
            list.add(NOW, id(number), by(if number < 60 { id(90) } else { id(91) }));
        }
        assert_eq!((list.len(), list.add(NOW, id(2000), by(id(92)))), (100, Blackholed::Full));
        assert_eq!(list.add(NOW, id(2000), by(OWN)), Blackholed::Added, "the owner always has room");
        assert_eq!(list.len(), 100);
        assert!(!list.contains(&id(0)), "the oldest of the source that has most gave way");
        assert!(list.contains(&id(1)) && list.contains(&id(60)) && list.contains(&id(5000)));
    }

    #[test]
    fn a_list_full_of_the_owners_entries_takes_no_more() {
        let mut list = Blackhole::new(OWN, 2);
        for number in 0..2 {
            assert_eq!(list.add(NOW, id(number), by(OWN)), Blackholed::Added);
        }
        assert_eq!(list.add(NOW, id(2), by(OWN)), Blackholed::Full);
    }

    #[test]
    fn an_entry_counts_until_the_sweep_after_its_end() {
        let mut list = Blackhole::new(OWN, 2);
        let until = |time| BlackholeEntry::new(OWN, Some(UnixTime(time)), None);
        assert_eq!(list.add(NOW, id(1), until(NOW.0 - 1)), Blackholed::Expired);
        assert_eq!(list.add(NOW, id(1), until(NOW.0 + 5)), Blackholed::Added);
        list.sweep(UnixTime(NOW.0 + 5));
        assert!(list.contains(&id(1)) && list.has_deadlines());
        list.sweep(UnixTime(NOW.0 + 6));
        assert!(list.is_empty() && !list.has_deadlines());
    }

    #[test]
    fn what_is_published_is_read_back_as_the_publishers() {
        let mut list = Blackhole::new(OWN, 4);
        list.add(NOW, id(1), BlackholeEntry::new(id(90), Some(UnixTime(NOW.0 + 60)), Some("floods")));
        list.add(NOW, id(2), by(OWN));
        let read = decode_list(&list.encode(), id(7), 4).unwrap();
        assert_eq!(read[&id(1)], BlackholeEntry::new(id(7), Some(UnixTime(NOW.0 + 60)), Some("floods")));
        assert_eq!(read[&id(2)], by(id(7)));
        assert_eq!(decode_list(&list.encode(), id(7), 1).unwrap().len(), 1);
    }

    #[test]
    fn what_a_source_no_longer_names_is_lifted() {
        let mut list = Blackhole::new(OWN, 4);
        for number in 0..2 {
            list.add(NOW, id(number), by(id(90)));
        }
        list.add(NOW, id(2), by(OWN));
        assert_eq!(list.retain_of(id(90), &[(id(1), by(id(90)))].into()), 1);
        assert_eq!(list.iter().map(|(identity, _)| *identity).collect::<Vec<_>>(), [id(1), id(2)]);
    }

    #[test]
    fn lists_of_another_form_are_refused_and_long_reasons_cut() {
        assert_eq!(decode_list(&[0xc0], OWN, 9), Err(Invalid::Type.into()));
        assert_eq!(decode_list(&[0x81, 0xc4, 1, 7, 0x80], OWN, 9), Err(InvalidBlackholeList::Key));
        // A map that promises four billion entries and holds none.
        assert_eq!(decode_list(&[0xdf, 0xff, 0xff, 0xff, 0xff], OWN, 9), Err(Invalid::Truncated.into()));
        let entry = BlackholeEntry::new(OWN, None, Some(&"ä".repeat(300)));
        assert_eq!(entry.reason.map(|reason| reason.len()), Some(REASON_MAX));
    }

    #[test]
    fn times_of_peers_that_are_no_times_do_no_harm() {
        assert_eq!(whole_seconds(f64::NAN), UnixTime(0));
        assert_eq!(whole_seconds(-5.0), UnixTime(0));
        assert_eq!(whole_seconds(f64::INFINITY), UnixTime(u64::MAX));
        assert_eq!(whole_seconds(10.2), UnixTime(11));
    }

    #[test]
    fn the_published_list_is_made_once_for_all_who_ask_and_anew_when_it_changes() {
        let mut list = Blackhole::new(OWN, 4);
        list.add(NOW, id(1), BlackholeEntry::new(OWN, Some(UnixTime(NOW.0 + 9)), None));
        let first = list.encode();
        assert!(core::ptr::eq(first.as_ptr(), list.encode().as_ptr()), "the very same bytes");
        let read = |list: &Blackhole| decode_list(&list.encode(), id(7), 9).unwrap().len();
        list.add(NOW, id(2), by(id(90)));
        assert_eq!(read(&list), 2);
        list.retain_of(id(90), &BTreeMap::new());
        assert_eq!(read(&list), 1);
        list.sweep(UnixTime(NOW.0 + 10));
        assert_eq!(read(&list), 0);
        list.add(NOW, id(3), by(OWN));
        assert_eq!(read(&list), 1);
        list.remove(&id(3));
        assert_eq!(read(&list), 0);
    }
}
