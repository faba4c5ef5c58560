//! Files of ratchets: a destination's own, signed, and `storage/ratchets/<destination hash>` for one heard from somebody
//! else. docs/protocol/1-core.md, section 1.4.

use zeroize::Zeroizing;

use super::{FileError, fields, fixed};
use crate::identity::{Identity, PublicIdentity};
use crate::msgpack::{Reader, Writer};
use crate::ratchet::{RATCHET_EXPIRY, RATCHET_LEN, RatchetKey};

/// MessagePack takes two bytes beside each key, and at most five for the array.
const AROUND_KEY: usize = 2;
const AROUND_ARRAY: usize = 5;

/// Writes the ratchets of a destination, newest first, signed by its identity. They are secret.
pub fn seal(identity: &Identity, newest_first: &[RatchetKey]) -> Zeroizing<Vec<u8>> {
    // With room for all of it from the start: growing would leave copies of the keys behind.
    let room = newest_first.len() * (RATCHET_LEN + AROUND_KEY) + AROUND_ARRAY;
    let array = Writer::with_capacity(room).array(newest_first.len());
    let packed = newest_first.iter().fold(array, |out, ratchet| out.bin(ratchet.private()));
    let packed = Zeroizing::new(packed.into_bytes());
    let signature = identity.sign(&packed);
    let out = Writer::with_capacity(packed.len() + 128).map(2).str("signature").bin(&signature);
    Zeroizing::new(out.str("ratchets").bin(&packed).into_bytes())
}

/// Reads the ratchets of a destination, newest first. `None` when the file holds no ratchets or no signature: it is then
/// as if there were none.
///
/// # Errors
/// When it is not such a file or not signed by `identity`, whose ratchets it is to hold.
pub fn open(identity: &PublicIdentity, bytes: &[u8]) -> Result<Option<Vec<RatchetKey>>, FileError> {
    let mut fields = fields(bytes)?;
    let (Some(mut signature), Some(mut packed)) = (fields.remove("signature"), fields.remove("ratchets")) else {
        return Ok(None);
    };
    let packed = packed.bin()?;
    if !identity.verify(packed, signature.bin()?) {
        return Err(FileError::Signature);
    }
    let mut reader = Reader::new(packed);
    let mut found = Vec::with_capacity(packed.len() / (RATCHET_LEN + AROUND_KEY));
    for _ in 0..reader.array()? {
        found.push(RatchetKey::new(*Zeroizing::new(fixed(&mut reader)?)));
    }
    Ok(Some(found))
}

/// A ratchet heard from somebody else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeardRatchet {
    /// The public half.
    pub ratchet: [u8; RATCHET_LEN],
    /// When it was heard.
    pub received: f64,
}

impl HeardRatchet {
    /// Whether it is still encrypted to: for 30 days.
    pub fn is_usable(&self, now: f64) -> bool {
        now < self.received + RATCHET_EXPIRY.as_secs_f64()
    }
}

/// Reads a ratchet heard from somebody else.
///
/// # Errors
/// When it is not such a file, or the key has another length.
pub fn read_heard(bytes: &[u8]) -> Result<HeardRatchet, FileError> {
    let mut fields = fields(bytes)?;
    let mut field = |name: &str| fields.remove(name).unwrap_or_else(|| Reader::new(&[]));
    Ok(HeardRatchet { ratchet: fixed(&mut field("ratchet"))?, received: field("received").number()? })
}

/// Writes a ratchet heard from somebody else.
pub fn write_heard(heard: &HeardRatchet) -> Vec<u8> {
    Writer::new().map(2).str("ratchet").bin(&heard.ratchet).str("received").float(heard.received).into_bytes()
}
