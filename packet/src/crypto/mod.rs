//! The primitives of docs/protocol/1-core.md, section 0, on audited crates.

mod fixed;
mod hkdf;
mod opening;
mod signer;
mod token;

pub(crate) use fixed::FixedKey;
pub(crate) use hkdf::Salt;
pub use hkdf::{HkdfError, hkdf};
pub(crate) use opening::Opening;
pub(crate) use signer::FixedSigner;
pub use token::{Token, TokenError, TokenKey};

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::montgomery::MontgomeryPoint;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// X25519 key agreement. `None` when the shared secret is all zero, which a peer's low-order key brings about.
pub fn agree(own_private: &[u8; 32], their_public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = if has_wide_vectors() { agree_on_edwards(own_private, their_public) } else { None };
    let shared = shared.unwrap_or_else(|| {
        let shared = StaticSecret::from(*own_private).diffie_hellman(&PublicKey::from(*their_public));
        Zeroizing::new(shared.to_bytes())
    });
    (*shared != [0; 32]).then_some(shared)
}

/// Whether `curve25519-dalek` calculates with vectors of 52-bit numbers here. Multiplying on the Edwards curve by them takes
/// three quarters of the time that the ladder takes; with those of AVX2 it takes as long.
fn has_wide_vectors() -> bool {
    #[cfg(all(curve25519_dalek_backend = "avx512", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("avx512ifma") && std::arch::is_x86_feature_detected!("avx512vl");
    #[cfg(not(all(curve25519_dalek_backend = "avx512", target_arch = "x86_64")))]
    return false;
}

/// The shared secret by another way, in constant time as well; `None` for a public key on the curve's twist, where no key
/// is that somebody has the private half of.
fn agree_on_edwards(own_private: &[u8; 32], their_public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    // The sign makes no difference: both points have the same u-coordinate, and so have their multiples.
    let point = MontgomeryPoint(*their_public).to_edwards(0)?;
    Some(Zeroizing::new(point.mul_clamped(*own_private).to_montgomery().to_bytes()))
}

/// Whether [`agree`] gives `None` with this public key, whatever the private key.
pub(crate) fn is_low_order(public: &[u8; 32]) -> bool {
    let public = MontgomeryPoint(*public);
    // Of the twist there are the same point at zero, and this one.
    let on_twist = MontgomeryPoint(MINUS_ONE);
    public == on_twist || EIGHT_TORSION.iter().any(|point| point.to_montgomery() == public)
}

/// The prime without one.
const MINUS_ONE: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xec;
    bytes[31] = 0x7f;
    bytes
};

/// The public half of an X25519 private key. Stored private keys are unclamped; clamping happens in the operation.
pub fn x25519_public(private: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*private)).to_bytes()
}

/// [`x25519_public`] of each: many at once share what takes a quarter of the time.
pub(crate) fn x25519_public_all(private: &[Zeroizing<[u8; 32]>]) -> Vec<[u8; 32]> {
    let points: Zeroizing<Vec<_>> =
        Zeroizing::new(private.iter().map(|private| EdwardsPoint::mul_base_clamped(**private)).collect());
    EdwardsPoint::to_montgomery_batch(&points).iter().map(MontgomeryPoint::to_bytes).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As RFC 7748 has it.
    fn ladder(private: &[u8; 32], public: &[u8; 32]) -> [u8; 32] {
        MontgomeryPoint(*public).mul_clamped(*private).to_bytes()
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_the_same(private: [u8; 32], public: [u8; 32]) {
            let shared = ladder(&private, &public);
            prop_assert_eq!(agree(&private, &public).map(|shared| *shared), Some(shared));
            // About half of all byte strings are on the twist.
            if let Some(other) = agree_on_edwards(&private, &public) {
                prop_assert_eq!(*other, shared);
            }
            prop_assert!(agree_on_edwards(&private, &x25519_public(&public)).is_some());
        }

        #[test]
        fn public_keys_are_the_same_one_by_one_and_together(private: Vec<[u8; 32]>) {
            let private: Vec<_> = private.into_iter().map(Zeroizing::new).collect();
            let each: Vec<_> = private.iter().map(|private| x25519_public(private)).collect();
            prop_assert_eq!(x25519_public_all(&private), each);
        }

        #[test]
        fn a_key_is_of_low_order_when_nothing_can_be_agreed_on_with_it(private: [u8; 32], public: [u8; 32]) {
            prop_assert_eq!(is_low_order(&public), agree(&private, &public).is_none());
        }
    }

    #[test]
    fn all_keys_of_low_order_are_known_however_they_are_written() {
        // The least and the greatest numbers, with and without the bit that counts for nothing, and what has order eight.
        let ends = (0..=255).flat_map(|low| [0, 0x7f, 0x80, 0xff].map(|rest| (low, rest)));
        let ends = ends.map(|(low, rest)| {
            let mut bytes = if rest & 0x7f == 0 { [0; 32] } else { [0xff; 32] };
            (bytes[0], bytes[31]) = (low, rest);
            bytes
        });
        let torsion = EIGHT_TORSION.iter().map(|point| point.to_montgomery().to_bytes());
        let (mut low, mut usual) = (0, 0);
        for public in ends.chain(torsion) {
            let nothing = ladder(&[7; 32], &public) == [0; 32];
            assert_eq!((is_low_order(&public), agree(&[7; 32], &public).is_none()), (nothing, nothing));
            assert!(agree_on_edwards(&[7; 32], &public).is_none_or(|shared| *shared == ladder(&[7; 32], &public)));
            *if nothing { &mut low } else { &mut usual } += 1;
        }
        assert_eq!((low, usual), (10 + 8, 1024 - 10));
    }
}
