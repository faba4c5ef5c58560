//! Vector indexes of large catalogs: built beside everything else, used when they are ready.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use wend_genome::entry::SpaceId;
use wend_genome::index::{IndexError, SketchIndex};
use wend_genome::search::{Attached, Search};

/// Builds one index at a time.
#[derive(Debug)]
pub(super) struct Indexer {
    folder: PathBuf,
    building: Option<(SpaceId, JoinHandle<Result<SketchIndex, IndexError>>)>,
    /// An index that could not be built is not tried again in this run; everything is compared exactly instead.
    failed: bool,
}

impl Indexer {
    /// Keeps its files in `folder`. They are a cache: whatever happens to them costs a rebuild.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), building: None, failed: false }
    }

    /// Takes an index into use that is ready, and begins one that is wanted. Never waits.
    pub(super) fn tend(&mut self, search: &mut Search) {
        if self.building.as_ref().is_some_and(|(_, thread)| thread.is_finished())
            && let Some((space, thread)) = self.building.take()
        {
            match thread.join() {
                Ok(Ok(index)) => match search.attach(space, Box::new(index)) {
                    Attached::Used { added } => tracing::info!(%space, added, "vector index in use"),
                    Attached::Refused { stale } => tracing::info!(%space, stale, "vector index out of date"),
                },
                Ok(Err(error)) => {
                    tracing::warn!(%space, %error, "no vector index");
                    self.failed = true;
                }
                Err(_) => {
                    tracing::error!(%space, "building the vector index failed");
                    self.failed = true;
                }
            }
        }
        if self.building.is_none()
            && !self.failed
            && let Some(space) = search.spaces().find(|space| search.wants_index(*space))
        {
            let sketches: Vec<_> = search.sketches(space).collect();
            let path = self.folder.join(format!("index-{space}.usearch"));
            let thread = std::thread::Builder::new()
                .name("vector index".to_owned())
                .spawn(move || SketchIndex::prepare(&path, space, &sketches));
            match thread {
                Ok(thread) => self.building = Some((space, thread)),
                Err(error) => {
                    tracing::warn!(%error, "no thread for a vector index");
                    self.failed = true;
                }
            }
        }
    }
}
