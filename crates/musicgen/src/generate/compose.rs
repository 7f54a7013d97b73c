//! Music from a text, perhaps as the continuation of a recording: plain MusicGen.

use super::generator::{Generated, Generator, Job};
use super::listener::Listener;
use super::settings::Settings;
use super::windows::windows;
use crate::lm::{Codes, Conditioning};
use crate::{MusicgenError, Result};

/// The length of the clips that MusicGen was trained on, in seconds.
const TRAINED: f64 = 30.0;

/// The least part of a window that it shares with the one before, in seconds: audiocraft's windows advance by 18 s.
const OVERLAP: f64 = 12.0;

/// The music to compose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Composition<'a> {
    /// The projected text.
    pub text: &'a Conditioning,
    /// The length in seconds, that of the beginning included.
    pub seconds: f64,
    /// The samples of a recording that is continued, at the model's rate, channel by channel; empty for none.
    pub beginning: &'a [Vec<f32>],
}

/// Checks the length of a composition.
///
/// # Errors
/// [`MusicgenError::Request`] unless it is more than 0 and at most a day.
pub fn check_length(seconds: f64) -> Result<()> {
    // Beyond, the number of samples would be meaningless.
    match seconds > 0.0 && seconds <= 86_400.0 {
        true => Ok(()),
        false => {
            let message = format!("a length of {seconds} s, expected more than 0 and at most 86400 s");
            Err(MusicgenError::Request(message))
        }
    }
}

impl Generator {
    /// Composes music from a text. What it begins with, if anything, is part of the result, as the codec renders it.
    ///
    /// # Errors
    /// [`MusicgenError`] for an instruct model, a length or settings out of range, and a generation that was stopped.
    pub fn compose(
        &self,
        music: &Composition<'_>,
        settings: &Settings,
        listener: &mut dyn Listener,
    ) -> Result<Generated> {
        settings.check()?;
        if self.cp.is_some() {
            let message = "the bundle is Instruct-MusicGen, which edits recordings: give --instruct and a recording";
            return Err(MusicgenError::Request(message.into()));
        }
        let (hop, rate) = (self.config.hop_length, f64::from(self.config.sampling_rate));
        let samples = (music.seconds * rate).round();
        check_length(music.seconds)?;
        let samples = (samples as usize).max(1);
        let frames = samples.div_ceil(hop);
        let prompt = match music.beginning.iter().any(|samples| !samples.is_empty()) {
            true => self.codec.encode(music.beginning)?,
            false => Codes::filled(self.config.model.decoder.num_codebooks, 0, 0),
        };
        let (length, shared) = self.window_frames(settings, TRAINED, OVERLAP, usize::MAX)?;
        if prompt.frames() >= frames.min(length) {
            let seconds = |frames: usize| frames as f64 * hop as f64 / rate;
            let found = format!("the beginning is {} s long", seconds(prompt.frames()));
            let message = match frames <= length {
                true => format!("{found}, and the music with it {} s: give more --seconds", seconds(frames)),
                false => format!(
                    "{found}, and must end in the first window, of {} s: shorten it, or give a longer --window",
                    seconds(length)
                ),
            };
            return Err(MusicgenError::Request(message));
        }
        let job = Job { text: music.text, windows: windows(frames, length, shared), prompt, samples, settings };
        self.run(job, |_| Ok(None), listener)
    }
}
