//! From the medium to whoever handles a packet. docs/protocol/1-core.md, sections 3.5 and 3.6.

use super::{DropReason, InterfaceId, Stack};
use crate::access_code::AccessCodeError;
use crate::hash::LinkId;
use crate::time::Now;
use crate::wire::{Context, DestinationKind, Flags, PacketKind, PacketRef};

/// A packet that passed the filter, with what is known of its arrival.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) on: InterfaceId,
    pub(super) packet: PacketRef<'a>,
    /// The hop byte, counted up.
    pub(super) hops: u8,
    /// Head of the packet's hash, when duplicates of this packet are dropped.
    pub(super) checked: Option<[u8; 16]>,
}

impl Arrived<'_> {
    /// Head of the packet's hash.
    pub(super) fn truncated_hash(&self) -> [u8; 16] {
        self.checked.unwrap_or_else(|| self.packet.hash().truncated())
    }
}

/// Frames whose place among the duplicates is looked up ahead: enough that waiting for memory is shared, few enough that
/// what was looked up is still at hand when it is needed.
const AHEAD: usize = 16;

impl Stack {
    /// Takes what one interface brought, in order: as an [`Input::Frame`](super::Input::Frame) each, but faster for many.
    pub fn handle_frames<'a>(&mut self, now: Now, on: InterfaceId, frames: impl IntoIterator<Item = &'a [u8]>) {
        let mut frames = frames.into_iter();
        let open = self.interfaces.get(&on).filter(|interface| interface.profile.access_key.is_none());
        let longest = open.map_or(0, super::Interface::frame_max);
        loop {
            let mut group = [(&[][..], None); AHEAD];
            let mut len = 0;
            for (place, bytes) in group.iter_mut().zip(&mut frames) {
                *place = (bytes, if bytes.len() <= longest { self.hash_ahead(bytes) } else { None });
                len += 1;
            }
            let group = group.get(..len).unwrap_or_default();
            if len > 1 {
                group.iter().filter_map(|(_, hash)| hash.as_ref()).for_each(|hash| self.packet_hashes.approach(hash));
            }
            for (bytes, hash) in group {
                self.handle_frame(now, on, bytes, *hash);
            }
            if len < AHEAD {
                return;
            }
        }
    }

    /// The head of the packet's hash, where it is going to be looked up.
    fn hash_ahead(&self, bytes: &[u8]) -> Option<[u8; 16]> {
        let packet = PacketRef::parse(bytes).ok()?;
        self.is_deduplicated(&packet).then(|| packet.hash().truncated())
    }

    /// `hash` is the head of the packet's hash if somebody knows it.
    pub(super) fn handle_frame(&mut self, now: Now, on: InterfaceId, bytes: &[u8], hash: Option<[u8; 16]>) {
        let mut opened = core::mem::take(&mut self.opened);
        match self.check_frame(on, bytes, &mut opened, hash) {
            Ok(arrived) => self.dispatch(now, &arrived),
            Err(reason) => self.drop_frame(on, reason),
        }
        self.opened = opened;
    }

    /// `opened` is where a frame of a closed network is unmasked.
    fn check_frame<'a>(
        &mut self,
        on: InterfaceId,
        bytes: &'a [u8],
        opened: &'a mut Vec<u8>,
        hash: Option<[u8; 16]>,
    ) -> Result<Arrived<'a>, DropReason> {
        let interface = self.interfaces.get(&on).ok_or(DropReason::UnknownInterface)?;
        let stats = self.stats.interfaces.entry(on).or_default();
        stats.received_frames += 1;
        stats.received_bytes += u64::try_from(bytes.len()).unwrap_or_default();
        if bytes.len() <= 2 {
            return Err(DropReason::TooShort);
        }
        let frame = match &interface.profile.access_key {
            None if bytes.first().is_some_and(|flags| Flags(*flags).has_access_code()) => {
                return Err(DropReason::AccessCode);
            }
            None => bytes,
            Some(key) => {
                let len = interface.profile.access_code_len;
                // Looked at before the code, unlike in the reference: a frame that is too long costs no signature.
                if bytes.len() > interface.frame_max().saturating_add(len) {
                    return Err(DropReason::OverMtu);
                }
                key.open(bytes, len, opened).map_err(|error| match error {
                    AccessCodeError::Missing => DropReason::AccessCodeMissing,
                    AccessCodeError::Short { .. } | AccessCodeError::Mismatch => DropReason::AccessCodeInvalid,
                })?;
                opened
            }
        };
        if frame.len() > interface.frame_max() {
            return Err(DropReason::OverMtu);
        }
        let packet = PacketRef::parse(frame).map_err(|_| DropReason::Malformed)?;
        let checked = self.filter(&packet, hash)?;
        Ok(Arrived { on, packet, hops: self.counted_hops(on, packet.hops()), checked })
    }

    /// Section 3.6, on the hop byte as it came. Gives the head of the packet's hash where that was looked up.
    fn filter(&self, packet: &PacketRef<'_>, hash: Option<[u8; 16]>) -> Result<Option<[u8; 16]>, DropReason> {
        if self.config.behind_shared_instance {
            return Ok(None);
        }
        if self.is_for_other_transport(packet) {
            return Err(DropReason::OtherTransport);
        }
        if self.is_deduplicated(packet) {
            let hash = hash.unwrap_or_else(|| packet.hash().truncated());
            return if self.packet_hashes.contains(&hash) { Err(DropReason::Duplicate) } else { Ok(Some(hash)) };
        }
        if packet.context().bypasses_duplicate_filter() {
            return Ok(None);
        }
        match (packet.flags().destination(), packet.flags().packet()) {
            (DestinationKind::Plain | DestinationKind::Group, PacketKind::Announce) => Err(DropReason::AnnounceKind),
            (DestinationKind::Plain | DestinationKind::Group, _) if packet.hops() > 1 => Err(DropReason::PlainHops),
            _ => Ok(None),
        }
    }

    fn is_for_other_transport(&self, packet: &PacketRef<'_>) -> bool {
        let is_announce = packet.flags().packet() == PacketKind::Announce;
        !is_announce && packet.transport_id().is_some_and(|id| id != self.transport_id)
    }

    /// Whether a copy of this packet that came before makes it one too many.
    fn is_deduplicated(&self, packet: &PacketRef<'_>) -> bool {
        let is_announce = packet.flags().packet() == PacketKind::Announce;
        let kind = match packet.flags().destination() {
            DestinationKind::Link => true,
            DestinationKind::Single => !is_announce,
            DestinationKind::Plain | DestinationKind::Group => false,
        };
        kind && !packet.context().bypasses_duplicate_filter()
            && !self.config.behind_shared_instance
            && !self.is_for_other_transport(packet)
    }

    /// A copy of this packet is a duplicate from now on.
    pub(super) fn remember(&mut self, arrived: &Arrived<'_>) {
        if let Some(hash) = arrived.checked {
            self.packet_hashes.insert(hash);
        }
    }

    fn dispatch(&mut self, now: Now, arrived: &Arrived<'_>) {
        let packet = &arrived.packet;
        let kind = packet.flags().packet();
        if kind == PacketKind::Announce {
            self.remember(arrived);
            return self.receive_announce(now, arrived);
        }
        self.stats.processed += 1;
        if kind != PacketKind::LinkRequest {
            // Traffic of links and link proofs is remembered only where it is accepted: on a shared medium the first copy
            // heard may be one on its way to somebody else.
            let link = LinkId::from(packet.destination());
            let is_link_proof = kind == PacketKind::Proof && packet.context() == Context::LINK_REQUEST_PROOF;
            match (self.relays.contains(&link), is_link_proof) {
                (true, true) => return self.relay_proof(now, arrived),
                (true, false) => return self.relay_traffic(now, arrived),
                (false, true) => return self.receive_link_proof(now, arrived),
                (false, false) if self.links.contains_key(&link) => return self.receive_link_packet(now, arrived),
                (false, false) => {}
            }
        }
        self.remember(arrived);
        if kind == PacketKind::Proof {
            return self.receive_proof(now, arrived);
        }
        let addressed = packet.transport_id().is_some() || self.leads_to_client(packet.destination());
        if addressed && !self.is_registered(packet.destination()) {
            return self.forward(now, arrived);
        }
        if packet.flags().destination() == DestinationKind::Plain {
            self.share_plain(arrived);
        }
        match (kind, packet.flags().destination()) {
            (PacketKind::LinkRequest, DestinationKind::Single) => self.receive_link_request(now, arrived),
            (PacketKind::Data, DestinationKind::Single) => self.receive_data(now, arrived),
            (PacketKind::Data, DestinationKind::Plain) if packet.destination() == self.path_request_destination => {
                self.receive_path_request(now, arrived);
            }
            (PacketKind::Data, DestinationKind::Plain) if packet.destination() == self.tunnel_destination => {
                self.receive_tunnel(now, arrived);
            }
            (PacketKind::Data, DestinationKind::Group | DestinationKind::Plain) => self.receive_broadcast(now, arrived),
            _ => self.drop_frame(arrived.on, DropReason::NotAddressed),
        }
    }
}
