//! How announces spread: their share of an interface, their rate, and tables that strangers fill.

use bytes::Bytes;

use super::lone::*;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn open(bitrate_bps: u64) -> InterfaceProfile {
    InterfaceProfile { ingress_control: false, ..InterfaceProfile::new(bitrate_bps) }
}

/// A transport node with small tables, a fast interface 0, a slow interface 1 and a fast interface 2.
fn crowded() -> Lone {
    let mut lone = Lone::with(|config| {
        config.transport_enabled = true;
        config.capacities.queued_announces = 16;
        config.capacities.rates = 16;
    });
    for (id, bitrate) in [(0, 10_000_000), (1, 1_200), (2, 10_000_000)] {
        lone.up(id, open(bitrate));
    }
    lone
}

#[test]
fn relayed_announces_take_two_percent_of_a_slow_interface_over_any_hour() {
    let mut lone = crowded();
    lone.stack.config.capacities.queued_announces = 1024;
    lone.down(1);
    lone.up(1, open(1_200));
    for seed in 0..120 {
        lone.meet(0, &identity(1000 + seed), 1, 1_700_000_000);
    }
    let mut bytes = 0;
    let end = lone.now.mono + HOUR;
    while lone.now.mono < end {
        lone.pass(Duration::from_secs(10));
        bytes += lone.sent(1).iter().map(Bytes::len).sum::<usize>();
    }
    let share = 1_200 / 8 * 3600 / 50;
    assert!((share - 400..=share + 200).contains(&bytes), "{bytes} of {share} bytes");
}

#[test]
fn a_busy_hour_is_not_followed_by_a_flood_of_what_came_due_in_it() {
    let mut lone = crowded();
    lone.stack.config.capacities.queued_announces = 1024;
    lone.down(1);
    lone.up(1, open(1_200));
    for seed in 0..120 {
        lone.meet(0, &identity(1000 + seed), 1, 1_700_000_000);
    }
    lone.pass(HOUR);
    assert_eq!(lone.sent(1).len(), 1);
    assert_eq!(lone.stack.announce_backlog(InterfaceId(1)).queued, 120, "the others wait, and it for its second turn");
    lone.pass(Duration::from_secs(10));
    assert_eq!(lone.sent(1).len(), 1);
}

#[test]
fn a_flood_of_announces_on_one_interface_leaves_room_for_those_from_another() {
    let mut lone = crowded();
    let honest = lone.meet(2, &identity(7), 3, 1_700_000_000);
    for seed in 0..160 {
        lone.meet(0, &identity(1000 + seed), 1, 1_700_000_000);
    }
    lone.pass(Duration::from_secs(30));
    assert_eq!(lone.stack.announce_backlog(InterfaceId(1)).queued, 16);
    assert!(lone.stack.stats().dropped(DropReason::AnnounceQueueFull) >= 160 - 16);
    assert!(lone.stack.rates.len() <= 16);
    let mut sent = Vec::new();
    for _ in 0..240 {
        lone.pass(HOUR / 120);
        sent.extend(lone.sent(1));
    }
    assert!(sent.iter().any(|frame| frame[18..34] == *honest.as_ref()), "{} frames", sent.len());
}

#[test]
fn an_announce_in_time_is_passed_on_whatever_fills_the_table_of_rates() {
    let mut lone = crowded();
    for seed in 0..160 {
        lone.meet(0, &identity(1000 + seed), 1, 1_700_000_000);
    }
    assert_eq!(lone.stack.rates.len(), 0, "of the first the path keeps the time");
    for seed in 0..160 {
        lone.meet(0, &identity(1000 + seed), 1, 1_700_000_001);
    }
    for _ in 0..30 {
        lone.pass(Duration::from_secs(1));
        lone.silence(3);
    }
    assert_eq!(lone.stack.rates.len(), 16);
    lone.meet(2, &identity(7), 1, 1_700_000_000);
    lone.pass(Duration::from_secs(1));
    assert_eq!(lone.sent(0).len(), 1);
}

#[test]
fn nothing_leaves_on_an_interface_that_only_receives() {
    let mut lone = Lone::new(true, &[]);
    lone.up(0, open(10_000_000));
    lone.up(1, InterfaceProfile { receive_only: true, ..open(10_000_000) });
    let to = lone.meet(1, &identity(7), 1, 1_700_000_000);
    let own = lone.serve();
    lone.stack.announce(lone.now, own, b"").unwrap();
    lone.stack.request_path(lone.now, DestinationHash::new([9; 16]));
    lone.stack.send(lone.now, to, b"lost").unwrap();
    let mut sent = [0, 0];
    for _ in 0..10 {
        lone.pass(Duration::from_secs(1));
        sent = [sent[0] + lone.sent(0).len(), sent[1] + lone.sent(1).len()];
    }
    assert_eq!(sent, [4, 0], "announces on the other one, and a request");
}

/// A transport node that searches on behalf of interface 0, and may on interface 1.
fn searching(other: InterfaceProfile) -> Lone {
    Lone::new(true, &[InterfaceProfile { mode: Mode::Gateway, ..open(10_000_000) }, other])
}

/// Asks for a path nobody knows on interface 0, and tells whether the request is passed on to interface 1.
fn searched(lone: &mut Lone, target: u8) -> bool {
    let (target, tag) = (DestinationHash::new([target; 16]), [target; 16]);
    lone.hear(0, &PathRequestRef { target, transport_id: None, tag: &tag }.packet().encode());
    lone.sent(0);
    !lone.sent(1).is_empty()
}

#[test]
fn searches_take_their_share_of_what_announces_may_use_and_are_not_made_up_for() {
    let mut lone = searching(open(1_200));
    assert!(searched(&mut lone, 1));
    // 67 bytes at 24 bit/s.
    lone.pass(Duration::from_secs(22));
    assert!(!searched(&mut lone, 2));
    lone.pass(Duration::from_secs(1));
    assert!(searched(&mut lone, 3));
    for seed in 0..2 {
        lone.meet(0, &identity(10 + seed), 1, 1_700_000_000);
    }
    lone.pass(Duration::from_secs(30));
    assert_eq!((lone.sent(1).len(), lone.stack.announce_backlog(InterfaceId(1)).queued), (1, 1));
    assert!(!searched(&mut lone, 4), "an announce waits");
}

#[test]
fn searches_leave_at_a_limited_rate_where_that_is_asked_for() {
    for (limit, expected) in [(None, 20), (Some(PATH_REQUEST_EGRESS_HZ), 14)] {
        let mut lone = searching(InterfaceProfile { path_request_egress_hz: limit, ..open(10_000_000) });
        // The asking interface has a limit of its own.
        let burst_limits = BurstLimits { path_request_hz: (1000.0, 1000.0), ..BurstLimits::DEFAULT };
        lone.up(0, InterfaceProfile { mode: Mode::Gateway, burst_limits, ..open(10_000_000) });
        let passed_on = (0..20).filter(|target| {
            lone.pass(Duration::from_millis(150));
            searched(&mut lone, *target)
        });
        let passed_on = passed_on.count();
        assert_eq!(passed_on, expected, "{limit:?}");
    }
}

#[test]
fn a_full_interface_searches_only_when_told_to() {
    let full = |searches_always| InterfaceProfile { searches_always, ..open(10_000_000) };
    for told in [false, true] {
        let mut lone = Lone::new(true, &[full(told), InterfaceProfile { mode: Mode::Roaming, ..open(10_000_000) }]);
        assert_eq!(searched(&mut lone, 1), told);
    }
}

#[test]
fn few_announces_are_held_where_few_may_be_and_released_as_fast_as_told() {
    let burst_limits = BurstLimits {
        new_for: Duration::ZERO,
        announce_hz: (0.0, 1.0),
        hold: Duration::from_secs(2),
        penalty: Duration::from_secs(1),
        release_interval: Duration::from_secs(1),
        held_max: 4,
        ..BurstLimits::DEFAULT
    };
    let mut lone = Lone::new(true, &[InterfaceProfile { burst_limits, ..InterfaceProfile::new(10_000_000) }]);
    for seed in 0..40 {
        lone.pass(Duration::from_millis(10));
        lone.meet(0, &identity(10 + seed), 1, 1_700_000_000);
    }
    assert_eq!(lone.stack.announce_backlog(InterfaceId(0)).held, 4);
    assert_eq!(lone.stack.paths().count(), 2, "two that came before there was a frequency");
    lone.pass(Duration::from_secs(60));
    assert_eq!((lone.stack.announce_backlog(InterfaceId(0)).held, lone.stack.paths().count()), (0, 6));
}

#[test]
fn a_request_for_something_cached_is_a_packet_like_others() {
    let mut lone = Lone::new(true, &[open(10_000_000), open(10_000_000)]);
    let (own, to) = (lone.serve(), lone.meet(1, &identity(7), 1, 1_700_000_000));
    lone.pass(Duration::from_secs(10));
    lone.silence(2);
    let request = |destination, transport_id| crate::wire::Packet {
        flags: crate::wire::Flags::new(crate::wire::DestinationKind::Single, crate::wire::PacketKind::Data),
        hops: 0,
        transport_id,
        destination,
        context: crate::wire::Context::CACHE_REQUEST,
        data: vec![7; 32].into(),
    };
    let node = lone.stack.transport_id();
    lone.hear(0, &request(to, Some(node)).encode());
    assert_eq!(lone.sent(1).len(), 1, "carried on");
    lone.hear(0, &request(own, None).encode());
    assert_eq!(lone.stack.stats().dropped(DropReason::Undecryptable), 1, "nobody asks a destination for packets");
}

/// A transport node that knows a destination two hops away and is asked for it on a slow channel.
fn asked(lone: &mut Lone) -> DestinationHash {
    let to = lone.meet(0, &identity(7), 2, 1_700_000_000);
    for _ in 0..60 {
        lone.pass(Duration::from_secs(1));
        lone.silence(2);
    }
    lone.request_path(1, to, 1);
    to
}

#[test]
fn answers_on_slow_media_are_spread_and_on_fast_ones_come_at_once() {
    let waits = |profile: InterfaceProfile| {
        let mut lone = Lone::new(true, &[open(10_000_000), profile]);
        let to = asked(&mut lone);
        let first = lone.stack.responses[&(to, InterfaceId(1))].since(lone.now.mono);
        let mut all = std::collections::BTreeSet::from([first]);
        for tag in 2..30 {
            lone.pass(Duration::from_secs(20));
            lone.request_path(1, to, tag);
            all.insert(lone.stack.responses[&(to, InterfaceId(1))].since(lone.now.mono));
        }
        (*all.first().unwrap(), *all.last().unwrap())
    };
    let at_once = (RESPONSE_GRACE, RESPONSE_GRACE);
    assert_eq!(waits(open(10_000_000)), at_once);
    assert_eq!(waits(InterfaceProfile { mode: Mode::PointToPoint, ..open(1_200) }), at_once);
    let (first, last) = waits(open(1_200));
    assert!(first < RESPONSE_GRACE + Duration::from_secs(1) && last > RESPONSE_GRACE + Duration::from_secs(3));
    assert!(last <= RESPONSE_GRACE + Duration::from_secs(5));
}
