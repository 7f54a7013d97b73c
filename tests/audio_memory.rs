//! The peak memory of decoding and windows, for long tracks and for files with wrong sizes. A test program of its own,
//! because its allocator counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "common/sound.rs"]
mod sound;

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

use mert_audio::{Damage, Result, Source, Tail, Track, WindowPolicy, Windows};
use peak_alloc::PeakAlloc;
use sound::{Wav, decode, noise};
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The memory in bytes that the test harness may allocate meanwhile on its own threads. An hour of audio has 345 MB.
const SLACK: usize = 1 << 16;

/// The lock that runs one test at a time: the allocator counts all threads.
static ALONE: Mutex<()> = Mutex::new(());

/// The peak memory of `work` in bytes, above what was allocated before.
fn peak(work: impl FnOnce()) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    work();
    MEMORY.peak_usage() - before
}

/// A source that repeats one block.
struct Stream {
    block: Vec<f32>,
    rate: u32,
    blocks: u32,
}

impl Source for Stream {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn next_block(&mut self) -> Result<Option<&[f32]>> {
        if self.blocks == 0 {
            return Ok(None);
        }
        self.blocks -= 1;
        Ok(Some(&self.block))
    }
}

/// The peak memory of the windows of a source of `seconds`, in bytes.
fn read(rate: u32, seconds: u32) -> usize {
    let stream = Stream { block: noise(rate as usize), rate, blocks: seconds };
    let policy: WindowPolicy = "sliding:5s/2.5s".parse().unwrap();
    peak(|| {
        let mut windows = Windows::new(stream, 24_000, &policy, Tail::Align, 400, None).unwrap();
        let mut count = 0;
        while let Some(window) = windows.next_window().unwrap() {
            assert_eq!((window.start, window.samples.len()), (count * 60_000, 120_000));
            count += 1;
        }
        assert_eq!(count, u64::from(seconds - 5) * 2 / 5 + 1);
    })
}

#[test]
fn hours_take_no_more_memory_than_a_minute() {
    let _alone = ALONE.lock().unwrap();
    // Up to three windows, and the blocks of the resampler and the source.
    const MOST: usize = 3 << 20;
    for (rate, hours) in [(24_000, 10), (44_100, 2)] {
        let (short, long) = (read(rate, 60), read(rate, hours * 3600));
        println!("{rate} Hz: {short} bytes for a minute, {long} for {hours} hours");
        assert!(long <= short + SLACK && short < MOST, "{rate} Hz: {short} and {long} bytes");
    }
}

/// Writes a sparse WAV file, which takes no space on the disk.
fn long_file(path: &Path, samples: u32) {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&Wav { size: 2 * samples, ..Wav::S16 }.header()).unwrap();
    file.seek(SeekFrom::Current(i64::from(2 * samples - 2))).unwrap();
    file.write_all(&[1, 0]).unwrap();
}

#[test]
fn a_file_of_an_hour_takes_no_more_memory_than_one_of_a_minute() {
    let _alone = ALONE.lock().unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wav");
    let mut peaks = Vec::new();
    for minutes in [1, 60] {
        let samples = minutes * 60 * 24_000;
        long_file(&path, samples);
        peaks.push(peak(|| {
            let track = Track::open(&path, 24_000, Damage::Refuse).unwrap();
            let mut windows = track.windows(&"sliding:5s".parse().unwrap(), Tail::Align, 400).unwrap();
            let mut last = None;
            while let Some(window) = windows.next_window().unwrap() {
                last = Some(window);
            }
            let last = last.unwrap();
            assert_eq!(last.start + last.samples.len() as u64, u64::from(samples));
            assert_eq!(last.samples.last(), Some(&(1.0 / 32_768.0)));
        }));
    }
    println!("{peaks:?} bytes");
    assert!(peaks[1] <= peaks[0] + SLACK && peaks[0] < 3 << 20, "{peaks:?} bytes");
}

/// Memory is allocated for data that is there, not for sizes and counts that headers state.
#[test]
fn wrong_sizes_in_headers_take_no_memory() {
    let _alone = ALONE.lock().unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x");
    let sized = |kind: &[u8; 4], size: u32| [&size.to_be_bytes()[..], kind, &[0; 200]].concat();
    let ftyp = b"\0\0\0\x14ftypM4A \0\0\0\0M4A ";
    let mut files = vec![
        Wav::F32.with_size(u32::MAX - 40, &[0; 400]),
        Wav { channels: 32, bits: 16, format: 1, rate: 768_000, ..Wav::F32 }.with_size(u32::MAX - 100, &[0; 400]),
        [&b"fLaC\x84\xff\xff\xff"[..], &[0; 300]].concat(),
        [&b"fLaC\0\0\0\x22\xff\xff\xff\xff"[..], &[0xff; 300]].concat(),
        [&b"ID3\x04\0\0\x7f\x7f\x7f\x7f"[..], &[0; 300]].concat(),
        [&b"FORM\xff\xff\xff\xffAIFFCOMM\xff\xff\xff\xff"[..], &[0; 300]].concat(),
    ];
    for kind in [b"moov", b"mdat", b"free", b"moof", b"meta"] {
        for size in [0, 1, 8, 0x7fff_ffff, u32::MAX] {
            files.push([&ftyp[..], &sized(kind, size)].concat());
        }
    }
    for bytes in files {
        std::fs::write(&path, &bytes).unwrap();
        for damage in [Damage::Refuse, Damage::Keep] {
            let mut samples = 0;
            let used = peak(|| samples = decode(&path, damage).samples.len());
            assert!(samples <= bytes.len() && used < 8 << 20, "{used} bytes for {:?}", &bytes[..40]);
        }
    }
}
