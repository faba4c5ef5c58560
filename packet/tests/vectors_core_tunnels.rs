//! Tunnels against `tests/vectors/core/`.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Bench, array, bytes, cases, identity, name};
use wend_packet::DestinationHash;
use wend_packet::hash::{InterfaceHash, TunnelId};
use wend_packet::stack::{Input, TunnelRef, tunnel_destination, tunnel_packet};
use wend_packet::wire::PacketRef;

#[test]
fn tunnels_are_made_and_checked_as_by_the_reference() {
    let mut made = 0;
    for case in cases("core/tunnel", 13) {
        let raw = bytes(&case["raw"]);
        let mut bench = Bench::new(&serde_json::json!({ "interfaces": { "a": {} } }));
        bench.receive("a", &raw);
        let tunnels: Vec<_> = bench.stack.tunnels().collect();
        assert_eq!(tunnels.len() == 1, case["accepted"] == true, "{}", name(&case));
        if case["accepted"] == true {
            assert_eq!(tunnels[0].id.as_ref(), bytes(&case["tunnel_id"]), "{}", name(&case));
            assert_eq!((tunnels[0].on, tunnels[0].paths), (Some(bench.id("a")), 0), "{}", name(&case));
        }
        if case["private_key"].is_null() {
            continue;
        }
        made += 1;
        let interface = InterfaceHash::of(case["interface_name"].as_str().unwrap());
        assert_eq!(interface.as_ref(), bytes(&case["interface_hash"]), "{}", name(&case));
        let packet = tunnel_packet(&identity(&case["private_key"]), interface, array(&case["random_hash"]));
        assert_eq!(packet.destination, tunnel_destination());
        assert_eq!(packet.encode(), raw, "{}", name(&case));
        assert_eq!(raw.len() as u64, case["length"].as_u64().unwrap(), "{}", name(&case));
        let read = PacketRef::parse(&raw).unwrap();
        assert_eq!(TunnelRef::parse(read.data()).unwrap().id().as_ref(), bytes(&case["tunnel_id"]), "{}", name(&case));
    }
    assert_eq!(made, 4);
}

fn path_of(bench: &Bench, destination: DestinationHash, on: &Value) -> Option<(Vec<u8>, u64, String)> {
    let path = bench.stack.path(destination).filter(|path| on.is_null() || bench.name_of(path.on) == on)?;
    Some((path.next_hop.as_ref().to_vec(), u64::from(path.hops), bench.name_of(path.on).to_owned()))
}

fn expected(path: &Value) -> Option<(Vec<u8>, u64, String)> {
    let on = path["interface"].as_str()?.to_owned();
    Some((bytes(&path["next_hop"]), path["hops"].as_u64().unwrap(), on))
}

#[test]
fn paths_come_back_with_their_tunnel() {
    for case in cases("core/tunnel_restore", 6) {
        let mut given = case["given"].clone();
        // It is added later.
        let later = given["interfaces"].as_object_mut().unwrap().remove("b").unwrap();
        let mut bench = Bench::new(&given);
        let destination = DestinationHash::from_slice(&bytes(&case["destination"])).unwrap();
        let start = bench.now.mono;
        let events = case["events"].as_array().unwrap();
        for (index, event) in events.iter().enumerate() {
            if index + 1 == events.len() && case["path_before"]["interface"] != "a" {
                let before = path_of(&bench, destination, &Value::Null);
                assert_eq!(before, expected(&case["path_before"]), "{}", name(&case));
            }
            if let Some(time) = event["set_time"].as_f64() {
                let at = start + Duration::from_secs_f64(time - support::START as f64);
                let by = at.since(bench.now.mono);
                if event["run_jobs"] == true { bench.advance(by) } else { bench.skip(by) }
            } else if let Some(removed) = event["remove_interface"].as_str() {
                let down = Input::InterfaceDown { id: bench.id(removed) };
                bench.input(down);
                bench.up(event["add_interface"].as_str().unwrap(), support::profile(&later));
            } else if event["drop_path"].is_string() {
                bench.stack.expire_path(destination);
                bench.settle();
            } else {
                bench.receive(event["on"].as_str().unwrap(), &bytes(&event["raw"]));
            }
        }
        let after = &case["path_after"];
        assert_eq!(path_of(&bench, destination, &Value::Null), expected(after), "{}", name(&case));
        if let Some(expires) = after["expires"].as_f64() {
            let expires = start + Duration::from_secs_f64(expires - support::START as f64);
            assert_eq!(bench.stack.path(destination).unwrap().expires, expires, "{}", name(&case));
        }
        let id = TunnelId::from_slice(&bytes(&case["tunnel_id"])).unwrap();
        let tunnel = bench.stack.tunnels().find(|tunnel| tunnel.id == id).unwrap();
        assert_eq!(tunnel.on, Some(bench.id("b")), "{}", name(&case));
        let paths: Vec<_> = bench.stack.tunnel_paths(&id).map(|path| path.as_ref().to_vec()).collect();
        let expected: Vec<_> = case["tunnel_paths_after"].as_array().unwrap().iter().map(bytes).collect();
        assert_eq!(paths, expected, "{}", name(&case));
    }
}
