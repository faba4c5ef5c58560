//! Who may be connected to a server, when there are more who want to be.

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

use crate::port::Monitor;

/// Peers of one server. Each holds a task, a read buffer and at most one unfinished frame.
pub(super) const PLACES: usize = 64;
/// Peers from one address, this machine excepted: nodes behind one router share theirs.
const PER_ADDRESS: usize = 16;

/// Why a connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// All places are taken by peers who have delivered frames, or too many tasks are still ending.
    Full,
    /// As many from this address have one.
    Address,
}

#[derive(Debug)]
struct Place {
    address: IpAddr,
    monitor: Monitor,
    /// Ends the connection; cancelled when the connection has ended.
    stop: CancellationToken,
}

impl Place {
    fn is_silent(&self) -> bool {
        self.monitor.traffic().rx_frames == 0
    }
}

/// The connections of a server, oldest first.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

impl Places {
    /// Makes room for one more from `address`. When all places are taken, the oldest connection that has not delivered
    /// a frame yet is ended: whoever only connects cannot shut others out.
    pub(super) fn make_room(&mut self, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        self.0.retain(|place| !place.stop.is_cancelled());
        let same = self.0.iter().filter(|place| place.address == address).count();
        if same >= PER_ADDRESS && !address.is_loopback() {
            return Err(Refused::Address);
        }
        if self.0.len() < PLACES {
            return Ok(());
        }
        let silent = self.0.iter().position(Place::is_silent).ok_or(Refused::Full)?;
        self.0.remove(silent).stop.cancel();
        Ok(())
    }

    /// Notes a connection from `address`, for which there is room, until `stop` is cancelled.
    pub(super) fn take(&mut self, address: IpAddr, monitor: Monitor, stop: CancellationToken) {
        self.0.push(Place { address: address.to_canonical(), monitor, stop });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{Port, Ports};

    const HERE: [u8; 4] = [127, 0, 0, 1];

    /// Connects; the port belongs to the connection.
    fn connect(places: &mut Places, ports: &Ports, address: impl Into<IpAddr>) -> Result<Port, Refused> {
        let address = address.into();
        places.make_room(address)?;
        let (port, handle) = ports.port("peer").unwrap();
        places.take(address, handle.monitor, port.stop().clone());
        Ok(port)
    }

    fn full(places: &mut Places, ports: &Ports) -> Vec<Port> {
        (0..PLACES).map(|_| connect(places, ports, HERE).unwrap()).collect()
    }

    #[test]
    fn the_oldest_peer_who_delivered_nothing_makes_room() {
        let (ports, _events) = Ports::new();
        let mut places = Places::default();
        let peers = full(&mut places, &ports);
        peers[0].counters().received(1, 30, 0);
        peers[2].counters().received(0, 3000, 7);
        let ended = |places: &mut Places| {
            connect(places, &ports, [10, 0, 0, 1]).unwrap();
            peers.iter().map(|peer| peer.stop().is_cancelled()).take(4).collect::<Vec<_>>()
        };
        assert_eq!(ended(&mut places), [false, true, false, false]);
        assert_eq!(ended(&mut places), [false, true, true, false]);
        assert_eq!(places.0.len(), PLACES);
    }

    #[test]
    fn when_all_have_delivered_a_newcomer_waits_for_one_to_leave() {
        let (ports, _events) = Ports::new();
        let mut places = Places::default();
        let peers = full(&mut places, &ports);
        peers.iter().for_each(|peer| peer.counters().received(1, 30, 0));
        assert_eq!(connect(&mut places, &ports, HERE).err(), Some(Refused::Full));
        assert!(peers.iter().all(|peer| !peer.stop().is_cancelled()));
        peers[5].stop().cancel();
        assert!(connect(&mut places, &ports, HERE).is_ok());
    }

    #[test]
    fn one_address_gets_sixteen_places_and_this_machine_all() {
        let (ports, _events) = Ports::new();
        let mut places = Places::default();
        let mut peers = Vec::new();
        for _ in 0..PER_ADDRESS {
            peers.push(connect(&mut places, &ports, [10, 0, 0, 1]).unwrap());
        }
        assert_eq!(connect(&mut places, &ports, [10, 0, 0, 1]).err(), Some(Refused::Address));
        let mapped = std::net::Ipv4Addr::from([10, 0, 0, 1]).to_ipv6_mapped();
        assert_eq!(connect(&mut places, &ports, mapped).err(), Some(Refused::Address));
        assert!(connect(&mut places, &ports, [10, 0, 0, 2]).is_ok());
        for _ in 0..=PER_ADDRESS {
            peers.push(connect(&mut places, &ports, std::net::Ipv6Addr::LOCALHOST).unwrap());
        }
        peers[0].stop().cancel();
        assert!(connect(&mut places, &ports, [10, 0, 0, 1]).is_ok());
    }
}
