//! How a link ends. docs/protocol/2-link.md, section 3.4.

use rand_core::CryptoRng;

use super::held::Held;
use super::keys::Keys;
use super::{Link, LinkEvent, LinkState};
use crate::stack::{LinkCloseReason, Role};
use crate::time::Now;
use crate::timers::Timers;
use crate::wire::Context;

impl Link {
    /// Closes the link and tells the peer, if there is one yet. Does nothing when it is closed already.
    pub fn close(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        self.teardown(
            now,
            rng,
            match self.role {
                Role::Initiator => LinkCloseReason::InitiatorClosed,
                Role::Responder => LinkCloseReason::DestinationClosed,
            },
        );
    }

    /// Closes the link without telling the peer, as when its interface is gone.
    pub fn abandon(&mut self, reason: LinkCloseReason) {
        self.finish(reason);
    }

    /// Sends the close packet where that applies, and ends. docs/protocol/2-link.md, section 3.4.
    pub(super) fn teardown(&mut self, now: Now, rng: &mut dyn CryptoRng, reason: LinkCloseReason) {
        if !matches!(self.state, LinkState::Pending | LinkState::Closed) {
            let id = *self.id.as_bytes();
            self.keys.settle();
            self.send_sealed(now, rng, Context::LINK_CLOSE, &id);
        }
        self.finish(reason);
    }

    pub(super) fn handle_close(&mut self, plaintext: &[u8]) {
        if plaintext == self.id.as_bytes() {
            // They came before; who asks need not wait for the response.
            self.handle_held_requests();
            self.finish(match self.role {
                Role::Initiator => LinkCloseReason::DestinationClosed,
                Role::Responder => LinkCloseReason::InitiatorClosed,
            });
        }
    }

    /// Ends everything on the link. Packets that wait still go out.
    pub(super) fn finish(&mut self, reason: LinkCloseReason) {
        if self.state == LinkState::Closed {
            return;
        }
        self.state = LinkState::Closed;
        self.keys = Keys::Wiped;
        self.jobs.clear();
        self.held = Held::default();
        self.channel = None;
        self.timers = Timers::default();
        self.abandon_receipts();
        self.abandon_transfers();
        self.abandon_requests();
        self.events.push_back(LinkEvent::Down { reason });
    }
}
