//! Resources whose data the application supplies piece by piece, and what happens when it does not.

use core::time::Duration;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::sending::Ending;
use super::source::Source;
use super::transfer::{ResourceOptions, Sending, TransferId};
use super::{Link, LinkError, Timer};
use crate::time::Now;

/// How long a resource whose data is supplied may keep its link idle for want of it. Shorter than receivers wait for the
/// next segment, so that they are told.
pub(super) const SUPPLY_TIMEOUT: Duration = Duration::from_secs(300);

impl Link {
    /// Sends a resource of `len` bytes that need not be in memory: each segment is asked for with
    /// [`ResourceEvent::Wanted`](super::ResourceEvent::Wanted), up to two ahead of the one on its way, and given with
    /// [`Link::supply_resource`]. When nothing else of it is left to be sent, it is given at most five minutes; then it ends
    /// with [`ResourceOutcome::Unsupplied`](super::ResourceOutcome::Unsupplied), and the next one begins.
    ///
    /// # Errors
    /// As [`Link::send_resource`].
    pub fn stream_resource(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        len: u64,
        options: ResourceOptions,
    ) -> Result<TransferId, LinkError> {
        self.send_from(now, rng, Source::Supplied { len }, options)
    }

    /// Gives the bytes that [`ResourceEvent::Wanted`](super::ResourceEvent::Wanted) asks for: all of them at once.
    ///
    /// # Errors
    /// When nothing is wanted for this resource, or not that many bytes.
    pub fn supply_resource(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        resource: TransferId,
        data: Bytes,
    ) -> Result<(), LinkError> {
        let wants = |sending: &&mut Sending| sending.transfer.id == resource && sending.wanted;
        let sending = self.transfers.sending.as_mut().filter(wants).ok_or(LinkError::UnknownResource)?;
        let (_, len) = sending.transfer.share(sending.begun + 1);
        if data.len() != len {
            return Err(LinkError::Length { len: data.len(), wanted: len });
        }
        sending.wanted = false;
        self.timers.clear(Timer::Supply);
        self.prepare(rng, data);
        self.advance(now, rng);
        Ok(())
    }

    /// The application did not give what the resource needs.
    pub(super) fn handle_supply_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        if self.transfers.sending.as_ref().is_some_and(Sending::waits_for_supply) {
            self.cancel_sending(now, rng);
            self.finish_outgoing(now, rng, Ending::Unsupplied);
        }
    }

    /// Begins to count the time for the data of the next segment, when nothing else is left to be sent.
    pub(super) fn await_supply(&mut self, now: Now) {
        let waits = self.transfers.sending.as_ref().is_some_and(Sending::waits_for_supply);
        if waits && self.timers.deadline(Timer::Supply).is_none() {
            self.timers.set(Timer::Supply, now.mono + SUPPLY_TIMEOUT);
        }
    }
}

impl Sending {
    /// Whether nothing of it is on its way, ready or being made ready, and the application is asked for more.
    fn waits_for_supply(&self) -> bool {
        self.wanted && self.current.is_none() && self.begun == self.proved
    }
}
