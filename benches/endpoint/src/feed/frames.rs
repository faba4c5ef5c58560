//! Raw packets and their framing on TCP.

use std::io;
use std::path::Path;

use wend_packet::hash::sha256;

const FLAG: u8 = 0x7E;
const ESCAPE: u8 = 0x7D;
const MASK: u8 = 0x20;

/// Length of an address.
pub(crate) const ADDRESS: usize = 16;
/// An address.
pub(crate) type Address = [u8; ADDRESS];

/// Appends a packet between two flags.
pub(crate) fn frame(packet: &[u8], out: &mut Vec<u8>) {
    out.push(FLAG);
    for byte in packet {
        match *byte {
            FLAG | ESCAPE => out.extend([ESCAPE, byte ^ MASK]),
            other => out.push(other),
        }
    }
    out.push(FLAG);
}

/// Takes frames out of a stream; what is incomplete waits for more.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    rest: Vec<u8>,
}

impl Deframer {
    /// Calls `each` with every whole packet.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == FLAG) else { return };
        let mut packet = Vec::new();
        for body in self.rest[..end].split(|byte| *byte == FLAG).filter(|body| !body.is_empty()) {
            packet.clear();
            let mut escaped = false;
            for byte in body {
                match (escaped, *byte) {
                    (false, ESCAPE) => escaped = true,
                    (false, byte) => packet.push(byte),
                    (true, byte) => {
                        packet.push(byte ^ MASK);
                        escaped = false;
                    }
                }
            }
            each(&packet);
        }
        self.rest.drain(..end);
    }
}

/// How many flags there are: two for each frame.
pub(crate) fn flags(bytes: &[u8]) -> usize {
    bytes.chunks(255).map(|chunk| usize::from(chunk.iter().map(|byte| u8::from(*byte == FLAG)).sum::<u8>())).sum()
}

/// The address a packet is for, whichever of the two headers it has, and whether it is an announce.
pub(crate) fn addressed(packet: &[u8]) -> Option<(Address, bool)> {
    let (flags, at) = (*packet.first()?, if packet.first()? & 0x40 == 0 { 2 } else { 2 + ADDRESS });
    Some((packet.get(at..at + ADDRESS)?.try_into().ok()?, flags & 0x03 == 1))
}

/// The transport node that a packet names.
pub(crate) fn transport(packet: &[u8]) -> Option<Address> {
    let named = packet.first()? & 0x40 != 0;
    packet.get(2..2 + ADDRESS).filter(|_| named)?.try_into().ok()
}

/// A data packet of `size` bytes for `to`, to be carried by `via`. Each number makes another.
pub(crate) fn data(via: &Address, to: &Address, size: usize, number: u64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(size);
    packet.extend([0x50, 0x00]);
    packet.extend(via);
    packet.extend(to);
    packet.push(0);
    let mut block = sha256(&[b"data", &number.to_be_bytes()]);
    while packet.len() < size {
        let room = (size - packet.len()).min(block.len());
        packet.extend(&block[..room]);
        block = sha256(&[b"fill"]);
    }
    packet
}

/// The packets of a file: each after its length in two bytes, big end first.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path)?;
    let (mut packets, mut rest) = (Vec::new(), bytes.as_slice());
    while let [high, low, after @ ..] = rest
        && packets.len() < most
    {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let packet = after.get(..len).ok_or(io::ErrorKind::UnexpectedEof)?;
        packets.push(packet.to_vec());
        rest = &after[len..];
    }
    Ok(packets)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let packets = [vec![1, 0x7E, 2, 0x7D, 3], vec![0x7D, 0x5E], vec![9; 40]];
        let mut stream = Vec::new();
        for packet in &packets {
            frame(packet, &mut stream);
        }
        assert_eq!(flags(&stream), 6);
        for cut in 1..stream.len() {
            let (mut deframer, mut seen) = (Deframer::default(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                deframer.push(part, |packet| seen.push(packet.to_vec()));
            }
            assert_eq!(seen, packets, "cut at {cut}");
        }
    }

    #[test]
    fn a_data_packet_has_its_size_and_both_addresses() {
        let packet = data(&[7; 16], &[8; 16], 500, 3);
        assert_eq!(packet.len(), 500);
        assert_eq!(transport(&packet), Some([7; 16]));
        assert_eq!(addressed(&packet), Some(([8; 16], false)));
        assert_ne!(packet, data(&[7; 16], &[8; 16], 500, 4));
    }
}
