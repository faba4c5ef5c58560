//! Key agreement with one public key many times.

use curve25519_dalek::edwards::EdwardsBasepointTable;
use curve25519_dalek::montgomery::MontgomeryPoint;
use curve25519_dalek::traits::BasepointTable;
use zeroize::Zeroizing;

/// A table of multiples of an X25519 public key: an agreement with it takes a third of the time that [`agree`](super::agree)
/// takes, in constant time too. It has 30 kB and takes as long to make as some fifty agreements.
pub(crate) struct FixedKey(Box<EdwardsBasepointTable>);

impl FixedKey {
    /// The table of this public key; `None` for one on the curve's twist, where there is no such shortcut.
    pub(crate) fn new(public: &[u8; 32]) -> Option<Self> {
        // The sign makes no difference: both points have the same u-coordinate, and so have their multiples.
        let point = MontgomeryPoint(*public).to_edwards(0)?;
        Some(Self(Box::new(EdwardsBasepointTable::create(&point))))
    }

    /// What [`agree`](super::agree) gives for the same keys.
    pub(crate) fn agree(&self, own_private: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        let shared = Zeroizing::new(self.0.mul_base_clamped(*own_private).to_montgomery().to_bytes());
        (*shared != [0; 32]).then_some(shared)
    }
}

impl core::fmt::Debug for FixedKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("FixedKey")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{agree, x25519_public};
    use super::*;

    proptest! {
        #[test]
        fn agrees_as_the_ladder_does_with_every_public_key(public: [u8; 32], private: [u8; 32]) {
            // About half of all byte strings are on the twist.
            if let Some(fixed) = FixedKey::new(&public) {
                prop_assert_eq!(fixed.agree(&private), agree(&private, &public));
            }
        }

        #[test]
        fn every_key_that_somebody_has_the_private_half_of_has_a_table(theirs: [u8; 32], own: [u8; 32]) {
            let fixed = FixedKey::new(&x25519_public(&theirs)).unwrap();
            prop_assert_eq!(fixed.agree(&own), agree(&theirs, &x25519_public(&own)));
        }
    }

    #[test]
    fn keys_of_low_order_agree_on_nothing() {
        let one = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        };
        for public in [[0; 32], one] {
            assert_eq!(agree(&[7; 32], &public), None);
            assert!(FixedKey::new(&public).is_none_or(|fixed| fixed.agree(&[7; 32]).is_none()));
        }
    }
}
