//! What the tests across a process border share: a real node in a process of its own ([`node`]), the reference
//! implementation as an outside peer ([`reference`]), a minimal endpoint in the test's own process ([`endpoint`]), and nodes
//! with something to share ([`skills`]).
//!
//! Everything waits for conditions and gives up after a time limit with what it saw; nothing has a fixed port or path, so
//! that tests run beside each other; processes end with the value that stands for them, and with the test program.
#![allow(dead_code, reason = "each test file uses its part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

pub(crate) mod endpoint;
pub(crate) mod line;
pub(crate) mod lossy;
pub(crate) mod node;
pub(crate) mod reference;
pub(crate) mod skills;

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use wend_packet::hash::sha256;

/// Bytes that do not compress and that `tests/peers/reference_node.py` makes too: SHA-256 of 0, 1, 2, ... as 4 bytes
/// big-endian, cut to `len`.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(|block| sha256(&[&block.to_be_bytes()])).take(len).collect()
}

/// Text that compresses and that `tests/peers/reference_node.py` makes too: 0, 1, 2, ... each on a line, cut to `len`.
pub(crate) fn compressible(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(|number| format!("{number}\n").into_bytes()).take(len).collect()
}

/// SHA-256 of `bytes` in hexadecimal digits, as the reference node prints it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(sha256(&[bytes]))
}

/// A TCP port on loopback that nobody listens on now, and that this test program gives out once.
///
/// Taken from below the range from which systems choose by themselves, so that no connection gets it as its near end.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 14_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run side by side begin at different places.
    let offset = u16::try_from(process::id().wrapping_mul(379) % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (offset + number % COUNT) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no TCP port from {FIRST} to {} is free", FIRST + COUNT);
}
