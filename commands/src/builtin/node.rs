//! Commands about the node itself.

use wend_packet::time::UnixTime;
use wend_packet::{DestinationHash, IdentityHash};

use crate::access::{Access, Level};
use crate::describe::{command, record};
use crate::octets::{Blob, CatalogRoot};
use crate::value::Value;

command! {
    /// Says what a node is: its name, interfaces, hardware and catalog. What is shown of the hardware is what the node
    /// found at its start.
    "node/info", Access::AtLeast(Level::Unknown) => InfoReply;
    pub struct Info {}

    /// Answers at once, with what it was sent. Shows that a node is there and that the caller may call it.
    "node/ping", Access::AtLeast(Level::Unknown) => PingReply;
    pub struct Ping {
        /// Comes back as it is; at most 256 bytes.
        payload: Option<Blob>,
    }

    /// Says how this node is doing: interfaces, paths, links and catalog.
    "node/status", Access::Local => StatusReply;
    pub struct Status {}

    /// Lists the nodes this node knows a path to.
    "node/paths", Access::Local => PathsReply;
    pub struct Paths {
        /// Only destinations whose hash starts with these hexadecimal digits or whose name contains this text.
        matching: Option<String>,
    }

    /// Announces this node now, on all interfaces.
    "node/announce", Access::Local => AnnounceReply;
    pub struct Announce {}

    /// Finds the node that a hash, the beginning of a hash, or a name stands for. Fails when there is none, or more than
    /// one.
    "node/resolve", Access::Local => ResolveReply;
    pub struct Resolve {
        /// Destination hash, the beginning of one that fits only one node, or an announced name.
        node: String,
    }
}

impl Ping {
    /// Longest payload, in bytes.
    pub const MAX_PAYLOAD: usize = 256;
}

record! {
    /// What a node is.
    pub struct InfoReply {
        /// Name it announces; empty for none.
        name: String,
        /// Who it is.
        identity: IdentityHash,
        /// Where to reach it.
        destination: DestinationHash,
        /// Version of Wend it runs.
        version: String,
        /// Seconds since it started.
        uptime_s: u64,
        /// Whether it relays for others.
        transport: bool,
        /// Its interfaces.
        interfaces: Vec<InterfaceSummary>,
        /// What hardware it found.
        hardware: Value,
        /// Live entries in its catalog.
        catalog_count: u32,
        /// Fingerprint of its catalog; nodes with equal ones hold the same entries.
        catalog_root: Option<CatalogRoot>,
    }

    /// An interface, as others may know it.
    pub struct InterfaceSummary {
        /// What its owner calls it.
        name: String,
        /// Its kind, as in the configuration.
        kind: String,
        /// Whether it can carry packets now.
        up: bool,
        /// Bits per second.
        bitrate_bps: u64,
    }

    /// The answer to a ping.
    pub struct PingReply {
        /// What was sent.
        payload: Option<Blob>,
        /// The node's clock.
        time: UnixTime,
    }

    /// How a node is doing.
    pub struct StatusReply {
        /// Name it announces; empty for none.
        name: String,
        /// Who it is.
        identity: IdentityHash,
        /// Where to reach it.
        destination: DestinationHash,
        /// Version of Wend it runs.
        version: String,
        /// Number of its process.
        process: u32,
        /// Folder it keeps everything in.
        home: String,
        /// Seconds since it started.
        uptime_s: u64,
        /// Whether it relays for others.
        transport: bool,
        /// Its interfaces.
        interfaces: Vec<InterfaceStatus>,
        /// Destinations it knows a path to.
        paths: u32,
        /// Open links.
        links: u32,
        /// Live entries in its catalog.
        catalog_count: u32,
        /// Entries among them that it published itself.
        catalog_own: u32,
        /// Fingerprint of its catalog.
        catalog_root: Option<CatalogRoot>,
        /// Model it finds meaning with; none when it goes by words.
        model: Option<String>,
        /// Memory its process occupies, in bytes, where that is known.
        memory_bytes: Option<u64>,
    }

    /// An interface, as its owner may know it.
    pub struct InterfaceStatus {
        /// What its owner calls it.
        name: String,
        /// Its kind, as in the configuration.
        kind: String,
        /// Whether it can carry packets now.
        up: bool,
        /// What it is doing, or why it is down.
        detail: String,
        /// Bits per second.
        bitrate_bps: u64,
        /// Frames received.
        received_frames: u64,
        /// Bytes received.
        received_bytes: u64,
        /// Frames sent.
        sent_frames: u64,
        /// Bytes sent.
        sent_bytes: u64,
        /// Fingerprint of the closed network on it, 10 hexadecimal digits; none for an open one. Nodes that show the same
        /// can hear each other.
        network: Option<String>,
        /// Frames dropped since it came up, because their access code was missing or wrong.
        access_violations: u64,
        /// Announces of others that wait for their share of it.
        announces_queued: u64,
        /// Announces held back because too many came at once.
        announces_held: u64,
        /// Whether the far end made a tunnel of it, so that the paths over it come back when it reconnects.
        tunnel: bool,
    }

    /// Known paths.
    pub struct PathsReply {
        /// The paths, nearest first.
        paths: Vec<Path>,
    }

    /// A path to a node.
    pub struct Path {
        /// Where it leads.
        destination: DestinationHash,
        /// Who is there.
        identity: Option<IdentityHash>,
        /// Name it announces; empty for none, or when it is no Wend node.
        name: String,
        /// Distance; 1 is a direct neighbour.
        hops: u8,
        /// Next node on the way; none for a direct neighbour.
        via: Option<IdentityHash>,
        /// Interface it was heard on.
        interface: String,
        /// Seconds since it was heard.
        age_s: u64,
        /// Seconds until it expires.
        expires_in_s: u64,
    }

    /// An announce that went out.
    pub struct AnnounceReply {
        /// Destination that was announced.
        destination: DestinationHash,
        /// Interfaces it went to that are up.
        interfaces: Vec<String>,
    }

    /// A node that was asked for.
    pub struct ResolveReply {
        /// Where to reach it.
        destination: DestinationHash,
        /// Who it is, when it was heard.
        identity: Option<IdentityHash>,
        /// Name it announces; empty for none.
        name: String,
        /// Distance, when a path is known.
        hops: Option<u8>,
    }
}
