//! Memory for frames that leave again soon: carrying a packet on allocates nothing.

use bytes::{Bytes, BytesMut};

/// Bytes taken from the system at a time. One frame that stays keeps as much in memory.
const CHUNK: usize = 16 * 1024;
/// Chunks kept to be used again. When all of them are in use, what comes next is allocated and not kept.
const CHUNKS: usize = 8;
/// A longer frame gets memory of its own, which costs little beside copying it.
const SHARES: usize = CHUNK / 4;

/// Chunks, the one in use last. Each interface has its own, so that frames which wait for a slow medium keep no memory in
/// use that frames for others went through.
#[derive(Debug, Default)]
pub(super) struct Arena {
    chunks: Vec<BytesMut>,
}

impl Arena {
    /// A frame of at most `len` bytes, which `write` appends.
    pub(super) fn frame(&mut self, len: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        if len > SHARES {
            let mut own = BytesMut::with_capacity(len);
            write(&mut own);
            return own.freeze();
        }
        let mut chunk = self.take(len);
        write(&mut chunk);
        let frame = chunk.split().freeze();
        self.chunks.push(chunk);
        frame
    }

    /// The chunk in use, or when it is full one that no frame is in any more, or a new one.
    fn take(&mut self, len: usize) -> BytesMut {
        if let Some(chunk) = self.chunks.pop_if(|chunk| chunk.capacity() >= len) {
            return chunk;
        }
        if let Some(free) = self.chunks.iter_mut().rposition(|chunk| chunk.try_reclaim(CHUNK)) {
            return self.chunks.remove(free);
        }
        if self.chunks.len() >= CHUNKS {
            self.chunks.remove(0);
        }
        BytesMut::with_capacity(CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(arena: &mut Arena, of: u8, len: usize) -> Bytes {
        arena.frame(len, |out| out.resize(len, of))
    }

    #[test]
    fn frames_that_left_make_room_for_others_and_those_that_stay_stay_as_they_are() {
        let mut arena = Arena::default();
        let stays = frame(&mut arena, 7, 100);
        let mut chunks = std::collections::BTreeSet::new();
        for _ in 0..100_000 {
            let leaves = frame(&mut arena, 1, 500);
            assert!(leaves.iter().all(|byte| *byte == 1));
            chunks.insert(leaves.as_ptr() as usize / CHUNK);
        }
        assert!(chunks.len() <= 2 * CHUNKS, "{} places", chunks.len());
        assert_eq!(arena.chunks.len(), 2, "one that is in use, one that is not");
        assert_eq!(stays, [7; 100].as_slice());
    }

    #[test]
    fn no_more_than_eight_chunks_are_kept() {
        let mut arena = Arena::default();
        let frames: Vec<_> = (0..1000).map(|at| frame(&mut arena, at as u8, 500)).collect();
        assert_eq!(arena.chunks.len(), CHUNKS);
        assert!(frames.iter().enumerate().all(|(at, frame)| frame.iter().all(|byte| *byte == at as u8)));
        assert_eq!(frame(&mut arena, 1, 20_000).len(), 20_000);
    }
}
