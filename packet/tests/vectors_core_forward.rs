//! Carrying packets for others, and sending own ones, against `tests/vectors/core/forward.json`.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Bench, Sent, by_interface, bytes, cases, expected_frames, identity, name};
use wend_packet::announce::AnnounceRef;
use wend_packet::stack::{PathRecord, Snapshot};
use wend_packet::wire::{PacketKind, PacketRef};
use wend_packet::{DestinationHash, LinkId};

#[test]
fn packets_are_carried_and_sent_as_by_the_reference() {
    for case in cases("core/forward", 33) {
        let given = &case["given"];
        let mut bench = Bench::new(given);
        assert_eq!(bench.stack.transport_id().as_ref(), bytes(&case["node_transport_id"]));
        for event in case["events"].as_array().unwrap() {
            bench.take_sent();
            if let Some(seconds) = event["advance"].as_u64() {
                bench.advance(Duration::from_secs(seconds));
            } else if let Some(what) = event["originated"].as_str() {
                originate(&mut bench, given, what);
                assert_originated(&bench.take_sent(), &expected_frames(&event["sent"]), given, name(&case));
            } else {
                bench.receive(event["received_on"].as_str().unwrap(), &bytes(&event["raw"]));
                let sent = by_interface(bench.take_sent());
                assert_eq!(sent, expected_frames(&event["sent"]), "{}", name(&case));
            }
        }
        assert_path_table(&bench, &case);
        assert_link_table(&bench, &case);
        assert_reverse_table(&mut bench, &case);
    }
}

fn originate(bench: &mut Bench, given: &Value, what: &str) {
    if what.starts_with("announce") {
        let own = support::local_destination(&given["local"][0]).hash();
        bench.stack.announce(bench.now, own, &[]).unwrap();
    } else {
        let to = DestinationHash::from_slice(&bytes(&given["destination"]["destination_hash"])).unwrap();
        if bench.stack.identity_of(to).is_none() {
            know(bench, given, to);
        }
        bench.stack.send(bench.now, to, b"mine").unwrap();
    }
    bench.settle();
}

/// The key of the destination is known, but no path: as after a restart.
fn know(bench: &mut Bench, given: &Value, destination: DestinationHash) {
    use wend_packet::announce::{RandomHash, announce};
    use wend_packet::wire::Context;
    let remote = &given["destination"];
    let random = RandomHash::new([0; 5], bench.now.unix);
    let name = support::destination_name(remote).hash();
    let heard = announce(&identity(&remote["private_key"]), name, random, None, &[], Context::NONE).unwrap();
    let record = PathRecord::heard(destination, &heard.encode()[..], bench.now.unix);
    bench.stack.restore(Snapshot { paths: vec![record], ..Default::default() });
}

/// Own packets hold fresh randomness: headers must agree, content must decrypt or verify.
fn assert_originated(sent: &[Sent], expected: &[Sent], given: &Value, name: &str) {
    assert_eq!(sent.len(), expected.len(), "{name}");
    for (sent, expected) in by_interface(sent.to_vec()).iter().zip(expected) {
        assert_eq!(sent.on, expected.on, "{name}");
        let (ours, theirs) = (PacketRef::parse(&sent.frame).unwrap(), PacketRef::parse(&expected.frame).unwrap());
        assert_eq!(
            (ours.flags(), ours.hops(), ours.transport_id(), ours.destination(), ours.context()),
            (theirs.flags(), theirs.hops(), theirs.transport_id(), theirs.destination(), theirs.context()),
            "{name}"
        );
        if ours.flags().packet() == PacketKind::Announce {
            AnnounceRef::parse(&ours).unwrap().verify().unwrap();
            continue;
        }
        let owner = identity(&given["destination"]["private_key"]);
        for packet in [ours, theirs] {
            assert_eq!(owner.decrypt(packet.data(), &[], false).unwrap().plaintext, b"mine", "{name}");
        }
    }
}

fn assert_path_table(bench: &Bench, case: &Value) {
    let mut paths: Vec<_> = bench
        .stack
        .paths()
        .map(|path| {
            let on = bench.name_of(path.on).to_owned();
            (path.destination.as_bytes().to_vec(), path.next_hop.as_bytes().to_vec(), u64::from(path.hops), on)
        })
        .collect();
    let mut expected: Vec<_> = case["path_table"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| {
            let on = path["interface"].as_str().unwrap().to_owned();
            (bytes(&path["destination"]), bytes(&path["next_hop"]), path["hops"].as_u64().unwrap(), on)
        })
        .collect();
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected, "{}", name(case));
}

fn assert_link_table(bench: &Bench, case: &Value) {
    let links: Vec<_> = bench.stack.relayed_links().collect();
    let expected = case["link_table"].as_array().unwrap();
    assert_eq!(links.len(), expected.len(), "{}", name(case));
    for expected in expected {
        let id = LinkId::from_slice(&bytes(&expected["link_id"])).unwrap();
        let link = links.iter().find(|link| link.id == id).unwrap_or_else(|| panic!("{}: no {id}", name(case)));
        assert_eq!(u64::from(link.hops_to_responder), expected["remaining_hops"].as_u64().unwrap(), "{}", name(case));
        assert_eq!(u64::from(link.hops_to_initiator), expected["taken_hops"].as_u64().unwrap(), "{}", name(case));
        assert_eq!(link.destination.as_ref(), bytes(&expected["destination"]), "{}", name(case));
        assert_eq!(bench.name_of(link.towards_responder), expected["next_hop_interface"].as_str().unwrap());
        assert_eq!(bench.name_of(link.towards_initiator), expected["received_interface"].as_str().unwrap());
        assert_eq!(link.proved, expected["validated"] == true, "{}", name(case));
    }
}

/// The reverse table shows by what it does: a proof for each entry goes back where the packet came from.
fn assert_reverse_table(bench: &mut Bench, case: &Value) {
    for entry in case["reverse_table"].as_array().unwrap() {
        let mut proof = vec![0x03, 0x00];
        proof.extend(bytes(&entry["key"]));
        proof.push(0x00);
        proof.extend([0x5a; 64]);
        bench.take_sent();
        bench.receive(entry["outbound"].as_str().unwrap(), &proof);
        proof[1] = 1;
        let on = entry["received"].as_str().unwrap().to_owned();
        assert_eq!(bench.take_sent(), [Sent { on, frame: proof }], "{}", name(case));
    }
}
