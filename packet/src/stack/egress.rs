//! Frames waiting for room in a driver, most urgent class first.

use std::collections::VecDeque;

use bytes::Bytes;

/// How urgent a frame is; the first goes out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Link traffic: someone waits for it.
    Link,
    /// Data packets and their proofs.
    Data,
    /// Path requests, and the announces that answer them.
    PathRequest,
    /// Announces.
    Announce,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    /// It is the only one: the driver has to be told.
    First,
    /// It waits behind others.
    Behind,
    /// It waits, and an older one of its class had to leave.
    InPlaceOfOldest,
    /// Its class is full.
    Refused,
}

/// The queue of one interface, bounded for each class.
#[derive(Debug)]
pub(super) struct Egress {
    link: VecDeque<Bytes>,
    data: VecDeque<Bytes>,
    path_request: VecDeque<Bytes>,
    announce: VecDeque<Bytes>,
    capacity: usize,
}

impl Egress {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            link: VecDeque::new(),
            data: VecDeque::new(),
            path_request: VecDeque::new(),
            announce: VecDeque::new(),
            capacity,
        }
    }

    fn len(&self) -> usize {
        self.link.len() + self.data.len() + self.path_request.len() + self.announce.len()
    }

    /// Traffic that someone retries keeps its order, so the newest is refused when there is no room; of what only informs,
    /// the newest is worth most.
    pub(super) fn push(&mut self, class: Class, frame: Bytes) -> Queued {
        let empty = self.len() == 0;
        let (queue, newest_wins) = match class {
            Class::Link => (&mut self.link, false),
            Class::Data => (&mut self.data, false),
            Class::PathRequest => (&mut self.path_request, true),
            Class::Announce => (&mut self.announce, true),
        };
        let full = queue.len() >= self.capacity;
        if full && !newest_wins {
            return Queued::Refused;
        }
        if full {
            queue.pop_front();
        }
        queue.push_back(frame);
        match (empty, full) {
            (true, _) => Queued::First,
            (false, true) => Queued::InPlaceOfOldest,
            (false, false) => Queued::Behind,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let queues = [&mut self.link, &mut self.data, &mut self.path_request, &mut self.announce];
        queues.into_iter().find_map(VecDeque::pop_front)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_class_leaves_first_and_order_holds_within_a_class() {
        let mut egress = Egress::new(8);
        assert_eq!(egress.push(Class::Announce, Bytes::from_static(b"announce")), Queued::First);
        for frame in [&b"one"[..], b"two"] {
            assert_eq!(egress.push(Class::Link, Bytes::from_static(frame)), Queued::Behind);
        }
        egress.push(Class::Data, Bytes::from_static(b"data"));
        let order: Vec<_> = core::iter::from_fn(|| egress.pop()).collect();
        assert_eq!(order, [&b"one"[..], b"two", b"data", b"announce"]);
    }

    #[test]
    fn a_full_class_refuses_traffic_but_prefers_news() {
        let mut egress = Egress::new(1);
        egress.push(Class::Link, Bytes::from_static(b"kept"));
        assert_eq!(egress.push(Class::Link, Bytes::from_static(b"late")), Queued::Refused);
        egress.push(Class::Announce, Bytes::from_static(b"old"));
        assert_eq!(egress.push(Class::Announce, Bytes::from_static(b"new")), Queued::InPlaceOfOldest);
        assert_eq!(egress.pop().as_deref(), Some(&b"kept"[..]));
        assert_eq!(egress.pop().as_deref(), Some(&b"new"[..]));
    }
}
