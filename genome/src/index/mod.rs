//! The index over many sketches: a graph of near neighbours, for catalogs of 20,000 entries and more. A cache of what the
//! catalog holds, made again whenever its file is in doubt. docs/decisions/0023-vector-index.md.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use usearch::ffi::{IndexOptions, MetricKind, ScalarKind};
use usearch::{Index, b1x8};

use crate::entry::{DIMS, Sketch, SpaceId};
use crate::search::{Nearest, STALE_ONE_IN};

/// First bytes of the file; the digit is the version of its layout.
const MAGIC: &[u8; 8] = b"WENDIDX1";
const DIGEST_LEN: usize = 32;
const HEADER_LEN: usize = MAGIC.len() + DIGEST_LEN + 4;
/// Longest file that is read: ten times what 500,000 entries take.
const FILE_MAX: u64 = 1 << 30;
/// Links of each entry in the graph.
const CONNECTIVITY: usize = 16;
/// Candidates looked at when an entry is added, and when one is looked for.
const EXPANSION: usize = 256;
/// Threads that may use the index at the same time: those of a job pool and the core task.
const THREADS: usize = 16;
/// Room is made for so many entries at a time.
const GROWTH: usize = 4_096;

/// Why an index cannot be used or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not an index of ours, or was changed since: build another.
    #[error("{} is no usable index ({what}); it will be built again", path.display())]
    Doubtful {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The library refused.
    #[error("the vector index failed: {detail}")]
    Library {
        /// Its words.
        detail: String,
    },
}

fn library(error: impl std::fmt::Display) -> IndexError {
    IndexError::Library { detail: error.to_string() }
}

/// An index over the sketches of one space.
pub struct SketchIndex {
    space: SpaceId,
    index: Index,
}

impl std::fmt::Debug for SketchIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SketchIndex").field("space", &self.space).field("len", &self.index.size()).finish()
    }
}

fn options() -> IndexOptions {
    IndexOptions {
        dimensions: DIMS,
        metric: MetricKind::Hamming,
        quantization: ScalarKind::B1,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION,
        expansion_search: EXPANSION,
        multi: false,
    }
}

impl SketchIndex {
    /// Builds an index over `sketches`. 20,000 take some seconds of one processor: do it in a job.
    pub fn build(space: SpaceId, sketches: impl IntoIterator<Item = (u64, Sketch)>) -> Result<Self, IndexError> {
        let mut built = Self { space, index: Index::new(&options()).map_err(library)? };
        for (key, sketch) in sketches {
            built.add(key, &sketch)?;
        }
        Ok(built)
    }

    /// An index over exactly `sketches`, or nearly: the one saved at `path`, caught up with what came since, or a new one
    /// where that is in doubt or holds much that is gone. Saved when it changed by more than a tenth. Takes seconds: do it
    /// in a job, then [`attach`](crate::search::Search::attach) it.
    ///
    /// A file that cannot be read or written is logged, never an error.
    pub fn prepare(path: &Path, space: SpaceId, sketches: &[(u64, Sketch)]) -> Result<Self, IndexError> {
        let (index, changed) = match Self::open(path, space).and_then(|saved| saved.caught_up(path, sketches)) {
            Ok((index, added)) => (index, added > sketches.len() / STALE_ONE_IN),
            Err(reason) => {
                tracing::info!(%reason, "building the vector index");
                (Self::build(space, sketches.iter().copied())?, true)
            }
        };
        if changed && let Err(error) = index.save(path) {
            tracing::warn!(%error, "the vector index is not saved; it will be built again at the next start");
        }
        Ok(index)
    }

    /// Adds what is missing. Returns how much that was.
    fn caught_up(mut self, path: &Path, sketches: &[(u64, Sketch)]) -> Result<(Self, usize), IndexError> {
        let missing: Vec<_> = sketches.iter().filter(|(key, _)| !self.index.contains(*key)).collect();
        let stale = self.index.size().saturating_sub(sketches.len() - missing.len());
        if stale > sketches.len() / STALE_ONE_IN {
            return Err(IndexError::Doubtful { path: path.to_owned(), what: "much of it is gone from the catalog" });
        }
        for (key, sketch) in &missing {
            self.add(*key, sketch)?;
        }
        Ok((self, missing.len()))
    }

    /// Opens the index saved at `path`. Nothing in the file is believed before its hash has been found right: the
    /// library would end the process over a damaged one.
    pub fn open(path: &Path, space: SpaceId) -> Result<Self, IndexError> {
        let failed = |source| IndexError::Io { action: "read", path: path.to_owned(), source };
        let doubtful = |what| IndexError::Doubtful { path: path.to_owned(), what };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes)).map_err(failed)?;
        let graph = checked(&bytes, space).map_err(doubtful)?;
        let metadata = Index::metadata_from_buffer(graph).map_err(|_| doubtful("its graph has no header"))?;
        let ours = options();
        let same = metadata.dimensions == ours.dimensions as u64
            && metadata.metric == ours.metric
            && metadata.quantization == ours.quantization
            && !metadata.multi;
        if !same {
            return Err(doubtful("it was made with other settings"));
        }
        let index = Index::new(&ours).map_err(library)?;
        index.load_from_buffer(graph).map_err(|_| doubtful("its graph cannot be loaded"))?;
        // What the file says wins over the options, so ask what came of it.
        if index.scalar_kind() != ours.quantization || index.dimensions() != ours.dimensions {
            return Err(doubtful("it was made with other settings"));
        }
        index.reserve_capacity_and_threads(index.size() + GROWTH, THREADS).map_err(library)?;
        index.change_expansion_add(EXPANSION);
        index.change_expansion_search(EXPANSION);
        Ok(Self { space, index })
    }

    /// Writes the index to `path`: under another name first, so that a crash leaves the old one.
    pub fn save(&self, path: &Path) -> Result<(), IndexError> {
        let mut graph = vec![0; self.index.serialized_length()];
        self.index.save_to_buffer(&mut graph).map_err(library)?;
        let temporary = path.with_extension("new");
        let failed = |source| IndexError::Io { action: "write", path: temporary.clone(), source };
        let mut file = File::create(&temporary).map_err(failed)?;
        let digest: [u8; DIGEST_LEN] = digest(self.space, &graph);
        file.write_all(&[&MAGIC[..], &digest, &self.space.0].concat()).map_err(failed)?;
        file.write_all(&graph).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)
    }

    /// The space it is for.
    pub fn space(&self) -> SpaceId {
        self.space
    }

    fn add(&mut self, key: u64, sketch: &Sketch) -> Result<(), IndexError> {
        if self.index.contains(key) {
            return Ok(());
        }
        if self.index.size() + 1 >= self.index.capacity() {
            let room = self.index.size() + GROWTH;
            self.index.reserve_capacity_and_threads(room, THREADS).map_err(library)?;
        }
        self.index.add(key, b1x8::from_u8s(&sketch.0)).map_err(library)
    }
}

fn digest(space: SpaceId, graph: &[u8]) -> [u8; DIGEST_LEN] {
    Sha256::new().chain_update(space.0).chain_update(graph).finalize().into()
}

/// The graph in a file's bytes, once all that surrounds it is right.
fn checked(bytes: &[u8], space: SpaceId) -> Result<&[u8], &'static str> {
    let (header, graph) = bytes.split_first_chunk::<HEADER_LEN>().ok_or("it is too short")?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let (stated, of) = rest.split_at(DIGEST_LEN);
    if magic != MAGIC {
        return Err("it begins like something else");
    }
    if of != space.0 {
        return Err("it is for another embedding space");
    }
    if stated != digest(space, graph) {
        return Err("its SHA-256 differs");
    }
    Ok(graph)
}

impl Nearest for SketchIndex {
    fn insert(&mut self, key: u64, sketch: &Sketch) {
        // An entry that is not in the index is found by words and by the next index that is built.
        if let Err(error) = self.add(key, sketch) {
            tracing::warn!(%error, "an entry could not be added to the vector index");
        }
    }

    fn remove(&mut self, key: u64) {
        if let Err(error) = self.index.remove(key) {
            tracing::warn!(%error, "an entry could not be taken out of the vector index");
        }
    }

    fn contains(&self, key: u64) -> bool {
        self.index.contains(key)
    }

    fn len(&self) -> usize {
        self.index.size()
    }

    fn nearest(&self, query: &Sketch, count: usize, admit: &dyn Fn(u64) -> bool) -> Option<Vec<u64>> {
        match self.index.filtered_search(b1x8::from_u8s(&query.0), count, admit) {
            Ok(found) => Some(found.keys),
            Err(error) => {
                tracing::warn!(%error, "the vector index did not answer; comparing with everything");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
