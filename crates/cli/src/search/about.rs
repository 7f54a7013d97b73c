//! What a catalogue knows of a file beside its vectors: digest, length, loudness and tags.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ebur128::{EbuR128, Mode};
use mert_audio::{AudioFile, ReadOptions, Source};
use mert_cli::terminal::{progress_bar, say};
use mert_search::catalogue::tags::read_tags;
use mert_search::catalogue::{NewTrack, Value};
use mert_table::printable_path;
use rayon::prelude::*;

/// The readings taken of each file.
#[derive(Debug, Clone, Copy)]
pub(super) struct AboutOptions {
    /// The options for decoding.
    pub(super) read: ReadOptions,
    /// Measure the loudness of each file.
    pub(super) loudness: bool,
    /// Print no notes and draw no progress bar.
    pub(super) quiet: bool,
}

/// Reads what is known of `files`, in parallel. Faults of tags are printed and leave them out.
pub(super) fn read_all(
    files: &[PathBuf],
    digests: &HashMap<PathBuf, String>,
    options: AboutOptions,
) -> HashMap<PathBuf, NewTrack> {
    let bar =
        progress_bar(Some(files.len() as u64), "{bar:30} {pos}/{len} files: tags{msg}, {eta} left", options.quiet);
    bar.set_message(if options.loudness { " and loudness" } else { "" });
    let read = |path: &PathBuf| {
        let mut track = about(path, options, |note| {
            if !options.quiet {
                bar.suspend(|| say(&format!("{}: {note}", printable_path(path))));
            }
        });
        track.sha256 = digests.get(path).cloned().or_else(|| mert_fs::sha256_file(path).ok());
        bar.inc(1);
        (path.clone(), track)
    };
    let tracks = files.par_iter().map(read).collect();
    bar.finish_and_clear();
    tracks
}

/// Tags, length and digest of the file at `path`.
fn about(path: &Path, options: AboutOptions, note: impl Fn(String)) -> NewTrack {
    let (metadata, fault) = read_tags(path);
    if let Some(fault) = fault {
        note(fault);
    }
    let mut track = NewTrack { metadata, ..NewTrack::default() };
    let Ok(mut file) = AudioFile::open(path, options.read) else { return track };
    let rate = file.sample_rate();
    let seconds = |samples: u64| samples as f64 / f64::from(rate);
    track.duration = file.info().frames.map(seconds);
    if options.loudness {
        match measure(&mut file) {
            Ok((samples, loudness)) => {
                track.duration = Some(seconds(samples));
                track.metadata.extend(loudness.map(|loudness| ("loudness".to_string(), Value::Number(loudness))));
            }
            Err(error) => note(format!("its loudness is not known: {error}")),
        }
    }
    track
}

/// The number of samples of a file, and its integrated loudness in LUFS by EBU R 128; `None` if all of it is below the gate.
/// It is that of the mean of all channels, which is what the model hears: of the same sound in both channels some 3 dB below
/// what players measure.
fn measure(file: &mut impl Source) -> anyhow::Result<(u64, Option<f64>)> {
    let mut meter = EbuR128::new(1, file.sample_rate(), Mode::I)?;
    let mut samples = 0;
    while let Some(block) = file.next_block()? {
        meter.add_frames_f32(block)?;
        samples += block.len() as u64;
    }
    Ok((samples, Some(meter.loudness_global()?).filter(|loudness| loudness.is_finite())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard's own example: a sine of 997 Hz at 0 dB in one channel is at -3.01 LUFS (ITU-R BS.1770, annex 1).
    #[test]
    fn a_full_scale_sine_is_at_minus_3_01() {
        let sine = |i: u32| (f64::from(i) * 997.0 * std::f64::consts::TAU / 48_000.0).sin() as f32;
        let bytes: Vec<u8> = (0..480_000).flat_map(|i| sine(i).to_le_bytes()).collect();
        let mut samples = mert_audio::RawPcm::new(std::io::Cursor::new(bytes), 48_000).unwrap();
        let (count, loudness) = measure(&mut samples).unwrap();
        let loudness = loudness.unwrap();
        assert_eq!(count, 480_000);
        assert!((loudness + 3.01).abs() < 0.02, "{loudness}");
    }
}
