//! Names of commands.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

/// The name of a command: parts of `a-z`, `0-9` and `-`, at least two, joined by slashes, at most 64 bytes in all. The
/// first part is its group: `genome/search`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandName(Cow<'static, str>);

/// A text that is not the name of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command is named like `group/name`, in a-z, 0-9 and `-`, at most 64 bytes")]
pub struct InvalidName;

const fn is_valid(name: &str) -> bool {
    let mut rest = name.as_bytes();
    if rest.len() > CommandName::MAX_LEN {
        return false;
    }
    let (mut slashes, mut part) = (0, 0);
    while let [byte, tail @ ..] = rest {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => part += 1,
            b'/' if part > 0 => {
                slashes += 1;
                part = 0;
            }
            _ => return false,
        }
        rest = tail;
    }
    slashes > 0 && part > 0
}

impl CommandName {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name of a command that is declared in code.
    ///
    /// # Panics
    /// When the name is not one; in a `const`, as everywhere in this crate, that is a compile error.
    pub const fn declared(name: &'static str) -> Self {
        assert!(is_valid(name), "not the name of a command");
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommandName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_valid(text) { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(InvalidName) }
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for CommandName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for CommandName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <Cow<'de, str>>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_group_and_lower_case_parts() {
        for good in ["node/info", "a/b", "genome/catalog-sync", "x/y/z", "a1/2-b"] {
            assert_eq!(good.parse::<CommandName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let long = format!("a/{}", "b".repeat(63));
        for bad in ["", "node", "/info", "node/", "node//info", "Node/info", "node/in fo", "node/ünfo", long.as_str()]
        {
            assert_eq!(bad.parse::<CommandName>(), Err(InvalidName), "{bad}");
        }
    }
}
