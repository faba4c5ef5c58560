//! The card: what gossip carries about an entry, at most 208 bytes. docs/protocol/mesh.md, Card.

use wend_packet::IdentityHash;
use wend_packet::identity::{Identity, PublicIdentity, SIGNATURE_LEN};
use wend_packet::time::UnixTime;

use crate::class::{BaseModelKey, LanguageClass, LicenceClass, SizeClass};
use crate::entry::{EntryId, Kind, ManifestHash, Sketch, SpaceId};
use crate::verified::Verified;

/// The version of the layout that this code reads and writes.
pub const VERSION: u8 = 1;
/// The most bytes of a name that a card carries.
pub const NAME_MAX: usize = 26;
/// The length of a card without its name.
pub const LEN_MIN: usize = layout::NAME + SIGNATURE_LEN;
/// The length of the longest card.
pub const LEN_MAX: usize = LEN_MIN + NAME_MAX;
const _: () = assert!(LEN_MAX == 208);

/// Where the fields lie.
mod layout {
    use core::ops::Range;

    pub(super) const MANIFEST: Range<usize> = 1..33;
    pub(super) const PUBLISHER: Range<usize> = 33..49;
    pub(super) const KIND: usize = 49;
    pub(super) const SIZE: usize = 50;
    pub(super) const LICENCE: usize = 51;
    pub(super) const LANGUAGE: usize = 52;
    pub(super) const BASE_MODEL: Range<usize> = 53..57;
    pub(super) const SPACE: Range<usize> = 57..61;
    pub(super) const SEQUENCE: Range<usize> = 61..65;
    pub(super) const EXPIRY: Range<usize> = 65..69;
    pub(super) const SKETCH: Range<usize> = 69..117;
    // At 117 the length of the name.
    pub(super) const NAME: usize = 118;
}

/// Why bytes are not a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// Not all of it is there.
    #[error("a card of {len} bytes is cut short, at least {min} belong to it")]
    Short {
        /// The length found.
        len: usize,
        /// The length that its head asks for.
        min: usize,
    },
    /// Something follows the card.
    #[error("{0} bytes follow the card")]
    Trailing(usize),
    /// A layout that this code does not know.
    #[error("card layout {0} is not known here")]
    Version(u8),
    /// The name is longer than a card's name may be.
    #[error("a name of {0} bytes, at most {NAME_MAX} fit")]
    NameLength(u8),
    /// The name is not UTF-8, or has control characters.
    #[error("the name is not a line of text")]
    NameText,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The key belongs to somebody else.
    #[error("published by {publisher}, but the key is of {key}")]
    Publisher {
        /// Who published.
        publisher: IdentityHash,
        /// Whose key was given.
        key: IdentityHash,
    },
    /// Not signed by that key, or changed since.
    #[error("the signature does not match")]
    Signature,
}

/// What a publisher says in a card, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFields {
    /// The manifest; of a tombstone, what [`withdrawal`] makes of the entry it withdraws.
    pub manifest: ManifestHash,
    /// What the entry is.
    pub kind: Kind,
    /// How large its files are.
    pub size: SizeClass,
    /// What its licence asks.
    pub licence: LicenceClass,
    /// Its language.
    pub language: LanguageClass,
    /// Which base model it is for.
    pub base_model: BaseModelKey,
    /// Where its vector lies; [`SpaceId::NONE`] when the publisher had no model.
    pub space: SpaceId,
    /// Counts up per publisher and name: the highest one holds.
    pub sequence: u32,
    /// When the card stops being true, in Unix seconds.
    pub expiry: u32,
    /// The signs of its vector.
    pub sketch: Sketch,
    /// Its name. [`CardFields::sign`] cuts it to [`NAME_MAX`] bytes.
    pub name: String,
}

impl CardFields {
    /// Makes the card and signs it.
    pub fn sign(&self, identity: &Identity) -> Verified<Card> {
        let name = self.name.replace(char::is_control, " ");
        let name = short_name(&name);
        let mut bytes = Vec::with_capacity(LEN_MAX);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.manifest.as_bytes());
        bytes.extend_from_slice(identity.hash().as_bytes());
        bytes.extend_from_slice(&[self.kind.0, self.size.0, self.licence.0, self.language.0]);
        bytes.extend_from_slice(&self.base_model.0);
        bytes.extend_from_slice(&self.space.0);
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.expiry.to_be_bytes());
        bytes.extend_from_slice(&self.sketch.0);
        bytes.push(u8::try_from(name.len()).unwrap_or(0));
        bytes.extend_from_slice(name.as_bytes());
        let signature = identity.sign(&bytes);
        bytes.extend_from_slice(&signature);
        Verified::vouched(Card { id: entry_id(&bytes), bytes })
    }
}

/// `name` as a card carries it: at most [`NAME_MAX`] bytes, cut between characters.
pub fn short_name(name: &str) -> &str {
    name.get(..name.floor_char_boundary(NAME_MAX)).unwrap_or(name)
}

/// The manifest hash field of a tombstone that withdraws `entry`: its id, then zeros.
pub fn withdrawal(entry: EntryId) -> ManifestHash {
    let mut bytes = [0; ManifestHash::LEN];
    bytes.iter_mut().zip(entry.as_bytes()).for_each(|(to, from)| *to = *from);
    ManifestHash::new(bytes)
}

fn entry_id(card: &[u8]) -> EntryId {
    let hash = blake3::hash(card);
    EntryId::new(*hash.as_bytes().first_chunk().unwrap_or(&[0; EntryId::LEN]))
}

/// A card in somebody else's buffer, its form checked, its signature not. After `parse` no accessor can fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CardRef<'a> {
    fixed: &'a [u8; layout::NAME],
    name: &'a str,
    bytes: &'a [u8],
}

impl<'a> CardRef<'a> {
    /// Views a card that fills `bytes`.
    ///
    /// # Errors
    /// When it is cut short, has a tail, an unknown version or a name that is too long or no text.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CardError> {
        match Self::parse_prefix(bytes)? {
            (card, []) => Ok(card),
            (_, rest) => Err(CardError::Trailing(rest.len())),
        }
    }

    /// Views the card at the start of `bytes`; returns what follows it too.
    ///
    /// # Errors
    /// As [`CardRef::parse`], but for the tail.
    pub fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), CardError> {
        let short = |min| CardError::Short { len: bytes.len(), min };
        match bytes.first() {
            None => return Err(short(LEN_MIN)),
            Some(&version) if version != VERSION => return Err(CardError::Version(version)),
            Some(_) => {}
        }
        let (fixed, _) = bytes.split_first_chunk::<{ layout::NAME }>().ok_or(short(LEN_MIN))?;
        let [.., name_len] = *fixed;
        if usize::from(name_len) > NAME_MAX {
            return Err(CardError::NameLength(name_len));
        }
        let name_end = layout::NAME + usize::from(name_len);
        let end = name_end + SIGNATURE_LEN;
        let (card, rest) = bytes.split_at_checked(end).ok_or(short(end))?;
        let name = card.get(layout::NAME..name_end).ok_or(short(end))?;
        let name = core::str::from_utf8(name).map_err(|_| CardError::NameText)?;
        // Names are shown on terminals.
        if name.chars().any(char::is_control) {
            return Err(CardError::NameText);
        }
        Ok((Self { fixed, name, bytes: card }, rest))
    }

    fn byte(&self, at: usize) -> u8 {
        self.fixed.get(at).copied().unwrap_or_default()
    }

    fn array<const N: usize>(&self, at: core::ops::Range<usize>) -> [u8; N] {
        self.fixed.get(at).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    /// The whole card.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Which version of which entry this is.
    pub fn id(&self) -> EntryId {
        entry_id(self.bytes)
    }

    /// The manifest it announces. Of a tombstone this names the entry: see [`CardRef::withdraws`].
    pub fn manifest(&self) -> ManifestHash {
        ManifestHash::new(self.array(layout::MANIFEST))
    }

    /// Who published it.
    pub fn publisher(&self) -> IdentityHash {
        IdentityHash::new(self.array(layout::PUBLISHER))
    }

    /// What the entry is.
    pub fn kind(&self) -> Kind {
        Kind(self.byte(layout::KIND))
    }

    /// How large its files are.
    pub fn size(&self) -> SizeClass {
        SizeClass(self.byte(layout::SIZE))
    }

    /// What its licence asks.
    pub fn licence(&self) -> LicenceClass {
        LicenceClass(self.byte(layout::LICENCE))
    }

    /// Its language.
    pub fn language(&self) -> LanguageClass {
        LanguageClass(self.byte(layout::LANGUAGE))
    }

    /// Which base model it is for.
    pub fn base_model(&self) -> BaseModelKey {
        BaseModelKey(self.array(layout::BASE_MODEL))
    }

    /// Where its vector lies, `None` when it has no vector.
    pub fn space(&self) -> Option<SpaceId> {
        Some(SpaceId(self.array(layout::SPACE))).filter(|space| *space != SpaceId::NONE)
    }

    /// Counts up per publisher and name.
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes(self.array(layout::SEQUENCE))
    }

    /// When it stops being true.
    pub fn expiry(&self) -> UnixTime {
        UnixTime(u32::from_be_bytes(self.array(layout::EXPIRY)).into())
    }

    /// The signs of its vector; they mean something only together with a [`CardRef::space`].
    pub fn sketch(&self) -> Sketch {
        Sketch(self.array(layout::SKETCH))
    }

    /// Its name, perhaps cut.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// What it says, to be signed anew with something changed. Only its own publisher can do that.
    pub fn to_fields(&self) -> CardFields {
        CardFields {
            manifest: self.manifest(),
            kind: self.kind(),
            size: self.size(),
            licence: self.licence(),
            language: self.language(),
            base_model: self.base_model(),
            space: self.space().unwrap_or(SpaceId::NONE),
            sequence: self.sequence(),
            expiry: u32::try_from(self.expiry().0).unwrap_or(u32::MAX),
            sketch: self.sketch(),
            name: self.name().to_owned(),
        }
    }

    /// The entry that this card withdraws, when it is a tombstone.
    pub fn withdraws(&self) -> Option<EntryId> {
        let named = || EntryId::from_slice(self.fixed.get(layout::MANIFEST)?.first_chunk::<{ EntryId::LEN }>()?);
        if self.kind() == Kind::TOMBSTONE { named() } else { None }
    }

    /// Whether `key` signed this card.
    ///
    /// # Errors
    /// When the key is not the publisher's or the signature does not match.
    pub fn check(&self, key: &PublicIdentity) -> Result<(), VerifyError> {
        let publisher = self.publisher();
        if publisher != key.hash() {
            return Err(VerifyError::Publisher { publisher, key: key.hash() });
        }
        let (signed, signature) = self.bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(VerifyError::Signature)?;
        if key.verify(signed, signature) { Ok(()) } else { Err(VerifyError::Signature) }
    }

    /// A copy that owns its bytes.
    pub fn to_card(&self) -> Card {
        Card { id: self.id(), bytes: self.bytes.to_vec() }
    }
}

impl core::fmt::Debug for CardRef<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Card({:?} {} {:?} by {:?}, sequence {})",
            self.id(),
            self.kind(),
            self.name,
            self.publisher(),
            self.sequence()
        )
    }
}

/// A card that owns its bytes; its form was checked, its signature only inside a [`Verified`].
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    id: EntryId,
    bytes: Vec<u8>,
}

impl Card {
    /// Reads a card.
    ///
    /// # Errors
    /// As [`CardRef::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CardError> {
        CardRef::parse(bytes).map(|card| card.to_card())
    }

    /// Its fields.
    pub fn view(&self) -> CardRef<'_> {
        let empty = CardRef { fixed: &[0; layout::NAME], name: "", bytes: &[] };
        // The bytes were parsed when the card was made.
        CardRef::parse(&self.bytes).unwrap_or(empty)
    }

    /// Which version of which entry this is.
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// The whole card.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks the signature. About 50 µs of work: run it as a job.
    ///
    /// # Errors
    /// When the key is not the publisher's or the signature does not match.
    pub fn verify(self, key: &PublicIdentity) -> Result<Verified<Self>, VerifyError> {
        self.view().check(key)?;
        Ok(Verified::vouched(self))
    }
}

impl core::fmt::Debug for Card {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&self.view(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(seed: u8) -> Identity {
        Identity::from_slice(&[seed; 64]).unwrap()
    }

    fn fields(name: &str) -> CardFields {
        CardFields {
            manifest: ManifestHash::new([7; 32]),
            kind: Kind::LORA,
            size: SizeClass(21),
            licence: LicenceClass::PERMISSIVE,
            language: LanguageClass(37),
            base_model: BaseModelKey([1, 2, 3, 4]),
            space: SpaceId([0x53, 0xaa, 0x51, 0x17]),
            sequence: 9,
            expiry: 1_800_000_000,
            sketch: Sketch([0xa5; 48]),
            name: name.into(),
        }
    }

    #[test]
    fn every_field_comes_back() {
        let signer = identity(1);
        let card = fields("rust-unsafe-review").sign(&signer);
        let view = card.view();
        assert_eq!(view.manifest(), ManifestHash::new([7; 32]));
        assert_eq!(view.publisher(), signer.hash());
        assert_eq!((view.kind(), view.size(), view.licence()), (Kind::LORA, SizeClass(21), LicenceClass::PERMISSIVE));
        assert_eq!((view.language(), view.base_model()), (LanguageClass(37), BaseModelKey([1, 2, 3, 4])));
        assert_eq!((view.sequence(), view.expiry()), (9, UnixTime(1_800_000_000)));
        assert_eq!((view.space(), view.sketch()), (Some(SpaceId([0x53, 0xaa, 0x51, 0x17])), Sketch([0xa5; 48])));
        assert_eq!((view.name(), view.withdraws()), ("rust-unsafe-review", None));
        assert_eq!(card.as_bytes().len(), LEN_MIN + 18);
        assert_eq!(view.to_fields(), fields("rust-unsafe-review"));
        assert_eq!(Card::from_bytes(card.as_bytes()).unwrap().verify(signer.public()), Ok(card));
    }

    #[test]
    fn the_bytes_are_the_layout_of_the_document() {
        let card = fields("ab").sign(&identity(1));
        let bytes = card.as_bytes();
        assert_eq!(bytes[0], 1);
        assert_eq!(bytes[1..33], [7; 32]);
        assert_eq!(&bytes[33..49], identity(1).hash().as_bytes());
        assert_eq!(bytes[49..53], [0, 21, 2, 37]);
        assert_eq!(bytes[53..61], [1, 2, 3, 4, 0x53, 0xaa, 0x51, 0x17]);
        assert_eq!(bytes[61..69], [0, 0, 0, 9, 0x6b, 0x49, 0xd2, 0x00]);
        assert_eq!(bytes[69..117], [0xa5; 48]);
        assert_eq!(&bytes[117..120], &[2, b'a', b'b']);
        assert_eq!(bytes.len(), 184);
        assert_eq!(card.id().as_bytes(), &blake3::hash(bytes).as_bytes()[..16]);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let card = fields("ääääääääääääää").sign(&identity(1));
        assert_eq!(card.view().name(), "äääääääääääää");
        assert_eq!(card.as_bytes().len(), LEN_MAX);
        assert_eq!(fields("aääääääääääääää").sign(&identity(1)).view().name().len(), 25);
    }

    #[test]
    fn a_foreign_key_and_any_changed_byte_are_refused() {
        let (signer, other) = (identity(1), identity(2));
        let card = fields("x").sign(&signer).into_inner();
        let refusal = VerifyError::Publisher { publisher: signer.hash(), key: other.hash() };
        assert_eq!(card.clone().verify(other.public()), Err(refusal));
        for at in 0..card.as_bytes().len() {
            let mut bytes = card.as_bytes().to_vec();
            bytes[at] ^= 1;
            let verified = Card::from_bytes(&bytes).map(|card| card.verify(signer.public()));
            assert!(!matches!(verified, Ok(Ok(_))), "byte {at}");
        }
    }

    #[test]
    fn a_tombstone_names_what_it_withdraws() {
        let entry = EntryId::new([9; 16]);
        let tombstone = CardFields { kind: Kind::TOMBSTONE, manifest: withdrawal(entry), ..fields("gone") };
        assert_eq!(tombstone.sign(&identity(1)).view().withdraws(), Some(entry));
    }

    #[test]
    fn cards_can_follow_each_other() {
        let (one, two) = (fields("one").sign(&identity(1)), fields("second").sign(&identity(2)));
        let both = [one.as_bytes(), two.as_bytes()].concat();
        let (first, rest) = CardRef::parse_prefix(&both).unwrap();
        assert_eq!((first.name(), CardRef::parse(rest).unwrap().name()), ("one", "second"));
        assert_eq!(CardRef::parse(&both), Err(CardError::Trailing(two.as_bytes().len())));
    }

    #[test]
    fn malformed_cards_say_what_is_wrong() {
        let card = fields("name").sign(&identity(1)).into_inner();
        let changed = |at: usize, byte: u8| {
            let mut bytes = card.as_bytes().to_vec();
            bytes[at] = byte;
            Card::from_bytes(&bytes).unwrap_err()
        };
        assert_eq!(changed(0, 2), CardError::Version(2));
        assert_eq!(changed(117, 27), CardError::NameLength(27));
        assert_eq!(changed(118, 0xff), CardError::NameText);
        assert_eq!(changed(117, 5), CardError::Short { len: 186, min: 187 });
        assert_eq!(CardRef::parse(&[]), Err(CardError::Short { len: 0, min: 182 }));
        assert_eq!(CardRef::parse(&[1; 60]), Err(CardError::Short { len: 60, min: 182 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..260), head in any::<bool>()) {
            let mut bytes = bytes;
            if head && bytes.len() > 117 {
                bytes[0] = VERSION;
                bytes[117] %= 32;
            }
            if let Ok((card, rest)) = CardRef::parse_prefix(&bytes) {
                prop_assert_eq!(card.as_bytes().len() + rest.len(), bytes.len());
                prop_assert!(card.check(identity(1).public()).is_err());
                let _ = (card.name(), card.kind(), card.expiry(), card.withdraws(), format!("{card:?}"));
            }
        }
    }
}
