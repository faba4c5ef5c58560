//! Ratchets of the node's own destination: from the config and what was kept, to the stack. docs/protocol/1-core.md,
//! section 1.4.

use wend_packet::identity::Identity;
use wend_packet::persist;
use wend_packet::ratchet::Ratchets;

use super::store::RatchetFile;
use crate::config::RatchetUse;

/// The ratchets to begin with; none where the config wants none. Some that cannot be read are lost: whoever encrypts to one
/// of them is not understood until this node has announced itself again.
pub(super) fn begin(with: RatchetUse, identity: &Identity, kept: Option<&RatchetFile>) -> Option<Ratchets> {
    let enforced = match with {
        RatchetUse::Off => return None,
        RatchetUse::On => false,
        RatchetUse::Enforced => true,
    };
    let opened = kept.map(|kept| persist::ratchets::open(identity.public(), kept.bytes()));
    let keys = match opened.transpose() {
        Ok(keys) => keys.flatten().unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "stored ratchets skipped");
            Vec::new()
        }
    };
    let mut ratchets = Ratchets::restored(keys);
    ratchets.set_enforced(enforced);
    Some(ratchets)
}

#[cfg(test)]
mod tests {
    use wend_packet::ratchet::RatchetKey;
    use wend_packet::testing::TestRng;

    use super::*;

    #[test]
    fn what_was_kept_is_taken_back_if_it_is_the_nodes_own_and_wanted() {
        let (own, other) = (Identity::generate(&mut TestRng::seeded(1)), Identity::generate(&mut TestRng::seeded(2)));
        let kept = RatchetFile::new(persist::ratchets::seal(&own, &[RatchetKey::new([3; 32])]));
        let begun =
            |with, identity, kept| begin(with, identity, kept).map(|with| (with.newest_first().len(), with.enforced()));
        assert_eq!(begun(RatchetUse::Off, &own, Some(&kept)), None);
        assert_eq!(begun(RatchetUse::On, &own, Some(&kept)), Some((1, false)));
        assert_eq!(begun(RatchetUse::Enforced, &own, Some(&kept)), Some((1, true)));
        assert_eq!(begun(RatchetUse::On, &other, Some(&kept)), Some((0, false)), "signed by another");
        assert_eq!(begun(RatchetUse::On, &own, None), Some((0, false)));
        assert!(!format!("{kept:?}").contains('3'));
    }
}
