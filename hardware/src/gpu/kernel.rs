//! GPUs that the Linux kernel drives, from `/sys/class/drm`.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{GPUS, Gpu};
use crate::probe::{Probe, ProbeError};

/// Longest attribute that is read; those looked at are numbers and short names.
const ATTRIBUTE: u64 = 256;

/// Makers by PCI id.
const VENDORS: [(u16, &str); 9] = [
    (0x1002, "AMD"),
    (0x10de, "NVIDIA"),
    (0x1234, "QEMU"),
    (0x13b5, "ARM"),
    (0x15ad, "VMware"),
    (0x1a03, "ASPEED"),
    (0x1af4, "Red Hat"),
    (0x1414, "Microsoft"),
    (0x8086, "Intel"),
];

/// GPUs the kernel has a driver for. A system without graphics has none, which is an answer.
pub(crate) fn from_kernel() -> Probe<Vec<Gpu>> {
    if !cfg!(target_os = "linux") {
        return Err(ProbeError::Unsupported);
    }
    from_directory(Path::new("/sys/class/drm"))
}

fn from_directory(drm: &Path) -> Probe<Vec<Gpu>> {
    let entries = match fs::read_dir(drm) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ProbeError::Failed { reason: format!("{}: {error}", drm.display()) }),
    };
    let mut cards: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            // `card0` is a GPU, `card0-HDMI-A-1` one of its outputs.
            let number: u32 = entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?;
            Some((number, entry.path().join("device")))
        })
        .filter(|(_, device)| device.exists())
        .collect();
    cards.sort();
    Ok(cards.iter().take(GPUS).map(|(_, device)| gpu(device)).collect())
}

fn gpu(device: &Path) -> Gpu {
    let vendor_id = pci_id(device, "vendor");
    let vendor = vendor_id.clone().map(vendor_name);
    let driver = fs::read_link(device.join("driver"))
        .ok()
        .and_then(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .ok_or(ProbeError::NotReported);
    let ids = vendor_id.and_then(|vendor| Ok((vendor, pci_id(device, "device")?)));
    let name = match (attribute(device, "product_name"), &vendor, ids) {
        (Ok(name), _, _) => Ok(name),
        (_, Ok(maker), Ok((vendor, id))) => Ok(format!("{maker} {vendor:04x}:{id:04x}")),
        // Graphics of a system on a chip have neither; the driver's name says what they are.
        _ => driver.clone(),
    };
    Gpu {
        name,
        vendor,
        memory_total_bytes: attribute(device, "mem_info_vram_total")
            .and_then(|text| text.parse().map_err(|_| ProbeError::NotReported)),
        driver,
        pci_address: pci_address(device),
    }
}

fn vendor_name(id: u16) -> String {
    VENDORS.iter().find(|(known, _)| *known == id).map_or_else(|| format!("0x{id:04x}"), |(_, name)| (*name).to_owned())
}

fn pci_id(device: &Path, name: &str) -> Probe<u16> {
    let text = attribute(device, name)?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    u16::from_str_radix(digits, 16).map_err(|_| ProbeError::NotReported)
}

/// The device's own directory is named by its address, `0000:01:00.0`.
fn pci_address(device: &Path) -> Option<String> {
    let path = device.canonicalize().ok()?;
    let name = path.file_name()?.to_str()?;
    let is_address = name.matches(':').count() == 2
        && name.contains('.')
        && name.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.');
    is_address.then(|| name.to_ascii_lowercase())
}

fn attribute(device: &Path, name: &str) -> Probe<String> {
    let mut text = String::new();
    let read = File::open(device.join(name)).and_then(|file| file.take(ATTRIBUTE).read_to_string(&mut text));
    let text = text.trim();
    if read.is_err() || text.is_empty() { Err(ProbeError::NotReported) } else { Ok(text.to_owned()) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A device directory with these attributes, linked as `card<number>/device`.
    fn card(root: &Path, number: u32, address: &str, driver: &str, attributes: &[(&str, &str)]) {
        let device = root.join("devices").join(address);
        fs::create_dir_all(&device).unwrap();
        for (name, text) in attributes {
            fs::write(device.join(name), text).unwrap();
        }
        let drivers = root.join("drivers").join(driver);
        fs::create_dir_all(&drivers).unwrap();
        symlink(drivers, device.join("driver")).unwrap();
        let card = root.join("drm").join(format!("card{number}"));
        fs::create_dir_all(&card).unwrap();
        symlink(device, card.join("device")).unwrap();
        fs::create_dir_all(root.join("drm").join(format!("card{number}-HDMI-A-1"))).unwrap();
        fs::create_dir_all(root.join("drm").join(format!("renderD{}", 128 + number))).unwrap();
    }

    #[test]
    fn cards_are_read_in_order_with_what_they_tell() {
        let root = tempfile::tempdir().unwrap();
        let amd = [("vendor", "0x1002\n"), ("device", "0x73bf\n"), ("mem_info_vram_total", "17163091968\n")];
        card(root.path(), 10, "0000:0A:00.0", "amdgpu", &amd);
        card(root.path(), 2, "0000:00:02.0", "i915", &[("vendor", "0x8086\n"), ("device", "0x9a49\n")]);
        card(root.path(), 0, "soc:gpu", "v3d", &[]);
        let gpus = from_directory(&root.path().join("drm")).unwrap();
        let not_reported = ProbeError::NotReported;
        assert_eq!(gpus.len(), 3);
        assert_eq!((gpus[0].name.as_deref(), &gpus[0].vendor), (Ok("v3d"), &Err(not_reported.clone())));
        assert_eq!(gpus[0].pci_address, None);
        assert_eq!(gpus[1].name.as_deref(), Ok("Intel 8086:9a49"));
        assert_eq!(gpus[1].memory_total_bytes, Err(not_reported));
        assert_eq!(gpus[2].vendor.as_deref(), Ok("AMD"));
        assert_eq!(gpus[2].driver.as_deref(), Ok("amdgpu"));
        assert_eq!(gpus[2].memory_total_bytes, Ok(17_163_091_968));
        assert_eq!(gpus[2].pci_address.as_deref(), Some("0000:0a:00.0"));
    }

    #[test]
    fn odd_attributes_are_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let long = "9".repeat(100_000);
        let odd =
            [("vendor", "0xbeef"), ("device", "none"), ("mem_info_vram_total", long.as_str()), ("product_name", " ")];
        card(root.path(), 0, "0000:01:00.0", "mystery", &odd);
        let gpus = from_directory(&root.path().join("drm")).unwrap();
        assert_eq!(gpus[0].vendor.as_deref(), Ok("0xbeef"));
        assert_eq!(gpus[0].name.as_deref(), Ok("mystery"));
        assert_eq!(gpus[0].memory_total_bytes, Err(ProbeError::NotReported));
    }

    #[test]
    fn a_system_without_graphics_has_no_gpus() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(from_directory(&root.path().join("drm")), Ok(Vec::new()));
    }
}
