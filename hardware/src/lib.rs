//! What this machine is: processor, memory, disk, operating system and GPUs.
//!
//! [`probe`] blocks, is bounded in time and cannot fail as a whole: every field is a [`Probe`], so that "no NVIDIA driver"
//! is an answer. Nothing here knows of the mesh.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a test may panic: that is how it fails"
    )
)]

mod deadline;
mod disk;
mod gpu;
mod probe;
mod processor;
mod system;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use deadline::{Site, start};
pub use disk::Disk;
pub use gpu::Gpu;
pub use probe::{Probe, ProbeError};
pub use processor::Processor;
pub use system::LoadAverage;

/// What a probe may cost, and where it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest time the whole probe may take. What has not answered by then is reported as timed out.
    pub time: Duration,
    /// A path on the disk to look at; it must exist. `None`: no disk.
    pub disk: Option<PathBuf>,
}

impl Default for Limits {
    /// Three seconds, no disk. NVML alone may take one second when the driver has been idle.
    fn default() -> Self {
        Self { time: Duration::from_secs(3), disk: None }
    }
}

/// What was found. As JSON, a field is its value or `{"error": "..."}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The processor.
    pub processor: Processor,
    /// Memory the system has.
    #[serde(serialize_with = "probe::serialize")]
    pub memory_total_bytes: Probe<u64>,
    /// Memory that programs can have now without swapping.
    #[serde(serialize_with = "probe::serialize")]
    pub memory_available_bytes: Probe<u64>,
    /// The disk asked for.
    #[serde(serialize_with = "probe::serialize")]
    pub disk: Probe<Disk>,
    /// Name and version of the operating system, for example `Debian GNU/Linux 12`.
    #[serde(serialize_with = "probe::serialize")]
    pub operating_system: Probe<String>,
    /// Version of the kernel.
    #[serde(serialize_with = "probe::serialize")]
    pub kernel: Probe<String>,
    /// Processes that want to run.
    #[serde(serialize_with = "probe::serialize")]
    pub load_average: Probe<LoadAverage>,
    /// GPUs, of NVML and of the kernel, each once. Empty when there are none.
    #[serde(serialize_with = "probe::serialize")]
    pub gpus: Probe<Vec<Gpu>>,
    /// Version of the NVIDIA driver, or why there is none.
    #[serde(serialize_with = "probe::serialize")]
    pub nvidia_driver: Probe<String>,
}

static DISK: Site = Site::new();
static KERNEL_GPUS: Site = Site::new();
static NVML: Site = Site::new();

/// Looks at the machine. Blocks for at most [`Limits::time`] and a little; call it from a thread that may wait.
///
/// Drivers and network disks can hang without a way to stop them, so they are asked on threads of their own. A thread
/// that has not returned in time is left behind and ends when the driver lets it go. At most one such thread exists for
/// each of disk, kernel GPUs and NVML: while it is there, further probes say so instead of starting another.
#[must_use]
pub fn probe(limits: &Limits) -> Report {
    let deadline = Instant::now() + limits.time;
    let disk = limits.disk.clone().map(|path| start(&DISK, move || Disk::of(path)));
    let kernel_gpus = start(&KERNEL_GPUS, gpu::from_kernel);
    let nvml = start(&NVML, gpu::from_nvml);

    let system = system::look();
    let disk = disk.map_or(Err(ProbeError::NotAsked), |pending| pending.wait(deadline));
    let (gpus, nvidia_driver) = gpu::together(nvml.wait(deadline), kernel_gpus.wait(deadline));
    Report {
        processor: system.processor,
        memory_total_bytes: system.memory_total_bytes,
        memory_available_bytes: system.memory_available_bytes,
        disk,
        operating_system: system.operating_system,
        kernel: system.kernel,
        load_average: system.load_average,
        gpus,
        nvidia_driver,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_memory_and_a_disk() {
        let report = probe(&Limits { disk: Some(std::env::temp_dir()), ..Limits::default() });
        assert!(report.processor.logical_cores.clone().unwrap() >= 1);
        assert!(report.memory_total_bytes.clone().unwrap() > report.memory_available_bytes.clone().unwrap());
        let disk = report.disk.clone().unwrap();
        assert!(disk.total_bytes > 0 && disk.total_bytes >= disk.available_bytes);
        assert!(!report.operating_system.clone().unwrap().is_empty());
        assert!(!report.kernel.unwrap().is_empty());
    }

    #[test]
    fn the_report_is_json_of_values_and_errors() {
        let report = probe(&Limits::default());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["disk"], serde_json::json!({"error": "not asked for"}));
        assert!(json["memory_total_bytes"].is_u64());
        assert!(json["processor"]["features"].is_array());
        assert!(json["gpus"].is_array() || json["gpus"]["error"].is_string());
        assert!(json["nvidia_driver"].is_string() || json["nvidia_driver"]["error"].is_string());
    }

    #[test]
    fn without_time_the_report_still_comes() {
        let began = Instant::now();
        let report = probe(&Limits { time: Duration::ZERO, disk: None });
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(report.memory_total_bytes.is_ok());
    }
}
