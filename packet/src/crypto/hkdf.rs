//! HKDF-SHA256 with a block counter that wraps. docs/protocol/1-core.md, section 0.1.
//!
//! Written out because access codes need masks of more than 255 blocks, which RFC 5869 and its libraries refuse.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const BLOCK_LEN: usize = 32;

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

/// HMAC-SHA256 that has taken in its key already.
type Keyed = Hmac<Sha256>;

fn keyed(key: &[u8]) -> Option<Keyed> {
    // HMAC takes keys of any length: this is never `None`.
    <Keyed as KeyInit>::new_from_slice(key).ok()
}

/// A salt that was taken in once, to derive with many times.
#[derive(Clone)]
pub(crate) struct Salt(Option<Keyed>);

impl Salt {
    pub(crate) fn new(salt: &[u8]) -> Self {
        Self(keyed(if salt.is_empty() { &[0; BLOCK_LEN] } else { salt }))
    }

    /// The blocks that `key_material` gives under this salt, without an end.
    pub(crate) fn expand<'a>(&self, key_material: &[u8], context: &'a [u8]) -> Blocks<'a> {
        let pseudorandom = self.0.clone().map(|mac| finish(mac.chain_update(key_material)));
        let mac = pseudorandom.and_then(|key| keyed(key.as_ref()));
        Blocks { mac, context, previous: None, counter: 1 }
    }
}

fn finish(mac: Keyed) -> Zeroizing<[u8; BLOCK_LEN]> {
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// Derived bytes, 32 at a time. Allocates nothing.
pub(crate) struct Blocks<'a> {
    mac: Option<Keyed>,
    context: &'a [u8],
    previous: Option<Zeroizing<[u8; BLOCK_LEN]>>,
    counter: u8,
}

impl Iterator for Blocks<'_> {
    type Item = Zeroizing<[u8; BLOCK_LEN]>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut mac = self.mac.clone()?;
        if let Some(previous) = &self.previous {
            mac.update(previous.as_ref());
        }
        let block = finish(mac.chain_update(self.context).chain_update([self.counter]));
        self.counter = self.counter.wrapping_add(1);
        self.previous = Some(block.clone());
        Some(block)
    }
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
    let mut out = Zeroizing::new(Vec::with_capacity(length.next_multiple_of(BLOCK_LEN)));
    for block in Salt::new(salt.unwrap_or_default()).expand(key_material, context) {
        out.extend_from_slice(block.as_ref());
        if out.len() >= length {
            break;
        }
    }
    out.truncate(length);
    Ok(out)
}
