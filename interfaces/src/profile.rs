//! What the drivers tell the core about their media. docs/protocol/3-interfaces.md, section 1.5.

use wend_packet::access_code::{ACCESS_CODE_DEFAULT, ACCESS_CODE_MAX, AccessKey};
use wend_packet::stack::{AnnounceRate, BurstLimits, InterfaceProfile, Mode};

/// What the configuration may set on any interface.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProfileOptions {
    /// How the interface takes part in the network; full when not set.
    pub mode: Option<Mode>,
    /// Bits per second, where the usual value of the type is wrong. Values below 5 are ignored, as in the reference.
    pub bitrate_bps: Option<u64>,
    /// Key of the closed network on it; open when not set.
    pub access_key: Option<AccessKey>,
    /// Bytes of its access codes, 1 to 64, where the usual length of the type is wrong. Both ends must agree.
    pub access_code_len: Option<usize>,
    /// How much of it announces and searches for paths may take, and from whom.
    pub traffic: TrafficOptions,
}

/// What the configuration may set of announces and searches for paths. The fields are those of [`InterfaceProfile`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "each field is explained where it takes effect, in `InterfaceProfile`")]
pub struct TrafficOptions {
    pub announce_cap_ppm: u32,
    pub announce_rate: AnnounceRate,
    /// Where not set, it depends on the type.
    pub ingress_control: Option<bool>,
    pub burst_limits: BurstLimits,
    pub path_request_egress_hz: Option<f64>,
    pub searches_always: bool,
    pub receive_only: bool,
    pub announces_to_internal: bool,
    pub announces_from_internal: bool,
    pub gravity: i64,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        let usual = InterfaceProfile::new(1);
        Self {
            announce_cap_ppm: usual.announce_cap_ppm,
            announce_rate: usual.announce_rate,
            ingress_control: None,
            burst_limits: usual.burst_limits,
            path_request_egress_hz: usual.path_request_egress_hz,
            searches_always: usual.searches_always,
            receive_only: usual.receive_only,
            announces_to_internal: usual.announces_to_internal,
            announces_from_internal: usual.announces_from_internal,
            gravity: usual.gravity,
        }
    }
}

/// Slowest bitrate that may be configured. docs/protocol/3-interfaces.md, section 16.
const BITRATE_MIN_BPS: u64 = 5;
/// What TCP is taken for. docs/protocol/3-interfaces.md, section 1.5.
const TCP_BITRATE_BPS: u64 = 10_000_000;
/// Default length of access codes on serial lines. docs/protocol/3-interfaces.md, section 1.5.
#[cfg(feature = "serial")]
const SERIAL_ACCESS_CODE_LEN: usize = 8;

/// Bitrates from which on an interface that sets its MTU by bitrate has the MTU beside it, in bytes.
const MTU_BY_BITRATE: [(u64, usize); 10] = [
    (1_000_000_000, 524_288),
    (750_000_000, 262_144),
    (400_000_000, 131_072),
    (200_000_000, 65_536),
    (100_000_000, 32_768),
    (10_000_000, 16_384),
    (5_000_000, 8_192),
    (2_000_000, 4_096),
    (1_000_000, 2_048),
    (62_500, 1_024),
];

fn mtu_by_bitrate(bitrate_bps: u64) -> Option<usize> {
    MTU_BY_BITRATE.iter().find(|(from, _)| bitrate_bps >= *from).map(|(_, mtu)| *mtu)
}

impl ProfileOptions {
    fn bitrate_or(&self, usual_bps: u64) -> u64 {
        self.bitrate_bps.filter(|bps| *bps >= BITRATE_MIN_BPS).unwrap_or(usual_bps)
    }

    /// The usual length of codes leaves its room on reception even where no code is used, as in the reference.
    fn access_code_len_or(&self, usual: usize) -> usize {
        self.access_code_len.map_or(usual, |len| len.clamp(1, ACCESS_CODE_MAX))
    }

    /// Of a TCP connection.
    pub(crate) fn tcp(&self) -> InterfaceProfile {
        let bitrate_bps = self.bitrate_or(TCP_BITRATE_BPS);
        InterfaceProfile {
            hw_mtu: mtu_by_bitrate(bitrate_bps),
            negotiates_mtu: true,
            access_code_len: self.access_code_len_or(ACCESS_CODE_DEFAULT),
            access_key: self.access_key.clone(),
            ..self.usual(bitrate_bps, true)
        }
    }

    /// What does not depend on the medium; `ingress_control` says whether bursts are held back where nothing is configured.
    fn usual(&self, bitrate_bps: u64, ingress_control: bool) -> InterfaceProfile {
        let traffic = &self.traffic;
        InterfaceProfile {
            mode: self.mode.unwrap_or_default(),
            ingress_control: traffic.ingress_control.unwrap_or(ingress_control),
            announce_cap_ppm: traffic.announce_cap_ppm,
            announce_rate: traffic.announce_rate,
            burst_limits: traffic.burst_limits,
            path_request_egress_hz: traffic.path_request_egress_hz,
            searches_always: traffic.searches_always,
            receive_only: traffic.receive_only,
            announces_to_internal: traffic.announces_to_internal,
            announces_from_internal: traffic.announces_from_internal,
            gravity: traffic.gravity,
            ..InterfaceProfile::new(bitrate_bps)
        }
    }

    /// Of a serial line.
    #[cfg(feature = "serial")]
    pub(crate) fn serial(&self, speed_bps: u32) -> InterfaceProfile {
        InterfaceProfile {
            hw_mtu: Some(crate::framing::hdlc::SERIAL_MAX),
            access_code_len: self.access_code_len_or(SERIAL_ACCESS_CODE_LEN),
            access_key: self.access_key.clone(),
            ..self.usual(self.bitrate_or(u64::from(speed_bps).max(1)), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_follows_the_bitrate_as_in_the_reference() {
        for (bps, mtu) in [
            (62_499, None),
            (62_500, Some(1_024)),
            (999_999, Some(1_024)),
            (1_000_000, Some(2_048)),
            (2_000_000, Some(4_096)),
            (5_000_000, Some(8_192)),
            (10_000_000, Some(16_384)),
            (99_999_999, Some(16_384)),
            (100_000_000, Some(32_768)),
            (200_000_000, Some(65_536)),
            (400_000_000, Some(131_072)),
            (750_000_000, Some(262_144)),
            (u64::MAX, Some(524_288)),
        ] {
            assert_eq!(mtu_by_bitrate(bps), mtu, "{bps}");
        }
    }

    #[test]
    fn tcp_is_taken_for_ten_megabit_unless_configured() {
        let usual = ProfileOptions::default().tcp();
        assert_eq!((usual.bitrate_bps, usual.hw_mtu, usual.mode), (10_000_000, Some(16_384), Mode::Full));
        let set = ProfileOptions { mode: Some(Mode::Gateway), bitrate_bps: Some(1_200), ..Default::default() }.tcp();
        assert_eq!((set.bitrate_bps, set.hw_mtu, set.mode), (1_200, None, Mode::Gateway));
        assert_eq!(ProfileOptions { bitrate_bps: Some(4), ..Default::default() }.tcp(), usual);
    }

    #[test]
    fn access_codes_have_the_length_of_the_type_unless_configured() {
        let key = AccessKey::derive(Some("network"), None);
        let usual = ProfileOptions { access_key: key.clone(), ..Default::default() }.tcp();
        assert_eq!((usual.access_code_len, usual.access_key), (16, key));
        let set = ProfileOptions { access_code_len: Some(64), ..Default::default() }.tcp();
        assert_eq!((set.access_code_len, set.access_key), (64, None));
    }

    #[test]
    fn what_is_configured_of_announces_reaches_the_profile() {
        let traffic = TrafficOptions { announce_cap_ppm: 1, receive_only: true, gravity: 3, ..Default::default() };
        let set = ProfileOptions { traffic, ..Default::default() }.tcp();
        assert_eq!((set.announce_cap_ppm, set.receive_only, set.gravity, set.ingress_control), (1, true, 3, true));
    }

    #[cfg(feature = "serial")]
    #[test]
    fn a_serial_line_has_the_bitrate_of_its_speed() {
        let profile = ProfileOptions::default().serial(9_600);
        assert_eq!((profile.bitrate_bps, profile.hw_mtu, profile.negotiates_mtu), (9_600, Some(564), false));
        assert!(!profile.ingress_control);
    }
}
