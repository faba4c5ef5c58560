//! Programs that share a node's interfaces, against `tests/vectors/core/local_client.json`.

mod support;

use std::time::Duration;

use support::{Bench, Sent, by_interface, bytes, cases, expected_frames, name};
use wend_packet::stack::{PathRequestRef, path_request_destination};
use wend_packet::wire::PacketRef;

/// Path requests made for others carry a fresh tag; all else in them is given.
fn without_tags(sent: Vec<Sent>) -> Vec<Sent> {
    let strip = |mut sent: Sent| {
        let packet = PacketRef::parse(&sent.frame).unwrap();
        if packet.destination() == path_request_destination() {
            let tag = PathRequestRef::parse(packet.data()).unwrap().tag.len();
            assert_eq!(tag, 16);
            let rest = sent.frame.len() - tag;
            sent.frame.truncate(rest);
        }
        sent
    };
    sent.into_iter().map(strip).collect()
}

#[test]
fn programs_are_served_as_by_the_reference() {
    for case in cases("core/local_client", 15) {
        let mut bench = Bench::new(&case["given"]);
        assert_eq!(bench.stack.transport_id().as_ref(), bytes(&case["node_transport_id"]));
        for (index, event) in case["events"].as_array().unwrap().iter().enumerate() {
            bench.take_sent();
            if let Some(seconds) = event["advance"].as_u64() {
                bench.advance(Duration::from_secs(seconds));
            } else {
                bench.receive(event["received_on"].as_str().unwrap(), &bytes(&event["raw"]));
            }
            let (mut sent, mut expected) = (by_interface(bench.take_sent()), expected_frames(&event["sent"]));
            if case["fresh_random"] == true {
                (sent, expected) = (without_tags(sent), without_tags(expected));
            }
            assert_eq!(sent, expected, "{}: event {index}", name(&case));
        }
        let paths: Vec<_> = bench
            .stack
            .paths()
            .map(|path| {
                let on = bench.name_of(path.on).to_owned();
                (path.destination.as_ref().to_vec(), path.next_hop.as_ref().to_vec(), u64::from(path.hops), on)
            })
            .collect();
        let expected = case["path_table"].as_array().unwrap().iter().map(|path| {
            let on = path["interface"].as_str().unwrap().to_owned();
            (bytes(&path["destination"]), bytes(&path["next_hop"]), path["hops"].as_u64().unwrap(), on)
        });
        assert_eq!(paths, expected.collect::<Vec<_>>(), "{}", name(&case));
    }
}
