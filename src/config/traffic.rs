//! The keys of an interface that say how much of it announces and searches for paths may take, and from whom.
//! docs/protocol/1-core.md, sections 4.4 to 4.7 and 5.6.

use std::time::Duration;

use wend_interfaces::TrafficOptions;
use wend_packet::stack::{AnnounceRate, BurstLimits, PATH_REQUEST_EGRESS_HZ};

use super::{InterfaceConfig, Problem};

/// One percent, in millionths.
const PPM_PER_PERCENT: f64 = 10_000.0;

impl InterfaceConfig {
    /// What the config says of announces and searches; the rest is as usual.
    pub fn traffic(&self) -> TrafficOptions {
        let usual = TrafficOptions::default();
        let limits = BurstLimits::DEFAULT;
        let seconds = |key: Option<u64>, usual: Duration| key.map_or(usual, Duration::from_secs);
        let hz = |new: Option<f64>, later: Option<f64>, usual: (f64, f64)| {
            (new.unwrap_or(usual.0), later.unwrap_or(usual.1))
        };
        TrafficOptions {
            announce_cap_ppm: self.announce_cap.map_or(usual.announce_cap_ppm, ppm),
            announce_rate: AnnounceRate {
                target: self.announce_rate_target.map(Duration::from_secs),
                grace: self.announce_rate_grace,
                penalty: self.announce_rate_penalty.map(Duration::from_secs),
            },
            ingress_control: self.ingress_control,
            burst_limits: BurstLimits {
                new_for: seconds(self.ic_new_time, limits.new_for),
                announce_hz: hz(self.ic_burst_freq_new, self.ic_burst_freq, limits.announce_hz),
                path_request_hz: hz(self.ic_pr_burst_freq_new, self.ic_pr_burst_freq, limits.path_request_hz),
                hold: seconds(self.ic_burst_hold, limits.hold),
                penalty: seconds(self.ic_burst_penalty, limits.penalty),
                release_interval: seconds(self.ic_held_release_interval, limits.release_interval),
                held_max: self.ic_max_held_announces.unwrap_or(limits.held_max),
            },
            path_request_egress_hz: self.egress_control.then(|| self.ec_pr_freq.unwrap_or(PATH_REQUEST_EGRESS_HZ)),
            searches_always: self.recursive_prs,
            receive_only: !self.outgoing,
            announces_to_internal: self.announces_to_internal,
            announces_from_internal: self.announces_from_internal,
            gravity: self.gravity,
        }
    }

    pub(super) fn check_traffic(&self) -> Result<(), Problem> {
        if let Some(cap) = self.announce_cap.filter(|cap| !(*cap > 0.0 && *cap <= 100.0)) {
            return Err(Problem {
                key: "announce_cap".to_owned(),
                message: format!("interface {:?}: `announce_cap` is {cap}", self.name),
                help: "it is a share in percent, above 0 and at most 100; 2 is usual".to_owned(),
            });
        }
        let frequencies = [
            ("ic_burst_freq_new", self.ic_burst_freq_new),
            ("ic_burst_freq", self.ic_burst_freq),
            ("ic_pr_burst_freq_new", self.ic_pr_burst_freq_new),
            ("ic_pr_burst_freq", self.ic_pr_burst_freq),
            ("ec_pr_freq", self.ec_pr_freq),
        ];
        let wrong = frequencies.into_iter().find_map(|(key, hz)| {
            let hz = hz.filter(|hz| !hz.is_finite() || *hz < 0.0)?;
            Some((key, hz))
        });
        match wrong {
            None => Ok(()),
            Some((key, hz)) => Err(Problem {
                key: key.to_owned(),
                message: format!("interface {:?}: `{key}` is {hz}", self.name),
                help: "it is how many come in a second: 0 or more".to_owned(),
            }),
        }
    }
}

/// The share in millionths, at least one.
fn ppm(percent: f64) -> u32 {
    // In range: the config was checked, and a cast of a float saturates.
    ((percent * PPM_PER_PERCENT).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_says_nothing_is_as_usual() {
        assert_eq!(InterfaceConfig::listen("here", "127.0.0.1:1").traffic(), TrafficOptions::default());
    }

    #[test]
    fn what_is_said_reaches_the_interface() {
        let config = InterfaceConfig {
            announce_cap: Some(0.5),
            announce_rate_target: Some(60),
            ic_burst_freq: Some(20.0),
            egress_control: true,
            outgoing: false,
            ..InterfaceConfig::listen("here", "127.0.0.1:1")
        };
        let traffic = config.traffic();
        assert_eq!(traffic.announce_cap_ppm, 5_000);
        assert_eq!(traffic.announce_rate.target, Some(Duration::from_secs(60)));
        assert_eq!(traffic.burst_limits.announce_hz, (BurstLimits::DEFAULT.announce_hz.0, 20.0));
        assert_eq!(traffic.path_request_egress_hz, Some(PATH_REQUEST_EGRESS_HZ));
        assert!(traffic.receive_only);
    }
}
