//! From the map a caller sent to the type of a command, with errors that name the parameter.

use core::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess};

use crate::command::Command;
use crate::describe::{Field, Kind};
use crate::envelope;
use crate::msgpack::{Head, Malformed, Scanner};
use crate::nearest;
use crate::value::Value;

/// Why parameters do not make the command. Its text is for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidParams {
    /// Not acceptable MessagePack.
    #[error("parameters: {0}")]
    Malformed(#[from] Malformed),
    /// Neither a map with text keys nor nil.
    #[error("parameters must be a map from names to values")]
    NotAMap,
    /// A key the command does not have.
    #[error("there is no parameter `{name}`{hint}")]
    Unknown {
        /// The key, shortened.
        name: String,
        /// What there is instead.
        hint: String,
    },
    /// A parameter that must be there is not.
    #[error("parameter `{name}` is missing: {kind}. {doc}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// What it should be.
        kind: Kind,
        /// What it means.
        doc: &'static str,
    },
    /// A parameter is not what it should be.
    #[error("parameter `{name}`: expected {kind}, found {found}")]
    Mismatch {
        /// Its name.
        name: &'static str,
        /// What it should be.
        kind: Kind,
        /// The value as JSON, shortened.
        found: String,
    },
    /// The parameters do not go together.
    #[error("parameters: {0}")]
    Other(String),
}

impl de::Error for InvalidParams {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }
}

/// The command with these parameters: a MessagePack map, or nil for none.
pub fn decode<C: Command>(params: &[u8]) -> Result<C, InvalidParams> {
    let mut scanner = Scanner::new(params, envelope::CALL_LIMITS);
    let len = match scanner.head()? {
        Head::Nil => 0,
        Head::Map(len) => len,
        _ => return Err(InvalidParams::NotAMap),
    };
    let mut given: Vec<(&'static Field, &[u8])> = Vec::new();
    for _ in 0..len {
        let Head::Text(name) = scanner.head()? else { return Err(InvalidParams::NotAMap) };
        let field = C::FIELDS.iter().find(|field| field.name == name).ok_or_else(|| unknown::<C>(name))?;
        if given.iter().any(|(known, _)| known.name == name) {
            return Err(Malformed::DuplicateKey.into());
        }
        given.push((field, scanner.value()?));
    }
    let is_given = |field: &Field| given.iter().any(|(known, _)| known.name == field.name);
    if let Some(Field { name, kind, doc, .. }) = C::FIELDS.iter().find(|field| !field.optional && !is_given(field)) {
        return Err(InvalidParams::Missing { name, kind: *kind, doc });
    }
    C::deserialize(MapAccessDeserializer::new(Given { rest: given.into_iter(), value: None }))
}

fn unknown<C: Command>(name: &str) -> InvalidParams {
    let names = || C::FIELDS.iter().map(|field| field.name);
    let mut hint = nearest::suggestion(name, names());
    if hint.is_empty() {
        let all: Vec<_> = names().map(|name| format!("`{name}`")).collect();
        hint = if all.is_empty() { "; it takes none".to_owned() } else { format!("; it takes {}", all.join(", ")) };
    }
    InvalidParams::Unknown { name: name.chars().take(40).collect(), hint }
}

/// What was given, one parameter after the other.
struct Given<'a> {
    rest: std::vec::IntoIter<(&'static Field, &'a [u8])>,
    value: Option<(&'static Field, &'a [u8])>,
}

impl<'de> MapAccess<'de> for Given<'de> {
    type Error = InvalidParams;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, InvalidParams> {
        self.value = self.rest.next();
        let Some((field, _)) = self.value else { return Ok(None) };
        let key: StrDeserializer<'_, InvalidParams> = field.name.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, InvalidParams> {
        let Some((field, bytes)) = self.value.take() else {
            return Err(de::Error::custom("a value without a name"));
        };
        seed.deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes)).map_err(|_| InvalidParams::Mismatch {
            name: field.name,
            kind: field.kind,
            found: shown(bytes),
        })
    }
}

/// A value as a person wrote it, shortened.
fn shown(bytes: &[u8]) -> String {
    const MAX: usize = 40;
    let text = Value::from_msgpack(bytes).ok().and_then(|value| serde_json::to_string(&value).ok()).unwrap_or_default();
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Access, Level};
    use crate::describe::{command, record};
    use crate::octets::SpaceId;

    record! {
        /// Nothing.
        pub(super) struct Done {}
    }

    command! {
        /// Takes all sorts.
        "test/sorts", Access::AtLeast(Level::Unknown) => Done;
        pub(super) struct Sorts {
            /// A text.
            text: String,
            /// How many at most.
            limit: Option<u32>,
            /// Which space.
            space: Option<SpaceId>,
        }

        /// Takes nothing.
        "test/nothing", Access::Local => Done;
        pub(super) struct Nothing {}
    }

    fn sorts(json: &str) -> Result<Sorts, String> {
        let params = serde_json::from_str::<Value>(json).unwrap().to_msgpack();
        decode(&params).map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_become_the_command_and_hex_text_is_bytes() {
        let expected = Sorts { text: "x".into(), limit: Some(3), space: Some(SpaceId::new([1, 2, 3, 4])) };
        assert_eq!(sorts(r#"{"limit":3,"text":"x","space":"01020304"}"#), Ok(expected.clone()));
        assert_eq!(decode::<Sorts>(&rmp_serde::to_vec_named(&expected).unwrap()), Ok(expected));
        assert_eq!(sorts(r#"{"text":"x","limit":null}"#).unwrap().limit, None);
        assert_eq!(decode::<Nothing>(&[0xc0]), Ok(Nothing {}));
    }

    #[test]
    fn an_error_names_the_parameter_and_what_was_expected() {
        let error = |json| sorts(json).unwrap_err();
        assert_eq!(error("{}"), "parameter `text` is missing: text. A text.");
        assert_eq!(error(r#"{"txt":"x"}"#), "there is no parameter `txt`; did you mean `text`?");
        assert_eq!(error(r#"{"colour":"x"}"#), "there is no parameter `colour`; it takes `text`, `limit`, `space`");
        let limit = error(r#"{"text":"x","limit":"many"}"#);
        assert_eq!(limit, "parameter `limit`: expected whole number, found \"many\"");
        let space = error(r#"{"text":"x","space":"0102"}"#);
        assert_eq!(space, "parameter `space`: expected 4 bytes, found \"0102\"");
        assert_eq!(error("[1]"), "parameters must be a map from names to values");
        assert_eq!(
            decode::<Nothing>(&[0x81, 0xa1, b'x', 1]).unwrap_err().to_string(),
            "there is no parameter `x`; it takes none"
        );
        let twice = [0x82, 0xa4, b't', b'e', b'x', b't', 0xa0, 0xa4, b't', b'e', b'x', b't', 0xa0];
        assert_eq!(decode::<Sorts>(&twice), Err(Malformed::DuplicateKey.into()));
    }
}
