//! Which commands the owner lets others run: deny by default, and what the policy does not name is local.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wend_packet::IdentityHash;

use crate::access::{Access, Caller, InvalidLevel, Level};
use crate::describe::Description;
use crate::name::CommandName;
use crate::nearest;

/// What a configuration says about a pattern of commands: `"known"`, or `["<identity hash>", ...]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a level, `local`, or a list of identity hashes")]
pub enum Rule {
    /// A level, from which on up callers may; or `local`, which closes what a wider pattern opens.
    Level(String),
    /// Exactly these identities, as hexadecimal text.
    Identities(Vec<String>),
}

/// What may happen to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Run it.
    Run,
    /// Answer `denied`: the caller said who it is, and may not.
    Deny,
    /// Do not answer at all.
    Silent,
}

/// A mistake in the table of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPolicy {
    /// The pattern fits no command.
    #[error("policy for `{pattern}`: there is no such command{suggestion}")]
    UnknownCommand {
        /// As it was written.
        pattern: String,
        /// What is near, as the end of a sentence.
        suggestion: String,
    },
    /// The word is no level.
    #[error("policy for `{pattern}`: {source}; or `local`, or a list of identity hashes")]
    UnknownLevel {
        /// As it was written.
        pattern: String,
        /// What is wrong with the word.
        source: InvalidLevel,
    },
    /// Opening a command to those who are blocked.
    #[error("policy for `{pattern}`: blocked identities are never answered; the lowest level is `unknown`")]
    Blocked {
        /// As it was written.
        pattern: String,
    },
    /// An entry of a list is no identity hash.
    #[error("policy for `{pattern}`: `{text}` is not an identity hash of 32 hexadecimal digits")]
    InvalidIdentity {
        /// As it was written.
        pattern: String,
        /// The entry.
        text: String,
    },
    /// Opening a command that is never open.
    #[error("policy for `{pattern}`: this command only runs for the owner of the node and cannot be opened to others")]
    NeverRemote {
        /// As it was written.
        pattern: String,
    },
    /// Opening a command lower than it allows.
    #[error("policy for `{pattern}`: this command can be opened to level `{lowest}` and above, not to `{level}`")]
    TooLow {
        /// As it was written.
        pattern: String,
        /// What the command allows.
        lowest: Level,
        /// What was asked for.
        level: Level,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Grant {
    Local,
    AtLeast(Level),
    Only(BTreeSet<IdentityHash>),
}

/// The owner's policy, checked.
///
/// A pattern is the name of a command or a group and `/*`. The most exact pattern decides alone: a name before a group, a
/// longer group before a shorter one. A command that declares [`Access::Local`] stays local whatever a group says; a level
/// below what the command declares counts as that; a list of identities is the owner's own choice and stands, except for
/// those who are blocked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    names: BTreeMap<String, Grant>,
    /// By prefix, with its slash.
    groups: BTreeMap<String, Grant>,
}

impl Policy {
    /// The policy of a table, checked against the commands there are. Empty: everything is local.
    pub fn new<'a>(
        table: &BTreeMap<String, Rule>,
        commands: impl IntoIterator<Item = &'a Description>,
    ) -> Result<Self, InvalidPolicy> {
        let commands: Vec<_> = commands.into_iter().collect();
        let mut policy = Self::default();
        for (pattern, rule) in table {
            let grant = grant(pattern, rule)?;
            if let Some(prefix) = pattern.strip_suffix('*').filter(|prefix| prefix.ends_with('/')) {
                if !commands.iter().any(|known| known.name.as_str().starts_with(prefix)) {
                    return Err(unknown_command(pattern, groups(&commands).iter().map(String::as_str)));
                }
                policy.groups.insert(prefix.to_owned(), grant);
            } else {
                let known = commands.iter().find(|known| known.name.as_str() == pattern.as_str());
                let known =
                    known.ok_or_else(|| unknown_command(pattern, commands.iter().map(|known| known.name.as_str())))?;
                check(pattern, &grant, known.access)?;
                policy.names.insert(pattern.clone(), grant);
            }
        }
        Ok(policy)
    }

    /// What happens to a call of this command, which declares `access`, by a caller that has identified.
    pub fn decide(&self, caller: &Caller, name: &CommandName, access: Access) -> Decision {
        let Caller::Remote { identity, level } = caller else { return Decision::Run };
        if *level == Level::Blocked {
            return Decision::Silent;
        }
        let may = match (access, self.grant(name)) {
            (Access::Local, _) | (_, Grant::Local) => false,
            (Access::AtLeast(lowest), Grant::AtLeast(granted)) => level >= granted.max(&lowest),
            (Access::AtLeast(_), Grant::Only(identities)) => identities.contains(identity),
        };
        if may { Decision::Run } else { Decision::Deny }
    }

    fn grant(&self, name: &CommandName) -> &Grant {
        let name = name.as_str();
        let group = || {
            let prefixes = name.rmatch_indices('/').filter_map(|(at, _)| name.get(..=at));
            prefixes.into_iter().find_map(|prefix| self.groups.get(prefix))
        };
        self.names.get(name).or_else(group).unwrap_or(&Grant::Local)
    }
}

fn grant(pattern: &str, rule: &Rule) -> Result<Grant, InvalidPolicy> {
    let pattern = || pattern.to_owned();
    match rule {
        Rule::Level(word) if word == "local" => Ok(Grant::Local),
        Rule::Level(word) => match word.parse() {
            Ok(Level::Blocked) => Err(InvalidPolicy::Blocked { pattern: pattern() }),
            Ok(level) => Ok(Grant::AtLeast(level)),
            Err(source) => Err(InvalidPolicy::UnknownLevel { pattern: pattern(), source }),
        },
        Rule::Identities(texts) => {
            let identity = |text: &String| {
                text.parse().map_err(|_| InvalidPolicy::InvalidIdentity { pattern: pattern(), text: text.clone() })
            };
            texts.iter().map(identity).collect::<Result<_, _>>().map(Grant::Only)
        }
    }
}

fn check(pattern: &str, grant: &Grant, access: Access) -> Result<(), InvalidPolicy> {
    let pattern = || pattern.to_owned();
    match (grant, access) {
        (Grant::Local, _) => Ok(()),
        (_, Access::Local) => Err(InvalidPolicy::NeverRemote { pattern: pattern() }),
        (Grant::AtLeast(level), Access::AtLeast(lowest)) if *level < lowest => {
            Err(InvalidPolicy::TooLow { pattern: pattern(), lowest, level: *level })
        }
        _ => Ok(()),
    }
}

/// The patterns that stand for more than one command.
fn groups(commands: &[&Description]) -> BTreeSet<String> {
    let names = commands.iter().map(|known| known.name.as_str());
    names.filter_map(|name| name.rsplit_once('/')).map(|(group, _)| format!("{group}/*")).collect()
}

fn unknown_command<'a>(pattern: &str, known: impl IntoIterator<Item = &'a str>) -> InvalidPolicy {
    InvalidPolicy::UnknownCommand { pattern: pattern.to_owned(), suggestion: nearest::suggestion(pattern, known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRIEND: IdentityHash = IdentityHash::new([0xab; 16]);

    fn commands() -> Vec<Description> {
        let command = |name: &'static str, access| Description {
            name: CommandName::declared(name),
            doc: "",
            access,
            parameters: &[],
            reply: &[],
        };
        vec![
            command("genome/publish", Access::Local),
            command("genome/search", Access::AtLeast(Level::Unknown)),
            command("genome/sync", Access::AtLeast(Level::Known)),
            command("node/info", Access::AtLeast(Level::Unknown)),
        ]
    }

    fn policy(json: &str) -> Result<Policy, String> {
        let table = serde_json::from_str(json).unwrap();
        Policy::new(&table, &commands()).map_err(|error| error.to_string())
    }

    /// What happens to a caller of this level who asks for the four commands.
    fn outcome(policy: &Policy, level: Level) -> Vec<Decision> {
        let caller = Caller::Remote { identity: FRIEND, level };
        commands().iter().map(|known| policy.decide(&caller, &known.name, known.access)).collect()
    }

    use Decision::{Deny, Run, Silent};

    #[test]
    fn what_policy_does_not_name_is_local() {
        let policy = policy("{}").unwrap();
        assert_eq!(outcome(&policy, Level::Own), [Deny; 4]);
        for known in commands() {
            assert_eq!(policy.decide(&Caller::Local, &known.name, known.access), Run);
        }
    }

    #[test]
    fn a_group_opens_its_commands_but_never_a_local_one_nor_below_what_they_declare() {
        let policy = policy(r#"{"genome/*": "unknown"}"#).unwrap();
        assert_eq!(outcome(&policy, Level::Unknown), [Deny, Run, Deny, Deny]);
        assert_eq!(outcome(&policy, Level::Known), [Deny, Run, Run, Deny]);
        assert_eq!(outcome(&policy, Level::Blocked), [Silent; 4]);
    }

    #[test]
    fn the_most_exact_pattern_decides_alone() {
        let policy = policy(r#"{"genome/*": "known", "genome/search": "local", "node/info": "trusted"}"#).unwrap();
        assert_eq!(outcome(&policy, Level::Known), [Deny, Deny, Run, Deny]);
        assert_eq!(outcome(&policy, Level::Own), [Deny, Deny, Run, Run]);
    }

    #[test]
    fn a_list_lets_exactly_those_in_who_are_not_blocked() {
        let text = format!(r#"{{"genome/sync": ["{FRIEND}"], "node/info": ["{}"]}}"#, "00".repeat(16));
        let policy = policy(&text).unwrap();
        assert_eq!(outcome(&policy, Level::Unknown), [Deny, Deny, Run, Deny]);
        assert_eq!(outcome(&policy, Level::Blocked), [Silent; 4]);
    }

    #[test]
    fn a_mistake_is_named_with_what_is_near() {
        let error = |json| policy(json).unwrap_err();
        assert_eq!(
            error(r#"{"genome/serach": "known"}"#),
            "policy for `genome/serach`: there is no such command; did you mean `genome/search`?"
        );
        assert_eq!(
            error(r#"{"genom/*": "known"}"#),
            "policy for `genom/*`: there is no such command; did you mean `genome/*`?"
        );
        assert_eq!(error(r#"{"*": "known"}"#), "policy for `*`: there is no such command");
        assert_eq!(
            error(r#"{"node/info": "trustd"}"#),
            "policy for `node/info`: `trustd` is not a level: blocked, unknown, known, trusted or own; did you mean \
             `trusted`?; or `local`, or a list of identity hashes"
        );
        assert!(error(r#"{"node/info": "blocked"}"#).contains("the lowest level is `unknown`"));
        assert!(error(r#"{"node/info": ["abc"]}"#).contains("`abc` is not an identity hash of 32"));
        assert!(error(r#"{"genome/publish": "own"}"#).contains("cannot be opened"));
        assert!(error(r#"{"genome/sync": "unknown"}"#).contains("level `known` and above, not to `unknown`"));
    }
}
