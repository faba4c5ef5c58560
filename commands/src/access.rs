//! Who calls, and who may.

use core::fmt;
use core::str::FromStr;

use wend_packet::IdentityHash;

use crate::nearest;

/// How far an identity is trusted. One ladder, each step includes the ones below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Is not listened to at all.
    Blocked,
    /// Has proved who it is, and nothing more is known.
    #[default]
    Unknown,
    /// Has announced itself, so that this node has seen it before. Anyone can get so far.
    Known,
    /// The owner relies on it.
    Trusted,
    /// Is the owner's.
    Own,
}

impl Level {
    /// All levels, lowest first.
    pub const ALL: [Self; 5] = [Self::Blocked, Self::Unknown, Self::Known, Self::Trusted, Self::Own];

    /// The word for it, as in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Known => "known",
            Self::Trusted => "trusted",
            Self::Own => "own",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is not a level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a level: blocked, unknown, known, trusted or own{suggestion}")]
pub struct InvalidLevel {
    word: String,
    suggestion: String,
}

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(word: &str) -> Result<Self, InvalidLevel> {
        Self::ALL.into_iter().find(|level| level.as_str() == word).ok_or_else(|| InvalidLevel {
            word: word.to_owned(),
            suggestion: nearest::suggestion(word, Self::ALL.map(Self::as_str)),
        })
    }
}

impl serde::Serialize for Level {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Level {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a command declares about who may ever run it. The owner's [`Policy`](crate::Policy) decides within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only this node's owner, over the control socket. No policy can open it to others.
    Local,
    /// Others too, once the policy names the command, but by level no lower than this.
    AtLeast(Level),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::AtLeast(level) => write!(f, "{level}"),
        }
    }
}

/// Who called, as far as it is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// The owner, over the control socket.
    Local,
    /// A node or program on the mesh that identified on its link.
    Remote {
        /// Who.
        identity: IdentityHash,
        /// How far the owner trusts it.
        level: Level,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_is_ordered_and_a_wrong_word_is_helped() {
        assert!(Level::ALL.is_sorted());
        assert_eq!("trusted".parse(), Ok(Level::Trusted));
        let error = "trustd".parse::<Level>().unwrap_err().to_string();
        assert_eq!(error, "`trustd` is not a level: blocked, unknown, known, trusted or own; did you mean `trusted`?");
    }
}
