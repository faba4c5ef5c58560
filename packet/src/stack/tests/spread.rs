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
    lone.pass(2 * HOUR);
    let sent = lone.sent(1);
    assert!(sent.iter().any(|frame| frame[18..34] == *honest.as_ref()), "{} frames", sent.len());
}

#[test]
fn an_announce_in_time_is_passed_on_whatever_fills_the_table_of_rates() {
    let mut lone = crowded();
    for seed in 0..160 {
        lone.meet(0, &identity(1000 + seed), 1, 1_700_000_000);
    }
    lone.pass(Duration::from_secs(30));
    lone.silence(3);
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
    lone.pass(Duration::from_secs(10));
    assert_eq!((lone.sent(1).len(), lone.sent(0).len()), (0, 4), "announces on the other one, and a request");
}
