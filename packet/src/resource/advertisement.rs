//! What a sender says of a resource before it sends it. docs/protocol/2-link.md, section 9.3.

use crate::hash::{RequestId, ResourceHash};
use crate::msgpack::{Invalid, Reader, Writer};

use super::{MAP_HASH_LEN, MapHash, TRANSFER_MAX};

/// MessagePack's marker of an unsigned number in one more byte, and the least number that needs it.
const LONG_UINT_8: u8 = 0xcc;
const LEAST_LONG_UINT: u8 = 0x80;

/// The flags of an advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceFlags(pub u8);

impl ResourceFlags {
    /// Always set.
    pub const ENCRYPTED: Self = Self(0x01);
    /// The stream is compressed with bzip2.
    pub const COMPRESSED: Self = Self(0x02);
    /// There are several segments.
    pub const SPLIT: Self = Self(0x04);
    /// It is a request.
    pub const REQUEST: Self = Self(0x08);
    /// It is a response.
    pub const RESPONSE: Self = Self(0x10);
    /// The data begins with a metadata block.
    pub const METADATA: Self = Self(0x20);

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the flags of `other` too, if `when`.
    #[must_use]
    pub const fn with(self, other: Self, when: bool) -> Self {
        if when { Self(self.0 | other.0) } else { self }
    }
}

/// An advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// `t`: bytes of the encrypted stream, at most [`TRANSFER_MAX`].
    pub transfer_size: usize,
    /// `d`: bytes of the data, all segments and the metadata block. Not verified.
    pub total_size: u64,
    /// `n`: parts by the sender's count. Receivers count for themselves.
    pub parts: u64,
    /// `h`: hash of this segment.
    pub hash: ResourceHash,
    /// `r`: random hash.
    pub random: [u8; 4],
    /// `o`: hash of the first segment.
    pub original: ResourceHash,
    /// `i`: number of this segment, from 1.
    pub segment: u64,
    /// `l`: number of segments.
    pub segments: u64,
    /// `q`: the request it is, or answers.
    pub request: Option<RequestId>,
    /// `f`: flags.
    pub flags: ResourceFlags,
    /// `m`: the first map hashes.
    pub map: Vec<MapHash>,
}

impl Advertisement {
    /// Whether it is a request: the flag counts only together with an id.
    pub fn is_request(&self) -> Option<RequestId> {
        self.request.filter(|_| self.flags.contains(ResourceFlags::REQUEST))
    }

    /// Whether it is a response: the flag counts only together with an id.
    pub fn is_response(&self) -> Option<RequestId> {
        self.request.filter(|_| self.flags.contains(ResourceFlags::RESPONSE))
    }

    /// The plaintext of the advertisement packet, byte for byte as the reference writes it.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with_flags(|out| out.uint(u64::from(self.flags.0)))
    }

    /// The same, and it says that who sends it is ready for the answer: the flags take two bytes, where MessagePack needs one.
    /// docs/protocol/mesh.md, Links.
    pub(crate) fn encode_ready(&self) -> Vec<u8> {
        self.encode_with_flags(|out| out.raw(&[LONG_UINT_8, self.flags.0]))
    }

    fn encode_with_flags(&self, flags: impl FnOnce(Writer) -> Writer) -> Vec<u8> {
        let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let map = self.map.as_flattened();
        let out = Writer::with_capacity(160 + map.len()).map(11);
        let out = out.str("t").uint(size(self.transfer_size)).str("d").uint(self.total_size).str("n").uint(self.parts);
        let out = out.str("h").bin(self.hash.as_ref()).str("r").bin(&self.random).str("o").bin(self.original.as_ref());
        let out = out.str("i").uint(self.segment).str("l").uint(self.segments).str("q");
        let out = match &self.request {
            Some(id) => out.bin(id.as_ref()),
            None => out.nil(),
        };
        flags(out.str("f")).str("m").bin(map).into_bytes()
    }

    /// Whether the plaintext of an advertisement is written as [`Advertisement::encode_ready`] does it, and nobody else.
    pub(crate) fn is_from_wend(plaintext: &[u8]) -> bool {
        let mut reader = Reader::new(plaintext);
        for _ in 0..reader.map().unwrap_or_default() {
            let (Ok(key), Ok(value)) = (reader.value(), reader.value()) else { return false };
            if Reader::new(key).str() == Ok("f") {
                return matches!(value, [LONG_UINT_8, flags] if *flags < LEAST_LONG_UINT);
            }
        }
        false
    }

    /// Reads the plaintext of an advertisement packet. Unknown keys are ignored.
    ///
    /// # Errors
    /// When it is no map, a key is missing, doubled or of the wrong type, or `t` is over [`TRANSFER_MAX`].
    pub fn decode(plaintext: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(plaintext);
        let mut fields = Fields::default();
        for _ in 0..reader.map()? {
            fields.read_pair(&mut reader)?;
        }
        fields.finish().ok_or(Invalid::Type)
    }
}

#[derive(Default)]
struct Fields {
    transfer_size: Option<u64>,
    total_size: Option<u64>,
    parts: Option<u64>,
    hash: Option<ResourceHash>,
    random: Option<[u8; 4]>,
    original: Option<ResourceHash>,
    segment: Option<u64>,
    segments: Option<u64>,
    request: Option<Option<RequestId>>,
    flags: Option<u64>,
    map: Option<Vec<MapHash>>,
}

impl Fields {
    fn read_pair(&mut self, reader: &mut Reader<'_>) -> Result<(), Invalid> {
        let hash = |reader: &mut Reader<'_>| ResourceHash::from_slice(reader.bin()?).ok_or(Invalid::Range);
        let key = reader.value()?;
        match Reader::new(key).str().unwrap_or_default() {
            "t" => set(&mut self.transfer_size, reader.uint()?),
            "d" => set(&mut self.total_size, reader.uint()?),
            "n" => set(&mut self.parts, reader.uint()?),
            "h" => set(&mut self.hash, hash(reader)?),
            "r" => set(&mut self.random, reader.bin()?.try_into().map_err(|_| Invalid::Range)?),
            "o" => set(&mut self.original, hash(reader)?),
            "i" => set(&mut self.segment, reader.uint()?),
            "l" => set(&mut self.segments, reader.uint()?),
            "q" if reader.nil() => set(&mut self.request, None),
            "q" => set(&mut self.request, Some(RequestId::from_slice(reader.bin()?).ok_or(Invalid::Range)?)),
            "f" => set(&mut self.flags, reader.uint()?),
            "m" => set(&mut self.map, reader.bin()?.as_chunks::<MAP_HASH_LEN>().0.to_vec()),
            _ => reader.value().map(drop),
        }
    }

    fn finish(self) -> Option<Advertisement> {
        Some(Advertisement {
            transfer_size: usize::try_from(self.transfer_size?).ok().filter(|size| *size <= TRANSFER_MAX)?,
            total_size: self.total_size?,
            parts: self.parts?,
            hash: self.hash?,
            random: self.random?,
            original: self.original?,
            segment: self.segment?,
            segments: self.segments?,
            request: self.request?,
            flags: ResourceFlags(u8::try_from(self.flags? & 0xff).ok()?),
            map: self.map?,
        })
    }
}

/// A key that comes twice is an error.
fn set<T>(field: &mut Option<T>, value: T) -> Result<(), Invalid> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Invalid::Type),
    }
}
