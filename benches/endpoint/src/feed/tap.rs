//! One connection to the node: what is sent into it, and what a thread of its own sees come out.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use super::frames::{Address, Deframer, addressed, flags, transport};

/// Bytes read at once.
const READ: usize = 1 << 18;

/// What came out, frame by frame; not kept while only counting.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Data packets by destination.
    pub(crate) data: HashMap<Address, usize>,
    /// Destinations that were announced.
    pub(crate) announced: HashSet<Address>,
    /// When the last of them came.
    pub(crate) last_announce: Option<Instant>,
    /// The transport node that announces name.
    pub(crate) transport: Option<Address>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether frames are only counted, which takes almost nothing.
    counting: AtomicBool,
    flags: AtomicUsize,
    closed: AtomicBool,
    seen: Mutex<Seen>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    shared: Arc<Shared>,
}

impl Tap {
    /// Connects. The thread that calls is woken whenever something came.
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        let (reading, shared) = (stream.try_clone()?, Arc::new(Shared::default()));
        let (thread_shared, owner) = (Arc::clone(&shared), thread::current());
        thread::spawn(move || {
            thread_shared.read(reading, &owner);
            thread_shared.closed.store(true, Ordering::Relaxed);
            owner.unpark();
        });
        Ok(Self { stream, shared })
    }

    pub(crate) fn send(&mut self, framed: &[u8]) -> io::Result<()> {
        self.stream.write_all(framed)
    }

    /// Frames that came out so far.
    pub(crate) fn frames(&self) -> usize {
        self.shared.flags.load(Ordering::Acquire) / 2
    }

    /// Whether the node closed the connection.
    pub(crate) fn closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn only_count(&self, only: bool) {
        self.shared.counting.store(only, Ordering::Relaxed);
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn read(&self, mut stream: TcpStream, owner: &Thread) {
        let (mut buffer, mut deframer) = (vec![0; READ], Deframer::default());
        while let Ok(len) = stream.read(&mut buffer)
            && len > 0
        {
            let bytes = &buffer[..len];
            if self.counting.load(Ordering::Relaxed) {
                // The mode changes only while nothing moves, so that no frame is cut by it.
                deframer = Deframer::default();
            } else {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                deframer.push(bytes, |packet| seen.take(packet));
            }
            self.flags.fetch_add(flags(bytes), Ordering::Release);
            owner.unpark();
        }
    }
}

impl Seen {
    fn take(&mut self, packet: &[u8]) {
        match addressed(packet) {
            Some((of, true)) => {
                self.announced.insert(of);
                self.last_announce = Some(Instant::now());
                self.transport = self.transport.or_else(|| transport(packet));
            }
            Some((to, false)) => *self.data.entry(to).or_default() += 1,
            None => {}
        }
    }
}
