//! Files of the reference: whatever they hold, reading them neither fails hard nor takes more memory than a few times
//! their size, and what was read is read again from what is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wend_packet::identity::Identity;
use wend_packet::persist::{announces, blackhole, known, packet_hashes, paths, ratchets, tunnels, whole_seconds};
use wend_packet::testing::TestRng;

fuzz_target!(|data: &[u8]| {
    if let Ok(read) = known::read(data) {
        let written = known::write(read.iter());
        assert_eq!(known::write(known::read(&written).unwrap_or_default().iter()), written);
        for entry in &read {
            let _ = whole_seconds(entry.heard);
        }
    }
    if let Ok(read) = paths::read(data) {
        let written = paths::write(&read);
        assert_eq!(paths::read(&written).map(|paths| paths::write(&paths)), Ok(written));
    }
    if let Ok(read) = tunnels::read(data) {
        let written = tunnels::write(&read);
        assert_eq!(tunnels::read(&written).map(|tunnels| tunnels::write(&tunnels)), Ok(written));
    }
    if let Ok(read) = blackhole::read(data) {
        let written = blackhole::write(&read);
        assert_eq!(blackhole::read(&written).map(|entries| blackhole::write(&entries)), Ok(written));
    }
    if let Ok(read) = announces::read(data) {
        assert_eq!(announces::read(&announces::write(&read)), Ok(read));
    }
    if let Ok(read) = ratchets::read_heard(data) {
        let written = ratchets::write_heard(&read);
        assert_eq!(ratchets::read_heard(&written).map(|heard| heard.ratchet), Ok(read.ratchet));
    }
    let hashes: Vec<_> = packet_hashes::read(data).collect();
    assert_eq!(packet_hashes::read(&packet_hashes::write(hashes.iter().copied())).collect::<Vec<_>>(), hashes);
    let owner = Identity::generate(&mut TestRng::seeded(1));
    let _ = ratchets::open(owner.public(), data);
});
