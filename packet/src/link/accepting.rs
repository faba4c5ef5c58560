//! Which offered resources are taken. docs/protocol/2-link.md, sections 6 and 9.4.

use core::time::Duration;

use rand_core::CryptoRng;

use super::arriving::{Arriving, Receiving};
use super::transfer::{INCOMING_BYTES_MAX, INCOMING_MAX, Purpose, RTT_FACTOR, ResourceStrategy, TransferId};
use super::{Link, LinkError, LinkEvent, ResourceEvent, ResourceOutcome, Timer};
use crate::crypto::Token;
use crate::resource::{
    Advertisement, Incoming, IncomingStep, MTU_MIN, PREFIX_LEN, ResourceFlags, SEGMENT_MAX, Unsealing, part_size,
};
use crate::stack::{LinkCloseReason, RequestError};
use crate::time::Now;
use crate::wire::Context;

/// Times that a sender offers a resource, and what it adds to six round trips each time.
const OFFER_TIMES: u32 = 5;
const OFFER_GRACE: Duration = Duration::from_secs(1);

impl Link {
    /// A resource, or the next segment of one, is offered. docs/protocol/2-link.md, section 9.4.
    pub(super) fn handle_advertisement(&mut self, now: Now, rng: &mut dyn CryptoRng, plaintext: &[u8]) {
        let Ok(advertisement) = Advertisement::decode(plaintext) else {
            return self.teardown(now, rng, LinkCloseReason::Violation);
        };
        let hash = advertisement.hash;
        if self.transfers.incoming.contains_key(&hash) {
            return self.nudge_incoming(now, rng, hash);
        }
        if let Some((_, proof)) = self.transfers.proofs.get(&hash) {
            // It is here already; the advertisement was repeated or late, or the proof got lost.
            let proof = proof.clone();
            return self.transmit(now, proof);
        }
        if self.transfers.offers.values().any(|offer| offer.hash == hash) {
            return;
        }
        if advertisement.segment > 1 && advertisement.segments > 1 {
            return self.handle_next_segment(now, rng, advertisement);
        }
        if advertisement.is_response().is_some_and(|id| self.requests.is_expired(&id)) {
            // Peers send one resource at a time: the response to the repeated request would wait behind this one.
            return self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
        }
        let Some((purpose, limit)) = self.purpose_of(&advertisement) else { return };
        let welcome = self.is_welcome(&advertisement, purpose, limit);
        // A response that is refused ends its request; one whose map is longer than it can be is passed over.
        if welcome && !self.has_possible_map(&advertisement) {
            return;
        }
        if !welcome || advertisement.map.is_empty() {
            self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
            match purpose {
                Purpose::Response(id) => self.conclude_request(now, rng, id, Err(RequestError::Failed)),
                Purpose::Plain if welcome => {
                    let id = self.transfers.next_id();
                    self.resource_event(id, ResourceEvent::Ended(ResourceOutcome::Failed));
                }
                _ => {}
            }
            return;
        }
        if let Purpose::Response(id) = purpose {
            self.response_begins(now, rng, id);
        }
        let id = self.transfers.next_id();
        if let (Purpose::Plain, ResourceStrategy::Ask) = (purpose, self.options.resources) {
            let offered = ResourceEvent::Offered {
                size: advertisement.total_size,
                segments: advertisement.segments.max(1),
                has_metadata: advertisement.flags.contains(ResourceFlags::METADATA),
            };
            self.resource_event(id, offered);
            self.transfers.offers.insert(id, advertisement);
            return self.timers.set(Timer::Offer(id), now.mono + self.offer_timeout());
        }
        self.make_room_for_arriving(now, rng);
        self.transfers.arriving.insert(id, Arriving::new(now.mono, purpose, limit, &advertisement));
        self.begin_segment(now, rng, id, advertisement);
    }

    /// Takes a resource that was offered under [`ResourceStrategy::Ask`].
    ///
    /// # Errors
    /// When there is no such offer any more.
    pub fn accept_resource(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        resource: TransferId,
    ) -> Result<(), LinkError> {
        let advertisement = self.forget_offer(resource).ok_or(LinkError::UnknownResource)?;
        self.make_room_for_arriving(now, rng);
        let arriving = Arriving::new(now.mono, Purpose::Plain, usize::MAX, &advertisement);
        self.transfers.arriving.insert(resource, arriving);
        self.begin_segment(now, rng, resource, advertisement);
        Ok(())
    }

    /// How long an offer stands. Its sender repeats it four times, each after six round trips and a second.
    fn offer_timeout(&self) -> Duration {
        (self.rtt.unwrap_or_default() * RTT_FACTOR + OFFER_GRACE) * OFFER_TIMES
    }

    /// An offer is decided about, or withdrawn.
    pub(super) fn forget_offer(&mut self, resource: TransferId) -> Option<Advertisement> {
        self.timers.clear(Timer::Offer(resource));
        self.transfers.offers.remove(&resource)
    }

    /// The application did not decide while the sender waited.
    pub(super) fn handle_offer_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, resource: TransferId) {
        if let Some(offer) = self.forget_offer(resource) {
            self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, offer.hash);
            self.resource_event(resource, ResourceEvent::Ended(ResourceOutcome::Unread));
        }
    }

    /// A segment after the first is taken when it is the next one of a resource that is arriving.
    fn handle_next_segment(&mut self, now: Now, rng: &mut dyn CryptoRng, advertisement: Advertisement) {
        let hash = advertisement.hash;
        let next = self.transfers.arriving.iter().find(|(_, arriving)| arriving.continues_with(&advertisement));
        let Some((id, arriving)) = next.map(|(id, arriving)| (*id, arriving)) else {
            return self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
        };
        if self.is_receiving(id) || !self.has_possible_map(&advertisement) {
            return;
        }
        // Who sends more than the data could take, encrypted, misstates its size.
        let fits = arriving.purpose == Purpose::Plain || advertisement.transfer_size <= sealed_max(arriving.room());
        if !fits || advertisement.map.is_empty() || !self.has_room_for_segment(&advertisement) {
            self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
            return self.end_arriving(now, rng, id, ResourceOutcome::Failed);
        }
        self.begin_segment(now, rng, id, advertisement);
    }

    fn begin_segment(&mut self, now: Now, rng: &mut dyn CryptoRng, transfer: TransferId, advertisement: Advertisement) {
        let Some(key) = self.keys.get() else { return };
        let unsealing = Some(Unsealing::new(key, advertisement.flags.contains(ResourceFlags::COMPRESSED)));
        let (hash, window, rate) = (advertisement.hash, self.transfers.window, self.expected_rate_bps());
        let mut incoming = Incoming::new(now.mono, advertisement, part_size(self.mtu), window, rate);
        let is_plain = |arriving: &Arriving| arriving.purpose == Purpose::Plain;
        if self.transfers.untaken.is_much() && self.transfers.arriving.get(&transfer).is_some_and(is_plain) {
            incoming.hold(now.mono);
        }
        self.timers.clear(Timer::Arriving(transfer));
        self.transfers.incoming.insert(hash, Receiving { transfer, incoming, unsealing });
        self.handle_incoming_step(now, rng, hash, IncomingStep::Request);
    }

    /// What an advertised resource is for, and how large its content may be. `None`: nobody wants it, and nobody answers.
    fn purpose_of(&self, advertisement: &Advertisement) -> Option<(Purpose, usize)> {
        if let Some(id) = advertisement.is_request() {
            return self.requests.answers().then_some((Purpose::Request(id), self.max_request()));
        }
        if let Some(id) = advertisement.is_response() {
            let pending = self.requests.pending.get(&id).filter(|pending| !pending.receiving)?;
            return Some((Purpose::Response(id), pending.max_response));
        }
        match self.options.resources {
            ResourceStrategy::None => None,
            ResourceStrategy::Choose(_) | ResourceStrategy::Ask | ResourceStrategy::All => {
                Some((Purpose::Plain, usize::MAX))
            }
        }
    }

    /// Whether it can be taken: within the limits, with room for it.
    fn is_welcome(&self, advertisement: &Advertisement, purpose: Purpose, limit: usize) -> bool {
        let wanted = match (purpose, self.options.resources) {
            (Purpose::Plain, ResourceStrategy::Choose(choose)) => choose(advertisement),
            (Purpose::Plain, _) => true,
            (Purpose::Request(_) | Purpose::Response(_), _) => {
                advertisement.total_size <= u64::try_from(limit).unwrap_or(u64::MAX)
                    && advertisement.transfer_size <= sealed_max(limit)
            }
        };
        wanted && self.mtu >= MTU_MIN && self.has_room_for_segment(advertisement) && self.has_room_for_resource()
    }

    fn has_possible_map(&self, advertisement: &Advertisement) -> bool {
        advertisement.map.len() <= advertisement.transfer_size.div_ceil(part_size(self.mtu).max(1))
    }

    /// Whether this segment may arrive beside those that do, and its data be handed on.
    fn has_room_for_segment(&self, advertisement: &Advertisement) -> bool {
        let others = self.transfers.incoming.values().filter(|other| !other.incoming.is_assembling());
        let arriving: usize = others.map(|other| other.incoming.transfer_size()).sum();
        let arriving = arriving + self.transfers.assembling;
        let is_segment =
            |event: &&LinkEvent| matches!(event, LinkEvent::Resource { event: ResourceEvent::Segment { .. }, .. });
        self.has_room()
            && self.events.iter().filter(is_segment).count() < INCOMING_MAX
            && arriving + advertisement.transfer_size <= INCOMING_BYTES_MAX
    }

    /// Whether one more resource may begin to arrive: one that waits for its next segment gives way.
    fn has_room_for_resource(&self) -> bool {
        self.transfers.incoming.len() + self.transfers.offers.len() < INCOMING_MAX
    }

    /// When as many resources are arriving as may, the one that has waited longest for its next segment is given up. There
    /// is one, or [`Link::has_room_for_resource`] would have said so.
    fn make_room_for_arriving(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        if self.transfers.arriving.len() < INCOMING_MAX {
            return;
        }
        let idle = self.transfers.arriving.iter().filter(|(id, _)| !self.is_receiving(**id));
        if let Some(id) = idle.min_by_key(|(_, arriving)| arriving.last).map(|(id, _)| *id) {
            self.end_arriving(now, rng, id, ResourceOutcome::Failed);
        }
    }

    pub(super) fn is_receiving(&self, transfer: TransferId) -> bool {
        self.transfers.incoming.values().any(|receiving| receiving.transfer == transfer)
    }

    /// What the first resource of a link is timed by is the handshake. docs/protocol/2-link.md, section 9.8.
    fn expected_rate_bps(&self) -> f64 {
        self.transfers.rate_bps.unwrap_or_else(|| {
            let rtt = self.rtt.unwrap_or_default().as_secs_f64().max(1e-6);
            self.establishment_cost as f64 * 8.0 / rtt
        })
    }
}

/// Most bytes that a segment of at most `content` bytes takes, encrypted.
fn sealed_max(content: usize) -> usize {
    Token::sealed_len(content.min(SEGMENT_MAX).saturating_add(PREFIX_LEN))
}
