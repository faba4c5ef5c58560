//! Links in the middle of their life, for tests that replay recorded traffic.

use core::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::establish::Start;
use super::keys::Keys;
use super::{Link, LinkState, Peer, RequestOptions};
use crate::crypto::TokenKey;
use crate::hash::{DestinationHash, LinkId, PacketHash, RequestId};
use crate::identity::PublicIdentity;
use crate::stack::Role;
use crate::time::{Instant, Now};

/// What an established link is like.
#[derive(Debug, Clone)]
pub struct Established {
    /// Its id.
    pub id: LinkId,
    /// The 64 derived bytes.
    pub derived_key: [u8; 64],
    /// Ed25519 seed this end signs with.
    pub signing_seed: [u8; 32],
    /// Link MTU.
    pub mtu: usize,
    /// Round trip, counted from now backwards to the link request.
    pub rtt: Duration,
    /// Whose signatures count at the initiator: the destination's identity. At the responder `None`.
    pub destination: Option<PublicIdentity>,
    /// Whose signatures count at the responder: the initiator's Ed25519 key.
    pub initiator: [u8; 32],
}

/// What a link holds on behalf of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Packets, events and jobs that wait to be taken.
    pub queued: usize,
    /// Resources that are arriving.
    pub incoming: usize,
    /// Resources that are being sent or wait to be.
    pub outgoing: usize,
    /// Requests of this end without a response.
    pub requests: usize,
}

impl Link {
    /// A link that is active since `now`; the destination hash is all zero.
    ///
    /// # Panics
    /// When the initiator's key is no key.
    pub fn established(now: Now, like: &Established) -> Self {
        let role = if like.destination.is_some() { Role::Initiator } else { Role::Responder };
        let peer = match like.destination {
            Some(identity) => Peer::Destination(identity),
            None => Peer::Ephemeral(VerifyingKey::from_bytes(&like.initiator).expect("an Ed25519 key")),
        };
        let mut link = Self::begin(
            now,
            Start {
                id: like.id,
                role,
                destination: DestinationHash::new([0; 16]),
                mtu: like.mtu,
                keys: TokenKey::from_slice(&like.derived_key).map_or(Keys::Wiped, Keys::Agreed),
                signing: SigningKey::from_bytes(&like.signing_seed),
                peer,
                remote: like.destination,
                hops: 1,
                cost: 204,
            },
        );
        link.requested_at = now.mono - like.rtt;
        link.rtt = Some(like.rtt);
        link.rtt_reported = true;
        link.state = LinkState::Active;
        link.start_watchdog(now);
        link
    }

    /// A responder's link whose round-trip time has not come yet.
    pub fn in_handshake(requested: Now, like: &Established) -> Self {
        let mut link = Self::established(requested, like);
        link.state = LinkState::Handshake;
        link.rtt = None;
        link.rtt_reported = false;
        link
    }

    /// Waits for the proof of a packet as if it had been sent now.
    pub fn await_proof(&mut self, now: Now, packet: PacketHash) {
        self.receipts.insert(packet, now.mono);
    }

    /// Waits for a response as if the request had been sent now.
    pub fn await_response(&mut self, now: Now, request: RequestId, options: RequestOptions) {
        self.insert_pending(now, request, options);
    }

    /// The peer counts as identified.
    pub fn identified_as(&mut self, identity: PublicIdentity) {
        self.remote = Some(identity);
    }

    /// When something was last heard, which keepalives and staleness count from.
    pub fn last_inbound(&self) -> Instant {
        self.pulse.last_inbound
    }

    /// Ids of requests of this end that have no response yet.
    pub fn pending_requests(&self) -> Vec<RequestId> {
        self.requests.pending.keys().copied().collect()
    }

    /// What waits and is under way.
    pub fn held(&self) -> Held {
        Held {
            queued: self.packets.len() + self.events.len() + self.jobs.len(),
            incoming: self.incoming_windows().len(),
            outgoing: self.transfers.outgoing_count(),
            requests: self.requests.pending.len(),
        }
    }

    /// The sequence number that the channel expects next and how many messages it holds; `None` when it is not open.
    pub fn channel_state(&self) -> Option<(u16, usize)> {
        self.channel.as_ref().map(|channel| channel.receiver.state())
    }

    /// The sequence number that the channel expects next is this one.
    pub fn expect_message(&mut self, next: u16) {
        if let Some(channel) = &mut self.channel {
            channel.receiver.start_at(next);
        }
    }

    /// The channel's sending window; `None` when it is not open.
    pub fn channel_window(&self) -> Option<crate::channel::Window> {
        self.channel.as_ref().map(|channel| channel.sender.window)
    }

    /// Window, minimum, maximum, fast rounds and very slow rounds of every arriving resource.
    pub fn incoming_windows(&self) -> Vec<[usize; 5]> {
        self.transfers.windows()
    }
}
