//! Which manifests the cards on this disk name, so that none is deleted that is still needed.

use std::collections::BTreeMap;

use wend_genome::card::CardRef;
use wend_genome::entry::ManifestHash;
use wend_packet::IdentityHash;

/// How many cards on this disk name a manifest, for each publisher apart: a card can name what somebody else published,
/// and neither keeps that here nor takes it away. As bounded as the cards are.
#[derive(Debug, Default)]
pub(super) struct References(BTreeMap<(IdentityHash, ManifestHash), u32>);

impl References {
    /// A card is on the disk that was not there before.
    pub(super) fn add(&mut self, card: &CardRef<'_>) {
        *self.0.entry((card.publisher(), card.manifest())).or_default() += 1;
    }

    /// A card leaves the disk. Whether no other card of its publisher names its manifest.
    pub(super) fn remove(&mut self, card: &CardRef<'_>) -> bool {
        let key = (card.publisher(), card.manifest());
        match self.0.get_mut(&key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                self.0.remove(&key);
                true
            }
        }
    }
}
