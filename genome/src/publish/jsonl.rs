//! Catalogs as JSON Lines: one entry per line, described only.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::draft::{Draft, DraftError};
use crate::entry::Kind;
use crate::manifest::{AdapterFacts, BaseModel};

/// The longest line that is read, in bytes.
const LINE_MAX: usize = 64 * 1024;
/// The fields a line may have. `id` is for whoever wrote the file.
const FIELDS: [&str; 12] = [
    "id",
    "name",
    "version",
    "kind",
    "base_model",
    "rank",
    "alpha",
    "targets",
    "license",
    "languages",
    "tags",
    "description",
];

/// Why a line is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonlError {
    /// No JSON object.
    #[error("line {line} is not a JSON object ({reason})")]
    Json {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// A field that is missing, unknown or has a value that is not accepted.
    #[error("line {line}, field `{field}`: found {found}; accepted: {accepted}")]
    Field {
        /// The line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// What was found.
        found: String,
        /// What is accepted.
        accepted: String,
    },
    /// The entry does not fit a manifest.
    #[error("line {line}: {source}")]
    Draft {
        /// The line, from 1.
        line: usize,
        /// What does not fit.
        #[source]
        source: DraftError,
    },
    /// A line that is too long.
    #[error("line {line} is longer than {LINE_MAX} bytes")]
    TooLong {
        /// The line, from 1.
        line: usize,
    },
}

/// Why a catalog file cannot be read, or a line of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of it is no entry.
    #[error("{}: {source}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: JsonlError,
    },
}

/// Reads line number `line` (from 1) of a catalog.
///
/// # Errors
/// The first field that is not accepted, with what was found and what is accepted.
pub fn from_jsonl(text: &str, line: usize) -> Result<Draft, JsonlError> {
    if text.len() > LINE_MAX {
        return Err(JsonlError::TooLong { line });
    }
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| JsonlError::Json { line, reason: error.to_string() })?;
    let fields = Fields { fields, line };
    if let Some(unknown) = fields.fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(fields.wrong(unknown, "a field that is not known".into(), &FIELDS.join(", ")));
    }
    let kind = fields.required_text("kind", &Kind::PUBLISHABLE.join(", "))?;
    let accepted = || Kind::PUBLISHABLE.join(", ");
    let publishable = Kind::from_name(&kind).filter(|kind| *kind != Kind::TOMBSTONE);
    let kind = publishable.ok_or_else(|| fields.wrong("kind", format!("{kind:?}"), &accepted()))?;
    let rank = fields.rank()?;
    let alpha = fields.alpha()?;
    let targets = fields.texts("targets")?;
    let described = rank.is_some() || alpha.is_some() || !targets.is_empty();
    let facts = AdapterFacts { rank, alpha, targets, ..AdapterFacts::default() };
    let draft = Draft {
        name: fields.required_text("name", "a text")?,
        version: fields.required_text("version", "a semantic version such as 1.0.0")?,
        kind,
        description: fields.required_text("description", "a text")?,
        tags: fields.texts("tags")?,
        languages: fields.texts("languages")?,
        licence: fields.text("license")?,
        base_model: fields.text("base_model")?.map(|id| BaseModel { id, revision: None }),
        adapter: described.then_some(facts),
        files: Vec::new(),
    };
    match draft.check() {
        Ok(()) => Ok(draft),
        Err(DraftError::Field { field, found, accepted }) => {
            Err(JsonlError::Field { line, field: field.into(), found, accepted })
        }
        Err(source) => Err(JsonlError::Draft { line, source }),
    }
}

struct Fields {
    fields: Map<String, Value>,
    line: usize,
}

impl Fields {
    fn wrong(&self, field: &str, found: String, accepted: &str) -> JsonlError {
        JsonlError::Field { line: self.line, field: field.into(), found, accepted: accepted.into() }
    }

    /// A field that is there and not null.
    fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn refuse<T>(&self, field: &str, value: &Value, accepted: &str) -> Result<T, JsonlError> {
        let found: String = value.to_string().chars().take(60).collect();
        Err(self.wrong(field, found, accepted))
    }

    fn text(&self, field: &str) -> Result<Option<String>, JsonlError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => self.refuse(field, other, "a text, or null"),
        }
    }

    fn required_text(&self, field: &str, accepted: &str) -> Result<String, JsonlError> {
        match self.get(field) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(other) => self.refuse(field, other, accepted),
            None => Err(self.wrong(field, "nothing".into(), accepted)),
        }
    }

    fn texts(&self, field: &str) -> Result<Vec<String>, JsonlError> {
        let accepted = "a list of texts";
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(list @ Value::Array(items)) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map_or_else(|| self.refuse(field, list, accepted), Ok)
            }
            Some(other) => self.refuse(field, other, accepted),
        }
    }

    fn rank(&self) -> Result<Option<u32>, JsonlError> {
        let Some(value) = self.get("rank") else { return Ok(None) };
        match value.as_u64().and_then(|rank| u32::try_from(rank).ok()).filter(|rank| (1..=65_536).contains(rank)) {
            Some(rank) => Ok(Some(rank)),
            None => self.refuse("rank", value, "a whole number from 1 to 65,536, or null"),
        }
    }

    fn alpha(&self) -> Result<Option<f64>, JsonlError> {
        let Some(value) = self.get("alpha") else { return Ok(None) };
        match value.as_f64() {
            Some(alpha) => Ok(Some(alpha)),
            None => self.refuse("alpha", value, "a number, or null"),
        }
    }
}

/// The entries of a catalog file, line by line; empty lines are passed over.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    reader: BufReader<fs::File>,
    line: usize,
    failed: bool,
}

/// Opens a catalog file.
///
/// # Errors
/// When it cannot be opened.
pub fn open_jsonl(path: &Path) -> Result<Lines, FileError> {
    let file = fs::File::open(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    Ok(Lines { path: path.to_owned(), reader: BufReader::new(file), line: 0, failed: false })
}

impl Lines {
    /// The next line, without what ends it; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        let mut bytes = Vec::new();
        let max = u64::try_from(LINE_MAX).unwrap_or(u64::MAX).saturating_add(2);
        let io = |source| FileError::Io { path: self.path.clone(), source };
        self.reader.by_ref().take(max).read_until(b'\n', &mut bytes).map_err(io)?;
        self.line += 1;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

impl Iterator for Lines {
    type Item = Result<Draft, FileError>;

    /// After an error that concerns the file, or a line without end, there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            let bytes = match self.next_line() {
                Ok(bytes) => bytes?,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            let line = self.line;
            let json = |reason: &str| JsonlError::Json { line, reason: reason.into() };
            let draft = match core::str::from_utf8(&bytes) {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => from_jsonl(text.trim(), line),
                Err(_) => Err(json("not UTF-8")),
            };
            self.failed = matches!(draft, Err(JsonlError::TooLong { .. }));
            return Some(draft.map_err(|source| FileError::Line { path: self.path.clone(), source }));
        }
        None
    }
}
