//! Putting a model in place: prepared by the script, or copied from a folder. Either way whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::assets::Assets;
use super::{Model, ModelError, files};

/// The script that prepares a model. In the binary, so that it works from anywhere.
const PREPARE: &str = include_str!("../../model/prepare.py");
const PYTHON: &str = "python3";
/// How much of what a tool said last goes into an error, in bytes.
const DETAIL_MAX: usize = 300;

/// What an installation is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking for Python.
    CheckPython,
    /// Fetching packages and preparing the model: some 150 MB to fetch, then 16 s of one processor.
    Prepare,
    /// Copying from a folder.
    Copy,
    /// Hashing every file.
    Verify,
    /// Moving it to its place.
    Place,
}

/// Prepares the model with the script and puts it at `folder`. Takes a minute or so and needs Python 3 with venv and a
/// network. What was at `folder` stays until the new one is whole.
pub fn install(folder: &Path, progress: &mut dyn FnMut(Step)) -> Result<Model, ModelError> {
    progress(Step::CheckPython);
    check_python(PYTHON)?;
    let workshop = Workshop::beside(folder)?;
    progress(Step::Prepare);
    let script = workshop.path.join("prepare.py");
    fs::write(&script, PREPARE).map_err(failed("write", &script))?;
    let made = workshop.path.join("model");
    prepare(PYTHON, &script, &made)?;
    finish(folder, &made, progress)
}

/// Copies a prepared model from `from`, a memory stick for example, to `folder`. Its files must have the hashes its
/// `assets.json` states, and that must be the model this project knows.
pub fn install_from(from: &Path, folder: &Path, progress: &mut dyn FnMut(Step)) -> Result<Model, ModelError> {
    let assets = Assets::read(from)?;
    assets.check_pins(from)?;
    progress(Step::Copy);
    let workshop = Workshop::beside(folder)?;
    let made = workshop.path.join("model");
    fs::create_dir(&made).map_err(failed("make", &made))?;
    for name in assets.sha256.keys().map(String::as_str).chain([files::ASSETS]) {
        let source = from.join(name);
        fs::copy(&source, made.join(name)).map_err(failed("copy", &source))?;
    }
    finish(folder, &made, progress)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_owned();
    move |source| ModelError::Io { action, path, source }
}

pub(super) fn check_python(python: &str) -> Result<(), ModelError> {
    let mut command = Command::new(python);
    command.args(["-c", "import venv, ensurepip"]).stdin(Stdio::null());
    match command.output() {
        Err(_) => Err(ModelError::NoPython),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(ModelError::NoVenv { detail: last_words(&output) }),
    }
}

pub(super) fn prepare(python: &str, script: &Path, made: &Path) -> Result<(), ModelError> {
    let mut command = Command::new(python);
    command.arg(script).arg(made).stdin(Stdio::null());
    // Without a network, say so soon.
    command.envs([("PIP_RETRIES", "1"), ("PIP_DEFAULT_TIMEOUT", "20"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1")]);
    let output = command.output().map_err(|_| ModelError::NoPython)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let unreachable =
        ["NewConnectionError", "Failed to establish", "name resolution", "No matching distribution", "timed out"];
    if unreachable.iter().any(|sign| said.contains(sign)) {
        let line = said.lines().find(|line| unreachable.iter().any(|sign| line.contains(sign)));
        return Err(ModelError::NoNetwork { detail: shortened(line.unwrap_or_default()) });
    }
    Err(ModelError::Prepare { detail: last_words(&output) })
}

/// The last line a tool wrote to its error output, which is where Python puts the reason.
fn last_words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => shortened(line.trim()),
        None => output.status.to_string(),
    }
}

fn shortened(line: &str) -> String {
    line.get(..line.floor_char_boundary(DETAIL_MAX)).unwrap_or_default().to_owned()
}

/// Checks what was made, moves it to its place and opens it there.
fn finish(folder: &Path, made: &Path, progress: &mut dyn FnMut(Step)) -> Result<Model, ModelError> {
    progress(Step::Verify);
    let model = Model::verify(made)?;
    for name in model.assets.sha256.keys().map(String::as_str).chain([files::ASSETS]) {
        let path = made.join(name);
        File::open(&path).and_then(|file| file.sync_all()).map_err(failed("sync", &path))?;
    }
    sync_folder(made)?;
    progress(Step::Place);
    let old = made.with_file_name("replaced");
    if folder.exists() {
        fs::rename(folder, &old).map_err(failed("move away", folder))?;
    }
    fs::rename(made, folder).map_err(failed("move into place", folder))?;
    if let Some(parent) = folder.parent() {
        sync_folder(parent)?;
    }
    Model::open(folder)
}

/// Makes names durable. Only Unix lets a folder be opened for this.
fn sync_folder(folder: &Path) -> Result<(), ModelError> {
    if cfg!(unix) {
        File::open(folder).and_then(|file| file.sync_all()).map_err(failed("sync", folder))?;
    }
    Ok(())
}

/// A folder beside the place of the model, on the same disk, gone with its content when this is dropped.
#[derive(Debug)]
struct Workshop {
    path: PathBuf,
}

impl Workshop {
    fn beside(folder: &Path) -> Result<Self, ModelError> {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
        let path = parent.join(format!(".installing-{}", std::process::id()));
        // Left behind by a process of the same number that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(failed("make", &path))?;
        Ok(Self { path })
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "what was left of an installation cannot be removed");
        }
    }
}
