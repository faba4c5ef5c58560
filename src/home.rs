//! A node's home: the folder that holds its identity, its config, its state and its control socket.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use wend_packet::identity::{Identity, IdentityError};

use crate::node::randomness;

/// Longest path of a Unix socket, in bytes, without its closing zero.
const SOCKET_PATH_MAX: usize = 107;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Neither `--home` nor `WEND_HOME` is given and the system names no home folder.
    #[error("no home folder is known for this user; choose one with --home DIR or WEND_HOME")]
    Nowhere,
    /// The folder cannot be made or entered.
    #[error("cannot use {} as home of a node: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something else is in its place.
    #[error("cannot use {} as home of a node: it is not a folder", path.display())]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// A file in it cannot be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The identity file holds something else.
    #[error("{} is damaged: {source}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// A node runs here already.
    #[error("a node with the home {} is running already", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The control socket's path would not fit the system's limit.
    #[error("the path {} is too long for a control socket ({len} bytes, at most {SOCKET_PATH_MAX})", path.display())]
    TooLong {
        /// The path of the socket.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
}

/// Keeps a home from other nodes.
#[derive(Debug)]
pub struct HomeLock(#[expect(dead_code, reason = "holding it is what it is for")] File);

/// The folder of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
}

impl Home {
    /// The folder given, else the user's data folder. Nothing is created.
    ///
    /// # Errors
    /// When nothing is given and the system names no home folder.
    pub fn locate(given: Option<PathBuf>) -> Result<Self, HomeError> {
        let dir = match given {
            Some(dir) => std::path::absolute(&dir).unwrap_or(dir),
            None => etcetera::choose_base_strategy().map_err(|_| HomeError::Nowhere)?.data_dir().join("wend"),
        };
        Ok(Self { dir })
    }

    /// Makes the folder, readable by its owner only, when it is absent.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn prepare(&self) -> Result<(), HomeError> {
        self.check()?;
        let failed = |source| HomeError::Folder { path: self.dir.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        fs::read_dir(&self.dir).map_err(failed)?;
        Ok(())
    }

    /// Whether a node could live there, as far as can be said without touching anything.
    ///
    /// # Errors
    /// When something else is in its place, or its path is too long.
    pub fn check(&self) -> Result<(), HomeError> {
        if let Some(path) = self.dir.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir()) {
            return Err(HomeError::NotAFolder { path: path.to_owned() });
        }
        let socket = self.control_socket();
        match socket.as_os_str().len() {
            len if len > SOCKET_PATH_MAX => Err(HomeError::TooLong { path: socket, len }),
            _ => Ok(()),
        }
    }

    /// Takes the home for one running node, for as long as the result is kept. It also ends with the process, however that
    /// ends.
    ///
    /// # Errors
    /// When another node has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.dir.join("lock");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(|source| HomeError::File { verb: "open", path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(HomeError::InUse { path: self.dir.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(HomeError::File { verb: "lock", path, source }),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The private key, 64 bytes.
    pub fn identity_file(&self) -> PathBuf {
        self.dir.join("identity")
    }

    /// The config file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// The database.
    pub fn state_file(&self) -> PathBuf {
        self.dir.join("state.redb")
    }

    /// The socket that `wend` commands talk to.
    pub fn control_socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Reads the identity, and makes one on first use.
    ///
    /// # Errors
    /// When the file cannot be read or written, or does not hold an identity: it is never replaced.
    pub fn identity(&self) -> Result<Identity, HomeError> {
        kept_identity(self.identity_file())
    }

    /// The same for the key by which other transport nodes know this one as next hop.
    ///
    /// # Errors
    /// As for [`Home::identity`].
    pub fn transport_identity(&self) -> Result<Identity, HomeError> {
        kept_identity(self.dir.join("transport_identity"))
    }
}

fn kept_identity(path: PathBuf) -> Result<Identity, HomeError> {
    match fs::read(&path) {
        Ok(bytes) => Identity::from_slice(&bytes).map_err(|source| HomeError::Identity { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = Identity::generate(&mut randomness());
            write_durably(&path, identity.to_private_bytes().as_ref(), 0o600).map_err(|source| HomeError::File {
                verb: "write",
                path,
                source,
            })?;
            Ok(identity)
        }
        Err(source) => Err(HomeError::File { verb: "read", path, source }),
    }
}

/// Writes a file so that after a crash it is there whole or not at all.
///
/// # Errors
/// What the system says.
pub fn write_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = folder.join(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = Home::locate(Some(folder.path().join("node"))).expect("a path was given");
        (folder, home)
    }

    #[test]
    fn the_identity_is_made_once_and_only_its_owner_can_read_it() {
        let (_folder, home) = home();
        home.prepare().expect("prepared");
        let first = home.identity().expect("made");
        assert_eq!(first.hash(), home.identity().expect("read").hash());
        let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert_eq!((mode(home.dir()), mode(&home.identity_file())), (0o700, 0o600));
    }

    #[test]
    fn one_node_at_a_time_has_a_home() {
        let (_folder, home) = home();
        home.prepare().expect("prepared");
        let lock = home.lock().expect("free");
        assert!(matches!(home.lock(), Err(HomeError::InUse { .. })));
        drop(lock);
        home.lock().expect("free again");
    }

    #[test]
    fn a_damaged_identity_is_never_replaced() {
        let (_folder, home) = home();
        home.prepare().expect("prepared");
        fs::write(home.identity_file(), [7; 63]).expect("written");
        assert!(matches!(home.identity(), Err(HomeError::Identity { .. })));
        assert_eq!(fs::read(home.identity_file()).expect("still there"), [7; 63]);
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_before_anything_runs() {
        let (folder, _) = home();
        let home = Home::locate(Some(folder.path().join("x".repeat(120)))).expect("a path was given");
        assert!(matches!(home.prepare(), Err(HomeError::TooLong { .. })));
    }
}
