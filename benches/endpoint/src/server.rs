//! The end that answers.

use serde_json::json;
use wend_packet::DestinationHash;
use wend_packet::channel::{ChannelEvent, MessageType};
use wend_packet::link::{ResourceEvent, ResourceOutcome};
use wend_packet::stack::Event;

use crate::protocol::{Command, say};
use crate::shell::{Application, Shell};

/// The path whose response is the request's data.
pub(crate) const ECHO: &str = "/echo";

/// The type of all channel messages.
pub(crate) const MESSAGE: MessageType = match MessageType::new(0x0101) {
    Some(number) => number,
    None => unreachable!(),
};

/// What has arrived since the last reset.
#[derive(Debug, Default)]
struct Counters {
    packets: u64,
    link_packets: u64,
    links: u64,
    messages: u64,
    resources: u64,
    resource_bytes: usize,
}

/// Proves packets, takes links and resources, echoes requests and counts channel messages.
#[derive(Debug)]
pub(crate) struct Server {
    own: DestinationHash,
    counters: Counters,
}

impl Server {
    pub(crate) fn new(own: DestinationHash) -> Self {
        Self { own, counters: Counters::default() }
    }
}

impl Application for Server {
    fn command(&mut self, shell: &mut Shell, command: Command) {
        match command {
            Command::Announce => {
                let now = shell.now();
                match shell.stack.announce(now, self.own, b"") {
                    Ok(()) => say(&json!({ "ev": "announced" })),
                    Err(error) => say(&json!({ "ev": "error", "error": error.to_string() })),
                }
            }
            Command::Reset => {
                self.counters = Counters::default();
                say(&json!({ "ev": "reset" }));
            }
            Command::Stats => {
                let Counters { packets, link_packets, links, messages, resources, resource_bytes } = self.counters;
                say(&json!({
                    "ev": "stats", "pkts": packets, "link_pkts": link_packets, "links": links, "chan": messages,
                    "res": resources, "res_bytes": resource_bytes,
                }));
            }
            other => say(&json!({ "ev": "error", "error": format!("a server has no {other:?}") })),
        }
    }

    fn event(&mut self, shell: &mut Shell, event: Event) {
        match event {
            Event::Received { .. } => self.counters.packets += 1,
            Event::LinkUp { .. } => self.counters.links += 1,
            Event::Channel { event: ChannelEvent::Message { .. }, .. } => self.counters.messages += 1,
            Event::Resource { link, resource, event: ResourceEvent::Segment { offset, data, .. } } => {
                self.counters.resource_bytes += data.len();
                let now = shell.now();
                if let Some(mut link) = shell.stack.link(now, link)
                    && let Err(error) = link.segment_taken(resource, offset)
                {
                    eprintln!("benchnode: cannot take a segment: {error}");
                }
            }
            Event::Resource { event: ResourceEvent::Ended(ResourceOutcome::Received), .. } => {
                self.counters.resources += 1;
            }
            Event::LinkData { .. } => self.counters.link_packets += 1,
            Event::Requested { link, request, body, .. } => {
                let now = shell.now();
                if let Some(mut link) = shell.stack.link(now, link)
                    && let Err(error) = link.respond(request, &body)
                {
                    eprintln!("benchnode: cannot respond: {error}");
                }
            }
            _ => {}
        }
    }

    fn alarm(&mut self, _shell: &mut Shell) {}
}
