//! Publishing: from what people have (a line of a catalog, an adapter's folder) to a signed card and manifest.
//! docs/protocol/mesh.md, Publishing.

mod adapter_directory;
mod draft;
mod front_matter;
mod jsonl;
#[cfg(test)]
mod tests;

pub use adapter_directory::from_adapter_dir;
pub use draft::{Draft, DraftError, Published, withdraw};
pub use jsonl::{FileError, JsonlError, Lines, from_jsonl, open_jsonl};
