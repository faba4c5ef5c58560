//! Links: encrypted, authenticated conversations of two nodes. docs/protocol/2-link.md, sections 1 to 6, 8 and 9.
//!
//! A [`Link`] is one end of one link. Packets, time and randomness come in, and after every call that can change
//! something the caller drains [`Link::poll_packet`], [`Link::poll_event`] and [`Link::poll_job`] and asks
//! [`Link::poll_timeout`] again. What a peer can make a link hold is bounded, also when nobody drains it: see the `*_MAX`
//! constants here and in [`resource`](crate::resource).

mod alive;
mod data;
mod establish;
mod event;
mod job;
mod receiving;
mod request;
mod sending;
mod signalling;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transfer;

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub use alive::keepalive_interval;
pub use establish::{Initiate, link_id, verify_link_proof};
pub use event::{LinkError, LinkEvent, Refused, ResourceOutcome};
pub use job::{LinkJob, LinkJobResult};
pub use request::{ASKED_MAX, REQUESTS_MAX, RequestOptions};
pub use signalling::Signalling;
pub use transfer::{INCOMING_BYTES_MAX, INCOMING_MAX, OUTGOING_BYTES_MAX, OUTGOING_MAX, ResourceStrategy};

use crate::bounded::Bounded;
use crate::crypto::TokenKey;
use crate::hash::{DestinationHash, LinkId, PacketHash, RequestId, ResourceHash, sha256};
use crate::identity::PublicIdentity;
use crate::resource::SEGMENT_MAX;
use crate::stack::{LinkCloseReason, Role};
use crate::time::{Instant, Now};
use crate::timers::Timers;
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef, layout};

/// Most packets that wait to be taken. When there are more, the newest are lost, as they could be on the way.
pub const PACKETS_MAX: usize = 512;
/// Most events that wait to be taken before data and requests of the peer are dropped.
pub const EVENTS_MAX: usize = 64;
/// Most packets whose proof is waited for; the oldest makes room.
pub const RECEIPTS_MAX: usize = 256;

/// Largest request that is taken from a peer who has not identified, in bytes, unless [`LinkOptions`] say otherwise. Memory
/// for more is not a stranger's to take.
pub const MAX_REQUEST_UNIDENTIFIED: usize = 16 * 1024;

/// Where a link is in its life. docs/protocol/2-link.md, section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// The initiator waits for the proof.
    Pending,
    /// The responder waits for the initiator's round-trip time.
    Handshake,
    /// Both ends have the keys.
    Active,
    /// Nothing was heard for long.
    Stale,
    /// Over.
    Closed,
}

/// Whether data packets are proved to their sender. docs/protocol/2-link.md, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProofStrategy {
    /// No packet is proved.
    #[default]
    None,
    /// Every packet is proved.
    All,
}

/// How one end of a link behaves.
#[derive(Debug, Clone, Copy)]
pub struct LinkOptions {
    /// Whether data packets are proved.
    pub proofs: ProofStrategy,
    /// Which resources outside requests are taken.
    pub resources: ResourceStrategy,
    /// Largest request to take, in bytes of its packed form.
    pub max_request: usize,
    /// The same for as long as nobody knows who the peer is, where that is less.
    pub max_request_unidentified: usize,
    /// Most bytes a compressed resource may grow to.
    pub decompression_limit: usize,
}

impl Default for LinkOptions {
    /// Nothing is proved, no resource outside requests is taken, requests and resources may fill one segment; requests of
    /// strangers have at most [`MAX_REQUEST_UNIDENTIFIED`] bytes.
    fn default() -> Self {
        Self {
            proofs: ProofStrategy::None,
            resources: ResourceStrategy::None,
            max_request: SEGMENT_MAX,
            max_request_unidentified: MAX_REQUEST_UNIDENTIFIED,
            decompression_limit: SEGMENT_MAX,
        }
    }
}

/// Largest plaintext of an encrypted packet, in bytes. docs/protocol/2-link.md, section 3.6.
pub const fn link_mdu(link_mtu: usize) -> usize {
    const OVERHEAD: usize = crate::wire::ACCESS_CODE_MIN + layout::HEADER_1_LEN + crate::crypto::Token::OVERHEAD;
    (link_mtu.saturating_sub(OVERHEAD) / 16 * 16).saturating_sub(1)
}

const _: () = assert!(link_mdu(crate::wire::MTU) == 431 && link_mdu(8192) == 8111 && link_mdu(0) == 0);

/// What has a deadline on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Establishment, then the watchdog.
    Life,
    /// The proof of a packet.
    Receipt(PacketHash),
    /// The response to a request.
    Request(RequestId),
    /// The resource that is being sent.
    Outgoing,
    /// A resource that is being received.
    Incoming(ResourceHash),
}

/// Whose signatures count as the peer's.
enum Peer {
    /// The destination's identity, known from its announce.
    Destination(PublicIdentity),
    /// The key of the link request.
    Ephemeral(VerifyingKey),
}

impl Peer {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Destination(identity) => identity.verify(message, signature),
            Self::Ephemeral(key) => crate::identity::verify(key, message, signature),
        }
    }
}

/// One end of a link.
pub struct Link {
    id: LinkId,
    role: Role,
    state: LinkState,
    destination: DestinationHash,
    mtu: usize,
    asked_mtu: usize,
    /// The initiator's private key, until the proof is there.
    exchange: Option<Zeroizing<[u8; 32]>>,
    /// Present from the key exchange until the link closes.
    keys: Option<TokenKey>,
    signing: SigningKey,
    peer: Peer,
    remote: Option<PublicIdentity>,
    hops: u8,
    requested_at: Instant,
    /// Bytes of link request and proof.
    establishment_cost: usize,
    rtt: Option<Duration>,
    rtt_reported: bool,
    pulse: alive::Pulse,
    options: LinkOptions,
    packets: VecDeque<Packet>,
    events: VecDeque<LinkEvent>,
    jobs: VecDeque<LinkJob>,
    timers: Timers<Timer>,
    receipts: Bounded<PacketHash, Instant>,
    requests: request::Requests,
    transfers: transfer::Transfers,
}

impl core::fmt::Debug for Link {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("state", &self.state)
            .field("destination", &self.destination)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Its id, which is its address.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where it is in its life.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Largest frame on this link, in bytes; at the initiator before the proof, what it asked for.
    ///
    /// The responder's word is taken as it is: it may be more than [`Link::asked_mtu`], and than this node's interface
    /// carries. Whoever drives the link decides what becomes of one whose peer goes beyond what was asked for.
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// The MTU that the link request asked for, 500 where it named none; at the responder as it arrived, clamped.
    pub fn asked_mtu(&self) -> usize {
        self.asked_mtu
    }

    /// Most bytes of one [`Link::send`].
    pub fn mdu(&self) -> usize {
        link_mdu(self.mtu)
    }

    /// Round trip, once known.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The destination it leads to (initiator) or belongs to (responder).
    pub fn destination(&self) -> DestinationHash {
        self.destination
    }

    /// Who is at the other end: at the initiator the destination's identity, at the responder whoever identified.
    pub fn remote_identity(&self) -> Option<&PublicIdentity> {
        self.remote.as_ref()
    }

    /// Hops the proof is expected with, counted up on reception; at the responder those of the first packet that showed
    /// that the initiator has the keys.
    pub fn expected_hops(&self) -> u8 {
        self.hops
    }

    /// Changes the expected hops, as the rebalancing rule asks. docs/protocol/2-link.md, section 2.6.
    pub fn set_expected_hops(&mut self, hops: u8) {
        self.hops = hops;
    }

    /// Bytes that arriving resources hold at this moment: what came so far, and the names of parts to come. It grows only
    /// with packets of the peer.
    pub fn held_bytes(&self) -> usize {
        self.transfers.incoming.values().map(|receiving| receiving.incoming.held_bytes()).sum()
    }

    /// Largest request to take from the peer as it is known now.
    fn max_request(&self) -> usize {
        match self.remote {
            Some(_) => self.options.max_request,
            None => self.options.max_request.min(self.options.max_request_unidentified),
        }
    }

    /// Changes how this end behaves from now on.
    pub fn set_options(&mut self, options: LinkOptions) {
        self.options = options;
    }

    /// Takes in a packet whose address is this link. Hops and interface are the caller's to check, and duplicates its to
    /// filter; the hop byte is as it came. `poll_*` may have news afterwards.
    pub fn handle_packet(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>) {
        if packet.flags().destination() != DestinationKind::Link || packet.destination() != self.id.into() {
            return;
        }
        match (self.state, packet.flags().packet(), packet.context()) {
            (LinkState::Closed, ..) => {}
            (LinkState::Pending, PacketKind::Proof, Context::LINK_REQUEST_PROOF) => self.handle_proof(now, rng, packet),
            (LinkState::Pending, ..) => {}
            (_, PacketKind::Proof, Context::NONE) => self.handle_packet_proof(now, packet.data()),
            (_, PacketKind::Proof, Context::RESOURCE_PROOF) => self.handle_resource_proof(now, rng, packet.data()),
            (_, PacketKind::Data, context) => self.handle_data_packet(now, rng, packet, context),
            _ => {}
        }
    }

    fn handle_data_packet(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>, context: Context) {
        match context {
            Context::KEEPALIVE => return self.handle_keepalive(now, packet.data()),
            Context::RESOURCE => return self.handle_part(now, rng, packet),
            Context::CACHE_REQUEST => return self.handle_cache_request(now, rng, packet.data()),
            _ => {}
        }
        let Some(plaintext) = self.open(packet.data()) else { return };
        // Only now: anybody in range can send what does not open.
        self.heard(now);
        match context {
            Context::LINK_RTT => return self.handle_rtt(now, rng, packet, &plaintext),
            Context::LINK_CLOSE => return self.handle_close(&plaintext),
            _ => self.confirm_handshake(now, packet),
        }
        match context {
            Context::NONE => self.handle_data(now, packet, plaintext.into()),
            Context::LINK_IDENTIFY => self.handle_identify(&plaintext),
            Context::REQUEST => self.handle_request_packet(packet, plaintext.into()),
            Context::RESPONSE => self.handle_response_packet(now, rng, plaintext.into()),
            Context::RESOURCE_ADVERTISEMENT => self.handle_advertisement(now, rng, &plaintext),
            Context::RESOURCE_REQUEST => self.handle_part_request(now, rng, packet.hash(), &plaintext),
            Context::RESOURCE_HASHMAP_UPDATE => self.handle_map_update(now, rng, &plaintext),
            Context::RESOURCE_SENDER_CANCEL => self.handle_sender_cancel(now, rng, &plaintext),
            Context::RESOURCE_RECEIVER_CANCEL => self.handle_receiver_cancel(now, rng, &plaintext),
            _ => {}
        }
    }

    /// A deadline of [`Link::poll_timeout`] has passed. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Life => self.handle_life_timeout(now, rng),
                Timer::Receipt(packet) => self.handle_receipt_timeout(packet),
                Timer::Request(request) => self.handle_request_timeout(now, rng, request),
                Timer::Outgoing => self.handle_outgoing_timeout(now, rng),
                Timer::Incoming(resource) => self.handle_incoming_timeout(now, rng, resource),
            }
        }
    }

    /// Takes the next packet to send, on the interface the link is bound to. Ask again after every other call.
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    /// Takes the next event. Ask again after every other call.
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        self.events.pop_front()
    }

    /// Takes the next job; its result comes back through [`Link::handle_job`]. Ask again after every other call.
    pub fn poll_job(&mut self) -> Option<LinkJob> {
        self.jobs.pop_front()
    }

    /// When [`Link::handle_timeout`] wants to be called. Any other call can change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Closes the link and tells the peer, if there is one yet. Does nothing when it is closed already.
    pub fn close(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        self.teardown(
            now,
            rng,
            match self.role {
                Role::Initiator => LinkCloseReason::InitiatorClosed,
                Role::Responder => LinkCloseReason::DestinationClosed,
            },
        );
    }

    /// Closes the link without telling the peer, as when its interface is gone.
    pub fn abandon(&mut self, reason: LinkCloseReason) {
        self.finish(reason);
    }

    /// Sends the close packet where that applies, and ends. docs/protocol/2-link.md, section 3.4.
    fn teardown(&mut self, now: Now, rng: &mut dyn CryptoRng, reason: LinkCloseReason) {
        if !matches!(self.state, LinkState::Pending | LinkState::Closed) {
            let id = *self.id.as_bytes();
            self.send_sealed(now, rng, Context::LINK_CLOSE, &id);
        }
        self.finish(reason);
    }

    fn handle_close(&mut self, plaintext: &[u8]) {
        if plaintext == self.id.as_bytes() {
            self.finish(match self.role {
                Role::Initiator => LinkCloseReason::DestinationClosed,
                Role::Responder => LinkCloseReason::InitiatorClosed,
            });
        }
    }

    /// Ends everything on the link. Packets that wait still go out.
    fn finish(&mut self, reason: LinkCloseReason) {
        if self.state == LinkState::Closed {
            return;
        }
        self.state = LinkState::Closed;
        self.keys = None;
        self.exchange = None;
        self.jobs.clear();
        self.timers = Timers::default();
        self.abandon_receipts();
        self.abandon_transfers();
        self.abandon_requests();
        self.events.push_back(LinkEvent::Down { reason });
    }

    fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Active | LinkState::Stale)
    }

    /// Whether there is room for events that a peer can cause at will.
    fn has_room(&self) -> bool {
        self.events.len() < EVENTS_MAX
    }

    fn open(&self, data: &[u8]) -> Option<Vec<u8>> {
        self.keys.as_ref()?.open(data).ok()
    }

    fn packet(&self, kind: PacketKind, context: Context, data: Bytes) -> Packet {
        Packet {
            flags: Flags::new(DestinationKind::Link, kind),
            hops: 0,
            transport_id: None,
            destination: self.id.into(),
            context,
            data,
        }
    }

    /// Encrypts a packet; `None` when it would exceed the link MTU, or there are no keys.
    fn seal(&self, rng: &mut dyn CryptoRng, context: Context, plaintext: &[u8]) -> Option<Packet> {
        if plaintext.len() > self.mdu() {
            return None;
        }
        let mut iv = [0; 16];
        rng.fill_bytes(&mut iv);
        let mut token = Vec::new();
        self.keys.as_ref()?.seal(&iv, plaintext, &mut token);
        Some(self.packet(PacketKind::Data, context, token.into()))
    }

    /// Queues a packet. When the queue is full the packet is lost, which every part of the protocol survives.
    fn transmit(&mut self, now: Now, packet: Packet) {
        self.pulse.last_outbound = now.mono;
        if self.packets.len() < PACKETS_MAX {
            self.packets.push_back(packet);
        } else {
            tracing::debug!(link = ?self.id, "outgoing queue of link is full");
        }
    }

    /// Encrypts and queues; tells the length of the frame, or `None` when it cannot be sent.
    fn send_sealed(&mut self, now: Now, rng: &mut dyn CryptoRng, context: Context, plaintext: &[u8]) -> Option<usize> {
        let packet = self.seal(rng, context, plaintext)?;
        let len = layout::HEADER_1_LEN + packet.data.len();
        self.transmit(now, packet);
        Some(len)
    }
}

/// Hash of a packet that this end made. docs/protocol/1-core.md, section 3.4.
fn packet_hash(packet: &Packet) -> PacketHash {
    let flags = packet.flags.invariant().0;
    PacketHash::new(sha256(&[&[flags], packet.destination.as_ref(), &[packet.context.0], &packet.data]))
}
