//! Ratchets of one's own against `tests/vectors/core/`, on a whole stack.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{array, bytes, cases, identity, maybe_bytes, name};
use wend_packet::DestinationHash;
use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::persist::{FileError, ratchets};
use wend_packet::ratchet::{RatchetKey, Ratchets};
use wend_packet::stack::{Destination, Output, Stack, StackConfig};
use wend_packet::testing::TestRng;
use wend_packet::time::{Instant, Now, UnixTime};

#[test]
fn ratchets_have_the_ids_of_the_reference() {
    for case in cases("core/ratchet", 10) {
        let ratchet = RatchetKey::new(array(&case["ratchet_private"]));
        assert_eq!(ratchet.public().to_vec(), bytes(&case["ratchet_public"]), "{}", name(&case));
        assert_eq!(ratchet.id().as_ref(), bytes(&case["ratchet_id"]), "{}", name(&case));
    }
}

fn actions(case: &Value) -> impl Iterator<Item = &Value> {
    case["given"]["actions"].as_array().unwrap().iter()
}

fn restarts(action: &Value) -> bool {
    ["enable", "restart_and_enable"].contains(&action["do"].as_str().unwrap())
}

/// A node with one destination, which keeps what it is told to keep.
struct Owner {
    identity: Identity,
    stack: Stack,
    destination: DestinationHash,
    file: Vec<u8>,
}

impl Owner {
    /// Begins with what was stored; from then on randomness is what the announces of `to_come` are to make of it.
    fn start<'a>(identity: Identity, ratchets: Ratchets, to_come: impl Iterator<Item = &'a Value>) -> Self {
        let random = to_come.filter(|action| action["do"] == "announce");
        let random: Vec<u8> = random.flat_map(|action| [bytes(&action["new_key"]), vec![0; 5]].concat()).collect();
        let config = StackConfig::new(Identity::generate(&mut TestRng::seeded(1)));
        let mut stack = Stack::new(config, Box::new(TestRng::scripted(&random)));
        let own = Destination::new(identity.clone(), DestinationName::new("ratchets", &[]).unwrap());
        let destination = stack.register(Destination { ratchets: Some(ratchets), ..own }).unwrap();
        let file = stack.ratchet_file(destination).unwrap().to_vec();
        Self { identity, stack, destination, file }
    }

    fn announce(&mut self, at: f64) {
        let unix = UnixTime(at as u64);
        let now = Now { mono: Instant::ZERO + Duration::from_secs(unix.0 - 1_600_000_000), unix };
        self.stack.announce(now, self.destination, b"").unwrap();
        while let Some(output) = self.stack.poll_output() {
            if output == Output::RatchetsChanged(self.destination) {
                self.file = self.stack.ratchet_file(self.destination).unwrap().to_vec();
            }
        }
    }
}

fn privates(keys: &[RatchetKey]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.private().to_vec()).collect()
}

fn listed(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

#[test]
fn a_file_of_ratchets_goes_through_its_life_as_in_the_reference() {
    let cases = cases("core/ratchet_files", 11);
    let all: Vec<&Value> = cases.iter().flat_map(actions).collect();
    let mut done = 0;
    let mut owner: Option<Owner> = None;
    for case in &cases {
        let signer = identity(&case["private_key"]);
        for action in actions(case) {
            done += 1;
            let to_come = || all[done..].iter().copied().take_while(|action| !restarts(action));
            match action["do"].as_str().unwrap() {
                "enable" | "restart_and_enable" => {
                    let stored = maybe_bytes(&action["file"]);
                    let opened = stored.map_or(Ok(Some(Vec::new())), |file| ratchets::open(signer.public(), &file));
                    match (opened, case["error"].is_string()) {
                        (Ok(Some(keys)), false) => {
                            let ratchets = Ratchets::restored(keys);
                            owner = Some(Owner::start(signer.clone(), ratchets, to_come()));
                        }
                        (Err(error), true) => {
                            assert_eq!((error, &case["ratchets_loaded"]), (FileError::Signature, &Value::Bool(false)));
                        }
                        (Ok(None), false) => assert_eq!(case["ratchets_loaded"], false, "{}", name(case)),
                        (other, _) => panic!("{}: {other:?}", name(case)),
                    }
                }
                "announce" => owner.as_mut().unwrap().announce(action["at"].as_f64().unwrap()),
                "set_retained" => {
                    let owner = owner.as_mut().unwrap();
                    let retained = action["count"].as_u64().unwrap() as usize;
                    owner.stack.ratchets_mut(owner.destination).unwrap().set_retained(retained);
                }
                "write" => {
                    let keys: Vec<_> = listed(&action["ratchets_newest_first"])
                        .into_iter()
                        .map(|key| RatchetKey::new(key.try_into().unwrap()))
                        .collect();
                    let file = ratchets::seal(&signer, &keys).to_vec();
                    let given = Ratchets::restored(keys);
                    owner = Some(Owner { file, ..Owner::start(signer.clone(), given, to_come()) });
                }
                other => panic!("unknown action {other}"),
            }
        }
        if case["ratchets_loaded"] == false {
            continue;
        }
        let owner = owner.as_ref().unwrap();
        assert_eq!(owner.file, bytes(&case["file_bytes"]), "{}", name(case));
        let stored = ratchets::open(owner.identity.public(), &owner.file).unwrap().unwrap();
        assert_eq!(privates(&stored), listed(&case["ratchets_newest_first"]), "{}", name(case));
        let kept = owner.stack.ratchets(owner.destination).unwrap().newest_first();
        assert_eq!(privates(kept), listed(&case["memory_newest_first"]), "{}", name(case));
    }
}
