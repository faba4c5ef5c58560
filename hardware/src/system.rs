//! What `sysinfo` knows. Only what is asked for here is refreshed: a full refresh reads every process of the machine.

use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::probe::{Probe, ProbeError};
use crate::processor::Processor;

/// How many processes wanted to run, on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LoadAverage {
    /// Over one minute.
    pub one_minute: f64,
    /// Over five minutes.
    pub five_minutes: f64,
    /// Over fifteen minutes.
    pub fifteen_minutes: f64,
}

pub(crate) struct Found {
    pub(crate) processor: Processor,
    pub(crate) memory_total_bytes: Probe<u64>,
    pub(crate) memory_available_bytes: Probe<u64>,
    pub(crate) operating_system: Probe<String>,
    pub(crate) kernel: Probe<String>,
    pub(crate) load_average: Probe<LoadAverage>,
}

pub(crate) fn look() -> Found {
    let kind =
        RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()).with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = told(System::new_with_specifics(kind));
    let memory = |bytes: fn(&System) -> u64| {
        let bytes = system.as_ref().map(bytes).map_err(Clone::clone)?;
        if bytes == 0 { Err(ProbeError::NotReported) } else { Ok(bytes) }
    };
    Found {
        processor: Processor::of(&system),
        memory_total_bytes: memory(System::total_memory),
        memory_available_bytes: memory(System::available_memory),
        operating_system: operating_system(),
        kernel: told(System::kernel_version()),
        load_average: load_average(),
    }
}

/// An answer of `sysinfo`.
pub(crate) fn told<T>(answer: Result<T, sysinfo::Error>) -> Probe<T> {
    answer.map_err(|error| match error {
        sysinfo::Error::Unsupported => ProbeError::Unsupported,
        other => ProbeError::failed(&other),
    })
}

fn operating_system() -> Probe<String> {
    let name = told(System::name())?;
    // Rolling distributions have no version.
    Ok(match System::os_version() {
        Ok(version) => format!("{name} {version}"),
        Err(_) => name,
    })
}

/// Windows has no such thing, and zeros would look like an idle machine.
fn load_average() -> Probe<LoadAverage> {
    if cfg!(windows) {
        return Err(ProbeError::Unsupported);
    }
    let load = told(System::load_average())?;
    Ok(LoadAverage { one_minute: load.one, five_minutes: load.five, fifteen_minutes: load.fifteen })
}
