//! What scenarios let nodes do beside asking each other.

use wend_packet::DestinationHash;
use wend_packet::stack::Destination;

use super::build::APP_DATA;
use super::{NodeId, World};

impl World {
    /// The address of one of a node's destinations.
    pub fn destination(&self, of: NodeId, index: usize) -> Option<DestinationHash> {
        self.nodes[of.0].destinations.get(index).map(Destination::hash)
    }

    /// Announces one of a node's destinations on all its interfaces.
    pub fn announce(&mut self, node: NodeId, index: usize) {
        let now = self.now;
        let Some(destination) = self.destination(node, index) else { return };
        if let Some(honest) = self.nodes[node.0].honest_mut() {
            honest.stack.announce(now, destination, &APP_DATA).expect("a registered destination");
            self.settle(node.0);
        }
    }

    /// Asks for a path.
    pub fn request_path(&mut self, node: NodeId, to: DestinationHash) {
        let now = self.now;
        if let Some(honest) = self.nodes[node.0].honest_mut() {
            honest.stack.request_path(now, to);
            self.settle(node.0);
        }
    }

    /// Sends a single packet. Says whether the sender knows the key it is encrypted to.
    pub fn send_packet(&mut self, from: NodeId, to: DestinationHash, payload: &[u8]) -> bool {
        let now = self.now;
        let Some(honest) = self.nodes[from.0].honest_mut() else { return false };
        let sent = honest.stack.send(now, to, payload).is_ok();
        self.log.packets += usize::from(sent);
        self.settle(from.0);
        sent
    }

    /// Keeps a list of the paths a node loses from now on.
    pub fn watch_losses(&mut self, node: NodeId) {
        if let Some(honest) = self.nodes[node.0].honest_mut() {
            honest.lost = Some(Vec::new());
        }
    }

    /// The paths a node lost since it is watched, in the order it did.
    pub fn losses(&self, node: NodeId) -> &[DestinationHash] {
        self.nodes[node.0].honest().and_then(|honest| honest.lost.as_deref()).unwrap_or_default()
    }

    /// How many single packets were proved to their sender so far.
    pub fn proved(&self) -> usize {
        self.log.proved
    }
}
