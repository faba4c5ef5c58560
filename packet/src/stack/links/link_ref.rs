//! What an application does with a link of this node.

use core::time::Duration;

use bytes::Bytes;

use crate::channel::{ChannelError, MessageType, StreamId};
use crate::hash::{DestinationHash, LinkId, PacketHash, RequestId};
use crate::identity::{Identity, PublicIdentity};
use crate::link::{Compression, Link, LinkError, LinkOptions, LinkState, RequestOptions, ResourceOptions, TransferId};
use crate::stack::{HOPS_UNKNOWN, Role, Stack};
use crate::time::Now;

/// A link of a [`Stack`], borrowed to be used.
#[derive(Debug)]
pub struct LinkRef<'a> {
    pub(super) stack: &'a mut Stack,
    pub(super) now: Now,
    pub(super) id: LinkId,
}

impl LinkRef<'_> {
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Link, Now, &mut dyn rand_core::CryptoRng) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        self.call_or(LinkError::NotActive, call)
    }

    fn on_channel<T>(
        &mut self,
        call: impl FnOnce(&mut Link, Now, &mut dyn rand_core::CryptoRng) -> Result<T, ChannelError>,
    ) -> Result<T, ChannelError> {
        self.call_or(ChannelError::NotOpen, call)
    }

    fn call_or<T, E>(
        &mut self,
        gone: E,
        call: impl FnOnce(&mut Link, Now, &mut dyn rand_core::CryptoRng) -> Result<T, E>,
    ) -> Result<T, E> {
        let slot = self.stack.links.get_mut(&self.id).ok_or(gone)?;
        let result = call(&mut slot.link, self.now, &mut *self.stack.rng);
        self.stack.drive_link(self.now, self.id);
        result
    }

    fn view(&self) -> Option<&Link> {
        self.stack.links.get(&self.id).map(|slot| &slot.link)
    }

    /// Its address.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Where it is in its life.
    pub fn state(&self) -> LinkState {
        self.view().map_or(LinkState::Closed, Link::state)
    }

    /// Which end this node is; `None` once it is closed.
    pub fn role(&self) -> Option<Role> {
        self.view().map(Link::role)
    }

    /// Largest payload of one packet, in bytes.
    pub fn mdu(&self) -> usize {
        self.view().map_or(0, Link::mdu)
    }

    /// Largest frame, in bytes.
    pub fn mtu(&self) -> usize {
        self.view().map_or(0, Link::mtu)
    }

    /// Round trip, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.view().and_then(Link::rtt)
    }

    /// The destination it leads to (initiator) or belongs to (responder).
    pub fn destination(&self) -> Option<DestinationHash> {
        self.view().map(Link::destination)
    }

    /// Who is at the other end, when that is known.
    pub fn remote_identity(&self) -> Option<&PublicIdentity> {
        self.view().and_then(Link::remote_identity)
    }

    /// Hops the proof of this link took.
    pub fn expected_hops(&self) -> u8 {
        self.view().map_or(HOPS_UNKNOWN, Link::expected_hops)
    }

    /// Says to the responder who this node is.
    ///
    /// # Errors
    /// When the link is not active.
    pub fn identify(&mut self, identity: &Identity) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.identify(now, rng, identity))
    }

    /// Asks for `path` with one MessagePack value. [`Event::Responded`](crate::stack::Event::Responded) names the returned id later.
    ///
    /// # Errors
    /// When the link is not active, has no room, or the body cannot be sent.
    pub fn request(&mut self, path: &str, body: &[u8], options: RequestOptions) -> Result<RequestId, LinkError> {
        self.call(|link, now, rng| link.request(now, rng, path, body, options))
    }

    /// Answers a request with one MessagePack value.
    ///
    /// # Errors
    /// When the link is not active, has no room, or nobody waits for this answer.
    pub fn respond(&mut self, request: RequestId, body: &[u8]) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.respond(now, rng, request, body))
    }

    /// [`LinkRef::respond`] with a say in whether a long response is compressed.
    ///
    /// # Errors
    /// As [`LinkRef::respond`].
    pub fn respond_with(&mut self, request: RequestId, body: &[u8], compression: Compression) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.respond_with(now, rng, request, body, compression))
    }

    /// Answers a request with a file and its metadata, one MessagePack value: an empty map if there is nothing to say.
    ///
    /// # Errors
    /// As [`Link::respond_file`].
    pub fn respond_file(
        &mut self,
        request: RequestId,
        metadata: Bytes,
        body: Bytes,
        compression: Compression,
    ) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.respond_file(now, rng, request, metadata, body, compression))
    }

    /// How this end behaves.
    pub fn options(&self) -> Option<LinkOptions> {
        self.view().map(Link::options)
    }

    /// Changes how this end behaves from now on.
    pub fn set_options(&mut self, options: LinkOptions) {
        if let Some(slot) = self.stack.links.get_mut(&self.id) {
            slot.link.set_options(options);
        }
    }

    /// Sends a resource of any size. [`Event::Resource`](crate::stack::Event::Resource) names the returned id later.
    ///
    /// # Errors
    /// As [`Link::send_resource`].
    pub fn send_resource(&mut self, body: Bytes, options: ResourceOptions) -> Result<TransferId, LinkError> {
        self.call(|link, now, rng| link.send_resource(now, rng, body, options))
    }

    /// Sends a resource of `len` bytes that are supplied as they are wanted.
    ///
    /// # Errors
    /// As [`Link::stream_resource`].
    pub fn stream_resource(&mut self, len: u64, options: ResourceOptions) -> Result<TransferId, LinkError> {
        self.call(|link, now, rng| link.stream_resource(now, rng, len, options))
    }

    /// Gives the bytes that [`ResourceEvent::Wanted`](crate::link::ResourceEvent::Wanted) asks for.
    ///
    /// # Errors
    /// As [`Link::supply_resource`].
    pub fn supply_resource(&mut self, resource: TransferId, data: Bytes) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.supply_resource(now, rng, resource, data))
    }

    /// Takes a resource that was [offered](crate::link::ResourceEvent::Offered).
    ///
    /// # Errors
    /// As [`Link::accept_resource`].
    pub fn accept_resource(&mut self, resource: TransferId) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.accept_resource(now, rng, resource))
    }

    /// A [segment](crate::link::ResourceEvent::Segment) is dealt with: the peer may send more.
    ///
    /// # Errors
    /// As [`Link::segment_taken`].
    pub fn segment_taken(&mut self, resource: TransferId, offset: u64) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.segment_taken(now, rng, resource, offset))
    }

    /// Ends a resource in either direction, or refuses an offered one.
    ///
    /// # Errors
    /// As [`Link::cancel_resource`].
    pub fn cancel_resource(&mut self, resource: TransferId) -> Result<(), LinkError> {
        self.call(|link, now, rng| link.cancel_resource(now, rng, resource))
    }

    /// Opens the channel for messages of these types, before the peer sends any.
    pub fn open_channel(&mut self, types: &[MessageType]) {
        if let Some(slot) = self.stack.links.get_mut(&self.id) {
            slot.link.open_channel(types);
        }
    }

    /// Largest message of the channel, in bytes.
    pub fn message_max(&self) -> usize {
        self.view().map_or(0, Link::message_max)
    }

    /// Sends a message over the channel; gives its sequence number.
    ///
    /// # Errors
    /// As [`Link::send_message`].
    pub fn send_message(&mut self, kind: MessageType, body: &[u8]) -> Result<u16, ChannelError> {
        self.on_channel(|link, now, rng| link.send_message(now, rng, kind, body))
    }

    /// Opens a stream of the peer to be read.
    pub fn open_stream(&mut self, stream: StreamId) {
        if let Some(slot) = self.stack.links.get_mut(&self.id) {
            slot.link.open_stream(stream);
        }
    }

    /// Ends the reading of a stream of the peer.
    pub fn stop_reading(&mut self, stream: StreamId) {
        if let Some(slot) = self.stack.links.get_mut(&self.id) {
            slot.link.stop_reading(stream);
        }
    }

    /// Writes to a stream of the peer; gives how many bytes were taken.
    ///
    /// # Errors
    /// As [`Link::write_stream`].
    pub fn write_stream(&mut self, stream: StreamId, data: &[u8]) -> Result<usize, ChannelError> {
        self.on_channel(|link, now, rng| link.write_stream(now, rng, stream, data))
    }

    /// Ends a stream of this end, as soon as there is room for that.
    ///
    /// # Errors
    /// As [`Link::close_stream`].
    pub fn close_stream(&mut self, stream: StreamId) -> Result<(), ChannelError> {
        self.on_channel(|link, now, rng| link.close_stream(now, rng, stream))
    }

    /// Sends data in one packet, at most [`LinkRef::mdu`] bytes.
    ///
    /// # Errors
    /// When the link is not active or the payload too long.
    pub fn send(&mut self, payload: &[u8]) -> Result<PacketHash, LinkError> {
        self.call(|link, now, rng| link.send(now, rng, payload))
    }

    /// Closes the link. [`Event::LinkDown`](crate::stack::Event::LinkDown) follows.
    pub fn close(mut self) {
        let closed = self.call(|link, now, rng| {
            link.close(now, rng);
            Ok(())
        });
        debug_assert!(closed.is_ok() || self.view().is_none());
    }
}
