//! Who is shut out, beside the packet layer that does it: what the owner changes, what other nodes publish, and what of it
//! is on disk. docs/protocol/1-core.md, section 4.9.
//!
//! One task does all that, one thing after the other, so that what is acknowledged is on disk and the disk is never behind
//! by more than what is being done.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wend_packet::IdentityHash;
use wend_packet::management::{BLACKHOLE_SWEEP_INTERVAL, BlackholeEntry, LIST_PATH, blackhole_name, decode_list};
use wend_packet::msgpack::Writer;
use wend_packet::stack::Capacities;

use super::calls::{BlackholeChange, BlackholeState, CoreHandle, OwnRequest, Stopped, tell};
use super::clock::unix_now;
use super::store::{Change, ShutOut, Store, StoreError};

/// Changes that wait; a caller beyond that waits for room.
const CALLS: usize = 16;
/// Lists are fetched for the first time this long after the start.
const FIRST_UPDATE: Duration = Duration::from_secs(20);
/// How long to look for a path to a source.
const PATH_PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait for a list to begin.
const LIST_PATIENCE: Duration = Duration::from_secs(30);
/// A list is no longer than this for each entry that fits the table, in bytes.
const ENTRY_BYTES: usize = 300;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlackholeError {
    /// The change is not durable, though it counts while the node runs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node is stopping.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

#[derive(Debug)]
struct Call {
    change: BlackholeChange,
    reply: oneshot::Sender<Result<BlackholeState, BlackholeError>>,
}

/// Asks for changes; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct BlackholeHandle {
    calls: mpsc::Sender<Call>,
}

/// The task's end.
#[derive(Debug)]
pub(super) struct Inbox(mpsc::Receiver<Call>);

impl BlackholeHandle {
    /// The handle and the task's end of it.
    pub(super) fn new() -> (Self, Inbox) {
        let (calls, receiver) = mpsc::channel(CALLS);
        (Self { calls }, Inbox(receiver))
    }

    /// Makes a change and waits until it is durable; the list after it.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub(super) async fn change(&self, change: BlackholeChange) -> Result<BlackholeState, BlackholeError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call { change, reply }).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)?
    }
}

/// What the task works with.
pub(super) struct Parts {
    pub core: CoreHandle,
    pub store: Store,
    /// What is on disk.
    pub stored: Vec<(IdentityHash, ShutOut)>,
    /// Whose lists are taken.
    pub sources: Vec<IdentityHash>,
    /// Time between two fetches of one source's list.
    pub interval: Duration,
    pub capacities: Capacities,
}

/// Of what is on disk, what counts still: it is not over, and the owner or a source that is still taken named it.
pub(super) fn still_good(
    stored: &[(IdentityHash, ShutOut)],
    sources: &[IdentityHash],
    own: IdentityHash,
) -> Vec<(IdentityHash, BlackholeEntry)> {
    let now = unix_now();
    let taken = |entry: &ShutOut| entry.by.is_none_or(|by| sources.contains(&by));
    let lasts = |entry: &ShutOut| entry.until.is_none_or(|until| now <= until);
    let good = stored.iter().filter(|(_, entry)| taken(entry) && lasts(entry));
    good.map(|(identity, kept)| {
        let entry = BlackholeEntry::new(kept.by.unwrap_or(own), kept.until, kept.reason.as_deref());
        (*identity, entry)
    })
    .collect()
}

/// Keeps the list until `cancel`.
pub(super) async fn keep(parts: Parts, mut inbox: Inbox, cancel: CancellationToken) {
    let first = Instant::now() + FIRST_UPDATE;
    let due = parts.sources.iter().map(|source| (*source, first)).collect();
    let stored = parts.stored.iter().cloned().collect();
    let mut keeper = Keeper { parts, stored, due };
    let mut sweep = tokio::time::interval(BLACKHOLE_SWEEP_INTERVAL);
    loop {
        let next = keeper.next_update();
        tokio::select! {
            () = cancel.cancelled() => return,
            Some(call) = inbox.0.recv() => {
                let result = keeper.change(call.change).await;
                tell(call.reply, result);
            }
            _ = sweep.tick(), if !keeper.stored.is_empty() => keeper.follow().await,
            () = super::core::sleep_until(next.map(|(_, at)| at)) => {
                // A list that comes slowly must not keep the owner's changes waiting: whoever asks meanwhile goes first.
                let Some((source, _)) = next else { continue };
                let Some(list) = fetch_beside(&mut keeper, source, &mut inbox, &cancel).await else { return };
                keeper.updated(source, list).await;
            }
        }
    }
}

/// Fetches a list while the owner's changes go on. `None` when the node stops.
async fn fetch_beside(
    keeper: &mut Keeper,
    source: IdentityHash,
    inbox: &mut Inbox,
    cancel: &CancellationToken,
) -> Option<Option<BTreeMap<IdentityHash, BlackholeEntry>>> {
    let fetch = fetch(keeper.parts.core.clone(), source, keeper.parts.capacities.blackhole);
    tokio::pin!(fetch);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return None,
            list = &mut fetch => return Some(list),
            Some(call) = inbox.0.recv() => {
                let result = keeper.change(call.change).await;
                tell(call.reply, result);
            }
        }
    }
}

struct Keeper {
    parts: Parts,
    stored: BTreeMap<IdentityHash, ShutOut>,
    due: BTreeMap<IdentityHash, Instant>,
}

impl Keeper {
    fn next_update(&self) -> Option<(IdentityHash, Instant)> {
        self.due.iter().map(|(source, at)| (*source, *at)).min_by_key(|(_, at)| *at)
    }

    /// Makes a change and brings the disk into agreement.
    async fn change(&mut self, change: BlackholeChange) -> Result<BlackholeState, BlackholeError> {
        let state = self.parts.core.blackhole(change).await?;
        let now: BTreeMap<_, _> =
            state.entries.iter().map(|(identity, entry)| (*identity, kept(state.own, entry))).collect();
        let written = now.iter().filter(|(identity, entry)| self.stored.get(*identity) != Some(*entry));
        let mut changes: Vec<_> =
            written.map(|(identity, entry)| Change::Blackhole(*identity, entry.clone())).collect();
        let gone = self.stored.keys().filter(|identity| !now.contains_key(*identity));
        changes.extend(gone.map(|identity| Change::NoBlackhole(*identity)));
        if !changes.is_empty() {
            self.parts.store.commit(changes).await?;
            self.stored = now;
        }
        Ok(state)
    }

    /// Brings the disk into agreement with what has expired.
    async fn follow(&mut self) {
        if let Err(error) = self.change(BlackholeChange::Look).await {
            tracing::warn!(%error, "the blackhole list is not kept");
        }
    }

    async fn updated(&mut self, source: IdentityHash, list: Option<BTreeMap<IdentityHash, BlackholeEntry>>) {
        self.due.insert(source, Instant::now() + self.parts.interval);
        let Some(list) = list else { return };
        let named = list.len();
        match self.change(BlackholeChange::From { source, list }).await {
            Ok(state) => {
                let changes = state.changes;
                tracing::info!(
                    %source, named, added = changes.added, lifted = changes.lifted, refused = changes.refused,
                    "blackhole list taken"
                );
            }
            Err(error) => tracing::warn!(%source, %error, "the blackhole list is not kept"),
        }
    }
}

/// An entry as it goes on disk.
fn kept(own: IdentityHash, entry: &BlackholeEntry) -> ShutOut {
    let by = Some(entry.source).filter(|source| *source != own);
    ShutOut { by, until: entry.until, reason: entry.reason.clone() }
}

/// The list that `source` publishes, if it can be had.
async fn fetch(
    core: CoreHandle,
    source: IdentityHash,
    entries_max: usize,
) -> Option<BTreeMap<IdentityHash, BlackholeEntry>> {
    let to = blackhole_name().of(source);
    match core.find_path(to, PATH_PATIENCE).await {
        Ok(Some(_)) => {}
        Ok(None) => {
            tracing::info!(%source, "no path to this source of a blackhole list");
            return None;
        }
        Err(Stopped) => return None,
    }
    let link = core.link(to).await.inspect_err(|error| tracing::info!(%source, %error, "no blackhole list")).ok()?;
    let request = OwnRequest {
        link: link.link,
        path: LIST_PATH,
        body: Writer::new().nil().into_bytes().into(),
        timeout: LIST_PATIENCE,
        max_response: entries_max.saturating_mul(ENTRY_BYTES),
        arriving: None,
    };
    let response = core.request(request).await.ok()?;
    let response = response.inspect_err(|error| tracing::info!(%source, %error, "no blackhole list")).ok()?;
    let list = decode_list(&response, source, entries_max);
    list.inspect_err(|error| tracing::warn!(%source, %error, "blackhole list refused")).ok()
}
