//! What nodes do: take frames, answer deadlines, start, stop and start again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand_core::Rng;
use wend_packet::announcer::Announcer;
use wend_packet::stack::{Event, Input, InterfaceId, Output, Stack};

use super::build::APP_DATA;
use super::node::{Brain, Disk, Honest, Reach};
use super::{Happening, NodeId, World};
use crate::random;

impl World {
    pub(super) fn poll_frame(&mut self, node: usize, on: InterfaceId) -> Option<Bytes> {
        let now = self.now;
        match &mut self.nodes[node].brain {
            Brain::Honest(honest) => honest.stack.poll_transmit(now, on).map(|transmit| transmit.frame),
            Brain::Intruder { outbox, .. } => outbox.get_mut(&on)?.pop_front(),
            Brain::Off => None,
        }
    }

    pub(super) fn receive(&mut self, node: usize, on: InterfaceId, frame: &Bytes) {
        let now = self.now;
        match &mut self.nodes[node].brain {
            Brain::Honest(honest) => {
                honest.stack.handle_input(now, Input::Frame { on, bytes: frame });
                self.settle(node);
            }
            Brain::Intruder { .. } => self.intruder_hears(node, frame),
            Brain::Off => {}
        }
    }

    /// Does everything a stack wants done, passes on what it has to send, and plans the next wake-up. After every call.
    pub(super) fn settle(&mut self, node: usize) {
        let mut ready = Vec::new();
        loop {
            let Some(honest) = self.nodes[node].honest_mut() else { return };
            if let Some(output) = honest.stack.poll_output() {
                match output {
                    Output::Ready(on) => ready.push(on),
                    Output::Event(event) => self.event(node, event),
                    Output::Persist(record) => {
                        let now = self.now.mono;
                        if let Some(disk) = &mut self.nodes[node].disk {
                            disk.keep(now, record);
                        }
                    }
                    Output::Forget(destination) => {
                        if let Some(disk) = &mut self.nodes[node].disk {
                            disk.forget(destination);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            let Some(job) = honest.stack.poll_job() else { break };
            let done = self.memo.run(job);
            honest.stack.handle_input(self.now, Input::JobDone(done));
        }
        for on in ready {
            if let Some(place) = self.nodes[node].places.get(&on).copied() {
                self.ready(place);
            }
        }
        self.plan_wake(node);
    }

    fn plan_wake(&mut self, node: usize) {
        let Some(honest) = self.nodes[node].honest() else { return };
        let errands = honest.errands.values().map(super::errand::Errand::next).min();
        let deadlines = [honest.stack.poll_timeout(), honest.announcer.next(), errands];
        let Some(next) = deadlines.into_iter().flatten().min() else { return };
        // A deadline in the past is served a moment later, so that time passes even if a stack keeps setting such.
        let next = next.max(self.now.mono + Duration::from_micros(1));
        if self.nodes[node].wake.is_none_or(|planned| planned > next) {
            self.nodes[node].wake = Some(next);
            self.queue.push(next, Happening::Wake(node));
        }
    }

    pub(super) fn wake(&mut self, node: usize) {
        let now = self.now;
        if self.nodes[node].wake != Some(now.mono) {
            return;
        }
        self.nodes[node].wake = None;
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        if honest.stack.poll_timeout().is_some_and(|at| at <= now.mono) {
            honest.stack.handle_input(now, Input::Timeout);
        }
        if honest.announcer.next().is_some_and(|at| at <= now.mono) {
            self.announce_due(node);
        }
        self.run_errands(node);
        self.settle(node);
    }

    fn announce_due(&mut self, node: usize) {
        let now = self.now;
        let up: BTreeMap<_, _> = self.nodes[node]
            .places
            .iter()
            .map(|(id, place)| (*id, &self.media[place.medium]))
            .map(|(id, medium)| (id, medium.kind.profile.bitrate_bps))
            .collect();
        let up = up.into_iter().filter(|(id, _)| self.is_up(node, *id)).collect();
        let Some(destination) = self.nodes[node].destination() else { return };
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        let spread = honest.rng.next_u32();
        let due = honest.announcer.due(now.mono, &up, spread);
        if !due.announce.is_empty() {
            let admit = |id| due.announce.contains(&id);
            honest.stack.announce_on(now, destination, &APP_DATA, admit).expect("a registered destination");
        }
        for on in due.greet {
            honest.stack.introduce(now, destination, on);
        }
    }

    fn is_up(&self, node: usize, interface: InterfaceId) -> bool {
        let place = self.nodes[node].places.get(&interface);
        place.is_some_and(|place| self.media[place.medium].ports[place.port].up)
    }

    fn event(&mut self, node: usize, event: Event) {
        let Event::PathChanged { destination, hops } = event else { return self.application_event(node, event) };
        let index = self.counted.get(&destination).copied();
        let Some(honest) = self.nodes[node].honest_mut() else { return };
        if let Some(index) = index {
            honest.reach.set(index, hops.is_some());
        }
        match (hops, &mut honest.lost) {
            (Some(_), _) => self.path_found(node, destination),
            (None, Some(lost)) => lost.push(destination),
            (None, None) => {}
        }
    }

    /// Switches a node on: a new stack that remembers what was kept, all interfaces up.
    pub fn start(&mut self, id: NodeId) {
        let seed = self.seed;
        let node = &mut self.nodes[id.0];
        if !matches!(node.brain, Brain::Off) {
            return;
        }
        node.boots += 1;
        let number = (id.0 as u64) << 16 | node.boots;
        let mut stack = Stack::new(node.config.clone(), Box::new(random::stream(seed, "stack", number)));
        if let Some(disk) = &node.disk {
            stack.restore(disk.read());
        }
        for destination in &node.destinations {
            stack.register(destination.clone()).expect("destinations of a node differ");
        }
        let honest = Honest {
            stack,
            announcer: Announcer::default(),
            rng: random::stream(seed, "application", number),
            errands: BTreeMap::new(),
            reach: Reach::default(),
            lost: None,
        };
        node.brain = Brain::Honest(honest);
        node.wake = None;
        self.log.restarts += usize::from(node.boots > 1);
        let interfaces: Vec<_> = node.places.keys().copied().collect();
        for interface in interfaces {
            if self.is_up(id.0, interface) {
                self.interface_up(id.0, interface);
            }
        }
        self.settle(id.0);
    }

    /// Switches a node off without warning. What it learned and had time to write stays; everything else is lost.
    pub fn stop(&mut self, id: NodeId) {
        self.drop_errands(id.0);
        let now = self.now.mono;
        let node = &mut self.nodes[id.0];
        let Brain::Honest(honest) = std::mem::replace(&mut node.brain, Brain::Off) else { return };
        let last_emission = honest.stack.last_emission();
        node.disk.get_or_insert_with(Disk::default).crash(now, last_emission);
        node.wake = None;
    }

    /// Switches a node off and after a while on again.
    pub fn restart(&mut self, id: NodeId, off_for: Duration) {
        self.stop(id);
        self.at(self.elapsed() + off_for, move |world| world.start(id));
    }
}
