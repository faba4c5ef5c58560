//! `[[interface]]`: one link, and what it takes.

use std::path::PathBuf;

use serde::Deserialize;
use wend_packet::stack::Mode;

use super::{DEFAULT_PORT, Problem, Secret, yes};

/// `[[interface]]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceConfig {
    /// Name shown in `wend status`; unique.
    pub name: String,
    /// What kind of link, and its settings.
    #[serde(rename = "type")]
    pub kind: InterfaceKind,
    /// `tcp-server`: address and port to listen on.
    pub listen: Option<String>,
    /// `tcp-client`: host and port to connect to.
    pub connect: Option<String>,
    /// `serial`: device.
    pub port: Option<PathBuf>,
    /// `serial`: bit/s, default 9600.
    pub speed: Option<u32>,
    /// Whether it is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How it takes part in the network.
    #[serde(default)]
    pub mode: Mode,
    /// Bit/s, where the usual value for the type is wrong.
    pub bitrate: Option<u64>,
    /// Share of the bitrate for announces of others and searches for paths, in percent.
    pub announce_cap: Option<f64>,
    /// Seconds that are to lie between two announces of a destination.
    pub announce_rate_target: Option<u64>,
    /// Announces that may come too soon before they are not passed on.
    pub announce_rate_grace: Option<u32>,
    /// Seconds added to the target while they are not passed on.
    pub announce_rate_penalty: Option<u64>,
    /// Whether bursts of announces are held back.
    pub ingress_control: Option<bool>,
    /// Seconds during which the interface counts as new.
    pub ic_new_time: Option<u64>,
    /// Announces per second that begin a burst while it is new.
    pub ic_burst_freq_new: Option<f64>,
    /// The same later.
    pub ic_burst_freq: Option<f64>,
    /// Seconds that a burst lasts at least.
    pub ic_burst_hold: Option<u64>,
    /// Seconds after its beginning before anything held is released.
    pub ic_burst_penalty: Option<u64>,
    /// Seconds between two announces released.
    pub ic_held_release_interval: Option<u64>,
    /// Announces held at most.
    pub ic_max_held_announces: Option<usize>,
    /// Path requests per second that begin a burst while it is new.
    pub ic_pr_burst_freq_new: Option<f64>,
    /// The same later.
    pub ic_pr_burst_freq: Option<f64>,
    /// Whether requests passed on here are limited.
    #[serde(default)]
    pub egress_control: bool,
    /// How many of them leave in a second at most.
    pub ec_pr_freq: Option<f64>,
    /// Whether paths asked for here are searched for whatever the mode.
    #[serde(default)]
    pub recursive_prs: bool,
    /// Whether anything is sent here.
    #[serde(default = "yes")]
    pub outgoing: bool,
    /// Whether internal interfaces take announces learned here, when this is a boundary.
    #[serde(default)]
    pub announces_to_internal: bool,
    /// Whether announces learned on internal interfaces go out here.
    #[serde(default = "yes")]
    pub announces_from_internal: bool,
    /// Preference among ways of the same length, higher wins.
    #[serde(default)]
    pub gravity: i64,
    /// Name of the closed network on it. Name and passphrase together make the key; either alone does, too.
    pub network_name: Option<String>,
    /// Passphrase of the closed network on it.
    pub passphrase: Option<Secret>,
    /// Length of its access codes in bits, where the usual one for the type is wrong.
    pub ifac_size: Option<usize>,
}

/// Kinds of interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceKind {
    /// Listens for TCP connections.
    TcpServer,
    /// Keeps a TCP connection to another node.
    TcpClient,
    /// A serial line.
    Serial,
}

impl InterfaceConfig {
    /// A server on this address.
    pub fn listen(name: &str, listen: &str) -> Self {
        Self { listen: Some(listen.to_owned()), ..Self::bare(name, InterfaceKind::TcpServer) }
    }

    /// A connection to this node.
    pub fn connect(name: &str, connect: &str) -> Self {
        Self { connect: Some(connect.to_owned()), ..Self::bare(name, InterfaceKind::TcpClient) }
    }

    /// A serial line.
    pub fn serial(name: &str, port: &str, speed: Option<u32>) -> Self {
        Self { port: Some(port.into()), speed, ..Self::bare(name, InterfaceKind::Serial) }
    }

    fn bare(name: &str, kind: InterfaceKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            listen: None,
            connect: None,
            port: None,
            speed: None,
            enabled: true,
            mode: Mode::Full,
            bitrate: None,
            announce_cap: None,
            announce_rate_target: None,
            announce_rate_grace: None,
            announce_rate_penalty: None,
            ingress_control: None,
            ic_new_time: None,
            ic_burst_freq_new: None,
            ic_burst_freq: None,
            ic_burst_hold: None,
            ic_burst_penalty: None,
            ic_held_release_interval: None,
            ic_max_held_announces: None,
            ic_pr_burst_freq_new: None,
            ic_pr_burst_freq: None,
            egress_control: false,
            ec_pr_freq: None,
            recursive_prs: false,
            outgoing: true,
            announces_to_internal: false,
            announces_from_internal: true,
            gravity: 0,
            network_name: None,
            passphrase: None,
            ifac_size: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), Problem> {
        let (kind, needed) = match self.kind {
            InterfaceKind::TcpServer => ("tcp-server", "listen"),
            InterfaceKind::TcpClient => ("tcp-client", "connect"),
            InterfaceKind::Serial => ("serial", "port"),
        };
        let given = [
            ("listen", self.listen.is_some()),
            ("connect", self.connect.is_some()),
            ("port", self.port.is_some()),
            ("speed", self.speed.is_some()),
        ];
        let allowed = |key: &str| key == needed || (key == "speed" && self.kind == InterfaceKind::Serial);
        if let Some((key, _)) = given.iter().find(|(key, present)| *present && !allowed(key)) {
            return Err(Problem {
                key: self.name.clone(),
                message: format!("interface {:?} of type {kind} has the key `{key}`", self.name),
                help: format!("a {kind} interface takes `{needed}`; remove `{key}` or change the type"),
            });
        }
        if !given.iter().any(|(key, present)| *present && *key == needed) {
            return Err(Problem {
                key: self.name.clone(),
                message: format!("interface {:?} of type {kind} lacks the key `{needed}`", self.name),
                help: format!("add a line `{needed} = \"…\"` to it"),
            });
        }
        let address = self.listen.as_ref().or(self.connect.as_ref());
        if let Some(address) = address.filter(|address| !has_port(address)) {
            return Err(Problem {
                key: address.clone(),
                message: format!("interface {:?}: {address:?} is not an address with a port", self.name),
                help: format!("write it like \"192.0.2.7:{DEFAULT_PORT}\" or \"[2001:db8::7]:{DEFAULT_PORT}\""),
            });
        }
        self.check_access()?;
        self.check_traffic()
    }
}

/// Whether an address ends in a port, as in `host:port` and `[address]:port`.
pub fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
