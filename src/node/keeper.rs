//! Keeps paths and counters on disk without haste: changes of a few seconds make one write, to spare flash.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::task::JoinSet;
use wend_packet::DestinationHash;
use wend_packet::stack::{PathRecord, Stack, TunnelChanges};
use wend_packet::time::Now;

use super::store::{Change, KeptPath, Number, RatchetFile, Store, StoreError};

/// How long changes gather. docs/architecture.md, section 13.
pub(super) const COALESCE: Duration = Duration::from_secs(5);

/// What waits to be written. At most one entry for each destination that was heard of or forgotten within a few seconds,
/// since later changes replace earlier ones; announces are shared with the stack.
pub(super) struct Keeper {
    store: Store,
    /// `None` where one is to be forgotten.
    paths: HashMap<DestinationHash, Option<KeptPath>>,
    ratchets: BTreeMap<DestinationHash, RatchetFile>,
    /// Whether tunnels keep other paths than are stored.
    tunnels: bool,
    touched: bool,
    scheduled: bool,
    writing: JoinSet<Result<(), StoreError>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keeper({} changes)", self.paths.len())
    }
}

impl Keeper {
    /// Nothing waits yet.
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            paths: HashMap::new(),
            ratchets: BTreeMap::new(),
            tunnels: false,
            touched: false,
            scheduled: false,
            writing: JoinSet::new(),
        }
    }

    /// A path was learned or renewed.
    pub(super) fn path(&mut self, record: PathRecord) {
        let PathRecord { destination, announce, heard, standing } = record;
        self.paths.insert(destination, Some(KeptPath { announce, heard, standing }));
    }

    /// What was kept of a destination is not worth keeping any more.
    pub(super) fn forget(&mut self, destination: DestinationHash) {
        self.paths.insert(destination, None);
    }

    /// A destination of this node has a new ratchet.
    pub(super) fn ratchets(&mut self, of: DestinationHash, file: RatchetFile) {
        self.ratchets.insert(of, file);
    }

    /// Tunnels keep other paths; which, the stack says when it is written.
    pub(super) fn tunnels(&mut self) {
        self.tunnels = true;
    }

    /// A number changed.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// Whether a write has to be scheduled; says so once until it is done.
    pub(super) fn is_due(&mut self) -> bool {
        !std::mem::replace(&mut self.scheduled, true)
    }

    /// Writes all that waits, in the background. While an earlier write still runs, this one joins the next.
    pub(super) fn write(&mut self, now: Now, stack: &mut Stack) {
        self.scheduled = false;
        if self.paths.is_empty() && self.ratchets.is_empty() && !self.touched && !self.tunnels {
            return;
        }
        self.touched = false;
        let mut changes = vec![Change::Number(Number::LastAnnounce, stack.last_emission().0)];
        let mut paths: Vec<_> = std::mem::take(&mut self.paths).into_iter().collect();
        // Neighbours in the file are written together.
        paths.sort_unstable_by_key(|(of, _)| *of);
        changes.extend(paths.into_iter().map(|(of, path)| Change::Path(of, path)));
        changes.extend(std::mem::take(&mut self.ratchets).into_iter().map(|(of, file)| Change::Ratchets(of, file)));
        if std::mem::take(&mut self.tunnels) {
            let TunnelChanges { all, paths } = stack.take_tunnel_changes(now);
            changes.extend(all.then_some(Change::NoTunnelPaths));
            changes.extend(paths.into_iter().map(|(tunnel, of, record)| match record {
                Some(record) => Change::TunnelPath(record),
                None => Change::NoTunnelPath(tunnel, of),
            }));
        }
        let store = self.store.clone();
        self.writing.spawn(async move { store.commit(changes).await });
    }

    /// Waits for a write to end, for ever when none runs. Cancel-safe.
    pub(super) async fn done(&mut self) {
        match self.writing.join_next().await {
            Some(Ok(Err(error))) => tracing::warn!(%error, "paths are not kept"),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Waits for all writes to end.
    pub(super) async fn finish(&mut self) {
        while !self.writing.is_empty() {
            self.done().await;
        }
    }
}
