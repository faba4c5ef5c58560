//! Embedders: from text to vectors. docs/embedding.md.
//!
//! The node never runs a model in its own process. [`ChildEmbedder`] starts the same binary once more, sends it texts
//! over a pipe and ends it when nothing was asked for a while; [`serve`] is the other end.

mod child;
mod frame;
#[cfg(feature = "embeddings")]
mod mini_lm;
#[cfg(feature = "embeddings")]
mod serve;

pub use child::{ChildCommand, ChildEmbedder, Limits};
#[cfg(feature = "embeddings")]
pub use mini_lm::MiniLm;
#[cfg(feature = "embeddings")]
pub use serve::serve;

use crate::entry::SpaceId;

/// The space of all-MiniLM-L6-v2, the model this project prepares: head of the SHA-256 of its upstream weights.
pub const MINI_LM: SpaceId = SpaceId([0x53, 0xaa, 0x51, 0x17]);
/// Environment variable and value that keep the runtime library from reporting to its maker. Its builds of 1.31 for Linux
/// make a device id in the user's cache folder as soon as they are loaded, before any call could tell them not to, and send
/// events to a server; so it is never loaded without this.
pub const NO_TELEMETRY: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");
/// Tokens of a text that are looked at; the rest has no influence on its vector.
pub const TOKENS_MAX: usize = 256;
/// Bytes of a text that are sent to an embedder, cut at a character. 256 tokens of ordinary text are below 2 kB.
pub const TEXT_MAX: usize = 8 * 1024;

/// Turns texts into vectors of one space.
pub trait Embedder: Send + Sync {
    /// The space: first 4 bytes of the hash of the upstream weights.
    fn space(&self) -> SpaceId;
    /// Components of each vector.
    fn dims(&self) -> usize;
    /// Appends one unit-length row of [`dims`](Self::dims) values per text; on an error, the rows of the texts before
    /// the one that failed. Blocking: call from a job.
    fn embed(&self, texts: &[&str], out: &mut Vec<f32>) -> Result<(), EmbedError>;
}

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// The embedder's process could not be started.
    #[error("cannot start the embedder `{program}`: {source}")]
    Start {
        /// What was to be run.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The embedder ended while it was asked; the next text starts it again.
    #[error("the embedder ended without an answer ({status}); the next search starts it again")]
    Ended {
        /// How it ended, in words of the system.
        status: String,
    },
    /// The embedder gave no answer in time and was ended.
    #[error("the embedder did not answer within {seconds} s and was ended; the next search starts it again")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The embedder answered something that is no answer, and was ended.
    #[error("the embedder answered nonsense ({what}) and was ended")]
    Nonsense {
        /// What was wrong with it.
        what: &'static str,
    },
    /// The embedder works in another space than expected.
    #[error("the embedder works in space {found}, expected {expected}")]
    OtherSpace {
        /// The space that was expected.
        expected: SpaceId,
        /// The space it reports.
        found: SpaceId,
    },
    /// The embedder said what is wrong: the model cannot be loaded, or this text cannot be embedded.
    #[error("{detail}")]
    Refused {
        /// Its words.
        detail: String,
    },
}

/// The text of an entry that its vector stands for: `name. description. tags joined by ", "`.
pub fn entry_text(name: &str, description: &str, tags: &[String]) -> String {
    format!("{name}. {description}. {}", tags.join(", "))
}

/// Embeds one text. Blocking: call from a job.
pub fn embed_one(embedder: &dyn Embedder, text: &str) -> Result<[f32; crate::entry::DIMS], EmbedError> {
    let mut row = Vec::with_capacity(crate::entry::DIMS);
    embedder.embed(&[text], &mut row)?;
    <[f32; crate::entry::DIMS]>::try_from(row).map_err(|_| EmbedError::Nonsense { what: "a vector of another length" })
}

/// The part of `text` that is sent: at most [`TEXT_MAX`] bytes, cut at a character.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or(text)
}
