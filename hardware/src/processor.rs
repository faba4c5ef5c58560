//! The processor.

use serde::Serialize;
use sysinfo::System;

use crate::probe::{self, Probe, ProbeError};
use crate::system::told;

/// The processor. Machines with several different ones are described by the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Processor {
    /// What its maker calls it.
    #[serde(serialize_with = "probe::serialize")]
    pub model: Probe<String>,
    /// Cores.
    #[serde(serialize_with = "probe::serialize")]
    pub physical_cores: Probe<usize>,
    /// Threads that run at the same time.
    #[serde(serialize_with = "probe::serialize")]
    pub logical_cores: Probe<usize>,
    /// What this program was built for, for example `x86_64` or `aarch64`.
    pub architecture: &'static str,
    /// Those of its instruction sets that make vector and number work faster, for example `avx2` or `neon`.
    pub features: Vec<&'static str>,
}

impl Processor {
    pub(crate) fn of(system: &Probe<System>) -> Self {
        let cpus = system.as_ref().map(System::cpus).map_err(Clone::clone);
        Self {
            model: cpus.clone().and_then(|cpus| {
                let brand = cpus.first().map(|cpu| cpu.brand().trim()).unwrap_or_default();
                if brand.is_empty() { Err(ProbeError::NotReported) } else { Ok(brand.to_owned()) }
            }),
            physical_cores: told(System::physical_core_count()),
            logical_cores: cpus
                .and_then(|cpus| if cpus.is_empty() { Err(ProbeError::NotReported) } else { Ok(cpus.len()) }),
            architecture: std::env::consts::ARCH,
            features: features(),
        }
    }
}

/// Names of the features that this processor has, of those listed.
macro_rules! present {
    ($detect:ident: $($name:tt),*) => {
        [$(($name, std::arch::$detect!($name))),*]
            .into_iter()
            .filter_map(|(name, present)| present.then_some(name))
            .collect()
    };
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    present!(is_x86_feature_detected:
        "aes", "sse4.2", "avx", "f16c", "fma", "avx2", "avxvnni",
        "avx512f", "avx512bw", "avx512vnni", "avx512bf16", "avx512fp16")
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    present!(is_aarch64_feature_detected: "aes", "neon", "fp16", "dotprod", "i8mm", "bf16", "sve", "sve2")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
