//! The database file, opened anew after the disk has failed it.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Builder, Database, DatabaseError, Error};

/// Memory the database may use to cache pages; a node of a few thousand entries reads little.
const CACHE_BYTES: usize = 2 << 20;

/// A database that outlives a full disk. After one failed read or write the library refuses all work until the file is
/// opened anew, so that is done; what was committed before is there, of what failed there is nothing.
pub(super) struct ReopeningDatabase {
    path: PathBuf,
    /// `None` while the file could not be opened anew.
    open: RwLock<Option<Database>>,
}

impl ReopeningDatabase {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When it is in use, damaged or cannot be created.
    pub(super) fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self { path: path.to_owned(), open: RwLock::new(Some(open(path)?)) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the database; again, when an earlier failure was all that stood in its way.
    ///
    /// # Errors
    /// Those of `work`, or why the file cannot be opened anew.
    pub(super) fn with<T>(&self, work: impl Fn(&Database) -> Result<T, Error>) -> Result<T, Error> {
        match self.attempt(&work) {
            Err(Error::PreviousIo) => {
                self.reopen()?;
                self.attempt(&work)
            }
            Err(error @ Error::Io(_)) => {
                if let Err(error) = self.reopen() {
                    tracing::error!(file = %self.path.display(), %error, "database closed until the disk works again");
                }
                Err(error)
            }
            other => other,
        }
    }

    fn attempt<T>(&self, work: impl Fn(&Database) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.open.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => work(database),
            None => Err(Error::PreviousIo),
        }
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: the file is locked while it is open.
        drop(slot.take());
        *slot = Some(open(&self.path)?);
        tracing::info!(file = %self.path.display(), "database opened anew after the disk failed");
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_an_earlier_failure_prevented_is_done_on_the_file_opened_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = ReopeningDatabase::open(&folder.path().join("file")).expect("created");
        let full = || Error::Io(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(matches!(database.with(|_| Err::<(), _>(full())), Err(Error::Io(_))), "it is said, not hidden");
        let tries = std::cell::Cell::new(0);
        let done = database.with(|database| {
            tries.set(tries.get() + 1);
            if tries.get() == 1 { Err(Error::PreviousIo) } else { Ok(database.begin_write()?.abort()?) }
        });
        assert!(done.is_ok() && tries.get() == 2);
    }
}
