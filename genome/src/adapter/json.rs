//! JSON objects whose keys must not repeat: two readers that pick different ones would see two different adapters.

use core::fmt;
use core::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::Fault;

/// Collects the pairs of an object, in their order, but not that of the key `aside`.
struct Pairs<'k, V> {
    aside: &'k str,
    value: PhantomData<V>,
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<'_, V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        let mut aside_seen = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != self.aside {
                // Which key a value's fault belongs to is worth saying.
                let value = map.next_value().map_err(|error| A::Error::custom(format!("`{key}`: {error}")))?;
                pairs.push((key, value));
            } else if core::mem::replace(&mut aside_seen, true) {
                return Err(A::Error::custom(format!("duplicate field `{key}`")));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(pairs)
    }
}

/// Reads an object with distinct keys; what stands under `aside` is passed over.
pub(super) fn object<'de, V: Deserialize<'de>>(text: &'de [u8], aside: &str) -> Result<Vec<(String, V)>, Fault> {
    let json = |error: serde_json::Error| Fault::Json { reason: error.to_string() };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let pairs = reader.deserialize_map(Pairs { aside, value: PhantomData }).map_err(json)?;
    reader.end().map_err(json)?;
    let mut keys: Vec<&str> = pairs.iter().map(|(key, _): &(String, V)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.iter().zip(keys.iter().skip(1)).find(|(one, next)| one == next) {
        Some((key, _)) => Err(Fault::DuplicateKey { key: (*key).to_owned() }),
        None => Ok(pairs),
    }
}
