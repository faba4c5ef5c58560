//! Channels and streams over bad media, and what a peer can make them hold.

use std::collections::VecDeque;

use super::pair::{CALM, INITIATOR, Medium, Pair, RESPONDER, end, receive, secs, start};
use super::*;
use crate::channel::{ChannelError, ChannelEvent, Envelope, MessageType, RECEIVE_WINDOW, STREAM_DATA, StreamId};

const KIND: MessageType = MessageType::new(0x0101).unwrap();
const STREAM: StreamId = StreamId::new(7).unwrap();

fn channel_events(events: &mut Vec<LinkEvent>) -> Vec<ChannelEvent> {
    let of = |event| match event {
        LinkEvent::Channel(event) => Some(event),
        _ => None,
    };
    std::mem::take(events).into_iter().filter_map(of).collect()
}

/// A pair whose ends have a channel open.
fn talking(medium: Medium, mtu: usize, seed: u64) -> Pair {
    let mut pair = Pair::over(medium, mtu, seed);
    for end in &mut pair.ends {
        end.open_channel(&[KIND]);
        end.open_stream(STREAM);
    }
    pair
}

/// Sends all messages as the window allows; gives what the other end got.
fn talk(pair: &mut Pair, from: usize, messages: &[Vec<u8>]) -> Vec<Bytes> {
    let (mut waiting, mut got): (VecDeque<&Vec<u8>>, Vec<Bytes>) = (messages.iter().collect(), Vec::new());
    let limit = pair.now.mono + secs(24.0 * 3600.0);
    loop {
        while let Some(message) = waiting.front() {
            match pair.ends[from].send_message(pair.now, &mut pair.rng, KIND, message) {
                Ok(_) => drop(waiting.pop_front()),
                Err(ChannelError::NotReady) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let more = pair.step(limit);
        for event in channel_events(&mut pair.events[1 - from]) {
            if let ChannelEvent::Message { kind, body } = event {
                assert_eq!(kind, KIND);
                got.push(body);
            }
        }
        if got.len() == messages.len() || !more {
            return got;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn messages_come_exactly_once_and_in_order(
        count in 1_usize..120,
        len in 0_usize..400,
        loss in 0.0..0.7_f64,
        jitter in prop_oneof![Just(0.0), 0.0..6.0_f64],
        latency_ms in 1_u64..1200,
        duplicates: bool,
        from in 0_usize..2,
        seed: u64,
    ) {
        let medium = Medium { latency: Duration::from_millis(latency_ms), jitter, loss, pause: 3, duplicates, ..CALM };
        let mut pair = talking(medium, 500, seed);
        let messages: Vec<Vec<u8>> = (0..count).map(|n| [n.to_be_bytes().to_vec(), vec![7; len]].concat()).collect();
        let got = talk(&mut pair, from, &messages);
        prop_assert!(got == messages, "{} of {}", got.len(), count);
        // Until the last proof is there nothing more is delivered.
        pair.run_for(secs(600.0));
        prop_assert!(channel_events(&mut pair.events[1 - from]).is_empty());
        prop_assert_eq!(pair.ends[from].timers.deadline(Timer::Channel), None);
    }

    #[test]
    fn a_stream_delivers_its_bytes_and_its_end(
        pieces in prop::collection::vec((1_usize..20_000, any::<bool>()), 0..8),
        loss in 0.0..0.5_f64,
        mtu in prop_oneof![Just(500_usize), Just(8192)],
        seed: u64,
    ) {
        let mut pair = talking(Medium { loss, pause: 3, ..CALM }, mtu, seed);
        let data: Vec<u8> = pieces.iter().flat_map(|(len, compressible)| value(*len, *compressible, seed)).collect();
        let (mut written, mut got, mut ended, mut finished) = (0, Vec::new(), false, false);
        let (now, rng) = (pair.now, &mut pair.rng);
        written += pair.ends[INITIATOR].write_stream(now, rng, STREAM, &data).unwrap();
        if written == data.len() {
            pair.ends[INITIATOR].close_stream(now, rng, STREAM).unwrap();
        }
        let limit = pair.now.mono + secs(24.0 * 3600.0);
        while !finished && pair.step(limit) {
            for event in channel_events(&mut pair.events[INITIATOR]) {
                let (now, rng) = (pair.now, &mut pair.rng);
                match event {
                    ChannelEvent::Ready => {
                        written += pair.ends[INITIATOR].write_stream(now, rng, STREAM, &data[written..]).unwrap();
                        if written == data.len() {
                            // The window may well be full: the end must not get lost.
                            pair.ends[INITIATOR].close_stream(now, rng, STREAM).unwrap();
                        }
                    }
                    ChannelEvent::StreamFinished { .. } => finished = true,
                    _ => {}
                }
            }
            for event in channel_events(&mut pair.events[RESPONDER]) {
                let ChannelEvent::Stream { stream, data, eof } = event else { panic!("{event:?}") };
                prop_assert_eq!((stream, ended), (STREAM, false));
                got.extend_from_slice(&data);
                ended = eof;
            }
        }
        prop_assert!(got == data, "{} of {}", got.len(), data.len());
        prop_assert!(ended && finished);
        let late = pair.ends[INITIATOR].write_stream(pair.now, &mut pair.rng, STREAM, b"more");
        prop_assert_eq!(late, Err(ChannelError::StreamClosed));
    }
}

#[test]
fn sequence_numbers_wrap_under_loss() {
    let medium = Medium { latency: Duration::from_millis(2), loss: 0.05, pause: 2, jitter: 3.0, ..CALM };
    let mut pair = talking(medium, 500, 5);
    let messages: Vec<Vec<u8>> = (0..66_500_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    let got = talk(&mut pair, INITIATOR, &messages);
    assert!(got == messages, "{} {:?} {:?}", got.len(), pair.ends[0], pair.ends[1].channel_state());
}

#[test]
fn a_message_nobody_proves_is_sent_five_times_and_ends_the_link_no_earlier_than_the_reference_would() {
    let mut link = end(true);
    link.rtt = Some(Duration::from_millis(1));
    link.open_channel(&[KIND]);
    let mut rng = TestRng::seeded(4);
    link.send_message(start(), &mut rng, KIND, b"hello").unwrap();
    let (mut now, mut sent) = (start(), 1);
    let mut last = link.poll_packet().unwrap().hash();
    while link.state() != LinkState::Closed {
        now = now.later(link.poll_timeout().unwrap().since(now.mono));
        link.handle_timeout(now, &mut rng);
        while let Some(packet) = link.poll_packet() {
            if packet.context == Context::CHANNEL {
                assert_ne!(packet.hash(), last, "encrypted anew");
                (sent, last) = (sent + 1, packet.hash());
            }
        }
    }
    assert_eq!((sent, now.mono.since(start().mono)), (5, secs(5.0)));
}

#[test]
fn a_late_proof_of_an_earlier_transmission_counts() {
    let mut pair = talking(Medium { latency: secs(1.0), ..CALM }, 500, 6);
    // The round trip was measured when the link was idle; now it takes ten times as long.
    pair.medium.latency = secs(10.0);
    let (now, rng) = (pair.now, &mut pair.rng);
    pair.ends[INITIATOR].send_message(now, rng, KIND, b"hello").unwrap();
    pair.run_for(secs(20.5));
    let delivered = LinkEvent::Channel(ChannelEvent::Delivered { sequence: 0 });
    assert_eq!(pair.events[INITIATOR], [delivered]);
    pair.run_for(secs(100.0));
    assert_eq!(pair.events[RESPONDER].len(), 1);
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(4);
    assert_eq!(link.send_message(start(), &mut rng, KIND, b"x"), Err(ChannelError::NotOpen));
    assert_eq!(link.write_stream(start(), &mut rng, STREAM, b"x"), Err(ChannelError::NotOpen));
    link.open_channel(&[]);
    assert_eq!(link.send_message(start(), &mut rng, KIND, b"x"), Err(ChannelError::NotRegistered(KIND)));
    link.open_channel(&[KIND]);
    let max = link.message_max();
    let long = link.send_message(start(), &mut rng, KIND, &vec![0; max + 1]);
    assert_eq!(long, Err(ChannelError::TooBig { len: max + 1, max }));
    assert_eq!(link.send_message(start(), &mut rng, KIND, &vec![0; max]), Ok(0));
    link.close(start(), &mut rng);
    assert_eq!(link.send_message(start(), &mut rng, KIND, b"x"), Err(ChannelError::NotOpen));
}

/// An envelope of the peer, with a message of the largest size.
fn envelope(link: &Link, sequence: u16) -> Vec<u8> {
    Envelope::encode(KIND.number(), sequence, &vec![1; link.message_max()])
}

#[test]
fn a_peer_cannot_make_a_channel_hold_more_than_its_window() {
    let mut link = end(false);
    link.open_channel(&[KIND]);
    let mut rng = TestRng::seeded(3);
    for round in 0..10_u16 {
        for sequence in 1..1000 {
            let message = envelope(&link, sequence * (round + 1));
            receive(&mut link, &mut rng, Context::CHANNEL, &message);
            while link.poll_packet().is_some() {}
        }
    }
    let (next, held) = link.channel_state().unwrap();
    assert!(next == 0 && held == usize::from(RECEIVE_WINDOW), "{next} {held}");
    assert_eq!(link.held_bytes(), held * link.message_max());
    // The missing one sets all of them free, and what follows is delivered as ever.
    let missing = envelope(&link, 0);
    receive(&mut link, &mut rng, Context::CHANNEL, &missing);
    let delivered = std::iter::from_fn(|| link.poll_event()).count();
    assert_eq!((delivered, link.held_bytes()), (held + 1, 0));
}

#[test]
fn messages_that_nobody_takes_are_not_proved() {
    let mut link = end(false);
    link.open_channel(&[KIND]);
    let mut rng = TestRng::seeded(3);
    for sequence in 0..1000 {
        let message = envelope(&link, sequence);
        receive(&mut link, &mut rng, Context::CHANNEL, &message);
    }
    let proofs = std::iter::from_fn(|| link.poll_packet()).count();
    let messages = std::iter::from_fn(|| link.poll_event()).count();
    assert_eq!((proofs, messages), (EVENTS_MAX, EVENTS_MAX));
}

#[test]
fn streams_nobody_reads_are_passed_over() {
    let mut link = end(false);
    let mut rng = TestRng::seeded(3);
    link.open_stream(STREAM);
    link.stop_reading(STREAM);
    let message = Envelope::encode(STREAM_DATA, 0, &[&STREAM.number().to_be_bytes()[..], b"data"].concat());
    receive(&mut link, &mut rng, Context::CHANNEL, &message);
    assert_eq!((link.poll_event(), link.channel_state()), (None, Some((1, 0))));
}

#[test]
fn messages_go_out_though_other_packets_fill_the_queue() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(4);
    link.open_channel(&[KIND]);
    while link.send(start(), &mut rng, b"data").is_ok() {}
    // Nothing is under way whose proof could say that there is room again.
    assert_eq!(link.send_message(start(), &mut rng, KIND, b"hello"), Ok(0));
    link.close_stream(start(), &mut rng, STREAM).unwrap();
    let on_channel = link.packets.iter().filter(|packet| packet.context == Context::CHANNEL).count();
    assert_eq!(on_channel, 2);
}

#[test]
fn a_message_is_repeated_in_time_though_one_before_it_has_more_patience() {
    let mut link = end(true);
    let mut rng = TestRng::seeded(4);
    link.open_channel(&[KIND]);
    link.send_message(start(), &mut rng, KIND, b"first").unwrap();
    let (mut now, mut sent) = (start(), 0);
    while sent < 4 {
        sent += core::iter::from_fn(|| link.poll_packet()).filter(|packet| packet.context == Context::CHANNEL).count();
        if sent < 4 {
            now = now.later(link.poll_timeout().unwrap().since(now.mono));
            link.handle_timeout(now, &mut rng);
        }
    }
    link.send_message(now, &mut rng, KIND, b"second").unwrap();
    let timeout = crate::channel::timeout(secs(0.25), 1, 2);
    assert_eq!(link.timers.deadline(Timer::Channel), Some(now.mono + timeout));
}
