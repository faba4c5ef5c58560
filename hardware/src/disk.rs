//! Room on a disk.

use std::path::PathBuf;

use serde::Serialize;

use crate::probe::{Probe, ProbeError};

/// Room on the disk that holds a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// The path that was asked for.
    pub path: PathBuf,
    /// Size of its file system.
    pub total_bytes: u64,
    /// What this user can still write to it.
    pub available_bytes: u64,
}

impl Disk {
    /// One call for one file system. Listing all of them would wait for every network disk of the machine.
    #[cfg(unix)]
    pub(crate) fn of(path: PathBuf) -> Probe<Self> {
        // Without the path: the report is shown to others, who may know how much room there is, not where.
        let room = rustix::fs::statvfs(&path).map_err(|error| ProbeError::failed(&error))?;
        let bytes = |blocks: u64| blocks.saturating_mul(room.f_frsize);
        Ok(Self { total_bytes: bytes(room.f_blocks), available_bytes: bytes(room.f_bavail), path })
    }

    /// The disk with the longest mount point that the path begins with.
    #[cfg(not(unix))]
    pub(crate) fn of(path: PathBuf) -> Probe<Self> {
        use sysinfo::{DiskRefreshKind, Disks};

        let full = path.canonicalize().map_err(|error| ProbeError::failed(&error))?;
        let kind = DiskRefreshKind::nothing().with_storage();
        let disks = Disks::new_with_refreshed_list_specifics(kind).map_err(|error| ProbeError::failed(&error))?;
        let disk = disks
            .list()
            .iter()
            .filter(|disk| full.starts_with(disk.mount_point()))
            .max_by_key(|disk| disk.mount_point().components().count())
            .ok_or(ProbeError::NotReported)?;
        Ok(Self { path, total_bytes: disk.total_space(), available_bytes: disk.available_space() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_an_error_that_does_not_name_it() {
        let error = Disk::of(PathBuf::from("/no/such/folder")).unwrap_err();
        assert!(!error.to_string().contains("/no/such"), "{error}");
    }
}
