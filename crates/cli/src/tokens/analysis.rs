//! The events of one recording: its sound is decoded once more, for onsets and pitches, and put beside its tokens.

use std::path::Path;

use mert_audio::{AudioFile, ReadOptions, Resampler, Source};
use mert_events::file::Recording;
use mert_events::midi::read_midi;
use mert_events::onset::{OnsetSettings, onsets};
use mert_events::pitch::{PitchSettings, PitchTracker};
use mert_events::segment::{NoteSource, SegmentSettings, TokenFrames, analyse, note_onsets};
use mert_fs::sha256_file;
use mert_table::{escape, printable_path};
use mert_tokens::TokensError;
use mert_tokens::frames::FrameGrid;

use crate::events::{AnalysisError, Notes, midi_beside};

/// Notes of a MIDI file that start within this many seconds are one onset.
const CHORD: f64 = 0.05;

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
    let mut notes = Vec::new();
    let analysis = match (&midi, settings.notes) {
        (None, Notes::Midi) => return Err(AnalysisError::NoMidi),
        (Some(midi), _) => {
            let bytes = std::fs::read(midi).map_err(|error| AnalysisError::Read(midi.clone(), error))?;
            let known = read_midi(&bytes).map_err(|error| AnalysisError::Events(midi.clone(), error))?;
            notes.push(format!("{} notes of {}", known.notes.len(), printable_path(midi)));
            for (count, what) in [
                (known.percussion, "notes of percussion are left out"),
                (known.unended, "notes have no end, and end with their track"),
                (known.empty, "notes of no length are left out"),
            ] {
                notes.extend((count > 0).then(|| format!("{count} {what}")));
            }
            let late = known.notes.iter().filter(|note| note.start >= duration).count();
            if late > 0 {
                notes
                    .push(format!("{late} notes start after the end of the recording: is it of the same performance?"));
            }
            let within: Vec<_> = known.notes.iter().filter(|note| note.start < duration).copied().collect();
            let onsets = note_onsets(&within, CHORD);
            analyse(&samples, duration, &onsets, &frames, NoteSource::Known(&within), 0, &settings.segments)
        }
        (None, _) => {
            let found = onsets(&samples, grid.rate, settings.onsets).map_err(events)?;
            let times: Vec<f64> = found.iter().map(|onset| onset.sample as f64 / f64::from(grid.rate)).collect();
            let mut tracker = PitchTracker::new(grid.rate, PitchSettings::default()).map_err(events)?;
            let source = NoteSource::Tracker(&mut tracker, grid.rate);
            analyse(&samples, duration, &times, &frames, source, 0, &settings.segments)
        }
    };
    let analysis = analysis.map_err(events)?;
    if analysis.merged_short > 0 {
        notes.push(format!("{} onsets that follow another too soon are left out", analysis.merged_short));
    }
    if analysis.events.is_empty() {
        notes.push("no event: the recording is silent or shorter than one".to_string());
    }
    let sha256 = sha256_file(path).map_err(|error| AnalysisError::Read(path.to_path_buf(), error))?;
    let recording = Recording { file: escape(path), sha256, duration, events: analysis.events };
    Ok(Analysed { recording, notes })
}
