//! How a command fails.

use core::fmt;

/// Why a command has no result: the status of a response, docs/protocol/mesh.md, "Commands". A number that is not known
/// here survives and shows as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

impl Code {
    /// There is no such command.
    pub const UNKNOWN: Self = Self(1);
    /// The caller may not run it.
    pub const DENIED: Self = Self(2);
    /// The call or a parameter is not what the command takes.
    pub const INVALID: Self = Self(3);
    /// The deadline passed before there was a result.
    pub const EXPIRED: Self = Self(4);
    /// What the command needs is not there: a node without path, an entry not held, a model not installed.
    pub const UNAVAILABLE: Self = Self(5);
    /// The node has too much to do; the same call may work later.
    pub const BUSY: Self = Self(6);
    /// The node failed.
    pub const INTERNAL: Self = Self(7);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::UNKNOWN, "unknown"),
        (Self::DENIED, "denied"),
        (Self::INVALID, "invalid"),
        (Self::EXPIRED, "expired"),
        (Self::UNAVAILABLE, "unavailable"),
        (Self::BUSY, "busy"),
        (Self::INTERNAL, "internal"),
    ];

    /// The code with this number; `None` for 0, which means success.
    pub const fn from_number(number: u8) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(code, _)| code == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Code {
    /// By name: this is for people and for JSON. On the wire the envelope writes the number.
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A failed command: the code says what kind of failure, the detail tells a person what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Failure {
    /// What kind of failure.
    pub code: Code,
    /// One sentence, without control characters, at most [`Failure::MAX_DETAIL`] bytes.
    pub detail: String,
}

impl Failure {
    /// Longest detail, in bytes. Longer ones are cut at a character.
    pub const MAX_DETAIL: usize = 400;

    /// A failure. Control characters in `detail` become spaces, so that a peer's text cannot steer a terminal.
    pub fn new(code: Code, detail: impl AsRef<str>) -> Self {
        let detail = detail.as_ref();
        let end = detail.floor_char_boundary(Self::MAX_DETAIL);
        let detail = detail.chars().scan(0, |at, c| {
            *at += c.len_utf8();
            (*at <= end).then_some(if c.is_control() { ' ' } else { c })
        });
        // Replacing a control character of two bytes by a space only makes the text shorter.
        Self { code, detail: detail.collect() }
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $code:ident;)*) => {
        impl Failure {
            $($(#[$doc])* pub fn $name(detail: impl AsRef<str>) -> Self { Self::new(Code::$code, detail) })*
        }
    };
}

constructors! {
    /// A failure with [`Code::UNKNOWN`].
    unknown = UNKNOWN;
    /// A failure with [`Code::DENIED`].
    denied = DENIED;
    /// A failure with [`Code::INVALID`].
    invalid = INVALID;
    /// A failure with [`Code::EXPIRED`].
    expired = EXPIRED;
    /// A failure with [`Code::UNAVAILABLE`].
    unavailable = UNAVAILABLE;
    /// A failure with [`Code::BUSY`].
    busy = BUSY;
    /// A failure with [`Code::INTERNAL`].
    internal = INTERNAL;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_protocol() {
        let names: Vec<_> = (1..=8).filter_map(Code::from_number).map(|code| code.to_string()).collect();
        assert_eq!(names, ["unknown", "denied", "invalid", "expired", "unavailable", "busy", "internal", "code 8"]);
        assert_eq!(Code::from_number(0), None);
    }

    #[test]
    fn a_detail_is_short_and_cannot_steer_a_terminal() {
        let failure = Failure::invalid(format!("\x1b[2J{}", "é".repeat(500)));
        assert!(failure.detail.len() <= Failure::MAX_DETAIL);
        assert!(failure.detail.starts_with(" [2Jé"));
        assert_eq!(Failure::busy("try later").to_string(), "busy: try later");
    }
}
