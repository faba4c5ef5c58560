//! Parameters as a person types them: `key=value` pairs, or one JSON document.

use crate::envelope;
use crate::msgpack::{Malformed, Scanner};
use crate::value::Value;

/// Longest text of parameters, in bytes.
pub const MAX_LEN: usize = 256 * 1024;

/// Why a text does not give parameters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidParameters {
    /// An argument without `=`, or with nothing before it.
    #[error("`{0}` is not a parameter: write name=value")]
    NotAPair(String),
    /// The same name twice.
    #[error("parameter `{0}` is given twice; a list is written {0}='[1, 2]'")]
    Twice(String),
    /// Not JSON.
    #[error("the parameters are not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("the parameters must be a JSON object: {{\"name\": value}}")]
    NotAnObject,
    /// Longer than [`MAX_LEN`].
    #[error("the parameters are {len} bytes long, at most {MAX_LEN} are accepted")]
    TooLong {
        /// Their length.
        len: usize,
    },
    /// Nested too deep or made of too many values for a call, or a name twice in a JSON object.
    #[error("the parameters cannot be sent: {0}")]
    Unsendable(#[from] Malformed),
}

/// Parameters from `name=value` arguments. A value that is JSON is that, any other is text: `limit=3` is a number,
/// `text=soil moisture` is text, `text='"3"'` is the text 3.
pub fn from_pairs<S: AsRef<str>>(pairs: &[S]) -> Result<Value, InvalidParameters> {
    let mut map: Vec<(Value, Value)> = Vec::new();
    check_len(pairs.iter().map(|pair| pair.as_ref().len()).sum())?;
    for pair in pairs {
        let pair = pair.as_ref();
        let Some((name, text)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(InvalidParameters::NotAPair(pair.to_owned()));
        };
        let name_value = Value::from(name);
        if map.iter().any(|(known, _)| *known == name_value) {
            return Err(InvalidParameters::Twice(name.to_owned()));
        }
        map.push((name_value, serde_json::from_str(text).unwrap_or_else(|_| text.into())));
    }
    sendable(Value::Map(map))
}

/// Parameters from a JSON object.
pub fn from_json(text: &str) -> Result<Value, InvalidParameters> {
    check_len(text.len())?;
    match serde_json::from_str(text)? {
        map @ Value::Map(_) => sendable(map),
        _ => Err(InvalidParameters::NotAnObject),
    }
}

fn check_len(len: usize) -> Result<(), InvalidParameters> {
    if len > MAX_LEN { Err(InvalidParameters::TooLong { len }) } else { Ok(()) }
}

/// Refuses here what the other side would refuse.
fn sendable(value: Value) -> Result<Value, InvalidParameters> {
    Scanner::new(&value.to_msgpack(), envelope::CALL_LIMITS).value()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    fn shown(value: &Value) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_value_that_is_json_is_that_and_any_other_is_text() {
        let pairs = [
            "limit=3",
            "text=soil moisture",
            "quoted=\"3\"",
            "deep={\"a\":[1,-2.5,null]}",
            "on=true",
            "eq=a=b",
            "none=",
        ];
        assert_eq!(
            shown(&from_pairs(&pairs).unwrap()),
            r#"{"limit":3,"text":"soil moisture","quoted":"3","deep":{"a":[1,-2.5,null]},"on":true,"eq":"a=b","none":""}"#
        );
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let error = |pairs: &[&str]| from_pairs(pairs).unwrap_err().to_string();
        assert_eq!(error(&["limit"]), "`limit` is not a parameter: write name=value");
        assert_eq!(error(&["=3"]), "`=3` is not a parameter: write name=value");
        assert_eq!(error(&["a=1", "a=2"]), "parameter `a` is given twice; a list is written a='[1, 2]'");
        assert_eq!(
            from_json("[1]").unwrap_err().to_string(),
            "the parameters must be a JSON object: {\"name\": value}"
        );
        assert!(from_json("{").unwrap_err().to_string().starts_with("the parameters are not JSON: "));
        assert!(matches!(from_json(r#"{"a":1,"a":2}"#), Err(InvalidParameters::Unsendable(Malformed::DuplicateKey))));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
        assert!(matches!(from_json(&deep), Err(InvalidParameters::Unsendable(Malformed::TooDeep))));
        assert!(matches!(from_json(&" ".repeat(MAX_LEN + 1)), Err(InvalidParameters::TooLong { .. })));
    }

    /// JSON has no bytes: they come back as the hexadecimal text they were shown as.
    fn as_json_has_it(value: Value) -> Value {
        match value {
            Value::Bytes(bytes) => Value::Text(crate::Blob(bytes).to_string()),
            Value::List(values) => Value::List(values.into_iter().map(as_json_has_it).collect()),
            Value::Map(pairs) => {
                Value::Map(pairs.into_iter().map(|(key, value)| (key, as_json_has_it(value))).collect())
            }
            // Whether a JSON number parses to the very float it was printed from is up to the JSON library's options.
            Value::Float(_) => Value::Nil,
            other => other,
        }
    }

    proptest! {
        #[test]
        fn json_keeps_every_value_as_it_shows_it(value in any_value()) {
            let value = as_json_has_it(value);
            let map = Value::Map(vec![("value".into(), value)]);
            prop_assert_eq!(from_json(&shown(&map)).unwrap(), map);
        }
    }
}
