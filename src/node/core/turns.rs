//! Interfaces take turns: what one has much of does not keep the others waiting.

use std::collections::VecDeque;
use std::ops::Range;

use wend_interfaces::{Frames, PortEvent};
use wend_packet::stack::InterfaceId;

use super::Core;

/// Frames of one interface taken in before everything else gets its turn.
const FRAMES_PER_TURN: usize = 64;

/// What an interface brought and nobody has looked at yet, in its order: at most its two batches of frames, and its comings
/// and goings.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    events: VecDeque<PortEvent>,
    /// Frames of the first event that were taken in already.
    done: usize,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Interfaces whose inbox holds something.
    next: VecDeque<InterfaceId>,
    /// Those among them with more announces than can be checked, in the order in which they found no room at all: they wait
    /// until a check is done.
    paused: VecDeque<InterfaceId>,
}

impl Turns {
    /// Whether an interface has a turn to take.
    pub(super) fn is_waiting(&self) -> bool {
        !self.next.is_empty()
    }

    /// A check is done: there may be room for more announces.
    pub(super) fn resume(&mut self) {
        self.next.append(&mut self.paused);
    }

    /// An interface has had its turn and has more. When it brought something in it comes after those that could not, also
    /// after those that pause: else what a few bring all the time would fill the room that others wait for.
    fn again(&mut self, id: InterfaceId, progress: bool) {
        if progress {
            self.next.push_back(id);
        } else {
            self.paused.push_back(id);
        }
    }
}

impl Core {
    /// Puts an event into the inbox of its interface.
    pub(super) fn arrived(&mut self, event: PortEvent) {
        let id = match &event {
            PortEvent::Frames { id, .. } | PortEvent::Up { id, .. } | PortEvent::Down { id, .. } => *id,
            PortEvent::Child { .. } => return self.port_event(event),
        };
        let Some(attached) = self.interfaces.get_mut(&id) else { return self.port_event(event) };
        attached.inbox.events.push_back(event);
        if attached.inbox.events.len() == 1 {
            self.turns.next.push_back(id);
        }
    }

    /// Takes in some of what the next interface brought.
    pub(super) fn turn(&mut self) {
        let Some(id) = self.turns.next.pop_front() else { return };
        let mut left = FRAMES_PER_TURN;
        while left > 0 {
            let Some(attached) = self.interfaces.get_mut(&id) else { return };
            let Some(event) = attached.inbox.events.pop_front() else { return };
            let PortEvent::Frames { id, frames } = event else {
                self.port_event(event);
                continue;
            };
            let from = attached.inbox.done;
            let mut room = self.parts.stack.admits(id);
            if room == 0 {
                self.start_jobs();
                if self.jobs.is_empty() {
                    // Nothing is being checked that would make room: what is too much is dropped.
                    room = left;
                }
            }
            let room = left.min(room);
            let to = frames.len().min(from.saturating_add(room));
            left = left.saturating_sub(room);
            self.take_frames(id, &frames, from..to);
            let Some(attached) = self.interfaces.get_mut(&id) else { return };
            attached.inbox.done = 0;
            if to < frames.len() {
                attached.inbox.done = to;
                attached.inbox.events.push_front(PortEvent::Frames { id, frames });
                if room == 0 {
                    return self.turns.again(id, left < FRAMES_PER_TURN);
                }
            }
        }
        if self.interfaces.get(&id).is_some_and(|attached| !attached.inbox.events.is_empty()) {
            self.turns.again(id, true);
        }
    }

    pub(super) fn take_frames(&mut self, id: InterfaceId, frames: &Frames, which: Range<usize>) {
        let now = self.now();
        self.parts.stack.handle_frames(now, id, which.filter_map(|at| frames.get(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two interfaces that always have more than there is room for, and a third.
    #[test]
    fn who_found_no_room_comes_before_those_who_did() {
        let [flood, other, honest] = [1, 2, 3].map(InterfaceId);
        let mut turns = Turns { next: [flood, other, honest].into(), ..Turns::default() };
        let mut served = Vec::new();
        for _ in 0..6 {
            // Each check that is done makes room for one interface.
            let mut room = true;
            while let Some(id) = turns.next.pop_front() {
                let progress = std::mem::take(&mut room);
                if progress {
                    served.push(id);
                }
                turns.again(id, progress);
            }
            turns.resume();
        }
        assert_eq!(served, [flood, other, honest, flood, other, honest]);
    }
}
