//! The primitives of docs/protocol/1-core.md, section 0, on audited crates.

mod fixed;
mod hkdf;
mod signer;
mod token;

pub(crate) use fixed::FixedKey;
pub(crate) use hkdf::Salt;
pub use hkdf::{HkdfError, hkdf};
pub(crate) use signer::FixedSigner;
pub use token::{Token, TokenError, TokenKey};

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// X25519 key agreement. `None` when the shared secret is all zero, which a peer's low-order key brings about.
pub fn agree(own_private: &[u8; 32], their_public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    let shared = StaticSecret::from(*own_private).diffie_hellman(&PublicKey::from(*their_public));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

/// The public half of an X25519 private key. Stored private keys are unclamped; clamping happens in the operation.
pub fn x25519_public(private: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*private)).to_bytes()
}
