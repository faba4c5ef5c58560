//! The channel of a link. docs/protocol/2-link.md, section 7.

use bytes::Bytes;
use rand_core::CryptoRng;

use super::{Link, LinkEvent, Timer};
use crate::channel::{
    Channel, ChannelError, ChannelEvent, Due, ENVELOPE_LEN, Envelope, MESSAGE_MAX, MessageType, STREAM_DATA,
    STREAM_HEADER_LEN, StreamId, end_of_stream, next_chunk,
};
use crate::hash::PacketHash;
use crate::time::Now;
use crate::wire::{Context, Packet, PacketRef};

impl Link {
    /// Opens the channel, if it is not open, for messages of these types. Open it before the peer sends: what comes earlier
    /// is not proved, and what comes in a type that is not registered is lost. docs/protocol/2-link.md, trap 18.
    pub fn open_channel(&mut self, types: &[MessageType]) {
        self.channel_or_new().types.extend(types);
    }

    /// Opens a stream of the peer to be read: it comes as [`ChannelEvent::Stream`]. Opens the channel, if it is not open.
    pub fn open_stream(&mut self, stream: StreamId) {
        self.channel_or_new().receiver.use_streams().insert(stream);
    }

    /// Ends the reading of a stream: what still comes of it is passed over.
    pub fn stop_reading(&mut self, stream: StreamId) {
        self.channel_or_new().receiver.use_streams().remove(&stream);
    }

    fn channel_or_new(&mut self) -> &mut Channel {
        let rtt = self.rtt.unwrap_or_default();
        self.channel.get_or_insert_with(|| Box::new(Channel::new(rtt)))
    }

    /// A responder opens channels before it knows the round trip, which sets the first window.
    pub(super) fn measure_channel(&mut self) {
        let rtt = self.rtt.unwrap_or_default();
        if let Some(channel) = &mut self.channel {
            channel.sender.window = crate::channel::Window::new(rtt);
        }
    }

    /// Largest message, in bytes.
    pub fn message_max(&self) -> usize {
        self.mdu().saturating_sub(ENVELOPE_LEN).min(MESSAGE_MAX)
    }

    /// Sends a message. [`ChannelEvent::Delivered`] names the returned sequence number when the peer has proved it; a
    /// message that is not proved after all its repetitions closes the link.
    ///
    /// # Errors
    /// When the channel is not open, the type not registered, the message too long, or the window full.
    pub fn send_message(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        kind: MessageType,
        body: &[u8],
    ) -> Result<u16, ChannelError> {
        let channel = self.channel.as_ref().ok_or(ChannelError::NotOpen)?;
        if !channel.types.contains(&kind) {
            return Err(ChannelError::NotRegistered(kind));
        }
        self.send_on_channel(now, rng, (kind.number(), body.to_vec()), None)
    }

    /// Writes to a stream of the peer as much as the window takes. Returns how many bytes; when they are fewer than there
    /// are, [`ChannelEvent::Ready`] says when to go on.
    ///
    /// # Errors
    /// When the channel is not open, or this end has closed the stream.
    pub fn write_stream(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        stream: StreamId,
        data: &[u8],
    ) -> Result<usize, ChannelError> {
        let max = self.message_max().saturating_sub(STREAM_HEADER_LEN);
        let channel = self.channel.as_mut().ok_or(ChannelError::NotOpen)?;
        if channel.sender.is_closed(stream) {
            return Err(ChannelError::StreamClosed);
        }
        channel.receiver.use_streams();
        let mut written = 0;
        while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
            if !self.may_send_on_channel() {
                self.refuse_on_channel();
                break;
            }
            let chunk = next_chunk(stream, rest, max);
            match self.send_on_channel(now, rng, (STREAM_DATA, chunk.message), None) {
                Ok(_) => written += chunk.consumed,
                Err(ChannelError::NotReady) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Ends a stream of this end. The end goes out as soon as the window has room, and
    /// [`ChannelEvent::StreamFinished`] follows when the peer has proved it; until then the link has to stay open.
    ///
    /// # Errors
    /// When the channel is not open.
    pub fn close_stream(&mut self, now: Now, rng: &mut dyn CryptoRng, stream: StreamId) -> Result<(), ChannelError> {
        let channel = self.channel.as_mut().filter(|_| self.keys.get().is_some()).ok_or(ChannelError::NotOpen)?;
        channel.receiver.use_streams();
        channel.sender.close(stream);
        self.send_endings(now, rng);
        Ok(())
    }

    fn send_endings(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        while let Some(stream) = self.channel.as_ref().and_then(|channel| channel.sender.next_ending()) {
            let message = (STREAM_DATA, end_of_stream(stream).to_vec());
            if self.send_on_channel(now, rng, message, Some(stream)).is_err() {
                return;
            }
            if let Some(channel) = &mut self.channel {
                channel.sender.ended();
            }
        }
    }

    fn may_send_on_channel(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.sender.has_room())
    }

    fn refuse_on_channel(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.sender.refuse();
        }
    }

    fn send_on_channel(
        &mut self,
        now: Now,
        rng: &mut dyn CryptoRng,
        (kind, message): (u16, Vec<u8>),
        ends: Option<StreamId>,
    ) -> Result<u16, ChannelError> {
        if !self.is_up() || self.channel.is_none() {
            return Err(ChannelError::NotOpen);
        }
        if message.len() > self.message_max() {
            return Err(ChannelError::TooBig { len: message.len(), max: self.message_max() });
        }
        if !self.may_send_on_channel() {
            self.refuse_on_channel();
            return Err(ChannelError::NotReady);
        }
        let sequence = self.channel.as_ref().map_or(0, |channel| channel.sender.next());
        let packet = self.envelope(rng, kind, sequence, &message).ok_or(ChannelError::NotOpen)?;
        let (hash, rtt) = (packet.hash(), self.rtt.unwrap_or_default());
        // Also beyond what may wait of other packets: no proof would say when there is room again.
        self.transmit_within(now, packet, usize::MAX);
        let Some(channel) = &mut self.channel else { return Err(ChannelError::NotOpen) };
        let sequence = channel.sender.sent(now.mono, rtt, hash, (kind, message), ends);
        // The deadlines of the others only move away: one that comes early finds nothing to do. This one may be the next
        // all the same, where the others were repeated often.
        if let Some(deadline) = channel.sender.last_deadline()
            && self.timers.deadline(Timer::Channel).is_none_or(|next| deadline < next)
        {
            self.timers.set(Timer::Channel, deadline);
        }
        Ok(sequence)
    }

    fn envelope(&self, rng: &mut dyn CryptoRng, kind: u16, sequence: u16, message: &[u8]) -> Option<Packet> {
        self.seal(rng, Context::CHANNEL, &Envelope::encode(kind, sequence, message))
    }

    fn time_channel(&mut self) {
        match self.channel.as_ref().and_then(|channel| channel.sender.deadline()) {
            Some(at) => self.timers.set(Timer::Channel, at),
            None => self.timers.clear(Timer::Channel),
        }
    }

    /// Messages that are not proved in time are sent again, encrypted anew, or end the link.
    pub(super) fn handle_channel_timeout(&mut self, now: Now, rng: &mut dyn CryptoRng) {
        let rtt = self.rtt.unwrap_or_default();
        while let Some(due) = self.channel.as_mut().and_then(|channel| channel.sender.next_due(now.mono)) {
            let Due::Again { sequence, kind, message } = due else { return self.close(now, rng) };
            let Some(packet) = self.envelope(rng, kind, sequence, &message) else { return };
            let hash = packet.hash();
            self.transmit(now, packet);
            if let Some(channel) = &mut self.channel {
                channel.sender.sent_again(now.mono, rtt, sequence, hash);
            }
        }
        self.time_channel();
    }

    /// A message of the peer. It is proved even if it cannot be used, unless nobody would take what it brings: then the
    /// peer sends it again.
    pub(super) fn handle_message(&mut self, now: Now, packet: &PacketRef<'_>, plaintext: &Bytes) {
        if self.channel.is_none() || !self.has_room() {
            return;
        }
        self.prove(now, packet.hash());
        let Some(channel) = &mut self.channel else { return };
        let events = &mut self.events;
        channel.receive(plaintext, |event| events.push_back(LinkEvent::Channel(event)));
    }

    /// Whether a proof is about a message of this end.
    pub(super) fn is_message(&self, packet: &PacketHash) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.sender.is_waiting_for(packet))
    }

    /// A message of this end is proved: there may be room for what waited.
    pub(super) fn handle_message_proof(&mut self, now: Now, rng: &mut dyn CryptoRng, packet: &PacketHash) {
        let rtt = self.rtt.unwrap_or_default();
        let Some(channel) = &mut self.channel else { return };
        let Some(sequence) = channel.sender.proved(rtt, packet) else { return };
        self.events.push_back(LinkEvent::Channel(ChannelEvent::Delivered { sequence }));
        while let Some(stream) = channel.sender.take_finished() {
            self.events.push_back(LinkEvent::Channel(ChannelEvent::StreamFinished { stream }));
        }
        if !channel.sender.is_waiting() {
            self.timers.clear(Timer::Channel);
        }
        self.send_endings(now, rng);
        if self.channel.as_mut().is_some_and(|channel| channel.sender.take_ready()) {
            self.events.push_back(LinkEvent::Channel(ChannelEvent::Ready));
        }
    }
}
