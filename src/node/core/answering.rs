//! What the core answers to those who ask it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand_core::Rng;
use tokio::sync::oneshot;
use wend_packet::DestinationHash;
use wend_packet::link::{LinkError, RequestOptions};
use wend_packet::management::BlackholeEntry;
use wend_packet::stack::BlackholeChanges;
use wend_packet::time::Now;

use super::super::calls::{
    BlackholeChange, BlackholeState, CoreCall, CoreView, InterfaceView, LinkFailure, NodeView, OwnLink, PathView,
    RequestFailure, tell,
};
use super::super::clock::randomness;
use super::super::links::Wanted;
use super::Core;

impl Core {
    pub(super) fn call(&mut self, call: CoreCall) {
        let now = self.now();
        match call {
            CoreCall::FindPath { to, wait, reply } => self.seek(now, to, wait, reply),
            CoreCall::Link { to, reply } => self.open(now, to, reply),
            CoreCall::Request { request, reply } => {
                let options = RequestOptions { timeout: Some(request.timeout), max_response: request.max_response };
                let sent = match self.parts.stack.link(now, request.link) {
                    Some(mut link) => link.request(request.path, &request.body, options),
                    None => Err(LinkError::NotActive),
                };
                match sent {
                    Ok(id) => self.links.requested(now.mono, request.link, id, reply, request.arriving),
                    Err(error) => tell(reply, Err(RequestFailure::NotSent(error))),
                }
            }
            CoreCall::Respond { caller, id, reply } => {
                if let Some((link, request)) = self.parts.server.done(&self.peers, caller, id, reply.clone()) {
                    self.answer(now, link, request, &reply);
                }
            }
            CoreCall::Announce { reply } => {
                let on = self.announcer.asked(now.mono, &self.up(), randomness().next_u32());
                tell(reply, self.announce(now, &on));
            }
            CoreCall::Node { destination, reply } => tell(reply, self.node(destination)),
            CoreCall::Resolve { text, reply } => {
                let others = self.parts.stack.paths().map(|path| path.destination);
                tell(reply, self.peers.resolve(&text, others));
            }
            CoreCall::View { reply } => tell(reply, Box::new(self.view())),
            CoreCall::Paths { reply } => tell(reply, self.paths()),
            CoreCall::Blackhole { change, reply } => {
                let state = self.change_blackhole(now, change);
                tell(reply, state);
            }
        }
    }

    fn seek(&mut self, now: Now, to: DestinationHash, wait: Duration, reply: oneshot::Sender<Option<u8>>) {
        match self.parts.stack.path(to) {
            Some(path) => tell(reply, Some(path.hops)),
            None => self.seekers.add(now.mono, to, wait, reply),
        }
    }

    fn open(&mut self, now: Now, to: DestinationHash, reply: oneshot::Sender<Result<OwnLink, LinkFailure>>) {
        let Wanted::Open(reply) = self.links.want(now.mono, to, reply) else { return };
        match self.parts.stack.open_link(now, to) {
            Ok(link) => self.links.opening(to, link, reply),
            Err(error) => tell(reply, Err(error.into())),
        }
    }

    fn change_blackhole(&mut self, now: Now, change: BlackholeChange) -> BlackholeState {
        let stack = &mut self.parts.stack;
        let own = stack.transport_id();
        let (mut outcome, mut removed, mut changes) = (None, false, BlackholeChanges::default());
        match change {
            BlackholeChange::Look => {}
            BlackholeChange::Add { identity, until, reason } => {
                let entry = BlackholeEntry::new(own, until, reason.as_deref());
                outcome = Some(stack.blackhole(now, identity, entry));
            }
            BlackholeChange::Remove(identity) => removed = stack.lift_blackhole(identity),
            BlackholeChange::From { source, list } => changes = stack.blackhole_from(now, source, list),
        }
        let entries = stack.blackholed().iter().map(|(identity, entry)| (*identity, entry.clone())).collect();
        BlackholeState { own, entries, outcome, removed, changes }
    }

    fn view(&self) -> CoreView {
        let stats = &self.parts.stack.stats().interfaces;
        let violations = |id| stats.get(&id).map_or(0, |stats| stats.access_violations);
        let tunnels: BTreeSet<_> = self.parts.stack.tunnels().filter_map(|tunnel| tunnel.on).collect();
        let interfaces = self.interfaces.values().map(|attached| InterfaceView {
            id: attached.handle.id,
            name: Arc::clone(&attached.handle.name),
            parent: attached.parent,
            bitrate_bps: attached.profile.as_ref().map(|profile| profile.bitrate_bps),
            network: attached.profile.as_ref().and_then(|profile| Some(profile.access_key.as_ref()?.fingerprint())),
            access_violations: violations(attached.handle.id),
            announces: self.parts.stack.announce_backlog(attached.handle.id),
            tunnel: tunnels.contains(&attached.handle.id),
            monitor: attached.handle.monitor.clone(),
        });
        CoreView {
            interfaces: interfaces.collect(),
            paths: self.parts.stack.paths().count(),
            links: self.parts.stack.links().count(),
        }
    }

    fn paths(&self) -> Vec<PathView> {
        let paths = self.parts.stack.paths().map(|path| PathView {
            identity: self.parts.stack.owner_of(path.destination),
            peer: self.peers.get(&path.destination).cloned(),
            path,
        });
        paths.collect()
    }

    fn node(&self, destination: DestinationHash) -> NodeView {
        let peer = self.peers.get(&destination);
        NodeView {
            identity: self.parts.stack.owner_of(destination),
            name: peer.map(|peer| peer.data.name().to_owned()).unwrap_or_default(),
            catalog: peer.and_then(|peer| peer.data.catalog()),
            hops: self.parts.stack.path(destination).map(|path| path.hops),
        }
    }
}
