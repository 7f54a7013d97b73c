//! The size of uncompressed samples, from sizes in headers that contradict each other or the file.
//! symphonia-format-riff 0.6.1 takes the [size of the data
//! chunk](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/wave/chunks.rs#L611-L616)
//! literally, except 2³² − 1, so that a size that was never updated, or that has wrapped around, loses samples.

/// The size of the samples, with a note about a guess.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SampleBytes {
    /// The number of bytes of samples in the file.
    pub(super) bytes: u64,
    /// The number of bytes that the header states, if the file is truncated.
    pub(super) announced: Option<u64>,
    /// The note about a guess, if there was one.
    pub(super) note: Option<String>,
}

/// Reconciles three sizes of the samples: `stated` by their own chunk; `form`, the end of the file according to its
/// first header, if that is plausible; and `available`, the number of bytes in the file from `start`, where the samples
/// begin. `is_empty` states that other chunks fill the rest of the file.
///
/// If the chunk and the form agree with each other and exceed the file, the file is truncated. If the form ends with
/// the file or was never written, a recorder did not update its header: the samples then extend to the end of the file,
/// as in libsndfile and FFmpeg.
pub(super) fn extent(stated: u64, form: Option<u64>, start: u64, available: u64, is_empty: bool) -> SampleBytes {
    /// Sizes that writers use for an unknown length: the largest unsigned or signed number, minus a header and the rest
    /// of an incomplete frame.
    const UNKNOWN: [std::ops::RangeInclusive<u64>; 2] = [0x7fff_0000..=0x8000_0000, 0xffff_0000..=0xffff_ffff];
    const WRAP: u64 = 1 << 32;
    let all = |note: String| SampleBytes { bytes: available, announced: None, note: Some(note) };
    let end = start + available;
    if stated == 0 && available > 0 && !is_empty {
        return all("the header states no samples: read to the end of the file".to_string());
    }
    let is_whole = form.is_some_and(|form| form == end);
    if !is_whole && UNKNOWN.iter().any(|unknown| unknown.contains(&stated)) {
        return SampleBytes { bytes: available, announced: None, note: None };
    }
    // The 32-bit size of a longer file, which has wrapped around to 0, and so has the size of the whole file.
    let wrapped = |size: u64| stated < WRAP && size < available && (available - size) % WRAP <= 1;
    let form_wraps = form.is_some_and(|form| form < end && (end - form) % WRAP <= 1);
    if !is_whole && (wrapped(stated) || stated < WRAP && available >= WRAP && form_wraps) {
        let bytes = stated + (available - stated.min(available)) / WRAP * WRAP;
        let note = "the file is longer than its 32-bit sizes can state: read to the end of the file".to_string();
        return SampleBytes { bytes, announced: None, note: Some(note) };
    }
    if stated <= available {
        return SampleBytes { bytes: stated, announced: None, note: None };
    }
    match form {
        Some(form) if form > end => SampleBytes { bytes: available, announced: Some(stated), note: None },
        _ => all(format!(
            "the header states {} more bytes of samples than the file has, but its other size matches the file or was \
             never written: read to the end of the file",
            stated - available
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_agree_with_each_other_show_a_truncated_file() {
        let bytes = |stated, form| {
            let found = extent(stated, form, 44, 1000, false);
            (found.bytes, found.announced, found.note.is_some())
        };
        // Consistent sizes, with a wrong form.
        for form in [Some(1044), Some(0), Some(36), None, Some(1_000_000)] {
            assert_eq!(bytes(1000, form), (1000, None, false));
            assert_eq!(bytes(900, form), (900, None, false));
        }
        for more in [1, 4, 63, 400, 1_000_000] {
            assert_eq!(bytes(1000 + more, Some(1044 + more)), (1000, Some(1000 + more), false), "{more}");
            // A chunk after the samples.
            assert_eq!(bytes(1000 + more, Some(1200 + more)), (1000, Some(1000 + more), false), "{more}");
            for form in [Some(1044), Some(1043), Some(8), Some(44), None] {
                assert_eq!(bytes(1000 + more, form), (1000, None, true), "{more}");
            }
        }
        assert_eq!(bytes(0, Some(44)), (1000, None, true));
        assert_eq!(extent(0, Some(44), 44, 1000, true).bytes, 0, "chunks follow");
        assert_eq!(extent(0, Some(44), 44, 0, false), SampleBytes { bytes: 0, announced: None, note: None });
        for unknown in [u64::from(u32::MAX), 0x7fff_f000, 0x7fff_ffff, 0xffff_ffdb] {
            assert_eq!(bytes(unknown, Some(unknown + 36)), (1000, None, false), "{unknown:x}");
        }
    }

    #[test]
    fn files_of_gigabytes_are_not_shorter_than_32_bits_can_state() {
        const GIB: u64 = 1 << 30;
        let bytes = |stated, form, available| {
            let found = extent(stated, form, 44, available, false);
            (found.bytes, found.note.is_some())
        };
        for unknown in [0xffff_ffff, 0xffff_f000, 0x7fff_f000] {
            for form in [None, Some(unknown + 36), Some(0)] {
                assert_eq!(bytes(unknown, form, 5 * GIB), (5 * GIB, false), "{unknown:x}");
            }
            // A size that is that large, of a file that agrees.
            assert_eq!(bytes(unknown, Some(44 + unknown + 100), unknown + 100), (unknown, false));
        }
        for more in [4, 8] {
            assert_eq!(bytes(GIB, Some(44 + GIB), (more + 1) * GIB), ((more + 1) * GIB, true), "{more}");
            let tags = (more + 1) * GIB + 5000;
            assert_eq!(bytes(GIB, Some(44 + GIB + 5000), tags), ((more + 1) * GIB, true), "chunks follow");
            assert_eq!(bytes(GIB, Some(44 + tags), tags), (GIB, false), "other chunks of gigabytes follow");
        }
    }
}
