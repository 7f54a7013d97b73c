use std::fs;

use serde::Serialize;

/// The most memory that was resident in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PeakMemory {
    /// How much. The model's weights, the program itself and what an allocator kept are in it.
    pub bytes: u64,
    /// Since when.
    pub scope: MemoryScope,
}

/// What a peak covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryScope {
    /// From the start of the watch.
    Runs,
    /// From the start of the process: this system cannot start a peak anew.
    Process,
}

/// Watches the resident memory of this process.
#[derive(Debug)]
pub struct MemoryWatch(MemoryScope);

impl MemoryWatch {
    /// Starts the peak anew, where the system can (Linux: `proc(5)`, `/proc/PID/clear_refs`).
    pub fn start() -> Self {
        let anew = fs::write("/proc/self/clear_refs", "5").is_ok() && high_water_mark().is_some();
        MemoryWatch(if anew { MemoryScope::Runs } else { MemoryScope::Process })
    }

    /// The peak until now; `None` where the system does not tell.
    pub fn peak(&self) -> Option<PeakMemory> {
        let bytes = match self.0 {
            MemoryScope::Runs => high_water_mark(),
            MemoryScope::Process => of_process(),
        };
        bytes.map(|bytes| PeakMemory { bytes, scope: self.0 })
    }
}

/// `VmHWM`, which is in KiB whatever the unit beside it says.
fn high_water_mark() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(unix)]
fn of_process() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    // Apple counts bytes, everyone else KiB.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok()?.checked_mul(unit)
}

#[cfg(not(unix))]
fn of_process() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_shows() {
        const SIZE: usize = 64 << 20;
        let watch = MemoryWatch::start();
        let before = watch.peak();
        let block = std::hint::black_box(vec![1u8; SIZE]);
        let after = watch.peak();
        drop(block);
        if cfg!(unix) {
            let (before, after) = (before.unwrap(), after.unwrap());
            assert_eq!(before.scope, after.scope);
            assert!(after.bytes >= SIZE as u64 && after.bytes >= before.bytes, "{before:?} {after:?}");
        }
        if after.is_some_and(|peak| peak.scope == MemoryScope::Runs) {
            let anew = MemoryWatch::start().peak().unwrap();
            assert!(anew.bytes < after.unwrap().bytes, "{anew:?} {after:?}");
        }
    }
}
