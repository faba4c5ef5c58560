//! The keys of an interface that close its network to others. docs/protocol/1-core.md, section 7.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use wend_packet::access_code::{ACCESS_CODE_MAX, AccessKey};
use zeroize::Zeroizing;

use super::{InterfaceConfig, Problem};

/// Longest access code in bits, as the key `ifac_size` counts.
const IFAC_SIZE_MAX: usize = ACCESS_CODE_MAX * 8;

/// A text that is never shown, not even in messages about it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into care.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Read as any value first: the parser's own complaint about a wrong type would quote what it found.
        match toml::Value::deserialize(from)? {
            toml::Value::String(text) => Ok(Self::new(text)),
            _ => Err(D::Error::custom("expected a text in quotes")),
        }
    }
}

impl InterfaceConfig {
    /// The key of the closed network on it; `None` when it is open.
    pub fn access_key(&self) -> Option<AccessKey> {
        AccessKey::derive(self.network_name.as_deref(), self.passphrase.as_ref().map(Secret::as_str))
    }

    /// Bytes of its access codes, where the config says.
    pub fn access_code_len(&self) -> Option<usize> {
        self.ifac_size.map(|bits| bits / 8)
    }

    pub(super) fn check_access(&self) -> Result<(), Problem> {
        let wrong = |key: &str, message: &str, help: &str| {
            Err(Problem {
                key: key.to_owned(),
                message: format!("interface {:?}: {message}", self.name),
                help: help.to_owned(),
            })
        };
        if self.network_name.as_deref() == Some("") {
            return wrong("network_name", "`network_name` is empty", "name the network, or remove the line");
        }
        if self.passphrase.as_ref().is_some_and(|passphrase| passphrase.as_str().is_empty()) {
            return wrong("passphrase", "`passphrase` is empty", "set one, or remove the line");
        }
        let Some(bits) = self.ifac_size else { return Ok(()) };
        if bits % 8 != 0 || !(8..=IFAC_SIZE_MAX).contains(&bits) {
            let message = format!("`ifac_size` is {bits}");
            return wrong(
                "ifac_size",
                &message,
                "it counts bits: a multiple of 8 from 8 to 512, the same on all nodes",
            );
        }
        if self.access_key().is_none() {
            let help = "add `network_name`, `passphrase` or both, or remove `ifac_size`";
            return wrong("ifac_size", "`ifac_size` is set, but the network is open", help);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, ConfigError};

    fn parse(lines: &str) -> Result<Config, ConfigError> {
        let text = format!("[[interface]]\nname = \"radio\"\ntype = \"tcp-client\"\nconnect = \"a:1\"\n{lines}");
        Config::parse(Path::new("config.toml"), &text)
    }

    #[test]
    fn a_closed_network_has_a_key_and_nothing_shows_its_passphrase() {
        let config =
            parse("network_name = \"field\"\npassphrase = \"correct horse\"\nifac_size = 64\n").expect("valid");
        let interface = &config.interfaces[0];
        assert!(interface.access_key().is_some());
        assert_eq!(interface.access_code_len(), Some(8));
        assert!(!format!("{config:?}").contains("correct"));
        assert!(parse("").expect("valid").interfaces[0].access_key().is_none());
    }

    #[test]
    fn a_passphrase_that_is_no_text_is_not_quoted_in_the_message() {
        let found = parse("passphrase = 271828\n").expect_err("wrong on purpose");
        assert_eq!(found.line, Some(5));
        assert!(!found.message.contains("271828") && found.message.contains("a text in quotes"), "{}", found.message);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused_with_their_line() {
        for (lines, line) in [
            ("passphrase = \"p\"\nifac_size = 16\n", None),
            ("passphrase = \"p\"\nifac_size = 512\n", None),
            ("passphrase = \"p\"\nifac_size = 7\n", Some(6)),
            ("passphrase = \"p\"\nifac_size = 12\n", Some(6)),
            ("passphrase = \"p\"\nifac_size = 520\n", Some(6)),
            ("ifac_size = 64\n", Some(5)),
            ("network_name = \"\"\n", Some(5)),
            ("passphrase = \"\"\n", Some(5)),
        ] {
            assert_eq!(parse(lines).err().and_then(|error| error.line), line, "{lines}");
        }
    }
}
