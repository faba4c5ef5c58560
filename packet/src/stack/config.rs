//! What a stack is told at its start, and how large its tables may grow.

use crate::identity::Identity;
use crate::proof::ProofForm;

/// How much memory a node may use for what others make it remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Footprint {
    /// A router or a single-board computer: about 2 MB with every table full, 2 MB of resources that arrive, and at most
    /// 0.8 MB for each interface's queue.
    Tiny,
    /// A laptop: about 15 MB with every table full, and 16 MB of resources that arrive. Empty tables take nothing.
    #[default]
    Standard,
    /// A transport node that carries others' traffic all day: about 250 MB with every table full.
    Hub,
}

/// Capacities of the tables, in entries. Every table states what leaves when it is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacities {
    /// Known destinations: key, app data, ratchet. The one announced or used longest ago leaves, but none that is retained.
    pub known: usize,
    /// Identities that are shut out. One that another node names is not taken any more; one that the owner names takes the
    /// place of the oldest of the source that has most, and is refused when all are the owner's.
    pub blackhole: usize,
    /// Paths. The one announced or used longest ago leaves.
    pub paths: usize,
    /// Announces waiting to be sent on, or to be sent on again. Of those that were sent on already the one that was longest ago
    /// leaves, else the one heard longest ago.
    pub rebroadcasts: usize,
    /// Destinations that announced themselves more than once, and how often: of one announce the path keeps the time. The one
    /// announced longest ago leaves, and starts afresh.
    pub rates: usize,
    /// Relayed announces waiting for their share of one interface. Of those from the interface that most of them came from,
    /// the farthest and then the youngest leaves.
    pub queued_announces: usize,
    /// Path responses waiting to be sent, half of them at most to one interface. A further one is not made.
    pub responses: usize,
    /// Ways back for proofs. The oldest leaves.
    pub reverse: usize,
    /// Connections that others made tunnels of. The one that was made, or taught a path, longest ago leaves.
    pub tunnels: usize,
    /// Paths kept for the return of such connections, of all together. The oldest of the tunnel that has most leaves.
    pub tunnel_paths: usize,
    /// Links carried for others. The one used longest ago leaves. A quarter as many more may wait for their proof; of those,
    /// the one that would go first on the interface that asked most leaves.
    pub relays: usize,
    /// Links of this node, a quarter of them kept for those it opens itself. When others have opened all the rest, the oldest
    /// that is not established leaves, then the oldest whose initiator has not identified, on the interface that has most of
    /// them; when all have, a further one is refused.
    pub links: usize,
    /// Bytes that resources may hold that arrive on links others opened, all together. Beyond that the link that holds most
    /// is closed, of those whose initiator has not identified first.
    pub arriving_bytes: usize,
    /// Path requests of each kind: in flight, waiting for discovery, made by this node. The oldest leaves.
    pub path_requests: usize,
    /// Tags of path requests in one of two generations; the older generation is forgotten as a whole.
    pub tags: usize,
    /// Packet hashes in one of two generations; the older generation is forgotten as a whole. The reference keeps 500000,
    /// which alone would take more than the 30 MB that a whole node may have at rest.
    pub packet_hashes: usize,
    /// Keys that this node encrypts to, with what it prepares for them: up to 40 kB for each that is in frequent use. The one
    /// used longest ago leaves. As many keys that proofs come from, with 56 kB for each in frequent use.
    pub exchanges: usize,
    /// Packets of this node waiting for their proof; the oldest is given up. As many received ones may wait for the
    /// application to decide about their proof; the oldest goes unproved.
    pub receipts: usize,
    /// Announces waiting for their signature to be checked. A further one is dropped.
    pub admission: usize,
    /// Announces held back on one interface while it bursts. A further destination is not held.
    pub held: usize,
    /// Frames waiting in one interface's queue, for each class.
    pub queue: usize,
    /// Bytes in them, for each class.
    pub queue_bytes: usize,
}

impl Capacities {
    /// The capacities of a footprint.
    pub const fn of(footprint: Footprint) -> Self {
        match footprint {
            Footprint::Tiny => Self {
                known: 256,
                blackhole: 256,
                paths: 256,
                rebroadcasts: 128,
                rates: 256,
                queued_announces: 256,
                responses: 64,
                reverse: 512,
                tunnels: 16,
                tunnel_paths: 128,
                relays: 64,
                links: 32,
                arriving_bytes: 2 << 20,
                path_requests: 128,
                tags: 512,
                packet_hashes: 4096,
                exchanges: 1,
                receipts: 128,
                admission: 32,
                held: 64,
                queue: 128,
                queue_bytes: 1 << 18,
            },
            Footprint::Standard => Self {
                known: 4096,
                blackhole: 4096,
                paths: 4096,
                rebroadcasts: 1024,
                rates: 4096,
                queued_announces: 1024,
                responses: 256,
                reverse: 4096,
                tunnels: 256,
                tunnel_paths: 2048,
                relays: 1024,
                links: 256,
                arriving_bytes: 16 << 20,
                path_requests: 1024,
                tags: 4096,
                packet_hashes: 32768,
                exchanges: 4,
                receipts: 1024,
                admission: 256,
                held: 256,
                queue: 1024,
                queue_bytes: 1 << 21,
            },
            Footprint::Hub => Self {
                known: 1 << 17,
                blackhole: 16384,
                paths: 1 << 17,
                rebroadcasts: 32768,
                rates: 32768,
                queued_announces: 4096,
                responses: 1024,
                reverse: 65536,
                tunnels: 4096,
                tunnel_paths: 32768,
                relays: 16384,
                links: 1024,
                arriving_bytes: 64 << 20,
                path_requests: 4096,
                tags: 16000,
                packet_hashes: 500_000,
                exchanges: 16,
                receipts: 1024,
                admission: 1024,
                held: 256,
                queue: 2048,
                queue_bytes: 1 << 23,
            },
        }
    }
}

/// What a [`Stack`](super::Stack) is told at its start.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Whether this node carries packets and answers path requests for others. Off by default.
    pub transport_enabled: bool,
    /// Whether this node is a program that uses the interfaces of another node on the same machine, by its only interface.
    /// It then carries nothing. Off by default. docs/protocol/1-core.md, section 5.10.
    pub behind_shared_instance: bool,
    /// Transport identity: its hash names this node as next hop. docs/protocol/1-core.md, section 5.1.
    pub identity: Identity,
    /// Hop byte of own packets: 0, or 2 to 7 to hide that they start here. docs/protocol/1-core.md, section 5.9.
    pub local_hops_delta: u8,
    /// Form of the proofs this node makes; both forms are always accepted.
    pub proof_form: ProofForm,
    /// Sizes of the tables.
    pub capacities: Capacities,
}

impl StackConfig {
    /// Defaults for a node with this transport identity: a leaf, on a laptop.
    pub const fn new(identity: Identity) -> Self {
        Self {
            transport_enabled: false,
            behind_shared_instance: false,
            identity,
            local_hops_delta: 0,
            proof_form: ProofForm::Implicit,
            capacities: Capacities::of(Footprint::Standard),
        }
    }
}
