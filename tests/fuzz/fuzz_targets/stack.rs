//! A whole stack under any sequence of inputs: it never panics and its deadlines never stand still.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wend_packet::destination::DestinationName;
use wend_packet::identity::Identity;
use wend_packet::stack::{Capacities, Destination, Footprint, Input, InterfaceId, Stack, StackConfig};
use wend_packet::testing::{TestRng, wired};
use wend_packet::time::Now;

#[derive(Debug, Arbitrary)]
enum Step {
    Frame { on: u8, bytes: Vec<u8> },
    /// A frame with the header of a packet that means something, so that more than the parser is reached.
    Shaped { on: u8, flags: u8, hops: u8, ours: bool, context: u8, body: Vec<u8> },
    Up(u8),
    Down(u8),
    Wait(u16),
    Announce,
    AskForPath([u8; 16]),
    Jobs,
}

fuzz_target!(|steps: Vec<Step>| {
    let mut rng = TestRng::seeded(7);
    let mut config = StackConfig::new(Identity::generate(&mut rng));
    config.transport_enabled = true;
    config.capacities = Capacities::of(Footprint::Tiny);
    let mut stack = Stack::new(config, Box::new(TestRng::seeded(8)));
    let name = DestinationName::new("fuzz", &["target"]).expect("no dots");
    let own = stack.register(Destination::new(Identity::generate(&mut rng), name)).expect("the first one");
    let mut now = Now::default();
    for step in steps.into_iter().take(200) {
        match step {
            Step::Frame { on, bytes } => stack.handle_input(now, Input::Frame { on: id(on), bytes: &bytes }),
            Step::Shaped { on, flags, hops, ours, context, body } => {
                let address = if ours { *own.as_bytes() } else { *wend_packet::stack::path_request_destination().as_bytes() };
                let frame = [&[flags & 0x2f, hops & 0x7f][..], &address, &[context], &body].concat();
                stack.handle_input(now, Input::Frame { on: id(on), bytes: &frame });
            }
            Step::Up(on) => stack.handle_input(now, Input::InterfaceUp { id: id(on), profile: wired() }),
            Step::Down(on) => stack.handle_input(now, Input::InterfaceDown { id: id(on) }),
            Step::Wait(tenths) => {
                now = now.later(Duration::from_millis(u64::from(tenths) * 100));
                stack.handle_input(now, Input::Timeout);
                assert!(stack.poll_timeout().is_none_or(|next| next > now.mono), "a deadline that has passed stays");
            }
            Step::Announce => stack.announce(now, own, b"fuzz").expect("short data of our own"),
            Step::AskForPath(to) => stack.request_path(now, to.into()),
            Step::Jobs => {
                while let Some(job) = stack.poll_job() {
                    stack.handle_input(now, Input::JobDone(job.run()));
                }
            }
        }
        while stack.poll_output().is_some() {}
        for on in 0..4 {
            while stack.poll_transmit(now, InterfaceId(on)).is_some() {}
        }
    }
});

fn id(on: u8) -> InterfaceId {
    InterfaceId(u32::from(on % 4))
}
