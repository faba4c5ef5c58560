//! Keeps the catalog in agreement with direct neighbours, unasked, within what their links can bear.
//! docs/protocol/mesh.md, Catalog sync.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wend_commands::announce_data::CatalogSummary;
use wend_genome::catalog::Summary;
use wend_genome::gossip::sync::Limits;
use wend_packet::DestinationHash;
use wend_packet::stack::InterfaceId;

use super::genome::GenomeHandle;
use super::mesh::Mesh;
use super::sync;

/// How long one unasked dialogue may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Links from here on carry everything unasked: class B.
const UNLIMITED_FROM_BPS: u64 = 64_000;
/// One part in so many of a slower link may go to dialogues nobody asked for.
const UNASKED_SHARE: u64 = 10;
/// The unasked share of so long is the most that can be saved up.
const BUCKET: Duration = Duration::from_secs(3600);
/// Page on a slow link: a lost reply costs no more than this. Also what a dialogue that failed is charged.
const PAGE_SLOW: usize = 2048;
/// A dialogue with less than this to spend, in bytes, is not worth its beginning.
const WORTHWHILE: u64 = 512;
/// Neighbours that are waited for at once; the one whose turn comes last leaves.
const WAITING_MAX: usize = 32;
/// Interfaces whose budget is remembered; beyond that the fullest bucket is forgotten, since it starts full again.
const BUCKETS_MAX: usize = 64;
/// A dialogue that was not finished goes on after this long, and then after twice as long, a few times.
const RETRY: Duration = Duration::from_secs(60);
/// How often an unfinished dialogue goes on before the next announce has to bring it up again.
const RETRIES: u32 = 5;

/// A neighbour whose catalog may differ from this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Where.
    pub(super) destination: DestinationHash,
    /// Its catalog, as announced.
    pub(super) catalog: CatalogSummary,
    /// The interface it was heard on.
    pub(super) on: InterfaceId,
    /// Bits per second of that interface.
    pub(super) bitrate_bps: u64,
}

/// What may be spent unasked on one slow interface.
#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled: Instant,
}

/// Bytes that a link's unasked share comes to in so long.
fn share(bitrate_bps: u64, during: Duration) -> u64 {
    let bytes = u128::from(bitrate_bps) * during.as_millis() / 8000 / u128::from(UNASKED_SHARE);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Bucket {
    fn full(bitrate_bps: u64) -> Self {
        Self { tokens: share(bitrate_bps, BUCKET), filled: Instant::now() }
    }

    /// What may be spent now.
    fn available(&mut self, bitrate_bps: u64) -> u64 {
        let earned = share(bitrate_bps, self.filled.elapsed());
        if earned > 0 {
            self.filled = Instant::now();
            self.tokens = self.tokens.saturating_add(earned).min(share(bitrate_bps, BUCKET));
        }
        self.tokens
    }
}

#[derive(Debug)]
struct Turn {
    neighbour: Neighbour,
    at: Instant,
    tries: u32,
}

/// Whose turn it is, and what may be spent.
#[derive(Debug, Default)]
struct Plan {
    turns: BTreeMap<DestinationHash, Turn>,
    buckets: BTreeMap<InterfaceId, Bucket>,
}

impl Plan {
    /// An announce shows that a neighbour differs: its turn is now, and counts anew.
    fn offer(&mut self, neighbour: Neighbour) {
        self.turns.insert(neighbour.destination, Turn { neighbour, at: Instant::now(), tries: 0 });
        if self.turns.len() > WAITING_MAX
            && let Some(last) = self.turns.values().max_by_key(|turn| turn.at).map(|turn| turn.neighbour.destination)
        {
            self.turns.remove(&last);
        }
    }

    fn next(&self) -> Option<Instant> {
        self.turns.values().map(|turn| turn.at).min()
    }

    /// The neighbour whose turn has come.
    fn take(&mut self) -> Option<(Neighbour, u32)> {
        let now = Instant::now();
        let due = self.turns.values().filter(|turn| turn.at <= now).min_by_key(|turn| turn.at)?.neighbour.destination;
        let turn = self.turns.remove(&due)?;
        Some((turn.neighbour, turn.tries))
    }

    /// It has to be tried again.
    fn later(&mut self, neighbour: Neighbour, tries: u32) {
        if tries < RETRIES {
            let at = Instant::now() + RETRY * 2_u32.pow(tries);
            self.turns.insert(neighbour.destination, Turn { neighbour, at, tries: tries + 1 });
        }
    }

    /// What a dialogue with this neighbour may cost now.
    fn limits(&mut self, neighbour: &Neighbour) -> Limits {
        if neighbour.bitrate_bps >= UNLIMITED_FROM_BPS {
            return Limits::default();
        }
        if self.buckets.len() >= BUCKETS_MAX
            && !self.buckets.contains_key(&neighbour.on)
            && let Some(fullest) = self.buckets.iter().max_by_key(|(_, bucket)| bucket.tokens).map(|(id, _)| *id)
        {
            self.buckets.remove(&fullest);
        }
        let bucket = self.buckets.entry(neighbour.on).or_insert_with(|| Bucket::full(neighbour.bitrate_bps));
        Limits { page_bytes: PAGE_SLOW, budget_bytes: bucket.available(neighbour.bitrate_bps) }
    }

    fn charge(&mut self, neighbour: &Neighbour, bytes: u64) {
        if let Some(bucket) = self.buckets.get_mut(&neighbour.on) {
            bucket.tokens = bucket.tokens.saturating_sub(bytes);
        }
    }
}

/// Runs one dialogue after the other until `cancel`.
pub(super) async fn keep_in_agreement(
    mut offered: mpsc::Receiver<Neighbour>,
    mesh: Mesh,
    genome: GenomeHandle,
    cancel: CancellationToken,
) {
    let mut plan = Plan::default();
    loop {
        let wake = plan.next();
        tokio::select! {
            () = cancel.cancelled() => return,
            neighbour = offered.recv() => match neighbour {
                Some(neighbour) => plan.offer(neighbour),
                None => return,
            },
            () = super::core::sleep_until(wake) => {}
        }
        let Some((neighbour, tries)) = plan.take() else { continue };
        let limits = plan.limits(&neighbour);
        if limits.budget_bytes < WORTHWHILE {
            plan.later(neighbour, tries);
            continue;
        }
        let destination = neighbour.destination;
        let announced = Summary { count: neighbour.catalog.count, root: *neighbour.catalog.root.as_bytes() };
        let ended = tokio::select! {
            () = cancel.cancelled() => return,
            ended = sync::with(destination, Some(announced), limits, PATIENCE, &mesh, &genome) => ended,
        };
        match ended {
            Ok(outcome) => {
                let (received, sent, bytes) = (outcome.received, outcome.sent, outcome.traffic.total());
                plan.charge(&neighbour, bytes);
                tracing::info!(dst = ?destination, received, sent, bytes, "catalog synced with a neighbour");
                if !outcome.equal {
                    plan.later(neighbour, tries);
                }
            }
            Err(failure) => {
                plan.charge(&neighbour, u64::try_from(PAGE_SLOW).unwrap_or(u64::MAX));
                tracing::debug!(dst = ?destination, %failure, "catalog not synced");
                plan.later(neighbour, tries);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wend_commands::CatalogRoot;

    use super::*;

    fn neighbour(number: u8, bitrate_bps: u64) -> Neighbour {
        Neighbour {
            destination: DestinationHash::new([number; 16]),
            catalog: CatalogSummary { count: 1, root: CatalogRoot::new([number; 8]) },
            on: InterfaceId(1),
            bitrate_bps,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn neighbours_on_one_slow_link_share_a_tenth_of_it() {
        let mut plan = Plan::default();
        assert_eq!(plan.limits(&neighbour(1, 9600)).budget_bytes, 9600 / 8 * 3600 / 10);
        plan.charge(&neighbour(1, 9600), u64::MAX);
        assert_eq!(plan.limits(&neighbour(2, 9600)).budget_bytes, 0, "another name on the same link gets no more");
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(plan.limits(&neighbour(2, 9600)).budget_bytes, 12_000);
        assert_eq!(plan.limits(&neighbour(3, 10_000_000)).budget_bytes, u64::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_dialogue_goes_on_later_and_not_for_ever() {
        let mut plan = Plan::default();
        plan.offer(neighbour(1, 9600));
        let mut times = 0;
        while let Some(next) = plan.next() {
            tokio::time::advance(next.saturating_duration_since(Instant::now())).await;
            let (neighbour, tries) = plan.take().expect("its turn has come");
            plan.later(neighbour, tries);
            times += 1;
        }
        assert_eq!(times, 1 + RETRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn the_neighbours_that_wait_are_bounded() {
        let mut plan = Plan::default();
        for number in 0..100 {
            plan.offer(neighbour(number, 9600));
        }
        assert_eq!(plan.turns.len(), WAITING_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_come_and_go_leave_few_budgets_and_one_that_was_spent_stays_spent() {
        let mut plan = Plan::default();
        let on = |interface: usize| Neighbour { on: InterfaceId(interface as u32), ..neighbour(1, 9600) };
        plan.limits(&on(0));
        plan.charge(&on(0), u64::MAX);
        for interface in 1..10 * BUCKETS_MAX {
            plan.limits(&on(interface));
            assert!(plan.buckets.len() <= BUCKETS_MAX);
        }
        assert_eq!(plan.limits(&on(0)).budget_bytes, 0);
    }
}
