//! Requests and offers that wait a moment, because who sent them is not ready for a quick answer.
//!
//! The reference notes what it asked for, or offers, after it has sent it. Over a very fast link our answer can be there
//! first, and is lost: the peer runs into a timer. And while one of its threads sends, an answer to another hands the
//! processor to the thread that reads, which keeps it for milliseconds. So what comes from such a peer waits until it is
//! quiet; what comes from Wend, which says so by how it writes things, does not. docs/decisions/0067.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::{INCOMING_MAX, Link, Timer};
use crate::hash::{PacketHash, ResourceHash};
use crate::msgpack::Reader;
use crate::resource::Advertisement;
use crate::time::{Instant, Now};
use crate::wire::Context;

/// Over links with a longer round trip no answer comes too early. A program of the reference that has just started takes some
/// 50 ms to set a link up to a neighbour, and is no quicker to note what it asked for.
const RTT_QUICK: Duration = Duration::from_millis(200);
/// How long no other request may come until those that wait are handled: this, and something for each of them.
const QUIET: Duration = Duration::from_micros(120);
const QUIET_FOR_EACH: Duration = Duration::from_micros(40);
/// The same while it is not known how many come together.
const QUIET_UNKNOWN: Duration = Duration::from_millis(1);
/// The longest that a request waits.
const REQUEST_WAIT_MAX: Duration = Duration::from_millis(5);
/// How long an offer waits: less, and the reference loses what asks for the parts, or has the next segment ready too late
/// and looks for it only after 50 ms.
const OFFER_WAIT: Duration = Duration::from_millis(4);
/// Rounds of requests until it is looked again whether more come together than did.
const ROUNDS: u32 = 64;
/// Most requests that wait, and most bytes of them; what comes beyond that is handled at once.
pub(super) const HELD_MAX: usize = 32;
const HELD_BYTES_MAX: usize = 65_536;

/// What waits to be handled.
#[derive(Debug, Default)]
pub(super) struct Held {
    requests: Vec<(PacketHash, Bytes)>,
    bytes: usize,
    /// The latest that the requests may wait, which goes by the first of them.
    latest: Instant,
    /// How many requests the peer makes before it waits for responses, as far as was seen; 0 is not known.
    together: usize,
    rounds: u32,
    offers: VecDeque<(Instant, Bytes)>,
}

impl Link {
    /// Whether a packet comes from somebody who may not be ready for the answer yet, and has room to wait.
    pub(super) fn is_to_wait(&self, context: Context, plaintext: &[u8]) -> bool {
        if self.rtt.is_none_or(|rtt| rtt > RTT_QUICK) {
            return false;
        }
        match context {
            Context::REQUEST => {
                let has_room = self.held.requests.len() < HELD_MAX
                    && self.held.bytes.saturating_add(plaintext.len()) <= HELD_BYTES_MAX;
                has_room && plaintext.len() <= self.max_request() && !has_whole_seconds(plaintext)
            }
            Context::RESOURCE_ADVERTISEMENT => {
                self.held.offers.len() < INCOMING_MAX && !Advertisement::is_from_wend(plaintext)
            }
            _ => false,
        }
    }

    /// Lets a packet wait.
    pub(super) fn hold(&mut self, now: Now, context: Context, packet: PacketHash, plaintext: Bytes) {
        if context == Context::REQUEST {
            return self.hold_request(now, packet, plaintext);
        }
        self.held.offers.push_back((now.mono + OFFER_WAIT, plaintext));
        self.wait_for_offers();
    }

    /// All requests wait until no more come. That is soon when as many are here as came together before, later when
    /// it is not known whether there are more.
    fn hold_request(&mut self, now: Now, packet: PacketHash, packed: Bytes) {
        let held = &mut self.held;
        if held.requests.is_empty() {
            held.latest = now.mono + REQUEST_WAIT_MAX;
        }
        held.bytes += packed.len();
        held.requests.push((packet, packed));
        let count = held.requests.len();
        let wait = if count == held.together {
            QUIET + QUIET_FOR_EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
        } else {
            QUIET_UNKNOWN
        };
        self.timers.set(Timer::HeldRequests, held.latest.min(now.mono + wait));
    }

    /// Handles the requests that wait.
    pub(super) fn handle_held_requests(&mut self) {
        let held = &mut self.held;
        if held.requests.is_empty() {
            return;
        }
        self.timers.clear(Timer::HeldRequests);
        held.rounds += 1;
        if held.requests.len() != held.together {
            (held.together, held.rounds) = (held.requests.len(), 0);
        } else if held.rounds == ROUNDS {
            (held.together, held.rounds) = (0, 0);
        }
        held.bytes = 0;
        for (packet, packed) in core::mem::take(&mut held.requests) {
            self.handle_request_packet(packet, packed);
        }
    }

    fn wait_for_offers(&mut self) {
        if let Some((due, _)) = self.held.offers.front() {
            self.timers.set(Timer::HeldOffers, *due);
        }
    }

    /// Handles the offers that have waited long enough.
    pub(super) fn handle_held_offers(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        while let Some((_, offer)) = self.held.offers.pop_front_if(|(due, _)| *due <= now.mono) {
            self.handle_advertisement(now, rng, &offer);
        }
        self.wait_for_offers();
    }

    /// An offer that is withdrawn is not taken any more.
    pub(super) fn drop_held_offer(&mut self, resource: ResourceHash) {
        let is_it = |offer: &[u8]| Advertisement::decode(offer).is_ok_and(|offer| offer.hash == resource);
        self.held.offers.retain(|(_, offer)| !is_it(offer));
    }
}

/// Whether a request states its time in whole seconds, as Wend's do. The clock of the reference has a fraction, but for one
/// request in some millions.
fn has_whole_seconds(packed: &[u8]) -> bool {
    let mut reader = Reader::new(packed);
    reader.array().and_then(|_| reader.number()).is_ok_and(|time| time.fract() == 0.0)
}
