//! What the two sides of a sync dialogue say to each other. docs/protocol/mesh.md, Sync messages.

use rmpv::Value;
use wend_packet::IdentityHash;
use wend_packet::identity::{KEY_LEN, PublicIdentity};
use wend_packet::time::UnixTime;

use super::reconcile::{Part, SYMBOLS_MAX, Salt, SaltedId, Symbol};
use crate::card::{Card, CardError, CardRef};
use crate::catalog::Summary;
use crate::entry::EntryId;

/// The version that this code speaks.
pub const VERSION: u8 = 1;
/// The most bytes of cards and keys in one message.
pub const PAGE_MAX: usize = 64 * 1024;
/// The most entries of his own that a newcomer lists.
pub const HAVE_MAX: usize = 64;

/// Why a message is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not an array of a known length that starts with version and kind.
    #[error("not a sync message")]
    Shape,
    /// Another version.
    #[error("sync version {0} is not known here")]
    Version(u64),
    /// A field has the wrong type, length or range.
    #[error("field `{0}` of a sync message is out of range")]
    Field(&'static str),
    /// A card in it is none.
    #[error("a card in a sync message: {0}")]
    Card(#[from] CardError),
}

/// Cards, one after the other, and the keys of those among their publishers who were not named before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// The cards' bytes.
    pub(super) cards: Vec<u8>,
    /// The keys' bytes.
    pub(super) keys: Vec<u8>,
}

impl Bundle {
    /// Bytes of cards.
    pub fn cards_len(&self) -> usize {
        self.cards.len()
    }

    /// Bytes of keys.
    pub fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// The cards; their form was checked when the message was read.
    pub fn cards(&self) -> impl Iterator<Item = Card> {
        let mut rest = self.cards.as_slice();
        core::iter::from_fn(move || {
            let (card, after) = CardRef::parse_prefix(rest).ok()?;
            rest = after;
            Some(card.to_card())
        })
    }

    /// The keys that are keys.
    pub fn keys(&self) -> impl Iterator<Item = PublicIdentity> {
        self.keys.as_chunks::<KEY_LEN>().0.iter().filter_map(|key| PublicIdentity::from_slice(key).ok())
    }

    fn read(cards: &Value, keys: &Value) -> Result<Self, Malformed> {
        let cards = bytes(cards, "cards")?;
        let mut rest = cards;
        while !rest.is_empty() {
            (_, rest) = CardRef::parse_prefix(rest)?;
        }
        let keys = bytes(keys, "keys")?;
        // Somewhat more than a page: the last card may overshoot, and takes its key along.
        if cards.len() + keys.len() > PAGE_MAX + 1024 || !keys.len().is_multiple_of(KEY_LEN) {
            return Err(Malformed::Field("keys"));
        }
        Ok(Self { cards: cards.to_vec(), keys: keys.to_vec() })
    }
}

/// Where a listing of everything, newest first, goes on: after this card.
pub type Mark = (UnixTime, EntryId);

/// What the asker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Symbols of the asker's set; the answer names what the two do not share.
    Compare {
        /// The salt of the dialogue.
        salt: Salt,
        /// Which part of the ids this is about.
        part: Part,
        /// How many bytes of cards and keys the answer may have.
        limit: usize,
        /// How many of the missing cards are still to come; `None` before the first of them came.
        left: Option<usize>,
        /// The position of the first of `symbols`; the answerer has those before it.
        start: usize,
        /// Coded symbols.
        symbols: Vec<Symbol>,
        /// The asker's whole catalog, at the start of a dialogue.
        summary: Option<Summary>,
    },
    /// Cards that the answerer wants.
    Push(Bundle),
    /// Everything, newest first: a newcomer's question.
    Everything {
        /// The salt of the dialogue.
        salt: Salt,
        /// How many bytes of cards and keys the answer may have.
        limit: usize,
        /// The last card of the page before.
        mark: Option<Mark>,
        /// What the newcomer has: at most [`HAVE_MAX`] ids.
        have: Vec<SaltedId>,
    },
}

/// What the answerer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The two catalogs are the same.
    Equal,
    /// So many more symbols are needed; the answerer has `count` entries.
    More {
        /// How many.
        symbols: usize,
        /// The size of the answerer's catalog.
        count: u32,
    },
    /// The difference is known: here are cards that the asker lacks, newest first.
    Cards {
        /// The first of them.
        bundle: Bundle,
        /// How many more there are.
        remaining: usize,
        /// With the first of them, the upper halves of the salted ids that the answerer lacks.
        want: Vec<u32>,
    },
    /// There are too many differences for one comparison: compare the parts with so many bits more.
    Split {
        /// How many bits.
        bits: u8,
        /// The size of the answerer's catalog.
        count: u32,
    },
    /// So many cards were received; they are checked before they count.
    Received(usize),
    /// The answerer no longer has the symbols before `start`.
    Lost,
    /// A page of everything.
    Page {
        /// Cards, newest first.
        bundle: Bundle,
        /// Where the next page starts; `None` after the last one.
        mark: Option<Mark>,
        /// On the last page, the upper halves of the salted ids that the answerer lacks out of those the newcomer has.
        want: Vec<u32>,
    },
}

fn uint(value: &Value, max: usize, name: &'static str) -> Result<usize, Malformed> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.filter(|number| *number <= max).ok_or(Malformed::Field(name))
}

fn bytes<'a>(value: &'a Value, name: &'static str) -> Result<&'a [u8], Malformed> {
    match value {
        Value::Binary(bytes) => Ok(bytes),
        _ => Err(Malformed::Field(name)),
    }
}

fn array<const N: usize>(value: &Value, name: &'static str) -> Result<[u8; N], Malformed> {
    bytes(value, name)?.try_into().map_err(|_| Malformed::Field(name))
}

fn write_limit(limit: usize) -> Value {
    if limit >= PAGE_MAX { Value::Nil } else { Value::from(limit) }
}

fn read_limit(value: &Value) -> Result<usize, Malformed> {
    if value.is_nil() { Ok(PAGE_MAX) } else { Ok(uint(value, usize::MAX, "limit")?.min(PAGE_MAX)) }
}

/// A part as one number: a set bit, then the bits that name it.
fn write_part(part: Part) -> Value {
    Value::from(1_u32 << part.bits() | part.head())
}

fn read_part(value: &Value) -> Result<Part, Malformed> {
    let number = uint(value, usize::MAX, "part")?;
    let number = u32::try_from(number).ok().filter(|number| *number > 0).ok_or(Malformed::Field("part"))?;
    let bits = u8::try_from(number.ilog2()).map_err(|_| Malformed::Field("part"))?;
    Part::new(bits, number ^ 1 << bits).ok_or(Malformed::Field("part"))
}

fn write_mark(mark: Option<Mark>) -> Value {
    mark.map_or(Value::Nil, |(expiry, id)| {
        Value::Array(vec![Value::from(expiry.0), Value::Binary(id.as_bytes().to_vec())])
    })
}

fn read_mark(value: &Value) -> Result<Option<Mark>, Malformed> {
    match value {
        Value::Nil => Ok(None),
        Value::Array(fields) => match fields.as_slice() {
            [expiry, id] => {
                let expiry = UnixTime(expiry.as_u64().ok_or(Malformed::Field("mark"))?);
                Ok(Some((expiry, EntryId::new(array(id, "mark")?))))
            }
            _ => Err(Malformed::Field("mark")),
        },
        _ => Err(Malformed::Field("mark")),
    }
}

fn write_want(want: &[u32]) -> Value {
    Value::Binary(want.iter().flat_map(|id| id.to_be_bytes()).collect())
}

fn read_want(value: &Value) -> Result<Vec<u32>, Malformed> {
    let (ids, rest) = bytes(value, "want")?.as_chunks::<4>();
    if !rest.is_empty() || ids.len() > SYMBOLS_MAX {
        return Err(Malformed::Field("want"));
    }
    Ok(ids.iter().map(|id| u32::from_be_bytes(*id)).collect())
}

/// The fields after version and kind, and the kind.
fn open(value: &Value) -> Result<(u64, &[Value]), Malformed> {
    let fields = value.as_array().ok_or(Malformed::Shape)?;
    let [version, kind, fields @ ..] = fields.as_slice() else { return Err(Malformed::Shape) };
    let version = version.as_u64().ok_or(Malformed::Shape)?;
    if version != u64::from(VERSION) {
        return Err(Malformed::Version(version));
    }
    Ok((kind.as_u64().ok_or(Malformed::Shape)?, fields))
}

fn message(kind: u8, fields: impl IntoIterator<Item = Value>) -> Value {
    Value::Array([Value::from(VERSION), Value::from(kind)].into_iter().chain(fields).collect())
}

impl Request {
    /// As the params of the command `genome/sync`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Compare { salt, part, limit, left, start, symbols, summary } => {
                let summary = summary.map(|summary| [Value::from(summary.count), Value::Binary(summary.root.to_vec())]);
                let fields = [
                    Value::Binary(salt.0.to_vec()),
                    write_part(*part),
                    write_limit(*limit),
                    left.map_or(Value::Nil, Value::from),
                    Value::from(*start),
                    Value::Binary(Symbol::write_all(symbols)),
                ];
                message(0, fields.into_iter().chain(summary.into_iter().flatten()))
            }
            Self::Push(bundle) => message(1, [Value::Binary(bundle.cards.clone()), Value::Binary(bundle.keys.clone())]),
            Self::Everything { salt, limit, mark, have } => {
                let have = have.iter().flat_map(|id| id.0.to_be_bytes()).collect();
                message(
                    2,
                    [Value::Binary(salt.0.to_vec()), write_limit(*limit), write_mark(*mark), Value::Binary(have)],
                )
            }
        }
    }

    /// Reads the params of the command `genome/sync`.
    ///
    /// # Errors
    /// When it is not a request of this version.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        match open(value)? {
            (0, [salt, part, limit, left, start, symbols, summary @ ..]) => {
                let summary = match summary {
                    [] => None,
                    [count, root] => {
                        let count = count.as_u64().and_then(|count| u32::try_from(count).ok());
                        Some(Summary { count: count.ok_or(Malformed::Field("count"))?, root: array(root, "root")? })
                    }
                    _ => return Err(Malformed::Shape),
                };
                Ok(Self::Compare {
                    salt: Salt(array(salt, "salt")?),
                    part: read_part(part)?,
                    limit: read_limit(limit)?,
                    left: if left.is_nil() { None } else { Some(uint(left, SYMBOLS_MAX, "left")?) },
                    start: uint(start, SYMBOLS_MAX, "start")?,
                    symbols: Symbol::read_all(bytes(symbols, "symbols")?).ok_or(Malformed::Field("symbols"))?,
                    summary,
                })
            }
            (1, [cards, keys]) => Ok(Self::Push(Bundle::read(cards, keys)?)),
            (2, [salt, limit, mark, have]) => {
                let (ids, rest) = bytes(have, "have")?.as_chunks::<8>();
                if !rest.is_empty() || ids.len() > HAVE_MAX {
                    return Err(Malformed::Field("have"));
                }
                Ok(Self::Everything {
                    salt: Salt(array(salt, "salt")?),
                    limit: read_limit(limit)?,
                    mark: read_mark(mark)?,
                    have: ids.iter().map(|id| SaltedId(u64::from_be_bytes(*id))).collect(),
                })
            }
            _ => Err(Malformed::Shape),
        }
    }
}

impl Response {
    /// As the result of the command `genome/sync`.
    pub fn to_value(&self) -> Value {
        let binary = |bytes: &Vec<u8>| Value::Binary(bytes.clone());
        match self {
            Self::Equal => message(0, []),
            Self::More { symbols, count } => message(1, [Value::from(*symbols), Value::from(*count)]),
            Self::Cards { bundle, remaining, want } => {
                message(2, [binary(&bundle.cards), binary(&bundle.keys), Value::from(*remaining), write_want(want)])
            }
            Self::Split { bits, count } => message(3, [Value::from(*bits), Value::from(*count)]),
            Self::Received(cards) => message(4, [Value::from(*cards)]),
            Self::Lost => message(5, []),
            Self::Page { bundle, mark, want } => {
                message(6, [binary(&bundle.cards), binary(&bundle.keys), write_mark(*mark), write_want(want)])
            }
        }
    }

    /// Reads the result of the command `genome/sync`.
    ///
    /// # Errors
    /// When it is not a response of this version.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let count = |value: &Value| {
            let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
            count.ok_or(Malformed::Field("count"))
        };
        match open(value)? {
            (0, []) => Ok(Self::Equal),
            (1, [symbols, size]) => {
                Ok(Self::More { symbols: uint(symbols, SYMBOLS_MAX, "symbols")?, count: count(size)? })
            }
            (2, [cards, keys, remaining, want]) => Ok(Self::Cards {
                bundle: Bundle::read(cards, keys)?,
                remaining: uint(remaining, SYMBOLS_MAX, "remaining")?,
                want: read_want(want)?,
            }),
            (3, [bits, size]) => {
                let bits = uint(bits, Part::BITS_MAX.into(), "bits")?;
                let bits = u8::try_from(bits).map_err(|_| Malformed::Field("bits"))?;
                Ok(Self::Split { bits, count: count(size)? })
            }
            (4, [cards]) => Ok(Self::Received(uint(cards, PAGE_MAX, "received")?)),
            (5, []) => Ok(Self::Lost),
            (6, [cards, keys, mark, want]) => {
                Ok(Self::Page { bundle: Bundle::read(cards, keys)?, mark: read_mark(mark)?, want: read_want(want)? })
            }
            _ => Err(Malformed::Shape),
        }
    }
}

/// The length of a value in MessagePack.
pub fn encoded_len(value: &Value) -> usize {
    let mut bytes = Vec::new();
    // Writing into a vector does not fail.
    if rmpv::encode::write_value(&mut bytes, value).is_err() {
        return 0;
    }
    bytes.len()
}

/// Where cards and keys are read from: the node's disk.
pub trait Shelf {
    /// The bytes of a card that was put there.
    fn card(&self, id: &EntryId) -> Option<Vec<u8>>;
    /// The key of a publisher.
    fn key(&self, publisher: &IdentityHash) -> Option<PublicIdentity>;
}

/// Fills a bundle from `ids` up to `limit` bytes, but with one card at least; `with_key` is asked once for every card
/// whether its publisher's key goes along. Returns how many ids were used up.
pub(super) fn fill(
    ids: impl IntoIterator<Item = EntryId>,
    limit: usize,
    shelf: &dyn Shelf,
    mut with_key: impl FnMut(IdentityHash) -> bool,
) -> (Bundle, usize) {
    let mut bundle = Bundle::default();
    let mut used = 0;
    for id in ids {
        // A card that is gone from the shelf is passed over.
        if let Some(bytes) = shelf.card(&id)
            && let Ok(card) = CardRef::parse(&bytes)
        {
            let len = bundle.cards.len() + bundle.keys.len() + bytes.len() + KEY_LEN;
            if !bundle.cards.is_empty() && len > limit.min(PAGE_MAX) {
                break;
            }
            if with_key(card.publisher())
                && let Some(key) = shelf.key(&card.publisher())
            {
                bundle.keys.extend_from_slice(key.as_bytes());
            }
            bundle.cards.extend_from_slice(&bytes);
        }
        used += 1;
    }
    (bundle, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{card, identity};
    use proptest::prelude::*;

    fn bundle() -> Bundle {
        let cards = [card(1, "one", 1), card(2, "two", 2)].map(|card| card.as_bytes().to_vec()).concat();
        Bundle { cards, keys: identity(1).public().as_bytes().to_vec() }
    }

    #[test]
    fn requests_are_read_as_they_were_written() {
        let salt = Salt(*b"saltsalt");
        let part = Part::new(3, 5).unwrap();
        let summary = Some(Summary { count: 400, root: [7; 8] });
        let compare =
            |summary| Request::Compare { salt, part, limit: 900, left: Some(3), start: 16, symbols: vec![], summary };
        let mark = Some((UnixTime(1_800_000_000), EntryId::new([3; 16])));
        for request in [
            compare(summary),
            compare(None),
            Request::Push(bundle()),
            Request::Everything { salt, limit: PAGE_MAX, mark, have: vec![SaltedId(1), SaltedId(u64::MAX)] },
        ] {
            assert_eq!(Request::from_value(&request.to_value()), Ok(request));
        }
    }

    #[test]
    fn responses_are_read_as_they_were_written() {
        let mark = Some((UnixTime(5), EntryId::new([3; 16])));
        for response in [
            Response::Equal,
            Response::More { symbols: 12, count: 70_000 },
            Response::Cards { bundle: bundle(), remaining: 4, want: vec![1, u32::MAX] },
            Response::Split { bits: 3, count: 9 },
            Response::Received(17),
            Response::Lost,
            Response::Page { bundle: bundle(), mark, want: vec![] },
        ] {
            assert_eq!(Response::from_value(&response.to_value()), Ok(response));
        }
    }

    #[test]
    fn a_bundle_gives_its_cards_and_keys() {
        let names: Vec<_> = bundle().cards().map(|card| card.view().name().to_owned()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(bundle().keys().collect::<Vec<_>>(), [*identity(1).public()]);
    }

    #[test]
    fn out_of_range_fields_are_named() {
        let push = |cards: Vec<u8>, keys: Vec<u8>| {
            Request::from_value(&message(1, [Value::Binary(cards), Value::Binary(keys)]))
        };
        assert_eq!(push(vec![], vec![0; 63]), Err(Malformed::Field("keys")));
        assert_eq!(push(vec![0; 300], vec![]), Err(Malformed::Card(CardError::Version(0))));
        assert_eq!(push(bundle().cards.repeat(400), vec![]), Err(Malformed::Field("keys")));
        assert_eq!(Request::from_value(&Value::from(3)), Err(Malformed::Shape));
        assert_eq!(Request::from_value(&Value::Array(vec![2.into(), 0.into()])), Err(Malformed::Version(2)));
        assert_eq!(read_part(&Value::from(0)), Err(Malformed::Field("part")));
        assert_eq!(read_part(&Value::from(1 << 20)), Err(Malformed::Field("part")));
        assert_eq!(read_part(&Value::from(1)), Ok(Part::WHOLE));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(kind in 0_u8..8, noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let head = [0x9a - kind, 1, kind];
            for bytes in [noise.clone(), [&head[..], &noise].concat()] {
                if let Ok(value) = rmpv::decode::read_value(&mut bytes.as_slice()) {
                    let _ = (Request::from_value(&value), Response::from_value(&value));
                }
            }
        }

        #[test]
        fn no_fields_make_reading_panic(
            kind in 0_u8..8,
            fields in proptest::collection::vec(prop_oneof![
                any::<u64>().prop_map(Value::from),
                Just(Value::Nil),
                proptest::collection::vec(any::<u8>(), 0..80).prop_map(Value::Binary),
                (any::<u64>(), proptest::collection::vec(any::<u8>(), 16)).prop_map(|(time, id)| Value::Array(vec![time.into(), Value::Binary(id)])),
            ], 0..9),
        ) {
            let value = message(kind, fields);
            let _ = (Request::from_value(&value), Response::from_value(&value));
        }
    }
}
