//! Bytes that travel as MessagePack bin and show as hexadecimal digits in text: identifiers of fixed length, and blobs.

use core::fmt;
use core::str::FromStr;

use serde::de;

/// A text that is not hexadecimal, or not of the right length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHex {
    /// A character is no hexadecimal digit, or the last byte has only one.
    #[error("expected hexadecimal digits, two for each byte")]
    Digits,
    /// The wrong number of bytes.
    #[error("expected {expected} bytes ({digits} hexadecimal digits), got {len} bytes", digits = expected * 2)]
    Length {
        /// Bytes there should be.
        expected: usize,
        /// Bytes there are.
        len: usize,
    },
}

fn parse_hex(text: &str) -> Result<Vec<u8>, InvalidHex> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(InvalidHex::Digits);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    pairs.iter().map(byte).collect::<Option<_>>().ok_or(InvalidHex::Digits)
}

pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads bin, or hexadecimal text: a person on a command line writes the latter, and it arrives in MessagePack as it is.
struct OctetsVisitor {
    len: Option<usize>,
}

impl OctetsVisitor {
    fn check<E: de::Error>(&self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        match self.len {
            Some(expected) if expected != bytes.len() => {
                Err(E::custom(InvalidHex::Length { expected, len: bytes.len() }))
            }
            _ => Ok(bytes),
        }
    }
}

impl de::Visitor<'_> for OctetsVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            Some(len) => write!(f, "{len} bytes, or {} hexadecimal digits", len * 2),
            None => f.write_str("bytes, or hexadecimal digits"),
        }
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        self.check(bytes.to_vec())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        parse_hex(text).map_err(E::custom).and_then(|bytes| self.check(bytes))
    }
}

fn deserialize<'de, D: serde::Deserializer<'de>>(from: D, len: Option<usize>) -> Result<Vec<u8>, D::Error> {
    from.deserialize_any(OctetsVisitor { len })
}

/// Bytes of any length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl serde::Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_bytes(&self.0) }
    }
}

impl<'de> serde::Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize(from, None).map(Self)
    }
}

macro_rules! octets {
    ($($(#[$doc:meta])* $name:ident, $len:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// With these bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(self.0.first_chunk::<4>().map_or(&[], <[u8; 4]>::as_slice), f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidHex;

            fn from_str(text: &str) -> Result<Self, InvalidHex> {
                let bytes = parse_hex(text)?;
                let len = bytes.len();
                bytes.try_into().map(Self).map_err(|_| InvalidHex::Length { expected: $len, len })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { to.serialize_bytes(&self.0) }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let bytes = deserialize(from, Some($len))?;
                let len = bytes.len();
                bytes.try_into().map(Self).map_err(|_| de::Error::custom(InvalidHex::Length { expected: $len, len }))
            }
        }
    )*};
}

octets! {
    /// What ties a reply to its call, and repeated calls to one another. Random, drawn by the caller.
    MessageId, 16;
    /// Names a catalog entry: first 16 bytes of BLAKE3 over its card. docs/protocol/mesh.md, "Card".
    EntryId, 16;
    /// BLAKE3-256 of a manifest.
    ManifestHash, 32;
    /// Stands for a whole catalog: equal roots, equal catalogs. docs/protocol/mesh.md, "Announce app data".
    CatalogRoot, 8;
    /// Names an embedding space: first 4 bytes of the SHA-256 of the upstream weights. docs/embedding.md.
    SpaceId, 4;
    /// Signs of the 384 components of a vector, most significant bit first.
    Sketch, 48;
    /// The 64-byte public key of an identity. docs/protocol/1-core.md, section 1.1.
    PublicKey, 64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_bin_in_messagepack_and_hex_in_json() {
        let id = SpaceId::new([0x53, 0xaa, 0x51, 0x17]);
        assert_eq!(rmp_serde::to_vec_named(&id).unwrap(), [0xc4, 4, 0x53, 0xaa, 0x51, 0x17]);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"53aa5117\"");
        assert_eq!(serde_json::from_str::<SpaceId>("\"53AA5117\"").unwrap(), id);
        let text = rmp_serde::to_vec_named("53aa5117").unwrap();
        assert_eq!(rmp_serde::from_slice::<SpaceId>(&text).unwrap(), id);
        assert_eq!(rmp_serde::from_slice::<Blob>(&text).unwrap(), Blob(id.as_bytes().to_vec()));
    }

    #[test]
    fn a_wrong_length_or_digit_says_what_was_expected() {
        assert_eq!("53aa".parse::<SpaceId>(), Err(InvalidHex::Length { expected: 4, len: 2 }));
        assert_eq!("53aa511".parse::<SpaceId>(), Err(InvalidHex::Digits));
        assert_eq!("53aa511é".parse::<SpaceId>(), Err(InvalidHex::Digits));
        let error = rmp_serde::from_slice::<SpaceId>(&[0xc4, 1, 7]).unwrap_err().to_string();
        assert_eq!(error, "expected 4 bytes (8 hexadecimal digits), got 1 bytes");
    }
}
