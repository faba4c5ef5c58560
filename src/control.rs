//! The control socket: how `wend` commands talk to the running node of the same user.
//!
//! It carries the same envelopes as the mesh. Each frame is a length (4 bytes, big-endian), a kind (1 byte) and a body;
//! before its reply a call may get any number of progress frames.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand_core::Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use wend_commands::envelope::InvalidCall;
use wend_commands::{Call, Caller, Command, CommandName, Failure, MessageId, Registry, Reply, Value};

use crate::node::randomness;

/// Connections served at once; a further one waits.
const CONNECTIONS: usize = 64;
/// Largest frame, in bytes: a catalog listing of tens of thousands of entries fits.
const FRAME_MAX: usize = 64 << 20;
/// Progress reports that wait for a slow reader; further ones replace nothing and are dropped.
const PROGRESS: usize = 16;

const KIND_CALL: u8 = 0;
const KIND_REPLY: u8 = 1;
const KIND_PROGRESS: u8 = 2;

/// How far a long command is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, for a person.
    pub step: String,
    /// How much is done, in units that `step` names.
    pub done: u64,
    /// How much there is in all; 0 when that is not known.
    pub total: u64,
}

tokio::task_local! {
    static REPORTS: mpsc::Sender<Progress>;
}

/// Reports progress to whoever called the command that is running, if that caller listens.
pub fn report(step: impl Into<String>, done: u64, total: u64) {
    // Nobody may listen, or not fast enough: progress is for the eye, so it is dropped rather than waited for.
    let _ = REPORTS.try_with(|reports| reports.try_send(Progress { step: step.into(), done, total }));
}

/// The sink of the command that is running, to report from another task.
pub fn reporter() -> Option<mpsc::Sender<Progress>> {
    REPORTS.try_with(Clone::clone).ok()
}

/// Serves the socket until `cancel`.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    // Whoever has the home is its only node, so a socket that is there is a leftover.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes connections and serves each in a task of its own until `cancel`.
pub async fn serve(listener: UnixListener, registry: Arc<Registry>, cancel: CancellationToken) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if is_owner(&stream) => {
                let (registry, cancel) = (Arc::clone(&registry), cancel.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        ended = connection(stream, &registry) => {
                            if let Err(error) = ended {
                                tracing::debug!(%error, "control connection ended");
                            }
                        }
                    }
                    drop(permit);
                });
            }
            Ok(_) => tracing::warn!("control connection of another user refused"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The folder and the socket are closed to others already; this holds when their permissions were loosened.
fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn connection(mut stream: UnixStream, registry: &Registry) -> io::Result<()> {
    while let Some((kind, body)) = read_frame(&mut stream).await? {
        if kind != KIND_CALL {
            continue;
        }
        let call = match Call::decode(&body) {
            Ok(call) => call,
            Err(InvalidCall::Refused(failure, id)) => {
                write_frame(&mut stream, KIND_REPLY, &Reply::failed(id, failure).encode()).await?;
                continue;
            }
            // Another version, or nonsense: whoever waits for an answer sees the connection end.
            Err(InvalidCall::Ignored(error)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let (reports, mut progress) = mpsc::channel(PROGRESS);
        let mut running = std::pin::pin!(REPORTS.scope(reports, registry.dispatch(Caller::Local, call)));
        let mut gone = [0; 1];
        let reply = loop {
            tokio::select! {
                biased;
                Some(progress) = progress.recv() => {
                    let body = rmp_serde::to_vec_named(&progress).map_err(io::Error::other)?;
                    write_frame(&mut stream, KIND_PROGRESS, &body).await?;
                }
                reply = &mut running => break reply,
                // A caller that goes away gives the command up: dropping it leaves nothing half done.
                read = stream.read(&mut gone) => match read? {
                    0 => return Ok(()),
                    _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a second call before the reply")),
                },
            }
        };
        write_frame(&mut stream, KIND_REPLY, &reply.encode()).await?;
    }
    Ok(())
}

async fn read_frame(stream: &mut UnixStream) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; 5];
    match stream.read_exact(&mut head).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let (kind, len) = parse_head(head)?;
    let mut body = Vec::new();
    // Grows with what arrives: a length alone reserves nothing.
    stream.take(len).read_to_end(&mut body).await?;
    Ok(Some((kind, body)))
}

fn parse_head([a, b, c, d, kind]: [u8; 5]) -> io::Result<(u8, u64)> {
    let len = u32::from_be_bytes([a, b, c, d]);
    if usize::try_from(len).is_ok_and(|len| len <= FRAME_MAX) {
        Ok((kind, u64::from(len)))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "frame too large"))
    }
}

fn head(kind: u8, body: &[u8]) -> io::Result<[u8; 5]> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "frame too large");
    let len = u32::try_from(body.len()).map_err(|_| too_large())?;
    if body.len() > FRAME_MAX {
        return Err(too_large());
    }
    let [a, b, c, d] = len.to_be_bytes();
    Ok([a, b, c, d, kind])
}

async fn write_frame(stream: &mut UnixStream, kind: u8, body: &[u8]) -> io::Result<()> {
    stream.write_all(&head(kind, body)?).await?;
    stream.write_all(body).await
}

/// Why a command got no result over the control socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens.
    #[error("no node is running with the home {}", home.display())]
    NoNode {
        /// The home asked for.
        home: PathBuf,
    },
    /// The socket is somebody else's.
    #[error("not allowed to talk to the node with the home {}", home.display())]
    Denied {
        /// The home asked for.
        home: PathBuf,
    },
    /// The connection failed.
    #[error("the connection to the node failed: {0}")]
    Broken(io::Error),
    /// The node went away before it answered.
    #[error("the node stopped before it answered")]
    Closed,
    /// The command failed.
    #[error("{0}")]
    Failed(Failure),
}

/// A connection to the running node, for a program that does one thing at a time.
#[derive(Debug)]
pub struct Client {
    stream: BlockingStream,
}

impl Client {
    /// Connects to the node with this home.
    ///
    /// # Errors
    /// When no node runs there or it is another user's.
    pub fn connect(home: &crate::home::Home) -> Result<Self, ControlError> {
        let stream = BlockingStream::connect(home.control_socket()).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ControlError::NoNode { home: home.dir().to_owned() }
            }
            io::ErrorKind::PermissionDenied => ControlError::Denied { home: home.dir().to_owned() },
            _ => ControlError::Broken(error),
        })?;
        Ok(Self { stream })
    }

    /// Runs a command; `progress` sees how far it is.
    ///
    /// # Errors
    /// Why there is no result.
    pub fn call<C: Command>(&mut self, command: &C, progress: impl FnMut(Progress)) -> Result<C::Reply, ControlError> {
        let call = Call::new(fresh_id(), command, 0);
        self.exchange(&call, progress)?.result().map_err(ControlError::Failed)
    }

    /// Runs a command by name.
    ///
    /// # Errors
    /// Why there is no result.
    pub fn call_untyped(
        &mut self,
        name: CommandName,
        params: &Value,
        progress: impl FnMut(Progress),
    ) -> Result<Value, ControlError> {
        let call = Call::untyped(fresh_id(), name, params, 0);
        self.exchange(&call, progress)?.value().map_err(ControlError::Failed)
    }

    fn exchange(&mut self, call: &Call, mut progress: impl FnMut(Progress)) -> Result<Reply, ControlError> {
        let body = call.encode();
        let head = head(KIND_CALL, &body).map_err(ControlError::Broken)?;
        self.stream.write_all(&head).and_then(|()| self.stream.write_all(&body)).map_err(ControlError::Broken)?;
        loop {
            let (kind, body) = self.read_frame()?;
            match kind {
                KIND_PROGRESS => progress(decode(&body)?),
                KIND_REPLY => {
                    let reply = Reply::decode(&body);
                    return reply.map_err(|error| ControlError::Broken(io::Error::other(error)));
                }
                _ => {}
            }
        }
    }

    fn read_frame(&mut self) -> Result<(u8, Vec<u8>), ControlError> {
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ControlError::Closed,
            _ => ControlError::Broken(error),
        };
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).map_err(broken)?;
        let (kind, len) = parse_head(head).map_err(broken)?;
        let mut body = Vec::new();
        let read = Read::by_ref(&mut self.stream).take(len).read_to_end(&mut body).map_err(broken)?;
        if u64::try_from(read).is_ok_and(|read| read < len) { Err(ControlError::Closed) } else { Ok((kind, body)) }
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ControlError> {
    rmp_serde::from_slice(body).map_err(|error| ControlError::Broken(io::Error::other(error)))
}

/// An id that no other call has.
pub fn fresh_id() -> MessageId {
    let mut id = [0; 16];
    randomness().fill_bytes(&mut id);
    MessageId::new(id)
}
