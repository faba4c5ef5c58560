//! Interface access codes: frames of a closed network are signed and masked on the medium, so that whoever lacks its name
//! and passphrase can neither send nor read headers there. docs/protocol/1-core.md, section 7.

use core::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ed25519_dalek::{Signer, SigningKey};
use subtle::ConstantTimeEq;

use crate::crypto::{Salt, hkdf};
use crate::hash::sha256;
use crate::identity::{KEY_LEN, SIGNATURE_LEN};
use crate::wire::Flags;

/// Longest access code in bytes: a whole signature.
pub const ACCESS_CODE_MAX: usize = SIGNATURE_LEN;
/// Length of access codes in bytes where neither configuration nor kind of interface says otherwise.
pub const ACCESS_CODE_DEFAULT: usize = 16;

/// What the keys of all networks are derived with.
pub const ACCESS_KEY_SALT: [u8; 32] = [
    0xad, 0xf5, 0x4d, 0x88, 0x2c, 0x9a, 0x9b, 0x80, 0x77, 0x1e, 0xb4, 0x99, 0x5d, 0x70, 0x2d, 0x4a, 0x3e, 0x73, 0x33,
    0x91, 0xb2, 0xa0, 0xf5, 0x3f, 0x41, 0x6d, 0x9f, 0x90, 0x7e, 0x55, 0xcf, 0xf8,
];

/// Flags and hop byte stand before the code.
const BEFORE: usize = 2;

/// Why a frame was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessCodeError {
    /// It carries no access code.
    #[error("frame without access code on an interface that requires one")]
    Missing,
    /// Nothing is left of it beside the code.
    #[error("frame of {len} bytes is too short for an access code")]
    Short {
        /// The length found.
        len: usize,
    },
    /// The code was made with another key, or the frame was changed.
    #[error("access code does not match")]
    Mismatch,
}

/// The key of a closed network. Cheap to clone; wiped when the last copy is dropped.
///
/// Two keys are equal when their fingerprints are: that tells nothing about them that status output does not.
#[derive(Clone)]
pub struct AccessKey(Arc<Secret>);

struct Secret {
    signing: SigningKey,
    /// Masks are derived with the whole key as salt.
    salt: Salt,
    fingerprint: [u8; 5],
}

impl PartialEq for AccessKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.fingerprint == other.0.fingerprint
    }
}

impl Eq for AccessKey {}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKey(")?;
        self.fingerprint().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(", [secret])")
    }
}

impl AccessKey {
    /// The key of the network with this name, this passphrase, or both. `None` when neither is given; an empty text counts
    /// as not given. The same text as name alone and as passphrase alone gives the same key.
    pub fn derive(network_name: Option<&str>, passphrase: Option<&str>) -> Option<Self> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(|text| sha256(&[text.as_bytes()]));
        let parts: Vec<[u8; 32]> = [network_name, passphrase].into_iter().filter_map(given).collect();
        if parts.is_empty() {
            return None;
        }
        let origin = sha256(&[parts.as_flattened()]);
        let key = hkdf(KEY_LEN, &origin, Some(&ACCESS_KEY_SALT), &[]).ok()?;
        let (_, seed) = key.split_last_chunk::<32>()?;
        let signing = SigningKey::from_bytes(seed);
        let signature = signing.sign(&sha256(&[&key])).to_bytes();
        let fingerprint = *signature.last_chunk()?;
        Some(Self(Arc::new(Secret { signing, salt: Salt::new(&key), fingerprint })))
    }

    /// What operators compare to see whether two nodes have the same key: the last 5 bytes of a signature that is never
    /// sent.
    pub fn fingerprint(&self) -> [u8; 5] {
        self.0.fingerprint
    }

    /// The frame as it goes on the medium, with a code of `len` bytes (1 to 64, others are brought into that range).
    /// Section 7.2. A frame shorter than 2 bytes is none and comes back as it is.
    pub fn seal(&self, frame: &[u8], len: usize) -> Bytes {
        let Some((head, rest)) = frame.split_first_chunk::<BEFORE>() else { return Bytes::copy_from_slice(frame) };
        let signature = self.0.signing.sign(frame).to_bytes();
        let code = tail(&signature, len);
        let mut out = BytesMut::with_capacity(frame.len() + code.len());
        out.extend_from_slice(head);
        out.extend_from_slice(code);
        out.extend_from_slice(rest);
        self.mask(&mut out, code);
        if let Some(flags) = out.first_mut() {
            *flags |= Flags::ACCESS_CODE;
        }
        out.freeze()
    }

    /// Checks a frame from the medium and puts the frame inside into `out`, whose content it replaces. Section 7.3.
    ///
    /// # Errors
    /// Why it is refused; what `out` holds then means nothing.
    pub fn open(&self, frame: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), AccessCodeError> {
        let len = len.clamp(1, ACCESS_CODE_MAX);
        let short = AccessCodeError::Short { len: frame.len() };
        if frame.len() <= BEFORE {
            return Err(short);
        }
        if !frame.first().is_some_and(|flags| Flags(*flags).has_access_code()) {
            return Err(AccessCodeError::Missing);
        }
        let (head, rest) = frame.split_at_checked(BEFORE).ok_or(short)?;
        let (code, body) = rest.split_at_checked(len).filter(|(_, body)| !body.is_empty()).ok_or(short)?;
        out.clear();
        out.extend_from_slice(frame);
        self.mask(out, code);
        // What was masked is moved together, in place.
        out.copy_within(BEFORE + len.., BEFORE);
        out.truncate(head.len() + body.len());
        if let Some(flags) = out.first_mut() {
            *flags &= !Flags::ACCESS_CODE;
        }
        let signature = self.0.signing.sign(out).to_bytes();
        let authentic = tail(&signature, len).ct_eq(code);
        if bool::from(authentic) { Ok(()) } else { Err(AccessCodeError::Mismatch) }
    }

    /// Masks or unmasks everything but the code, which stands after the first two bytes. A mask byte belongs to the byte at
    /// its own place in the frame, so those under the code go unused.
    fn mask(&self, frame: &mut [u8], code: &[u8]) {
        let unmasked = BEFORE..BEFORE + code.len();
        let blocks = self.0.salt.expand(code, &[]);
        let mut place = 0;
        for (bytes, block) in frame.chunks_mut(32).zip(blocks) {
            for (byte, mask) in bytes.iter_mut().zip(block.iter()) {
                if !unmasked.contains(&place) {
                    *byte ^= mask;
                }
                place += 1;
            }
        }
    }
}

/// The code is the tail of the signature; every other truncation in the protocol keeps the head.
fn tail(signature: &[u8; SIGNATURE_LEN], len: usize) -> &[u8] {
    signature.get(SIGNATURE_LEN - len.clamp(1, ACCESS_CODE_MAX)..).unwrap_or(signature)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_needs_a_name_or_a_passphrase() {
        assert_eq!(AccessKey::derive(None, None), None);
        assert_eq!(AccessKey::derive(Some(""), Some("")), None);
        assert_eq!(AccessKey::derive(Some("x"), None), AccessKey::derive(None, Some("x")));
        assert_ne!(AccessKey::derive(Some("x"), None), AccessKey::derive(Some("x"), Some("x")));
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let key = AccessKey::derive(Some("name"), Some("passphrase")).unwrap();
        let printed = format!("{key:?}");
        assert!(printed.contains(&hex::encode(key.fingerprint())) && printed.contains("[secret]"), "{printed}");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_and_nothing_else_does(
            frame in proptest::collection::vec(any::<u8>(), 3..700),
            len in 1_usize..=64,
            (at, bit) in (any::<prop::sample::Index>(), 0_u8..8),
        ) {
            let mut frame = frame;
            frame[0] &= 0x7f;
            let key = AccessKey::derive(Some("a"), Some("b")).unwrap();
            let mut sealed = key.seal(&frame, len).to_vec();
            prop_assert_eq!(sealed.len(), frame.len() + len);
            let mut opened = vec![9; 3];
            prop_assert_eq!(key.open(&sealed, len, &mut opened), Ok(()));
            prop_assert_eq!(&opened, &frame);
            let other = AccessKey::derive(Some("b"), Some("a")).unwrap();
            // A code of one byte is met by chance once in 256 times.
            prop_assert!(len < 4 || other.open(&sealed, len, &mut opened).is_err());
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(len < 4 || key.open(&sealed, len, &mut opened).is_err());
        }

        #[test]
        fn nothing_that_arrives_makes_it_panic(frame in proptest::collection::vec(any::<u8>(), 0..200), len in 0_usize..100) {
            let key = AccessKey::derive(Some("a"), None).unwrap();
            let _ = key.open(&frame, len, &mut Vec::new());
            let _ = key.seal(&frame, len);
        }
    }
}
