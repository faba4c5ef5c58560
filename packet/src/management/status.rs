//! How a node is doing, as it tells those who may manage it: requests for `/status` and what answers them.
//! docs/protocol/1-core.md, section 5.7.

use crate::hash::{DestinationHash, IdentityHash, sha256};
use crate::msgpack::{Invalid, Reader, Writer};
use crate::stack::Mode;
use crate::time::UnixTime;

use super::blackhole::seconds;

/// Why a management request gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManagementRequest {
    /// It is no array, or something else stands in it.
    #[error(transparent)]
    Form(#[from] Invalid),
    /// The array is empty.
    #[error("an empty management request")]
    Empty,
    /// It asks for something that is not known.
    #[error("a management request for an unknown table")]
    Unknown,
}

/// What is asked with `/status`: an array of up to two flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRequest {
    /// Whether the number of links in transit is wanted.
    pub links: bool,
    /// Whether profiling data is wanted. There is none: nil answers it.
    pub profiling: bool,
}

impl StatusRequest {
    /// Reads the data of a request.
    ///
    /// # Errors
    /// When it is not an array with a flag: such a request gets no answer.
    pub fn decode(data: &[u8]) -> Result<Self, InvalidManagementRequest> {
        let mut reader = Reader::new(data);
        let len = reader.array()?;
        if len == 0 {
            return Err(InvalidManagementRequest::Empty);
        }
        let links = reader.bool()?;
        let profiling = len > 1 && reader.bool()?;
        Ok(Self { links, profiling })
    }

    /// The data of a request.
    pub fn encode(self) -> Vec<u8> {
        Writer::new().array(2).bool(self.links).bool(self.profiling).into_bytes()
    }
}

/// How often something arrives on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BurstStatistics {
    /// Arrivals per second.
    pub hz: f64,
    /// When the burst began, while there is one.
    pub active_since: Option<UnixTime>,
}

/// What is told of one interface.
#[derive(Debug, Clone, PartialEq)]
pub struct InterfaceStatistics {
    /// Name that no other interface of the node has.
    pub name: String,
    /// What its owner calls it.
    pub short_name: String,
    /// Kind, in words of the implementation.
    pub kind: String,
    /// Name of the interface that took it in.
    pub parent: Option<String>,
    /// Interfaces it took in; absent where it takes none.
    pub clients: Option<u64>,
    /// Whether it can carry packets now.
    pub up: bool,
    /// How it takes part in the network.
    pub mode: Mode,
    /// Bits per second.
    pub bitrate_bps: u64,
    /// Largest frame, in bytes.
    pub mtu: u64,
    /// Preference among paths of the same announce.
    pub gravity: i64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bits received in a second, lately.
    pub received_bps: f64,
    /// Bits sent in a second, lately.
    pub sent_bps: f64,
    /// Announces that arrive.
    pub announces: BurstStatistics,
    /// Path requests that arrive.
    pub path_requests: BurstStatistics,
    /// Announces held back.
    pub held_announces: u64,
    /// Announces that wait to be sent.
    pub queued_announces: u64,
    /// Bytes that wait for the medium.
    pub queued_bytes: u64,
    /// Frames that were not sent for want of room.
    pub lost_frames: u64,
}

/// What is told of the node as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatistics {
    /// Its transport identity.
    pub transport_id: IdentityHash,
    /// Seconds since it started.
    pub uptime_s: f64,
    /// Where it answers probes.
    pub probe_responder: Option<DestinationHash>,
    /// Memory it occupies, in bytes.
    pub resident_bytes: Option<u64>,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceStatistics>,
}

/// The answer to `/status`: an array of the statistics map and, if asked for, the number of links in transit and nil.
pub fn encode_status(request: StatusRequest, node: &NodeStatistics, links: u64) -> Vec<u8> {
    let writer = Writer::new().array(1 + usize::from(request.links) + usize::from(request.profiling));
    let mut writer = node.write(writer);
    if request.links {
        writer = writer.uint(links);
    }
    if request.profiling {
        writer = writer.nil();
    }
    writer.into_bytes()
}

impl NodeStatistics {
    fn write(&self, writer: Writer) -> Writer {
        let tops = || self.interfaces.iter().filter(|interface| interface.parent.is_none());
        let writer = writer.map(10).str("interfaces").array(self.interfaces.len());
        let writer = self.interfaces.iter().fold(writer, |writer, interface| interface.write(writer));
        let writer = writer
            .str("rxb")
            .uint(tops().map(|interface| interface.received_bytes).sum())
            .str("txb")
            .uint(tops().map(|interface| interface.sent_bytes).sum())
            .str("rxs")
            .float(tops().map(|interface| interface.received_bps).sum())
            .str("txs")
            .float(tops().map(|interface| interface.sent_bps).sum())
            .str("transport_id")
            .bin(self.transport_id.as_bytes())
            .str("network_id")
            .nil()
            .str("transport_uptime")
            .float(self.uptime_s)
            .str("probe_responder");
        let writer = match self.probe_responder {
            Some(destination) => writer.bin(destination.as_bytes()),
            None => writer.nil(),
        };
        match self.resident_bytes {
            Some(bytes) => writer.str("rss").uint(bytes),
            None => writer.str("rss").nil(),
        }
    }
}

impl InterfaceStatistics {
    fn write(&self, writer: Writer) -> Writer {
        let keys = 24 + 2 * usize::from(self.parent.is_some());
        let writer = writer
            .map(keys)
            .str("name")
            .str(&self.name)
            .str("short_name")
            .str(&self.short_name)
            .str("hash")
            .bin(&sha256(&[self.name.as_bytes()]))
            .str("type")
            .str(&self.kind);
        let writer = match &self.parent {
            None => writer,
            Some(parent) => writer
                .str("parent_interface_name")
                .str(parent)
                .str("parent_interface_hash")
                .bin(&sha256(&[parent.as_bytes()])),
        };
        let writer = match self.clients {
            Some(clients) => writer.str("clients").uint(clients),
            None => writer.str("clients").nil(),
        };
        let writer = writer
            .str("status")
            .bool(self.up)
            .str("mode")
            .uint(mode_code(self.mode))
            .str("bitrate")
            .uint(self.bitrate_bps)
            .str("mtu")
            .uint(self.mtu)
            .str("gravity")
            .int(self.gravity)
            .str("rxb")
            .uint(self.received_bytes)
            .str("txb")
            .uint(self.sent_bytes)
            .str("rxs")
            .float(self.received_bps)
            .str("txs")
            .float(self.sent_bps)
            .str("incoming_announce_frequency")
            .float(self.announces.hz)
            .str("incoming_pr_frequency")
            .float(self.path_requests.hz)
            .str("held_announces")
            .uint(self.held_announces)
            .str("announce_queue")
            .uint(self.queued_announces)
            .str("txbuffered")
            .uint(self.queued_bytes)
            .str("txdrp")
            .uint(self.lost_frames);
        let writer = burst(writer, ["burst_active", "burst_activated"], self.announces);
        burst(writer, ["pr_burst_active", "pr_burst_activated"], self.path_requests)
    }
}

fn burst(writer: Writer, [active, activated]: [&str; 2], of: BurstStatistics) -> Writer {
    let since = of.active_since.map_or(0.0, seconds);
    writer.str(active).bool(of.active_since.is_some()).str(activated).float(since)
}

/// docs/protocol/1-core.md, section 6.
const fn mode_code(mode: Mode) -> u64 {
    match mode {
        Mode::Full => 1,
        Mode::PointToPoint => 2,
        Mode::AccessPoint => 3,
        Mode::Roaming => 4,
        Mode::Boundary => 5,
        Mode::Gateway => 6,
        Mode::Internal => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::check_single;

    fn interface(name: &str, parent: Option<&str>) -> InterfaceStatistics {
        InterfaceStatistics {
            name: name.to_owned(),
            short_name: name.to_owned(),
            kind: "test".to_owned(),
            parent: parent.map(str::to_owned),
            clients: parent.is_none().then_some(1),
            up: true,
            mode: Mode::Gateway,
            bitrate_bps: 1200,
            mtu: 500,
            gravity: -3,
            received_bytes: 70,
            sent_bytes: 80,
            received_bps: 1.5,
            sent_bps: 0.0,
            announces: BurstStatistics { hz: 0.5, active_since: Some(UnixTime(7)) },
            path_requests: BurstStatistics::default(),
            held_announces: 2,
            queued_announces: 300,
            queued_bytes: 70_000,
            lost_frames: 1,
        }
    }

    #[test]
    fn the_answer_is_one_whole_value_with_what_was_asked_for() {
        let interfaces = vec![interface("hub", None), interface("guest", Some("hub"))];
        let transport_id = IdentityHash::new([1; 16]);
        let node =
            NodeStatistics { transport_id, uptime_s: 3.5, probe_responder: None, resident_bytes: Some(9), interfaces };
        for (links, profiling, len) in [(false, false, 1), (true, false, 2), (true, true, 3)] {
            let answer = encode_status(StatusRequest { links, profiling }, &node, 4);
            check_single(&answer).unwrap();
            let mut reader = Reader::new(&answer);
            assert_eq!(reader.array(), Ok(len));
            assert_eq!(reader.map(), Ok(10));
        }
    }

    #[test]
    fn a_request_is_an_array_of_flags() {
        for asked in [StatusRequest { links: true, profiling: false }, StatusRequest { links: false, profiling: true }]
        {
            assert_eq!(StatusRequest::decode(&asked.encode()), Ok(asked));
        }
        let one = Writer::new().array(1).bool(true).into_bytes();
        assert_eq!(StatusRequest::decode(&one), Ok(StatusRequest { links: true, profiling: false }));
        assert_eq!(StatusRequest::decode(&[0x90]), Err(InvalidManagementRequest::Empty));
        assert_eq!(StatusRequest::decode(&[0xc3]), Err(Invalid::Type.into()));
    }
}
