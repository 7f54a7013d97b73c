//! From an input to windows at the rate of each encoder, and the account of those that are silent.

use std::path::Path;

use mert_audio::{AudioError, RawPcm, SharedSource, Source, Track, Window, Windows};

use crate::encoders::Encoders;
use crate::settings::InputOptions;

/// Passes each window of a file to `on_window`, until it returns false. Returns notes on what was skipped in the file and what was
/// assumed.
pub(crate) fn read_file(
    path: &Path,
    encoders: &Encoders,
    options: &InputOptions,
    on_window: &mut impl FnMut(Vec<Window>) -> bool,
) -> Result<Vec<String>, AudioError> {
    let track = Track::open(path, encoders.first().embedder.sample_rate(), options.read_options())?;
    let mut windows = track.windows_for(&encoders.inputs(), &options.window, options.tail)?;
    let note = read_windows(encoders, &mut windows, on_window)?;
    let Some(source) = windows.first().map(|windows| windows.source().source()) else { return Ok(Vec::new()) };
    match source.channels_cancel() {
        true => Err(AudioError::ChannelsCancel),
        false => Ok(source.notes().iter().cloned().chain(note).collect()),
    }
}

/// Passes each window of raw samples on standard input to `on_window`, until it returns false.
pub(crate) fn read_stdin(
    encoders: &Encoders,
    options: &InputOptions,
    on_window: &mut impl FnMut(Vec<Window>) -> bool,
) -> Result<Vec<String>, AudioError> {
    let rate = options.input_rate.unwrap_or(0);
    let inputs = encoders.inputs();
    let sources = SharedSource::split(RawPcm::new(std::io::stdin().lock(), rate)?, inputs.len());
    let windows = inputs.iter().zip(sources).map(|(&(rate, min_samples), source)| {
        Windows::new(source, rate, &options.window, options.tail, min_samples, None)
    });
    let mut windows: Vec<_> = windows.collect::<Result<_, _>>()?;
    Ok(read_windows(encoders, &mut windows, on_window)?.into_iter().collect())
}

/// Passes each window, at the rate of each encoder, to `on_window`. A note says if an encoder has windows that another has
/// not.
pub(crate) fn read_windows<S: Source>(
    encoders: &Encoders,
    windows: &mut [Windows<S>],
    on_window: &mut impl FnMut(Vec<Window>) -> bool,
) -> Result<Option<String>, AudioError> {
    loop {
        let next: Vec<Option<Window>> = windows.iter_mut().map(Windows::next_window).collect::<Result<_, _>>()?;
        let missing = next.iter().position(Option::is_none);
        let present: Vec<Window> = next.into_iter().flatten().collect();
        match (missing, present.first().map(|window| window.index)) {
            (None, Some(_)) if on_window(present) => {}
            (None, _) | (_, None) => return Ok(None),
            // The length of a track in samples is rounded at each rate.
            (Some(missing), Some(index)) => {
                let name = encoders.iter().nth(missing).map_or("", |encoder| &encoder.name);
                return Ok(Some(format!(
                    "window {index} is left out: the track ends within a sample of it, and at the rate of {name} before"
                )));
            }
        }
    }
}

/// The silent windows of an input, which have no embedding.
#[derive(Debug, Default)]
pub(crate) struct SilentWindows {
    count: usize,
    /// The start of the first in seconds, and the value of all its samples.
    first: Option<(f64, f32)>,
}

impl SilentWindows {
    /// Counts a window that starts at `start` seconds and whose samples all are `value`.
    pub(crate) fn add(&mut self, start: f64, value: f32) {
        self.count += 1;
        self.first.get_or_insert((start, value));
    }

    /// A note on the silent windows of an input, if it has any.
    ///
    /// # Errors
    /// [`AudioError::Silent`] if no other window was embedded.
    pub(crate) fn note(&self, is_any_embedded: bool) -> Result<Option<String>, AudioError> {
        match (self.first, is_any_embedded) {
            (first, false) => Err(AudioError::Silent { value: first.map_or(0.0, |(_, value)| value) }),
            (None, true) => Ok(None),
            (Some((start, _)), true) => {
                Ok(Some(format!("{} silent window(s) left out, the first at {start:.2} s", self.count)))
            }
        }
    }
}
