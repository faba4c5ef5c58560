//! Requests and responses. docs/protocol/2-link.md, section 6.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::source::Source;
use super::transfer::{Compression, Purpose, ResourceOptions, Transfer};
use super::{Link, LinkError, LinkEvent, LinkState, Timer};
use crate::bounded::Bounded;
use crate::destination::request_path_hash;
use crate::hash::{PacketHash, RequestId, sha256_head};
use crate::msgpack::{self, Reader, Writer};
use crate::resource::SEGMENT_MAX;
use crate::stack::RequestError;
use crate::time::Now;
use crate::wire::Context;

/// Most requests of this end that wait for a response.
pub const REQUESTS_MAX: usize = 64;
/// Most requests of the peer that wait for a response; the oldest makes room and can no longer be answered.
pub const ASKED_MAX: usize = 64;
/// Requests of this end that are remembered after they got no response in time.
const EXPIRED_MAX: usize = 64;
const TIMEOUT_RTT_FACTOR: u32 = 6;
const TIMEOUT_GRACE: Duration = Duration::from_millis(11_250);
const PATH_HASH_LEN: usize = 16;
/// `[id, value]` around a response.
const RESPONSE_FRAMING: usize = 1 + 2 + RequestId::LEN;
/// What the reference leaves out when it compares a response in a packet with the limit.
const RESPONSE_ALLOWANCE: usize = 2;

/// How a request is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOptions {
    /// How long to wait for the response to begin; `None` is `rtt * 6 + 11.25` seconds. It runs from the sending, for a
    /// request of several packets from its arrival.
    pub timeout: Option<Duration>,
    /// Largest response to accept, in bytes of its content. It is held in memory as a whole.
    pub max_response: usize,
}

impl Default for RequestOptions {
    /// The default timeout, and responses of at most one segment.
    fn default() -> Self {
        Self { timeout: None, max_response: SEGMENT_MAX }
    }
}

/// A request of this end.
#[derive(Debug)]
pub(super) struct Pending {
    timeout: Duration,
    pub(super) max_response: usize,
    /// A resource that answers it is arriving.
    pub(super) receiving: bool,
}

/// The requests of both ends.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) pending: BTreeMap<RequestId, Pending>,
    asked: Bounded<RequestId, ()>,
    /// No longer waited for: responses that come all the same are refused.
    expired: Bounded<RequestId, ()>,
    paths: BTreeMap<[u8; PATH_HASH_LEN], String>,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self {
            pending: BTreeMap::new(),
            asked: Bounded::new(ASKED_MAX),
            expired: Bounded::new(EXPIRED_MAX),
            paths: BTreeMap::new(),
        }
    }

    /// Whether this end made this request and gave it up.
    pub(super) fn is_expired(&self, id: &RequestId) -> bool {
        self.expired.contains_key(id)
    }

    /// Whether this end answers requests at all.
    pub(super) fn answers(&self) -> bool {
        !self.paths.is_empty()
    }
}

impl Link {
    /// Answers requests for `path` from now on: they come as [`LinkEvent::Requested`]. Requests for other paths are not
    /// answered.
    pub fn register_path(&mut self, path: &str) {
        self.requests.paths.insert(request_path_hash(path), path.to_owned());
    }

    /// Asks the peer for `path`. `body` is one MessagePack value (nil if there is nothing to say). Ends with exactly one
    /// [`LinkEvent::Responded`].
    ///
    /// # Errors
    /// When the link is not active, the body is not one value, or too many requests or bytes wait already.
    pub fn request(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        path: &str,
        body: &[u8],
        options: RequestOptions,
    ) -> Result<RequestId, LinkError> {
        if !self.is_up() {
            return Err(LinkError::NotActive);
        }
        msgpack::check_single(body).map_err(|_| LinkError::Body)?;
        if self.requests.pending.len() >= REQUESTS_MAX || self.packets.len() >= super::PACKETS_MAX {
            return Err(LinkError::Full);
        }
        let framed = Writer::with_capacity(body.len() + 32).array(3).float(now.unix.0 as f64);
        let packed = framed.bin(&request_path_hash(path)).raw(body).into_bytes();
        if let Some(packet) = self.seal(rng, Context::REQUEST, &packed) {
            let id = RequestId::new(packet.hash().truncated());
            self.insert_pending(now, id, options);
            self.transmit(now, packet);
            return Ok(id);
        }
        let id = RequestId::new(sha256_head(&[&packed]));
        if self.requests.pending.contains_key(&id) {
            // The same request in the same second: its id would be the same too.
            return Err(LinkError::Full);
        }
        // Peers repeat the advertisement of a request after its timeout, however long; a caller that is ready to wait for an
        // hour does not want to wait an hour for that.
        let patience = self.request_timeout(options).min(self.default_timeout());
        let name = self.transfers.next_id();
        let transfer = Transfer::new(name, Purpose::Request(id), packed.into(), ResourceOptions::default());
        self.enqueue(now, rng, transfer.with_patience(patience))?;
        self.insert_pending(now, id, options);
        // It is waited for once the request has arrived.
        self.timers.clear(Timer::Request(id));
        Ok(id)
    }

    fn default_timeout(&self) -> Duration {
        self.rtt.unwrap_or_default().saturating_mul(TIMEOUT_RTT_FACTOR) + TIMEOUT_GRACE
    }

    fn request_timeout(&self, options: RequestOptions) -> Duration {
        options.timeout.unwrap_or_else(|| self.default_timeout())
    }

    pub(super) fn insert_pending(&mut self, now: Now, id: RequestId, options: RequestOptions) {
        let timeout = self.request_timeout(options);
        let pending = Pending { timeout, max_response: options.max_response, receiving: false };
        self.requests.pending.insert(id, pending);
        self.timers.set(Timer::Request(id), now.mono + timeout);
    }

    /// Answers a request of [`LinkEvent::Requested`] with one MessagePack value of any size.
    ///
    /// # Errors
    /// When the link is not active, the body is not one value, too much waits already, or nobody waits for this response.
    pub fn respond(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        request: RequestId,
        body: &[u8],
    ) -> Result<(), LinkError> {
        self.respond_with(now, rng, request, body, Compression::Auto)
    }

    /// [`Link::respond`] with a say in whether a response that takes more than a packet is compressed.
    ///
    /// # Errors
    /// As [`Link::respond`].
    pub fn respond_with(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        request: RequestId,
        body: &[u8],
        compression: Compression,
    ) -> Result<(), LinkError> {
        self.may_respond(request)?;
        msgpack::check_single(body).map_err(|_| LinkError::Body)?;
        let framed = Writer::with_capacity(body.len() + RESPONSE_FRAMING).array(2);
        let packed = framed.bin(request.as_ref()).raw(body).into_bytes();
        if self.send_sealed(now, rng, Context::RESPONSE, &packed).is_none() {
            let options = ResourceOptions { metadata: None, compression };
            return self.respond_from(now, rng, request, packed.into(), options);
        }
        self.requests.asked.remove(&request);
        Ok(())
    }

    /// Answers a request with a file: its bytes as they are, and `metadata`, one MessagePack value. Peers cannot read a file
    /// without metadata; an empty map will do.
    ///
    /// # Errors
    /// As [`Link::respond`], and when the file is empty or the metadata longer than a segment.
    pub fn respond_file(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        request: RequestId,
        metadata: Bytes,
        body: Bytes,
        compression: Compression,
    ) -> Result<(), LinkError> {
        self.may_respond(request)?;
        msgpack::check_single(&metadata).map_err(|_| LinkError::Body)?;
        if body.is_empty() {
            return Err(LinkError::Body);
        }
        let options = ResourceOptions { metadata: Some(metadata), compression };
        self.respond_from(now, rng, request, Source::Whole(body), options)
    }

    fn may_respond(&self, request: RequestId) -> Result<(), LinkError> {
        if !self.is_up() {
            return Err(LinkError::NotActive);
        }
        if !self.requests.asked.contains_key(&request) {
            return Err(LinkError::UnknownRequest);
        }
        if self.packets.len() >= super::PACKETS_MAX {
            return Err(LinkError::Full);
        }
        Ok(())
    }

    fn respond_from(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        request: RequestId,
        source: Source,
        options: ResourceOptions,
    ) -> Result<(), LinkError> {
        let id = self.transfers.next_id();
        self.enqueue(now, rng, Transfer::new(id, Purpose::Response(request), source, options))?;
        self.requests.asked.remove(&request);
        Ok(())
    }

    pub(super) fn handle_request_packet(&mut self, packet: PacketHash, packed: Bytes) {
        if packed.len() <= self.max_request() {
            self.handle_request(RequestId::new(packet.truncated()), &packed);
        }
    }

    /// A whole request is here. What has the wrong structure or asks for an unknown path gets no answer.
    pub(super) fn handle_request(&mut self, id: RequestId, packed: &Bytes) {
        let Some((path, body)) = parse_request(packed) else { return };
        let Some(path) = self.requests.paths.get(&path) else { return };
        if self.state == LinkState::Closed || !self.has_room() || self.requests.asked.contains_key(&id) {
            return;
        }
        let caller = self.remote.as_ref().map(crate::identity::PublicIdentity::hash);
        let event = LinkEvent::Requested { request: id, caller, path: path.clone(), body: packed.slice_ref(body) };
        self.requests.asked.insert(id, ());
        self.events.push_back(event);
    }

    pub(super) fn handle_response_packet(&mut self, now: Now, rng: &mut dyn CryptoRng, packed: Bytes) {
        let Some((id, value)) = parse_response(&packed) else { return };
        let Some(pending) = self.requests.pending.get(&id) else { return };
        let response = if value.len().saturating_sub(RESPONSE_ALLOWANCE) > pending.max_response {
            Err(RequestError::Failed)
        } else {
            Ok(packed.slice_ref(value))
        };
        self.conclude_request(now, rng, id, response);
    }

    /// A response resource is here. With metadata its body is a file, without it the packed response.
    pub(super) fn handle_response(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        id: RequestId,
        metadata: Option<Bytes>,
        body: Bytes,
    ) {
        let response = match parse_response(&body) {
            _ if metadata.is_some() => Ok(body),
            Some((named, value)) if named == id => Ok(body.slice_ref(value)),
            _ => Err(RequestError::Failed),
        };
        self.conclude_request_with(now, rng, id, response, metadata);
    }

    /// The peer proved that the request resource arrived: from now on the response is waited for.
    pub(super) fn request_delivered(&mut self, now: Now, id: RequestId) {
        if let Some(pending) = self.requests.pending.get(&id)
            && !pending.receiving
        {
            self.timers.set(Timer::Request(id), now.mono + pending.timeout);
        }
    }

    /// A resource that answers begins to arrive: only its own timers count now. It also says that the request arrived,
    /// even when every proof of that was lost.
    pub(super) fn response_begins(&mut self, now: Now, rng: &mut dyn CryptoRng, id: RequestId) {
        if let Some(pending) = self.requests.pending.get_mut(&id) {
            pending.receiving = true;
            self.timers.clear(Timer::Request(id));
            self.drop_request_transfer(now, rng, id);
        }
    }

    pub(super) fn handle_request_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng, id: RequestId) {
        self.conclude_request(now, rng, id, Err(RequestError::Timeout));
    }

    /// Ends a request of this end, once.
    pub(super) fn conclude_request(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        id: RequestId,
        response: Result<Bytes, RequestError>,
    ) {
        self.conclude_request_with(now, rng, id, response, None);
    }

    fn conclude_request_with(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        id: RequestId,
        response: Result<Bytes, RequestError>,
        metadata: Option<Bytes>,
    ) {
        if self.requests.pending.remove(&id).is_none() {
            return;
        }
        self.timers.clear(Timer::Request(id));
        if response == Err(RequestError::Timeout) {
            self.requests.expired.insert(id, ());
        }
        self.events.push_back(LinkEvent::Responded { request: id, response, metadata });
        self.drop_request_transfer(now, rng, id);
    }

    pub(super) fn abandon_requests(&mut self) {
        for (request, _) in core::mem::take(&mut self.requests.pending) {
            let response = Err(RequestError::LinkClosed);
            self.events.push_back(LinkEvent::Responded { request, response, metadata: None });
        }
        self.requests = Requests::new();
    }
}

fn parse_request(packed: &[u8]) -> Option<([u8; PATH_HASH_LEN], &[u8])> {
    let mut reader = Reader::new(packed);
    if reader.array().ok()? < 3 {
        return None;
    }
    reader.value().ok()?;
    let path = reader.bin().ok()?.try_into().ok()?;
    Some((path, reader.value().ok()?))
}

fn parse_response(packed: &[u8]) -> Option<(RequestId, &[u8])> {
    let mut reader = Reader::new(packed);
    if reader.array().ok()? < 2 {
        return None;
    }
    let id = RequestId::from_slice(reader.bin().ok()?)?;
    Some((id, reader.value().ok()?))
}
