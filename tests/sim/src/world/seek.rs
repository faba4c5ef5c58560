//! Nodes that ask for the paths they lack.

use std::time::Duration;

use wend_packet::DestinationHash;

use super::{NodeId, World};
use crate::random;

/// Media below this many bit/s are slow.
const SLOW_BPS: u64 = 9_600;

impl World {
    /// From `first` on every node asks for one path it lacks every `period`, those on slow media five times as rarely.
    /// Those on a shared channel learn from what others asked for.
    pub fn seek_all(&mut self, first: Duration, period: Duration) {
        let targets: Vec<_> = self.counted.iter().map(|(hash, index)| (*hash, *index)).collect();
        let nodes: Vec<_> = (0..self.nodes.len()).filter(|node| self.nodes[*node].destination().is_some()).collect();
        for node in nodes {
            let bitrates = self.nodes[node].places.values().map(|place| &self.media[place.medium].kind.profile);
            let slow = bitrates.map(|profile| profile.bitrate_bps).min().is_some_and(|slowest| slowest < SLOW_BPS);
            let period = if slow { period * 5 } else { period };
            let mut rng = self.randomness(&format!("seek {node}"));
            let start = first + random::duration_below(&mut rng, period);
            let targets = targets.clone();
            let mut turn = random::below(&mut rng, targets.len().max(1));
            self.every(start, period, move |world| {
                if let Some(next) = world.next_missing(NodeId(node), &targets, turn) {
                    turn = next + 1;
                    world.request_path(NodeId(node), targets[next].0);
                }
            });
        }
    }

    /// The first of `targets` from `turn` on, going round, that a node has no path to.
    fn next_missing(&self, node: NodeId, targets: &[(DestinationHash, usize)], turn: usize) -> Option<usize> {
        let honest = self.nodes[node.0].honest()?;
        let own = self.nodes[node.0].destination()?;
        let missing = |at: &usize| targets[*at].0 != own && !honest.reach.contains(targets[*at].1);
        (0..targets.len()).map(|step| (turn + step) % targets.len()).find(missing)
    }
}
