//! Links in transit and at their ends, as the routing machine sees them, against `tests/vectors/link/transport.json`.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Bench, Sent, array, bytes, cases, identity, name, profile};
use wend_packet::announce::{RandomHash, announce};
use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::link::{LinkState, Signalling};
use wend_packet::stack::{PathRecord, Snapshot, Stack, StackConfig};
use wend_packet::testing::TestRng;
use wend_packet::time::UnixTime;
use wend_packet::wire::{Context, Packet, PacketRef};
use wend_packet::{DestinationHash, IdentityHash, LinkId};

/// The destination all cases are about; its private key stands in those where it is local.
fn responder(all: &[Value]) -> Identity {
    let local = all.iter().find(|case| case["given"]["local"].is_array()).unwrap();
    identity(&local["given"]["local"][0]["private_key"])
}

/// The announce of `owner`, as heard from the path's next hop.
fn announce_at(owner: &Identity, hops: u8, next_hop: &Value) -> Packet {
    let name = DestinationName::new("vectors", &["link"]).unwrap().hash();
    let random = RandomHash::new([0; 5], UnixTime(support::START - 60));
    let heard = announce(owner, name, random, None, &[], Context::NONE).unwrap();
    let transport_id = (hops > 1).then(|| IdentityHash::new(array(next_hop)));
    Packet { hops: hops - 1, transport_id, ..heard }
}

fn frames(of: &Value) -> Vec<Sent> {
    let sent = |pair: &Value| Sent { on: pair[0].as_str().unwrap().to_owned(), frame: bytes(&pair[1]) };
    of.as_array().unwrap().iter().map(sent).collect()
}

#[test]
fn links_pass_and_end_here_as_in_the_reference() {
    let all = cases("link/transport", 29);
    let owner = responder(&all);
    for case in &all {
        match name(case).split_once('-').unwrap().0 {
            "request" => relay_request(case, &owner),
            "proof" => relay_proof(case, &owner),
            "terminus" => terminus(case, &owner),
            "local" => local(case),
            "shared" => shared(case, &owner),
            _ => panic!("{} is not known here", name(case)),
        }
    }
}

fn relay_request(case: &Value, owner: &Identity) {
    let mut given = case["given"].clone();
    given["interfaces"] = json!({ "A": case["receiving_interface"], "B": case["outbound_interface"] });
    let mut bench = Bench::new(&given);
    assert_eq!(bench.stack.transport_id().as_ref(), bytes(&case["node_identity_hash"]));
    let hops = case["path_hops"].as_u64().unwrap() as u8;
    bench.receive("B", &announce_at(owner, hops, &case["next_hop"]).encode());
    bench.take_sent();
    let raw = bytes(&case["received_raw"]);
    bench.receive("A", &raw);
    assert_eq!(bench.take_sent(), frames(&case["forwarded"]), "{}", name(case));
    let entry = &case["link_entry"];
    let links: Vec<_> = bench.stack.relayed_links().collect();
    assert_eq!(links.is_empty(), entry.is_null(), "{}", name(case));
    let Some(link) = links.first() else { return };
    assert_eq!(link.id.as_ref(), bytes(&entry["link_id"]), "{}", name(case));
    assert_eq!(u64::from(link.hops_to_responder), entry["remaining_hops"].as_u64().unwrap(), "{}", name(case));
    assert_eq!(u64::from(link.hops_to_initiator), entry["taken_hops"].as_u64().unwrap(), "{}", name(case));
    assert_eq!(link.proved, entry["validated"] == true, "{}", name(case));
    // The entry goes at its proof timeout. The reference wrote its time down a little later.
    let timeout = Duration::from_secs_f64(entry["proof_timeout_in"].as_f64().unwrap());
    let margin = Duration::from_millis(1);
    bench.advance(timeout - margin);
    assert_eq!(bench.stack.relayed_links().count(), 1, "{}", name(case));
    bench.advance(margin * 2);
    assert_eq!(bench.stack.relayed_links().count(), 0, "{}", name(case));
}

fn relay_proof(case: &Value, owner: &Identity) {
    let given = &case["given"];
    // A path without a known identity: room for one identity only, and another announce comes after.
    let unknown = given["known"].as_array().unwrap().is_empty();
    let mut bench = Bench::with(given, |config| {
        if unknown {
            config.capacities.known = 1;
        }
    });
    let path = &given["path"];
    let hops = path["hops"].as_u64().unwrap() as u8;
    let on = path["interface"].as_str().unwrap();
    bench.receive(on, &announce_at(owner, hops, &path["next_hop"]).encode());
    if unknown {
        let other = Identity::generate(&mut TestRng::seeded(9));
        bench.receive(on, &announce_at(&other, 1, &Value::Null).encode());
    }
    let request = &given["request_received"];
    bench.receive(request["on"].as_str().unwrap(), &bytes(&request["raw"]));
    let id = LinkId::from_slice(&bytes(&case["link_id"])).unwrap();
    let then: &[Value] = case["then"].as_array().map_or(&[], Vec::as_slice);
    let (before, after): (Vec<_>, Vec<_>) = then.iter().partition(|step| step["what"] == "before-validation");
    let step = |bench: &mut Bench, step: &Value| {
        bench.take_sent();
        bench.receive(step["received_on"].as_str().unwrap(), &bytes(&step["received_raw"]));
        assert_eq!(bench.take_sent(), frames(&step["forwarded"]), "{}: {}", name(case), step["what"]);
    };
    before.into_iter().for_each(|then| step(&mut bench, then));
    step(&mut bench, case);
    let link = bench.stack.relayed_links().find(|link| link.id == id).unwrap();
    assert_eq!(link.proved, case["validated"] == true, "{}", name(case));
    assert_eq!(u64::from(link.hops_to_responder), case["remaining_hops"].as_u64().unwrap(), "{}", name(case));
    if link.proved {
        let destination = DestinationHash::from_slice(&bytes(&path["destination_hash"])).unwrap();
        assert_eq!(bench.stack.path(destination).unwrap().hops, link.hops_to_responder, "{}", name(case));
        // A repeated proof is passed on again.
        step(&mut bench, case);
    }
    after.into_iter().for_each(|then| step(&mut bench, then));
}

fn terminus(case: &Value, owner: &Identity) {
    let given = &case["given"];
    let keys = &given["initiator"];
    // The keys of the link are the first randomness the stack draws.
    let script = [bytes(&keys["x25519_prv"]), bytes(&keys["ed25519_seed"])].concat();
    let mut bench = Bench::new(given);
    let config = StackConfig::new(Identity::generate(&mut TestRng::seeded(1)));
    bench.stack = Stack::new(config, Box::new(TestRng::scripted(&script)));
    // The interface carries what the request signals.
    let request = bytes(&keys["request_raw"]);
    let signalled = Signalling::decode(request[request.len() - 3..].try_into().unwrap()).mtu;
    bench.up("A", profile(&json!({ "hw_mtu": signalled.max(1064), "fixed": signalled > 500 })));
    let path_hops = given["path_hops"].as_u64();
    let heard = announce_at(owner, path_hops.unwrap_or(1) as u8, &json!("00".repeat(16))).encode();
    let to = DestinationHash::from_slice(&bytes(&given["known"][0]["destination_hash"])).unwrap();
    if path_hops.is_some() {
        bench.receive("A", &heard);
    } else {
        let record = PathRecord::heard(to, &heard[..], bench.now.unix);
        bench.stack.restore(Snapshot { paths: vec![record], ..Default::default() });
    }
    let id = bench.stack.open_link(bench.now, to).unwrap();
    bench.settle();
    assert_eq!(bench.take_sent(), [Sent { on: "A".to_owned(), frame: request }], "{}", name(case));
    let hops_of = |bench: &mut Bench| u64::from(bench.stack.link(bench.now, id).unwrap().expected_hops());
    assert_eq!(hops_of(&mut bench), case["expected_hops"].as_u64().unwrap(), "{}", name(case));
    let raw = bytes(&case["received_raw"]);
    assert_eq!(u64::from(PacketRef::parse(&raw).unwrap().hops()) + 1, case["received_hops"].as_u64().unwrap());
    bench.skip(Duration::from_millis(40));
    bench.receive("A", &raw);
    let state = match bench.stack.link(bench.now, id).unwrap().state() {
        LinkState::Pending => "PENDING",
        LinkState::Active => "ACTIVE",
        other => panic!("{other:?}"),
    };
    assert_eq!(state, case["status"], "{}", name(case));
    assert_eq!(hops_of(&mut bench), case["expected_hops_after"].as_u64().unwrap(), "{}", name(case));
    let path = bench.stack.path(to).map(|path| u64::from(path.hops));
    assert_eq!(path, case["path_hops_after"].as_u64(), "{}", name(case));
}

fn local(case: &Value) {
    let given = &case["given"];
    let script = bytes(&given["responder_x25519_prv"]);
    let mut bench = Bench::new(given);
    let config = StackConfig::new(Identity::generate(&mut TestRng::seeded(1)));
    bench.stack = Stack::new(config, Box::new(TestRng::scripted(&script)));
    bench.stack.register(support::local_destination(&given["local"][0])).unwrap();
    bench.up("A", profile(&case["interface"]));
    bench.receive("A", &bytes(&case["received_raw"]));
    let frame = bytes(&case["proof_raw"]);
    assert_eq!(bench.take_sent(), [Sent { on: "A".to_owned(), frame }], "{}", name(case));
    let id = LinkId::from_slice(&bytes(&case["expected_link_id"])).unwrap();
    assert_eq!(id.as_ref(), bytes(&case["proof_link_id"]), "{}", name(case));
    let link = bench.stack.link(bench.now, id).unwrap();
    assert_eq!(link.mtu() as u64, case["confirmed_mtu"].as_u64().unwrap(), "{}", name(case));
}

/// A program behind this node opens a link, or is asked for one.
fn shared(case: &Value, owner: &Identity) {
    let mut bench = Bench::new(&case["given"]);
    assert_eq!(bench.stack.transport_id().as_ref(), bytes(&case["node_identity_hash"]));
    let path = &case["given"]["path"];
    let on = path["interface"].as_str().unwrap();
    let heard = match path["hops"].as_u64().unwrap() as u8 {
        0 => announce_at(owner, 1, &path["next_hop"]),
        hops => announce_at(owner, hops, &path["next_hop"]),
    };
    bench.receive(on, &heard.encode());
    bench.advance(Duration::from_secs(10));
    let destination = DestinationHash::from_slice(&bytes(&path["destination_hash"])).unwrap();
    assert_eq!(bench.stack.path(destination).map(|path| u64::from(path.hops)), path["hops"].as_u64());
    for step in case["steps"].as_array().unwrap() {
        bench.take_sent();
        bench.receive(step["received_on"].as_str().unwrap(), &bytes(&step["received_raw"]));
        assert_eq!(bench.take_sent(), frames(&step["forwarded"]), "{}: {}", name(case), step["what"]);
        let link = bench.stack.relayed_links().next().unwrap();
        let entry = &step["link_entry"];
        assert_eq!(u64::from(link.hops_to_responder), entry["remaining_hops"].as_u64().unwrap(), "{}", name(case));
        assert_eq!(u64::from(link.hops_to_initiator), entry["taken_hops"].as_u64().unwrap(), "{}", name(case));
        assert_eq!(link.proved, entry["validated"] == true, "{}", name(case));
    }
}
