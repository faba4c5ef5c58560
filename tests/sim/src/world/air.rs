//! Frames on their way: who may send, how long it takes, who hears it. docs/simulator.md, Media.

use bytes::Bytes;
use wend_packet::time::Instant;

use super::{Happening, Place, World};
use crate::measure::{Kind, Sent};
use crate::medium::{CarrierSense, Incoming, Sharing};
use crate::random;

/// How many times the first number of slots a station may choose among.
const SLOTS_GROWTH: u32 = 16;

impl World {
    /// A port's node may have frames for it.
    pub(super) fn ready(&mut self, place: Place) {
        let port = &mut self.media[place.medium].ports[place.port];
        port.ready = true;
        self.serve(place);
    }

    /// Sends, or plans to, when there is something to send and the medium is free.
    pub(super) fn serve(&mut self, place: Place) {
        let now = self.now.mono;
        let medium = &mut self.media[place.medium];
        let (sharing, port) = (medium.kind.sharing, &mut medium.ports[place.port]);
        if !port.ready || !port.up || port.sending.is_some() || port.planned || port.waiting {
            return;
        }
        match sharing {
            Sharing::FullDuplex | Sharing::Radio { sense: None } => self.send(place),
            Sharing::Radio { sense: Some(sense) } if port.senses(now, sense) => port.waiting = true,
            Sharing::Radio { sense: Some(sense) } => self.plan_attempt(place, sense),
        }
    }

    fn plan_attempt(&mut self, place: Place, sense: CarrierSense) {
        let port = &mut self.media[place.medium].ports[place.port];
        let slots = random::below(&mut self.rng, usize::try_from(port.slots).unwrap_or(1));
        port.waiting = false;
        port.planned = true;
        port.turn += 1;
        let turn = port.turn;
        let at = self.now.mono + sense.silence + sense.slot * u32::try_from(slots).unwrap_or_default();
        self.queue.push(at, Happening::Attempt { place, turn });
    }

    pub(super) fn attempt(&mut self, place: Place, turn: u64) {
        let now = self.now.mono;
        let medium = &mut self.media[place.medium];
        let (Some(sense), port) = (medium.kind.sense(), &mut medium.ports[place.port]) else { return };
        if port.turn != turn || !port.planned {
            return;
        }
        port.planned = false;
        if !port.up || port.sending.is_some() {
            return;
        }
        if port.senses(now, sense) {
            port.slots = (port.slots * 2).min(sense.slots * SLOTS_GROWTH);
            port.waiting = true;
            return;
        }
        port.slots = sense.slots;
        self.send(place);
    }

    /// Takes the next frame and puts it on the medium.
    fn send(&mut self, place: Place) {
        let (node, interface) = {
            let port = &self.media[place.medium].ports[place.port];
            (port.node, port.interface)
        };
        let Some(frame) = self.poll_frame(node, interface) else {
            self.media[place.medium].ports[place.port].ready = false;
            return;
        };
        let now = self.now.mono;
        let transmission = self.transmissions;
        self.transmissions += 1;
        let medium = &mut self.media[place.medium];
        let airtime = medium.kind.airtime(frame.len());
        medium.ports[place.port].sending = Some(transmission);
        let sent = Sent { at: now, airtime, kind: Kind::of(&frame, self.path_requests), bytes: frame.len() };
        self.ledgers[place.medium].sent(place.port, sent);
        self.queue.push(now + airtime, Happening::Sent { place, transmission });
        if medium.on_air.is_empty() {
            medium.busy_since = now;
        }
        let radio = medium.kind.sharing != Sharing::FullDuplex;
        medium.on_air.insert(transmission, frame.clone());
        if radio {
            self.radiate(place, transmission);
        } else {
            self.carry(place, now + airtime, &frame);
        }
    }

    /// A frame on a wire reaches everybody else, unless it is lost.
    fn carry(&mut self, place: Place, end: Instant, frame: &Bytes) {
        let medium = &mut self.media[place.medium];
        let (latency, jitter, loss) = (medium.kind.latency, medium.kind.jitter, medium.kind.loss);
        for hearer in medium.hearers(place.port) {
            let port = &mut medium.ports[hearer];
            if port.fading.loses(end, &loss, &mut self.rng) {
                self.ledgers[place.medium].lost += 1;
                continue;
            }
            let mut at = end + latency + random::duration_below(&mut self.rng, jitter);
            if !jitter.is_zero() {
                let last = port.arrivals.entry(place.port).or_default();
                at = at.max(*last);
                *last = at;
            }
            let arrive =
                Happening::Arrive { place: Place { port: hearer, ..place }, epoch: port.epoch, frame: frame.clone() };
            self.queue.push(at, arrive);
        }
    }

    /// A carrier begins: whoever hears another, or sends, loses both frames or this one.
    fn radiate(&mut self, place: Place, transmission: u64) {
        let since = self.now.mono;
        let medium = &mut self.media[place.medium];
        let mut collided = 0;
        for incoming in &mut medium.ports[place.port].heard {
            collided += u64::from(!incoming.spoilt);
            incoming.spoilt = true;
        }
        for hearer in medium.hearers(place.port) {
            let port = &mut medium.ports[hearer];
            let mut spoilt = port.sending.is_some();
            for other in &mut port.heard {
                collided += u64::from(!other.spoilt);
                other.spoilt = true;
                spoilt = true;
            }
            collided += u64::from(spoilt);
            port.heard.push(Incoming { transmission, since, spoilt });
        }
        self.ledgers[place.medium].collided += collided;
    }

    /// A sender's airtime is over: those who heard a radio frame whole get it, and the next in line sends.
    pub(super) fn sent(&mut self, place: Place, transmission: u64) {
        let now = self.now.mono;
        let medium = &mut self.media[place.medium];
        let sense = medium.kind.sense();
        let Some(frame) = medium.on_air.remove(&transmission) else { return };
        if medium.on_air.is_empty() {
            self.ledgers[place.medium].busy(medium.busy_since, now);
        }
        let port = &mut medium.ports[place.port];
        if port.sending == Some(transmission) {
            port.sending = None;
        }
        if medium.kind.sharing == Sharing::FullDuplex {
            return self.serve(place);
        }
        let loss = medium.kind.loss;
        let (mut hear, mut silent) = (Vec::new(), Vec::new());
        for (index, port) in medium.ports.iter_mut().enumerate() {
            let Some(at) = port.heard.iter().position(|incoming| incoming.transmission == transmission) else {
                continue;
            };
            let incoming = port.heard.swap_remove(at);
            if port.waiting && port.heard.is_empty() {
                silent.push(index);
            }
            if !port.up || incoming.spoilt {
                continue;
            }
            if port.fading.loses(now, &loss, &mut self.rng) {
                self.ledgers[place.medium].lost += 1;
            } else {
                hear.push(index);
            }
        }
        if let Some(sense) = sense {
            for port in silent {
                self.plan_attempt(Place { port, ..place }, sense);
            }
        }
        self.serve(place);
        for port in hear {
            self.deliver(Place { port, ..place }, &frame);
        }
    }

    /// A receiver has a whole frame.
    pub(super) fn deliver(&mut self, place: Place, frame: &Bytes) {
        let port = &self.media[place.medium].ports[place.port];
        let (node, interface) = (port.node, port.interface);
        self.ledgers[place.medium].received += 1;
        self.trace.delivered(self.now.mono, node, frame);
        self.receive(node, interface, frame);
    }
}
