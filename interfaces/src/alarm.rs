//! An alarm for deadlines that are closer than the runtime's timers can tell apart.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The runtime counts whole milliseconds and rounds up. What is farther away may be late by one.
const FINE: Duration = Duration::from_millis(3);

/// Wakes whoever waits for a deadline, to within some ten microseconds if the deadline is close and the system is Linux.
#[derive(Debug, Default)]
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: Option<fine::Timer>,
}

impl Alarm {
    /// An alarm. It takes what it needs from the system once a deadline is close.
    pub const fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: None,
        }
    }

    /// Sleeps until then; for ever without a time. Nothing is lost when the sleep is given up.
    pub async fn at(&mut self, wake: Option<Instant>) {
        let Some(at) = wake else { return pending().await };
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The runtime would round that up as well. Its other tasks get their turn all the same.
            return tokio::task::yield_now().await;
        }
        #[cfg(target_os = "linux")]
        if left < FINE {
            if self.timer.is_none() {
                self.timer = fine::Timer::new().ok();
            }
            if let Some(timer) = &mut self.timer {
                return tokio::select! {
                    () = timer.sleep(at, left) => {}
                    // On a clock that stands still for tests, this one goes.
                    () = sleep_until(at) => {}
                };
            }
        }
        sleep_until(at).await;
    }
}

#[cfg(target_os = "linux")]
mod fine {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    /// A timer of the system's.
    #[derive(Debug)]
    pub(super) struct Timer {
        descriptor: AsyncFd<OwnedFd>,
        /// When it will go off.
        set: Option<Instant>,
    }

    impl Timer {
        #[expect(deprecated, reason = "what replaces it is unsafe to call; this descriptor is owned and stays open")]
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let descriptor = AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?;
            Ok(Self { descriptor, set: None })
        }

        /// Sleeps until `at`, for as long as is `left`. A timer that fails ends the sleep at once: to be early is harmless.
        pub(super) async fn sleep(&mut self, at: Instant, left: Duration) {
            if self.set != Some(at) {
                let left = Timespec {
                    tv_sec: left.as_secs().try_into().unwrap_or_default(),
                    tv_nsec: left.subsec_nanos().max(1).into(),
                };
                let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: left };
                if timerfd_settime(self.descriptor.get_ref(), TimerfdTimerFlags::empty(), &once).is_err() {
                    return;
                }
                self.set = Some(at);
            }
            while let Ok(mut ready) = self.descriptor.readable().await {
                // What an earlier time left behind is no reason to wake up.
                if ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?)).is_ok() {
                    break;
                }
            }
            self.set = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_close_deadline_comes_on_a_clock_that_stands_still_and_a_past_one_at_once() {
        let (mut alarm, start) = (Alarm::new(), Instant::now());
        alarm.at(Some(start + Duration::from_millis(2))).await;
        alarm.at(Some(start)).await;
        alarm.at(Some(start + Duration::from_secs(5))).await;
        assert!(Instant::now() >= start + Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_sleep_that_was_given_up_does_not_end_the_next_one() {
        let (mut alarm, start) = (Alarm::new(), Instant::now());
        tokio::select! {
            biased;
            () = alarm.at(Some(start + Duration::from_micros(500))) => {}
            () = std::future::ready(()) => {}
        }
        let later = start + Duration::from_millis(2);
        while Instant::now() < later {
            alarm.at(Some(later)).await;
        }
        alarm.at(Some(Instant::now() + Duration::from_micros(300))).await;
    }
}
