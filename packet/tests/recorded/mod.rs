//! What the link vector tests share: link ends on a bench, and recorded traffic.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::time::Duration;

use serde_json::Value;
use wend_packet::crypto::TokenKey;
use wend_packet::hash::{LinkId, sha256};
use wend_packet::identity::Identity;
use wend_packet::link::testing::Established;
use wend_packet::link::{Link, LinkEvent, LinkOptions, ResourceEvent};
use wend_packet::testing::TestRng;
use wend_packet::time::{Instant, Now, UnixTime};
use wend_packet::wire::{Context, DestinationKind, Flags, HeaderKind, PacketKind, PacketRef, layout};

use crate::support::bytes;

/// The private key of the responder in every link vector.
pub const RESPONDER: &str = "1169baf564cc80c0be25864878ad6699cd20334cfd210c9fe46c843ae817791b\
                             e5acc4871bcdbf64894ecb2e637f5c0a125c14bbe2042ca31f8c84fe20f0d883";

/// Seed of the initiator's signing key where a vector does not tell it.
pub const INITIATOR_SEED: [u8; 32] = [9; 32];

/// Noon of every test: well after the start, so that there is a time before.
pub fn noon() -> Now {
    Now { mono: Instant::from_micros(10_000_000_000), unix: UnixTime(1_700_000_100) }
}

pub fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value)
}

pub fn responder() -> Identity {
    Identity::from_slice(&hex::decode(RESPONDER.replace(' ', "")).unwrap()).unwrap()
}

/// First `len` bytes of the blocks `SHA256(SHA256(label) || counter)`.
pub fn det(label: &str, len: usize) -> Vec<u8> {
    let seed = sha256(&[label.as_bytes()]);
    (0_u64..).flat_map(|counter| sha256(&[&seed, &counter.to_be_bytes()])).take(len).collect()
}

/// Joins `data_parts`.
pub fn data_parts(parts: &Value) -> Vec<u8> {
    let piece = |part: &Value| match part["det"].as_str() {
        Some(label) => det(label, part["length"].as_u64().unwrap() as usize),
        None => bytes(&part["hex"]).repeat(part["times"].as_u64().unwrap() as usize),
    };
    parts.as_array().unwrap().iter().flat_map(piece).collect()
}

/// The Ed25519 public key of a seed.
pub fn signing_public(seed: [u8; 32]) -> [u8; 32] {
    *Identity::from_slice(&[[0; 32], seed].concat()).unwrap().public().signing_key()
}

/// One end of a link with its randomness and the events it raised.
pub struct End {
    pub link: Link,
    pub rng: TestRng,
    pub events: Vec<LinkEvent>,
}

impl End {
    pub fn new(link: Link) -> Self {
        Self { link, rng: TestRng::seeded(7), events: Vec::new() }
    }

    /// An end of the established link of a case. `like` may change what is not in the case.
    pub fn of(case: &Value, initiator: bool, rtt: f64, like: impl FnOnce(&mut Established)) -> Self {
        let raw = [&case["raw"], &case["first_raw"], &case["proof_raw"]].map(bytes);
        let id = match &case["link_id"] {
            Value::String(id) => hex::decode(id).unwrap(),
            _ => raw.iter().find(|raw| !raw.is_empty()).unwrap()[2..18].to_vec(),
        };
        let owner = responder();
        let mut established = Established {
            id: LinkId::from_slice(&id).unwrap(),
            derived_key: bytes(&case["derived_key"]).try_into().unwrap_or([1; 64]),
            signing_seed: if initiator { INITIATOR_SEED } else { *owner.to_private_bytes().last_chunk().unwrap() },
            mtu: case["link_mtu"].as_u64().or(case["given"]["link_mtu"].as_u64()).unwrap_or(500) as usize,
            rtt: seconds(rtt),
            destination: initiator.then_some(*owner.public()),
            initiator: signing_public(INITIATOR_SEED),
        };
        like(&mut established);
        let mut end = Self::new(Link::established(noon(), &established));
        // The recordings are of ends that say no such thing.
        end.link.set_options(LinkOptions { says_ready: false, ..end.link.options() });
        end
    }

    /// The next random bytes this end draws.
    pub fn script(&mut self, random: &[u8]) {
        self.rng = TestRng::scripted(random);
    }

    /// Runs all jobs on the spot and takes the events.
    pub fn settle(&mut self, now: Now) {
        while let Some(job) = self.link.poll_job() {
            self.link.handle_job(now, &mut self.rng, job.run());
        }
        while let Some(event) = self.link.poll_event() {
            if let LinkEvent::Resource { resource, event: ResourceEvent::Segment { offset, .. } } = &event {
                self.link.segment_taken(now, &mut self.rng, *resource, *offset).unwrap();
            }
            self.events.push(event);
        }
    }

    pub fn receive(&mut self, now: Now, frame: &[u8]) {
        self.link.handle_packet(now, &mut self.rng, &PacketRef::parse(frame).unwrap());
        self.settle(now);
    }

    /// The frames that wait to be sent.
    pub fn sent(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.link.poll_packet()).map(|packet| packet.encode().to_vec()).collect()
    }

    /// Takes the next timeout not after `end`, and tells when it was.
    pub fn wait(&mut self, now: Now, end: Now) -> Option<Now> {
        let at = self.link.poll_timeout().filter(|at| *at <= end.mono)?;
        let then = now.later(at.since(now.mono));
        self.link.handle_timeout(then, &mut self.rng);
        self.settle(then);
        Some(then)
    }

    pub fn take_events(&mut self) -> Vec<LinkEvent> {
        std::mem::take(&mut self.events)
    }
}

/// The IV of a sealed frame, or nothing when it is not sealed.
pub fn iv(frame: &[u8]) -> Vec<u8> {
    let clear = [Context::RESOURCE, Context::CACHE_REQUEST, Context::KEEPALIVE];
    let packet = PacketRef::parse(frame).unwrap();
    if packet.flags().packet() == PacketKind::Proof || clear.contains(&packet.context()) {
        return Vec::new();
    }
    packet.data()[..16].to_vec()
}

/// The text of a sealed frame.
pub fn open(key: &Value, frame: &[u8]) -> Vec<u8> {
    let packet = PacketRef::parse(frame).unwrap();
    assert_eq!(packet.flags().header(), HeaderKind::Type1);
    TokenKey::from_slice(&bytes(key)).unwrap().open(packet.data()).unwrap()
}

/// Seals a plaintext into a frame of the link of a case.
pub fn seal(case: &Value, context: Context, plaintext: &[u8]) -> Vec<u8> {
    let flags = Flags::new(DestinationKind::Link, PacketKind::Data);
    let mut frame = [&[flags.0, 0], &bytes(&case["link_id"])[..], &[context.0]].concat();
    let key = TokenKey::from_slice(&bytes(&case["derived_key"])).unwrap();
    key.seal(&sha256(&[plaintext])[..16].try_into().unwrap(), plaintext, &mut frame);
    frame
}

pub fn context(frame: &[u8]) -> Context {
    PacketRef::parse(frame).unwrap().context()
}

/// Length of the header of every link packet.
pub const HEADER_LEN: usize = layout::HEADER_1_LEN;

/// `i:09` or `r:05p`: sender, context, whether it is a proof.
pub fn label(initiator: bool, frame: &[u8]) -> String {
    let packet = PacketRef::parse(frame).unwrap();
    let proof = if packet.flags().packet() == PacketKind::Proof { "p" } else { "" };
    format!("{}:{:02x}{proof}", if initiator { "i" } else { "r" }, packet.context().0)
}

/// The names the vectors have for contexts.
pub fn context_name(frame: &[u8]) -> &'static str {
    match context(frame) {
        Context::RESOURCE => "RESOURCE",
        Context::RESOURCE_ADVERTISEMENT => "RESOURCE_ADV",
        Context::RESOURCE_REQUEST => "RESOURCE_REQ",
        Context::RESOURCE_HASHMAP_UPDATE => "RESOURCE_HMU",
        Context::RESOURCE_PROOF => "RESOURCE_PRF",
        Context::RESOURCE_SENDER_CANCEL => "RESOURCE_ICL",
        Context::RESOURCE_RECEIVER_CANCEL => "RESOURCE_RCL",
        Context::CACHE_REQUEST => "CACHE_REQUEST",
        Context::KEEPALIVE => "KEEPALIVE",
        Context::LINK_CLOSE => "LINKCLOSE",
        other => panic!("no name for {other:?}"),
    }
}
