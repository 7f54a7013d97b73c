//! What a catalogue knows of a file beside its vectors: digest, length, loudness and tags.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mert_audio::{AudioFile, ReadOptions};
use mert_cli::terminal::{progress_bar, say};
use mert_search::catalogue::NewTrack;
use mert_search::catalogue::tags::read_tags;
use mert_table::printable_path;
use rayon::prelude::*;

/// What is read of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct AboutOptions {
    /// The options for decoding.
    pub(super) read: ReadOptions,
    /// Whether the loudness is measured.
    pub(super) loudness: bool,
    /// Whether notes are printed and a progress bar is drawn.
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

/// What is known of the file at `path`.
fn about(path: &Path, options: AboutOptions, note: impl Fn(String)) -> NewTrack {
    let (metadata, fault) = read_tags(path);
    if let Some(fault) = fault {
        note(fault);
    }
    let mut track = NewTrack { metadata, ..NewTrack::default() };
    let Ok(file) = AudioFile::open(path, options.read) else { return track };
    let info = file.info();
    track.duration = info.frames.map(|frames| frames as f64 / f64::from(info.sample_rate));
    track
}
