//! Resources outside requests: of every size, compressed, with metadata, over a connection that loses frames, cancelled and
//! refused by either side.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wend_packet::LinkId;
use wend_packet::link::{Compression, ResourceEvent, ResourceOptions, ResourceOutcome, ResourceStrategy, TransferId};
use wend_packet::msgpack::Writer;
use wend_packet::stack::Event;

use super::{REF_APP, REF_ASPECTS, destination};
use crate::support::endpoint::{Endpoint, Medium};
use crate::support::lossy::Lossy;
use crate::support::reference::{self, Reference, text};
use crate::support::{compressible, digest, free_port, pattern};

/// How long a transfer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for the reference.
const PATIENCE_S: u64 = 120;
/// A resource of twenty segments, in bytes.
const HUGE: usize = 20_000_000;

/// A link between an endpoint and a reference node, both of which take resources.
struct Pair {
    endpoint: Endpoint,
    node: Reference,
    /// The endpoint's end, and its number at the reference node.
    link: LinkId,
    number: u64,
    /// What lies between them.
    way: Lossy,
}

impl Pair {
    /// The endpoint opens the link; it takes resources by this strategy, the reference node those that `accept` says.
    fn start(python: &Path, strategy: ResourceStrategy, accept: &str) -> Self {
        let port = free_port();
        let mut node = Reference::start(python, false, &[reference::tcp_server(port)]);
        let made = node.ask(json!({"do": "destination", "app": REF_APP, "aspects": REF_ASPECTS, "accept": accept}));
        let way = Lossy::start(port, 7);
        let endpoint = Endpoint::start(&Medium::Client(way.port()));
        endpoint.wait_up();
        node.wait_up(2);
        let to = text(&made["destination"]);
        endpoint.find_path(destination(&to));
        let link = endpoint.open_link(destination(&to));
        endpoint.on_link(link, move |link| {
            let options = link.options().expect("it is open");
            link.set_options(wend_packet::link::LinkOptions { resources: strategy, ..options });
        });
        let number = node.ask(json!({"do": "wait_link", "destination": to}))["link"].as_u64().expect("a number");
        Self { endpoint, node, link, number, way }
    }

    fn send(&self, body: Vec<u8>, metadata: Option<Vec<u8>>, compression: Compression) -> TransferId {
        let options = ResourceOptions { metadata: metadata.map(Into::into), compression };
        self.endpoint.on_link(self.link, move |link| link.send_resource(body.into(), options)).expect("it can be sent")
    }

    /// How a resource of the endpoint ended.
    fn wait_outcome(&self, of: TransferId) -> ResourceOutcome {
        self.endpoint.wait_many("the end of a resource", 1, PATIENCE, |event| match event {
            Event::Resource { resource, event: ResourceEvent::Ended(outcome), .. } if *resource == of => Some(*outcome),
            _ => None,
        })[0]
    }

    /// Sends from Wend and looks at what the reference got: the `count`th.
    fn deliver(&mut self, body: &[u8], metadata: Option<Vec<u8>>, compression: Compression, count: usize) -> Value {
        let sent = self.send(body.to_vec(), metadata, compression);
        assert_eq!(self.wait_outcome(sent), ResourceOutcome::Delivered);
        let got = self.node.ask(json!({
            "do": "resources", "link": self.number, "count": count, "timeout": PATIENCE_S,
        }));
        let got = got["resources"][count - 1].clone();
        assert_eq!((&got["status"], &got["data"]["len"]), (&json!("COMPLETE"), &json!(body.len())));
        assert_eq!(got["data"]["sha256"], digest(body));
        got["metadata"].clone()
    }

    /// Sends from the reference and looks at what Wend got: the `count`th. Gives its metadata, and how it travelled.
    fn receive(&mut self, mut command: Value, body: &[u8], count: usize) -> (Option<Vec<u8>>, Value) {
        command["do"] = json!("send_resource");
        command["link"] = json!(self.number);
        command["timeout"] = json!(PATIENCE_S);
        let sent = self.node.ask(command);
        assert_eq!(sent["status"], "COMPLETE");
        let ended = |event: &Event| match event {
            Event::Resource { resource, event: ResourceEvent::Ended(outcome), .. } => Some((*resource, *outcome)),
            _ => None,
        };
        let (id, outcome) = self.endpoint.wait_many("a resource", count, PATIENCE, ended)[count - 1];
        assert_eq!(outcome, ResourceOutcome::Received);
        let segments = self.endpoint.wait_many("its segments", 1, PATIENCE, |event| match event {
            Event::Resource { resource, event: ResourceEvent::Segment { offset, metadata, data }, .. }
                if *resource == id =>
            {
                Some((*offset, metadata.clone(), data.clone()))
            }
            _ => None,
        });
        let mut got = Vec::new();
        for (offset, _, data) in &segments {
            assert_eq!(*offset, got.len() as u64);
            got.extend_from_slice(data);
        }
        assert_eq!((got.len(), digest(&got)), (body.len(), digest(body)));
        (segments[0].1.as_ref().map(|metadata| metadata.to_vec()), sent)
    }
}

#[test]
fn resources_of_every_size_arrive_at_the_reference() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python, ResourceStrategy::None, "all");
    for (index, len) in [1, 1_000_000, HUGE].into_iter().enumerate() {
        pair.deliver(&pattern(len), None, Compression::Auto, index + 1);
    }
    pair.deliver(&compressible(1_000_000), None, Compression::UpTo(u64::MAX), 4);
    let metadata = Writer::new().map(1).str("name").str("notes").into_bytes();
    assert_eq!(pair.deliver(&pattern(5000), Some(metadata), Compression::Auto, 5), json!({"name": "notes"}));
}

#[test]
fn resources_of_every_size_arrive_at_wend() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python, ResourceStrategy::All, "none");
    for (index, len) in [1, 1_000_000, HUGE].into_iter().enumerate() {
        pair.receive(json!({"data": {"len": len}, "compress": false}), &pattern(len), index + 1);
    }
    let (_, sent) = pair.receive(json!({"data": {"text": 1_000_000}}), &compressible(1_000_000), 4);
    assert_eq!(sent["compressed"], true);
    let (metadata, _) = pair.receive(json!({"data": {"len": 5000}, "metadata": {"name": "notes"}}), &pattern(5000), 5);
    assert_eq!(metadata, Some(Writer::new().map(1).str("name").str("notes").into_bytes()));
}

/// Longer than the reference's patience with an offer that nobody answers.
const SLOW: Duration = Duration::from_secs(12);

#[test]
fn the_reference_waits_for_a_slow_reader() {
    let Some(python) = reference::interpreter() else { return };
    let Pair { endpoint, mut node, link, number, way } = Pair::start(&python, ResourceStrategy::All, "none");
    endpoint.read_slowly();
    let body = pattern(2_500_000);
    let segment = |event: &Event| match event {
        Event::Resource { resource, event: ResourceEvent::Segment { offset, data, .. }, .. } => {
            Some((*resource, *offset, data.len()))
        }
        _ => None,
    };
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            node.ask(json!({
                "do": "send_resource", "link": number, "data": {"len": 2_500_000}, "compress": false,
                "timeout": PATIENCE_S,
            }))
        });
        for number in 1..=3 {
            let segments = endpoint.wait_many("segments", number, PATIENCE, segment);
            if number == 2 {
                std::thread::sleep(SLOW);
            }
            let so_far = endpoint.wait_many("segments", number, PATIENCE, segment);
            assert_eq!(so_far.len(), number, "the next one waits");
            let (resource, offset, _) = segments[number - 1];
            endpoint.on_link(link, move |link| link.segment_taken(resource, offset)).unwrap();
        }
        assert_eq!(sending.join().unwrap()["status"], "COMPLETE");
    });
    let lens: usize = endpoint.wait_many("segments", 3, PATIENCE, segment).iter().map(|(.., len)| len).sum();
    assert_eq!(lens, body.len());
    drop(way);
}

#[test]
fn resources_arrive_over_a_connection_that_loses_a_tenth() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python, ResourceStrategy::All, "all");
    pair.way.lose(100);
    let body = pattern(1_000_000);
    pair.deliver(&body, None, Compression::Never, 1);
    let mut received = json!({"data": {"len": body.len()}, "compress": false});
    received["timeout"] = json!(PATIENCE_S);
    pair.receive(received, &body, 2);
    let (lost, passed) = pair.way.counts();
    assert!(lost > 0, "{lost} of {} frames were lost", lost + passed);
}

#[test]
fn whoever_refuses_a_resource_is_understood() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python, ResourceStrategy::Choose(|_| false), "app");
    let sent = pair.send(pattern(100_000), None, Compression::Auto);
    assert_eq!(pair.wait_outcome(sent), ResourceOutcome::Rejected);
    let sent = pair.node.ask(json!({"do": "send_resource", "link": pair.number, "data": {"len": 100_000}}));
    assert_eq!(sent["status"], "REJECTED");
}

#[test]
fn wend_cancels_resources_of_both_directions() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python, ResourceStrategy::All, "all");
    let progress = |event: &Event| match event {
        Event::Resource { resource, event: ResourceEvent::Progress { done: 1.., .. }, .. } => Some(*resource),
        _ => None,
    };
    let sent = pair.send(pattern(HUGE), None, Compression::Never);
    assert_eq!(pair.endpoint.wait_many("progress", 1, PATIENCE, progress), [sent]);
    pair.endpoint.on_link(pair.link, move |link| link.cancel_resource(sent)).unwrap();
    assert_eq!(pair.wait_outcome(sent), ResourceOutcome::Cancelled);
    let got = pair.node.ask(json!({"do": "resources", "link": pair.number, "count": 1, "timeout": 60}));
    assert_eq!(got["resources"][0]["status"], "FAILED");

    let (endpoint, link) = (&pair.endpoint, pair.link);
    let (node, number) = (&mut pair.node, pair.number);
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || {
            node.ask(json!({"do": "send_resource", "link": number, "data": {"len": HUGE}, "compress": false}))
        });
        let incoming = |event: &Event| progress(event).filter(|resource| *resource != sent);
        let arriving = endpoint.wait_many("something arrives", 1, PATIENCE, incoming)[0];
        endpoint.on_link(link, move |link| link.cancel_resource(arriving)).unwrap();
        let sent = sending.join().unwrap();
        assert_eq!(sent["status"], "REJECTED");
    });
}

#[test]
fn the_reference_cancels_resources_of_both_directions() {
    let Some(python) = reference::interpreter() else { return };
    let mut pair = Pair::start(&python, ResourceStrategy::All, "all");
    let sent = pair.send(pattern(HUGE), None, Compression::Never);
    pair.node.ask(json!({"do": "cancel_resources", "link": pair.number, "at": 0.01, "timeout": 60}));
    assert_eq!(pair.wait_outcome(sent), ResourceOutcome::Rejected);

    // What the reference cancels is the segment it began with: where that is through already, it is asked again.
    let cancelled = (0..10).any(|_| {
        let sent = pair.node.ask(json!({
            "do": "send_resource", "link": pair.number, "data": {"len": HUGE}, "compress": false, "cancel_at": 0.001,
            "timeout": 60,
        }));
        sent["status"] == "FAILED"
    });
    assert!(cancelled);
    let failed = |event: &Event| match event {
        Event::Resource { event: ResourceEvent::Ended(ResourceOutcome::Failed), .. } => Some(()),
        _ => None,
    };
    pair.endpoint.wait_many("its end", 1, PATIENCE, failed);
}
