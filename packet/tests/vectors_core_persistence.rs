//! The reference's files against `tests/vectors/core/`: read into the right values, written byte for byte.

mod support;

use serde_json::Value;
use support::{array, bytes, cases, identity, maybe_bytes, name};
use wend_packet::announce::{AnnounceRef, RandomHash};
use wend_packet::identity::Identity;
use wend_packet::persist::announces::CachedAnnounce;
use wend_packet::persist::blackhole::{StoredBlackhole, Until};
use wend_packet::persist::known::{KnownDestination, LastUse};
use wend_packet::persist::paths::StoredPath;
use wend_packet::persist::ratchets::HeardRatchet;
use wend_packet::persist::tunnels::StoredTunnel;
use wend_packet::persist::{self, announces, blackhole, known, packet_hashes, paths, ratchets, tunnels};
use wend_packet::wire::PacketRef;
use wend_packet::{IdentityHash, PacketHash};

/// The announces a node received: when, and the frame.
fn received(case: &Value) -> Vec<(f64, Vec<u8>)> {
    let heard = case["given"]["received"].as_array().unwrap();
    heard.iter().map(|heard| (heard["at"].as_f64().unwrap(), bytes(&heard["raw"]))).collect()
}

fn known_of(case: &Value) -> Vec<KnownDestination> {
    let given = &case["given"];
    let named = |list: &str, of: &str| given[list].as_array().is_some_and(|list| list.iter().any(|one| one == of));
    let known = received(case).into_iter().map(|(heard, frame)| {
        let packet = PacketRef::parse(&frame).unwrap();
        let announce = AnnounceRef::parse(&packet).unwrap();
        let destination = announce.destination.to_string();
        let nothing = announce.ratchet.is_none() && announce.app_data.is_empty();
        KnownDestination {
            destination: announce.destination,
            heard,
            packet: packet.hash(),
            public_key: *announce.public_key,
            app_data: (!nothing).then(|| announce.app_data.to_vec()),
            last_use: match (named("used", &destination), named("retained", &destination)) {
                (true, _) => LastUse::At(given["used_at"].as_f64().unwrap()),
                (_, true) => LastUse::Retained,
                _ => LastUse::Never,
            },
        }
    });
    known.collect()
}

fn paths_of(case: &Value) -> Vec<StoredPath> {
    let paths = received(case).into_iter().map(|(used, frame)| {
        let packet = PacketRef::parse(&frame).unwrap();
        let announce = AnnounceRef::parse(&packet).unwrap();
        StoredPath {
            destination: announce.destination,
            used,
            next_hop: packet.transport_id().unwrap_or(IdentityHash::new(*announce.destination.as_bytes())),
            hops: packet.hops() + 1,
            expires: used + wend_packet::stack::PATH_LIFETIME.as_secs_f64(),
            random_hashes: vec![announce.random],
            interface: Some(array(&case["interface_hash"])),
            packet: packet.hash(),
        }
    });
    paths.collect()
}

fn tunnels_of(case: &Value) -> Vec<StoredTunnel> {
    // The file names the interface the tunnel is on, also for paths that carry none of their own.
    let interface = Some(wend_packet::hash::sha256(&[b"VectorInterface[a]"]));
    let listed = case["given"]["tunnels"].as_array().into_iter().flatten();
    let tunnels = listed.map(|tunnel| {
        let paths = tunnel["paths"].as_array().unwrap().iter().map(|path| StoredPath {
            destination: array::<16>(&path["destination"]).into(),
            used: path["time"].as_f64().unwrap(),
            next_hop: array::<16>(&path["next_hop"]).into(),
            hops: path["hops"].as_u64().unwrap() as u8,
            expires: path["expires"].as_f64().unwrap(),
            random_hashes: path["random_blobs"]
                .as_array()
                .unwrap()
                .iter()
                .map(array)
                .map(RandomHash::from_bytes)
                .collect(),
            interface,
            packet: array::<32>(&path["packet_hash"]).into(),
        });
        StoredTunnel {
            id: array(&tunnel["tunnel_id"]),
            interface,
            paths: paths.collect(),
            expires: tunnel["expires"].as_f64().unwrap(),
        }
    });
    tunnels.collect()
}

fn blackholed_of(case: &Value) -> Vec<StoredBlackhole> {
    let listed = case["given"]["blackhole"].as_array().unwrap().iter().map(|entry| StoredBlackhole {
        identity: array::<16>(&entry["identity_hash"]).into(),
        source: array::<16>(&entry["source"]).into(),
        until: match (&entry["until"].as_i64(), entry["until"].as_f64()) {
            (Some(whole), _) => Some(Until::Whole(*whole)),
            (None, fraction) => fraction.map(Until::Fraction),
        },
        reason: entry["reason"].as_str().map(str::to_owned),
    });
    listed.collect()
}

#[test]
fn files_are_read_and_written_as_the_reference_does() {
    for case in cases("core/persistence", 12) {
        let file = bytes(&case["file_bytes"]);
        let path = case["path"].as_str().unwrap();
        let kind = path.strip_prefix("storage/").unwrap().split('/').next().unwrap();
        let (read, written) = match kind {
            "known_destinations" => {
                let known = known_of(&case);
                (known::read(&file).unwrap() == known, known::write(known.iter()))
            }
            "destination_table" => {
                let paths = paths_of(&case);
                (paths::read(&file).unwrap() == paths, paths::write(&paths))
            }
            "cache" => {
                let hash: PacketHash = path.rsplit('/').next().unwrap().parse().unwrap();
                let is_it = |frame: &Vec<u8>| PacketRef::parse(frame).unwrap().hash() == hash;
                let (_, frame) = received(&case).into_iter().find(|(_, frame)| is_it(frame)).unwrap();
                let cached = CachedAnnounce { frame, interface: Some("VectorInterface[a]".to_owned()) };
                (announces::read(&file).unwrap() == cached, announces::write(&cached))
            }
            "ratchets" => {
                let heard = received(&case).into_iter().find_map(|(received, frame)| {
                    let packet = PacketRef::parse(&frame).unwrap();
                    let ratchet = *AnnounceRef::parse(&packet).unwrap().ratchet?;
                    Some(HeardRatchet { ratchet, received })
                });
                (ratchets::read_heard(&file).ok() == heard, ratchets::write_heard(&heard.unwrap()))
            }
            "packet_hashlist.raw" => {
                let hashes = case["given"]["packet_hashes"].as_array().unwrap();
                let hashes: Vec<PacketHash> = hashes.iter().map(|hash| array::<32>(hash).into()).collect();
                // Cut short in the middle of a second hash.
                let cut = [&file[..], &[1; 31]].concat();
                (packet_hashes::read(&cut).eq(hashes.iter().copied()), packet_hashes::write(hashes))
            }
            "tunnels" => {
                let tunnels = tunnels_of(&case);
                (tunnels::read(&file).unwrap() == tunnels, tunnels::write(&tunnels))
            }
            "blackhole" => {
                let entries = blackholed_of(&case);
                (blackhole::read(&file).unwrap() == entries, blackhole::write(&entries))
            }
            "transport_identity" => {
                let node = identity(&case["given"]["node_private_key"]);
                let read = Identity::from_slice(&file).unwrap().hash() == node.hash();
                (read, node.to_private_bytes().to_vec())
            }
            other => panic!("unknown file {other}"),
        };
        assert!(read, "{}: other values than those stored", name(&case));
        assert_eq!(written, file, "{}", name(&case));
    }
}

#[test]
fn ratchets_heard_from_others_are_used_for_30_days() {
    for case in cases("core/ratchet_known", 7) {
        let file = bytes(&case["file_bytes"]);
        let now = case["now"].as_f64().unwrap();
        let used: Option<[u8; 32]> = maybe_bytes(&case["used"]).map(|key| key.try_into().unwrap());
        match case["operation"].as_str().unwrap() {
            "read" => {
                let heard = ratchets::read_heard(&file).ok().filter(|heard| heard.is_usable(now));
                assert_eq!(heard.map(|heard| heard.ratchet), used, "{}", name(&case));
            }
            "write" => {
                let heard = HeardRatchet { ratchet: used.unwrap(), received: now };
                assert_eq!(ratchets::write_heard(&heard), file, "{}", name(&case));
            }
            other => panic!("unknown operation {other}"),
        }
    }
}

#[test]
fn old_and_odd_entries_are_taken_as_the_reference_takes_them() {
    let case = &cases("core/persistence", 12)[0];
    let file = bytes(&case["file_bytes"]);
    let all = known::read(&file).unwrap();
    // The first entry without its last field, as older versions wrote it; the second under a key of 15 bytes.
    let four = [&[0x83, 0xc4, 0x10][..], all[0].destination.as_ref(), &[0x94]].concat();
    let rest = &file[four.len()..];
    let second =
        rest.windows(18).position(|at| at[..2] == [0xc4, 0x10] && &at[2..] == all[1].destination.as_ref()).unwrap();
    let third =
        rest.windows(18).position(|at| at[..2] == [0xc4, 0x10] && &at[2..] == all[2].destination.as_ref()).unwrap();
    let without_last_use = &rest[..second - 1];
    let short_key = [&[0xc4, 0x0f][..], &rest[second + 3..third]].concat();
    let odd = [&four[..], without_last_use, &short_key, &rest[third..]].concat();
    assert_eq!(known::read(&odd).unwrap(), [all[0].clone(), all[2].clone()]);
    let twice = known::write([&all[0], &all[0]].into_iter());
    assert_eq!(known::read(&twice), Err(persist::FileError::DuplicateKey));
    assert!(known::read(&file[..file.len() - 1]).is_err());
    assert_eq!(known::read(&[&file[..], b"more"].concat()).unwrap(), all, "what follows is ignored");
}

#[test]
fn stored_destinations_are_kept_as_long_as_they_are_of_use() {
    let now = 1_700_000_000.0;
    let some = known_of(&cases("core/persistence", 12)[0]).remove(0);
    for case in cases("core/known_destination_cleaning", 7) {
        let last_use = match case["last_use"].as_i64().unwrap() {
            0 => LastUse::Never,
            -1 => LastUse::Retained,
            ago => LastUse::At(now - ago as f64),
        };
        let heard = now - case["seconds_since_announce"].as_f64().unwrap();
        let known = KnownDestination { heard, last_use, ..some.clone() };
        assert_eq!(known.is_kept(now, case["has_path"] == true), case["kept"] == true, "{}", name(&case));
    }
}

#[test]
fn stored_times_become_whole_seconds_whatever_they_are() {
    for (time, seconds) in [(1_700_000_000.75, 1_700_000_000), (-3.0, 0), (f64::NAN, 0), (f64::INFINITY, 0), (1e300, 0)]
    {
        assert_eq!(persist::whole_seconds(time).0, seconds, "{time}");
    }
}
