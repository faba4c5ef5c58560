//! Reads manifests from whoever sent them: strict, bounded, nothing allocated before it was seen to be there.

use rmp::Marker;
use rmp::decode::{self, RmpRead};
use wend_packet::IdentityHash;
use wend_packet::identity::SIGNATURE_LEN;
use wend_packet::time::UnixTime;

use super::{AdapterFacts, BaseModel, File, LEN_MAX, Manifest, VERSION, limits};
use crate::entry::{Kind, QuantisedVector, SpaceId};

/// How deep lists and maps of unknown keys may lie inside each other.
const DEPTH_MAX: usize = 16;

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than a manifest may have.
    #[error("a manifest of {0} bytes, at most {LEN_MAX} are allowed")]
    TooLong(usize),
    /// It ends in the middle, or is no map with short string keys.
    #[error("the manifest is damaged near byte {0}")]
    Damaged(usize),
    /// A version that this code does not know.
    #[error("manifest version {0} is not known here")]
    Version(u64),
    /// Keys do not ascend, or one occurs twice.
    #[error("the manifest's key `{0}` is not in order")]
    Order(String),
    /// A field that every manifest has is not there.
    #[error("the manifest has no `{0}`")]
    Missing(&'static str),
    /// A field has the wrong type, is too long or makes no sense.
    #[error("the manifest's field `{0}` is out of bounds")]
    Field(&'static str),
    /// Something follows the signature.
    #[error("{0} bytes follow the manifest")]
    Trailing(usize),
}

/// A place in the bytes. What it refuses is `None`; who asks knows the field's name.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn map_len(&mut self) -> Option<usize> {
        usize::try_from(decode::read_map_len(&mut self.rest).ok()?).ok()
    }

    fn array_len(&mut self, max: usize) -> Option<usize> {
        let len = usize::try_from(decode::read_array_len(&mut self.rest).ok()?).ok()?;
        (len <= max).then_some(len)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn str(&mut self, max: usize) -> Option<&'a str> {
        let len = usize::try_from(decode::read_str_len(&mut self.rest).ok()?).ok()?;
        if len > max {
            return None;
        }
        core::str::from_utf8(self.take(len)?).ok()
    }

    /// A text for people: no control characters but line ends and tabs, so that it can be shown on a terminal.
    fn text(&mut self, max: usize) -> Option<String> {
        let text = self.str(max)?;
        is_printable(text).then(|| text.to_owned())
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        let len = self.array_len(limits::LIST)?;
        (0..len).map(|_| self.text(limits::WORD)).collect()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(decode::read_bin_len(&mut self.rest).ok()?).ok()?;
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    fn uint(&mut self) -> Option<u64> {
        decode::read_int(&mut self.rest).ok()
    }

    fn float(&mut self) -> Option<f64> {
        decode::read_f64(&mut self.rest).ok().filter(|number| number.is_finite())
    }

    /// Passes over a value, whatever it is.
    fn skip(&mut self) -> Option<()> {
        // How many values are still to come at each depth.
        let mut open = vec![1_usize];
        while let Some(left) = open.last_mut() {
            if *left == 0 {
                open.pop();
                continue;
            }
            *left -= 1;
            let values = self.skip_one()?;
            if values > 0 {
                if open.len() >= DEPTH_MAX {
                    return None;
                }
                open.push(values);
            }
        }
        Some(())
    }

    /// Passes over a plain value, or the head of a list or map; returns how many values are inside.
    fn skip_one(&mut self) -> Option<usize> {
        let byte = |reader: &mut Self| reader.rest.read_data_u8().ok().map(usize::from);
        let short = |reader: &mut Self| reader.rest.read_data_u16().ok().map(usize::from);
        let long = |reader: &mut Self| usize::try_from(reader.rest.read_data_u32().ok()?).ok();
        let plain = match decode::read_marker(&mut self.rest).ok()? {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::FixExt4 => 5,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::FixStr(len) => len.into(),
            Marker::Str8 | Marker::Bin8 => byte(self)?,
            Marker::Str16 | Marker::Bin16 => short(self)?,
            Marker::Str32 | Marker::Bin32 => long(self)?,
            Marker::Ext8 => byte(self)? + 1,
            Marker::Ext16 => short(self)? + 1,
            Marker::Ext32 => long(self)?.checked_add(1)?,
            Marker::FixArray(len) => return Some(len.into()),
            Marker::Array16 => return short(self),
            Marker::Array32 => return long(self),
            Marker::FixMap(len) => return Some(usize::from(len) * 2),
            Marker::Map16 => return Some(short(self)? * 2),
            Marker::Map32 => return long(self)?.checked_mul(2),
            Marker::Reserved => return None,
        };
        self.take(plain).map(|_| 0)
    }
}

/// Whether a text can be shown as it is.
pub(crate) fn is_printable(text: &str) -> bool {
    text.chars().all(|character| !character.is_control() || character == '\n' || character == '\t')
}

/// Whether a path stays inside the folder it is read in.
pub(crate) fn is_inner_path(path: &str) -> bool {
    let inner = |part: &str| !part.is_empty() && part != "." && part != "..";
    !path.contains(['\\', ':']) && is_printable(path) && path.split('/').all(inner)
}

/// A map's keys, which must ascend; `field` reads the value of a known one and returns `None` for others.
fn read_map<'a>(
    reader: &mut Reader<'a>,
    name: &'static str,
    mut field: impl FnMut(&mut Reader<'a>, &str) -> Option<Option<()>>,
) -> Result<(), DecodeError> {
    let len = reader.map_len().ok_or(DecodeError::Field(name))?;
    let mut last = "";
    for _ in 0..len {
        let key = reader.str(limits::WORD).ok_or(DecodeError::Field(name))?;
        if key <= last {
            return Err(DecodeError::Order(printable_key(key)));
        }
        last = key;
        match field(reader, key) {
            Some(read) => read.ok_or(DecodeError::Field(name))?,
            None => reader.skip().ok_or(DecodeError::Field(name))?,
        }
    }
    Ok(())
}

fn printable_key(key: &str) -> String {
    key.escape_default().take(limits::WORD).collect()
}

/// Puts what was read into its place.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

/// The fields, how many bytes are signed, and the signature.
pub(super) fn decode(bytes: &[u8]) -> Result<(Manifest, usize, [u8; SIGNATURE_LEN]), DecodeError> {
    if bytes.len() > LEN_MAX {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let mut reader = Reader { rest: bytes };
    let damaged = |reader: &Reader<'_>| DecodeError::Damaged(bytes.len() - reader.rest.len());
    let len = reader.map_len().ok_or_else(|| damaged(&reader))?;
    let mut fields = Fields::default();
    let mut last = "";
    for index in 1..=len {
        let signed = bytes.len() - reader.rest.len();
        let key = reader.str(limits::WORD).ok_or_else(|| damaged(&reader))?;
        if index == len {
            if key != "sig" {
                return Err(DecodeError::Missing("sig"));
            }
            let signature = reader.array().ok_or(DecodeError::Field("sig"))?;
            if !reader.rest.is_empty() {
                return Err(DecodeError::Trailing(reader.rest.len()));
            }
            return Ok((fields.finish()?, signed, signature));
        }
        // The signature stands last whatever its key; all others ascend.
        if key <= last || key == "sig" {
            return Err(DecodeError::Order(printable_key(key)));
        }
        last = key;
        if !fields.read(&mut reader, key)? {
            reader.skip().ok_or_else(|| damaged(&reader))?;
        }
    }
    Err(DecodeError::Missing("sig"))
}

#[derive(Default)]
struct Fields {
    created: Option<u64>,
    base_model: Option<BaseModel>,
    description: Option<String>,
    files: Option<Vec<File>>,
    kind: Option<Kind>,
    languages: Option<Vec<String>>,
    licence: Option<String>,
    adapter: Option<AdapterFacts>,
    name: Option<String>,
    publisher: Option<IdentityHash>,
    sequence: Option<u32>,
    tags: Option<Vec<String>>,
    version_known: Option<()>,
    vector: Option<(SpaceId, QuantisedVector)>,
    version: Option<String>,
}

impl Fields {
    /// Reads the value of `key`; `false` when this code does not know the key.
    fn read(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<bool, DecodeError> {
        let (name, read) = match key {
            "at" => ("at", set(&mut self.created, reader.uint())),
            "base" => ("base", set(&mut self.base_model, Some(base_model(reader)?))),
            "desc" => ("desc", set(&mut self.description, reader.text(limits::DESCRIPTION))),
            "files" => ("files", set(&mut self.files, Some(files(reader)?))),
            "kind" => ("kind", set(&mut self.kind, reader.uint().and_then(|kind| u8::try_from(kind).ok()).map(Kind))),
            "lang" => ("lang", set(&mut self.languages, reader.texts())),
            "lic" => ("lic", set(&mut self.licence, reader.text(limits::LICENCE))),
            "lora" => ("lora", set(&mut self.adapter, Some(adapter(reader)?))),
            "name" => ("name", set(&mut self.name, reader.text(limits::NAME).filter(|name| !name.is_empty()))),
            "pub" => ("pub", set(&mut self.publisher, reader.array().map(IdentityHash::new))),
            "seq" => ("seq", set(&mut self.sequence, reader.uint().and_then(|number| u32::try_from(number).ok()))),
            "tags" => ("tags", set(&mut self.tags, reader.texts())),
            "v" => {
                let version = reader.uint().ok_or(DecodeError::Field("v"))?;
                if version != VERSION {
                    return Err(DecodeError::Version(version));
                }
                ("v", set(&mut self.version_known, Some(())))
            }
            "vec" => ("vec", set(&mut self.vector, Some(vector(reader)?))),
            "ver" => ("ver", set(&mut self.version, reader.text(limits::VERSION))),
            _ => return Ok(false),
        };
        read.map(|()| true).ok_or(DecodeError::Field(name))
    }

    fn finish(self) -> Result<Manifest, DecodeError> {
        let missing = DecodeError::Missing;
        self.version_known.ok_or(missing("v"))?;
        Ok(Manifest {
            name: self.name.ok_or(missing("name"))?,
            version: self.version.ok_or(missing("ver"))?,
            kind: self.kind.ok_or(missing("kind"))?,
            publisher: self.publisher.ok_or(missing("pub"))?,
            created: UnixTime(self.created.ok_or(missing("at"))?),
            sequence: self.sequence.ok_or(missing("seq"))?,
            description: self.description.ok_or(missing("desc"))?,
            tags: self.tags.ok_or(missing("tags"))?,
            languages: self.languages.ok_or(missing("lang"))?,
            licence: self.licence,
            base_model: self.base_model,
            adapter: self.adapter,
            files: self.files.ok_or(missing("files"))?,
            vector: self.vector,
        })
    }
}

fn base_model(reader: &mut Reader<'_>) -> Result<BaseModel, DecodeError> {
    let (mut id, mut revision) = (None, None);
    read_map(reader, "base", |reader, key| match key {
        "id" => Some(set(&mut id, reader.text(limits::MODEL))),
        "rev" => Some(set(&mut revision, reader.text(limits::MODEL))),
        _ => None,
    })?;
    Ok(BaseModel { id: id.ok_or(DecodeError::Field("base"))?, revision })
}

fn adapter(reader: &mut Reader<'_>) -> Result<AdapterFacts, DecodeError> {
    let mut facts = AdapterFacts::default();
    let mut targets = None;
    read_map(reader, "lora", |reader, key| match key {
        "a" => Some(set(&mut facts.alpha, reader.float())),
        "dt" => Some(set(&mut facts.dtype, reader.text(limits::WORD))),
        "fmt" => Some(set(&mut facts.format, reader.text(limits::WORD))),
        "n" => Some(set(&mut facts.parameters, reader.uint())),
        "r" => Some(set(&mut facts.rank, reader.uint().and_then(|rank| u32::try_from(rank).ok()))),
        "t" => Some(set(&mut targets, reader.texts())),
        _ => None,
    })?;
    facts.targets = targets.ok_or(DecodeError::Field("lora"))?;
    Ok(facts)
}

fn files(reader: &mut Reader<'_>) -> Result<Vec<File>, DecodeError> {
    let len = reader.array_len(limits::FILES).ok_or(DecodeError::Field("files"))?;
    (0..len).map(|_| file(reader)).collect()
}

fn file(reader: &mut Reader<'_>) -> Result<File, DecodeError> {
    let (mut blake3, mut len, mut path, mut sha256) = (None, None, None, None);
    read_map(reader, "files", |reader, key| match key {
        "b3" => Some(set(&mut blake3, reader.array())),
        "len" => Some(set(&mut len, reader.uint())),
        "path" => Some(set(&mut path, reader.text(limits::PATH).filter(|path| is_inner_path(path)))),
        "sha" => Some(set(&mut sha256, reader.array())),
        _ => None,
    })?;
    let whole = || Some(File { path: path?, len: len?, blake3: blake3?, sha256: sha256? });
    whole().ok_or(DecodeError::Field("files"))
}

fn vector(reader: &mut Reader<'_>) -> Result<(SpaceId, QuantisedVector), DecodeError> {
    let (mut vector, mut space) = (None, None);
    read_map(reader, "vec", |reader, key| match key {
        "q" => Some(set(&mut vector, reader.bytes().and_then(QuantisedVector::from_bytes))),
        "sp" => Some(set(&mut space, reader.array().map(SpaceId))),
        _ => None,
    })?;
    space.zip(vector).ok_or(DecodeError::Field("vec"))
}
