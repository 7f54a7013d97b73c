//! The events of one recording: its sound is decoded once more, for onsets and pitches, and put beside its tokens.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use mert_audio::{AudioFile, ReadOptions, Resampler, Source};
use mert_cli::terminal::counted;
use mert_embed::failures::Failure;
use mert_embed::inputs::Input;
use mert_events::Note;
use mert_events::file::Recording;
use mert_events::midi::read_midi;
use mert_events::onset::{OnsetSettings, onsets};
use mert_events::pitch::{PitchSettings, PitchTracker};
use mert_events::segment::{NoteSource, SegmentSettings, TokenFrames, analyse, note_onsets};
use mert_fs::sha256_file;
use mert_table::{escape, printable_path};
use mert_tokens::TokensError;
use mert_tokens::frames::FrameGrid;

use crate::failure::failure;
use crate::inputs::{is_midi, midi_beside};

/// Notes of a MIDI file that start within this many seconds are one onset.
const CHORD: f64 = 0.05;

/// The values of `--notes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Notes {
    /// A MIDI file beside the recording, else the tracker
    Auto,
    /// A MIDI file beside the recording
    Midi,
    /// The pitch tracker
    Tracker,
}

/// The settings of an analysis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnalysisSettings {
    pub(crate) onsets: OnsetSettings,
    pub(crate) segments: SegmentSettings,
    pub(crate) notes: Notes,
    pub(crate) options: ReadOptions,
}

/// A recording with its events, and what is to be said of it.
#[derive(Debug)]
pub(crate) struct Analysed {
    pub(crate) recording: Recording,
    pub(crate) notes: Vec<String>,
}

/// The mono samples of a file at the rate `rate`.
///
/// # Errors
/// [`TokensError::Audio`].
pub(crate) fn samples_of(path: &Path, rate: u32, options: ReadOptions) -> Result<Vec<f32>, TokensError> {
    let mut file = AudioFile::open(path, options)?;
    let mut resampler = Resampler::new(file.sample_rate(), rate)?;
    let mut samples = Vec::new();
    while let Some(block) = file.next_block()? {
        resampler.push(block, |block| samples.extend_from_slice(block));
    }
    resampler.finish(|block| samples.extend_from_slice(block));
    Ok(samples)
}

/// The events of the file at `path`, whose frames have `tokens`.
///
/// # Errors
/// [`AnalysisError`], which names the file at fault.
pub(crate) fn analyse_file(
    path: &Path,
    tokens: &[u32],
    grid: FrameGrid,
    settings: &AnalysisSettings,
) -> Result<Analysed, AnalysisError> {
    let samples = samples_of(path, grid.rate, settings.options).map_err(AnalysisError::Tokens)?;
    let duration = samples.len() as f64 / f64::from(grid.rate);
    let events = |error| AnalysisError::Events(path.to_path_buf(), error);
    let frames = TokenFrames::new(tokens, grid.hop as u32, grid.length as u32, grid.rate).map_err(events)?;
    let midi = match settings.notes {
        Notes::Tracker => None,
        Notes::Auto | Notes::Midi => midi_beside(path),
    };
    let mut remarks = Vec::new();
    let known = match (&midi, settings.notes) {
        (None, Notes::Midi) => return Err(AnalysisError::NoMidi),
        (None, _) => None,
        (Some(midi), _) => Some(notes_of_midi(midi, duration, &mut remarks)?),
    };
    // A file of percussion alone, or of another performance, says nothing about what sounds.
    let known = known.filter(|known| !known.is_empty() || settings.notes == Notes::Midi);
    let found = onsets(&samples, grid.rate, settings.onsets).map_err(events)?;
    let mut times: Vec<f64> = found.iter().map(|onset| onset.sample as f64 / f64::from(grid.rate)).collect();
    let mut tracker = PitchTracker::new(grid.rate, PitchSettings::default()).map_err(events)?;
    let source = match &known {
        Some(known) => {
            if times.is_empty() {
                times = note_onsets(known, CHORD);
                remarks.push(format!("no onset in the sound: the {} of the MIDI file are taken", times.len()));
            }
            NoteSource::Known(known)
        }
        None => NoteSource::Tracker(&mut tracker, grid.rate),
    };
    let analysis = analyse(&samples, duration, &times, &frames, source, 0, &settings.segments);
    let analysis = analysis.map_err(events)?;
    if analysis.merged_short > 0 {
        remarks.push(format!("left out: {} too soon after another", counted(analysis.merged_short, "onset")));
    }
    if analysis.events.is_empty() {
        remarks.push("no event: the recording is silent or shorter than one".to_string());
    }
    let sha256 = sha256_file(path).map_err(|error| AnalysisError::Read(path.to_path_buf(), error))?;
    let recording = Recording { file: escape(path), sha256, duration, events: analysis.events };
    Ok(Analysed { recording, notes: remarks })
}

/// The notes of a MIDI file within the `duration` of its recording, and remarks on what is left out.
fn notes_of_midi(midi: &Path, duration: f64, remarks: &mut Vec<String>) -> Result<Vec<Note>, AnalysisError> {
    let bytes = std::fs::read(midi).map_err(|error| AnalysisError::Read(midi.to_path_buf(), error))?;
    let found = read_midi(&bytes).map_err(|error| AnalysisError::Events(midi.to_path_buf(), error))?;
    let total = found.notes.len();
    let within: Vec<Note> = found.notes.into_iter().filter(|note| note.start < duration).collect();
    remarks.push(format!("{} of {}", counted(within.len(), "note"), printable_path(midi)));
    for (count, what) in [
        (found.percussion, "of percussion: left out"),
        (found.unended, "without an end: taken to end with the track"),
        (found.empty, "of no length: left out"),
        ((total - within.len()) as u64, "after the end of the recording: is it of the same performance?"),
    ] {
        remarks.extend((count > 0).then(|| format!("{} {what}", counted(count, "note"))));
    }
    if within.is_empty() {
        remarks.push("the MIDI file has no note for this recording".to_string());
    }
    Ok(within)
}

/// A failure of the analysis of one file.
#[derive(Debug)]
pub(crate) enum AnalysisError {
    /// The file cannot be decoded.
    Tokens(mert_tokens::TokensError),
    /// Its notes or events cannot be found.
    Events(PathBuf, mert_events::EventsError),
    /// There is no MIDI file beside it.
    NoMidi,
    /// The MIDI file or the recording cannot be read.
    Read(PathBuf, std::io::Error),
}

impl AnalysisError {
    /// The failure of `input`.
    pub(crate) fn into_failure(self, input: &Input) -> Failure {
        let other =
            |reason: &str, message: String| Failure { file: escape(&input.path), reason: reason.to_string(), message };
        match self {
            AnalysisError::Tokens(error) => failure(input, error),
            AnalysisError::Events(path, error) => {
                let reason = if is_midi(&path) { "damaged MIDI file" } else { "no analysis" };
                other(reason, format!("{}: {error}", printable_path(&path)))
            }
            AnalysisError::NoMidi => other(
                "no notes",
                "there is no MIDI file beside it: give --notes auto for the pitch tracker".to_string(),
            ),
            AnalysisError::Read(path, error) => {
                other("unreadable", format!("cannot read {}: {error}", printable_path(&path)))
            }
        }
    }
}
