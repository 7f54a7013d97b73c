//! The peak of the resident memory, as the operating system reports it.

use std::fs;

use serde::Serialize;

/// The peak of the resident memory of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct PeakMemory {
    /// The bytes, which include the model's weights, the program itself and memory that the allocator kept.
    pub(crate) bytes: u64,
    /// The period that the peak covers.
    pub(crate) scope: MemoryScope,
}

/// The period that a peak covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemoryScope {
    /// The runs, since the start of the watch.
    Runs,
    /// The whole process, because this system cannot reset the peak.
    Process,
}

/// A watch of the resident memory of this process.
#[derive(Debug)]
pub(crate) struct MemoryWatch(MemoryScope);

impl MemoryWatch {
    /// Starts a watch. It resets the peak where the system can (Linux: `/proc/PID/clear_refs` in `proc(5)`).
    pub(crate) fn start() -> Self {
        let reset = fs::write("/proc/self/clear_refs", "5").is_ok() && high_water_mark().is_some();
        MemoryWatch(if reset { MemoryScope::Runs } else { MemoryScope::Process })
    }

    /// The peak until now; `None` where the system does not report it.
    pub(crate) fn peak(&self) -> Option<PeakMemory> {
        let bytes = match self.0 {
            MemoryScope::Runs => high_water_mark(),
            MemoryScope::Process => process_peak(),
        };
        bytes.map(|bytes| PeakMemory { bytes, scope: self.0 })
    }
}

/// Reads `VmHWM`, which is in KiB whatever its unit says.
fn high_water_mark() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(unix)]
fn process_peak() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    // `ru_maxrss` is in bytes on Apple's systems and in KiB on all others.
    let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok()?.checked_mul(unit)
}

#[cfg(not(unix))]
fn process_peak() -> Option<u64> {
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
            let restarted = MemoryWatch::start().peak().unwrap();
            assert!(restarted.bytes < after.unwrap().bytes, "{restarted:?} {after:?}");
        }
    }
}
