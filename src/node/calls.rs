//! What other tasks ask of the core, and the handle they ask it through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use wend_commands::MessageId;
use wend_commands::announce_data::CatalogSummary;
use wend_interfaces::Monitor;
use wend_packet::link::LinkError;
use wend_packet::management::{BlackholeEntry, Blackholed};
use wend_packet::stack::{AnnounceBacklog, BlackholeChanges, InterfaceId, Path, RequestError, SendError};
use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash, LinkId};

use super::peers::{Peer, Resolved};

/// Calls that wait for the core; a caller beyond that waits for room, under its own deadline.
const CALLS: usize = 64;

/// The core has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopped;

/// Why there is no link to a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkFailure {
    /// The link request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Nobody answered it, or it was closed while it was made.
    #[error("it did not answer the link request")]
    NoAnswer,
    /// The core has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a request got no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestFailure {
    /// It did not leave.
    #[error("the request could not be sent: {0}")]
    NotSent(#[from] LinkError),
    /// It left.
    #[error(transparent)]
    Failed(#[from] RequestError),
}

/// A link of this node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnLink {
    /// Its id.
    pub link: LinkId,
    /// Whether it was open already.
    pub reused: bool,
    /// Round trip, from when it was made.
    pub rtt: Duration,
}

/// How much of a response has arrived, in bytes as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arriving {
    /// So far.
    pub received: u64,
    /// In all.
    pub total: u64,
}

/// A request to be made on an open link.
#[derive(Debug)]
pub(super) struct OwnRequest {
    /// On which link.
    pub link: LinkId,
    /// What is asked for.
    pub path: &'static str,
    /// One MessagePack value.
    pub body: Bytes,
    /// How long to wait for the response to begin.
    pub timeout: Duration,
    /// Largest response to accept, in bytes.
    pub max_response: usize,
    /// Sees the response arrive.
    pub arriving: Option<mpsc::Sender<Arriving>>,
}

/// An interface at one moment.
#[derive(Debug, Clone)]
pub(super) struct InterfaceView {
    /// Its id.
    pub id: InterfaceId,
    /// Its name.
    pub name: Arc<str>,
    /// The server that took it in.
    pub parent: Option<InterfaceId>,
    /// Bits per second, while it is up.
    pub bitrate_bps: Option<u64>,
    /// Fingerprint of the closed network on it, while it is up.
    pub network: Option<[u8; 5]>,
    /// Frames dropped for their access code since it came up.
    pub access_violations: u64,
    /// Announces that wait.
    pub announces: AnnounceBacklog,
    /// Whether the far end made a tunnel of it.
    pub tunnel: bool,
    /// State and counters.
    pub monitor: Monitor,
}

/// A path, and what is known of whom it leads to.
#[derive(Debug, Clone)]
pub(super) struct PathView {
    /// The path.
    pub path: Path,
    /// Whose destination it is.
    pub identity: Option<IdentityHash>,
    /// What it announced, when it is a node like this one.
    pub peer: Option<Peer>,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NodeView {
    /// Who it is, when that was heard.
    pub identity: Option<IdentityHash>,
    /// Name it announces; empty for none.
    pub name: String,
    /// Distance, when a path is known.
    pub hops: Option<u8>,
    /// Its catalog, as announced.
    pub catalog: Option<CatalogSummary>,
}

/// The core at one moment.
#[derive(Debug, Clone)]
pub(super) struct CoreView {
    /// All interfaces.
    pub interfaces: Vec<InterfaceView>,
    /// How many paths are known.
    pub paths: usize,
    /// Links, of either role.
    pub links: usize,
}

/// A change of who is shut out.
#[derive(Debug)]
pub(super) enum BlackholeChange {
    /// None: only the list is wanted.
    Look,
    /// The owner shuts an identity out.
    Add {
        /// Whom.
        identity: IdentityHash,
        /// When it ends, if ever.
        until: Option<UnixTime>,
        /// Why.
        reason: Option<String>,
    },
    /// The owner lets an identity in again.
    Remove(IdentityHash),
    /// Another node has published this list.
    From {
        /// Which node.
        source: IdentityHash,
        /// What it names.
        list: BTreeMap<IdentityHash, BlackholeEntry>,
    },
}

/// Who is shut out after a change, and what that changed.
#[derive(Debug, Clone)]
pub(super) struct BlackholeState {
    /// This node's own name in the list.
    pub own: IdentityHash,
    /// All entries.
    pub entries: Vec<(IdentityHash, BlackholeEntry)>,
    /// What became of the entry that was to be added.
    pub outcome: Option<Blackholed>,
    /// Whether the identity to be let in was shut out.
    pub removed: bool,
    /// What another node's list changed.
    pub changes: BlackholeChanges,
}

/// One question to the core.
#[derive(Debug)]
pub(super) enum CoreCall {
    FindPath { to: DestinationHash, wait: Duration, reply: oneshot::Sender<Option<u8>> },
    Link { to: DestinationHash, reply: oneshot::Sender<Result<OwnLink, LinkFailure>> },
    Request { request: OwnRequest, reply: oneshot::Sender<Result<Bytes, RequestFailure>> },
    Respond { caller: IdentityHash, id: MessageId, reply: Bytes },
    Announce { reply: oneshot::Sender<Vec<String>> },
    Node { destination: DestinationHash, reply: oneshot::Sender<NodeView> },
    Resolve { text: String, reply: oneshot::Sender<Resolved> },
    View { reply: oneshot::Sender<Box<CoreView>> },
    Paths { reply: oneshot::Sender<Vec<PathView>> },
    Blackhole { change: BlackholeChange, reply: oneshot::Sender<BlackholeState> },
}

/// Answers a question. Whoever asked may have gone meanwhile: then nobody hears it.
pub(super) fn tell<T>(reply: oneshot::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}

/// Asks the core; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct CoreHandle {
    calls: mpsc::Sender<CoreCall>,
}

impl CoreHandle {
    /// The handle and the core's end of it.
    pub(super) fn new() -> (Self, mpsc::Receiver<CoreCall>) {
        let (calls, receiver) = mpsc::channel(CALLS);
        (Self { calls }, receiver)
    }

    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> CoreCall) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Distance to a destination in hops; asks the mesh for a path and waits when none is known. `None`: no path in time.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn find_path(&self, to: DestinationHash, wait: Duration) -> Result<Option<u8>, Stopped> {
        self.ask(|reply| CoreCall::FindPath { to, wait, reply }).await
    }

    /// An open link to a destination, over which this node has identified: one that is there, or a new one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn link(&self, to: DestinationHash) -> Result<OwnLink, LinkFailure> {
        self.ask(|reply| CoreCall::Link { to, reply }).await?
    }

    /// Makes a request and waits for its response: one MessagePack value.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn request(&self, request: OwnRequest) -> Result<Result<Bytes, RequestFailure>, Stopped> {
        self.ask(|reply| CoreCall::Request { request, reply }).await
    }

    /// Sends the reply to a call that came in on a link.
    pub(super) async fn respond(&self, caller: IdentityHash, id: MessageId, reply: Bytes) {
        // Without a core there is no link either.
        drop(self.calls.send(CoreCall::Respond { caller, id, reply }).await);
    }

    /// What is known of a node.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn node(&self, destination: DestinationHash) -> Result<NodeView, Stopped> {
        self.ask(|reply| CoreCall::Node { destination, reply }).await
    }

    /// Announces now; gives the names of the interfaces it goes out on.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn announce(&self) -> Result<Vec<String>, Stopped> {
        self.ask(|reply| CoreCall::Announce { reply }).await
    }

    /// The node that a person means by `text`.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn resolve(&self, text: &str) -> Result<Resolved, Stopped> {
        self.ask(|reply| CoreCall::Resolve { text: text.to_owned(), reply }).await
    }

    /// The core now.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn view(&self) -> Result<Box<CoreView>, Stopped> {
        self.ask(|reply| CoreCall::View { reply }).await
    }

    /// All paths and all nodes heard of.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn paths(&self) -> Result<Vec<PathView>, Stopped> {
        self.ask(|reply| CoreCall::Paths { reply }).await
    }

    /// Changes who is shut out; the list after that. Not on disk yet.
    ///
    /// # Errors
    /// When the core has ended.
    pub(super) async fn blackhole(&self, change: BlackholeChange) -> Result<BlackholeState, Stopped> {
        self.ask(|reply| CoreCall::Blackhole { change, reply }).await
    }
}
