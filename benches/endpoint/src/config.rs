//! The few lines of a Reticulum configuration file that benchmarks need.

use std::path::{Path, PathBuf};

/// One end of a TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Listens on this address.
    Server(String),
    /// Connects to this address.
    Client(String),
}

/// An interface of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) medium: Medium,
    /// Bits per second, when the file says so.
    pub(crate) bitrate_bps: Option<u64>,
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) transport: bool,
    pub(crate) interfaces: Vec<Interface>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("interface {0} has no {1}")]
    Lacks(String, &'static str),
    #[error("interface {0} is of type {1}, which is not known here")]
    Kind(String, String),
}

/// A section as it stands, before it is known what it means.
#[derive(Debug, Default)]
struct Section {
    name: String,
    values: Vec<(String, String)>,
}

impl Section {
    fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn need(&self, key: &'static str) -> Result<&str, ConfigError> {
        self.get(key).ok_or_else(|| ConfigError::Lacks(self.name.clone(), key))
    }

    fn interface(&self) -> Result<Interface, ConfigError> {
        let medium = match self.need("type")? {
            "TCPServerInterface" => {
                Medium::Server(format!("{}:{}", self.need("listen_ip")?, self.need("listen_port")?))
            }
            "TCPClientInterface" => {
                Medium::Client(format!("{}:{}", self.need("target_host")?, self.need("target_port")?))
            }
            other => return Err(ConfigError::Kind(self.name.clone(), other.to_owned())),
        };
        let bitrate_bps = self.get("bitrate").and_then(|value| value.parse().ok());
        Ok(Interface { name: self.name.clone(), medium, bitrate_bps })
    }
}

impl Config {
    /// Reads the file `config` in this folder.
    ///
    /// # Errors
    /// When it cannot be read or has an interface of another kind.
    pub(crate) fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join("config");
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path, source })?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut sections = vec![Section::default()];
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
                sections.push(Section { name: name.to_owned(), values: Vec::new() });
            } else if let (Some((key, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
                section.values.push((key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        let general = sections.remove(0);
        let transport = general.get("enable_transport").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        Ok(Self { transport, interfaces: sections.iter().map(Section::interface).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_harness_writes() {
        let text = "[reticulum]\nenable_transport = Yes\nshare_instance = No\n\n[logging]\nloglevel = 2\n\n[interfaces]\n  \
                    [[srv]]\n    enabled = Yes\n    type = TCPServerInterface\n    listen_ip = 127.0.0.1\n    \
                    listen_port = 4242\n    bitrate = 1000000000\n  [[cli]]\n    type = TCPClientInterface\n    \
                    target_host = 127.0.0.1\n    target_port = 4243\n";
        let config = Config::parse(text).unwrap();
        assert!(config.transport);
        let [server, client] = config.interfaces.as_slice() else { panic!("{config:?}") };
        assert_eq!(server.medium, Medium::Server("127.0.0.1:4242".to_owned()));
        assert_eq!((server.name.as_str(), server.bitrate_bps), ("srv", Some(1_000_000_000)));
        assert_eq!(client.medium, Medium::Client("127.0.0.1:4243".to_owned()));
    }

    #[test]
    fn an_interface_of_another_kind_is_refused() {
        let error = Config::parse("[interfaces]\n[[radio]]\ntype = RNodeInterface\n").unwrap_err();
        assert_eq!(error.to_string(), "interface radio is of type RNodeInterface, which is not known here");
    }
}
