//! A node of ill will: it hears everything on its media and sends whatever it likes.

use bytes::Bytes;

use super::node::Brain;
use super::{MediumId, NodeId, World};

impl World {
    /// Lets an intruder send a frame on a medium it is on.
    pub fn inject(&mut self, intruder: NodeId, on: MediumId, frame: impl Into<Bytes>) {
        let place = self.nodes[intruder.0].places.iter().find(|(_, place)| place.medium == on.0);
        let Some((interface, place)) = place.map(|(interface, place)| (*interface, *place)) else { return };
        if let Brain::Intruder { outbox, .. } = &mut self.nodes[intruder.0].brain {
            outbox.entry(interface).or_default().push_back(frame.into());
            self.ready(place);
        }
    }

    pub(super) fn intruder_hears(&mut self, node: usize, frame: &Bytes) {
        let Brain::Intruder { react, .. } = &mut self.nodes[node].brain else { return };
        let frames = react(frame);
        let media: Vec<_> = self.nodes[node].places.values().map(|place| MediumId(place.medium)).collect();
        for frame in frames {
            for medium in &media {
                self.inject(NodeId(node), *medium, frame.clone());
            }
        }
    }
}
