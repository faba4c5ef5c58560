//! A TCP connection that loses frames: whoever connects to it is connected to somebody else, and of the HDLC frames in
//! between a share disappears, once the test says so.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Begins and ends a frame. Inside one it never stands unescaped.
const FLAG: u8 = 0x7e;
/// Bytes taken from a connection at once.
const CHUNK: usize = 1 << 16;

#[derive(Debug, Default)]
struct Shared {
    /// Frames lost of each thousand.
    per_mille: AtomicU64,
    lost: AtomicU64,
    passed: AtomicU64,
    ended: AtomicBool,
    /// Whether whoever connects is sent away.
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// Between those who connect to [`Lossy::port`] and a server on loopback. Both are cut off when it is dropped.
#[derive(Debug)]
pub(crate) struct Lossy {
    port: u16,
    shared: Arc<Shared>,
}

impl Lossy {
    /// A way to the server on this port that loses nothing yet. What it will lose follows from `seed`.
    pub(crate) fn start(to: u16, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            let mut dice = Dice(seed);
            for near in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                if accepting.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let ends = [(&near, &far), (&far, &near)];
                for (from, into) in ends {
                    let (from, into) = (from.try_clone().expect("a handle"), into.try_clone().expect("a handle"));
                    let (shared, dice) = (Arc::clone(&accepting), Dice(dice.next()));
                    into.set_nodelay(true).expect("it is open");
                    thread::spawn(move || carry(from, into, &shared, dice));
                }
                accepting.open.lock().expect("nothing panics with it").extend([near, far]);
            }
        });
        Self { port, shared }
    }

    /// Where to connect.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on so many frames of each thousand are lost, both ways.
    pub(crate) fn lose(&self, per_mille: u64) {
        self.shared.per_mille.store(per_mille, Ordering::SeqCst);
    }

    /// Frames lost and frames passed on so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.lost.load(Ordering::SeqCst), self.shared.passed.load(Ordering::SeqCst))
    }

    /// Cuts the connections there are, and takes no new ones.
    pub(crate) fn cut(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.hang_up();
    }

    /// Takes new connections again.
    pub(crate) fn mend(&self) {
        self.shared.closed.store(false, Ordering::SeqCst);
    }

    fn hang_up(&self) {
        for stream in self.shared.open.lock().expect("nothing panics with it").drain(..) {
            // It may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.hang_up();
        // Wakes whoever waits for a connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Carries whole frames from one end to the other until either closes.
fn carry(mut from: TcpStream, mut into: TcpStream, shared: &Shared, mut dice: Dice) {
    let (mut chunk, mut frame) = (vec![0; CHUNK], Vec::new());
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        let mut out = Vec::with_capacity(len);
        for byte in chunk.iter().take(len) {
            if *byte != FLAG {
                frame.push(*byte);
            } else if !frame.is_empty() {
                if dice.next() % 1000 < shared.per_mille.load(Ordering::SeqCst) {
                    shared.lost.fetch_add(1, Ordering::SeqCst);
                    frame.clear();
                } else {
                    shared.passed.fetch_add(1, Ordering::SeqCst);
                    out.push(FLAG);
                    out.append(&mut frame);
                    out.push(FLAG);
                }
            }
        }
        if into.write_all(&out).is_err() {
            break;
        }
    }
    drop(into.shutdown(Shutdown::Both));
}

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
