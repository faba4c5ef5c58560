//! Networks closed with access codes: who has the credentials gets in, nobody else does. docs/protocol/1-core.md, section 7.

use std::path::Path;

use serde_json::{Value, json};
use wend_interfaces::ProfileOptions;
use wend_packet::access_code::AccessKey;
use wend_packet::stack::DropReason;

use super::{HANDLERS, Peer, identity, reference_calls_wend, wend_calls_reference};
use crate::support::endpoint::{Endpoint, Medium, Setup, owned};
use crate::support::free_port;
use crate::support::reference::{self, Reference};

const NETWORK: &str = "closed";
const PASSPHRASE: &str = "open sesame";

/// An interface of the reference in a closed network.
fn closed(mut interface: Value, network: &str, passphrase: &str, ifac_bits: usize) -> Value {
    interface["extra"] = json!({"network_name": network, "passphrase": passphrase, "ifac_size": ifac_bits});
    interface
}

/// An endpoint in a closed network, or without credentials.
fn endpoint(medium: &Medium, credentials: Option<(&str, &str)>, code_len: usize) -> Endpoint {
    let access_key = credentials.map(|(network, passphrase)| {
        AccessKey::derive(Some(network), Some(passphrase)).expect("credentials were given")
    });
    let options = ProfileOptions { access_key, access_code_len: Some(code_len), ..ProfileOptions::default() };
    Setup { options, handlers: owned(&HANDLERS), ..Setup::new(medium) }.start()
}

/// With the same credentials and codes of this length, each calls the other.
fn both_call_each_other(python: &Path, code_len: usize) {
    let port = free_port();
    let server = closed(reference::tcp_server(port), NETWORK, PASSPHRASE, code_len * 8);
    let mut peer = Peer::start(python, &server);
    let endpoint = endpoint(&Medium::Client(port), Some((NETWORK, PASSPHRASE)), code_len);
    endpoint.wait_up();
    peer.node.wait_up(2);
    wend_calls_reference(&endpoint, &mut peer, 1);
    reference_calls_wend(&mut peer, &endpoint, 1);
}

#[test]
fn whoever_has_the_right_credentials_gets_in() {
    let Some(python) = reference::interpreter() else { return };
    both_call_each_other(&python, 16);
}

#[test]
fn codes_of_another_length_work_when_both_sides_have_it() {
    let Some(python) = reference::interpreter() else { return };
    both_call_each_other(&python, 8);
}

#[test]
fn a_reference_node_hears_nothing_of_whoever_has_wrong_or_no_credentials() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let server = closed(reference::tcp_server(port), NETWORK, PASSPHRASE, 128);
    let mut node = Reference::start(&python, false, &[server]);
    let medium = Medium::Client(port);
    let strangers = [endpoint(&medium, Some((NETWORK, "open pumpkin")), 16), endpoint(&medium, None, 16)];
    let friend = endpoint(&medium, Some((NETWORK, PASSPHRASE)), 16);
    for end in strangers.iter().chain([&friend]) {
        end.wait_up();
    }
    node.wait_up(4);
    for stranger in &strangers {
        stranger.announce(b"let me in");
    }
    // Each stranger's frame has arrived, and was refused.
    node.ask(json!({"do": "interfaces", "ifac_violations": 2}));
    friend.announce(b"it is me");
    node.ask(json!({"do": "wait_announce", "destination": friend.destination().to_string()}));
    for stranger in &strangers {
        let found = node.ask(json!({"do": "path", "destination": stranger.destination().to_string()}));
        assert_eq!(found["path"], false);
    }
}

#[test]
fn wend_hears_nothing_of_whoever_has_wrong_or_no_credentials() {
    let Some(python) = reference::interpreter() else { return };
    let server = endpoint(&Medium::Server, Some((NETWORK, PASSPHRASE)), 16);
    let client = reference::tcp_client(server.port());
    let mut strangers =
        [Peer::start(&python, &closed(client.clone(), "other", PASSPHRASE, 128)), Peer::start(&python, &client)];
    let mut friend = Peer::start(&python, &closed(client, NETWORK, PASSPHRASE, 128));
    for peer in strangers.iter_mut().chain([&mut friend]) {
        peer.node.wait_up(1);
    }
    server.wait_up();
    for peer in strangers.iter_mut().chain([&mut friend]) {
        peer.node.ask(json!({"do": "announce", "destination": peer.destination}));
    }
    assert_eq!(server.wait_announce(friend.address()).0, identity(&friend.identity));
    server.wait_stats("both strangers' frames are refused", |stats| {
        stats.dropped(DropReason::AccessCodeMissing) >= 1 && stats.dropped(DropReason::AccessCodeInvalid) >= 1
    });
    assert!(strangers.iter().all(|peer| !server.has_heard(peer.address())));
}
