//! What another process takes from the machine, as the system counts it.

use std::fs;
use std::io;

/// A process that is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) const fn new(id: u32) -> Self {
        Self(id)
    }

    /// Seconds of processor time, its own and the system's for it, threads that ended included.
    pub(crate) fn cpu_s(self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name may hold anything but ends with the last parenthesis; user and system time follow eleven fields later.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Bytes resident.
    pub(crate) fn resident(self) -> io::Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.0))?;
        let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or_default();
        Ok(pages * rustix::param::page_size() as u64)
    }
}
