//! A serial line in software: two pseudo-terminals joined half duplex at a set speed.
//!
//! One direction at a time holds the line, until its sender pauses, so two ends that talk at once share what one would
//! have alone: what a radio modem or an RS-485 pair does.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Bits on the line per byte: start, eight data, stop.
const BITS_PER_BYTE: u64 = 10;
/// Bytes carried at once.
const CHUNK: usize = 64;
/// A sender that is silent for so long has finished, and the line turns round. Shorter than the silence after which a
/// receiver gives up a frame.
const PAUSE: Duration = Duration::from_millis(20);
/// What is made up for when a timer ended late: timers tick in milliseconds, and 64 bytes may take less.
const LATE: Duration = Duration::from_millis(10);

struct End {
    master: AsyncFd<OwnedFd>,
    /// Held open so that the line survives a program that closes its end.
    _slave: OwnedFd,
    path: PathBuf,
}

impl End {
    fn open() -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        let slave = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        // Raw from the start: nothing is echoed or translated before a program opens its end.
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        let flags = rustix::fs::fcntl_getfl(&master)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        #[expect(deprecated, reason = "it is unsound for what can change its descriptor; this cannot")]
        let master = AsyncFd::new(master)?;
        Ok(Self { master, _slave: slave, path })
    }

    /// The next bytes, at most a chunk. Cancel-safe.
    async fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; CHUNK];
        loop {
            let mut ready = self.master.readable().await?;
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), bytes.as_mut_slice())?)) {
                Ok(read) => {
                    bytes.truncate(read?);
                    return Ok(bytes);
                }
                Err(_would_block) => {}
            }
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.master.writable().await?;
            match ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(written) => bytes = bytes.get(written?..).unwrap_or_default(),
                Err(_would_block) => {}
            }
        }
        Ok(())
    }
}

/// The line; [`SerialLine::run`] carries its bytes.
pub struct SerialLine {
    ends: [End; 2],
    bits_per_second: u64,
}

impl std::fmt::Debug for SerialLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SerialLine({} bit/s)", self.bits_per_second)
    }
}

impl SerialLine {
    /// Makes the two ends. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system has no pseudo-terminals to give.
    pub fn open(bits_per_second: u64) -> io::Result<Self> {
        Ok(Self { ends: [End::open()?, End::open()?], bits_per_second: bits_per_second.max(1) })
    }

    /// Device paths of the two ends, for the programs that use them.
    pub fn paths(&self) -> [&std::path::Path; 2] {
        [&self.ends[0].path, &self.ends[1].path]
    }

    /// Carries bytes until an end fails.
    ///
    /// # Errors
    /// What the system says.
    pub async fn run(&self) -> io::Result<()> {
        let [a, b] = &self.ends;
        let mut free_at = Instant::now();
        let mut a_first = true;
        loop {
            // Whoever did not speak last is asked first.
            let (mut bytes, from, to) = tokio::select! {
                biased;
                read = a.read(), if a_first => (read?, a, b),
                read = b.read() => (read?, b, a),
                read = a.read(), if !a_first => (read?, a, b),
            };
            a_first = std::ptr::eq(from, b);
            loop {
                let bits = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_mul(BITS_PER_BYTE);
                let airtime = Duration::from_micros(bits.saturating_mul(1_000_000) / self.bits_per_second);
                let now = Instant::now();
                free_at = free_at.max(now.checked_sub(LATE).unwrap_or(now)) + airtime;
                tokio::time::sleep_until(free_at).await;
                to.write_all(&bytes).await?;
                match tokio::time::timeout(PAUSE, from.read()).await {
                    Ok(read) => bytes = read?,
                    Err(_paused) => break,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn open(path: &std::path::Path) -> tokio::fs::File {
        tokio::fs::OpenOptions::new().read(true).write(true).open(path).await.expect("the end of a line")
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_unchanged() {
        let line = SerialLine::open(1_000_000).expect("pseudo-terminals");
        let [a, b] = line.paths().map(std::path::Path::to_owned);
        let carrier = tokio::spawn(async move { line.run().await });
        let (mut a, mut b) = (open(&a).await, open(&b).await);
        // Bytes that a terminal in its usual mode would change or swallow.
        let sent: Vec<u8> = (0..=255).collect();
        let mut got = vec![0; 256];
        a.write_all(&sent).await.expect("written");
        a.flush().await.expect("flushed");
        b.read_exact(&mut got).await.expect("read");
        assert_eq!(got, sent);
        b.write_all(&sent).await.expect("written");
        b.flush().await.expect("flushed");
        a.read_exact(&mut got).await.expect("read");
        assert_eq!(got, sent);
        carrier.abort();
    }
}
