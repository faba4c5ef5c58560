//! Running a command on another node: find a path, have a link, make the request, all under one deadline.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wend_commands::{Call, Code, Failure, Reply, envelope};
use wend_packet::DestinationHash;
use wend_packet::link::LinkError;
use wend_packet::stack::RequestError;

use super::calls::{Arriving, CoreHandle, LinkFailure, OwnRequest, RequestFailure, Stopped};
use super::peers::Resolved;

/// How long a caller waits when it does not say.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// A request that got no answer is repeated after this, and four round trips: single packets are not repeated by the link.
/// Each further attempt waits twice as long.
const ATTEMPT: Duration = Duration::from_secs(6);
/// How often somebody who does not answer is asked for a link: frames get lost, but a node that has gone should be known
/// to be gone before a caller's patience ends.
const LINK_ATTEMPTS: u32 = 3;
/// How long to wait for room on a link that carries as many requests as it may.
const FULL: Duration = Duration::from_millis(200);
/// Largest reply that is accepted: one resource segment.
const RESPONSE_MAX: usize = 1 << 20;

/// The other nodes, as seen from this one; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Mesh {
    core: CoreHandle,
}

/// A reply, and how it came.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The reply.
    pub reply: Reply,
    /// Distance in hops.
    pub hops: u8,
    /// From the request's leaving to the whole response.
    pub took: Duration,
    /// Whether the link was open already.
    pub reused: bool,
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::new(Code::UNAVAILABLE, stopped.to_string())
    }
}

impl Mesh {
    /// The mesh behind this core.
    pub(super) fn new(core: CoreHandle) -> Self {
        Self { core }
    }

    /// The destination of the node a person names: by hash, unique head of a hash, or announced name.
    ///
    /// # Errors
    /// When nothing or more than one thing fits.
    pub(super) async fn resolve(&self, text: &str) -> Result<DestinationHash, Failure> {
        match self.core.resolve(text).await? {
            Resolved::One(destination) => Ok(destination),
            Resolved::Nobody => Err(Failure::new(
                Code::UNAVAILABLE,
                format!(
                    "no node called {text:?} has been heard; `wend paths` lists those that were, and a whole \
                     destination hash reaches one that was not"
                ),
            )),
            Resolved::Several(all) => {
                let names: Vec<String> = all.iter().take(4).map(ToString::to_string).collect();
                Err(Failure::new(
                    Code::INVALID,
                    format!("{text:?} fits {} nodes; name one by its hash: {}", all.len(), names.join(", ")),
                ))
            }
        }
    }

    /// A node as a person knows it, for messages: its name and the head of its hash, or the whole hash where it has no name.
    pub(super) async fn called(&self, destination: DestinationHash) -> String {
        match self.core.node(destination).await {
            Ok(node) if !node.name.is_empty() => {
                format!("{} ({})", node.name, destination.to_string().chars().take(8).collect::<String>())
            }
            _ => destination.to_string(),
        }
    }

    /// Runs a call on the node at `to` and waits for its reply.
    ///
    /// What gets no answer is asked again, over a new link where the old one turns out to be dead. The far node runs the
    /// call once: it knows it by its id.
    ///
    /// # Errors
    /// When no reply came; what the command itself answered, also a refusal, is in the reply.
    pub(super) async fn execute(
        &self,
        to: DestinationHash,
        call: &Call,
        patience: Duration,
        arriving: Option<mpsc::Sender<Arriving>>,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + patience;
        let who = self.called(to).await;
        let late = |what: &str| Failure::new(Code::EXPIRED, format!("{what} within {} s", patience.as_secs()));
        let hops = self.core.find_path(to, patience).await?.ok_or_else(|| {
            Failure::new(
                Code::UNAVAILABLE,
                format!(
                    "no path to {who} was found within {} s; check that it is up and that a chain of links leads to it, \
                     which begins with those that `wend status` shows",
                    patience.as_secs()
                ),
            )
        })?;
        let (mut attempt, mut unanswered) = (1, 0);
        loop {
            let opened = tokio::time::timeout_at(deadline, self.core.link(to)).await;
            let link = match opened.map_err(|_| late(&format!("no link to {who} was made")))? {
                Ok(link) => link,
                Err(LinkFailure::Stopped(stopped)) => return Err(stopped.into()),
                Err(LinkFailure::NoAnswer) if unanswered + 1 < LINK_ATTEMPTS && Instant::now() < deadline => {
                    unanswered += 1;
                    // The failure may have cost the path too.
                    self.core.find_path(to, deadline.saturating_duration_since(Instant::now())).await?;
                    continue;
                }
                Err(failure) => {
                    return Err(Failure::new(
                        Code::UNAVAILABLE,
                        format!("{who} cannot be reached, {failure}; it may have gone, try again in a moment"),
                    ));
                }
            };
            let sent = Instant::now();
            let left = deadline.saturating_duration_since(sent);
            let request = OwnRequest {
                link: link.link,
                path: envelope::PATH,
                body: call.encode(),
                timeout: left.min((ATTEMPT + link.rtt * 4) * attempt),
                max_response: RESPONSE_MAX,
                arriving: arriving.clone(),
            };
            match self.core.request(request).await? {
                Ok(body) => {
                    let reply = Reply::decode(&body).map_err(|error| {
                        Failure::new(Code::INTERNAL, format!("{who} gave an answer that cannot be read: {error}"))
                    })?;
                    return Ok(Answer { reply, hops, took: sent.elapsed(), reused: link.reused });
                }
                Err(
                    RequestFailure::Failed(RequestError::LinkClosed) | RequestFailure::NotSent(LinkError::NotActive),
                ) if link.reused && Instant::now() < deadline => {}
                Err(RequestFailure::NotSent(LinkError::Full)) if Instant::now() < deadline => {
                    tokio::time::sleep(FULL).await;
                }
                Err(RequestFailure::Failed(RequestError::Timeout)) if Instant::now() < deadline => {
                    attempt = attempt.saturating_mul(2);
                }
                Err(RequestFailure::Failed(RequestError::Timeout)) => {
                    return Err(late(&format!(
                        "{who} gave no answer (it is silent to callers it does not know and on overload)"
                    )));
                }
                Err(error) => return Err(Failure::new(Code::UNAVAILABLE, format!("{who}: {error}; try again"))),
            }
        }
    }
}
