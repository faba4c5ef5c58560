//! GPUs, as NVML and the kernel see them.

use serde::Serialize;

use crate::probe::{self, Probe};

mod kernel;
#[cfg(feature = "nvml")]
mod nvml;

pub(crate) use kernel::from_kernel;
#[cfg(feature = "nvml")]
pub(crate) use nvml::from_nvml;

/// GPUs looked at in all.
const GPUS: usize = 64;

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// What its maker calls it; where the system has no name, the vendor and the PCI ids.
    #[serde(serialize_with = "probe::serialize")]
    pub name: Probe<String>,
    /// Its maker, or the PCI id of an unknown one.
    #[serde(serialize_with = "probe::serialize")]
    pub vendor: Probe<String>,
    /// Memory of its own. Graphics that share the machine's memory do not report any.
    #[serde(serialize_with = "probe::serialize")]
    pub memory_total_bytes: Probe<u64>,
    /// The driver, with its version where it has one of its own.
    #[serde(serialize_with = "probe::serialize")]
    pub driver: Probe<String>,
    /// Where it is plugged in, for example `0000:01:00.0`. `None` for a GPU that is not on a PCI bus.
    pub pci_address: Option<String>,
}

/// What NVML says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nvml {
    pub(crate) driver: String,
    pub(crate) gpus: Vec<Gpu>,
}

#[cfg(not(feature = "nvml"))]
pub(crate) fn from_nvml() -> Probe<Nvml> {
    Err(probe::ProbeError::NotBuilt)
}

/// One list of both sources, and the version of the NVIDIA driver. What both see is listed as NVML describes it.
///
/// There is no list only when the kernel could not be asked and NVML saw nothing either.
pub(crate) fn together(nvml: Probe<Nvml>, kernel: Probe<Vec<Gpu>>) -> (Probe<Vec<Gpu>>, Probe<String>) {
    let (mut gpus, driver) = match nvml {
        Ok(nvml) => (nvml.gpus, Ok(nvml.driver)),
        Err(error) => (Vec::new(), Err(error)),
    };
    match kernel {
        Ok(seen) => {
            let known: Vec<_> = gpus.iter().filter_map(|gpu| gpu.pci_address.clone()).collect();
            let is_new = |gpu: &Gpu| !gpu.pci_address.as_ref().is_some_and(|address| known.contains(address));
            gpus.extend(seen.into_iter().filter(is_new));
        }
        Err(error) if gpus.is_empty() => return (Err(error), driver),
        Err(_) => {}
    }
    (Ok(gpus), driver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::ProbeError;

    fn gpu(name: &str, address: Option<&str>) -> Gpu {
        Gpu {
            name: Ok(name.to_owned()),
            vendor: Ok("NVIDIA".to_owned()),
            memory_total_bytes: Err(ProbeError::NotReported),
            driver: Err(ProbeError::NotReported),
            pci_address: address.map(str::to_owned),
        }
    }

    fn names(gpus: &[Gpu]) -> Vec<&str> {
        gpus.iter().map(|gpu| gpu.name.as_deref().unwrap()).collect()
    }

    #[test]
    fn a_gpu_that_both_see_is_listed_once() {
        let nvml = Nvml { driver: "550.1".to_owned(), gpus: vec![gpu("by nvml", Some("0000:01:00.0"))] };
        let kernel = vec![gpu("same", Some("0000:01:00.0")), gpu("other", Some("0000:02:00.0")), gpu("soc", None)];
        let (gpus, driver) = together(Ok(nvml), Ok(kernel));
        assert_eq!(names(&gpus.unwrap()), ["by nvml", "other", "soc"]);
        assert_eq!(driver, Ok("550.1".to_owned()));
    }

    #[test]
    fn one_source_is_enough() {
        let hung = ProbeError::TimedOut { after: std::time::Duration::from_secs(3) };
        let (gpus, driver) = together(Err(hung.clone()), Ok(vec![gpu("card", None)]));
        assert_eq!((names(&gpus.unwrap()), driver), (vec!["card"], Err(hung.clone())));
        let nvml = Nvml { driver: "550.1".to_owned(), gpus: vec![gpu("card", None)] };
        assert_eq!(names(&together(Ok(nvml), Err(hung.clone())).0.unwrap()), ["card"]);
        assert_eq!(together(Err(ProbeError::NoNvidiaDriver), Err(hung.clone())).0, Err(hung));
        assert_eq!(together(Err(ProbeError::NoNvidiaDriver), Ok(Vec::new())).0, Ok(Vec::new()));
    }
}
