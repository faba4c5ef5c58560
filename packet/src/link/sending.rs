//! Resources that go out: one at a time is on its way. docs/protocol/2-link.md, section 9.

use bytes::Bytes;
use rand_core::CryptoRng;

use super::job::{LinkJob, LinkJobResult, Outcome, Work};
use super::transfer::{Current, OUTGOING_BYTES_MAX, OUTGOING_MAX, Purpose, RTT_FACTOR, Stage, Transfer, Transfers};
use super::{Link, LinkError, LinkEvent, LinkState, ResourceOutcome, Timer};
use crate::hash::{PacketHash, RequestId, ResourceHash};
use crate::resource::{
    Outgoing, OutgoingStep, PREFIX_LEN, PartRequest, Prepare, ResourceFlags, SEGMENT_MAX, Segment, part_size,
};
use crate::stack::RequestError;
use crate::time::Now;
use crate::wire::{Context, PacketKind};

/// How an outgoing resource ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Delivered,
    Failed,
    Rejected,
}

impl Link {
    /// Sends a resource outside requests, at most one segment. `metadata` is one MessagePack value. Ends with
    /// [`LinkEvent::Resource`].
    ///
    /// # Errors
    /// When the link is not active, the data is empty (peers cannot read that with metadata) or too large, or too much
    /// waits already.
    pub fn send_resource(
        &mut self,
        rng: &mut dyn CryptoRng,
        metadata: Option<Bytes>,
        body: Bytes,
    ) -> Result<(), LinkError> {
        if !self.is_up() {
            return Err(LinkError::NotActive);
        }
        if body.is_empty() || metadata.as_ref().is_some_and(|value| crate::msgpack::check_single(value).is_err()) {
            return Err(LinkError::Body);
        }
        self.enqueue(rng, Transfer { metadata, ..Transfer::new(Purpose::Plain, body) })
    }

    /// Queues a resource; one at a time is on its way.
    pub(super) fn enqueue(&mut self, rng: &mut dyn CryptoRng, transfer: Transfer) -> Result<(), LinkError> {
        if transfer.len() > SEGMENT_MAX {
            return Err(LinkError::TooLarge { len: transfer.len(), max: SEGMENT_MAX });
        }
        let waiting: usize = self.transfers.waiting.iter().map(Transfer::len).sum();
        if self.transfers.waiting.len() >= OUTGOING_MAX || waiting + transfer.len() > OUTGOING_BYTES_MAX {
            return Err(LinkError::Full);
        }
        self.transfers.waiting.push_back(transfer);
        self.advance(rng);
        Ok(())
    }

    /// Starts on the next resource when none is on its way.
    fn advance(&mut self, rng: &mut dyn CryptoRng) {
        if self.transfers.current.is_some() {
            return;
        }
        let Some(key) = self.keys.clone() else { return };
        let Some(transfer) = self.transfers.waiting.pop_front() else { return };
        let (mut prefix, mut random, mut iv) = ([0; PREFIX_LEN], [0; 4], [0; 16]);
        rng.fill_bytes(&mut prefix);
        rng.fill_bytes(&mut random);
        rng.fill_bytes(&mut iv);
        let number = self.transfers.jobs;
        self.transfers.jobs += 1;
        let patience = transfer.patience.unwrap_or_else(|| self.rtt.unwrap_or_default().saturating_mul(RTT_FACTOR));
        self.transfers.current =
            Some(Current { purpose: transfer.purpose, patience, stage: Stage::Preparing { number } });
        let segment = Prepare {
            metadata: transfer.metadata,
            body: transfer.body,
            compress: transfer.compress,
            key,
            part_size: part_size(self.mtu),
            prefix,
            iv,
            random,
        };
        self.jobs.push_back(LinkJob(Work::Prepare { number, segment }));
    }

    /// Takes back the result of a job. `poll_*` may have news afterwards.
    pub fn handle_job(&mut self, now: Now, rng: &mut dyn CryptoRng, done: LinkJobResult) {
        if self.state == LinkState::Closed {
            return;
        }
        match done.0 {
            Outcome::Prepared { number, segment } => self.handle_prepared(now, rng, number, segment),
            Outcome::Assembled { resource, content } => self.handle_assembled(now, rng, resource, content),
        }
    }

    fn handle_prepared(&mut self, now: Now, rng: &mut dyn CryptoRng, number: u64, segment: Option<Segment>) {
        let Some(Current { purpose, patience, stage: stage @ Stage::Preparing { .. } }) = &mut self.transfers.current
        else {
            return;
        };
        if !matches!(stage, Stage::Preparing { number: expected } if *expected == number) {
            return;
        }
        let Some(segment) = segment else { return self.finish_outgoing(now, rng, Ending::Failed) };
        let (request, kind) = match *purpose {
            Purpose::Request(id) => (Some(id), ResourceFlags::REQUEST),
            Purpose::Response(id) => (Some(id), ResourceFlags::RESPONSE),
            Purpose::Plain => (None, ResourceFlags::default()),
        };
        *stage = Stage::Sending(Box::new(Outgoing::new(now.mono, segment, request, kind, *patience)));
        self.handle_outgoing_step(now, rng, OutgoingStep::Advertise);
    }

    fn handle_outgoing_step(&mut self, now: Now, rng: &mut dyn CryptoRng, step: OutgoingStep) {
        let Some(outgoing) = self.transfers.outgoing() else { return };
        let hash = outgoing.hash();
        let sent = match step {
            OutgoingStep::Wait => true,
            OutgoingStep::Advertise => {
                let advertisement = outgoing.advertisement();
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
        let Some(outgoing) = self.transfers.outgoing_named(request.hash.as_ref()) else {
            // Given up or done; the cancel that said so may have been lost. Who has it all ignores this.
            return self.send_cancel(now, rng, Context::RESOURCE_SENDER_CANCEL, request.hash);
        };
        let step = outgoing.handle_request(now.mono, packet, &request);
        self.handle_outgoing_step(now, rng, step);
    }

    pub(super) fn handle_resource_proof(&mut self, now: Now, rng: &mut dyn CryptoRng, data: &[u8]) {
        if self.transfers.outgoing().is_some_and(|outgoing| outgoing.is_proof(data)) {
            self.heard(now);
            self.finish_outgoing(now, rng, Ending::Delivered);
        }
    }

    pub(super) fn handle_receiver_cancel(&mut self, now: Now, rng: &mut dyn CryptoRng, plaintext: &[u8]) {
        if self.transfers.outgoing_named(plaintext).is_some() {
            self.finish_outgoing(now, rng, Ending::Rejected);
        }
    }

    fn finish_outgoing(&mut self, now: Now, rng: &mut dyn CryptoRng, ending: Ending) {
        self.timers.clear(Timer::Outgoing);
        let Some(current) = self.transfers.current.take() else { return };
        match (current.purpose, ending) {
            (Purpose::Request(id), Ending::Delivered) => self.request_delivered(now, id),
            (Purpose::Request(id), Ending::Failed) => self.conclude_request(now, rng, id, Err(RequestError::Timeout)),
            (Purpose::Request(id), Ending::Rejected) => self.conclude_request(now, rng, id, Err(RequestError::Failed)),
            // The peer's request runs into its timeout.
            (Purpose::Response(_), _) => {}
            (Purpose::Plain, ending) => {
                if let Stage::Sending(outgoing) = current.stage {
                    let outcome = match ending {
                        Ending::Delivered => ResourceOutcome::Delivered,
                        Ending::Failed => ResourceOutcome::Failed,
                        Ending::Rejected => ResourceOutcome::Rejected,
                    };
                    self.events.push_back(LinkEvent::Resource { resource: outgoing.hash(), outcome });
                }
            }
        }
        self.advance(rng);
    }

    /// The request is over: its resource, if it is still on its way or waits, is not needed.
    pub(super) fn drop_request_transfer(&mut self, now: Now, rng: &mut dyn CryptoRng, id: RequestId) {
        self.transfers.waiting.retain(|transfer| transfer.purpose != Purpose::Request(id));
        if self.transfers.current.as_ref().is_some_and(|current| current.purpose == Purpose::Request(id)) {
            self.finish_outgoing(now, rng, Ending::Delivered);
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
        if let Some(Current { purpose: Purpose::Plain, stage: Stage::Sending(outgoing), .. }) = transfers.current {
            self.events.push_back(LinkEvent::Resource { resource: outgoing.hash(), outcome: ResourceOutcome::Failed });
        }
        for (resource, receiving) in transfers.incoming {
            if receiving.purpose == Purpose::Plain {
                self.events.push_back(LinkEvent::Resource { resource, outcome: ResourceOutcome::Failed });
            }
        }
    }
}
