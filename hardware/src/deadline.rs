//! Asking what may never answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use crate::probe::{Probe, ProbeError};

/// One kind of question, of which at most one is open at a time.
#[derive(Debug)]
pub(crate) struct Site {
    open: AtomicBool,
}

impl Site {
    pub(crate) const fn new() -> Self {
        Self { open: AtomicBool::new(false) }
    }
}

/// Closes the question when its thread ends, however it ends.
struct Open(&'static Site);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Release);
    }
}

/// An answer that is being waited for.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    began: Instant,
    answer: Probe<Receiver<Probe<T>>>,
}

/// Asks on a thread of its own.
pub(crate) fn start<T: Send + 'static>(
    site: &'static Site,
    question: impl FnOnce() -> Probe<T> + Send + 'static,
) -> Pending<T> {
    let began = Instant::now();
    if site.open.swap(true, Ordering::Acquire) {
        return Pending { began, answer: Err(ProbeError::StillRunning) };
    }
    let open = Open(site);
    let (sender, receiver) = mpsc::sync_channel(1);
    let ask = move || {
        let answer = question();
        // Closed first: whoever has the answer may ask again.
        drop(open);
        // Nobody waits any more: the answer came too late.
        let _ = sender.send(answer);
    };
    let started = std::thread::Builder::new().name("hardware probe".to_owned()).spawn(ask);
    Pending { began, answer: started.map(|_| receiver).map_err(|error| ProbeError::failed(&error)) }
}

impl<T> Pending<T> {
    /// The answer, if it comes before `deadline`. A thread that is still asking then is left to itself.
    pub(crate) fn wait(self, deadline: Instant) -> Probe<T> {
        let answer = self.answer?;
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(ProbeError::TimedOut { after: self.began.elapsed() }),
            Err(RecvTimeoutError::Disconnected) => Err(ProbeError::failed(&"the probe broke off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn what_hangs_is_left_behind_once_and_asked_again_when_it_is_free() {
        static SITE: Site = Site::new();
        let (release, held) = mpsc::channel::<()>();
        let hung = start(&SITE, move || {
            let _ = held.recv();
            Ok(1)
        });
        assert!(matches!(hung.wait(Instant::now()), Err(ProbeError::TimedOut { .. })));
        assert_eq!(start(&SITE, || Ok(2)).wait(soon()), Err(ProbeError::StillRunning));
        drop(release);
        while SITE.open.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(start(&SITE, || Ok(3)).wait(soon()), Ok(3));
        assert_eq!(start(&SITE, || Ok(4)).wait(soon()), Ok(4));
    }

    #[test]
    fn what_breaks_off_is_an_error_and_frees_its_place() {
        static SITE: Site = Site::new();
        let broken = start::<u8>(&SITE, || panic!("a driver went wrong; this message is expected"));
        assert!(matches!(broken.wait(soon()), Err(ProbeError::Failed { .. })));
        while SITE.open.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        assert_eq!(start(&SITE, || Ok(1)).wait(soon()), Ok(1));
    }
}
