//! Resources that come in: their parts, and what becomes of them. docs/protocol/2-link.md, sections 9.5 to 9.10.

use core::time::Duration;

use rand_core::CryptoRng;

use super::arriving::Arriving;
use super::job::{LinkJob, Work};
use super::transfer::{Purpose, TransferId};
use super::{Link, LinkError, LinkEvent, ResourceEvent, ResourceOutcome, Timer};
use crate::hash::{PacketHash, RequestId, ResourceHash, sha256_head};
use crate::msgpack::Reader;
use crate::resource::{Assemble, Content, Corrupt, Incoming, IncomingStep, SEGMENT_MAX};
use crate::stack::{LinkCloseReason, RequestError};
use crate::time::Now;
use crate::wire::{Context, PacketKind, PacketRef};

/// How long a resource waits for its next segment: its sender may have to compress it on a slow machine, or to be given it
/// ([`SUPPLY_TIMEOUT`](super::supplying::SUPPLY_TIMEOUT)).
const NEXT_SEGMENT_TIMEOUT: Duration = Duration::from_secs(600);

impl Link {
    pub(super) fn handle_incoming_step(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        hash: ResourceHash,
        step: IncomingStep,
    ) {
        let Some(receiving) = self.transfers.incoming.get_mut(&hash) else { return };
        match step {
            IncomingStep::Wait => {}
            IncomingStep::Request => {
                if let Some((incoming, len)) = self.request_parts(now, rng, hash) {
                    incoming.requested(now.mono, len);
                }
            }
            IncomingStep::Assemble => {
                let Some(arriving) = self.transfers.arriving.get(&receiving.transfer) else { return };
                let Some(unsealing) = receiving.unsealing.take() else { return };
                let stream = receiving.incoming.take_stream();
                self.transfers.assembling += stream.len();
                let assemble = Assemble {
                    hash,
                    random: receiving.incoming.random(),
                    stream,
                    unsealing,
                    has_metadata: arriving.begins_with_metadata(),
                    limit: arriving.room().min(self.options.decompression_limit).min(SEGMENT_MAX),
                };
                self.jobs.push_back(LinkJob(Work::Assemble(assemble)));
            }
            IncomingStep::Cancel => {
                self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
                return self.fail_incoming(now, rng, hash, ResourceOutcome::Failed);
            }
            IncomingStep::Unread => {
                self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
                return self.fail_incoming(now, rng, hash, ResourceOutcome::Unread);
            }
        }
        match self.transfers.incoming.get(&hash).and_then(|receiving| receiving.incoming.deadline()) {
            Some(deadline) => self.timers.set(Timer::Incoming(hash), deadline),
            None => self.timers.clear(Timer::Incoming(hash)),
        }
    }

    /// Sends the next request for parts; gives the segment and the length of the frame.
    fn request_parts(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        hash: ResourceHash,
    ) -> Option<(&mut Incoming, usize)> {
        let request = self.transfers.incoming.get_mut(&hash)?.incoming.next_request();
        let len = self.send_sealed(now, rng, Context::RESOURCE_REQUEST, &request)?;
        Some((&mut self.transfers.incoming.get_mut(&hash)?.incoming, len))
    }

    pub(super) fn handle_incoming_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash) {
        if let Some(receiving) = self.transfers.incoming.get_mut(&hash) {
            let step = receiving.incoming.handle_timeout(now.mono);
            self.handle_incoming_step(now, rng, hash, step);
        }
    }

    /// A part does not say where it belongs, so every arriving segment looks at it, until one knows it.
    pub(super) fn handle_part(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>) {
        let (data, frame_len) = (packet.data(), packet.frame().len());
        let found = self.transfers.incoming.iter_mut().find_map(|(hash, receiving)| {
            let before = receiving.incoming.received();
            let step = receiving.incoming.handle_part(now.mono, data, frame_len);
            receiving.unseal();
            (receiving.incoming.received() > before).then_some((*hash, step))
        });
        let Some((hash, step)) = found else {
            if self.transfers.incoming.values().any(|receiving| receiving.incoming.is_sign_of_life(data)) {
                self.heard(now);
            }
            return;
        };
        self.heard(now);
        if step != IncomingStep::Wait {
            self.report_received(hash);
        }
        self.handle_incoming_step(now, rng, hash, step);
    }

    /// Tells how much of a resource is here.
    fn report_received(&mut self, hash: ResourceHash) {
        let Some(receiving) = self.transfers.incoming.get(&hash) else { return };
        let (id, Some(arriving)) = (receiving.transfer, self.transfers.arriving.get(&receiving.transfer)) else {
            return;
        };
        let (done, total) = arriving.progress(&receiving.incoming);
        match arriving.purpose {
            Purpose::Plain => self.resource_progress(id, done, total),
            Purpose::Response(request) => self.response_progress(request, done, total),
            Purpose::Request(_) => {}
        }
    }

    fn response_progress(&mut self, request: RequestId, received: u64, total: u64) {
        let event = LinkEvent::Responding { request, received, total };
        let room = self.has_room();
        match self.events.back_mut() {
            Some(last @ LinkEvent::Responding { .. }) if last.request() == Some(request) => *last = event,
            _ if room => self.events.push_back(event),
            _ => {}
        }
    }

    pub(super) fn handle_map_update(&mut self, now: Now, rng: &mut dyn CryptoRng, plaintext: &[u8]) {
        let Some((hash, body)) = plaintext.split_first_chunk::<{ ResourceHash::LEN }>() else { return };
        let hash = ResourceHash::new(*hash);
        let mut reader = Reader::new(body);
        let update = reader.array().and_then(|_| Ok((reader.uint()?, reader.bin()?)));
        let (Some(receiving), Ok((segment, hashes))) = (self.transfers.incoming.get_mut(&hash), update) else { return };
        let step = receiving.incoming.handle_map(now.mono, segment, hashes.as_chunks().0);
        self.handle_incoming_step(now, rng, hash, step);
    }

    /// The sender gives up; the answer tells it that nobody waits any more. Between two segments it names the first.
    pub(super) fn handle_sender_cancel(&mut self, now: Now, rng: &mut dyn CryptoRng, plaintext: &[u8]) {
        let Some(hash) = ResourceHash::from_slice(plaintext) else { return };
        self.drop_held_offer(hash);
        if self.transfers.incoming.contains_key(&hash) {
            return self.handle_incoming_step(now, rng, hash, IncomingStep::Cancel);
        }
        let offered = self.transfers.offers.iter().find(|(_, offer)| offer.hash == hash).map(|(id, _)| *id);
        if let Some(id) = offered {
            self.forget_offer(id);
            self.resource_event(id, ResourceEvent::Ended(ResourceOutcome::Failed));
        }
        let between = |(id, arriving): &(&TransferId, &Arriving)| arriving.original == hash && !self.is_receiving(**id);
        if let Some(id) = self.transfers.arriving.iter().find(between).map(|(id, _)| *id) {
            self.end_arriving(now, rng, id, ResourceOutcome::Failed);
        }
    }

    /// This end wants no more of a resource that is offered or arriving; between two segments it names the first.
    pub(super) fn cancel_arriving(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        resource: TransferId,
    ) -> Result<(), LinkError> {
        if let Some(offer) = self.forget_offer(resource) {
            self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, offer.hash);
            self.resource_event(resource, ResourceEvent::Ended(ResourceOutcome::Cancelled));
            return Ok(());
        }
        let is_plain = |arriving: &&Arriving| arriving.purpose == Purpose::Plain;
        let arriving = self.transfers.arriving.get(&resource).filter(is_plain).ok_or(LinkError::UnknownResource)?;
        let current = self.transfers.incoming.iter().find(|(_, receiving)| receiving.transfer == resource);
        let hash = current.map_or(arriving.original, |(hash, _)| *hash);
        self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
        self.end_arriving(now, rng, resource, ResourceOutcome::Cancelled);
        Ok(())
    }

    pub(super) fn handle_assembled(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        hash: ResourceHash,
        content: Result<Content, Corrupt>,
    ) {
        if !self.transfers.incoming.contains_key(&hash) {
            return;
        }
        match content {
            Ok(content) => self.complete_incoming(now, rng, hash, content),
            // The sender runs into its timer.
            Err(Corrupt::Mismatch) => self.fail_incoming(now, rng, hash, ResourceOutcome::Corrupt),
            Err(Corrupt::Endless) => {
                self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
                self.fail_incoming(now, rng, hash, ResourceOutcome::Corrupt);
                self.teardown(now, rng, LinkCloseReason::Violation);
            }
        }
    }

    fn complete_incoming(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash, content: Content) {
        let Some(id) = self.take_incoming(hash) else { return };
        let Some(arriving) = self.transfers.arriving.get_mut(&id) else { return };
        if arriving.purpose != Purpose::Plain && content.body.len() > arriving.room() {
            self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
            return self.end_arriving(now, rng, id, ResourceOutcome::Failed);
        }
        let (purpose, offset) = (arriving.purpose, arriving.offset);
        let is_last = arriving.take(now.mono, &content);
        let body = [hash.as_ref(), &content.proof].concat();
        let proof = self.packet(PacketKind::Proof, Context::RESOURCE_PROOF, body.into());
        self.transfers.proofs.insert(hash, (proof.hash(), proof.clone()));
        self.transmit(now, proof);
        if purpose == Purpose::Plain {
            let Content { metadata, body, .. } = content.clone();
            self.transfers.untaken.push(id, offset, body.len());
            self.resource_event(id, ResourceEvent::Segment { offset, metadata, data: body });
        }
        if !is_last {
            return self.timers.set(Timer::Arriving(id), now.mono + NEXT_SEGMENT_TIMEOUT);
        }
        let Some(arriving) = self.transfers.arriving.remove(&id) else { return };
        match purpose {
            Purpose::Plain => self.resource_event(id, ResourceEvent::Ended(ResourceOutcome::Received)),
            Purpose::Request(_) => {
                let body = arriving.whole(content).body;
                self.handle_request(RequestId::new(sha256_head(&[&body])), &body);
            }
            Purpose::Response(request) => {
                let whole = arriving.whole(content);
                self.handle_response(now, rng, request, whole.metadata, whole.body);
            }
        }
    }

    /// A segment is no longer arriving; what was learned of the link is kept.
    fn take_incoming(&mut self, hash: ResourceHash) -> Option<TransferId> {
        let receiving = self.transfers.incoming.remove(&hash)?;
        self.timers.clear(Timer::Incoming(hash));
        self.transfers.window = Some(receiving.incoming.window.size);
        self.transfers.rate_bps = Some(receiving.incoming.rate_bps());
        Some(receiving.transfer)
    }

    fn fail_incoming(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash, outcome: ResourceOutcome) {
        if let Some(id) = self.take_incoming(hash) {
            self.end_arriving(now, rng, id, outcome);
        }
    }

    /// A resource does not become whole.
    pub(super) fn end_arriving(&mut self, now: Now, rng: &mut dyn CryptoRng, id: TransferId, outcome: ResourceOutcome) {
        let current = self.transfers.incoming.iter().find(|(_, receiving)| receiving.transfer == id);
        if let Some(hash) = current.map(|(hash, _)| *hash) {
            self.take_incoming(hash);
        }
        self.timers.clear(Timer::Arriving(id));
        match self.transfers.arriving.remove(&id).map(|arriving| arriving.purpose) {
            Some(Purpose::Response(request)) => self.conclude_request(now, rng, request, Err(RequestError::Failed)),
            Some(Purpose::Plain) => self.resource_event(id, ResourceEvent::Ended(outcome)),
            Some(Purpose::Request(_)) | None => {}
        }
    }

    /// The next segment did not come.
    pub(super) fn handle_arriving_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, id: TransferId) {
        if !self.is_receiving(id) {
            self.end_arriving(now, rng, id, ResourceOutcome::Failed);
        }
    }

    /// The sender of a resource misses its proof. A proof that was never made means that parts got lost.
    pub(super) fn handle_cache_request(&mut self, now: Now, rng: &mut dyn CryptoRng, data: &[u8]) {
        let Some(wanted) = PacketHash::from_slice(data) else { return };
        let kept = self.transfers.proofs.iter().find(|(_, (hash, _))| *hash == wanted);
        if let Some(proof) = kept.map(|(_, (_, proof))| proof.clone()) {
            self.heard(now);
            return self.transmit(now, proof);
        }
        let hashes: Vec<ResourceHash> = self.transfers.incoming.keys().copied().collect();
        for hash in hashes {
            self.nudge_incoming(now, rng, hash);
        }
    }

    /// The sender shows that it waits. If nothing came for a round trip, the last request or its parts got lost: asking
    /// again now is better than waiting for the retry timer, which can be later than the sender's patience. That timer stays
    /// as it is, since cache requests can be forged: they keep nothing up whose sender is gone.
    pub(super) fn nudge_incoming(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash) {
        let rtt = self.rtt.unwrap_or_default();
        let Some(receiving) = self.transfers.incoming.get_mut(&hash) else { return };
        if receiving.incoming.nudge(now.mono, rtt)
            && let Some((incoming, len)) = self.request_parts(now, rng, hash)
        {
            incoming.asked(now.mono, len);
        }
    }
}
