//! HDLC: the frames found do not depend on how the bytes were cut, and memory stays bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_interfaces::framing::hdlc::{Hdlc, Limits};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (stream, cuts) = input;
    for limits in [Limits::tcp(Some(500), 16), Limits::SERIAL] {
        let whole = frames(limits, [stream.as_slice()]);
        let mut rest = stream.as_slice();
        let mut pieces = Vec::new();
        for cut in &cuts {
            let (piece, after) = rest.split_at(usize::from(*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        assert_eq!(whole, frames(limits, pieces));
    }
});

fn frames<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut decoder = Hdlc::new(limits);
    let mut found = Vec::new();
    for piece in pieces {
        decoder.push(piece, |frame| found.push(frame.to_vec()));
    }
    found
}
