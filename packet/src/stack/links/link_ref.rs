//! What an application does with a link of this node.

use core::time::Duration;

use crate::hash::{DestinationHash, LinkId, PacketHash, RequestId};
use crate::identity::{Identity, PublicIdentity};
use crate::link::{Link, LinkError, LinkState, RequestOptions};
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
        let slot = self.stack.links.get_mut(&self.id).ok_or(LinkError::NotActive)?;
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
