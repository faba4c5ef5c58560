//! Resources that go out: one at a time is on its way, the next segments of it are made ready meanwhile.
//! docs/protocol/2-link.md, section 9.

use bytes::Bytes;
use rand_core::CryptoRng;

use super::job::{LinkJob, LinkJobResult, Outcome, Work};
use super::source::Source;
use super::transfer::{
    OUTGOING_BYTES_MAX, OUTGOING_MAX, PREPARED_AHEAD, Purpose, RTT_FACTOR, ResourceOptions, Sending, Transfer,
    TransferId, Transfers,
};
use super::{Link, LinkError, LinkState, ResourceEvent, ResourceOutcome, Timer};
use crate::hash::{PacketHash, RequestId, ResourceHash};
use crate::resource::{
    Heading, Outgoing, OutgoingStep, PREFIX_LEN, PartRequest, Prepare, ResourceFlags, SEGMENT_MAX, Segment, part_size,
};
use crate::stack::RequestError;
use crate::time::Now;
use crate::wire::{Context, PacketKind};

/// How an outgoing resource ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Delivered,
    Failed,
    Rejected,
    Cancelled,
    Unsupplied,
}

impl Link {
    /// Sends a resource of any size outside requests. Ends with [`ResourceEvent::Ended`].
    ///
    /// # Errors
    /// When the link is not active, the data is empty (peers cannot read that with metadata), the metadata is not one
    /// MessagePack value or longer than a segment, or too much waits already.
    pub fn send_resource(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        body: Bytes,
        options: ResourceOptions,
    ) -> Result<TransferId, LinkError> {
        self.send_from(now, rng, Source::Whole(body), options)
    }

    pub(super) fn send_from(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        source: Source,
        options: ResourceOptions,
    ) -> Result<TransferId, LinkError> {
        if !self.is_up() {
            return Err(LinkError::NotActive);
        }
        let malformed = |value: &Bytes| crate::msgpack::check_single(value).is_err();
        if source.len() == 0 || options.metadata.as_ref().is_some_and(malformed) {
            return Err(LinkError::Body);
        }
        let id = self.transfers.next_id();
        self.enqueue(now, rng, Transfer::new(id, Purpose::Plain, source, options))?;
        Ok(id)
    }

    /// Ends a resource in either direction; an offered one is refused. The peer is told.
    ///
    /// # Errors
    /// When there is no such resource outside requests any more.
    pub fn cancel_resource(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        resource: TransferId,
    ) -> Result<(), LinkError> {
        let of_it = |transfer: &Transfer| transfer.id == resource && transfer.purpose == Purpose::Plain;
        if let Some(index) = self.transfers.waiting.iter().position(of_it) {
            self.transfers.waiting.remove(index);
            self.resource_event(resource, ResourceEvent::Ended(ResourceOutcome::Cancelled));
            return Ok(());
        }
        if self.transfers.sending.as_ref().is_some_and(|sending| of_it(&sending.transfer)) {
            self.cancel_sending(now, rng);
            self.finish_outgoing(now, rng, Ending::Cancelled);
            return Ok(());
        }
        self.cancel_arriving(now, rng, resource)
    }

    /// Tells the receiver that nothing more comes; between two segments, by the hash of the first.
    pub(super) fn cancel_sending(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        let Some(sending) = &self.transfers.sending else { return };
        let current = sending.current.as_ref().map(|outgoing| outgoing.hash());
        if let Some(hash) = current.or(sending.original) {
            self.send_cancel(now, rng, Context::RESOURCE_SENDER_CANCEL, hash);
        }
    }

    /// Queues a resource; one at a time is on its way.
    pub(super) fn enqueue(&mut self, now: Now, rng: &mut dyn CryptoRng, transfer: Transfer) -> Result<(), LinkError> {
        if transfer.block_len() > SEGMENT_MAX {
            return Err(LinkError::TooLarge { len: transfer.block_len(), max: SEGMENT_MAX });
        }
        let waiting: usize = self.transfers.waiting.iter().map(|transfer| transfer.source.held()).sum();
        let crowded = waiting > 0 && waiting + transfer.source.held() > OUTGOING_BYTES_MAX;
        if self.transfers.waiting.len() >= OUTGOING_MAX || crowded {
            return Err(LinkError::Full);
        }
        self.transfers.waiting.push_back(transfer);
        self.advance(now, rng);
        Ok(())
    }

    /// Starts on the next resource when none is on its way, has the next segments made ready, and sends the one whose turn
    /// it is.
    pub(super) fn advance(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        if self.transfers.sending.is_none() {
            let Some(transfer) = self.transfers.waiting.pop_front() else { return };
            let patience = transfer.patience.unwrap_or_else(|| self.rtt.unwrap_or_default().saturating_mul(RTT_FACTOR));
            self.transfers.sending = Some(Sending::new(transfer, patience));
        }
        self.prepare_ahead(rng);
        let Some(sending) = &mut self.transfers.sending else { return };
        if sending.current.is_some() {
            return;
        }
        let Some(segment) = sending.ready.remove(&(sending.proved + 1)) else {
            return self.await_supply(now);
        };
        let heading = sending.heading();
        let outgoing = Box::new(Outgoing::new(now.mono, segment, heading, sending.patience));
        sending.original.get_or_insert(outgoing.hash());
        sending.current = Some(outgoing);
        // While it is on its way there is time for the next.
        self.prepare_ahead(rng);
        self.handle_outgoing_step(now, rng, OutgoingStep::Advertise);
    }

    /// Has segments made ready as far ahead as they should be. Before the first one is on its way no other is begun: it
    /// would only delay that.
    fn prepare_ahead(&mut self, rng: &mut dyn CryptoRng) {
        while let Some(sending) = &mut self.transfers.sending {
            let ahead = if sending.original.is_some() { PREPARED_AHEAD } else { 0 };
            let next = sending.begun + 1;
            if sending.wanted || next > sending.transfer.segments() || sending.begun > sending.proved + ahead {
                return;
            }
            let (offset, len) = sending.transfer.share(next);
            match sending.transfer.source.slice(offset, len) {
                Some(data) => self.prepare(rng, data),
                None => {
                    sending.wanted = true;
                    let id = sending.transfer.id;
                    return self.resource_event(id, ResourceEvent::Wanted { offset, len });
                }
            }
        }
    }

    /// Has the next segment made ready from its share of the data.
    pub(super) fn prepare(&mut self, rng: &mut dyn CryptoRng, body: Bytes) {
        let rate = self.transfers.sent_rate;
        let (Some(key), Some(sending)) = (self.keys.get().cloned(), &mut self.transfers.sending) else { return };
        sending.begun += 1;
        let (mut prefix, mut random, mut iv) = ([0; PREFIX_LEN], [0; 4], [0; 16]);
        rng.fill_bytes(&mut prefix);
        rng.fill_bytes(&mut random);
        rng.fill_bytes(&mut iv);
        let transfer = &sending.transfer;
        let segment = Prepare {
            metadata: transfer.metadata.clone().filter(|_| sending.begun == 1),
            body,
            compress: transfer.compression.effort(transfer.source.len(), rate),
            key,
            part_size: part_size(self.mtu),
            prefix,
            iv,
            random,
        };
        let work = Work::Prepare { transfer: transfer.id, number: sending.begun, segment };
        self.jobs.push_back(LinkJob(work));
    }

    /// Takes back the result of a job. `poll_*` may have news afterwards.
    pub fn handle_job(&mut self, now: Now, rng: &mut dyn CryptoRng, done: LinkJobResult) {
        if self.state == LinkState::Closed {
            return;
        }
        match done.0 {
            Outcome::Agreed(key) => self.keys.agreed(key),
            Outcome::Prepared { transfer, number, segment } => {
                self.handle_prepared(now, rng, transfer, number, segment);
            }
            Outcome::Assembled { resource, len, content } => {
                self.transfers.assembling = self.transfers.assembling.saturating_sub(len);
                self.handle_assembled(now, rng, resource, content);
            }
        }
    }

    fn handle_prepared(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        transfer: TransferId,
        number: u64,
        segment: Option<Segment>,
    ) {
        let is_it = |sending: &&mut Sending| sending.transfer.id == transfer;
        let Some(sending) = self.transfers.sending.as_mut().filter(is_it) else { return };
        let Some(segment) = segment else {
            self.cancel_sending(now, rng);
            return self.finish_outgoing(now, rng, Ending::Failed);
        };
        sending.ready.insert(number, segment);
        self.advance(now, rng);
    }

    fn handle_outgoing_step(&mut self, now: Now, rng: &mut dyn CryptoRng, step: OutgoingStep) {
        let Some(outgoing) = self.transfers.outgoing() else { return };
        let hash = outgoing.hash();
        let sent = match step {
            OutgoingStep::Wait => true,
            OutgoingStep::Advertise => {
                let advertisement = outgoing.advertisement(self.options.says_ready);
                self.send_sealed(now, rng, Context::RESOURCE_ADVERTISEMENT, &advertisement).is_some()
            }
            OutgoingStep::Send { parts, update } => {
                for part in parts {
                    let packet = self.packet(PacketKind::Data, Context::RESOURCE, part);
                    self.transmit(now, packet);
                }
                update.is_none_or(|update| {
                    self.send_sealed(now, rng, Context::RESOURCE_HASHMAP_UPDATE, &update).is_some()
                })
            }
            OutgoingStep::AskForProof => {
                let expected = outgoing.expected_proof();
                let proof = self.packet(PacketKind::Proof, Context::RESOURCE_PROOF, expected.into()).hash();
                let packet =
                    self.packet(PacketKind::Data, Context::CACHE_REQUEST, Bytes::copy_from_slice(proof.as_bytes()));
                self.transmit(now, packet);
                true
            }
            OutgoingStep::Cancel => {
                self.send_cancel(now, rng, Context::RESOURCE_SENDER_CANCEL, hash);
                false
            }
        };
        match self.transfers.outgoing() {
            Some(outgoing) if sent => {
                let deadline = outgoing.deadline();
                self.timers.set(Timer::Outgoing, deadline);
            }
            // Cancelled, or a message does not fit the link MTU, which no repetition will change.
            _ => self.finish_outgoing(now, rng, Ending::Failed),
        }
    }

    pub(super) fn handle_outgoing_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        if let Some(outgoing) = self.transfers.outgoing() {
            let step = outgoing.handle_timeout(now.mono);
            self.handle_outgoing_step(now, rng, step);
        }
    }

    pub(super) fn handle_part_request(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        packet: PacketHash,
        plaintext: &[u8],
    ) {
        let Some(request) = PartRequest::parse(plaintext) else { return };
        let Some(outgoing) = self.transfers.outgoing().filter(|outgoing| outgoing.hash() == request.hash) else {
            // Given up or done; the cancel that said so may have been lost. Who has it all ignores this, but the hash of the
            // first segment, between two others, would cancel them all: a late request for that one means nothing.
            if self.transfers.is_sending(request.hash.as_ref()) {
                return;
            }
            return self.send_cancel(now, rng, Context::RESOURCE_SENDER_CANCEL, request.hash);
        };
        let step = outgoing.handle_request(now.mono, packet, &request);
        self.handle_outgoing_step(now, rng, step);
        self.report_sent();
    }

    /// Tells how much of a resource outside requests went out.
    fn report_sent(&mut self) {
        let Some(sending) = &self.transfers.sending else { return };
        if sending.transfer.purpose == Purpose::Plain {
            let (id, total) = (sending.transfer.id, sending.transfer.total());
            let current = sending.current.as_ref().map_or(0, |outgoing| outgoing.sent_content());
            let done = sending.done.saturating_add(current).min(total);
            self.resource_progress(id, done, total);
        }
    }

    pub(super) fn handle_resource_proof(&mut self, now: Now, rng: &mut dyn CryptoRng, data: &[u8]) {
        let Some(sending) = &mut self.transfers.sending else { return };
        let Some(proved) = sending.current.take_if(|outgoing| outgoing.is_proof(data)) else { return };
        sending.proved += 1;
        sending.done = sending.done.saturating_add(proved.content_len());
        let is_last = sending.proved >= sending.transfer.segments();
        self.transfers.sent_rate = proved.rate(now.mono).or(self.transfers.sent_rate);
        self.timers.clear(Timer::Outgoing);
        self.heard(now);
        if is_last {
            return self.finish_outgoing(now, rng, Ending::Delivered);
        }
        self.advance(now, rng);
    }

    pub(super) fn handle_receiver_cancel(&mut self, now: Now, rng: &mut dyn CryptoRng, plaintext: &[u8]) {
        if self.transfers.is_sending(plaintext) {
            self.finish_outgoing(now, rng, Ending::Rejected);
        }
    }

    pub(super) fn finish_outgoing(&mut self, now: Now, rng: &mut dyn CryptoRng, ending: Ending) {
        self.timers.clear(Timer::Outgoing);
        self.timers.clear(Timer::Supply);
        let Some(sending) = self.transfers.sending.take() else { return };
        match (sending.transfer.purpose, ending) {
            (Purpose::Request(id), Ending::Delivered) => self.request_delivered(now, id),
            (Purpose::Request(id), Ending::Failed | Ending::Unsupplied) => {
                self.conclude_request(now, rng, id, Err(RequestError::Timeout))
            }
            (Purpose::Request(id), Ending::Rejected) => self.conclude_request(now, rng, id, Err(RequestError::Failed)),
            // The peer's request runs into its timeout.
            (Purpose::Response(_), _) | (Purpose::Request(_), Ending::Cancelled) => {}
            (Purpose::Plain, ending) => {
                let outcome = match ending {
                    Ending::Delivered => ResourceOutcome::Delivered,
                    Ending::Failed => ResourceOutcome::Failed,
                    Ending::Rejected => ResourceOutcome::Rejected,
                    Ending::Cancelled => ResourceOutcome::Cancelled,
                    Ending::Unsupplied => ResourceOutcome::Unsupplied,
                };
                self.resource_event(sending.transfer.id, ResourceEvent::Ended(outcome));
            }
        }
        self.advance(now, rng);
    }

    /// The request is over: its resource, if it is still on its way or waits, is not needed.
    pub(super) fn drop_request_transfer(&mut self, now: Now, rng: &mut dyn CryptoRng, id: RequestId) {
        let purpose = Purpose::Request(id);
        self.transfers.waiting.retain(|transfer| transfer.purpose != purpose);
        if self.transfers.sending.as_ref().is_some_and(|sending| sending.transfer.purpose == purpose) {
            self.finish_outgoing(now, rng, Ending::Cancelled);
        }
    }

    pub(super) fn send_cancel(&mut self, now: Now, rng: &mut dyn CryptoRng, context: Context, resource: ResourceHash) {
        if self.is_up() {
            self.send_sealed(now, rng, context, resource.as_ref());
        }
    }

    /// Forgets all transfers; those of requests end with their requests.
    pub(super) fn abandon_transfers(&mut self) {
        let transfers = core::mem::replace(&mut self.transfers, Transfers::new());
        let sending = transfers.sending.into_iter().map(|sending| sending.transfer).chain(transfers.waiting);
        let outgoing = sending.filter(|transfer| transfer.purpose == Purpose::Plain).map(|transfer| transfer.id);
        let arriving = transfers.arriving.into_iter().filter(|(_, arriving)| arriving.purpose == Purpose::Plain);
        let ids = outgoing.chain(arriving.map(|(id, _)| id)).chain(transfers.offers.into_keys());
        for id in ids.collect::<Vec<_>>() {
            self.resource_event(id, ResourceEvent::Ended(ResourceOutcome::Failed));
        }
    }
}

impl Sending {
    /// What the advertisement of the segment after the proved ones says.
    fn heading(&self) -> Heading {
        let (request, kind) = match self.transfer.purpose {
            Purpose::Request(id) => (Some(id), ResourceFlags::REQUEST),
            Purpose::Response(id) => (Some(id), ResourceFlags::RESPONSE),
            Purpose::Plain => (None, ResourceFlags::default()),
        };
        Heading {
            request,
            flags: kind.with(ResourceFlags::METADATA, self.transfer.metadata.is_some()),
            total_size: self.transfer.total(),
            original: self.original,
            segment: self.proved + 1,
            segments: self.transfer.segments(),
        }
    }
}
