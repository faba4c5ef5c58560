//! Links: encrypted, authenticated conversations of two nodes. docs/protocol/2-link.md.
//!
//! A [`Link`] is one end of one link. Packets, time and randomness come in, and after every call that can change
//! something the caller drains [`Link::poll_packet`], [`Link::poll_event`] and [`Link::poll_job`] and asks
//! [`Link::poll_timeout`] again. What a peer can make a link hold is bounded, also when nobody drains it: see the `*_MAX`
//! constants here and in [`resource`](crate::resource).

mod accepting;
mod alive;
mod arriving;
mod channel;
mod closing;
mod data;
mod establish;
mod event;
mod held;
mod job;
mod keys;
mod options;
mod receiving;
mod request;
mod sending;
mod signalling;
mod source;
mod supplying;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod transfer;
mod untaken;
mod view;

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;

pub use alive::keepalive_interval;
pub use establish::{Initiate, link_id, verify_link_proof};
pub use event::{LinkError, LinkEvent, Refused, ResourceEvent, ResourceOutcome};
pub use job::{LinkJob, LinkJobResult};
pub use options::{LinkOptions, MAX_REQUEST_UNIDENTIFIED, ProofStrategy};
pub use request::{ASKED_MAX, REQUESTS_MAX, RequestOptions};
pub use signalling::Signalling;
pub use transfer::{
    COMPRESS_MAX, COMPRESSION_RATE, Compression, INCOMING_BYTES_MAX, INCOMING_MAX, OUTGOING_BYTES_MAX, OUTGOING_MAX,
    ResourceOptions, ResourceStrategy, TransferId,
};
pub use untaken::{UNTAKEN_BYTES_MAX, UNTAKEN_MAX};

use crate::bounded::Bounded;
use crate::hash::{DestinationHash, LinkId, PacketHash, RequestId, ResourceHash};
use crate::identity::PublicIdentity;
use crate::stack::Role;
use crate::time::{Instant, Now};
use crate::timers::Timers;
use crate::wire::{Context, DestinationKind, Flags, Packet, PacketKind, PacketRef, layout};

/// Most packets that wait to be taken. When there are more, the newest are lost, as they could be on the way; only the
/// messages of the channel, at most its window, may wait beside them.
pub const PACKETS_MAX: usize = 512;
/// Most events that wait to be taken before data and requests of the peer are dropped.
pub const EVENTS_MAX: usize = 64;
/// Most packets whose proof is waited for; the oldest makes room.
pub const RECEIPTS_MAX: usize = 256;

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
    /// The data of the next segment of it.
    Supply,
    /// A resource that is being received.
    Incoming(ResourceHash),
    /// The next segment of a resource that is being received.
    Arriving(TransferId),
    /// The application's word about an offered resource.
    Offer(TransferId),
    /// The proofs of messages.
    Channel,
    /// Requests that wait until it is quiet.
    HeldRequests,
    /// Offers that wait until their sender is ready.
    HeldOffers,
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
    /// A proof that was looked at and is good, until it is handed in.
    verified: Option<(PacketHash, establish::Proof)>,
    keys: keys::Keys,
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
    held: held::Held,
    transfers: transfer::Transfers,
    channel: Option<Box<crate::channel::Channel>>,
}

impl Link {
    /// Takes in a packet whose address is this link. Hops and interface are the caller's to check, and duplicates its to
    /// filter; the hop byte is as it came. `poll_*` may have news afterwards.
    pub fn handle_packet(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>) {
        if packet.flags().destination() != DestinationKind::Link || packet.destination() != self.id.into() {
            return;
        }
        self.keys.settle();
        match (self.state, packet.flags().packet(), packet.context()) {
            (LinkState::Closed, ..) => {}
            (LinkState::Pending, PacketKind::Proof, Context::LINK_REQUEST_PROOF) => self.handle_proof(now, rng, packet),
            (LinkState::Pending, ..) => {}
            (_, PacketKind::Proof, Context::NONE) => self.handle_packet_proof(now, rng, packet.data()),
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
        if self.is_to_wait(context, &plaintext) {
            return self.hold(now, context, packet.hash(), plaintext.into());
        }
        match context {
            Context::NONE => self.handle_data(now, packet, plaintext.into()),
            Context::LINK_IDENTIFY => self.handle_identify(&plaintext),
            Context::REQUEST => self.handle_request_packet(packet.hash(), plaintext.into()),
            Context::RESPONSE => self.handle_response_packet(now, rng, plaintext.into()),
            Context::RESOURCE_ADVERTISEMENT => self.handle_advertisement(now, rng, &plaintext),
            Context::RESOURCE_REQUEST => self.handle_part_request(now, rng, packet.hash(), &plaintext),
            Context::RESOURCE_HASHMAP_UPDATE => self.handle_map_update(now, rng, &plaintext),
            Context::RESOURCE_SENDER_CANCEL => self.handle_sender_cancel(now, rng, &plaintext),
            Context::CHANNEL => self.handle_message(now, packet, &plaintext.into()),
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
                Timer::Supply => self.handle_supply_timeout(now, rng),
                Timer::Incoming(resource) => self.handle_incoming_timeout(now, rng, resource),
                Timer::Arriving(resource) => self.handle_arriving_timeout(now, rng, resource),
                Timer::Offer(resource) => self.handle_offer_timeout(now, rng, resource),
                Timer::Channel => self.handle_channel_timeout(now, rng),
                Timer::HeldRequests => self.handle_held_requests(),
                Timer::HeldOffers => self.handle_held_offers(now, rng),
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

    fn is_up(&self) -> bool {
        matches!(self.state, LinkState::Active | LinkState::Stale)
    }

    /// Whether there is room for events that a peer can cause at will.
    fn has_room(&self) -> bool {
        self.events.len() < EVENTS_MAX
    }

    fn resource_event(&mut self, resource: TransferId, event: ResourceEvent) {
        self.events.push_back(LinkEvent::Resource { resource, event });
    }

    /// The newest progress takes the place of the last, if nobody took that.
    fn resource_progress(&mut self, resource: TransferId, done: u64, total: u64) {
        let room = self.has_room();
        match self.events.back_mut() {
            Some(LinkEvent::Resource { resource: last, event: ResourceEvent::Progress { done: so_far, .. } })
                if *last == resource =>
            {
                *so_far = done;
            }
            _ if room => self.resource_event(resource, ResourceEvent::Progress { done, total }),
            _ => {}
        }
    }

    fn open(&self, data: &[u8]) -> Option<Vec<u8>> {
        self.keys.get()?.open(data).ok()
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
        self.keys.get()?.seal(&iv, plaintext, &mut token);
        Some(self.packet(PacketKind::Data, context, token.into()))
    }

    /// Queues a packet. When the queue is full the packet is lost, which every part of the protocol survives.
    fn transmit(&mut self, now: Now, packet: Packet) {
        self.transmit_within(now, packet, PACKETS_MAX);
    }

    fn transmit_within(&mut self, now: Now, packet: Packet, max: usize) {
        self.pulse.last_outbound = now.mono;
        if self.packets.len() < max {
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
