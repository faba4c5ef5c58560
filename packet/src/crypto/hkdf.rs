//! HKDF-SHA256 with a block counter that wraps. docs/protocol/1-core.md, section 0.1.
//!
//! Written out because access codes need masks of more than 255 blocks, which RFC 5869 and its libraries refuse.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Why nothing could be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HkdfError {
    /// No output was asked for.
    #[error("a derived key needs at least one byte")]
    NoOutput,
    /// There is no key material.
    #[error("no key material to derive from")]
    NoKeyMaterial,
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    // HMAC takes keys of any length, so this constructor has no failing case; the fallback keeps the type total.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else {
        return Zeroizing::new([0; 32]);
    };
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Derives `length` bytes from `key_material`.
///
/// # Errors
/// When `length` is zero or `key_material` is empty.
pub fn hkdf(
    length: usize,
    key_material: &[u8],
    salt: Option<&[u8]>,
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, HkdfError> {
    if length == 0 {
        return Err(HkdfError::NoOutput);
    }
    if key_material.is_empty() {
        return Err(HkdfError::NoKeyMaterial);
    }
    let pseudorandom = hmac(salt.filter(|salt| !salt.is_empty()).unwrap_or(&[0; 32]), &[key_material]);
    let mut out = Zeroizing::new(Vec::with_capacity(length.next_multiple_of(32)));
    let mut block: Option<Zeroizing<[u8; 32]>> = None;
    let mut counter = 1_u8;
    while out.len() < length {
        let previous = block.as_ref().map_or(&[][..], |block| block.as_ref());
        let next = hmac(pseudorandom.as_ref(), &[previous, context, &[counter]]);
        out.extend_from_slice(next.as_ref());
        block = Some(next);
        counter = counter.wrapping_add(1);
    }
    out.truncate(length);
    Ok(out)
}
