use bytes::Bytes;
use tokio::io::{DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use wend_packet::stack::Transmit;

use super::*;
use crate::outbound::Fill;
use crate::port::{InterfaceHandle, PortEvent, Ports};

const FRAME: [u8; 24] = [0x55; 24];

struct Rig {
    far: DuplexStream,
    handle: InterfaceHandle,
    events: mpsc::Receiver<PortEvent>,
    running: JoinHandle<Result<(), DriverError>>,
    stop: tokio_util::sync::CancellationToken,
}

fn serial() -> Stream {
    let idle_reset = Some(Duration::from_millis(100));
    Stream { peer: "line".to_owned(), limits: Limits::SERIAL, idle_reset, byte_time: None }
}

fn tcp() -> Stream {
    Stream { peer: "peer".to_owned(), limits: Limits::tcp(Some(500), 16), idle_reset: None, byte_time: None }
}

/// Runs `stream` on one end of a pipe of `capacity` bytes.
fn rig(stream: Stream, capacity: usize) -> Rig {
    let (ports, events) = Ports::new();
    let (mut port, handle) = ports.port("line").unwrap();
    let stop = port.stop().clone();
    let (near, far) = duplex(capacity);
    let running = tokio::spawn(async move {
        let (reader, writer) = split(near);
        stream.exchange(reader, writer, &mut port).await
    });
    Rig { far, handle, events, running, stop }
}

fn encoded(frame: &[u8]) -> BytesMut {
    let mut wire = BytesMut::new();
    hdlc::encode(frame, &mut wire);
    wire
}

fn transmit(frame: &[u8]) -> Transmit {
    Transmit { frame: Bytes::copy_from_slice(frame) }
}

async fn next_frames(events: &mut mpsc::Receiver<PortEvent>) -> Vec<Vec<u8>> {
    match events.recv().await {
        Some(PortEvent::Frames { frames, .. }) => frames.iter().map(<[u8]>::to_vec).collect(),
        other => panic!("expected frames, not {other:?}"),
    }
}

/// The next frame, which comes alone.
async fn next_frame(events: &mut mpsc::Receiver<PortEvent>) -> Vec<u8> {
    let mut frames = next_frames(events).await;
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

#[tokio::test(start_paused = true)]
async fn frames_pass_both_ways_and_are_counted() {
    let mut rig = rig(tcp(), 4096);
    let wire = encoded(&FRAME);
    rig.far.write_all(&wire).await.unwrap();
    assert_eq!(next_frame(&mut rig.events).await, FRAME.as_slice());
    rig.handle.outbound.send(transmit(b"as short as it may be: the far end judges")).await.unwrap();
    let expected = encoded(b"as short as it may be: the far end judges");
    let mut got = vec![0; expected.len()];
    rig.far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
    rig.far.write_all(b"\x7egarbage\x7e").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    let traffic = rig.handle.monitor.traffic();
    assert_eq!((traffic.rx_frames, traffic.rx_bytes), (1, u64::try_from(wire.len()).unwrap() + 9));
    assert_eq!((traffic.tx_frames, traffic.tx_bytes), (1, u64::try_from(expected.len()).unwrap()));
    assert_eq!(traffic.dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_is_an_error_and_a_closed_port_is_not() {
    let lost = rig(tcp(), 4096);
    drop(lost.far);
    assert!(matches!(lost.running.await.unwrap(), Err(DriverError::Closed { peer }) if peer == "peer"));

    let stopped = rig(tcp(), 4096);
    stopped.stop.cancel();
    assert!(stopped.running.await.unwrap().is_ok());

    let mut ended = rig(tcp(), 4096);
    ended.handle.outbound.send(transmit(&FRAME)).await.unwrap();
    drop(ended.handle);
    assert!(ended.running.await.unwrap().is_ok());
    let mut sent = Vec::new();
    ended.far.read_to_end(&mut sent).await.unwrap();
    assert_eq!(sent, encoded(&FRAME), "the last frame still goes out");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_for_24_seconds_is_given_up() {
    let rig = rig(tcp(), 64);
    let began = Instant::now();
    rig.handle.outbound.send(transmit(&[0x55; 200])).await.unwrap();
    assert!(matches!(rig.running.await.unwrap(), Err(DriverError::WriteStalled { .. })));
    assert_eq!(began.elapsed().as_secs(), 24);
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_that_takes_a_little_now_and_then_is_kept() {
    let mut rig = rig(tcp(), 64);
    rig.handle.outbound.send(transmit(&[0x55; 200])).await.unwrap();
    let mut got = 0;
    while got < 202 {
        sleep(Duration::from_secs(20)).await;
        let mut some = [0; 60];
        got += rig.far.read(&mut some).await.unwrap();
    }
    assert_eq!(rig.handle.monitor.traffic().tx_frames, 1);
    assert!(!rig.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_still_heard() {
    let mut rig = rig(tcp(), 64);
    rig.handle.outbound.send(transmit(&[0x55; 400])).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    rig.far.write_all(&encoded(&FRAME)).await.unwrap();
    assert_eq!(next_frame(&mut rig.events).await, FRAME.as_slice());
}

#[tokio::test(start_paused = true)]
async fn a_core_that_is_behind_stops_the_reading_but_not_the_writing() {
    const FRAMES: usize = 20_000;
    let mut rig = rig(tcp(), 65_536);
    let (mut far_reads, mut far_writes) = split(rig.far);
    let writing = tokio::spawn(async move {
        for _ in 0..FRAMES {
            far_writes.write_all(&encoded(&FRAME)).await.unwrap();
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.events.len(), 2, "both batches of this interface wait for the core");
    assert!(!writing.is_finished(), "what is not read stays with the sender");
    rig.handle.outbound.send(transmit(&FRAME)).await.unwrap();
    let mut got = [0; 26];
    far_reads.read_exact(&mut got).await.unwrap();
    let mut received = 0;
    while received < FRAMES {
        let frames = next_frames(&mut rig.events).await;
        assert!(frames.iter().all(|frame| frame == &FRAME));
        received += frames.len();
    }
    assert_eq!(rig.handle.monitor.traffic().rx_frames, FRAMES as u64, "none is lost");
}

#[tokio::test(start_paused = true)]
async fn many_frames_leave_in_their_order() {
    let mut rig = rig(tcp(), 65_536);
    let frames: Vec<_> = (0..100_u8).map(|at| vec![at; 30]).collect();
    let mut waiting = frames.iter();
    let filled = rig.handle.outbound.fill(|| waiting.next().map(|frame| transmit(frame)));
    assert_eq!(filled, Fill::Full, "the bitrate is not known yet: four frames fit");
    for frame in waiting {
        rig.handle.outbound.send(transmit(frame)).await.unwrap();
    }
    let mut expected = BytesMut::new();
    frames.iter().for_each(|frame| hdlc::encode(frame, &mut expected));
    let mut got = vec![0; expected.len()];
    rig.far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.handle.monitor.traffic().tx_frames, 100);
}

#[tokio::test(start_paused = true)]
async fn silence_on_a_serial_line_gives_up_the_unfinished_frame() {
    let mut rig = rig(serial(), 4096);
    rig.far.write_all(b"\x7ecut o").await.unwrap();
    sleep(Duration::from_millis(90)).await;
    rig.far.write_all(b"f").await.unwrap();
    sleep(Duration::from_millis(110)).await;
    rig.far.write_all(b"f\x7ewhole\x7e").await.unwrap();
    assert_eq!(next_frame(&mut rig.events).await, b"whole".as_slice());
    assert_eq!(rig.handle.monitor.traffic().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_paced_line_takes_a_frame_only_when_it_is_free() {
    let byte_time = Some(Duration::from_millis(1));
    let rig = rig(Stream { byte_time, ..serial() }, 65_536);
    let began = Instant::now();
    let frame = [0x55; 498];
    for _ in 0..4 {
        rig.handle.outbound.send(transmit(&frame)).await.unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.handle.monitor.traffic().tx_frames, 1);
    while rig.handle.monitor.traffic().tx_frames < 4 {
        sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1450) && took < Duration::from_millis(1550), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn random_bytes_do_not_end_a_connection() {
    let mut rig = rig(tcp(), 1 << 20);
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(200_000)
    .collect();
    rig.far.write_all(&noise).await.unwrap();
    rig.far.write_all(&encoded(b"still here after all of that")).await.unwrap();
    loop {
        if next_frames(&mut rig.events).await.iter().any(|frame| frame == b"still here after all of that") {
            break;
        }
    }
    assert!(!rig.running.is_finished());
}
