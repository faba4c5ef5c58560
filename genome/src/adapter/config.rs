//! `adapter_config.json`, the parts of it that say what the tensors must look like.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fault, json};

/// The longest configuration that is read.
pub const LEN_MAX: u64 = 1 << 20;
/// The largest rank.
const RANK_MAX: u64 = 65_536;

/// Which modules an adapter changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// Those whose path is, or ends in, one of these names.
    Names(Vec<String>),
    /// What a pattern matches, or all linear ones: which those are cannot be told without the base model.
    Pattern(String),
}

impl Targets {
    /// Whether the module at `path` is one of them, as far as can be told.
    pub fn contain(&self, path: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|name| is_tail(path, name)),
            Self::Pattern(_) => true,
        }
    }

    /// The names, or the pattern as the only one.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Names(names) => names.clone(),
            Self::Pattern(pattern) => vec![pattern.clone()],
        }
    }
}

/// Whether `path` is `tail` or ends in it after a dot.
pub(super) fn is_tail(path: &str, tail: &str) -> bool {
    path.strip_suffix(tail).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// The configuration of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The base model's id.
    pub base_model: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
    /// The rank, where no pattern says otherwise.
    pub rank: u64,
    /// The scale, before it is divided by the rank.
    pub alpha: Option<f64>,
    /// The modules that are changed.
    pub targets: Targets,
    /// Other ranks for some modules: names or ends of paths. Patterns are not read.
    pub rank_pattern: BTreeMap<String, u64>,
    /// Modules that are saved whole.
    pub modules_to_save: Vec<String>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When it is no JSON object with distinct keys, not of a LoRA, or a value makes no sense.
    pub fn read(text: &[u8]) -> Result<Self, Fault> {
        let fields: BTreeMap<String, Value> = json::object(text, "")?.into_iter().collect();
        let get = |field: &str| fields.get(field).filter(|value| !value.is_null());
        match get("peft_type") {
            Some(Value::String(kind)) if kind.eq_ignore_ascii_case("lora") => {}
            other => return Err(Fault::NotLora { found: other.map_or_else(|| "nothing".into(), brief) }),
        }
        Ok(Self {
            base_model: text_field("base_model_name_or_path", get("base_model_name_or_path"))?,
            revision: text_field("revision", get("revision"))?,
            rank: get("r").and_then(rank).ok_or_else(|| wrong("r", get("r"), "a whole number from 1 to 65,536"))?,
            alpha: match get("lora_alpha") {
                None => None,
                Some(alpha) => Some(alpha.as_f64().ok_or_else(|| wrong("lora_alpha", Some(alpha), "a number"))?),
            },
            targets: match get("target_modules") {
                Some(Value::String(pattern)) => Targets::Pattern(pattern.clone()),
                other => match names("target_modules", other)? {
                    names if names.is_empty() => return Err(wrong("target_modules", other, "at least one module")),
                    names => Targets::Names(names),
                },
            },
            rank_pattern: match get("rank_pattern") {
                None => BTreeMap::new(),
                Some(Value::Object(ranks)) => ranks
                    .iter()
                    .map(|(name, value)| Some((name.clone(), rank(value)?)))
                    .collect::<Option<_>>()
                    .ok_or_else(|| wrong("rank_pattern", get("rank_pattern"), "whole numbers by module"))?,
                other => return Err(wrong("rank_pattern", other, "whole numbers by module")),
            },
            modules_to_save: names("modules_to_save", get("modules_to_save"))?,
        })
    }

    /// The rank that the module at `path` must have; `None` when a pattern leaves it open.
    pub fn rank_of(&self, path: &str) -> Option<u64> {
        if let Some((_, rank)) = self.rank_pattern.iter().find(|(name, _)| is_tail(path, name)) {
            return Some(*rank);
        }
        let plain = |name: &String| name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter));
        self.rank_pattern.keys().all(plain).then_some(self.rank)
    }
}

fn rank(value: &Value) -> Option<u64> {
    value.as_u64().filter(|rank| (1..=RANK_MAX).contains(rank))
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(60).collect()
}

fn wrong(field: &'static str, value: Option<&Value>, accepted: &'static str) -> Fault {
    Fault::Config { field, found: value.map_or_else(|| "missing".into(), brief), accepted }
}

fn text_field(field: &'static str, value: Option<&Value>) -> Result<Option<String>, Fault> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        other => Err(wrong(field, other, "a text")),
    }
}

fn names(field: &'static str, value: Option<&Value>) -> Result<Vec<String>, Fault> {
    let accepted = "a list of module names";
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let names = items.iter().map(|item| item.as_str().filter(|name| !name.is_empty()).map(str::to_owned));
            names.collect::<Option<_>>().ok_or_else(|| wrong(field, value, accepted))
        }
        other => Err(wrong(field, other, accepted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Result<Config, Fault> {
        Config::read(format!("{{\"peft_type\": \"LORA\", {fields}}}").as_bytes())
    }

    #[test]
    fn the_usual_configuration_is_read() {
        let config =
            read(r#""r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "revision": null"#).unwrap();
        assert_eq!((config.rank, config.alpha, config.revision.clone()), (8, Some(16.0), None));
        assert!(config.targets.contain("model.layers.0.self_attn.q_proj"));
        assert!(!config.targets.contain("model.layers.0.self_attn.xq_proj"));
        assert_eq!(config.rank_of("anything"), Some(8));
    }

    #[test]
    fn patterns_of_ranks_are_followed_where_they_are_plain() {
        let config = read(r#""r": 8, "target_modules": "all-linear", "rank_pattern": {"q_proj": 4}"#).unwrap();
        assert_eq!((config.rank_of("a.q_proj"), config.rank_of("a.v_proj")), (Some(4), Some(8)));
        let open = read(r#""r": 8, "target_modules": ["x"], "rank_pattern": {"^l.*": 4}"#).unwrap();
        assert_eq!(open.rank_of("a.v_proj"), None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let field = |fields: &str| match read(fields) {
            Err(Fault::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(field(r#""r": 0, "target_modules": ["x"]"#), "r");
        assert_eq!(field(r#""r": "8", "target_modules": ["x"]"#), "r");
        assert_eq!(field(r#""r": 8, "target_modules": []"#), "target_modules");
        assert_eq!(field(r#""r": 8, "target_modules": [1]"#), "target_modules");
        assert_eq!(field(r#""r": 8, "target_modules": ["x"], "lora_alpha": "much""#), "lora_alpha");
        assert_eq!(read(r#""r": 8, "r": 9"#), Err(Fault::DuplicateKey { key: "r".into() }));
        assert_eq!(Config::read(br#"{"peft_type": "IA3"}"#), Err(Fault::NotLora { found: "\"IA3\"".into() }));
    }
}
