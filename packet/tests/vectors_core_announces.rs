//! Announces against `tests/vectors/core/`.

mod support;

use std::time::Duration;

use support::{Bench, Sent, array, assert_parsed, by_interface, bytes, cases, destination_name, expected_frames};
use support::{identity, maybe_bytes, mode, name, profile};
use wend_packet::DestinationHash;
use wend_packet::announce::{AnnounceRef, RandomHash, announce, app_data_max};
use wend_packet::identity::RatchetKey;
use wend_packet::stack::{DropReason, Event};
use wend_packet::time::{Instant, UnixTime};
use wend_packet::wire::{Packet, PacketRef};

#[test]
fn announces_are_read_and_made_byte_for_byte() {
    for case in cases("core/announce", 16) {
        let raw = bytes(&case["raw"]);
        assert_eq!(raw.len() as u64, case["length"].as_u64().unwrap());
        assert_parsed(&raw, &case["parsed"], name(&case));
        let packet = PacketRef::parse(&raw).unwrap();
        let read = AnnounceRef::parse(&packet).unwrap();
        let fields = &case["fields"];
        assert_eq!(read.public_key.to_vec(), bytes(&fields["public_key"]), "{}", name(&case));
        assert_eq!(read.name.as_ref(), bytes(&fields["name_hash"]), "{}", name(&case));
        assert_eq!(read.random.as_bytes().to_vec(), bytes(&fields["random_hash"]), "{}", name(&case));
        assert_eq!(read.random.emitted().0, fields["emitted"].as_u64().unwrap(), "{}", name(&case));
        assert_eq!(read.ratchet.map(|key| key.to_vec()), maybe_bytes(&fields["ratchet"]), "{}", name(&case));
        assert_eq!(read.signature.to_vec(), bytes(&fields["signature"]), "{}", name(&case));
        assert_eq!(read.app_data, bytes(&fields["app_data"]), "{}", name(&case));
        assert_eq!(read.verify().is_ok(), case["valid"] == true, "{}", name(&case));

        let owner = identity(&case["private_key"]);
        let ratchet =
            maybe_bytes(&case["ratchet_private"]).map(|key| RatchetKey::new(key.try_into().unwrap()).public());
        let random: [u8; 10] = array(&fields["random_hash"]);
        let emitted = UnixTime(case["time"].as_u64().unwrap());
        let made = announce(
            &owner,
            destination_name(&case).hash(),
            RandomHash::new(random[..5].try_into().unwrap(), emitted),
            ratchet.as_ref(),
            read.app_data,
            packet.context(),
        );
        if read.app_data.len() > app_data_max(ratchet.is_some()) {
            // It fits the MTU here, but no relay could carry it: it may be heard, it is never made.
            assert!(made.is_err(), "{}", name(&case));
            continue;
        }
        let relayed = Packet { hops: packet.hops(), transport_id: packet.transport_id(), ..made.unwrap() };
        assert_eq!(relayed.encode(), raw, "{}", name(&case));
    }
}

#[test]
fn received_announces_get_the_verdict_of_the_reference() {
    for case in cases("core/announce_checks", 25) {
        let raw = bytes(&case["raw"]);
        let packet = PacketRef::parse(&raw).unwrap();
        let mut given = case["given"].clone();
        let mut bench = if name(&case) == "key_conflict" {
            // The known key cannot belong to this destination, so no announce could have taught it: it is put back as if
            // a stored announce had said so.
            let mut bench = Bench::new(&given);
            let key = bytes(&given["known"][0]["public_key"]);
            let mut other = raw.clone();
            other[19..19 + key.len()].copy_from_slice(&key);
            let record = wend_packet::stack::PathRecord::heard(packet.destination(), other, bench.now.unix);
            bench.stack.restore(wend_packet::stack::Snapshot { paths: vec![record], ..Default::default() });
            bench
        } else {
            if name(&case) == "own_destination" && given["local"][0]["private_key"].is_null() {
                given.as_object_mut().unwrap().remove("local");
            }
            Bench::new(&given)
        };
        let known_before = bench.stack.identity_of(packet.destination()).copied();
        let processed_before = bench.stack.stats().processed;
        bench.receive("a", &raw);
        let stats = bench.stack.stats();
        assert_eq!(stats.processed > processed_before, case["processed"] == true, "{}", name(&case));
        let blackholed = stats.dropped(DropReason::Blackholed) > 0;
        let dropped = stats.dropped(DropReason::AnnounceInvalid) + stats.dropped(DropReason::KeyConflict) > 0;
        let verdict = match (dropped, blackholed) {
            (true, _) => "drop",
            (false, true) => "drop_silent",
            (false, false) => "accept",
        };
        assert_eq!(verdict, case["verdict"], "{}", name(&case));
        let known = bench.stack.identity_of(packet.destination()).copied();
        assert_eq!(
            known.is_some() && (known != known_before || name(&case) == "own_destination"),
            case["known_updated"] == true,
            "{}",
            name(&case)
        );
        assert_eq!(bench.stack.path(packet.destination()).is_some(), case["path_added"] == true, "{}", name(&case));
    }
}

/// Frames by interface, in order for each destination: what was due at one moment may leave in either order.
fn by_interface_and_destination(sent: Vec<Sent>) -> Vec<Sent> {
    let mut sent = by_interface(sent);
    sent.sort_by_key(|sent| (sent.on.clone(), PacketRef::parse(&sent.frame).unwrap().destination()));
    sent
}

#[test]
fn announces_are_passed_on_as_by_the_reference() {
    for case in cases("core/announce_relay", 15) {
        let mut bench = Bench::new(&case["given"]);
        bench.receive("a", &bytes(&case["received_on_a"]));
        let also = maybe_bytes(&case["also_received_on_a"]);
        if let Some(also) = &also {
            bench.receive("a", also);
        }
        // What neighbours send comes right after our own first rebroadcast, or before it, as the case says. Ours comes
        // within the first half second here; the schedule of the reference is slower.
        let empty = Vec::new();
        for then in case["then_received"].as_array().unwrap_or(&empty) {
            let before_ours = then["after"].as_f64().unwrap() == 0.0;
            if !before_ours && bench.sent.is_empty() {
                bench.advance(Duration::from_millis(600));
                assert!(!bench.sent.is_empty(), "{}", name(&case));
            }
            bench.receive(then["on"].as_str().unwrap(), &bytes(&then["raw"]));
        }
        bench.advance(Duration::from_secs(30));
        let sent = by_interface_and_destination(bench.take_sent());
        assert_eq!(sent, by_interface_and_destination(expected_frames(&case["sent"])), "{}", name(&case));
        if case["path_learned"].is_boolean() {
            let raw = bytes(&case["received_on_a"]);
            let destination = PacketRef::parse(&raw).unwrap().destination();
            assert_eq!(bench.stack.path(destination).is_some(), case["path_learned"] == true, "{}", name(&case));
        }
    }
}

#[test]
fn announces_cross_interfaces_by_the_mode_matrix() {
    for case in cases("core/announce_modes", 70) {
        let mut bench = Bench::new(&case["given"]);
        match maybe_bytes(&case["received_on_a"]) {
            Some(raw) => bench.receive("a", &raw),
            None => {
                let own = support::local_destination(&case["given"]["local"][0]).hash();
                bench.stack.announce(bench.now, own, &[]).unwrap();
                bench.settle();
            }
        }
        bench.advance(Duration::from_secs(3));
        let sent = bench.take_sent().iter().any(|sent| sent.on == "b");
        assert_eq!(sent, case["sent"] == true, "{}", name(&case));
        assert!(case["target_mode"].is_null() || mode(&case["target_mode"]).carries_own_announces() || !sent);
    }
}

#[test]
fn relayed_announces_keep_to_their_share_of_the_bitrate() {
    for case in cases("core/announce_cap", 7) {
        let mut bench = Bench::new(&case["given"]);
        assert_eq!(profile(&case["given"]["interfaces"]["b"]).announce_cap_ppm, 20_000);
        assert!((case["announce_cap"].as_f64().unwrap() - 0.02).abs() < 1e-9);
        for raw in case["received_on_a"].as_array().unwrap() {
            bench.receive("a", &bytes(raw));
        }
        let mut sent = Vec::new();
        let start = bench.now.mono;
        let mut listen = |bench: &mut Bench, until: Duration| {
            while bench.now.mono < start + until {
                bench.advance(Duration::from_millis(50));
                let at = bench.now.mono.since(start);
                let on_b = bench.take_sent().into_iter().filter(|sent| sent.on == "b");
                sent.extend(on_b.map(|sent| (at, sent.frame[1], sent.frame.len())));
            }
            sent.clone()
        };
        let at_once = listen(&mut bench, Duration::from_secs(2));
        assert_eq!(at_once.len() as u64, case["sent_at_once"].as_u64().unwrap(), "{}", name(&case));
        let queued = bench.stack.announce_backlog(bench.id("b")).queued;
        assert_eq!(queued as u64, case["queued"].as_u64().unwrap(), "{}", name(&case));
        // Neighbours pass them on, so that nothing is sent a second time, as in the file.
        for raw in case["received_on_a"].as_array().unwrap() {
            let mut passed_on = bytes(raw);
            passed_on[1] += 2;
            bench.receive("a", &passed_on);
        }
        let times = case["send_times"].as_array().unwrap();
        let all = listen(&mut bench, Duration::from_secs(300));
        let hops: Vec<_> = all.iter().map(|(_, hops, _)| u64::from(*hops)).collect();
        let expected: Vec<_> =
            case["send_order_hops"].as_array().unwrap().iter().map(|hops| hops.as_u64().unwrap()).collect();
        assert_eq!(hops, expected, "{}", name(&case));
        // The reference looks at its queues every 0.25 s.
        for (sent, times) in all.windows(2).zip(times.windows(2)) {
            let (ours, theirs) = (sent[1].0 - sent[0].0, times[1].as_f64().unwrap() - times[0].as_f64().unwrap());
            assert!((ours.as_secs_f64() - theirs).abs() < 0.3, "{}: {ours:?} instead of {theirs}", name(&case));
        }
    }
}

#[test]
fn destinations_that_announce_too_often_are_not_passed_on() {
    let all = cases("core/announce_rate", 12);
    let mut bench = Bench::new(&all[0]["given"]);
    let start = bench.now.mono;
    let instant = |time: &serde_json::Value| match time.as_f64().unwrap() {
        0.0 => Instant::ZERO,
        time => start + Duration::from_secs_f64(time - support::START as f64),
    };
    for case in &all {
        bench.advance(instant(&case["time"]).since(bench.now.mono));
        bench.take_sent();
        bench.take_events();
        let raw = bytes(&case["received_on_a"]);
        bench.receive("a", &raw);
        let rate = bench.stack.announce_rates().next().unwrap();
        assert_eq!(rate.destination, PacketRef::parse(&raw).unwrap().destination());
        assert_eq!(rate.last, instant(&case["last"]), "{}", name(case));
        assert_eq!(u64::from(rate.violations), case["rate_violations"].as_u64().unwrap(), "{}", name(case));
        assert_eq!(rate.blocked_until, instant(&case["blocked_until"]), "{}", name(case));
        assert_eq!(learned(&mut bench).len() == 1, case["path_updated"] == true, "{}", name(case));
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.take_sent().is_empty(), case["queued_for_rebroadcast"] == false, "{}", name(case));
    }
}

fn learned(bench: &mut Bench) -> Vec<DestinationHash> {
    let announced = bench.take_events().into_iter().filter_map(|event| match event {
        Event::Announced { destination, .. } => Some(destination),
        _ => None,
    });
    announced.collect()
}

#[test]
fn bursts_of_announces_are_held_back() {
    for case in cases("core/ingress_limit", 6) {
        let mut bench = Bench::new(&case["given"]);
        bench.skip(Duration::from_secs(case["interface_age"].as_u64().unwrap()));
        let mut at = Duration::ZERO;
        for step in case["announces"].as_array().unwrap() {
            let next = Duration::from_secs_f64(step["at"].as_f64().unwrap());
            bench.skip(next - at);
            at = next;
            bench.receive("a", &bytes(&step["raw"]));
            assert_eq!(learned(&mut bench).len() == 1, step["added"] == true, "{} at {at:?}", name(&case));
        }
    }
}

#[test]
fn held_announces_are_bounded_and_come_back() {
    for case in cases("core/ingress_hold", 3) {
        let frames: Vec<_> = case["received_on_a"].as_array().unwrap().iter().map(bytes).collect();
        let mut bench = Bench::with(&case["given"], |config| config.capacities.held = 256);
        begin_burst(&mut bench);
        for frame in &frames {
            bench.receive("a", frame);
        }
        assert!(learned(&mut bench).is_empty(), "{}", name(&case));
        // Released one every 5 s once the interface is calm, the nearest first.
        bench.advance(Duration::from_secs(60 + 5 * 300));
        let released = learned(&mut bench);
        match case["held"].as_bool() {
            Some(held) => assert_eq!(released.len(), usize::from(held), "{}", name(&case)),
            None => {
                let mut released: Vec<_> = released.iter().map(|hash| hash.as_ref().to_vec()).collect();
                let mut expected: Vec<_> = case["held_destinations"].as_array().unwrap().iter().map(bytes).collect();
                released.sort();
                expected.sort();
                assert_eq!(released.len() as u64, case["held_count"].as_u64().unwrap(), "{}", name(&case));
                assert_eq!(released, expected, "{}", name(&case));
            }
        }
    }
}

/// Unknown destinations in quick succession, until one is held back: that one and all after it wait.
fn begin_burst(bench: &mut Bench) {
    use wend_packet::identity::Identity;
    use wend_packet::testing::TestRng;
    use wend_packet::wire::Context;
    let mut seed = 100;
    let mut held = false;
    while !held {
        let owner = Identity::generate(&mut TestRng::seeded(seed));
        let name = wend_packet::destination::DestinationName::new("burst", &[]).unwrap();
        let random = RandomHash::new([0; 5], UnixTime(support::START));
        // Far away: it is not held itself, so that it does not count among those that are.
        let far = Packet { hops: 127, ..announce(&owner, name.hash(), random, None, &[], Context::NONE).unwrap() };
        bench.skip(Duration::from_millis(1));
        bench.receive("a", &far.encode());
        held = learned(bench).is_empty();
        seed += 1;
        assert!(seed < 120, "no burst began");
    }
}
