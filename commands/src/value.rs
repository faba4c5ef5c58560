//! A value of any shape, for what has no type of its own here: parameters typed by a person, replies of another node.

use core::fmt;

use serde::de::{self, MapAccess, SeqAccess};
use serde::ser::{SerializeMap, SerializeSeq};

use crate::msgpack::{Limits, Malformed, Scanner};
use crate::octets;

/// A MessagePack value. In JSON, bytes show as hexadecimal text and keys of maps as text.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// True or false.
    Boolean(bool),
    /// An integer from 0 up.
    Unsigned(u64),
    /// An integer below 0.
    Negative(i64),
    /// A number with a fraction. JSON has no infinities and shows them as null.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array.
    List(Vec<Self>),
    /// A map, in the order it was written.
    Map(Vec<(Self, Self)>),
}

/// Bytes that are not a value within [`Value::LIMITS`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidValue {
    /// Not acceptable MessagePack.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Acceptable, yet not what the type takes.
    #[error(transparent)]
    Mismatch(#[from] rmp_serde::decode::Error),
}

impl Value {
    /// What is accepted where a value may have any shape. In memory a value takes up to some 60 bytes for each of these.
    pub const LIMITS: Limits = Limits { depth: 24, values: 200_000 };

    /// The MessagePack form, in the flavour of docs/protocol/1-core.md, section 0.3.
    pub fn to_msgpack(&self) -> Vec<u8> {
        encode(self)
    }

    /// The value at the start of `bytes`; what follows it is ignored.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, InvalidValue> {
        let bytes = Scanner::new(bytes, Self::LIMITS).value()?;
        Ok(rmp_serde::from_slice(bytes)?)
    }

    /// This text as the key of a JSON object.
    fn key(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => octets::Blob(bytes.clone()).to_string(),
            other => serde_json::to_string(other).unwrap_or_default(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

/// MessagePack of a type of this crate. Writing into memory cannot fail, and no type here refuses to be written: should
/// one, the outcome is nil.
pub(crate) fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap_or_else(|_| vec![0xc0])
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = to.is_human_readable();
        match self {
            Self::Nil => to.serialize_unit(),
            Self::Boolean(value) => to.serialize_bool(*value),
            Self::Unsigned(value) => to.serialize_u64(*value),
            Self::Negative(value) => to.serialize_i64(*value),
            Self::Float(value) => to.serialize_f64(*value),
            Self::Text(value) => to.serialize_str(value),
            Self::Bytes(value) if text => to.collect_str(&Hex(value)),
            Self::Bytes(value) => to.serialize_bytes(value),
            Self::List(values) => {
                let mut list = to.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::Map(pairs) => {
                let mut map = to.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    if text {
                        map.serialize_entry(&key.key(), value)?;
                    } else {
                        map.serialize_entry(key, value)?;
                    }
                }
                map.end()
            }
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        octets::write_hex(self.0, f)
    }
}

struct ValueVisitor;

impl<'de> de::Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Negative(value), Value::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Value::Map(pairs))
    }
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Boolean),
            any::<u64>().prop_map(Value::Unsigned),
            (i64::MIN..0).prop_map(Value::Negative),
            (-1e300..1e300).prop_map(Value::Float),
            ".{0,40}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 40, 8, |inner| {
            let pairs = proptest::collection::btree_map("[a-z]{0,6}", inner.clone(), 0..8);
            prop_oneof![
                proptest::collection::vec(inner, 0..8).prop_map(Value::List),
                pairs.prop_map(|map| {
                    Value::Map(map.into_iter().map(|(key, value)| (Value::Text(key), value)).collect())
                }),
            ]
        })
    }

    #[test]
    fn integers_take_their_shortest_form_and_floats_eight_bytes() {
        let list = Value::List(vec![Value::Unsigned(5), Value::Unsigned(300), Value::Negative(-3), Value::Float(0.5)]);
        let bytes = list.to_msgpack();
        assert_eq!(bytes, [0x94, 5, 0xcd, 1, 44, 0xfd, 0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Value::from_msgpack(&bytes).unwrap(), list);
    }

    #[test]
    fn json_shows_bytes_as_hex_and_any_key_as_text() {
        let map = Value::Map(vec![
            (Value::Bytes(vec![0xab]), Value::Bytes(vec![1, 2])),
            (Value::Unsigned(7), Value::Float(f64::NAN)),
            ("z".into(), Value::Nil),
        ]);
        assert_eq!(serde_json::to_string(&map).unwrap(), r#"{"ab":"0102","7":null,"z":null}"#);
    }

    #[test]
    fn a_deep_or_huge_value_is_refused() {
        let deep = [vec![0x91; 5_000], vec![0xc0]].concat();
        assert!(matches!(Value::from_msgpack(&deep), Err(InvalidValue::Malformed(Malformed::TooDeep))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            prop_assert_eq!(Value::from_msgpack(&value.to_msgpack()).unwrap(), value);
        }

        #[test]
        fn any_bytes_are_a_value_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Value::from_msgpack(&bytes);
        }
    }
}
