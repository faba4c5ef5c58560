//! Two serial drivers over a pair of pseudo terminals, joined by a relay between the two masters.
#![cfg(all(feature = "serial", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic: that is how it fails")]

mod support;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wend_interfaces::serial::Serial;
use wend_interfaces::{DriverError, ProfileOptions, State};

use support::{Node, PATIENCE, start};

/// How often the far ends are looked at.
const POLL: Duration = Duration::from_millis(1);
/// Fast, so that the test does not wait for the pacing.
const SPEED: u32 = 115_200;

/// The far end of a serial port, and the path of the port.
fn pty() -> (Arc<OwnedFd>, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    fcntl_setfl(&master, fcntl_getfl(&master).unwrap() | OFlags::NONBLOCK).unwrap();
    (Arc::new(master), name)
}

async fn write(master: &OwnedFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(master, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(_) => sleep(POLL).await,
        }
    }
}

/// Copies what one port sends to the other, for as long as it runs. A port that nobody has open reads as an error.
async fn relay(from: Arc<OwnedFd>, to: Arc<OwnedFd>) {
    let mut chunk = [0; 256];
    loop {
        match rustix::io::read(&from, &mut chunk) {
            Ok(len) if len > 0 => write(&to, &chunk[..len]).await,
            _ => sleep(POLL).await,
        }
    }
}

fn join(one: &Arc<OwnedFd>, two: &Arc<OwnedFd>) -> [JoinHandle<()>; 2] {
    [tokio::spawn(relay(Arc::clone(one), Arc::clone(two))), tokio::spawn(relay(Arc::clone(two), Arc::clone(one)))]
}

fn serial(path: &str) -> Node {
    start("line", Serial::new(path, SPEED, ProfileOptions::default()))
}

#[tokio::test]
async fn frames_pass_both_ways_and_survive_garbage_and_reopening() {
    let (master_one, path_one) = pty();
    let (master_two, path_two) = pty();
    let (mut one, mut two) = (serial(&path_one), serial(&path_two));
    one.up().await;
    two.up().await;
    let relays = join(&master_one, &master_two);

    let long = [0x7e; 564];
    one.send(b"from one").await;
    assert_eq!(two.frame().await, b"from one".as_slice());
    two.send(&long).await;
    assert_eq!(one.frame().await, long.as_slice());

    // Line noise, with stray flags and the beginning of a frame that never ends.
    write(&master_one, b"\x00\x11\xff\x7d\x13\x7e\x7e\x7dnoise\x7d").await;
    one.send(b"one still talks").await;
    assert_eq!(two.frame().await, b"one still talks".as_slice());
    two.send(b"two is heard").await;
    loop {
        if one.frame().await == b"two is heard".as_slice() {
            break;
        }
    }

    // One end is closed and opened again, as after a restart of its node.
    two.stop().await;
    let mut two = serial(&path_two);
    two.up().await;
    one.send(b"hello again").await;
    loop {
        if two.frame().await == b"hello again".as_slice() {
            break;
        }
    }
    assert!(one.handle.monitor.traffic().tx_bytes > 24);
    relays.iter().for_each(JoinHandle::abort);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_port_that_vanishes_is_waited_for() {
    let (master, path) = pty();
    let link = std::env::temp_dir().join(format!("wend-serial-{}", std::process::id()));
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut node = serial(link.to_str().unwrap());
    node.up().await;
    // The device is pulled out.
    std::fs::remove_file(&link).unwrap();
    drop(master);
    node.down().await;
    let mut watch = node.handle.monitor.watch();
    let missing = |status: &wend_interfaces::Status| {
        status.state == State::Down
            && status.last_error.as_deref().is_some_and(|error| matches!(error, DriverError::NoSuchPort { .. }))
    };
    timeout(PATIENCE, watch.wait_for(missing)).await.unwrap().unwrap();
    // And plugged in again, under another number.
    let (master, path) = pty();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    node.up().await;
    write(&master, b"\x7eback\x7e").await;
    assert_eq!(node.frame().await, b"back".as_slice());
    std::fs::remove_file(&link).unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_port_that_another_program_has_is_called_busy() {
    let (_master, path) = pty();
    let mut first = serial(&path);
    first.up().await;
    let second = serial(&path);
    let error = timeout(PATIENCE, second.handle.monitor.first_attempt()).await.unwrap().unwrap_err();
    assert!(matches!(&*error, DriverError::PortBusy { port } if *port == path), "{error}");
    first.stop().await;
    second.stop().await;
}
