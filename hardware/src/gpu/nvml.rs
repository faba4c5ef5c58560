//! GPUs that the NVIDIA driver knows, through its management library, which is loaded at run time and unloaded again.

use std::ffi::OsStr;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml as Library};

use super::{GPUS, Gpu, Nvml};
use crate::probe::{Probe, ProbeError};

/// What a driver installs. The name without a version comes with development files only.
#[cfg(not(windows))]
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
#[cfg(windows)]
const LIBRARIES: [&str; 1] = ["nvml.dll"];

pub(crate) fn from_nvml() -> Probe<Nvml> {
    let library = load()?;
    let version = library.sys_driver_version().map_err(|error| ProbeError::failed(&error))?;
    let count = library.device_count().map_err(|error| ProbeError::failed(&error))?;
    let gpus = (0..count)
        .take(GPUS)
        .filter_map(|index| library.device_by_index(index).ok())
        .map(|device| gpu(&device, &version))
        .collect();
    Ok(Nvml { driver: version, gpus })
}

fn load() -> Probe<Library> {
    let mut last = ProbeError::NoNvidiaDriver;
    for name in LIBRARIES {
        match Library::builder().lib_path(OsStr::new(name)).init() {
            Ok(library) => return Ok(library),
            // No library, or the library without the kernel's part.
            Err(NvmlError::LibloadingError(_) | NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound) => {}
            Err(error) => last = ProbeError::failed(&error),
        }
    }
    Err(last)
}

fn gpu(device: &Device<'_>, version: &str) -> Gpu {
    let told = |error: &NvmlError| match error {
        NvmlError::NotSupported => ProbeError::NotReported,
        other => ProbeError::failed(other),
    };
    Gpu {
        name: device.name().map_err(|error| told(&error)),
        vendor: Ok("NVIDIA".to_owned()),
        memory_total_bytes: device.memory_info().map(|memory| memory.total).map_err(|error| told(&error)),
        driver: Ok(format!("nvidia {version}")),
        pci_address: device.pci_info().ok().map(|pci| as_the_kernel_writes(&pci.bus_id)),
    }
}

/// NVML writes the domain with eight digits, `00000000:01:00.0`, the kernel with four.
fn as_the_kernel_writes(bus_id: &str) -> String {
    let bus_id = bus_id.to_ascii_lowercase();
    match bus_id.split_once(':') {
        Some((domain, rest)) => {
            let digits = domain.trim_start_matches('0');
            format!("{digits:0>4}:{rest}")
        }
        None => bus_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        assert_eq!(as_the_kernel_writes("00000000:0A:00.0"), "0000:0a:00.0");
        assert_eq!(as_the_kernel_writes("00010000:01:00.0"), "10000:01:00.0");
        assert_eq!(as_the_kernel_writes("odd"), "odd");
    }

    #[test]
    fn a_machine_without_the_driver_says_so_and_one_with_it_names_it() {
        match from_nvml() {
            Ok(nvml) => assert!(!nvml.driver.is_empty()),
            Err(error) => assert_eq!(error, ProbeError::NoNvidiaDriver),
        }
    }
}
