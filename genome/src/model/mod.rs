//! Installed embedding models: where they are, whether they are whole, how one gets there. docs/embedding.md.
//!
//! A model is a folder with the network, the tokenizer, the runtime library, and `assets.json` with the SHA-256 of each.
//! This module reads and writes files; it is used by commands and by the embedder's own process.

mod assets;
mod install;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

pub use install::{Step, install, install_from};

use crate::entry::SpaceId;
use assets::Assets;

/// Name of the model, and of its folder.
pub const NAME: &str = "all-MiniLM-L6-v2";

/// The files of a model, apart from the runtime library, whose name depends on the system.
pub mod files {
    /// What is there, with hashes.
    pub const ASSETS: &str = "assets.json";
    /// The network, quantised to int8.
    pub const MODEL: &str = "model_q8.onnx";
    /// The tokenizer.
    pub const TOKENIZER: &str = "tokenizer.json";
    /// Its configuration.
    pub const CONFIG: &str = "config.json";
    /// Its special tokens.
    pub const SPECIAL_TOKENS: &str = "special_tokens_map.json";
    /// More of its configuration.
    pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
    /// Files that every model has.
    pub const ALL: [&str; 5] = [MODEL, TOKENIZER, CONFIG, SPECIAL_TOKENS, TOKENIZER_CONFIG];
}

/// Why there is no usable model. Every message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// None of the folders that were looked at has one.
    #[error("no embedding model is installed (looked in {}): run `wend model install`", paths(looked_in))]
    NotInstalled {
        /// The folders, in order.
        looked_in: Vec<PathBuf>,
    },
    /// A file is not what `assets.json` says.
    #[error("the embedding model in {} is damaged: {file} is {fault}; run `wend model install` to replace it", folder.display())]
    Damaged {
        /// The model's folder.
        folder: PathBuf,
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// `assets.json` cannot be understood.
    #[error("the embedding model in {} is damaged: assets.json {what}; run `wend model install` to replace it", folder.display())]
    Assets {
        /// The model's folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The files are whole, but they are not the model they say they are.
    #[error("{} holds another {file} than {NAME} has (SHA-256 {found}); its vectors could not be compared with others, so it is not used: run `wend model install`", folder.display())]
    OtherModel {
        /// The model's folder.
        folder: PathBuf,
        /// The file.
        file: String,
        /// Its SHA-256.
        found: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Python is missing.
    #[error(
        "python3 is needed to prepare the model and was not found: install Python 3 with venv, or copy a prepared folder from another node with `wend model install DIR`"
    )]
    NoPython,
    /// Python lacks what makes virtual environments.
    #[error(
        "python3 cannot make virtual environments ({detail}): install its venv module (on Debian and Ubuntu the package python3-venv), or copy a prepared folder with `wend model install DIR`"
    )]
    NoVenv {
        /// What Python said.
        detail: String,
    },
    /// The packages cannot be fetched.
    #[error(
        "the packages of the model cannot be fetched ({detail}): check the network, or copy a prepared folder from another node with `wend model install DIR`"
    )]
    NoNetwork {
        /// What pip said last.
        detail: String,
    },
    /// Preparing failed in some other way.
    #[error("preparing the model failed: {detail}")]
    Prepare {
        /// What the script said last.
        detail: String,
    },
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// Its hash differs.
    #[error("not as it was prepared (its SHA-256 differs)")]
    Changed,
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// An installed model whose files are whole.
#[derive(Debug, Clone)]
pub struct Model {
    folder: PathBuf,
    assets: Assets,
}

impl Model {
    /// Opens the model in `folder`.
    ///
    /// Every file is hashed once; sizes and modification times are then noted beside it, and while they stay the same
    /// the hashes are not computed again.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let assets = Assets::read(folder)?;
        assets.check_pins(folder)?;
        assets::check_files(folder, &assets, assets::Thoroughness::OncePerChange)?;
        Ok(Self { folder: folder.to_owned(), assets })
    }

    /// Opens the model in `folder` and hashes every file, whatever was noted.
    pub fn verify(folder: &Path) -> Result<Self, ModelError> {
        let assets = Assets::read(folder)?;
        assets.check_pins(folder)?;
        assets::check_files(folder, &assets, assets::Thoroughness::Everything)?;
        Ok(Self { folder: folder.to_owned(), assets })
    }

    /// Looks for a model: in `chosen` alone when a person named a folder, else in [`places`] of `home`. The first
    /// folder that has one is taken; when it is damaged that is an error, not a reason to look further.
    pub fn find(chosen: Option<&Path>, home: &Path) -> Result<Self, ModelError> {
        Self::open(&locate(chosen, home)?)
    }

    /// Whether [`Model::find`] would come upon a model, as far as shows without reading its large files: some
    /// milliseconds instead of the seconds that hashing takes.
    ///
    /// # Errors
    /// As [`Model::find`], but for files that are damaged.
    pub fn glance(chosen: Option<&Path>, home: &Path) -> Result<(), ModelError> {
        let folder = locate(chosen, home)?;
        let assets = Assets::read(&folder)?;
        if let Some(file) = assets.sha256.keys().find(|name| !folder.join(name).is_file()) {
            let file = file.clone();
            return Err(ModelError::Damaged { folder, file, fault: Fault::Missing });
        }
        assets.check_pins(&folder)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The space of its vectors.
    pub fn space(&self) -> SpaceId {
        self.assets.space()
    }

    /// The runtime library.
    pub fn runtime(&self) -> PathBuf {
        self.folder.join(&self.assets.runtime)
    }

    /// What all its files take on disk, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let names = self.assets.sha256.keys();
        names.filter_map(|name| self.folder.join(name).metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

/// The first folder that has a model, in `chosen` alone when there is one.
fn locate(chosen: Option<&Path>, home: &Path) -> Result<PathBuf, ModelError> {
    let looked_in = match chosen {
        Some(chosen) => vec![chosen.to_owned()],
        None => places(home, std::env::var_os("XDG_DATA_DIRS").as_deref()),
    };
    match looked_in.iter().find(|folder| folder.join(files::ASSETS).exists()) {
        Some(folder) => Ok(folder.clone()),
        None => Err(ModelError::NotInstalled { looked_in }),
    }
}

/// Where models are looked for: in the home of the node, then in the system's data folders (`XDG_DATA_DIRS` when set).
pub fn places(home: &Path, data_folders: Option<&OsStr>) -> Vec<PathBuf> {
    let system = match data_folders {
        Some(folders) if !folders.is_empty() => std::env::split_paths(folders).collect(),
        _ => vec![PathBuf::from("/usr/local/share"), PathBuf::from("/usr/share")],
    };
    let system = system.into_iter().filter(|folder| folder.is_absolute()).map(|folder| folder.join("wend"));
    std::iter::once(home.to_owned()).chain(system).map(|folder| folder.join("models").join(NAME)).collect()
}

#[cfg(test)]
mod tests;
