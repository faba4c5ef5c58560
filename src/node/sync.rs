//! Bringing the catalog into agreement with another node's: the dialogue of `genome/sync`, carried as commands.

use std::time::{Duration, Instant};

use wend_commands::builtin::genome::{Sync, SyncReply};
use wend_commands::{Blob, Call, Code, Failure};
use wend_genome::catalog::Summary;
use wend_genome::gossip::sync::{Limits, Traffic};
use wend_packet::DestinationHash;

use super::genome::GenomeHandle;
use super::mesh::Mesh;
use crate::control::{self, fresh_id};

/// Requests that are repeated after a failure before a dialogue is given up.
const LOST_MAX: u32 = 2;
/// What a dialogue brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Cards that are new here.
    pub received: usize,
    /// Cards that were given.
    pub sent: usize,
    /// Bytes.
    pub traffic: Traffic,
    /// Whether both catalogs are equal as far as this node knows.
    pub equal: bool,
    /// From the first request on.
    pub took: Duration,
}

/// Runs one dialogue with the node at `to` until both agree, `limits` are spent, or it fails.
///
/// # Errors
/// When requests go unanswered, are refused, or the peer does not keep to the protocol. What came before is kept.
pub(super) async fn with(
    to: DestinationHash,
    announced: Option<Summary>,
    limits: Limits,
    patience: Duration,
    mesh: &Mesh,
    genome: &GenomeHandle,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let Some(mut dialogue) = genome.ask_sync(announced, limits).await? else {
        return Ok(Outcome { equal: true, ..Outcome::default() });
    };
    let mut outcome = Outcome::default();
    let mut lost = 0;
    loop {
        let request;
        (dialogue, request) = dialogue.poll_request().await?;
        let Some(payload) = request else { break };
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Failure::new(
                Code::EXPIRED,
                format!(
                    "the catalogs were not in agreement after {} s; what came is kept, run it again",
                    patience.as_secs()
                ),
            ));
        }
        let call =
            Call::new(fresh_id(), &Sync { payload: Blob(payload) }, u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
        let reply: SyncReply = match mesh.execute(to, &call, left, None).await {
            Ok(answer) => answer.reply.result()?,
            // Lost with its link: asked again, unless this goes on.
            Err(failure) if failure.code == Code::UNAVAILABLE && lost < LOST_MAX => {
                lost += 1;
                dialogue.handle_lost();
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let bundle;
        (dialogue, bundle) = dialogue.handle_response(reply.payload.0).await.map_err(|failure| {
            Failure::new(failure.code, format!("{to} broke off the sync of catalogs: {}", failure.detail))
        })?;
        if let Some(bundle) = bundle {
            outcome.received += genome.take(bundle).await?;
        }
        control::report("cards received", as_u64(dialogue.asker().received()), 0);
    }
    let asker = dialogue.asker();
    outcome.sent = asker.pushed();
    outcome.traffic = asker.traffic();
    outcome.equal = asker.is_done() && !asker.is_unsettled();
    outcome.took = started.elapsed();
    Ok(outcome)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
