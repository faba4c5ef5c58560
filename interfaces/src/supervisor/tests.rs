use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::*;
use crate::driver::BoxFuture;
use crate::port::{InterfaceHandle, PortEvent, Ports};
use crate::profile::ProfileOptions;
use crate::status::State;

/// What one run of the scripted driver does.
enum Run {
    Fail,
    /// Up for so long, then lost.
    Lose(Duration),
    /// Up until the port closes.
    Stay,
    /// Up, and deaf to the port closing.
    Hang,
}

struct Scripted(VecDeque<Run>);

impl Driver for Scripted {
    fn run<'a>(&'a mut self, port: &'a mut Port) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move {
            let gone = || DriverError::Closed { peer: "medium".to_owned() };
            let run = self.0.pop_front().unwrap_or(Run::Fail);
            if matches!(run, Run::Fail) {
                return Err(gone());
            }
            port.up(ProfileOptions::default().tcp()).await.unwrap();
            match run {
                Run::Fail => {}
                Run::Lose(after) => sleep(after).await,
                Run::Stay => {
                    while port.next().await.is_some() {}
                    return Ok(());
                }
                Run::Hang => std::future::pending().await,
            }
            Err(gone())
        })
    }
}

struct Rig {
    handle: InterfaceHandle,
    events: mpsc::Receiver<PortEvent>,
    cancel: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn rig(script: impl IntoIterator<Item = Run>) -> Rig {
    let (ports, events) = Ports::new();
    let (port, handle) = ports.port("medium").unwrap();
    let cancel = CancellationToken::new();
    let driver = Box::new(Scripted(script.into_iter().collect()));
    let running = tokio::spawn(supervise(driver, port, Backoff::tcp(1), cancel.clone()));
    Rig { handle, events, cancel, running }
}

#[tokio::test(start_paused = true)]
async fn a_lost_medium_is_opened_again_and_the_core_hears_of_both() {
    let mut rig = rig([Run::Lose(Duration::from_secs(100)), Run::Fail, Run::Stay]);
    assert!(matches!(rig.events.recv().await, Some(PortEvent::Up { .. })));
    assert!(rig.handle.monitor.first_attempt().await.is_ok());
    assert!(matches!(rig.events.recv().await, Some(PortEvent::Down { reason: DownReason::Lost(_), .. })));
    let status = rig.handle.monitor.status();
    assert_eq!(status.state, State::Down);
    assert!(status.retry_at.unwrap() > status.since);
    assert_eq!(status.last_error.unwrap().to_string(), "medium closed the connection");
    assert!(matches!(rig.events.recv().await, Some(PortEvent::Up { .. })), "the failed attempt is not an event");
    tokio::task::yield_now().await;
    let status = rig.handle.monitor.status();
    assert_eq!((status.state, status.retry_at), (State::Up, None));
    rig.cancel.cancel();
    rig.running.await.unwrap();
    assert!(matches!(rig.events.recv().await, Some(PortEvent::Down { reason: DownReason::Stopped, .. })));
    assert_eq!(rig.handle.monitor.status().state, State::Down);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_is_told_at_once() {
    let rig = rig([]);
    let began = Instant::now();
    let error = rig.handle.monitor.first_attempt().await.unwrap_err();
    assert!(matches!(*error, DriverError::Closed { .. }));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn attempts_become_rarer_until_the_medium_was_good_for_a_while() {
    let mut script: Vec<Run> = (0..7).map(|_| Run::Fail).collect();
    script.push(Run::Lose(STEADY));
    let rig = rig(script);
    let mut waits: Vec<Duration> = Vec::new();
    let mut last_retry = None;
    let mut watch = rig.handle.monitor.watch();
    while waits.len() < 8 {
        let changed = |status: &crate::Status| status.retry_at.is_some() && status.retry_at != last_retry;
        let status = watch.wait_for(changed).await.unwrap().clone();
        waits.push(status.retry_at.unwrap() - status.since);
        last_retry = status.retry_at;
    }
    assert!(waits[6] >= Duration::from_secs(30), "{waits:?}");
    assert!(waits[7] <= Duration::from_secs(1), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_waiting_ends_it_and_so_does_a_core_that_lets_go() {
    let stopped = rig([]);
    sleep(Duration::from_millis(100)).await;
    stopped.cancel.cancel();
    stopped.running.await.unwrap();

    let abandoned = rig([]);
    sleep(Duration::from_millis(100)).await;
    drop(abandoned.handle);
    abandoned.running.await.unwrap();

    let alone = rig([]);
    sleep(Duration::from_millis(100)).await;
    drop(alone.events);
    alone.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_end_is_ended() {
    let mut rig = rig([Run::Hang]);
    assert!(matches!(rig.events.recv().await, Some(PortEvent::Up { .. })));
    rig.cancel.cancel();
    let began = Instant::now();
    rig.running.await.unwrap();
    assert_eq!(began.elapsed(), STOP_GRACE);
}
