//! Framing: time and allocations for each frame. `cargo bench -p wend-interfaces --bench hdlc`.
#![allow(missing_docs, reason = "a bench has no users")]

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use wend_interfaces::framing::hdlc::{Hdlc, Limits, encode};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const BATCH: usize = 64;

fn main() {
    divan::main();
}

/// Frames of bytes as encryption makes them: one in 128 has to be escaped.
fn frames(len: usize) -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let mut bytes = std::iter::repeat_with(next);
    (0..BATCH).map(|_| bytes.by_ref().take(len).collect()).collect()
}

fn wire(frames: &[Vec<u8>]) -> BytesMut {
    let mut wire = BytesMut::new();
    frames.iter().for_each(|frame| encode(frame, &mut wire));
    wire
}

#[divan::bench(args = [100, 500])]
fn encoded(bencher: Bencher<'_, '_>, len: usize) {
    let frames = frames(len);
    let mut wire = wire(&frames);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        wire.clear();
        frames.iter().for_each(|frame| encode(frame, &mut wire));
    });
}

#[divan::bench(args = [100, 500])]
fn decoded(bencher: Bencher<'_, '_>, len: usize) {
    let wire = wire(&frames(len));
    let mut decoder = Hdlc::new(Limits::tcp(Some(16_384), 0));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let mut count = 0;
        decoder.push(&wire, |frame| count += black_box(frame).len().min(1));
        assert_eq!(count, BATCH);
    });
}
