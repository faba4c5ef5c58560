//! What a node keeps on disk: one database, one writer, every acknowledgement after the sync.

mod database;
#[cfg(test)]
mod tests;
mod tunnels;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use tokio::sync::{mpsc, oneshot};
use wend_packet::hash::TunnelId;
use wend_packet::identity::KEY_LEN;
use wend_packet::stack::{PathRecord, Standing, TunnelRecord};
use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash};
use zeroize::Zeroizing;

use self::database::ReopeningDatabase;
use self::tunnels::TUNNEL_PATHS;
use super::calls::tell;

/// Entry id to card bytes.
const CARDS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("cards");
/// Manifest hash to manifest bytes.
const MANIFESTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("manifests");
/// Identity hash of a publisher to its public key.
const PUBLISHERS: TableDefinition<&[u8; 16], &[u8; KEY_LEN]> = TableDefinition::new("publishers");
/// Destination hash to a [`StoredPath`] in `postcard`. A record stays when its path is gone: it says who is who. At each
/// start those heard longest ago are dropped.
const PATHS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("paths");
/// Identity hash of someone shut out to a [`StoredBlackhole`] in `postcard`.
const BLACKHOLE: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("blackhole");
/// Hash of a destination of this node to its ratchets, secret, in the reference's signed form.
const RATCHETS: TableDefinition<&[u8; 16], &[u8]> = TableDefinition::new("ratchets");
/// Single numbers by name.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// Layout of the tables above. A node refuses a database of a later layout and migrates an earlier one forward.
const SCHEMA: u64 = 1;
/// Path records kept over a start: as many destinations as a standard node knows.
const PATHS_MAX: usize = 4096;
/// Batches that wait for the writer; a caller beyond that waits for room.
const QUEUE: usize = 16;

/// A path record beside its destination hash: when its announce was heard, Unix seconds, that announce, and of how much use
/// the destination has been. Records of earlier versions end before the last.
type StoredPath<B> = (u64, B, u8);

/// A path record as it is kept, without its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptPath {
    /// The announce.
    pub announce: Arc<[u8]>,
    /// When it was heard.
    pub heard: UnixTime,
    /// Of how much use its destination has been.
    pub standing: Standing,
}

/// What stands for them in a record, in this order.
const STANDINGS: [Standing; 3] = [Standing::Heard, Standing::Used, Standing::Retained];

/// Who shut an identity out, none for this node itself, until when, Unix seconds, and why.
type StoredBlackhole<T> = (Option<[u8; 16]>, Option<u64>, Option<T>);

/// Why an identity is shut out, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShutOut {
    /// The node that decided it; none for this one, which may have another transport identity at each start.
    pub by: Option<IdentityHash>,
    /// When it ends.
    pub until: Option<UnixTime>,
    /// Why.
    pub reason: Option<String>,
}

/// A number that is kept by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    /// Layout of the tables.
    Schema,
    /// When the newest announce of this node was made, Unix seconds: the next must be later, whatever the clock says.
    LastAnnounce,
}

impl Number {
    fn key(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::LastAnnounce => "last announce",
        }
    }
}

/// One change of the stored state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A card is part of the catalog.
    Card([u8; 16], Vec<u8>),
    /// A card is no longer part of it.
    NoCard([u8; 16]),
    /// A manifest this node publishes or has fetched.
    Manifest([u8; 32], Vec<u8>),
    /// A manifest nothing refers to any more.
    NoManifest([u8; 32]),
    /// The key of a publisher.
    Publisher(IdentityHash, [u8; KEY_LEN]),
    /// A publisher none of whose cards is here any more.
    NoPublisher(IdentityHash),
    /// A path, or `None` for one that is not worth keeping any more.
    Path(DestinationHash, Option<KeptPath>),
    /// An identity is shut out.
    Blackhole(IdentityHash, ShutOut),
    /// An identity is no longer shut out.
    NoBlackhole(IdentityHash),
    /// The ratchets of a destination of this node.
    Ratchets(DestinationHash, RatchetFile),
    /// A tunnel keeps a path.
    TunnelPath(TunnelRecord),
    /// A tunnel keeps a path no longer.
    NoTunnelPath(TunnelId, DestinationHash),
    /// No tunnel keeps any path, but those that follow.
    NoTunnelPaths,
    /// A number.
    Number(Number, u64),
}

/// Ratchets as they are kept; they are not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RatchetFile(Zeroizing<Vec<u8>>);

impl RatchetFile {
    /// What is to be kept.
    pub(super) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// What is kept.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for RatchetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Why the state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the database open.
    #[error("{} is in use by another node", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The database was written by a later version.
    #[error("{} was written by a newer Wend (layout {found}, this one knows {SCHEMA})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: u64,
    },
    /// The database cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        source: Box<redb::Error>,
    },
    /// A change could not be made durable, so it was not acknowledged.
    #[error("cannot store: {0}")]
    Write(String),
    /// The writer has stopped.
    #[error("the node is stopping")]
    Stopped,
}

/// What a node starts with.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Card bytes by entry id.
    pub cards: Vec<([u8; 16], Vec<u8>)>,
    /// Paths.
    pub paths: Vec<PathRecord>,
    /// Who is shut out, some of them perhaps no longer by now.
    pub blackhole: Vec<(IdentityHash, ShutOut)>,
    /// Ratchets of this node's destinations.
    pub ratchets: BTreeMap<DestinationHash, RatchetFile>,
    /// Paths that tunnels keep.
    pub tunnel_paths: Vec<TunnelRecord>,
    /// When the newest announce was made, Unix seconds.
    pub last_announce: u64,
}

struct Batch {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The database and the queue to its writer; cheap to clone.
#[derive(Clone)]
pub(super) struct Store {
    database: Arc<ReopeningDatabase>,
    queue: mpsc::Sender<Batch>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.database.path().display())
    }
}

impl Store {
    /// Opens or creates the database and starts its writer thread, which ends, with everything synced, when the last
    /// clone is dropped.
    ///
    /// # Errors
    /// When the file is in use, damaged, from a later version or cannot be created.
    pub(super) fn open(path: &Path) -> Result<(Self, Stored), StoreError> {
        let database = ReopeningDatabase::open(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
            other => StoreError::Open { path: path.to_owned(), source: Box::new(other.into()) },
        })?;
        let opened = |source| StoreError::Open { path: path.to_owned(), source: Box::new(source) };
        let stored = database.with(|database| match prepare(database, path) {
            Ok(stored) => Ok(Ok(stored)),
            Err(Problem::Newer(found)) => Ok(Err(StoreError::Newer { path: path.to_owned(), found })),
            Err(Problem::Database(source)) => Err(source),
        });
        let stored = stored.map_err(opened)??;
        let (queue, batches) = mpsc::channel(QUEUE);
        let database = Arc::new(database);
        let writer = Arc::clone(&database);
        std::thread::Builder::new()
            .name("disk writer".to_owned())
            .spawn(move || write_batches(&writer, batches))
            .map_err(|error| opened(redb::Error::Io(error)))?;
        Ok((Self { database, queue }, stored))
    }

    /// Makes `changes` durable, all or none. Waits until they are synced to the disk.
    ///
    /// # Errors
    /// When they could not be written; nothing of them is there then.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        self.queue.send(Batch { changes, done }).await.map_err(|_| StoreError::Stopped)?;
        result.await.map_err(|_| StoreError::Stopped)?
    }

    /// The same for a thread that may block.
    ///
    /// # Errors
    /// When they could not be written; nothing of them is there then.
    pub(super) fn commit_blocking(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        self.queue.blocking_send(Batch { changes, done }).map_err(|_| StoreError::Stopped)?;
        result.blocking_recv().map_err(|_| StoreError::Stopped)?
    }

    fn read<T>(&self, read: impl Fn(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let read = self.database.with(|database| read(&database.begin_read()?));
        read.map_err(|source| StoreError::Open { path: self.database.path().to_owned(), source: Box::new(source) })
    }

    /// The stored card with this entry id. Reads the disk, as do all that follow.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn card(&self, id: &[u8; 16]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|read| Ok(read.open_table(CARDS)?.get(id)?.map(|card| card.value().to_vec())))
    }

    /// The stored key of a publisher.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn publisher(&self, hash: &IdentityHash) -> Result<Option<[u8; KEY_LEN]>, StoreError> {
        self.read(|read| Ok(read.open_table(PUBLISHERS)?.get(hash.as_bytes())?.map(|key| *key.value())))
    }

    /// The stored manifest with this hash.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn manifest(&self, hash: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|read| Ok(read.open_table(MANIFESTS)?.get(hash)?.map(|manifest| manifest.value().to_vec())))
    }
}

enum Problem {
    Newer(u64),
    Database(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Makes the tables on first use and reads what the node starts with. A start that finds everything in order writes
/// nothing: each write waits for the disk several times.
fn prepare(database: &Database, path: &Path) -> Result<Stored, Problem> {
    let mut stored = match read_stored(database, path) {
        // On first use, and after an update that brought a new one.
        Err(Problem::Database(redb::Error::TableDoesNotExist(_))) => {
            make_tables(database)?;
            read_stored(database, path)?
        }
        other => other?,
    };
    stored.paths.sort_by_key(|record| std::cmp::Reverse(record.heard));
    if stored.paths.len() > PATHS_MAX {
        let write = database.begin_write()?;
        {
            let mut paths = write.open_table(PATHS)?;
            for forgotten in stored.paths.drain(PATHS_MAX..) {
                paths.remove(forgotten.destination.as_bytes())?;
            }
        }
        write.commit()?;
    }
    Ok(stored)
}

fn read_stored(database: &Database, path: &Path) -> Result<Stored, Problem> {
    let read = database.begin_read()?;
    let numbers = read.open_table(NUMBERS)?;
    // First of all: no table is made in a file of a later layout.
    match numbers.get(Number::Schema.key())?.map(|found| found.value()) {
        Some(found) if found != SCHEMA => return Err(Problem::Newer(found)),
        _ => {}
    }
    read.open_table(MANIFESTS)?;
    read.open_table(PUBLISHERS)?;
    let mut stored = Stored {
        paths: read_paths(&read.open_table(PATHS)?, path)?,
        blackhole: read_blackhole(&read.open_table(BLACKHOLE)?, path)?,
        tunnel_paths: tunnels::read(&read.open_table(TUNNEL_PATHS)?, path)?,
        last_announce: numbers.get(Number::LastAnnounce.key())?.map_or(0, |number| number.value()),
        ..Stored::default()
    };
    for row in read.open_table(RATCHETS)?.iter()? {
        let (of, file) = row?;
        let file = RatchetFile::new(Zeroizing::new(file.value().to_vec()));
        stored.ratchets.insert(DestinationHash::new(*of.value()), file);
    }
    for row in read.open_table(CARDS)?.iter()? {
        let (id, card) = row?;
        stored.cards.push((*id.value(), card.value().to_vec()));
    }
    Ok(stored)
}

fn make_tables(database: &Database) -> Result<(), Problem> {
    let write = database.begin_write()?;
    write.open_table(NUMBERS)?.insert(Number::Schema.key(), SCHEMA)?;
    write.open_table(CARDS)?;
    write.open_table(MANIFESTS)?;
    write.open_table(PUBLISHERS)?;
    write.open_table(PATHS)?;
    write.open_table(BLACKHOLE)?;
    write.open_table(RATCHETS)?;
    write.open_table(TUNNEL_PATHS)?;
    write.commit()?;
    Ok(())
}

fn read_paths(
    paths: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    file: &Path,
) -> Result<Vec<PathRecord>, redb::Error> {
    let mut records = Vec::new();
    for row in paths.iter()? {
        let (hash, record) = row?;
        let destination = DestinationHash::new(*hash.value());
        let (record, standing) = match postcard::take_from_bytes::<(u64, &[u8])>(record.value()) {
            Ok((record, rest)) => (Ok(record), rest.first().copied().unwrap_or_default()),
            Err(error) => (Err(error), 0),
        };
        match record {
            Ok((heard, announce)) => records.push(PathRecord {
                standing: STANDINGS.get(usize::from(standing)).copied().unwrap_or_default(),
                ..PathRecord::heard(destination, announce, UnixTime(heard))
            }),
            Err(error) => {
                tracing::warn!(file = %file.display(), dst = ?destination, %error, "stored path skipped");
            }
        }
    }
    Ok(records)
}

fn read_blackhole(
    table: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    file: &Path,
) -> Result<Vec<(IdentityHash, ShutOut)>, redb::Error> {
    let mut entries = Vec::new();
    for row in table.iter()? {
        let (hash, record) = row?;
        let identity = IdentityHash::new(*hash.value());
        match postcard::from_bytes::<StoredBlackhole<String>>(record.value()) {
            Ok((by, until, reason)) => {
                let by = by.map(IdentityHash::new);
                entries.push((identity, ShutOut { by, until: until.map(UnixTime), reason }));
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %identity, %error, "stored blackhole entry skipped");
            }
        }
    }
    Ok(entries)
}

fn write_batches(database: &ReopeningDatabase, mut batches: mpsc::Receiver<Batch>) {
    while let Some(first) = batches.blocking_recv() {
        // Whoever came while the disk was busy shares the next sync.
        let mut group = vec![first];
        while let Ok(next) = batches.try_recv() {
            group.push(next);
        }
        let together = |database: &Database| write_changes(database, group.iter().flat_map(|batch| &batch.changes));
        if group.len() > 1 && database.with(together).is_ok() {
            group.drain(..).for_each(|batch| tell(batch.done, Ok(())));
        }
        // Alone, or one of the group cannot be written: each by itself, so that only that one fails.
        for batch in group {
            let result = database.with(|database| write_changes(database, &batch.changes));
            tell(batch.done, result.map_err(|error| StoreError::Write(error.to_string())));
        }
    }
}

fn write_changes<'a>(database: &Database, changes: impl IntoIterator<Item = &'a Change>) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    {
        let mut cards = write.open_table(CARDS)?;
        let mut manifests = write.open_table(MANIFESTS)?;
        let mut publishers = write.open_table(PUBLISHERS)?;
        let mut paths = write.open_table(PATHS)?;
        let mut blackhole = write.open_table(BLACKHOLE)?;
        let mut ratchets = write.open_table(RATCHETS)?;
        let mut tunnel_paths = write.open_table(TUNNEL_PATHS)?;
        let mut numbers = write.open_table(NUMBERS)?;
        for change in changes {
            match change {
                Change::Card(id, card) => drop(cards.insert(id, card.as_slice())?),
                Change::NoCard(id) => drop(cards.remove(id)?),
                Change::Manifest(hash, bytes) => drop(manifests.insert(hash, bytes.as_slice())?),
                Change::NoManifest(hash) => drop(manifests.remove(hash)?),
                Change::Publisher(hash, key) => drop(publishers.insert(hash.as_bytes(), key)?),
                Change::NoPublisher(hash) => drop(publishers.remove(hash.as_bytes())?),
                Change::Path(destination, Some(path)) => {
                    let standing = STANDINGS.iter().zip(0..).find(|(standing, _)| **standing == path.standing);
                    let standing = standing.map_or(0, |(_, number)| number);
                    let stored: StoredPath<&[u8]> = (path.heard.0, &path.announce, standing);
                    paths.insert(destination.as_bytes(), packed(&stored)?.as_slice())?;
                }
                Change::Path(destination, None) => drop(paths.remove(destination.as_bytes())?),
                Change::Blackhole(identity, entry) => {
                    let stored: StoredBlackhole<&str> =
                        (entry.by.map(|by| *by.as_bytes()), entry.until.map(|until| until.0), entry.reason.as_deref());
                    blackhole.insert(identity.as_bytes(), packed(&stored)?.as_slice())?;
                }
                Change::NoBlackhole(identity) => drop(blackhole.remove(identity.as_bytes())?),
                Change::Ratchets(of, file) => drop(ratchets.insert(of.as_bytes(), file.bytes())?),
                Change::TunnelPath(record) => {
                    let key = tunnels::key(&record.tunnel, &record.destination);
                    tunnel_paths.insert(&key, tunnels::pack(record)?.as_slice())?;
                }
                Change::NoTunnelPath(tunnel, of) => drop(tunnel_paths.remove(&tunnels::key(tunnel, of))?),
                Change::NoTunnelPaths => tunnel_paths.retain(|_, _| false)?,
                Change::Number(number, value) => drop(numbers.insert(number.key(), *value)?),
            }
        }
    }
    write.commit()?;
    Ok(())
}

fn packed(record: &impl serde::Serialize) -> Result<Vec<u8>, StorageError> {
    postcard::to_stdvec(record)
        .map_err(|error| StorageError::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))
}
