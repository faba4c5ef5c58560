//! Reads an adapter directory. Files are streamed, once, however large they are.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::config::{self, Config};
use super::safetensors::{self, Tensor};
use super::scan::Scan;
use super::{Fault, tensors};
use crate::manifest::File;

/// The configuration's file name.
pub const CONFIG: &str = "adapter_config.json";
/// The weights' file name.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// The description's file name.
pub const README: &str = "README.md";
/// How much of a README is read.
pub const README_MAX: u64 = 64 * 1024;
/// How much is read at a time.
const PIECE: usize = 1 << 20;
/// The ends of names that pickles go by.
const PICKLES: [&str; 4] = ["bin", "pt", "pth", "ckpt"];

/// Why a directory is no adapter that can be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no such directory.
    #[error("{} is not a directory: give the folder that holds {CONFIG} and {WEIGHTS}", .0.display())]
    NotDirectory(PathBuf),
    /// A file of the adapter is not there.
    #[error("{} has no {file}: give the folder that the adapter was saved to", directory.display())]
    Missing {
        /// The directory.
        directory: PathBuf,
        /// What is missing.
        file: &'static str,
    },
    /// The weights are there as a pickle only.
    #[error("{} is a pickle, which can run code when it is loaded: save the adapter as {WEIGHTS}", .0.display())]
    Pickle(PathBuf),
    /// A configuration that is longer than any.
    #[error("{} has {len} bytes, at most {max} are read", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// What is read.
        max: u64,
    },
    /// A file changed while it was read.
    #[error("{} changed while it was read: publish again once it is complete", .0.display())]
    Changed(PathBuf),
    /// A file is not sound.
    #[error("{}: {fault}", path.display())]
    Fault {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        fault: Box<Fault>,
    },
}

/// An adapter that passed all checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// Its configuration.
    pub config: Config,
    /// Its tensors, in the order in which they lie.
    pub tensors: Vec<Tensor>,
    /// Its files: configuration, weights and, if there is one, README.
    pub files: Vec<File>,
    /// The README, at most [`README_MAX`] of it.
    pub readme: Option<String>,
}

/// How far reading has come: bytes done, bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Reads and checks the adapter in `directory`.
///
/// # Errors
/// What is wrong first, in one sentence that says what to do.
pub fn read(directory: &Path, progress: Progress<'_>) -> Result<Adapter, ReadError> {
    if !directory.is_dir() {
        return Err(ReadError::NotDirectory(directory.to_owned()));
    }
    let missing = |file| ReadError::Missing { directory: directory.to_owned(), file };
    let weights = directory.join(WEIGHTS);
    if !weights.is_file() {
        return Err(find_pickle(directory).map_or_else(|| missing(WEIGHTS), ReadError::Pickle));
    }
    let config_path = directory.join(CONFIG);
    if !config_path.is_file() {
        return Err(missing(CONFIG));
    }
    let (config_file, text) = read_small(&config_path, CONFIG, config::LEN_MAX)?;
    let config = Config::read(&text).map_err(|fault| ReadError::Fault { path: config_path, fault: Box::new(fault) })?;
    let (weights_file, tensors) = read_weights(&weights, &config, progress)?;
    let mut files = vec![config_file, weights_file];
    let readme_path = directory.join(README);
    let mut readme = None;
    if readme_path.is_file() {
        let len = fs::metadata(&readme_path).map_err(io_error(&readme_path))?.len();
        // A longer one is no text for people; it is not part of the entry.
        if len <= README_MAX {
            let (file, text) = read_small(&readme_path, README, README_MAX)?;
            files.push(file);
            readme = Some(String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(Adapter { config, tensors, files, readme })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
    move |source| ReadError::Io { path: path.to_owned(), source }
}

fn find_pickle(directory: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let is_pickle = |path: &PathBuf| {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        PICKLES.contains(&end.to_ascii_lowercase().as_str())
    };
    paths.filter(is_pickle).min()
}

/// Both hashes of a file, in one pass.
#[derive(Default)]
struct Hashes {
    len: u64,
    blake3: blake3::Hasher,
    sha256: Sha256,
}

impl Hashes {
    fn update(&mut self, piece: &[u8]) {
        self.len += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.blake3.update(piece);
        self.sha256.update(piece);
    }

    fn finish(self, path: &str) -> File {
        let Self { len, blake3, sha256 } = self;
        File { path: path.into(), len, blake3: *blake3.finalize().as_bytes(), sha256: sha256.finalize().into() }
    }
}

fn read_small(path: &Path, name: &str, max: u64) -> Result<(File, Vec<u8>), ReadError> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(io_error(path))?;
    file.take(max + 1).read_to_end(&mut text).map_err(io_error(path))?;
    let mut hashes = Hashes::default();
    hashes.update(&text);
    if hashes.len > max {
        return Err(ReadError::TooLong { path: path.to_owned(), len: hashes.len, max });
    }
    Ok((hashes.finish(name), text))
}

fn read_weights(path: &Path, config: &Config, progress: Progress<'_>) -> Result<(File, Vec<Tensor>), ReadError> {
    let fault = |fault| ReadError::Fault { path: path.to_owned(), fault: Box::new(fault) };
    let mut file = fs::File::open(path).map_err(io_error(path))?;
    let len = file.metadata().map_err(io_error(path))?.len();
    let mut hashes = Hashes::default();

    let prefix = read_up_to(&mut file, safetensors::PREFIX as u64).map_err(io_error(path))?;
    hashes.update(&prefix);
    let header_len = safetensors::header_len(&prefix, len).map_err(fault)?;
    let header = read_up_to(&mut file, header_len).map_err(io_error(path))?;
    hashes.update(&header);
    let data_len = len.saturating_sub(hashes.len);
    let tensors = safetensors::read_header(&header, data_len).map_err(fault)?;
    tensors::check(config, &tensors).map_err(fault)?;

    let mut scan = Scan::new(&tensors);
    let mut piece = vec![0; PIECE];
    loop {
        progress(hashes.len, len);
        let read = file.read(&mut piece).map_err(io_error(path))?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
        hashes.update(piece);
        if hashes.len > len {
            break;
        }
        scan.feed(piece).map_err(fault)?;
    }
    if hashes.len != len {
        return Err(ReadError::Changed(path.to_owned()));
    }
    Ok((hashes.finish(WEIGHTS), tensors))
}

/// The next `len` bytes, or what there is of them.
fn read_up_to(file: &mut fs::File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.by_ref().take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}
