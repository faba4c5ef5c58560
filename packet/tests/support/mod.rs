//! What the vector tests share: reading the files, and a stack on a bench.
#![allow(dead_code, unreachable_pub, reason = "shared by the test files, each of which uses its part")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::management::BlackholeEntry;
use wend_packet::stack::{
    AnnounceRate, Destination, Event, Input, InterfaceId, InterfaceProfile, Mode, Output, Stack, StackConfig,
};
use wend_packet::testing::TestRng;
use wend_packet::time::{Instant, Now, UnixTime};
use wend_packet::wire::{DestinationKind, HeaderKind, PacketKind, PacketRef, TransportKind};

/// When the scenarios of the vectors begin.
pub const START: u64 = 1_700_000_000;

/// The cases of a vector file that can be replayed, with `expected` in place of what a defect shows. The file must hold
/// exactly `count` cases, scenarios included: fewer means that something was lost, more that something is not tested.
pub fn cases(file: &str, count: usize) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(file).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let mut cases = std::mem::take(file["cases"].as_array_mut().unwrap());
    assert_eq!(cases.len(), count, "cases in {}", path.display());
    cases.retain(|case| case["kind"] != "scenario");
    for case in &mut cases {
        if case["defect"] == true {
            let expected = case["expected"].as_object().unwrap().clone();
            case.as_object_mut().unwrap().extend(expected);
        }
    }
    cases
}

pub fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap()
}

/// The bytes of a hex string; null is no bytes.
pub fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().map(|text| hex::decode(text).unwrap()).unwrap_or_default()
}

/// The bytes of a hex string, or `None` for null.
pub fn maybe_bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| hex::decode(text).unwrap())
}

pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

pub fn identity(private_key: &Value) -> Identity {
    Identity::from_slice(&bytes(private_key)).unwrap()
}

pub fn destination_name(of: &Value) -> DestinationName {
    DestinationName::new(of["app_name"].as_str().unwrap(), &texts(&of["aspects"])).unwrap()
}

/// Compares a parsed frame with the fields of a vector.
pub fn assert_parsed(frame: &[u8], fields: &Value, name: &str) {
    let packet = PacketRef::parse(frame).unwrap_or_else(|error| panic!("{name}: {error}"));
    let number = |field: &str| fields[field].as_u64().unwrap();
    let flags = packet.flags();
    assert_eq!(u64::from(flags.0), number("flags"), "{name}: flags");
    assert_eq!(u64::from(packet.hops()), number("hops"), "{name}: hops");
    assert_eq!(flags.header() == HeaderKind::Type2, number("header_type") == 1, "{name}: header type");
    assert_eq!(flags.context_flag(), number("context_flag") == 1, "{name}: context flag");
    assert_eq!(flags.transport() == TransportKind::Transport, number("transport_type") == 1, "{name}: transport type");
    let kinds = [DestinationKind::Single, DestinationKind::Group, DestinationKind::Plain, DestinationKind::Link];
    assert_eq!(flags.destination(), kinds[number("destination_type") as usize], "{name}: destination type");
    let kinds = [PacketKind::Data, PacketKind::Announce, PacketKind::LinkRequest, PacketKind::Proof];
    assert_eq!(flags.packet(), kinds[number("packet_type") as usize], "{name}: packet type");
    let transport_id = packet.transport_id().map(|id| id.as_bytes().to_vec());
    assert_eq!(transport_id, maybe_bytes(&fields["transport_id"]), "{name}: transport id");
    assert_eq!(packet.destination().as_ref(), bytes(&fields["destination_hash"]), "{name}: destination");
    assert_eq!(u64::from(packet.context().0), number("context"), "{name}: context");
    assert_eq!(packet.data(), bytes(&fields["data"]), "{name}: data");
    assert_eq!(packet.hash().as_ref(), bytes(&fields["packet_hash"]), "{name}: packet hash");
    assert_eq!(packet.hash().truncated().to_vec(), bytes(&fields["truncated_hash"]), "{name}: truncated hash");
    assert_eq!(wend_packet::hash::sha256(&[&bytes(&fields["hashable_part"])]), *packet.hash().as_bytes(), "{name}");
}

pub fn mode(code: &Value) -> Mode {
    let modes = [
        Mode::Full,
        Mode::PointToPoint,
        Mode::AccessPoint,
        Mode::Roaming,
        Mode::Boundary,
        Mode::Gateway,
        Mode::Internal,
    ];
    modes[code.as_u64().unwrap() as usize - 1]
}

/// An interface of `given`, in either of the forms the files use.
pub fn profile(of: &Value) -> InterfaceProfile {
    let truth = |field: &str| of[field].as_bool().unwrap_or(false);
    InterfaceProfile {
        mode: if of["mode"].is_null() { Mode::Full } else { mode(&of["mode"]) },
        hw_mtu: of["hw_mtu"].as_u64().map(|mtu| mtu as usize),
        negotiates_mtu: truth("fixed_mtu") || truth("fixed") || truth("autoconfigure"),
        access_code_len: of["ifac_size"].as_u64().unwrap_or(0) as usize,
        gravity: of["gravity"].as_i64().unwrap_or(0),
        announce_rate: AnnounceRate {
            target: of["announce_rate_target"].as_u64().map(Duration::from_secs),
            grace: of["announce_rate_grace"].as_u64().map(|grace| grace as u32),
            penalty: of["announce_rate_penalty"].as_u64().map(Duration::from_secs),
        },
        local_client: truth("local_client"),
        announces_to_internal: truth("announces_to_internal"),
        announces_from_internal: of["announces_from_internal"].as_bool().unwrap_or(true),
        ..InterfaceProfile::new(of["bitrate"].as_u64().unwrap_or(10_000_000))
    }
}

/// A frame that left the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub on: String,
    pub frame: Vec<u8>,
}

/// One stack, driven by hand: its jobs are done on the spot, its frames and events collected.
pub struct Bench {
    pub stack: Stack,
    pub now: Now,
    pub events: Vec<Event>,
    pub sent: Vec<Sent>,
    interfaces: BTreeMap<String, InterfaceId>,
    next_interface: u32,
}

impl Bench {
    /// The node of `given`, after `configure` had its say.
    pub fn with(given: &Value, configure: impl FnOnce(&mut StackConfig)) -> Self {
        let identity = match given["node_private_key"].as_str() {
            Some(_) => identity(&given["node_private_key"]),
            None => Identity::generate(&mut TestRng::seeded(7)),
        };
        let mut config = StackConfig::new(identity);
        config.transport_enabled = given["transport_enabled"] == true;
        config.local_hops_delta = given["settings"]["local_hops_delta"].as_u64().unwrap_or(0) as u8;
        configure(&mut config);
        let start = given["time"].as_f64().map_or(START, |time| time as u64);
        let mut bench = Self {
            // All zeros: every random delay is at its shortest, so what is due together stays together.
            stack: Stack::new(config, Box::new(TestRng::scripted(&[0; 4096]))),
            now: Now { mono: Instant::from_micros(3_600_000_000), unix: UnixTime(start) },
            events: Vec::new(),
            sent: Vec::new(),
            interfaces: BTreeMap::new(),
            next_interface: 0,
        };
        for entry in given["blackhole"].as_array().into_iter().flatten() {
            let shut_out = BlackholeEntry::new(bench.stack.transport_id(), None, None);
            bench.stack.blackhole(bench.now, array::<16>(&entry["identity_hash"]).into(), shut_out);
        }
        for (name, interface) in given["interfaces"].as_object().into_iter().flatten() {
            bench.up(name, profile(interface));
        }
        for local in given["local"].as_array().into_iter().flatten() {
            if local["private_key"].is_string() {
                bench.stack.register(local_destination(local)).unwrap();
            }
        }
        bench
    }

    pub fn new(given: &Value) -> Self {
        Self::with(given, |_| {})
    }

    pub fn up(&mut self, name: &str, profile: InterfaceProfile) -> InterfaceId {
        let id = InterfaceId(self.next_interface);
        self.next_interface += 1;
        self.interfaces.insert(name.to_owned(), id);
        self.stack.handle_input(self.now, Input::InterfaceUp { id, profile });
        id
    }

    pub fn id(&self, name: &str) -> InterfaceId {
        self.interfaces[name]
    }

    pub fn name_of(&self, id: InterfaceId) -> &str {
        self.interfaces.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str()).unwrap()
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.stack.handle_input(self.now, input);
        self.settle();
    }

    pub fn receive(&mut self, on: &str, frame: &[u8]) {
        self.input(Input::Frame { on: self.interfaces[on], bytes: frame });
    }

    /// Does the jobs, takes events and frames. To be called after calls on the stack itself.
    pub fn settle(&mut self) {
        loop {
            while let Some(output) = self.stack.poll_output() {
                if let Output::Event(event) = output {
                    self.events.push(event);
                }
            }
            let Some(job) = self.stack.poll_job() else { break };
            self.stack.handle_input(self.now, Input::JobDone(job.run()));
        }
        for (name, id) in &self.interfaces {
            while let Some(transmit) = self.stack.poll_transmit(self.now, *id) {
                self.sent.push(Sent { on: name.clone(), frame: transmit.frame.to_vec() });
            }
        }
    }

    /// Lets time pass, with every deadline served at its time.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.mono + by;
        while let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.later(at.since(self.now.mono));
            self.input(Input::Timeout);
        }
        self.now = self.now.later(end.since(self.now.mono));
    }

    /// Moves the clocks without serving deadlines.
    pub fn skip(&mut self, by: Duration) {
        self.now = self.now.later(by);
    }

    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

pub fn local_destination(local: &Value) -> Destination {
    let destination = Destination::new(identity(&local["private_key"]), destination_name(local));
    assert_eq!(destination.hash().as_ref(), bytes(&local["destination_hash"]));
    destination
}

/// Frames of a vector: `[{on, raw}]`, sorted by interface, order kept within one.
pub fn expected_frames(value: &Value) -> Vec<Sent> {
    let mut frames: Vec<_> = value
        .as_array()
        .unwrap()
        .iter()
        .map(|sent| Sent { on: sent["on"].as_str().unwrap().to_owned(), frame: bytes(&sent["raw"]) })
        .collect();
    frames.sort_by(|left, right| left.on.cmp(&right.on));
    frames
}

/// The same order for frames that a stack sent.
pub fn by_interface(mut sent: Vec<Sent>) -> Vec<Sent> {
    sent.sort_by(|left, right| left.on.cmp(&right.on));
    sent
}
