//! How a link comes to be. docs/protocol/2-link.md, section 2.

use core::time::Duration;
use std::collections::VecDeque;

use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;

use super::alive::Pulse;
use super::held::Held;
use super::job::{LinkJob, Work};
use super::keys::{Agreement, Keys};
use super::request::Requests;
use super::transfer::Transfers;
use super::{Link, LinkEvent, LinkOptions, LinkState, Peer, RECEIPTS_MAX, Refused, Signalling, Timer};
use crate::bounded::Bounded;
use crate::crypto;
use crate::ephemeral::{ExchangeKeys, InitiatorKeys};
use crate::hash::{DestinationHash, LinkId, sha256_head};
use crate::identity::{Identity, PublicIdentity, SIGNATURE_LEN};
use crate::msgpack::{Reader, Writer};
use crate::stack::{LinkCloseReason, PER_HOP_TIMEOUT, Role};
use crate::time::Now;
use crate::timers::Timers;
use crate::wire::{self, Context, DestinationKind, Flags, Packet, PacketKind, PacketRef, layout};

const KEYS_LEN: usize = 64;
/// What the responder waits beyond the hops for the initiator's round-trip time.
const RESPONDER_GRACE: Duration = Duration::from_secs(360);
/// A round trip cannot take longer than the longest establishment: 128 hops of 6 s, and the first hop. What a peer
/// reports is cut to this, so that no timer is stretched without end.
const RTT_MAX: Duration = Duration::from_secs(780);

/// How the initiator reaches the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiate {
    /// MTU to ask for: that of the next-hop interface when it negotiates one, else 500.
    pub mtu: usize,
    /// Expected hops, 128 when no path is known.
    pub hops: u8,
    /// `500 * 8 / bitrate + 6` seconds when the next hop's bitrate is known, else 6.
    pub first_hop_timeout: Duration,
}

/// The id of the link that `request` asks for, the same on every hop and with or without signalling.
/// docs/protocol/2-link.md, section 2.4.
pub fn link_id(request: &PacketRef<'_>) -> LinkId {
    let (flags, rest) = request.hashable();
    let excess = request.data().len().saturating_sub(KEYS_LEN);
    let rest = rest.get(..rest.len().saturating_sub(excess)).unwrap_or_default();
    LinkId::new(sha256_head(&[&[flags], rest]))
}

/// Whether a signature (last) of an identity over a message is good.
pub(crate) trait Verify: FnOnce(&PublicIdentity, &[u8], &[u8]) -> bool {}

impl<F: FnOnce(&PublicIdentity, &[u8], &[u8]) -> bool> Verify for F {}

/// The fields of a link proof whose signature is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    exchange: [u8; 32],
    signalling: Signalling,
}

fn signed_data(link: LinkId, exchange: &[u8; 32], signing: &[u8; 32], signalling: &[u8]) -> Vec<u8> {
    [link.as_ref(), exchange, signing, signalling].concat()
}

/// Checks length and signature. Without signalling, the signature covers none and the defaults are meant.
fn read_proof(
    link: LinkId,
    packet: &PacketRef<'_>,
    destination: &PublicIdentity,
    verify: impl Verify,
) -> Option<Proof> {
    if packet.flags().packet() != PacketKind::Proof || packet.context() != Context::LINK_REQUEST_PROOF {
        return None;
    }
    let (signature, rest) = packet.data().split_first_chunk::<SIGNATURE_LEN>()?;
    let (exchange, signalling) = rest.split_first_chunk::<32>()?;
    let meaning = match signalling {
        [] => Signalling::new(wire::MTU),
        [high, middle, low] => Signalling::decode([*high, *middle, *low]),
        _ => return None,
    };
    let signed = signed_data(link, exchange, destination.signing_key(), signalling);
    verify(destination, &signed, signature).then_some(Proof { exchange: *exchange, signalling: meaning })
}

/// The mode that a proof states, signed or not; without signalling the default.
fn claimed_mode(packet: &PacketRef<'_>) -> u8 {
    packet.data().get(SIGNATURE_LEN + 32).map_or(Signalling::AES_256_CBC, |high| high >> 5)
}

/// Whether `packet` proves that `destination` accepted the link request `link`, in a mode that is enabled.
/// docs/protocol/2-link.md, section 4.3.
pub fn verify_link_proof(link: LinkId, packet: &PacketRef<'_>, destination: &PublicIdentity) -> bool {
    read_proof(link, packet, destination, PublicIdentity::verify)
        .is_some_and(|proof| proof.signalling.mode == Signalling::AES_256_CBC)
}

fn hop_timeout(hops: u8) -> Duration {
    PER_HOP_TIMEOUT.saturating_mul(u32::from(hops.max(1)))
}

/// What differs between the two ends when a link begins.
pub(super) struct Start {
    pub(super) id: LinkId,
    pub(super) role: Role,
    pub(super) destination: DestinationHash,
    pub(super) mtu: usize,
    pub(super) keys: Keys,
    pub(super) signing: SigningKey,
    pub(super) peer: Peer,
    pub(super) remote: Option<PublicIdentity>,
    pub(super) hops: u8,
    pub(super) cost: usize,
}

impl Link {
    pub(super) fn begin(now: Now, start: Start) -> Self {
        Self {
            id: start.id,
            role: start.role,
            state: match start.role {
                Role::Initiator => LinkState::Pending,
                Role::Responder => LinkState::Handshake,
            },
            destination: start.destination,
            mtu: start.mtu,
            asked_mtu: start.mtu,
            verified: None,
            keys: start.keys,
            signing: start.signing,
            peer: start.peer,
            remote: start.remote,
            hops: start.hops,
            requested_at: now.mono,
            establishment_cost: start.cost,
            rtt: None,
            rtt_reported: false,
            pulse: Pulse::new(now.mono),
            options: LinkOptions::default(),
            packets: VecDeque::new(),
            events: VecDeque::new(),
            jobs: VecDeque::new(),
            timers: Timers::default(),
            receipts: Bounded::new(RECEIPTS_MAX),
            requests: Requests::new(),
            held: Held::default(),
            transfers: Transfers::new(),
            channel: None,
        }
    }

    /// Begins a link to the destination `to` of identity `peer`. Returns it with the link request, as its origin sends it.
    pub fn initiate(
        now: Now,
        rng: &mut dyn CryptoRng,
        to: DestinationHash,
        peer: &PublicIdentity,
        path: Initiate,
    ) -> (Self, Packet) {
        Self::initiate_with(now, InitiatorKeys::generate(rng), to, peer, path)
    }

    /// [`Link::initiate`] with keys that were never used.
    pub(crate) fn initiate_with(
        now: Now,
        keys: InitiatorKeys,
        to: DestinationHash,
        peer: &PublicIdentity,
        path: Initiate,
    ) -> (Self, Packet) {
        let InitiatorKeys { exchange: ExchangeKeys { private: exchange, public }, signing } = keys;
        let keys = [public, signing.verifying_key().to_bytes()];
        let signalling = Signalling::new(path.mtu);
        let request = Packet {
            flags: Flags::new(DestinationKind::Single, PacketKind::LinkRequest),
            hops: 0,
            transport_id: None,
            destination: to,
            context: Context::NONE,
            data: [keys.as_flattened(), &signalling.encode()].concat().into(),
        };
        let hashed = [&[request.flags.invariant().0], to.as_ref(), &[request.context.0], keys.as_flattened()];
        let mut link = Self::begin(
            now,
            Start {
                id: LinkId::new(sha256_head(&hashed)),
                role: Role::Initiator,
                destination: to,
                mtu: signalling.link_mtu(),
                keys: Keys::Asked(exchange),
                signing,
                peer: Peer::Destination(*peer),
                remote: Some(*peer),
                hops: path.hops,
                cost: layout::HEADER_1_LEN + request.data.len(),
            },
        );
        link.timers.set(Timer::Life, now.mono + path.first_hop_timeout.saturating_add(hop_timeout(path.hops)));
        (link, request)
    }

    /// Accepts a link request for a destination of `owner`. The signalling is clamped to the receiving interface already,
    /// `hops` is counted up already. Returns the link with its proof, to be sent on the receiving interface.
    ///
    /// # Errors
    /// When the request is malformed, wants a mode that is not enabled, or has unusable keys.
    pub fn accept(
        now: Now,
        rng: &mut dyn CryptoRng,
        owner: &Identity,
        request: &PacketRef<'_>,
        hops: u8,
    ) -> Result<(Self, Packet), Refused> {
        Self::accept_with(now, || ExchangeKeys::generate(rng), owner, request, hops)
    }

    /// [`Link::accept`] with keys that were never used, which are taken only when the link is accepted.
    pub(crate) fn accept_with(
        now: Now,
        keys: impl FnOnce() -> ExchangeKeys,
        owner: &Identity,
        request: &PacketRef<'_>,
        hops: u8,
    ) -> Result<(Self, Packet), Refused> {
        let data = request.data();
        let wrong = Refused::Length { len: data.len() };
        let (their_exchange, rest) = data.split_first_chunk::<32>().ok_or(wrong)?;
        let (their_signing, signalling) = rest.split_first_chunk::<32>().ok_or(wrong)?;
        let asked = match signalling {
            [] => Signalling::new(wire::MTU),
            [high, middle, low] => Signalling::decode([*high, *middle, *low]),
            _ => return Err(wrong),
        };
        if asked.mode != Signalling::AES_256_CBC {
            return Err(Refused::Mode { mode: asked.mode });
        }
        let id = link_id(request);
        let peer = VerifyingKey::from_bytes(their_signing).map_err(|_| Refused::Key)?;
        if crypto::is_low_order(their_exchange) {
            return Err(Refused::Key);
        }
        let ExchangeKeys { private, public } = keys();
        let confirmed = Signalling::new(asked.link_mtu());
        let signed = signed_data(id, &public, owner.public().signing_key(), &confirmed.encode());
        let proof = Packet {
            flags: Flags::new(DestinationKind::Link, PacketKind::Proof),
            hops: 0,
            transport_id: None,
            destination: id.into(),
            context: Context::LINK_REQUEST_PROOF,
            data: [&owner.sign(&signed)[..], &public, &confirmed.encode()].concat().into(),
        };
        let mut link = Self::begin(
            now,
            Start {
                id,
                role: Role::Responder,
                destination: request.destination(),
                mtu: confirmed.link_mtu(),
                keys: Keys::Agreeing(Agreement { link: id, private, theirs: *their_exchange }),
                signing: owner.signing().clone(),
                peer: Peer::Ephemeral(peer),
                remote: None,
                hops,
                cost: layout::HEADER_1_LEN * 2 + data.len() + proof.data.len(),
            },
        );
        link.timers.set(Timer::Life, now.mono + hop_timeout(hops) + RESPONDER_GRACE);
        // The proof does not wait for the keys, and the first packet need not either.
        link.jobs.extend(link.keys.agreement().cloned().map(|agreement| LinkJob(Work::Agree(agreement))));
        Ok((link, proof))
    }

    /// Whether `packet` proves this initiator's request, whatever its hops. Nothing comes of it until the packet is handed
    /// to [`Link::handle_packet`], which does not check the signature again.
    pub fn verify_proof(&mut self, packet: &PacketRef<'_>) -> bool {
        self.verify_proof_by(packet, PublicIdentity::verify)
    }

    /// [`Link::verify_proof`] with another way to check signatures.
    pub(crate) fn verify_proof_by(&mut self, packet: &PacketRef<'_>, verify: impl Verify) -> bool {
        let Peer::Destination(identity) = &self.peer else { return false };
        self.verified = read_proof(self.id, packet, identity, verify).map(|proof| (packet.hash(), proof));
        self.verified.is_some()
    }

    /// The proof came. In another mode than was asked for, it ends the link at once, as docs/protocol/2-link.md, section
    /// 2.6, has it: whoever drives the link must have asked [`Link::verify_proof`] before, so that nobody but the
    /// destination can bring that about. Otherwise nothing changes unless its signature is good.
    pub(super) fn handle_proof(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>) {
        if claimed_mode(packet) != Signalling::AES_256_CBC {
            return self.finish(LinkCloseReason::Violation);
        }
        let known = self.verified.as_ref().is_some_and(|(hash, _)| *hash == packet.hash());
        if !known && !self.verify_proof(packet) {
            return;
        }
        let Some((_, proof)) = self.verified.take() else { return };
        if !self.keys.agree_with(self.id, &proof.exchange) {
            return;
        }
        self.mtu = proof.signalling.link_mtu();
        self.establishment_cost += layout::HEADER_1_LEN + packet.data().len();
        self.heard(now);
        self.activate(now, now.mono.since(self.requested_at));
        let rtt = self.rtt.unwrap_or_default().as_secs_f64();
        self.send_sealed(now, rng, Context::LINK_RTT, &Writer::new().float(rtt).into_bytes());
    }

    fn activate(&mut self, now: Now, rtt: Duration) {
        let rtt = rtt.min(RTT_MAX);
        self.rtt = Some(rtt);
        self.state = LinkState::Active;
        self.measure_channel();
        self.events.push_back(LinkEvent::Up { rtt });
        self.start_watchdog(now);
    }

    /// The initiator reports the round-trip time. Only the first report counts. docs/protocol/2-link.md, section 2.8.
    pub(super) fn handle_rtt(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>, plaintext: &[u8]) {
        if self.role == Role::Initiator || self.rtt_reported {
            return;
        }
        let Ok(reported) = Reader::new(plaintext).number() else {
            return self.teardown(now, rng, LinkCloseReason::Violation);
        };
        self.rtt_reported = true;
        // What is no length of time, negative or not a number, is less than what was measured.
        let reported = match Duration::try_from_secs_f64(reported) {
            Ok(reported) => reported,
            Err(_) if reported > 0.0 => RTT_MAX,
            Err(_) => Duration::ZERO,
        };
        if self.state == LinkState::Handshake {
            self.hops = packet.hops().saturating_add(1);
            self.activate(now, now.mono.since(self.requested_at).max(reported));
        } else {
            self.rtt = self.rtt.max(Some(reported.min(RTT_MAX)));
        }
    }

    /// The round-trip time was lost or is late, but another packet opened: only who accepted the proof can have sealed it.
    ///
    /// The reference would ignore requests on such a link until it dies.
    pub(super) fn confirm_handshake(&mut self, now: Now, packet: &PacketRef<'_>) {
        if self.state == LinkState::Handshake {
            self.hops = packet.hops().saturating_add(1);
            self.activate(now, now.mono.since(self.requested_at).min(hop_timeout(self.hops)));
        }
    }
}
