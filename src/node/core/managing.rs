//! The management destinations: when they are announced, and what they answer. docs/protocol/1-core.md, sections 4.9 and 5.7.

use std::collections::BTreeMap;
use std::time::Duration;

use wend_interfaces::State;
use wend_packet::management::{
    ANNOUNCE_INTERVAL, FIRST_ANNOUNCE, InterfaceStatistics, LIST_PATH, NodeStatistics, PathRow, PathTableRequest,
    RateRow, STATUS_PATH, StatusRequest, TABLE_PATH, Table, blackhole_name, encode_paths, encode_rates, encode_status,
    probe_name, remote_management_name,
};
use wend_packet::stack::{Destination, InterfaceId, ProofStrategy, Stack};
use wend_packet::time::{Instant, Now, UnixTime};
use wend_packet::{DestinationHash, IdentityHash, LinkId, RequestId};

use super::{Attached, Core, Errand};
use crate::config::ManagementConfig;
use crate::node::resident_bytes;
use wend_packet::identity::Identity;

/// The management destinations of this node, and who may use them.
#[derive(Debug, Default)]
pub(in crate::node) struct Management {
    allowed: Vec<IdentityHash>,
    probe: Option<DestinationHash>,
    destinations: Vec<DestinationHash>,
    /// Bytes each interface had carried, received and sent, when statistics were asked for last, and when that was.
    measured: BTreeMap<InterfaceId, (Instant, u64, u64)>,
}

impl Management {
    /// Registers the destinations that the owner wants. They belong to the transport identity.
    pub(in crate::node) fn register(stack: &mut Stack, transport: &Identity, config: &ManagementConfig) -> Self {
        let mut management = Self { allowed: config.remote_management_allowed.clone(), ..Self::default() };
        let mut add = |destination: Destination| match stack.register(destination) {
            Ok(hash) => {
                management.destinations.push(hash);
                Some(hash)
            }
            // The stack is new, so nothing is registered twice.
            Err(error) => {
                tracing::error!(%error, "a management destination is refused");
                None
            }
        };
        let mut probe = None;
        if config.respond_to_probes {
            let silent = Destination::new(transport.clone(), probe_name());
            probe = add(Destination { accepts_links: false, proofs: ProofStrategy::All, ..silent });
        }
        if config.remote_management {
            let request_paths = vec![STATUS_PATH.to_owned(), TABLE_PATH.to_owned()];
            add(Destination { request_paths, ..Destination::new(transport.clone(), remote_management_name()) });
        }
        if config.publish_blackhole {
            let request_paths = vec![LIST_PATH.to_owned()];
            add(Destination { request_paths, ..Destination::new(transport.clone(), blackhole_name()) });
        }
        management.probe = probe;
        management
    }
}

impl Core {
    pub(super) fn plan_management(&mut self) {
        if !self.parts.management.destinations.is_empty() {
            self.timers.set(Errand::Management, Instant::ZERO + FIRST_ANNOUNCE);
        }
    }

    pub(super) fn announce_management(&mut self, now: Now) {
        for destination in self.parts.management.destinations.clone() {
            if let Err(error) = self.parts.stack.announce(now, destination, &[]) {
                tracing::error!(%error, "cannot announce a management destination");
            }
        }
        self.parts.keeper.touch();
        self.keep_soon(now);
        self.timers.set(Errand::Management, now.mono + ANNOUNCE_INTERVAL);
    }

    /// Answers a request for one of the management paths. Others than the allowed, and what is no request, get silence.
    pub(super) fn manage(
        &mut self,
        now: Now,
        (link, request): (LinkId, RequestId),
        caller: Option<IdentityHash>,
        path: &str,
        body: &[u8],
    ) {
        let allowed = caller.is_some_and(|caller| self.parts.management.allowed.contains(&caller));
        let reply = match path {
            LIST_PATH => Some(self.parts.stack.blackholed().encode()),
            STATUS_PATH if allowed => StatusRequest::decode(body).ok().map(|asked| self.status(now, asked).into()),
            TABLE_PATH if allowed => PathTableRequest::decode(body).ok().map(|asked| self.table(now, &asked).into()),
            _ => None,
        };
        match reply {
            Some(reply) => self.answer(now, link, request, &reply),
            None => tracing::debug!(?caller, path, "management request ignored"),
        }
    }

    fn status(&mut self, now: Now, asked: StatusRequest) -> Vec<u8> {
        let interfaces = self.interfaces.values().map(|attached| self.interface_statistics(now, attached)).collect();
        let carried = |(id, attached): (&InterfaceId, &Attached)| {
            let traffic = attached.handle.monitor.traffic();
            (*id, (now.mono, traffic.rx_bytes, traffic.tx_bytes))
        };
        let node = NodeStatistics {
            transport_id: self.parts.stack.transport_id(),
            uptime_s: now.mono.since(Instant::ZERO).as_secs_f64(),
            probe_responder: self.parts.management.probe,
            resident_bytes: resident_bytes(),
            interfaces,
        };
        self.parts.management.measured = self.interfaces.iter().map(carried).collect();
        let links = u64::try_from(self.parts.stack.relayed_links().count()).unwrap_or(u64::MAX);
        encode_status(asked, &node, links)
    }

    fn interface_statistics(&self, now: Now, attached: &Attached) -> InterfaceStatistics {
        let id = attached.handle.id;
        let traffic = attached.handle.monitor.traffic();
        let (since, received, sent) = self.parts.management.measured.get(&id).copied().unwrap_or_default();
        let seconds = now.mono.since(since).as_secs_f64().max(f64::EPSILON);
        let rate = |bytes: u64, before: u64| bits(bytes.saturating_sub(before)) / seconds;
        let children = self.interfaces.values().filter(|other| other.parent == Some(id)).count();
        let takes_in = self.parts.servers.contains(&id);
        let load = self.parts.stack.load(now, id);
        let profile = attached.profile.as_ref();
        let whole = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        InterfaceStatistics {
            name: self.full_name(attached),
            short_name: attached.handle.name.to_string(),
            kind: "WendInterface".to_owned(),
            parent: attached.parent.and_then(|parent| self.interfaces.get(&parent)).map(|of| self.full_name(of)),
            clients: takes_in.then(|| whole(children)),
            up: attached.handle.monitor.status().state == State::Up,
            mode: profile.map(|profile| profile.mode).unwrap_or_default(),
            bitrate_bps: profile.map(|profile| profile.bitrate_bps).unwrap_or_default(),
            mtu: load.map(|load| whole(load.mtu)).unwrap_or_default(),
            gravity: profile.map(|profile| profile.gravity).unwrap_or_default(),
            received_bytes: traffic.rx_bytes,
            sent_bytes: traffic.tx_bytes,
            received_bps: rate(traffic.rx_bytes, received),
            sent_bps: rate(traffic.tx_bytes, sent),
            announces: load.map(|load| load.announces).unwrap_or_default(),
            path_requests: load.map(|load| load.path_requests).unwrap_or_default(),
            held_announces: load.map(|load| whole(load.backlog.held)).unwrap_or_default(),
            queued_announces: load.map(|load| whole(load.backlog.queued)).unwrap_or_default(),
            queued_bytes: load.map(|load| whole(load.queued_bytes)).unwrap_or_default(),
            lost_frames: load.map(|load| load.lost_frames).unwrap_or_default(),
        }
    }

    /// A name that no other interface has: ids are never used again.
    fn full_name(&self, attached: &Attached) -> String {
        format!("WendInterface[{}/{}]", attached.handle.name, attached.handle.id.0)
    }

    fn table(&self, now: Now, asked: &PathTableRequest) -> Vec<u8> {
        match asked.table {
            Table::Paths => {
                let paths = self.parts.stack.paths().filter(|path| asked.admits(path.destination, path.hops));
                let rows: Vec<_> = paths
                    .map(|path| PathRow {
                        destination: path.destination,
                        used: wall(now, path.used),
                        via: path.next_hop,
                        hops: path.hops,
                        expires: wall(now, path.expires),
                        interface: self.interfaces.get(&path.on).map(|of| self.full_name(of)).unwrap_or_default(),
                    })
                    .collect();
                encode_paths(&rows)
            }
            Table::Rates => {
                let rates = self.parts.stack.announce_rates();
                let rows: Vec<_> = rates
                    .filter(|rate| asked.admits_destination(rate.destination))
                    .map(|rate| RateRow {
                        destination: rate.destination,
                        last: wall(now, rate.last),
                        violations: rate.violations.into(),
                        blocked_until: Some(rate.blocked_until)
                            .filter(|until| *until > Instant::ZERO)
                            .map(|until| wall(now, until)),
                        times: rate.times.iter().map(|at| wall(now, *at)).collect(),
                    })
                    .collect();
                encode_rates(&rows)
            }
        }
    }
}

/// What the wall clock shows at an instant, if nobody sets it.
fn wall(now: Now, at: Instant) -> UnixTime {
    let passed: Duration = now.mono.since(at);
    UnixTime(now.unix.0.saturating_sub(passed.as_secs()).saturating_add(at.since(now.mono).as_secs()))
}

#[expect(clippy::cast_precision_loss, reason = "rates need few digits")]
fn bits(bytes: u64) -> f64 {
    bytes as f64 * 8.0
}
