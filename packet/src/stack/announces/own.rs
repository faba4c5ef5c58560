//! Announcing the destinations of this node. docs/protocol/1-core.md, sections 4.1 and 4.2.

use core::time::Duration;

use bytes::Bytes;
use rand_core::Rng;

use crate::announce::{AppDataTooLarge, RandomHash, announce, app_data_max};
use crate::hash::DestinationHash;
use crate::stack::egress::Class;
use crate::stack::{InterfaceId, Stack};
use crate::time::{Now, UnixTime};
use crate::wire::{Context, Packet};

/// How long an announce made for a path request answers further ones.
const REUSE: Duration = Duration::from_secs(1);

/// Why nothing was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// Only registered destinations announce.
    #[error("{0} is not a destination of this node")]
    NotRegistered(DestinationHash),
    /// Relays could not carry it.
    #[error(transparent)]
    TooLarge(#[from] AppDataTooLarge),
}

impl Stack {
    /// Announces a destination of this node on every interface but access points. `app_data` is kept, to answer path
    /// requests with.
    ///
    /// Every announce is dated later than the one before, if need be later than the clock says.
    ///
    /// # Errors
    /// When the destination is not registered or the app data is so long that no relay could carry the announce.
    pub fn announce(&mut self, now: Now, from: DestinationHash, app_data: &[u8]) -> Result<(), AnnounceError> {
        self.announce_on(now, from, app_data, |_| true)
    }

    /// [`Stack::announce`] on those interfaces only that `admit` names: slow links are announced on less often.
    ///
    /// # Errors
    /// The same.
    pub fn announce_on(
        &mut self,
        now: Now,
        from: DestinationHash,
        app_data: &[u8],
        admit: impl Fn(InterfaceId) -> bool,
    ) -> Result<(), AnnounceError> {
        let packet = self.make_announce(now, from, Some(app_data), Context::NONE)?;
        let carriers = self.interfaces.iter().filter(|(_, interface)| interface.profile.mode.carries_own_announces());
        let targets: Vec<_> = carriers.map(|(id, _)| *id).filter(|id| admit(*id)).collect();
        for id in targets {
            let frame = self.as_own(packet.clone(), id).encode();
            self.transmit(id, Class::Announce, frame);
        }
        Ok(())
    }

    /// Changes what answers to path requests carry from now on, without an announce.
    ///
    /// # Errors
    /// As for [`Stack::announce`].
    pub fn set_app_data(&mut self, of: DestinationHash, app_data: &[u8]) -> Result<(), AnnounceError> {
        let local = self.locals.get_mut(&of).ok_or(AnnounceError::NotRegistered(of))?;
        let max = app_data_max(local.destination.ratchets.is_some());
        if app_data.len() > max {
            return Err(AppDataTooLarge { len: app_data.len(), max }.into());
        }
        local.destination.app_data = Bytes::copy_from_slice(app_data);
        local.announced = None;
        Ok(())
    }

    /// Makes a destination of this node known on one interface, as if it had been asked for there: whoever hears it learns
    /// the path, and nobody passes it on.
    pub fn introduce(&mut self, now: Now, destination: DestinationHash, on: InterfaceId) {
        self.answer_for_local(now, destination, on);
    }

    /// Answers a path request for a destination of this node, on the interface that asked only.
    ///
    /// Whoever asks often gets the same announce again: otherwise asking would push the date of our announces ahead of the
    /// clock, one second each time.
    pub(in crate::stack) fn answer_for_local(&mut self, now: Now, destination: DestinationHash, on: InterfaceId) {
        let recent = self.locals.get(&destination).and_then(|local| local.announced.clone());
        let packet = match recent {
            Some((made, packet)) if now.mono < made + REUSE => Ok(packet),
            _ => self.make_announce(now, destination, None, Context::PATH_RESPONSE),
        };
        if let Ok(packet) = packet {
            let frame = self.as_own(Packet { context: Context::PATH_RESPONSE, ..packet }, on).encode();
            self.transmit(on, Class::PathRequest, frame);
        }
    }

    fn make_announce(
        &mut self,
        now: Now,
        from: DestinationHash,
        app_data: Option<&[u8]>,
        context: Context,
    ) -> Result<Packet, AnnounceError> {
        let ratchet = self.ratchet_to_announce(now, from);
        let local = self.locals.get_mut(&from).ok_or(AnnounceError::NotRegistered(from))?;
        let emitted = now.unix.max(UnixTime(self.last_emission.0.saturating_add(1)));
        let mut random = [0; 5];
        self.rng.fill_bytes(&mut random);
        let destination = &local.destination;
        let random = RandomHash::new(random, emitted);
        let data = app_data.unwrap_or(&destination.app_data);
        let packet = announce(&destination.identity, destination.name.hash(), random, ratchet.as_ref(), data, context)?;
        if let Some(app_data) = app_data {
            local.destination.app_data = Bytes::copy_from_slice(app_data);
        }
        local.announced = Some((now.mono, packet.clone()));
        self.last_emission = emitted;
        Ok(packet)
    }

    /// With a local hops delta, announces leave as if this node only carried them. docs/protocol/1-core.md, section 5.9.
    fn as_own(&self, packet: Packet, towards: InterfaceId) -> Packet {
        match self.own_hops(towards) {
            0 => packet,
            hops => Packet { hops, transport_id: Some(self.transport_id), ..packet },
        }
    }
}
