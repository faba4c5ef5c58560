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

/// How much of one class may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// The frames of one class.
#[derive(Debug, Default)]
struct Line {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Line {
    /// A single frame always has room, however long it is.
    fn fits(&self, frame: &Bytes, room: Room) -> bool {
        self.has_room(frame.len(), room)
    }

    fn has_room(&self, len: usize, room: Room) -> bool {
        let bytes = self.bytes.saturating_add(len);
        self.frames.is_empty() || (self.frames.len() < room.frames && bytes <= room.bytes)
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes = self.bytes.saturating_add(frame.len());
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.len());
        Some(frame)
    }
}

/// The queue of one interface, bounded for each class.
#[derive(Debug)]
pub(super) struct Egress {
    link: Line,
    data: Line,
    path_request: Line,
    announce: Line,
    room: Room,
    lost: u64,
}

impl Egress {
    pub(super) fn new(room: Room) -> Self {
        Self {
            link: Line::default(),
            data: Line::default(),
            path_request: Line::default(),
            announce: Line::default(),
            room,
            lost: 0,
        }
    }

    fn is_empty(&self) -> bool {
        [&self.link, &self.data, &self.path_request, &self.announce].iter().all(|line| line.frames.is_empty())
    }

    /// Bytes of announces that wait.
    pub(super) fn announce_bytes(&self) -> usize {
        self.announce.bytes
    }

    /// Traffic that someone retries keeps its order, so the newest is refused when there is no room; of what only informs,
    /// the newest is worth most.
    pub(super) fn push(&mut self, class: Class, frame: Bytes) -> Queued {
        let first = self.is_empty();
        let (line, newest_wins) = match class {
            Class::Link => (&mut self.link, false),
            Class::Data => (&mut self.data, false),
            Class::PathRequest => (&mut self.path_request, true),
            Class::Announce => (&mut self.announce, true),
        };
        let full = !line.fits(&frame, self.room);
        if full && !newest_wins {
            self.lost += 1;
            return Queued::Refused;
        }
        while !line.fits(&frame, self.room) {
            line.pop();
            self.lost += 1;
        }
        line.push(frame);
        match (first, full) {
            (true, _) => Queued::First,
            (false, true) => Queued::InPlaceOfOldest,
            (false, false) => Queued::Behind,
        }
    }

    /// Whether a frame of link traffic of this length would be taken.
    pub(super) fn has_room_for_link(&self, len: usize) -> bool {
        self.link.has_room(len, self.room)
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let lines = [&mut self.link, &mut self.data, &mut self.path_request, &mut self.announce];
        lines.into_iter().find_map(Line::pop)
    }

    /// Frames and bytes that wait, of all classes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let lines = [&self.link, &self.data, &self.path_request, &self.announce];
        lines.iter().fold((0, 0), |(frames, bytes), line| (frames + line.frames.len(), bytes + line.bytes))
    }

    /// Frames that found no room, or had to make some.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(frames: usize) -> Room {
        Room { frames, bytes: 100 }
    }

    #[test]
    fn the_most_urgent_class_leaves_first_and_order_holds_within_a_class() {
        let mut egress = Egress::new(room(8));
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
        let mut egress = Egress::new(room(1));
        egress.push(Class::Link, Bytes::from_static(b"kept"));
        assert_eq!(egress.push(Class::Link, Bytes::from_static(b"late")), Queued::Refused);
        egress.push(Class::Announce, Bytes::from_static(b"old"));
        assert_eq!(egress.push(Class::Announce, Bytes::from_static(b"new")), Queued::InPlaceOfOldest);
        assert_eq!(egress.lost(), 2);
        assert_eq!(egress.pop().as_deref(), Some(&b"kept"[..]));
        assert_eq!(egress.pop().as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn long_frames_fill_a_class_by_their_bytes() {
        let mut egress = Egress::new(room(8));
        let long = || Bytes::from_static(&[0; 60]);
        assert_eq!(egress.push(Class::Data, long()), Queued::First);
        assert_eq!(egress.push(Class::Data, long()), Queued::Refused);
        assert_eq!(egress.push(Class::Data, Bytes::from_static(&[0; 40])), Queued::Behind);
        assert_eq!(egress.push(Class::Link, Bytes::from_static(&[0; 200])), Queued::Behind, "alone it always fits");
        egress.push(Class::Announce, long());
        assert_eq!(egress.push(Class::Announce, long()), Queued::InPlaceOfOldest);
        assert_eq!(egress.waiting(), (4, 360));
    }
}
