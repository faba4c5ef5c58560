//! What a command takes and gives, said once: the doc comments of a declaration are also its help and its reference page.

use core::fmt;

use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash};

use crate::access::Access;
use crate::name::CommandName;
use crate::octets::{Blob, CatalogRoot, EntryId, ManifestHash, PublicKey, Sketch, SpaceId};
use crate::value::Value;

/// The kind of a parameter or of a field of a reply, in words a caller in any language understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// A whole number from 0 to this.
    Whole(u64),
    /// A number.
    Number,
    /// Bytes of any length.
    Bytes,
    /// Exactly this many bytes.
    Octets(usize),
    /// Seconds since the Unix epoch.
    Time,
    /// A list.
    List(&'static Self),
    /// A record with these fields.
    Record(&'static [Field]),
    /// Any value.
    Any,
}

impl Kind {
    /// The fields of a record, or of the records in a list; none for all else.
    pub const fn fields(&self) -> &'static [Field] {
        match self {
            Self::Record(fields) | Self::List(Self::Record(fields)) => fields,
            _ => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Flag => f.write_str("true or false"),
            Self::Whole(max @ ..0x1_0000) => write!(f, "whole number up to {max}"),
            Self::Whole(_) => f.write_str("whole number"),
            Self::Number => f.write_str("number"),
            Self::Bytes => f.write_str("bytes"),
            Self::Octets(len) => write!(f, "{len} bytes"),
            Self::Time => f.write_str("Unix time"),
            Self::List(of) => write!(f, "list of {of}"),
            Self::Record(_) => f.write_str("record"),
            Self::Any => f.write_str("any value"),
        }
    }
}

/// A parameter of a command, or a field of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Key in the map.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whether it may be absent or nil.
    pub optional: bool,
    /// What it means.
    pub doc: &'static str,
}

/// A type that can be a parameter or a field.
pub trait Described {
    /// What it is.
    const KIND: Kind;
    /// Whether it may be absent.
    const OPTIONAL: bool = false;

    /// Whether this one is absent, and need not travel.
    fn is_absent(&self) -> bool {
        false
    }
}

impl<T: Described> Described for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Described> Described for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);
}

macro_rules! described {
    ($($type:ty = $kind:expr;)*) => {$(
        impl Described for $type {
            const KIND: Kind = $kind;
        }
    )*};
}

described! {
    String = Kind::Text;
    CommandName = Kind::Text;
    bool = Kind::Flag;
    u8 = Kind::Whole(0xff);
    u16 = Kind::Whole(0xffff);
    u32 = Kind::Whole(0xffff_ffff);
    u64 = Kind::Whole(u64::MAX);
    f64 = Kind::Number;
    UnixTime = Kind::Time;
    Blob = Kind::Bytes;
    IdentityHash = Kind::Octets(IdentityHash::LEN);
    DestinationHash = Kind::Octets(DestinationHash::LEN);
    EntryId = Kind::Octets(EntryId::LEN);
    ManifestHash = Kind::Octets(ManifestHash::LEN);
    CatalogRoot = Kind::Octets(CatalogRoot::LEN);
    SpaceId = Kind::Octets(SpaceId::LEN);
    Sketch = Kind::Octets(Sketch::LEN);
    PublicKey = Kind::Octets(PublicKey::LEN);
    Value = Kind::Any;
}

/// A type that is a map of named fields on the wire and in JSON. Declared with the `record!` and `command!` macros of
/// this crate, which take names, kinds and documentation from the declaration itself.
pub trait Record {
    /// What the record is.
    const DOC: &'static str;
    /// Its fields, as declared.
    const FIELDS: &'static [Field];
}

/// All there is to say about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name.
    pub name: CommandName,
    /// What it does; the first sentence is a summary.
    pub doc: &'static str,
    /// Who may ever run it.
    pub access: Access,
    /// What it takes.
    pub parameters: &'static [Field],
    /// What it gives.
    pub reply: &'static [Field],
}

impl Description {
    /// The description of a command.
    pub fn of<C: crate::Command>() -> Self {
        Self {
            name: C::NAME,
            doc: C::DOC,
            access: C::ACCESS,
            parameters: C::FIELDS,
            reply: <C::Reply as Record>::FIELDS,
        }
    }

    /// First sentence of the documentation.
    pub fn summary(&self) -> &'static str {
        self.doc.find(". ").and_then(|end| self.doc.get(..=end)).unwrap_or(self.doc)
    }
}

/// Declares records: one doc comment per type and field, `Option` for what may be absent. Fields are as visible as
/// their type.
macro_rules! record {
    ($($(#[doc = $doc:literal])+ $vis:vis struct $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)*
    })*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        $vis struct $name {
            $($(#[doc = $field_doc])+ $vis $field: $type,)*
        }

        impl $crate::describe::Described for $name {
            const KIND: $crate::describe::Kind = $crate::describe::Kind::Record(<Self as $crate::describe::Record>::FIELDS);
        }

        $crate::describe::fields!($name, concat!($($doc),+), $($field: $type = concat!($($field_doc),+),)*);
    )*};
}

/// Declares a command: `"name", access, reply type`, then a struct as in `record!`. What is absent does not travel, what is
/// not declared is refused.
macro_rules! command {
    ($($(#[doc = $doc:literal])+ $wire:literal, $access:expr => $reply:ty;
    $vis:vis struct $name:ident {
        $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)*
    })*) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $(
                $(#[doc = $field_doc])+
                #[serde(skip_serializing_if = "crate::describe::Described::is_absent")]
                $vis $field: $type,
            )*
        }

        $crate::describe::fields!($name, concat!($($doc),+), $($field: $type = concat!($($field_doc),+),)*);

        impl $crate::Command for $name {
            const NAME: $crate::CommandName = $crate::CommandName::declared($wire);
            const ACCESS: $crate::Access = $access;
            type Reply = $reply;
        }
    )*};
}

macro_rules! fields {
    ($name:ident, $doc:expr, $($field:ident: $type:ty = $field_doc:expr,)*) => {
        impl $crate::describe::Record for $name {
            const DOC: &'static str = $doc.trim_ascii();
            const FIELDS: &'static [$crate::describe::Field] = &[$($crate::describe::Field {
                name: stringify!($field),
                kind: <$type as $crate::describe::Described>::KIND,
                optional: <$type as $crate::describe::Described>::OPTIONAL,
                doc: $field_doc.trim_ascii(),
            },)*];
        }
    };
}

pub(crate) use {command, fields, record};

/// The reference page of these commands, in Markdown.
pub fn to_markdown(commands: &[Description]) -> String {
    let mut page = String::new();
    for command in commands {
        page.push_str(&format!("\n## {}\n\n{}\n\n", command.name, command.doc));
        page.push_str(&match command.access {
            Access::Local => "Access: local; no policy opens it to other nodes.\n".to_owned(),
            Access::AtLeast(level) => format!("Access: what the policy says, from level `{level}` up.\n"),
        });
        if command.parameters.is_empty() {
            page.push_str("\nNo parameters.\n");
        } else {
            page.push_str("\n| Parameter | Kind | Meaning |\n| --- | --- | --- |\n");
            table(&mut page, "", command.parameters);
        }
        page.push_str("\n| Reply | Kind | Meaning |\n| --- | --- | --- |\n");
        table(&mut page, "", command.reply);
    }
    page
}

fn table(page: &mut String, prefix: &str, fields: &[Field]) {
    for field in fields {
        let optional = if field.optional { ", optional" } else { "" };
        page.push_str(&format!("| `{prefix}{}` | {}{optional} | {} |\n", field.name, field.kind, field.doc));
        let list = if matches!(field.kind, Kind::List(_)) { "[]" } else { "" };
        table(page, &format!("{prefix}{}{list}.", field.name), field.kind.fields());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Level;

    record! {
        /// One.
        pub(super) struct Reply {
            /// How
            /// many.
            count: u16,
        }
    }

    command! {
        /// Counts things. Slowly.
        "test/count", Access::AtLeast(Level::Known) => Reply;
        pub(super) struct Count {
            /// Which things.
            things: Vec<String>,
            /// When to stop.
            limit: Option<u32>,
        }
    }

    #[test]
    fn a_declaration_describes_itself() {
        let description = Description::of::<Count>();
        assert_eq!(description.summary(), "Counts things.");
        let [things, limit] = description.parameters else { panic!("two parameters") };
        assert_eq!((things.name, things.optional, things.doc), ("things", false, "Which things."));
        assert_eq!((things.kind.to_string(), limit.optional), ("list of text".to_owned(), true));
        let page = to_markdown(&[description]);
        assert!(page.contains(
            "## test/count\n\nCounts things. Slowly.\n\nAccess: what the policy says, from level `known` up."
        ));
        assert!(page.contains("| `count` | whole number up to 65535 | How many. |"), "{page}");
    }

    #[test]
    fn what_is_absent_does_not_travel() {
        let bytes = rmp_serde::to_vec_named(&Count { things: Vec::new(), limit: None }).unwrap();
        assert_eq!(bytes, [0x81, 0xa6, b't', b'h', b'i', b'n', b'g', b's', 0x90]);
    }
}
