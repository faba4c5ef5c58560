//! Bringing the catalog into agreement with another node's: the dialogue of `genome/sync`, carried as commands.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wend_commands::builtin::genome::{Sync, SyncReply};
use wend_commands::{Blob, Call, Code, Failure};
use wend_genome::catalog::Summary;
use wend_genome::gossip::sync::{Limits, Traffic};
use wend_packet::DestinationHash;

use super::core::Neighbour;
use super::genome::GenomeHandle;
use super::mesh::Mesh;
use crate::control::{self, fresh_id};

/// How long one request of an unasked dialogue may take.
const PATIENCE_UNASKED: Duration = Duration::from_secs(120);
/// Requests that are repeated after a failure before a dialogue is given up.
const LOST_MAX: u32 = 2;
/// Links from here on carry everything unasked. docs/protocol/mesh.md, Catalog sync, class B.
const UNLIMITED_FROM_BPS: u64 = 64_000;
/// Share of a slower link that dialogues nobody asked for may take.
const UNASKED_SHARE: u64 = 10;
/// The unasked share of so long is the most that can be saved up.
const BUCKET: Duration = Duration::from_secs(3600);
/// Page on a slow link: a lost reply costs no more than this.
const PAGE_SLOW: usize = 2048;
/// A dialogue with less than this to spend is not worth its beginning.
const WORTHWHILE: u64 = 512;

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

/// What may be spent unasked on slow links: a token bucket for each bitrate class of neighbour.
#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled: Instant,
}

impl Bucket {
    fn full(bitrate_bps: u64) -> Self {
        Self { tokens: Self::capacity(bitrate_bps), filled: Instant::now() }
    }

    fn capacity(bitrate_bps: u64) -> u64 {
        Self::share(bitrate_bps, BUCKET)
    }

    fn share(bitrate_bps: u64, during: Duration) -> u64 {
        let bytes = u128::from(bitrate_bps) * during.as_millis() / 8000 / u128::from(UNASKED_SHARE);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// What may be spent now.
    fn available(&mut self, bitrate_bps: u64) -> u64 {
        let earned = Self::share(bitrate_bps, self.filled.elapsed());
        if earned > 0 {
            self.filled = Instant::now();
            self.tokens = self.tokens.saturating_add(earned).min(Self::capacity(bitrate_bps));
        }
        self.tokens
    }
}

/// Keeps the catalog in agreement with direct neighbours, unasked: whenever an announce shows that one differs.
pub(super) async fn with_neighbours(
    mut offered: mpsc::Receiver<Neighbour>,
    mesh: Mesh,
    genome: GenomeHandle,
    cancel: CancellationToken,
) {
    let mut buckets: BTreeMap<DestinationHash, Bucket> = BTreeMap::new();
    loop {
        let neighbour = tokio::select! {
            () = cancel.cancelled() => return,
            offered = offered.recv() => match offered {
                Some(neighbour) => neighbour,
                None => return,
            },
        };
        let Neighbour { destination, catalog, bitrate_bps } = neighbour;
        let fast = bitrate_bps >= UNLIMITED_FROM_BPS;
        let limits = if fast {
            Limits::default()
        } else {
            if buckets.len() >= super::NEIGHBOURS {
                buckets.clear();
            }
            let bucket = buckets.entry(destination).or_insert_with(|| Bucket::full(bitrate_bps));
            Limits { page_bytes: PAGE_SLOW, budget_bytes: bucket.available(bitrate_bps) }
        };
        if limits.budget_bytes < WORTHWHILE {
            continue;
        }
        let announced = Summary { count: catalog.count, root: *catalog.root.as_bytes() };
        let dialogue = with(destination, Some(announced), limits, PATIENCE_UNASKED, &mesh, &genome);
        let ended = tokio::select! {
            () = cancel.cancelled() => return,
            ended = dialogue => ended,
        };
        match ended {
            Ok(outcome) => {
                if let Some(bucket) = buckets.get_mut(&destination) {
                    bucket.tokens = bucket.tokens.saturating_sub(outcome.traffic.total());
                }
                let (received, sent, bytes) = (outcome.received, outcome.sent, outcome.traffic.total());
                tracing::info!(dst = ?destination, received, sent, bytes, "catalog synced with a neighbour");
            }
            Err(failure) => tracing::debug!(dst = ?destination, %failure, "catalog not synced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unasked_budget_is_a_tenth_of_an_hour_of_the_link() {
        assert_eq!(Bucket::capacity(9600), 9600 / 8 * 3600 / 10);
        let mut bucket = Bucket::full(9600);
        bucket.tokens = 0;
        bucket.filled -= Duration::from_secs(100);
        assert_eq!(bucket.available(9600), 12_000);
    }
}
