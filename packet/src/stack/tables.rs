//! How full the tables are.

use super::Stack;

/// One table of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSize {
    /// What it holds, as its bound is named in [`Capacities`](super::Capacities).
    pub name: &'static str,
    /// Entries now.
    pub entries: usize,
    /// Most entries.
    pub bound: usize,
}

impl Stack {
    /// How full the tables are that others fill most. Those that interfaces have are given for the interface that has most.
    pub fn table_sizes(&self) -> Vec<TableSize> {
        let sizes = &self.config.capacities;
        let held = self.interfaces.values().map(|interface| interface.held.len()).max().unwrap_or_default();
        let requests = [self.in_flight.len(), self.waiting.len(), self.requested.len()];
        [
            ("known", self.known.len(), sizes.known),
            ("paths", self.paths.len(), sizes.paths),
            ("rebroadcasts", self.rebroadcasts.len(), sizes.rebroadcasts),
            ("responses", self.responses.len(), sizes.responses),
            ("reverse", self.reverse.len(), sizes.reverse),
            ("relays", self.relays.iter().count(), sizes.relays.saturating_add(sizes.relays.div_ceil(4))),
            ("links", self.links.len(), sizes.links),
            ("path_requests", requests.into_iter().max().unwrap_or_default(), sizes.path_requests),
            ("receipts", self.receipts.len(), sizes.receipts),
            ("held", held, sizes.held),
        ]
        .map(|(name, entries, bound)| TableSize { name, entries, bound })
        .into()
    }
}
