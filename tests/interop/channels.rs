//! Channels and streams: exact order, nothing twice, and the end of a stream, each way.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wend_packet::LinkId;
use wend_packet::channel::{ChannelError, ChannelEvent, MessageType, StreamId};
use wend_packet::stack::Event;

use super::{REF_APP, REF_ASPECTS, destination};
use crate::support::endpoint::{Endpoint, Medium};
use crate::support::lossy::Lossy;
use crate::support::reference::{self, Reference, text};
use crate::support::{digest, free_port, pattern};

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Messages sent each way.
const MESSAGES: u16 = 200;
/// Bytes of a stream.
const STREAM: usize = 200_000;

/// The type of the reference node's messages.
const KIND: Option<MessageType> = MessageType::new(0x0101);

struct Pair {
    endpoint: Endpoint,
    node: Reference,
    link: LinkId,
    number: u64,
    way: Lossy,
}

impl Pair {
    /// A link with its channel open at both ends.
    fn start(python: &Path) -> Self {
        let port = free_port();
        let mut node = Reference::start(python, false, &[reference::tcp_server(port)]);
        let to = node.destination(REF_APP, &REF_ASPECTS, &json!([]));
        let way = Lossy::start(port, 3);
        let endpoint = Endpoint::start(&Medium::Client(way.port()));
        endpoint.wait_up();
        node.wait_up(2);
        endpoint.find_path(destination(&to));
        let link = endpoint.open_link(destination(&to));
        endpoint.on_link(link, |link| link.open_channel(&[kind()]));
        let number = node.ask(json!({"do": "wait_link", "destination": text(&json!(to))}))["link"].as_u64().unwrap();
        node.ask(json!({"do": "channel", "link": number}));
        Self { endpoint, node, link, number, way }
    }

    /// Does something again whenever the channel is ready, until it no longer says that it is not.
    fn when_ready<T: Send + 'static>(
        &self,
        act: impl Fn(&mut wend_packet::stack::LinkRef<'_>) -> Result<T, ChannelError> + Clone + Send + 'static,
    ) -> T {
        loop {
            let ready = self.ready();
            let again = act.clone();
            match self.endpoint.on_link(self.link, move |link| again(link)) {
                Err(ChannelError::NotReady) => {
                    self.endpoint.wait_many("room in the channel", ready + 1, PATIENCE, is_ready);
                }
                done => return done.unwrap(),
            }
        }
    }

    /// How often the channel said so far that it is ready.
    fn ready(&self) -> usize {
        self.endpoint.wait_many("", 0, PATIENCE, is_ready).len()
    }

    fn send_messages(&self) {
        for number in 0..MESSAGES {
            self.when_ready(move |link| link.send_message(kind(), &number.to_be_bytes()));
        }
    }
}

fn kind() -> MessageType {
    KIND.expect("below the reserved types")
}

fn is_ready(event: &Event) -> Option<()> {
    matches!(event, Event::Channel { event: ChannelEvent::Ready, .. }).then_some(())
}

/// The messages as the reference node shows them.
fn numbered() -> Vec<Value> {
    (0..MESSAGES).map(|number| json!(hex::encode(number.to_be_bytes()))).collect()
}

/// Messages go to the reference, in order.
fn messages_arrive_there(pair: &mut Pair) {
    pair.send_messages();
    let got = pair.node.ask(json!({
        "do": "messages", "link": pair.number, "count": MESSAGES, "timeout": PATIENCE.as_secs(),
    }));
    assert_eq!(got["messages"], json!(numbered()));
}

/// Messages come from the reference, in order.
fn messages_arrive_here(pair: &mut Pair) {
    pair.node.ask(json!({
        "do": "send_messages", "link": pair.number, "messages": numbered(), "timeout": PATIENCE.as_secs(),
    }));
    let got = pair.endpoint.wait_many("messages", usize::from(MESSAGES), PATIENCE, |event| match event {
        Event::Channel { event: ChannelEvent::Message { kind: of, body }, .. } if *of == kind() => {
            Some(json!(hex::encode(body)))
        }
        _ => None,
    });
    assert_eq!(got, numbered());
}

#[test]
fn messages_arrive_in_order_each_way() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python);
    messages_arrive_there(&mut pair);
    messages_arrive_here(&mut pair);
}

/// A message has five transmissions: at twice the loss, one in twenty runs would end with the link.
#[test]
fn messages_arrive_at_the_reference_over_a_connection_that_loses_a_twentieth() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python);
    pair.way.lose(50);
    messages_arrive_there(&mut pair);
}

#[test]
fn streams_arrive_whole_and_end_each_way() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python);
    let (there, here) = (StreamId::new(3).unwrap(), StreamId::new(5).unwrap());
    pair.node.ask(json!({"do": "open_stream", "link": pair.number, "stream": there.number()}));
    let data = pattern(STREAM);
    let mut left = data.as_slice();
    while !left.is_empty() {
        let ready = pair.ready();
        let piece = left.to_vec();
        match pair.endpoint.on_link(pair.link, move |link| link.write_stream(there, &piece)).unwrap() {
            0 => drop(pair.endpoint.wait_many("room in the channel", ready + 1, PATIENCE, is_ready)),
            taken => left = &left[taken..],
        }
    }
    pair.endpoint.on_link(pair.link, move |link| link.close_stream(there)).unwrap();
    pair.endpoint.wait_many("the end is proved", 1, PATIENCE, |event| {
        let finished = Event::Channel { link: pair.link, event: ChannelEvent::StreamFinished { stream: there } };
        (*event == finished).then_some(())
    });
    let got = pair.node.ask(json!({"do": "stream", "link": pair.number, "stream": there.number(), "timeout": 60}));
    assert_eq!((&got["ended"], &got["data"]["sha256"]), (&json!(true), &json!(digest(&data))));

    pair.endpoint.on_link(pair.link, move |link| link.open_stream(here));
    pair.node.ask(json!({
        "do": "write_stream", "link": pair.number, "stream": here.number(), "data": {"len": STREAM}, "timeout": 90,
    }));
    pair.endpoint.wait_many("the end", 1, PATIENCE, |event| match event {
        Event::Channel { event: ChannelEvent::Stream { stream, eof: true, .. }, .. } if *stream == here => Some(()),
        _ => None,
    });
    let got = pair.endpoint.wait_many("bytes", 1, PATIENCE, |event| match event {
        Event::Channel { event: ChannelEvent::Stream { stream, data, .. }, .. } if *stream == here => {
            Some(data.clone())
        }
        _ => None,
    });
    assert_eq!(digest(&got.concat()), digest(&data));
}
