//! A serial line between two programs.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// How often a silent end is looked at.
const POLL: Duration = Duration::from_millis(1);

/// Two pseudo-terminals, and threads that carry bytes between them as fast as they are taken, both ways at once, until this
/// is dropped. Speeds are the drivers' own affair. The line outlives programs that close their end and others that open it
/// again.
pub(crate) struct Line {
    ends: [PathBuf; 2],
    /// Held open: without anybody at its end a terminal reports errors.
    _slaves: [OwnedFd; 2],
    stop: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl Line {
    pub(crate) fn start() -> Self {
        let [(one, near, near_slave), (two, far, far_slave)] = [terminal(), terminal()];
        let stop = Arc::new(AtomicBool::new(false));
        let copy = |file: &File| file.try_clone().expect("another handle");
        let pairs = [(copy(&one), copy(&two)), (two, one)];
        let carriers = pairs.map(|(from, to)| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || carry(from, to, &stop))
        });
        Self { ends: [near, far], _slaves: [near_slave, far_slave], stop, carriers: carriers.into() }
    }

    /// Device paths of the two ends.
    pub(crate) fn ends(&self) -> [&Path; 2] {
        [&self.ends[0], &self.ends[1]]
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            // Its panic was printed already; another here would hide it.
            drop(carrier.join());
        }
    }
}

/// The inner side of a terminal, the path of its outer side, and that side held open.
fn terminal() -> (File, PathBuf, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal is free");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
    let path = PathBuf::from(ptsname(&master, Vec::new()).expect("it has a name").to_string_lossy().into_owned());
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(&path, flags, Mode::empty()).expect("its outer side opens");
    // Raw from the start: nothing is echoed or translated before a program opens its end.
    let mut settings = tcgetattr(&slave).expect("it has settings");
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings).expect("they can be set");
    let flags = fcntl_getfl(&master).expect("it has flags");
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).expect("they can be set");
    (File::from(master), path, slave)
}

fn carry(mut from: File, mut to: File, stop: &AtomicBool) {
    let mut chunk = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match from.read(&mut chunk) {
            Ok(len) => write(&mut to, &chunk[..len], stop),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL),
            Err(error) => panic!("the serial line broke: {error}"),
        }
    }
}

fn write(to: &mut File, mut bytes: &[u8], stop: &AtomicBool) {
    while !bytes.is_empty() && !stop.load(Ordering::Relaxed) {
        match to.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL),
            Err(error) => panic!("the serial line broke: {error}"),
        }
    }
}
