//! What strangers can throw at the media of a running node: it goes on serving, and its memory stays small.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic: that is how it fails")]

mod support;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rand_core::Rng;
use rustix::fs::OFlags;
use support::endpoint::{Endpoint, Medium, PATIENCE};
use support::free_port;
use support::line::Line;
use support::node::{self, Node};
use wend_interfaces::framing::hdlc;
use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::msgpack::{Reader, Writer};
use wend_packet::stack::{Destination, Input, InterfaceId, InterfaceProfile, Stack, StackConfig};
use wend_packet::testing::TestRng;
use wend_packet::time::{self, Now, UnixTime};
use wend_packet::{DestinationHash, LinkId};

const MB: usize = 1 << 20;
/// What a node may have resident at any time, in bytes.
const MEMORY_MAX: u64 = 30 << 20;
/// How long the node may take to swallow what is written at once: it may push back, not stall.
const SWALLOW: Duration = Duration::from_secs(30);
/// Speed of the serial line, in bit/s.
const SPEED: u32 = 1_000_000;

/// What separates frames. docs/protocol/3-interfaces.md, section 1.3.
const FLAG: u8 = 0x7e;
/// What announces an escaped byte.
const ESCAPE: u8 = 0x7d;

/// Repeatable noise.
struct Noise(TestRng);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(TestRng::seeded(seed))
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % u64::try_from(end).unwrap()).unwrap()
    }
}

/// Frames as nodes send them: announces of twenty strangers, and path requests.
fn valid_frames() -> Vec<Vec<u8>> {
    let mut random = wend_mesh::node::randomness();
    let (on, now) = (InterfaceId(1), Now { mono: time::Instant::ZERO, unix: UnixTime(1_800_000_000) });
    let mut stack = Stack::new(StackConfig::new(Identity::generate(&mut random)), Box::new(random));
    let profile = InterfaceProfile { ingress_control: false, ..InterfaceProfile::new(10_000_000) };
    stack.handle_input(now, Input::InterfaceUp { id: on, profile });
    for number in 0..20 {
        let name = DestinationName::new("stranger", &[]).unwrap();
        let hash = stack.register(Destination::new(Identity::generate(&mut random), name)).unwrap();
        stack.announce(now, hash, format!("stranger {number}").as_bytes()).unwrap();
        stack.request_path(now, DestinationHash::new([number; 16]));
    }
    let mut frames = Vec::new();
    while let Some(transmit) = stack.poll_transmit(now, on) {
        frames.push(transmit.frame.to_vec());
    }
    assert!(frames.len() >= 20, "{} frames", frames.len());
    frames
}

/// Valid frames with their ends, middles and single bits missing or changed, in frames of their own or run together.
fn cut_up(noise: &mut Noise, len: usize) -> Vec<u8> {
    let frames = valid_frames();
    let mut out = BytesMut::new();
    while out.len() < len {
        let mut frame = frames[noise.below(frames.len())].clone();
        match noise.below(4) {
            0 => frame.truncate(noise.below(frame.len())),
            1 => drop(frame.drain(..noise.below(frame.len()))),
            2 => {
                let at = noise.below(frame.len());
                frame[at] ^= 1 << noise.below(8);
            }
            _ => {}
        }
        let mut framed = BytesMut::new();
        hdlc::encode(&frame, &mut framed);
        if noise.below(3) == 0 {
            framed.truncate(noise.below(framed.len()));
        }
        out.extend_from_slice(&framed);
    }
    out.to_vec()
}

/// Well-formed frames that hold noise.
fn framed_noise(noise: &mut Noise, len: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    while out.len() < len {
        let size = noise.below(600);
        hdlc::encode(&noise.bytes(size), &mut out);
    }
    out.to_vec()
}

/// A frame that begins and never ends.
fn unfinished(noise: &mut Noise, len: usize) -> Vec<u8> {
    let mut out = noise.bytes(len);
    out.iter_mut().filter(|byte| **byte == FLAG).for_each(|byte| *byte = 0);
    out.insert(0, FLAG);
    out
}

/// A node that anyone may ping over TCP and over a serial line.
fn node(port: u16, line: &Path) -> Node {
    let interfaces = [node::tcp_server(port), node::serial(line, SPEED)].concat();
    let node = Node::start(&format!("{interfaces}[policy]\n\"node/ping\" = \"unknown\"\n"));
    node.wait_up(2);
    node
}

/// Opens a link to the node and has it run a command.
fn ping(caller: &Endpoint, node: &Node, id: u8) -> LinkId {
    caller.wait_up();
    caller.find_path(node.destination());
    let link = caller.open_link(node.destination());
    caller.identify(link);
    ping_on(caller, link, id);
    link
}

fn ping_on(caller: &Endpoint, link: LinkId, id: u8) {
    let call = Writer::new().array(6).uint(1).bin(&[id; 16]).str("node/ping").map(0).uint(20).raw(&[0xc0]).into_bytes();
    let reply = caller.request(link, "/wend/execute", &call, PATIENCE).expect("a reply");
    let mut reply = Reader::new(&reply);
    assert_eq!((reply.array(), reply.uint()), (Ok(4), Ok(1)));
    assert_eq!((reply.bin(), reply.uint()), (Ok([id; 16].as_slice()), Ok(0)));
}

/// Waits until the node has read so many bytes on an interface.
fn wait_received(node: &Node, interface: &str, bytes: usize) {
    node.wait_json("it has read all of it", &["status"], SWALLOW, |status| {
        let interfaces = status["interfaces"].as_array().expect("a list");
        let shown = interfaces.iter().find(|shown| shown["name"] == interface).expect("the interface");
        shown["received_bytes"].as_u64().expect("a number") >= u64::try_from(bytes).unwrap()
    });
}

fn assert_small(node: &Node) {
    let memory = node.memory();
    println!("resident: {memory:?}");
    assert!(memory.peak_bytes < MEMORY_MAX, "{} kB resident at most, now {memory:?}", memory.peak_bytes / 1024);
}

#[test]
fn garbage_on_the_tcp_port_leaves_a_node_serving() {
    let port = free_port();
    let line = Line::start();
    let node = node(port, line.ends()[0]);
    let caller = Endpoint::start(&Medium::Client(port));
    let link = ping(&caller, &node, 1);

    let noise = &mut Noise::new(1);
    let volleys = [
        noise.bytes(4 * MB),
        cut_up(noise, 3 * MB),
        framed_noise(noise, 3 * MB),
        unfinished(noise, 8 * MB),
        vec![FLAG; MB],
        vec![ESCAPE; MB],
    ];
    let mut connections = Vec::new();
    for volley in &volleys {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        connection.set_write_timeout(Some(SWALLOW)).unwrap();
        connection.write_all(volley).expect("the node takes it all");
        connections.push(connection);
    }
    wait_received(&node, "server", volleys.iter().map(Vec::len).sum());

    // The strangers are still connected, in the middle of their frames.
    ping_on(&caller, link, 2);
    ping(&Endpoint::start(&Medium::Client(port)), &node, 3);
    assert_small(&node);
    drop(connections);
    ping_on(&caller, link, 4);
}

#[test]
fn garbage_on_a_serial_line_leaves_a_node_serving() {
    let port = free_port();
    let line = Line::start();
    let [near, far] = line.ends();
    let node = node(port, near);
    let caller = Endpoint::start(&Medium::Serial(far.to_owned(), SPEED));
    ping(&caller, &node, 1);
    drop(caller);

    let noise = &mut Noise::new(2);
    let volleys = [noise.bytes(MB), cut_up(noise, MB), framed_noise(noise, MB), unfinished(noise, MB)];
    shout(far, &volleys);
    wait_received(&node, &near.display().to_string(), volleys.iter().map(Vec::len).sum());

    ping(&Endpoint::start(&Medium::Serial(far.to_owned(), SPEED)), &node, 2);
    ping(&Endpoint::start(&Medium::Client(port)), &node, 3);
    assert_small(&node);
}

/// Writes into a line, and reads what comes from its other end so that it does not back up.
fn shout(device: &Path, volleys: &[Vec<u8>]) {
    let flags = i32::try_from((OFlags::NOCTTY | OFlags::NONBLOCK).bits()).unwrap();
    let mut line = File::options().read(true).write(true).custom_flags(flags).open(device).unwrap();
    let mut read = [0; 4096];
    for volley in volleys {
        let (mut rest, until) = (volley.as_slice(), Instant::now() + SWALLOW);
        while !rest.is_empty() {
            // Nothing to read is no news.
            drop(line.read(&mut read));
            match line.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
            assert!(
                Instant::now() < until,
                "{} of {} bytes are not taken within {SWALLOW:?}",
                rest.len(),
                volley.len()
            );
        }
    }
}
