//! Resources that come in: which are taken, and what becomes of them. docs/protocol/2-link.md, sections 6 and 9.

use rand_core::CryptoRng;

use super::job::{LinkJob, Work};
use super::transfer::{INCOMING_BYTES_MAX, INCOMING_MAX, Purpose, Receiving, ResourceStrategy};
use super::{Link, LinkEvent, ResourceOutcome, Timer};
use crate::crypto::Token;
use crate::hash::{PacketHash, RequestId, ResourceHash, sha256_head};
use crate::msgpack::Reader;
use crate::resource::{
    Advertisement, Assemble, Content, Corrupt, Incoming, IncomingStep, MTU_MIN, PREFIX_LEN, ResourceFlags, SEGMENT_MAX,
    part_size,
};
use crate::stack::{LinkCloseReason, RequestError};
use crate::time::Now;
use crate::wire::{Context, PacketKind, PacketRef};

impl Link {
    /// A resource is offered. docs/protocol/2-link.md, section 9.4.
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
        if advertisement.is_response().is_some_and(|id| self.requests.is_expired(&id)) {
            // Peers send one resource at a time: the response to the repeated request would wait behind this one.
            return self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
        }
        let Some((purpose, limit)) = self.purpose_of(&advertisement) else { return };
        let welcome = self.is_welcome(&advertisement, purpose, limit);
        // A response that is refused ends its request; one whose map is longer than it can be is passed over.
        if welcome && advertisement.map.len() > advertisement.transfer_size.div_ceil(part_size(self.mtu).max(1)) {
            return;
        }
        if !welcome || advertisement.map.is_empty() {
            self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
            match purpose {
                Purpose::Response(id) => self.conclude_request(now, rng, id, Err(RequestError::Failed)),
                Purpose::Plain if welcome => {
                    self.events.push_back(LinkEvent::Resource { resource: hash, outcome: ResourceOutcome::Failed });
                }
                _ => {}
            }
            return;
        }
        if let Purpose::Response(id) = purpose {
            self.response_begins(now, rng, id);
        }
        let incoming = Incoming::new(
            now.mono,
            advertisement,
            part_size(self.mtu),
            self.transfers.window,
            self.expected_rate_bps(),
        );
        self.transfers.incoming.insert(hash, Receiving { purpose, limit, incoming });
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
            ResourceStrategy::Choose(_) | ResourceStrategy::All => Some((Purpose::Plain, SEGMENT_MAX)),
        }
    }

    /// Whether it can be taken: one segment, within the limits, with room for it.
    fn is_welcome(&self, advertisement: &Advertisement, purpose: Purpose, limit: usize) -> bool {
        let wanted = match (purpose, self.options.resources) {
            (Purpose::Plain, ResourceStrategy::Choose(choose)) => choose(advertisement),
            (Purpose::Plain, _) => true,
            (Purpose::Request(_) | Purpose::Response(_), _) => {
                // Who sends more than the data could take, encrypted, misstates its size.
                let most = Token::sealed_len(limit.min(SEGMENT_MAX).saturating_add(PREFIX_LEN));
                advertisement.total_size <= u64::try_from(limit).unwrap_or(u64::MAX)
                    && advertisement.transfer_size <= most
            }
        };
        let arriving: usize = self.transfers.incoming.values().map(|other| other.incoming.transfer_size()).sum();
        wanted
            && advertisement.segments <= 1
            && self.mtu >= MTU_MIN
            && self.has_room()
            && self.transfers.incoming.len() < INCOMING_MAX
            && arriving + advertisement.transfer_size <= INCOMING_BYTES_MAX
    }

    /// What the first resource of a link is timed by is the handshake. docs/protocol/2-link.md, section 9.8.
    fn expected_rate_bps(&self) -> f64 {
        self.transfers.rate_bps.unwrap_or_else(|| {
            let rtt = self.rtt.unwrap_or_default().as_secs_f64().max(1e-6);
            self.establishment_cost as f64 * 8.0 / rtt
        })
    }

    fn handle_incoming_step(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash, step: IncomingStep) {
        let Some(receiving) = self.transfers.incoming.get_mut(&hash) else { return };
        match step {
            IncomingStep::Wait => {}
            IncomingStep::Request => {
                let request = receiving.incoming.next_request();
                let sent = self.send_sealed(now, rng, Context::RESOURCE_REQUEST, &request);
                if let (Some(receiving), Some(len)) = (self.transfers.incoming.get_mut(&hash), sent) {
                    receiving.incoming.requested(now.mono, len);
                }
            }
            IncomingStep::Assemble => {
                let Some(key) = self.keys.clone() else { return };
                let flags = receiving.incoming.flags();
                let assemble = Assemble {
                    hash,
                    random: receiving.incoming.random(),
                    stream: receiving.incoming.take_stream(),
                    compressed: flags.contains(ResourceFlags::COMPRESSED),
                    has_metadata: flags.contains(ResourceFlags::METADATA),
                    key,
                    limit: receiving.limit.min(self.options.decompression_limit),
                };
                self.jobs.push_back(LinkJob(Work::Assemble(assemble)));
            }
            IncomingStep::Cancel => {
                self.send_cancel(now, rng, Context::RESOURCE_RECEIVER_CANCEL, hash);
                return self.fail_incoming(now, rng, hash, ResourceOutcome::Failed);
            }
        }
        match self.transfers.incoming.get(&hash).and_then(|receiving| receiving.incoming.deadline()) {
            Some(deadline) => self.timers.set(Timer::Incoming(hash), deadline),
            None => self.timers.clear(Timer::Incoming(hash)),
        }
    }

    pub(super) fn handle_incoming_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash) {
        if let Some(receiving) = self.transfers.incoming.get_mut(&hash) {
            let step = receiving.incoming.handle_timeout();
            self.handle_incoming_step(now, rng, hash, step);
        }
    }

    /// A part does not say where it belongs, so every arriving resource looks at it.
    pub(super) fn handle_part(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketRef<'_>) {
        let hashes: Vec<ResourceHash> = self.transfers.incoming.keys().copied().collect();
        for hash in hashes {
            let Some(receiving) = self.transfers.incoming.get_mut(&hash) else { continue };
            let before = receiving.incoming.received();
            let step = receiving.incoming.handle_part(now.mono, packet.data(), packet.frame().len());
            let (received, total) = (receiving.incoming.received(), receiving.incoming.transfer_size());
            let purpose = receiving.purpose;
            if received > before {
                self.heard(now);
                if let Purpose::Response(request) = purpose {
                    self.report_progress(request, received, total);
                }
            }
            self.handle_incoming_step(now, rng, hash, step);
        }
    }

    fn report_progress(&mut self, request: RequestId, received: usize, total: usize) {
        let event = LinkEvent::Responding { request, received, total };
        let room = self.has_room();
        match self.events.back_mut() {
            Some(LinkEvent::Responding { request: last, received: so_far, .. }) if *last == request => {
                *so_far = received
            }
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

    /// The sender gives up; the answer tells it that nobody waits any more.
    pub(super) fn handle_sender_cancel(&mut self, now: Now, rng: &mut dyn CryptoRng, plaintext: &[u8]) {
        let Some(hash) = ResourceHash::from_slice(plaintext) else { return };
        self.handle_incoming_step(now, rng, hash, IncomingStep::Cancel);
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
        let Some(purpose) = self.take_incoming(hash) else { return };
        let body = [hash.as_ref(), &content.proof].concat();
        let proof = self.packet(PacketKind::Proof, Context::RESOURCE_PROOF, body.into());
        self.transfers.proofs.insert(hash, (proof.hash(), proof.clone()));
        self.transmit(now, proof);
        match purpose {
            Purpose::Request(_) => {
                self.handle_request(RequestId::new(sha256_head(&[&content.body])), &content.body);
            }
            Purpose::Response(id) => self.handle_response(now, rng, id, content.metadata.as_ref(), content.body),
            Purpose::Plain => {
                let outcome = ResourceOutcome::Received { metadata: content.metadata, body: content.body };
                self.events.push_back(LinkEvent::Resource { resource: hash, outcome });
            }
        }
    }

    fn take_incoming(&mut self, hash: ResourceHash) -> Option<Purpose> {
        let receiving = self.transfers.incoming.remove(&hash)?;
        self.timers.clear(Timer::Incoming(hash));
        self.transfers.window = Some(receiving.incoming.window.size);
        self.transfers.rate_bps = Some(receiving.incoming.rate_bps());
        Some(receiving.purpose)
    }

    fn fail_incoming(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash, outcome: ResourceOutcome) {
        match self.take_incoming(hash) {
            Some(Purpose::Response(id)) => self.conclude_request(now, rng, id, Err(RequestError::Failed)),
            Some(Purpose::Plain) => self.events.push_back(LinkEvent::Resource { resource: hash, outcome }),
            Some(Purpose::Request(_)) | None => {}
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
    /// again now is better than waiting for the retry timer, which can be later than the sender's patience.
    fn nudge_incoming(&mut self, now: Now, rng: &mut dyn CryptoRng, hash: ResourceHash) {
        let Some(receiving) = self.transfers.incoming.get(&hash) else { return };
        if receiving.incoming.is_idle(now.mono, self.rtt.unwrap_or_default()) {
            self.handle_incoming_step(now, rng, hash, IncomingStep::Request);
        }
    }
}
