//! The node's configuration: one struct, its defaults, its validation, and messages that name the line.

mod access;
mod interface;
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wend_commands::describe::Description;
use wend_commands::policy::{InvalidPolicy, Policy, Rule};
use wend_packet::IdentityHash;
use wend_packet::stack::Footprint;

pub use self::access::Secret;
pub use self::interface::{InterfaceConfig, InterfaceKind, has_port};
use crate::home::{Home, write_durably};

/// Port that `wend up` listens on when the config names none.
pub const DEFAULT_PORT: u16 = 4965;
/// Longest name a node can announce, in bytes.
pub const NAME_MAX: usize = 20;

/// Least time between two fetches of a blackhole list, in minutes. docs/protocol/1-core.md, section 4.9.
const UPDATE_MINUTES_MIN: u32 = 2;
/// Longest time a card may be good for: others refuse cards that say more.
const EXPIRY_DAYS_MAX: u32 = 400;
/// What helps when nothing more exact does.
const RESTORE: &str = "the commented default config shows every key: move this file away and run `wend up` to get it";

/// What is written on first use; also the documentation of every key.
pub const TEMPLATE: &str = include_str!("config_template.toml");

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// The links it uses.
    #[serde(rename = "interface")]
    pub interfaces: Vec<InterfaceConfig>,
    /// Who may run what: command or `prefix/*` to a level or a list of identity hashes.
    pub policy: BTreeMap<String, Rule>,
    /// Whom this node trusts.
    pub trust: TrustConfig,
    /// What others may ask of the packet layer, and whom it shuts out.
    pub management: ManagementConfig,
    /// What it does unasked.
    pub catalog: CatalogConfig,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Announced name, at most 20 bytes. The machine's name when absent.
    pub name: Option<String>,
    /// Whether the node carries other nodes' packets.
    pub transport: bool,
    /// How much memory it may use for what others make it remember.
    pub footprint: Footprint,
    /// Whether packets to the node are encrypted to keys that change.
    pub ratchets: RatchetUse,
}

/// Whether a destination has ratchets. docs/protocol/1-core.md, section 1.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RatchetUse {
    /// It has none.
    #[default]
    Off,
    /// It has some; packets for its own key are taken too.
    On,
    /// It has some, and takes nothing else.
    Enforced,
}

/// `[trust]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustConfig {
    /// Identities of the same owner.
    pub own: Vec<IdentityHash>,
    /// Identities that are trusted.
    pub trusted: Vec<IdentityHash>,
    /// Identities that get no answer.
    pub blocked: Vec<IdentityHash>,
}

/// `[management]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManagementConfig {
    /// Whether probes are answered. A transport node only.
    pub respond_to_probes: bool,
    /// Whether others may ask how this node is doing.
    pub remote_management: bool,
    /// Who.
    pub remote_management_allowed: Vec<IdentityHash>,
    /// Whether everyone may fetch the list of those who are shut out.
    pub publish_blackhole: bool,
    /// Transport identities of the nodes whose lists are taken.
    pub blackhole_sources: Vec<IdentityHash>,
    /// Minutes between two fetches of a list.
    pub blackhole_update_minutes: u32,
}

impl ManagementConfig {
    /// Whether others use a destination of the transport identity, or its entries are kept, so that it has to stay the same.
    pub fn is_used(&self) -> bool {
        self.respond_to_probes || self.remote_management || self.publish_blackhole
    }
}

impl Default for ManagementConfig {
    fn default() -> Self {
        Self {
            respond_to_probes: false,
            remote_management: false,
            remote_management_allowed: Vec::new(),
            publish_blackhole: false,
            blackhole_sources: Vec::new(),
            blackhole_update_minutes: 60,
        }
    }
}

/// `[catalog]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogConfig {
    /// Whether the catalog is brought into agreement with neighbours unasked.
    pub sync: bool,
    /// Days until a card published here expires.
    pub expiry_days: u32,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self { sync: true, expiry_days: 180 }
    }
}

fn yes() -> bool {
    true
}

/// What is wrong with a config file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line, from 1; absent when the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// A value that makes no sense, wherever it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Text that stands where the value does.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Config {
    /// Reads the config of `home`, and writes the commented default on first use.
    ///
    /// # Errors
    /// When the file cannot be read or written, or says something that is not understood.
    pub fn load(home: &Home) -> Result<Self, ConfigError> {
        let path = home.config_file();
        let failed = |verb: &str, error: std::io::Error| ConfigError {
            path: path.clone(),
            line: None,
            message: format!("cannot {verb} the config file {}: {error}", path.display()),
            help: "check that the folder and the file belong to you".to_owned(),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_durably(&path, TEMPLATE.as_bytes(), 0o600).map_err(|error| failed("write", error))?;
                Self::parse(&path, TEMPLATE)
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(ConfigError {
                path: path.clone(),
                line: None,
                message: "the config file is not text in UTF-8".to_owned(),
                help: RESTORE.to_owned(),
            }),
            Err(error) => Err(failed("read", error)),
        }
    }

    /// Reads a config from text; `path` is for messages.
    ///
    /// # Errors
    /// The first thing that is not understood, with its line and the nearest valid spelling.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| explain(path, text, &error))?;
        let located = |problem: Problem| ConfigError {
            path: path.to_owned(),
            line: line_of(text, &problem.key),
            message: problem.message,
            help: problem.help,
        };
        config.check_values().map_err(located)?;
        config.policy(&wend_commands::builtin::describe()).map_err(located)?;
        Ok(config)
    }

    /// The policy, for these commands.
    ///
    /// # Errors
    /// The first rule that makes no sense.
    pub fn policy(&self, commands: &[Description]) -> Result<Policy, Problem> {
        Policy::new(&self.policy, commands).map_err(|error: InvalidPolicy| {
            let message = error.to_string();
            // Every message about a policy quotes its pattern first.
            let key = message.split('`').nth(1).unwrap_or_default().to_owned();
            Problem { key, message, help: "docs/commands.md lists the commands and who may ever run them".to_owned() }
        })
    }

    /// What types alone cannot say.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn check_values(&self) -> Result<(), Problem> {
        if let Some(name) = &self.node.name {
            let wrong = |message: String| Problem {
                key: "name".to_owned(),
                message,
                help: format!("choose a name of 1 to {NAME_MAX} bytes without control characters"),
            };
            if name.is_empty() || name.len() > NAME_MAX {
                return Err(wrong(format!("the node's name {name:?} has {} bytes", name.len())));
            }
            if name.chars().any(char::is_control) {
                return Err(wrong(format!("the node's name {name:?} has control characters")));
            }
        }
        if !(1..=EXPIRY_DAYS_MAX).contains(&self.catalog.expiry_days) {
            return Err(Problem {
                key: "expiry_days".to_owned(),
                message: format!("`expiry_days` is {}", self.catalog.expiry_days),
                help: format!("cards are good for 1 to {EXPIRY_DAYS_MAX} days"),
            });
        }
        self.management.check(self.node.transport)?;
        for (index, interface) in self.interfaces.iter().enumerate() {
            interface.check()?;
            if self.interfaces.iter().take(index).any(|other| other.name == interface.name) {
                return Err(Problem {
                    key: interface.name.clone(),
                    message: format!("two interfaces are named {:?}", interface.name),
                    help: "give each interface a name of its own".to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl ManagementConfig {
    fn check(&self, transport: bool) -> Result<(), Problem> {
        let minutes = self.blackhole_update_minutes;
        if minutes < UPDATE_MINUTES_MIN {
            return Err(Problem {
                key: "blackhole_update_minutes".to_owned(),
                message: format!("`blackhole_update_minutes` is {minutes}"),
                help: format!("lists are fetched every {UPDATE_MINUTES_MIN} minutes or less often"),
            });
        }
        if self.respond_to_probes && !transport {
            return Err(Problem {
                key: "respond_to_probes".to_owned(),
                message: "`respond_to_probes` is true, but this node carries nothing for others".to_owned(),
                help: "set `transport = true` under [node], or leave `respond_to_probes` out".to_owned(),
            });
        }
        if self.remote_management && self.remote_management_allowed.is_empty() {
            return Err(Problem {
                key: "remote_management".to_owned(),
                message: "`remote_management` is true, but `remote_management_allowed` names nobody".to_owned(),
                help: "list the identity hashes of those who may ask, or leave `remote_management` out".to_owned(),
            });
        }
        Ok(())
    }
}

/// The first line that mentions `needle`, from 1.
fn line_of(text: &str, needle: &str) -> Option<usize> {
    let mentions = |line: &str| !line.trim_start().starts_with('#') && line.contains(needle);
    text.lines().position(mentions).map(|index| index + 1)
}

/// The candidate that `word` is most likely a slip of.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let scored = candidates.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, candidate)| candidate)
}

/// Turns the parser's complaint into one that names line, key and nearest spelling.
fn explain(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let complaint = error.message().trim();
    // The parser quotes the key it found first and then the keys it would take.
    let mut quoted = complaint.split('`').skip(1).step_by(2);
    let found = quoted.next().unwrap_or_default();
    let accepted: Vec<&str> = quoted.collect();
    let near = nearest(found, &accepted).filter(|_| complaint.starts_with("unknown"));
    let key = line.and_then(|line| text.lines().nth(line - 1)).and_then(key_of);
    let example = key.and_then(example_of).filter(|_| !complaint.starts_with("unknown field"));
    let message = match key.filter(|_| complaint.contains("expected") && !complaint.starts_with("unknown field")) {
        Some(key) => format!("`{key}`: {}", in_words(complaint)),
        None => in_words(complaint),
    };
    let help = match (near, example) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(example)) => format!("write it like {example}"),
        (None, None) => RESTORE.to_owned(),
    };
    ConfigError { path: path.to_owned(), line, message, help }
}

/// The key of a line `key = value`.
fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim().trim_matches('"');
    (!key.is_empty() && !key.starts_with('#')).then_some(key)
}

/// The line of the default config that sets this key, or shows how to.
fn example_of(key: &str) -> Option<&'static str> {
    let lines = TEMPLATE.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    lines.filter(|line| !line.starts_with(' ')).find(|line| key_of(line) == Some(key))
}

/// The parser's complaint without the names of this program's types.
fn in_words(complaint: &str) -> String {
    let mut words = complaint.to_owned();
    for (theirs, ours) in [
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
        ("expected a string", "expected a text in quotes"),
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
    ] {
        words = words.replace(theirs, ours);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ConfigError {
        Config::parse(Path::new("config.toml"), text).expect_err("wrong on purpose")
    }

    #[test]
    fn the_template_is_valid_and_says_what_the_defaults_are() {
        let config = Config::parse(Path::new("config.toml"), TEMPLATE).expect("valid");
        assert_eq!(config.catalog, CatalogConfig::default());
        assert_eq!(config.management, ManagementConfig::default());
        assert_eq!(config.node, NodeConfig::default());
        assert_eq!(config.interfaces.len(), 1);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_nearest_spelling() {
        let found = error("[node]\ntranport = true\n");
        assert_eq!(found.line, Some(2));
        assert_eq!(found.help, "did you mean `transport`?");
    }

    #[test]
    fn a_wrong_interface_says_which_key_it_lacks() {
        let found = error("[[interface]]\nname = \"home\"\ntype = \"tcp-client\"\n");
        assert_eq!(found.line, Some(2));
        assert!(found.message.contains("lacks the key `connect`"), "{}", found.message);
    }

    #[test]
    fn a_share_of_more_than_everything_is_refused() {
        let interface = "[[interface]]\nname = \"a\"\ntype = \"tcp-server\"\nlisten = \"[::1]:1\"\n";
        let config = |percent: &str| format!("{interface}announce_cap = {percent}\ningress_control = false\n");
        assert_eq!(error(&config("100.5")).line, Some(5));
        let good = Config::parse(Path::new("config.toml"), &config("0.5")).expect("valid");
        assert_eq!((good.interfaces[0].announce_cap, good.interfaces[0].ingress_control), (Some(0.5), Some(false)));
    }

    #[test]
    fn management_that_could_not_work_is_refused() {
        let wrong = ["respond_to_probes = true", "remote_management = true", "blackhole_update_minutes = 1"];
        for line in wrong {
            let found = error(&format!("[management]\n{line}\n"));
            assert_eq!(found.line, Some(2), "{}", found.message);
        }
    }

    #[test]
    fn an_address_without_a_port_is_refused() {
        let found = error("[[interface]]\nname = \"home\"\ntype = \"tcp-client\"\nconnect = \"example\"\n");
        assert_eq!(found.line, Some(4));
    }

    #[test]
    fn a_policy_with_an_unknown_level_is_refused() {
        let found = error("[policy]\n\"node/info\" = \"trustd\"\n");
        assert_eq!(found.line, Some(2));
        assert!(found.message.contains("did you mean `trusted`"), "{}", found.message);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_what_to_write() {
        let found = error("[node]\ntransport = \"yes\"\n");
        assert_eq!(found.line, Some(2));
        assert_eq!(found.message, "`transport`: found string \"yes\", expected true or false");
        assert_eq!(found.help, "write it like transport = false");
        let found = error("[policy]\n\"node/info\" = 3\n");
        assert_eq!(found.message, "`node/info`: expected a level, `local`, or a list of identity hashes");
        assert_eq!(found.help, "write it like \"node/info\" = \"known\"");
        let found = error("[catalog]\nexpiry_days = -3\n");
        assert_eq!(found.message, "`expiry_days`: found integer `-3`, expected a whole number");
        assert_eq!(error("[trust]\nown = [\"abc\"]\n").message, "`own`: expected 32 hexadecimal digits");
    }

    #[test]
    fn a_name_or_a_time_that_others_would_refuse_is_refused_here() {
        assert_eq!(error("[node]\nname = \"\\u001b[31m\"\n").line, Some(2));
        assert_eq!(error("[catalog]\nsync = true\nexpiry_days = 0\n").line, Some(3));
        assert_eq!(error("[catalog]\nexpiry_days = 401\n").line, Some(2));
    }
}
