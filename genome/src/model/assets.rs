//! `assets.json`, and whether the files are what it says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Fault, ModelError, files};
use crate::entry::{DIMS, SpaceId};

/// Longest `assets.json` that is read, in bytes.
const ASSETS_MAX: u64 = 64 * 1024;
/// What was hashed when, beside the files.
const CHECKED: &str = ".checked.json";

/// SHA-256 of what prepare.py makes, the same on every machine. A folder from elsewhere must have them too: the node
/// runs the one and compares vectors of the other.
const PINS: &[(&str, &str)] = &[
    (files::MODEL, "c607aa5ef90672d0e421133a4acda85b7f625688b048c41ee735be886dbaa945"),
    (files::TOKENIZER, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    ("libonnxruntime.so.1.31.1", "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3"),
];

/// What a prepared folder holds.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Assets {
    space_sha256: String,
    dimensions: usize,
    /// File name of the runtime library.
    pub(super) runtime: String,
    /// SHA-256 of every file, by name.
    pub(super) sha256: BTreeMap<String, String>,
}

impl Assets {
    pub(super) fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(files::ASSETS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ModelError::NotInstalled { looked_in: vec![folder.to_owned()] });
            }
            Err(source) => return Err(ModelError::Io { action: "open", path, source }),
        };
        let mut text = String::new();
        let wrong = |what: &str| ModelError::Assets { folder: folder.to_owned(), what: what.to_owned() };
        file.take(ASSETS_MAX).read_to_string(&mut text).map_err(|error| wrong(&error.to_string()))?;
        let assets: Self = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        assets.check().map_err(wrong)?;
        Ok(assets)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.dimensions != DIMS {
            return Err("names another number of dimensions than 384");
        }
        if self.space_head().is_none() {
            return Err("names no embedding space");
        }
        let plain = |name: &String| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']);
        if !self.sha256.keys().all(plain) {
            return Err("names a file outside its folder");
        }
        if !files::ALL.iter().all(|name| self.sha256.contains_key(*name)) || !self.sha256.contains_key(&self.runtime) {
            return Err("does not name all files of a model");
        }
        Ok(())
    }

    fn space_head(&self) -> Option<SpaceId> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&self.space_sha256, &mut bytes).ok()?;
        bytes.first_chunk().map(|head| SpaceId(*head))
    }

    pub(super) fn space(&self) -> SpaceId {
        self.space_head().unwrap_or(SpaceId::NONE)
    }

    /// Whether files this project knows have the hashes it knows.
    pub(super) fn check_pins(&self, folder: &Path) -> Result<(), ModelError> {
        for (name, pin) in PINS {
            if let Some(found) = self.sha256.get(*name)
                && !found.eq_ignore_ascii_case(pin)
            {
                return Err(ModelError::OtherModel {
                    folder: folder.to_owned(),
                    file: (*name).to_owned(),
                    found: found.clone(),
                });
            }
        }
        Ok(())
    }
}

/// How much is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thoroughness {
    /// Everything.
    Everything,
    /// Files that changed size or time since they were last found whole.
    OncePerChange,
}

/// A file as it was when it was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    size: u64,
    modified_ns: u128,
    sha256: String,
}

/// Checks every file of `assets` and notes what was found whole. The note is a cache: when it cannot be read or written,
/// as in a folder of the system, everything is hashed each time.
pub(super) fn check_files(folder: &Path, assets: &Assets, how: Thoroughness) -> Result<(), ModelError> {
    let note = folder.join(CHECKED);
    let before: BTreeMap<String, Seen> = match how {
        Thoroughness::Everything => BTreeMap::new(),
        Thoroughness::OncePerChange => read_note(&note).unwrap_or_default(),
    };
    let mut after = BTreeMap::new();
    for (name, expected) in &assets.sha256 {
        let damaged = |fault| ModelError::Damaged { folder: folder.to_owned(), file: name.clone(), fault };
        let path = folder.join(name);
        let Ok(metadata) = fs::metadata(&path) else { return Err(damaged(Fault::Missing)) };
        let seen = Seen { size: metadata.len(), modified_ns: modified_ns(&metadata), sha256: expected.to_lowercase() };
        if before.get(name) != Some(&seen) && sha256_of(&path)? != seen.sha256 {
            return Err(damaged(Fault::Changed));
        }
        after.insert(name.clone(), seen);
    }
    if before != after
        && let Ok(text) = serde_json::to_string(&after)
    {
        // Not needed for anything but speed, so a failure is no error.
        let _ = fs::write(&note, text);
    }
    Ok(())
}

fn read_note(path: &Path) -> Option<BTreeMap<String, Seen>> {
    let mut text = String::new();
    File::open(path).ok()?.take(ASSETS_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn modified_ns(metadata: &fs::Metadata) -> u128 {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// SHA-256 of a file in lower-case hex.
pub(super) fn sha256_of(path: &Path) -> Result<String, ModelError> {
    let failed = |action| move |source| ModelError::Io { action, path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed("read"))?;
        match buffer.get(..read) {
            Some(bytes) if read > 0 => digest.update(bytes),
            _ => return Ok(hex::encode(digest.finalize())),
        }
    }
}
