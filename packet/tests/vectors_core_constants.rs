//! The constants of the reference against ours.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::name;
use wend_packet::hash::NameHash;
use wend_packet::identity::{KEY_LEN, RATCHET_LEN, SIGNATURE_LEN};
use wend_packet::management;
use wend_packet::stack::{self, Capacities, Footprint, Mode};
use wend_packet::wire::{self, Context, layout};
use wend_packet::{IdentityHash, PacketHash, crypto};
use wend_packet::{access_code, persist, ratchet};

/// Constants of what this node does not have (yet).
const NOT_BUILT: &[&str] = &[
    // The queue of announces and their 2 % share.
    "Reticulum.MAX_QUEUED_ANNOUNCES",
    "Reticulum.QUEUED_ANNOUNCE_LIFE",
    "Reticulum.ANNOUNCE_CAP",
    // Files are the node's business, and it keeps others.
    "Reticulum.RESOURCE_CACHE",
    "Reticulum.JOB_INTERVAL",
    "Reticulum.CLEAN_INTERVAL",
    "Reticulum.PERSIST_INTERVAL",
    "Reticulum.GRACIOUS_PERSIST_INTERVAL",
    "Transport.cache_clean_interval",
    // An answer to a path request is reused within a second instead of by tag.
    "Destination.PR_TAG_WINDOW",
    // Names of ours, and the application answers requests or does not.
    "Destination.PROVE_NONE",
    "Destination.PROVE_APP",
    "Destination.PROVE_ALL",
    "Destination.ALLOW_NONE",
    "Destination.ALLOW_ALL",
    "Destination.ALLOW_LIST",
    // Contexts without a use.
    "Packet.COMMAND",
    "Packet.COMMAND_STATUS",
    "Packet.LINKPROOF",
    // Numbers that never leave the reference.
    "PacketReceipt.FAILED",
    "PacketReceipt.SENT",
    "PacketReceipt.DELIVERED",
    "PacketReceipt.CULLED",
    "Interface.MODE_FULL",
    "Interface.MODE_POINT_TO_POINT",
    "Interface.MODE_ACCESS_POINT",
    "Interface.MODE_ROAMING",
    "Interface.MODE_BOUNDARY",
    "Interface.MODE_GATEWAY",
    "Interface.MODE_INTERNAL",
    // There is no queue before processing, and no start-up that frames would wait for.
    "Transport.INBOUND_DA_QUEUE_LENGTH",
    "Transport.INBOUND_AN_QUEUE_LENGTH",
    "Transport.INBOUND_PR_QUEUE_LENGTH",
    "Transport.INBOUND_IL_QUEUE_LENGTH",
    "Transport.READY_WAIT",
    // The caller waits for a path as long as it likes.
    "Transport.PATH_REQUEST_TIMEOUT",
    // Known destinations are bounded by number, the longest unused leaving first; there is no sweep.
    "Transport.known_destinations_interval",
    // Tunnels, rate control, shared instances.
    "Transport.TUNNEL_TIMEOUT",
    "Transport.TUNNEL_PATH_TIMEOUT",
    "Transport.MAX_RATE_TIMESTAMPS",
    "Transport.LOCAL_CLIENT_CACHE_MAXSIZE",
    "Transport.pending_prs_check_interval",
    "Interface.DEFAULT_AR_TARGET",
    "Interface.DEFAULT_AR_PENALTY",
    "Interface.DEFAULT_AR_GRACE",
    "Interface.EC_BURST_MIN_SAMPLES",
    "Interface.EC_PR_FREQ",
    "Interface.EGRESS_CONTROL",
    // No periodic jobs: everything has a deadline of its own.
    "Transport.job_interval",
    "Transport.links_check_interval",
    "Transport.receipts_check_interval",
    "Transport.announces_check_interval",
];

fn seconds(duration: Duration) -> Value {
    json!(duration.as_secs_f64())
}

fn codes(modes: &[Mode]) -> Value {
    let code = |mode: &Mode| match mode {
        Mode::Full => 1,
        Mode::PointToPoint => 2,
        Mode::AccessPoint => 3,
        Mode::Roaming => 4,
        Mode::Boundary => 5,
        Mode::Gateway => 6,
        Mode::Internal => 7,
    };
    modes.iter().map(code).collect()
}

const MODES: [Mode; 7] =
    [Mode::Full, Mode::PointToPoint, Mode::AccessPoint, Mode::Roaming, Mode::Boundary, Mode::Gateway, Mode::Internal];

fn ours(name: &str) -> Option<Value> {
    let hub = Capacities::of(Footprint::Hub);
    let bits = |bytes: usize| json!(bytes * 8);
    let context = |context: Context| json!(context.0);
    Some(match name {
        "Reticulum.MTU" => json!(wire::MTU),
        "Reticulum.MDU" | "Packet.PLAIN_MDU" => json!(wire::PLAIN_MDU),
        "Packet.ENCRYPTED_MDU" => json!(wire::ENCRYPTED_MDU),
        "Link.MDU" => json!(link_mdu(wire::MTU)),
        "Reticulum.HEADER_MINSIZE" => json!(layout::HEADER_1_LEN),
        "Reticulum.HEADER_MAXSIZE" => json!(layout::HEADER_2_LEN),
        "Reticulum.IFAC_MIN_SIZE" => json!(wire::ACCESS_CODE_MIN),
        "Identity.RATCHET_EXPIRY" => seconds(ratchet::RATCHET_EXPIRY),
        "Destination.RATCHET_COUNT" => json!(ratchet::RATCHETS_RETAINED),
        "Destination.RATCHET_INTERVAL" => seconds(ratchet::RATCHET_INTERVAL),
        "Transport.UNUSED_DESTINATION_LINGER" => seconds(persist::known::UNUSED_LINGER),
        "Transport.PERSIST_RANDOM_BLOBS" => json!(persist::paths::RANDOM_HASHES_KEPT),
        "Reticulum.IFAC_SALT" => json!(hex::encode(access_code::ACCESS_KEY_SALT)),
        "Interface.DEFAULT_IFAC_SIZE" => json!(access_code::ACCESS_CODE_DEFAULT),
        "Reticulum.TRUNCATED_HASHLENGTH" | "Identity.TRUNCATED_HASHLENGTH" => bits(IdentityHash::LEN),
        "Reticulum.MINIMUM_BITRATE" => json!(stack::BITRATE_MIN),
        "Reticulum.DEFAULT_PER_HOP_TIMEOUT" => seconds(stack::PER_HOP_TIMEOUT),
        "Identity.KEYSIZE" => bits(KEY_LEN),
        "Identity.RATCHETSIZE" => bits(RATCHET_LEN),
        "Identity.TOKEN_OVERHEAD" => json!(crypto::Token::OVERHEAD),
        "Identity.HASHLENGTH" => bits(PacketHash::LEN),
        "Identity.SIGLENGTH" => bits(SIGNATURE_LEN),
        "Identity.NAME_HASH_LENGTH" => bits(NameHash::LEN),
        "Identity.DERIVED_KEY_LENGTH" => json!(KEY_LEN),
        "Packet.NONE" => context(Context::NONE),
        "Packet.RESOURCE" => context(Context::RESOURCE),
        "Packet.RESOURCE_ADV" => context(Context::RESOURCE_ADVERTISEMENT),
        "Packet.RESOURCE_REQ" => context(Context::RESOURCE_REQUEST),
        "Packet.RESOURCE_HMU" => context(Context::RESOURCE_HASHMAP_UPDATE),
        "Packet.RESOURCE_PRF" => context(Context::RESOURCE_PROOF),
        "Packet.RESOURCE_ICL" => context(Context::RESOURCE_SENDER_CANCEL),
        "Packet.RESOURCE_RCL" => context(Context::RESOURCE_RECEIVER_CANCEL),
        "Packet.CACHE_REQUEST" => context(Context::CACHE_REQUEST),
        "Packet.REQUEST" => context(Context::REQUEST),
        "Packet.RESPONSE" => context(Context::RESPONSE),
        "Packet.PATH_RESPONSE" => context(Context::PATH_RESPONSE),
        "Packet.CHANNEL" => context(Context::CHANNEL),
        "Packet.KEEPALIVE" => context(Context::KEEPALIVE),
        "Packet.LINKIDENTIFY" => context(Context::LINK_IDENTIFY),
        "Packet.LINKCLOSE" => context(Context::LINK_CLOSE),
        "Packet.LRRTT" => context(Context::LINK_RTT),
        "Packet.LRPROOF" => context(Context::LINK_REQUEST_PROOF),
        "PacketReceipt.EXPL_LENGTH" => json!(PacketHash::LEN + SIGNATURE_LEN),
        "PacketReceipt.IMPL_LENGTH" => json!(SIGNATURE_LEN),
        "Transport.PATHFINDER_M" => json!(stack::HOPS_UNKNOWN),
        "Transport.PATHFINDER_R" => json!(stack::REBROADCASTS - 1),
        "Transport.PATHFINDER_G" => seconds(stack::REBROADCAST_GRACE),
        "Transport.PATHFINDER_RW" => seconds(stack::REBROADCAST_WINDOW),
        "Transport.PATHFINDER_E" | "Transport.DESTINATION_TIMEOUT" => seconds(stack::PATH_LIFETIME),
        "Transport.AP_PATH_TIME" => seconds(stack::PATH_LIFETIME_ACCESS_POINT),
        "Transport.ROAMING_PATH_TIME" => seconds(stack::PATH_LIFETIME_ROAMING),
        "Transport.LOCAL_REBROADCASTS_MAX" => json!(stack::REBROADCASTS_HEARD_MAX),
        "Transport.PATH_REQUEST_GATE_TIMEOUT" => seconds(stack::IN_FLIGHT_LIFETIME),
        "Transport.PATH_REQUEST_GRACE" => seconds(stack::RESPONSE_GRACE),
        "Transport.PATH_REQUEST_RG" => seconds(stack::RESPONSE_GRACE_ROAMING),
        "Transport.PATH_REQUEST_MI" => seconds(stack::REQUEST_INTERVAL_MIN),
        "Transport.mgmt_announce_interval" => seconds(management::ANNOUNCE_INTERVAL),
        "Transport.blackhole_check_interval" => seconds(management::BLACKHOLE_SWEEP_INTERVAL),
        "Transport.LINK_TIMEOUT" => seconds(stack::RELAY_LIFETIME),
        "Transport.REVERSE_TIMEOUT" => seconds(stack::REVERSE_LIFETIME),
        "Transport.MAX_RECEIPTS" => json!(hub.receipts),
        "Transport.MAX_RANDOM_BLOBS" => json!(stack::RANDOM_HASHES_MAX),
        "Transport.max_pr_tags" => json!(hub.tags),
        "Transport.max_queued_discovery_prs" => json!(stack::QUEUED_REQUESTS_MAX),
        "Transport.discovery_pr_tx_throttle" => seconds(stack::QUEUED_REQUEST_INTERVAL),
        "Transport.hashlist_maxsize" => json!(2 * hub.packet_hashes),
        "Transport.tables_cull_interval" => seconds(stack::INTERFACE_LINGER),
        "Transport.interface_jobs_interval" | "Interface.IC_HELD_RELEASE_INTERVAL" => {
            seconds(stack::HELD_RELEASE_INTERVAL)
        }
        "Interface.DISCOVER_PATHS_FOR" => codes(&[Mode::AccessPoint, Mode::Gateway, Mode::Roaming, Mode::Internal]),
        "Interface.BOUNDARY_SEARCH_MODES" => {
            codes(&MODES.into_iter().filter(|mode| Mode::Boundary.searches_on(*mode)).collect::<Vec<_>>())
        }
        "Interface.IA_FREQ_SAMPLES" => json!(stack::FREQUENCY_SAMPLES),
        "Interface.AR_FREQ_DECAY" | "Interface.PR_FREQ_DECAY" => seconds(stack::FREQUENCY_DECAY),
        "Interface.MAX_HELD_ANNOUNCES" => json!(Capacities::of(Footprint::Standard).held),
        "Interface.DEFAULT_GRAVITY" => json!(wend_packet::testing::wired().gravity),
        "Interface.IC_NEW_TIME" => seconds(stack::INTERFACE_NEW),
        "Interface.IC_BURST_FREQ_NEW" => json!(stack::ANNOUNCE_BURST_HZ.0),
        "Interface.IC_BURST_FREQ" => json!(stack::ANNOUNCE_BURST_HZ.1),
        "Interface.IC_PR_BURST_FREQ_NEW" => json!(stack::PATH_REQUEST_BURST_HZ.0),
        "Interface.IC_PR_BURST_FREQ" => json!(stack::PATH_REQUEST_BURST_HZ.1),
        "Interface.IC_BURST_HOLD" => seconds(stack::BURST_HOLD),
        "Interface.IC_BURST_PENALTY" => seconds(stack::BURST_PENALTY),
        "Interface.IC_DEQUE_MIN_SAMPLE" => json!(stack::BURST_SAMPLES_MIN),
        _ => return None,
    })
}

/// Largest plaintext of an encrypted packet on a link of this MTU. docs/protocol/1-core.md, section 3.3.
const fn link_mdu(mtu: usize) -> usize {
    (mtu - wire::ACCESS_CODE_MIN - layout::HEADER_1_LEN - crypto::Token::OVERHEAD) / 16 * 16 - 1
}

#[test]
fn our_constants_are_those_of_the_reference() {
    let mut left_out = 0;
    for case in support::cases("core/constants", 139) {
        let reference = &case["value"];
        match (ours(name(&case)), NOT_BUILT.contains(&name(&case))) {
            (Some(ours), false) => {
                let equal = match (ours.as_f64(), reference.as_f64()) {
                    (Some(ours), Some(reference)) => ours == reference,
                    _ => ours == *reference,
                };
                assert!(equal, "{}: ours {ours}, the reference's {reference}", name(&case));
            }
            (None, true) => left_out += 1,
            (None, false) => panic!("{} is new: compare it or say why it is not built", name(&case)),
            (Some(_), true) => panic!("{} is both compared and left out", name(&case)),
        }
    }
    assert_eq!(left_out, NOT_BUILT.len());
}

#[test]
fn unknown_paths_are_searched_for_from_the_modes_the_reference_names() {
    let searching = [Mode::AccessPoint, Mode::Roaming, Mode::Gateway, Mode::Internal];
    for mode in MODES {
        let everywhere = MODES.iter().all(|other| mode.searches_on(*other));
        assert_eq!(everywhere, searching.contains(&mode), "{mode:?}");
    }
}
