//! Cards and identities for tests.

use wend_packet::identity::Identity;
use wend_packet::time::{Instant, Now, UnixTime};

use crate::card::{Card, CardFields, withdrawal};
use crate::class::{BaseModelKey, LanguageClass, LicenceClass, SizeClass};
use crate::entry::{EntryId, Kind, ManifestHash, Sketch, SpaceId};
use crate::verified::Verified;

/// A day in 2027.
pub(crate) fn now() -> Now {
    Now { mono: Instant::ZERO, unix: UnixTime(1_800_000_000) }
}

/// Somebody.
pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_slice(&[seed; 64]).unwrap()
}

fn fields(name: &str, sequence: u32, lifetime_secs: u32) -> CardFields {
    let manifest = blake3::hash(format!("{name} {sequence}").as_bytes());
    CardFields {
        manifest: ManifestHash::new(*manifest.as_bytes()),
        kind: Kind::LORA,
        size: SizeClass(0),
        licence: LicenceClass::PERMISSIVE,
        language: LanguageClass::ANY,
        base_model: BaseModelKey::NONE,
        space: SpaceId::NONE,
        sequence,
        expiry: 1_800_000_000 + lifetime_secs,
        sketch: Sketch::EMPTY,
        name: name.into(),
    }
}

/// A card that lives for `lifetime_secs` from [`now`].
pub(crate) fn expiring(publisher: u8, name: &str, sequence: u32, lifetime_secs: u32) -> Verified<Card> {
    fields(name, sequence, lifetime_secs).sign(&identity(publisher))
}

/// A card that lives for 30 days.
pub(crate) fn card(publisher: u8, name: &str, sequence: u32) -> Verified<Card> {
    expiring(publisher, name, sequence, 30 * 24 * 3600)
}

/// The withdrawal of `entry`.
pub(crate) fn tombstone(publisher: u8, name: &str, sequence: u32, entry: EntryId) -> Verified<Card> {
    let card = CardFields { kind: Kind::TOMBSTONE, manifest: withdrawal(entry), ..fields(name, sequence, 1000) };
    card.sign(&identity(publisher))
}
