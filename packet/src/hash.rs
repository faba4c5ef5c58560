//! Hashes, each with a name of its own, so that a link id cannot be passed where a destination belongs.

use core::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 over the concatenation of `parts`. docs/protocol/1-core.md, section 0.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// The first `N` bytes (at most 32) of SHA-256 over the concatenation of `parts`. Truncations always keep the head.
pub fn sha256_head<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 32) };
    let full = sha256(parts);
    let mut head = [0; N];
    head.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    head
}

/// A text that is not the lower- or upper-case hexadecimal form of a hash of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits")]
pub struct InvalidHash {
    /// How many digits the hash has.
    pub digits: usize,
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[doc(hidden)]
pub fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidHash> {
    let invalid = InvalidHash { digits: N * 2 };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(invalid);
    }
    let mut out = [0; N];
    for (to, [high, low]) in out.iter_mut().zip(pairs) {
        let (high, low) = (hex_digit(*high).ok_or(invalid)?, hex_digit(*low).ok_or(invalid)?);
        *to = high << 4 | low;
    }
    Ok(out)
}

/// Reads a hash from bytes, or from text in hexadecimal form, whichever the data format offers.
struct HashVisitor<const N: usize>;

impl<const N: usize> serde::de::Visitor<'_> for HashVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a hash of {N} bytes or {} hexadecimal digits", N * 2)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; N], E> {
        parse_hex(text).map_err(E::custom)
    }
}

#[doc(hidden)]
pub fn deserialize_hash<'de, const N: usize, D: serde::Deserializer<'de>>(from: D) -> Result<[u8; N], D::Error> {
    if from.is_human_readable() { from.deserialize_str(HashVisitor) } else { from.deserialize_any(HashVisitor) }
}

/// Defines a hash type: full hex as `Display`, its first 8 digits as `Debug`; bytes in binary formats, hex in text formats.
/// The crate that uses it needs `serde` itself.
#[macro_export]
macro_rules! hash_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The hash with these bytes.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The hash in `bytes`, or `None` when the length differs.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
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

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl ::core::str::FromStr for $name {
            type Err = $crate::hash::InvalidHash;

            fn from_str(text: &str) -> Result<Self, $crate::hash::InvalidHash> {
                $crate::hash::parse_hex(text).map(Self)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { to.serialize_bytes(&self.0) }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::hash::deserialize_hash(from).map(Self)
            }
        }
    };
}

hash_newtype!(
    /// *Who* somebody is: first 16 bytes of SHA-256 over the 64-byte public key. docs/protocol/1-core.md, section 1.1.
    ///
    /// It also names a transport node as next hop (its transport id).
    IdentityHash, 16
);
hash_newtype!(
    /// *Where* to send: first 16 bytes of SHA-256 over name hash and identity hash. docs/protocol/1-core.md, section 2.2.
    DestinationHash, 16
);
hash_newtype!(
    /// First 10 bytes of SHA-256 over the dotted name of a destination. docs/protocol/1-core.md, section 2.2.
    NameHash, 10
);
hash_newtype!(
    /// Hash of a packet's invariant part, the same on every hop. docs/protocol/1-core.md, section 3.4.
    PacketHash, 32
);
hash_newtype!(
    /// Address of a link. docs/protocol/2-link.md, section 2.4.
    LinkId, 16
);
hash_newtype!(
    /// What ties a response to its request. docs/protocol/2-link.md, section 6.1.
    RequestId, 16
);
hash_newtype!(
    /// Hash of a resource segment. docs/protocol/2-link.md, section 9.2.
    ResourceHash, 32
);

hash_newtype!(
    /// SHA-256 over an interface's name: a label that stays the same for its node. docs/protocol/3-interfaces.md, section 1.
    InterfaceHash, 32
);
hash_newtype!(
    /// A connection that stays the same one when it is made again. docs/protocol/1-core.md, section 5.8.
    TunnelId, 32
);
hash_newtype!(
    /// Name of a ratchet: first 10 bytes of SHA-256 over its public half. docs/protocol/1-core.md, section 1.4.
    RatchetId, 10
);

impl PacketHash {
    /// The first 16 bytes, which address proofs of the packet.
    pub fn truncated(&self) -> [u8; 16] {
        let (head, _) = self.0.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        *head
    }
}

impl InterfaceHash {
    /// That of an interface of this name.
    pub fn of(name: &str) -> Self {
        Self(sha256(&[name.as_bytes()]))
    }
}

impl From<LinkId> for DestinationHash {
    /// A link id stands in the address field of link packets.
    fn from(link: LinkId) -> Self {
        Self(link.0)
    }
}

impl From<DestinationHash> for LinkId {
    /// Reads the address field of a packet of destination type LINK.
    fn from(address: DestinationHash) -> Self {
        Self(address.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_the_whole_hash_and_debug_its_head() {
        let hash = LinkId::new(*b"0123456789abcdef");
        assert_eq!(hash.to_string(), "30313233343536373839616263646566");
        assert_eq!(format!("{hash:?}"), "30313233");
    }

    #[test]
    fn text_form_survives_a_round_trip_and_rejects_anything_else() {
        let text = "30313233343536373839616263646566";
        assert_eq!(text.parse::<LinkId>().unwrap().to_string(), text);
        for bad in [
            "",
            "30",
            "3031323334353637383961626364656",
            "3031323334353637383961626364656g",
            "é0313233343536373839616263646566",
        ] {
            assert_eq!(bad.parse::<LinkId>(), Err(InvalidHash { digits: 32 }), "{bad}");
        }
    }

    #[test]
    fn serde_uses_hex_in_text_formats() {
        let hash = NameHash::new(*b"0123456789");
        assert_eq!(serde_json::to_string(&hash).unwrap(), "\"30313233343536373839\"");
        assert_eq!(serde_json::from_str::<NameHash>("\"30313233343536373839\"").unwrap(), hash);
    }
}
