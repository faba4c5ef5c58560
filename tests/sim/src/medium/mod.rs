//! Media: what joins nodes, how long a frame occupies it and who hears it. docs/simulator.md, Media.

mod loss;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wend_packet::stack::{InterfaceId, InterfaceProfile, Mode};
use wend_packet::time::Instant;

pub(crate) use loss::Fading;
pub use loss::Loss;

/// How stations of a radio channel avoid each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarrierSense {
    /// The channel must be silent this long before anybody sends.
    pub silence: Duration,
    /// Length of a slot: a carrier is noticed one slot after it began.
    pub slot: Duration,
    /// Slots among which a station chooses at first. Each time it finds the channel taken the number doubles, up to 16 times
    /// as many.
    pub slots: u32,
}

/// Who may send at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody, in both directions: a switched network, or a line between two.
    FullDuplex,
    /// One at a time in reach of a receiver, and nobody hears while sending: a radio channel.
    Radio {
        /// `None`: stations send whenever they want to.
        sense: Option<CarrierSense>,
    },
}

/// What a medium is like.
#[derive(Debug, Clone)]
pub struct MediumKind {
    /// Name in the report; media of one name are reported together.
    pub name: String,
    /// What nodes see of it. Its bitrate sets how long a frame takes.
    pub profile: InterfaceProfile,
    /// Airtime of a frame beside its bits: transmitter delay, preamble.
    pub overhead: Duration,
    /// From the end of sending to reception.
    pub latency: Duration,
    /// Latency varies by up to this much. Frames from one sender to one receiver stay in order.
    pub jitter: Duration,
    /// How receptions fail.
    pub loss: Loss,
    /// Who may send at the same time.
    pub sharing: Sharing,
}

impl MediumKind {
    fn wire(name: &str, profile: InterfaceProfile, latency: Duration) -> Self {
        Self {
            name: name.to_owned(),
            profile,
            overhead: Duration::ZERO,
            latency,
            jitter: latency / 4,
            loss: Loss::NONE,
            sharing: Sharing::FullDuplex,
        }
    }

    /// A local network of 10 Mbit/s as its interface is reckoned with, 1 ms away.
    pub fn lan() -> Self {
        let profile =
            InterfaceProfile { hw_mtu: Some(1196), negotiates_mtu: true, ..InterfaceProfile::new(10_000_000) };
        Self::wire("LAN", profile, Duration::from_millis(1))
    }

    /// A TCP connection over the internet: 10 Mbit/s, 30 ms away.
    pub fn tcp() -> Self {
        let profile =
            InterfaceProfile { hw_mtu: Some(16_384), negotiates_mtu: true, ..InterfaceProfile::new(10_000_000) };
        Self::wire("TCP line", profile, Duration::from_millis(30))
    }

    /// A serial line.
    pub fn serial(bitrate_bps: u64) -> Self {
        let profile = InterfaceProfile { hw_mtu: Some(564), ..InterfaceProfile::new(bitrate_bps) };
        Self::wire(&format!("serial line {bitrate_bps} bit/s"), profile, Duration::ZERO)
    }

    /// A packet radio channel with a modem: 150 ms until the transmitter is up, carrier sensing in slots of 50 ms.
    pub fn packet_radio(bitrate_bps: u64) -> Self {
        let slot = Duration::from_millis(50);
        Self {
            name: format!("radio {bitrate_bps} bit/s"),
            profile: InterfaceProfile { hw_mtu: Some(564), ..InterfaceProfile::new(bitrate_bps) },
            overhead: Duration::from_millis(150),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Loss::NONE,
            sharing: Sharing::Radio { sense: Some(CarrierSense { silence: slot, slot, slots: 8 }) },
        }
    }

    /// A LoRa channel of 3,125 bit/s (SF8, 125 kHz, 4/5): 18 symbols of preamble and 8 of header, slots of 24 ms. Long
    /// frames are sent in one piece, while devices split them in two.
    pub fn lora() -> Self {
        let slot = Duration::from_millis(24);
        Self {
            name: "LoRa 3125 bit/s".to_owned(),
            profile: InterfaceProfile { hw_mtu: Some(508), ..InterfaceProfile::new(3_125) },
            overhead: Duration::from_millis(53),
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: Loss::NONE,
            sharing: Sharing::Radio { sense: Some(CarrierSense { silence: 2 * slot, slot, slots: 15 }) },
        }
    }

    /// The same under another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The same with receptions that fail.
    #[must_use]
    pub fn losing(self, loss: Loss) -> Self {
        Self { loss, ..self }
    }

    /// The same, used as an interface of this mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.profile.mode = mode;
        self
    }

    /// How long a frame of so many bytes occupies it.
    pub fn airtime(&self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or_default().saturating_mul(8_000_000);
        self.overhead + Duration::from_micros((bits / self.profile.bitrate_bps.max(1)).max(1))
    }

    pub(crate) fn sense(&self) -> Option<CarrierSense> {
        match self.sharing {
            Sharing::FullDuplex => None,
            Sharing::Radio { sense } => sense,
        }
    }
}

/// A frame that a station of a radio channel hears.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) transmission: u64,
    pub(crate) since: Instant,
    pub(crate) spoilt: bool,
}

/// A node's place on a medium.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) node: usize,
    pub(crate) interface: InterfaceId,
    pub(crate) mode: Mode,
    /// Whether frames pass: not when the line is cut or the node has left.
    pub(crate) up: bool,
    /// Changes whenever the port comes and goes, so that what was under way then is lost.
    pub(crate) epoch: u32,
    /// Whether its node may have frames for it.
    pub(crate) ready: bool,
    /// The transmission under way.
    pub(crate) sending: Option<u64>,
    /// Counts attempts to send; one that is not the last is void.
    pub(crate) turn: u64,
    /// Whether an attempt to send is planned.
    pub(crate) planned: bool,
    /// Whether it waits for the channel to fall silent.
    pub(crate) waiting: bool,
    /// Slots it chooses among.
    pub(crate) slots: u32,
    /// What it hears now.
    pub(crate) heard: Vec<Incoming>,
    pub(crate) fading: Fading,
    /// Latest arrival from each sender, where latency varies.
    pub(crate) arrivals: BTreeMap<usize, Instant>,
    /// The ports that hear this one; `None`: all.
    pub(crate) hearers: Option<Vec<usize>>,
}

impl Port {
    pub(crate) fn new(node: usize, interface: InterfaceId, slots: u32, mode: Mode) -> Self {
        Self {
            node,
            interface,
            mode,
            up: true,
            epoch: 0,
            ready: false,
            sending: None,
            turn: 0,
            planned: false,
            waiting: false,
            slots,
            heard: Vec::new(),
            fading: Fading::default(),
            arrivals: BTreeMap::new(),
            hearers: None,
        }
    }

    /// Whether a carrier can be noticed by now.
    pub(crate) fn senses(&self, now: Instant, sense: CarrierSense) -> bool {
        self.heard.iter().any(|incoming| incoming.since + sense.slot <= now)
    }
}

/// A medium and who is on it.
#[derive(Debug)]
pub(crate) struct Medium {
    pub(crate) kind: MediumKind,
    pub(crate) ports: Vec<Port>,
    /// Frames on the air, by transmission.
    pub(crate) on_air: BTreeMap<u64, Bytes>,
    /// Since when somebody sends.
    pub(crate) busy_since: Instant,
}

impl Medium {
    pub(crate) fn new(kind: MediumKind) -> Self {
        Self { kind, ports: Vec::new(), on_air: BTreeMap::new(), busy_since: Instant::ZERO }
    }

    /// The ports that hear `port` now.
    pub(crate) fn hearers(&self, port: usize) -> Vec<usize> {
        let all = || (0..self.ports.len()).filter(|other| *other != port).collect();
        let hearers = self.ports[port].hearers.clone().unwrap_or_else(all);
        hearers.into_iter().filter(|other| self.ports[*other].up).collect()
    }
}
