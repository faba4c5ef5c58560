//! Runs a driver, opens a lost medium again, and keeps the state that `wend status` shows. Once for all drivers.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::port::{DownReason, Port};

/// A medium that was open for so long was good: the waiting times begin anew.
const STEADY: Duration = Duration::from_secs(10);
/// How long a stopped driver may take to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Runs `driver` on `port` until `cancel`, until the core drops its end, or until the driver ends by itself. A medium
/// that cannot be opened or is lost is tried again after the waits of `backoff`, for ever.
///
/// How it stands is in the port's [`Monitor`](crate::Monitor). The first attempt begins at once.
pub async fn supervise(mut driver: Box<dyn Driver>, mut port: Port, mut backoff: Backoff, cancel: CancellationToken) {
    let mut failures_in_a_row = 0_u32;
    loop {
        port.connecting();
        let Err(error) = run_once(driver.as_mut(), &mut port, &cancel).await else {
            break;
        };
        if port.up_for() >= STEADY {
            backoff.reset();
            failures_in_a_row = 0;
        }
        let wait = backoff.next_wait();
        if failures_in_a_row == 0 {
            tracing::warn!(iface = port.name(), %error, "medium not available, trying again");
        } else {
            tracing::debug!(iface = port.name(), %error, failures_in_a_row, ?wait, "medium still not available");
        }
        failures_in_a_row = failures_in_a_row.saturating_add(1);
        let retry_at = Instant::now() + wait;
        port.down(DownReason::Lost(Arc::new(error)), Some(retry_at)).await;
        tokio::select! {
            () = cancel.cancelled() => break,
            () = abandoned(&mut port) => break,
            () = sleep_until(retry_at) => {}
        }
    }
    port.stop().cancel();
    port.down(DownReason::Stopped, None).await;
}

async fn run_once(driver: &mut dyn Driver, port: &mut Port, cancel: &CancellationToken) -> Result<(), DriverError> {
    let stop = port.stop().clone();
    let mut run = driver.run(port);
    tokio::select! {
        result = &mut run => result,
        () = cancel.cancelled() => {
            stop.cancel();
            timeout(STOP_GRACE, run).await.unwrap_or(Ok(()))
        }
    }
}

/// Ends when the core has dropped its end or is gone. Frames meant for a medium that is down are dropped and counted.
async fn abandoned(port: &mut Port) {
    while port.next().await.is_some() {
        port.counters().dropped(1);
    }
}

#[cfg(test)]
mod tests;
