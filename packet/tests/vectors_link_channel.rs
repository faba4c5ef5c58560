//! Channels against `tests/vectors/link/channel.json`.

mod recorded;
mod support;

use std::time::Duration;

use recorded::{End, iv, noon, seconds};
use serde_json::Value;
use support::{bytes, cases, maybe_bytes, name};
use wend_packet::channel::{ChannelError, ChannelEvent, MessageType, Window, timeout};
use wend_packet::link::{LinkEvent, LinkState};
use wend_packet::time::Now;
use wend_packet::wire::Context;

#[test]
fn every_channel_vector_is_met() {
    for case in cases("link/channel", 24) {
        match name(&case) {
            "envelopes" => envelopes(&case),
            "registration" => registration(&case),
            "window-full" => window_full(&case),
            "length-ignored" => length_ignored(&case),
            "timeouts" => timeouts(&case),
            "retries" => retries(&case),
            name if name.starts_with("receive-") => receive(&case),
            name if name.starts_with("window-rtt-") => window(&case),
            other => panic!("no test for {other}"),
        }
    }
}

fn kind(number: &Value) -> MessageType {
    MessageType::new(number.as_u64().unwrap() as u16).unwrap()
}

const KIND: MessageType = MessageType::new(0x0101).unwrap();

/// The other fields an end needs, where a case does not have them.
fn anywhere(case: &Value) -> Value {
    let mut case = case.clone();
    case["link_id"] = "00".repeat(16).into();
    case
}

fn messages(end: &mut End) -> Vec<Vec<u8>> {
    let message = |event| match event {
        LinkEvent::Channel(ChannelEvent::Message { kind: KIND, body }) => Some(body.to_vec()),
        _ => None,
    };
    end.take_events().into_iter().filter_map(message).collect()
}

fn envelopes(case: &Value) {
    let (mut from, mut to) = (End::of(case, true, 0.25, |_| {}), End::of(case, false, 0.25, |_| {}));
    for end in [&mut from, &mut to] {
        end.link.open_channel(&[kind(&case["msgtype"])]);
        assert_eq!(end.link.message_max() as u64, case["channel_mdu"].as_u64().unwrap());
    }
    for row in case["rows"].as_array().unwrap() {
        let (raw, message) = (bytes(&row["raw"]), bytes(&row["message"]));
        from.script(&iv(&raw));
        from.link.send_message(noon(), &mut from.rng, KIND, &message).unwrap();
        assert_eq!(from.sent(), std::slice::from_ref(&raw));
        assert_eq!(recorded::open(&case["derived_key"], &raw), bytes(&row["envelope"]));
        to.receive(noon(), &raw);
        assert_eq!(to.sent(), [bytes(&row["proof_raw"])]);
        assert_eq!(messages(&mut to), [message]);
        from.receive(noon(), &bytes(&row["proof_raw"]));
    }
}

fn registration(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        let registered = row["msgtype"].as_u64().and_then(|number| MessageType::new(number as u16));
        assert_eq!(registered.is_some(), row["result"] == "ok", "{row}");
    }
    let mut end = End::of(&anywhere(case), true, 0.25, |_| {});
    end.link.open_channel(&[KIND]);
    let long = vec![0; end.link.message_max() + 1];
    let refused = end.link.send_message(noon(), &mut end.rng, KIND, &long);
    assert!(matches!(refused, Err(ChannelError::TooBig { .. })) && case["too_big"] == "ME_TOO_BIG");
}

fn window_full(case: &Value) {
    let mut end = End::of(&anywhere(case), true, case["given"]["rtt"].as_f64().unwrap(), |_| {});
    end.link.open_channel(&[KIND]);
    for expected in case["results"].as_array().unwrap() {
        let result = end.link.send_message(noon(), &mut end.rng, KIND, b"x");
        match expected.as_str().unwrap() {
            "ok" => assert!(result.is_ok()),
            "ME_LINK_NOT_READY" => assert_eq!(result, Err(ChannelError::NotReady)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(end.link.channel_window().unwrap().size as u64, case["window"].as_u64().unwrap());
}

fn receive(case: &Value) {
    let mut end = End::of(case, false, 0.25, |_| {});
    let given = &case["given"];
    if given["channel_open"] == true {
        let types: Vec<MessageType> = given["registered_types"].as_array().unwrap().iter().map(kind).collect();
        end.link.open_channel(&types);
        end.link.expect_message(given["next_rx"].as_u64().unwrap() as u16);
    }
    for step in case["steps"].as_array().unwrap() {
        let raw = bytes(&step["raw"]);
        assert_eq!(recorded::open(&case["derived_key"], &raw), bytes(&step["envelope"]));
        end.receive(noon(), &raw);
        let proven = end.sent().iter().filter(|frame| recorded::label(false, frame) == "r:00p").count();
        assert_eq!(proven == 1, step["proven"] == true, "{}", name(case));
        // Each message holds its own sequence number.
        let delivered: Vec<u64> =
            messages(&mut end).iter().map(|body| u16::from_be_bytes(body[..2].try_into().unwrap()).into()).collect();
        let expected: Vec<u64> = step["delivered"].as_array().unwrap().iter().map(|of| of.as_u64().unwrap()).collect();
        assert_eq!(delivered, expected, "{}", name(case));
        let state = end.link.channel_state().map(|(next, held)| (u64::from(next), held as u64));
        assert_eq!(state, step["next_rx"].as_u64().zip(step["held"].as_u64()), "{}", name(case));
    }
}

fn length_ignored(case: &Value) {
    let mut case = anywhere(case);
    case["derived_key"] = "01".repeat(64).into();
    let mut end = End::of(&case, false, 0.25, |_| {});
    end.link.open_channel(&[KIND]);
    end.receive(noon(), &recorded::seal(&case, Context::CHANNEL, &bytes(&case["envelope"])));
    let expected: Vec<Vec<u8>> = case["delivered"].as_array().unwrap().iter().filter_map(maybe_bytes).collect();
    assert_eq!(messages(&mut end), expected);
}

fn window(case: &Value) {
    let rtt = seconds(case["rtt"].as_f64().unwrap());
    let mut window = Window::new(rtt);
    for step in case["trace"].as_array().unwrap() {
        match step["op"].as_str().unwrap() {
            "open" => assert_eq!(window.flexibility as u64, step["flexibility"].as_u64().unwrap()),
            "d" => window.delivered(rtt),
            "t" => window.timed_out(),
            other => panic!("{other}"),
        }
        let sizes = [window.size, window.min, window.max].map(|size| size as u64);
        let expected = ["window", "window_min", "window_max"].map(|field| step[field].as_u64().unwrap());
        assert_eq!(sizes, expected, "{}: {step}", name(case));
        if let (Some(fast), Some(medium)) = (step["fast"].as_u64(), step["medium"].as_u64()) {
            assert_eq!((u64::from(window.fast), u64::from(window.medium)), (fast, medium), "{}", name(case));
        }
    }
}

fn timeouts(case: &Value) {
    for row in case["rows"].as_array().unwrap() {
        let (tries, waiting) = (row["tries"].as_u64().unwrap() as u32, row["tx_ring"].as_u64().unwrap() as usize);
        let ours = timeout(seconds(row["rtt"].as_f64().unwrap()), tries, waiting).as_secs_f64();
        assert!((ours - row["timeout"].as_f64().unwrap()).abs() < 1e-6, "{row}: {ours}");
    }
}

fn retries(case: &Value) {
    let mut end = End::of(&anywhere(case), true, case["given"]["rtt"].as_f64().unwrap(), |_| {});
    end.link.open_channel(&[KIND]);
    end.link.send_message(noon(), &mut end.rng, KIND, b"hello").unwrap();
    end.sent();
    let mut now: Now = noon();
    for step in case["steps"].as_array().unwrap() {
        // Deadlines of the link itself come in between.
        let sent = loop {
            now = end.wait(now, noon().later(Duration::from_secs(600))).unwrap();
            let sent = end.sent();
            if !sent.is_empty() {
                break sent;
            }
        };
        let contexts: Vec<String> = sent.iter().map(|frame| format!("{:02x}", recorded::context(frame).0)).collect();
        assert_eq!(contexts, support::texts(&step["sent"]));
        assert_eq!(end.link.state() == LinkState::Closed, step["link"] == "CLOSED");
    }
}
