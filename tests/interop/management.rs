//! What a node lets others ask of it: probes, statistics, tables, and the list of those who are shut out; each side asks,
//! each side answers. docs/protocol/1-core.md, sections 4.9 and 5.7.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use wend_packet::identity::Identity;
use wend_packet::management::{
    LIST_PATH, STATUS_PATH, StatusRequest, TABLE_PATH, blackhole_name, decode_list, probe_name, remote_management_name,
};
use wend_packet::msgpack::Writer;
use wend_packet::stack::RequestError;
use wend_packet::{DestinationHash, IdentityHash};

use super::identity;
use crate::support::endpoint::{Endpoint, Medium};
use crate::support::free_port;
use crate::support::node::{self, Node};
use crate::support::reference::{self, Reference};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long silence is listened to.
const SILENCE: Duration = Duration::from_secs(2);
/// Identity that nobody has.
const NOBODY: &str = "6b9f66014d9853faab220fba47d02761";

/// A Wend node that answers everything, to this identity.
fn managed_node(port: u16, allowed: &str) -> (Node, IdentityHash) {
    let node = Node::start(&format!(
        "[node]\ntransport = true\n{}[management]\nrespond_to_probes = true\nremote_management = true\n\
         remote_management_allowed = [\"{allowed}\"]\npublish_blackhole = true\n",
        node::tcp_server(port)
    ));
    // Its identities are there once it answers.
    node.json(&["status"]);
    let transport = node.home().transport_identity().unwrap().hash();
    (node, transport)
}

/// A reference node that answers everything, to this identity.
fn managed_reference(python: &std::path::Path, port: u16, allowed: IdentityHash) -> (Reference, IdentityHash) {
    let options = json!({
        "respond_to_probes": "Yes", "enable_remote_management": "Yes",
        "remote_management_allowed": allowed.to_string(), "publish_blackhole": "Yes",
    });
    let node = Reference::start_with(python, true, &[reference::tcp_server(port)], &options);
    let transport = identity(node.transport_id());
    (node, transport)
}

/// A MessagePack value as the JSON that the reference node shows it in: bytes as `{"$hex": text}`.
fn shown(value: &[u8]) -> Value {
    fn convert(value: &rmpv::Value) -> Value {
        match value {
            rmpv::Value::Binary(bytes) => json!({"$hex": hex::encode(bytes)}),
            rmpv::Value::Array(items) => items.iter().map(convert).collect(),
            rmpv::Value::Map(fields) => {
                let key = |key: &rmpv::Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                fields.iter().map(|(name, item)| (key(name), convert(item))).collect()
            }
            rmpv::Value::Integer(number) => json!(number.as_i64()),
            rmpv::Value::F64(number) => json!(number),
            rmpv::Value::String(text) => json!(text.as_str()),
            rmpv::Value::Boolean(flag) => json!(flag),
            _ => Value::Null,
        }
    }
    convert(&rmpv::decode::read_value(&mut &value[..]).expect("one value"))
}

/// Every key of `ours` is one of `theirs`, with a value of the same kind where neither is nil. The reference leaves
/// `announce_queue` out until an announce was queued.
fn same_kinds(what: &str, ours: &Value, theirs: &Value) {
    for (key, value) in ours.as_object().unwrap() {
        if key == "announce_queue" {
            continue;
        }
        let Some(other) = theirs.get(key) else { panic!("{what} has no key {key}") };
        let kinds = std::mem::discriminant(value) == std::mem::discriminant(other);
        assert!(kinds || value.is_null() || other.is_null(), "{what}, {key}: {value} and {other}");
    }
}

#[test]
fn the_reference_manages_a_wend_node() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    // The reference's own answers show what ours have to look like.
    let model = free_port();
    let mut manager = Reference::start(&python, false, &[reference::tcp_client(port), reference::tcp_client(model)]);
    let allowed = manager.identity();
    let (node, transport) = managed_node(port, &allowed);
    let (_model, model_transport) = managed_reference(&python, model, identity(&allowed));
    node.json(&["blackhole", "add", NOBODY, "--hours", "3", "--reason", "noise"]);
    manager.wait_up(2);
    let own = manager.destination("test", &["own"], &json!([]));

    let ask = |manager: &mut Reference, of: IdentityHash, path: &str, data: Value| {
        let to = remote_management_name().of(of).to_string();
        manager.find_path(&to);
        let link = manager.link(&to, "rnstransport", &["remote", "management"]);
        manager.ask(json!({"do": "identify", "link": link}));
        let response = manager.request(link, path, &json!({"json": data}));
        manager.ask(json!({"do": "close", "link": link}));
        response["json"].clone()
    };
    manager.ask(json!({"do": "announce", "destination": own}));

    let ours = ask(&mut manager, transport, STATUS_PATH, json!([true, true]));
    let theirs = ask(&mut manager, model_transport, STATUS_PATH, json!([true, true]));
    assert_eq!(ours.as_array().map(Vec::len), theirs.as_array().map(Vec::len));
    same_kinds("status", &ours[0], &theirs[0]);
    same_kinds("interface", &ours[0]["interfaces"][0], &theirs[0]["interfaces"][0]);
    assert_eq!(ours[0]["transport_id"]["$hex"], transport.to_string());
    assert_eq!(
        (&ours[0]["interfaces"][0]["short_name"], &ours[0]["interfaces"][0]["clients"]),
        (&json!("server"), &json!(1))
    );
    assert!(ours[0]["rxb"].as_u64() > Some(0) && ours[1] == 0 && ours[2].is_null(), "{ours}");

    for table in ["table", "rates"] {
        let asked = json!([table, {"$hex": own}, null]);
        let ours = ask(&mut manager, transport, TABLE_PATH, asked.clone());
        let theirs = ask(&mut manager, model_transport, TABLE_PATH, asked);
        assert_eq!(ours[0]["hash"]["$hex"], own);
        same_kinds(table, &ours[0], &theirs[0]);
        same_kinds(table, &theirs[0], &ours[0]);
    }
    assert_eq!(ask(&mut manager, transport, TABLE_PATH, json!(["table", null, 0])), json!([]));

    let list = blackhole_name().of(transport).to_string();
    manager.find_path(&list);
    let link = manager.link(&list, "rnstransport", &["info", "blackhole"]);
    let listed = manager.request(link, LIST_PATH, &Value::Null)["json"].to_string();
    assert!(listed.contains("noise") && listed.contains(&transport.to_string()), "{listed}");

    let probe = probe_name().of(transport).to_string();
    manager.find_path(&probe);
    let sent = json!({
        "do": "send", "destination": probe, "app": "rnstransport", "aspects": ["probe"], "data": {"len": 16}, "proof": true,
    });
    assert_eq!(manager.ask(sent)["proved"], true);
}

#[test]
fn wend_manages_a_reference_node() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let manager = Endpoint::start(&Medium::Client(port));
    let (mut node, transport) = managed_reference(&python, port, manager.identity().hash());
    manager.wait_up();
    node.ask(json!({"do": "blackhole", "identity": NOBODY, "reason": "noise"}));

    let open = |name: DestinationHash| {
        manager.find_path(name);
        manager.open_link(name)
    };
    let link = open(remote_management_name().of(transport));
    let request = StatusRequest { links: true, profiling: false }.encode();
    assert_eq!(manager.request(link, STATUS_PATH, &request, SILENCE), Err(RequestError::Timeout), "not identified yet");
    manager.identify(link);
    let status = shown(&manager.request(link, STATUS_PATH, &request, PATIENCE).unwrap());
    assert_eq!((&status[0]["transport_id"]["$hex"], &status[1]), (&json!(transport.to_string()), &json!(0)));

    manager.announce(b"");
    let own = manager.destination();
    node.ask(json!({"do": "wait_path", "destination": own.to_string()}));
    let request = Writer::new().array(2).str("table").bin(own.as_bytes()).into_bytes();
    let rows = shown(&manager.request(link, TABLE_PATH, &request, PATIENCE).unwrap());
    assert_eq!((&rows[0]["hash"]["$hex"], &rows[0]["hops"]), (&json!(own.to_string()), &json!(1)));

    let link = open(blackhole_name().of(transport));
    let list = manager.request(link, LIST_PATH, &[0xc0], PATIENCE).unwrap();
    let list = decode_list(&list, transport, 10).unwrap();
    assert_eq!(list[&identity(NOBODY)].reason.as_deref(), Some("noise"));

    let probe = probe_name().of(transport);
    manager.find_path(probe);
    manager.send_proved(probe, b"are you there?");
}

#[test]
fn a_wend_node_answers_management_requests_of_the_allowed_only_and_announces_itself() {
    let port = free_port();
    let manager = Endpoint::start(&Medium::Client(port));
    let stranger = Endpoint::start(&Medium::Client(port));
    let (_node, transport) = managed_node(port, &manager.identity().hash().to_string());
    for end in [&manager, &stranger] {
        end.wait_up();
    }
    let to = remote_management_name().of(transport);
    let asked = StatusRequest { links: false, profiling: false }.encode();
    let answered = |end: &Endpoint, request: &[u8], patience: Duration| {
        end.find_path(to);
        let link = end.open_link(to);
        end.identify(link);
        end.request(link, STATUS_PATH, request, patience)
    };
    assert!(answered(&manager, &asked, PATIENCE).is_ok());
    assert_eq!(answered(&manager, &[0x90], SILENCE), Err(RequestError::Timeout), "no request");
    assert_eq!(answered(&stranger, &asked, SILENCE), Err(RequestError::Timeout), "not allowed");
    // Live announces come 15 s after the start; whoever did not ask hears them too.
    for name in [probe_name(), blackhole_name()] {
        assert_eq!(stranger.wait_announce(name.of(transport)).0, transport);
    }
}

#[test]
fn a_wend_node_takes_the_list_of_a_reference_node_and_keeps_it() {
    let Some(python) = reference::interpreter() else { return };
    let port = free_port();
    let (mut source, transport) = managed_reference(&python, port, identity(NOBODY));
    source.ask(json!({"do": "blackhole", "identity": NOBODY, "reason": "noise"}));
    let mut shut_out = Reference::start(&python, false, &[reference::tcp_client(port)]);
    let made = shut_out.ask(json!({"do": "identity"}));
    source.ask(json!({"do": "blackhole", "identity": made["identity"]}));
    let mut node =
        Node::start(&format!("{}[management]\nblackhole_sources = [\"{transport}\"]\n", node::tcp_client(port)));
    let taken = |node: &Node| {
        node.wait_json("the list is there", &["blackhole", "ls"], Duration::from_secs(60), |list| {
            list["entries"].as_array().is_some_and(|entries| entries.len() == 2)
        })
    };
    let list = taken(&node);
    for entry in list["entries"].as_array().unwrap() {
        assert_eq!((&entry["source"], &entry["own"]), (&json!(transport.to_string()), &json!(false)));
    }
    // Before it can be fetched again.
    node.kill();
    drop(source);
    node.run();
    assert_eq!(taken(&node), list);
    assert_eq!(node.command(&["blackhole", "remove", NOBODY]).code, Some(0));
    assert_eq!(node.command(&["blackhole", "remove", NOBODY]).code, Some(1));
}

/// Runs one of the programs that come with the reference beside its interpreter.
fn run_tool(python: &std::path::Path, config: &std::path::Path, tool: &str, arguments: &[&str]) -> node::Ended {
    let program: PathBuf = python.with_file_name(tool);
    let mut command = std::process::Command::new(program);
    command.arg("--config").arg(config).args(arguments);
    node::finish(command, Duration::from_secs(150))
}

/// Runs it again until it says this: the programs miss an answer now and then, and the first comes before the shared
/// instance is there.
fn run_until_told(
    python: &std::path::Path,
    config: &std::path::Path,
    tool: &str,
    arguments: &[&str],
    told: &str,
) -> String {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let ended = run_tool(python, config, tool, arguments);
        if ended.stdout.contains(told) {
            return ended.stdout;
        }
        assert!(std::time::Instant::now() < until, "{tool} {arguments:?} does not tell {told}: {ended:?}");
    }
}

#[test]
fn the_references_own_programs_understand_a_wend_node() {
    let Some(python) = reference::interpreter() else { return };
    let manager = Identity::generate(&mut wend_mesh::node::randomness());
    let port = free_port();
    let (node, transport) = managed_node(port, &manager.hash().to_string());
    node.json(&["blackhole", "add", NOBODY, "--reason", "noise"]);
    let config = node.folder().join("rns");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(
        config.join("config"),
        format!(
            "[reticulum]\n  share_instance = Yes\n  instance_name = wend-test-{port}\n  shared_instance_port = {}\n  \
             instance_control_port = {}\n[interfaces]\n  [[node]]\n    type = TCPClientInterface\n    enabled = Yes\n    \
             target_host = 127.0.0.1\n    target_port = {port}\n",
            free_port(),
            free_port()
        ),
    )
    .unwrap();
    let file = node.folder().join("manager");
    std::fs::write(&file, manager.to_private_bytes().as_ref()).unwrap();
    let (file, transport) = (file.display().to_string(), transport.to_string());
    let mut shared = std::process::Command::new(python.with_file_name("rnsd"));
    shared.arg("--config").arg(&config).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let _shared = Running(shared.spawn().unwrap());

    let status = run_until_told(&python, &config, "rnstatus", &["-R", &transport, "-i", &file, "-l"], "server");
    assert!(status.contains(&transport), "{status}");
    let listed = run_until_told(&python, &config, "rnpath", &["-p", &transport], NOBODY);
    assert!(listed.contains("noise"), "{listed}");
    let probe = probe_name().of(transport.parse().unwrap()).to_string();
    run_until_told(&python, &config, "rnprobe", &["rnstransport.probe", &probe], "Valid reply");
}

/// A process that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
