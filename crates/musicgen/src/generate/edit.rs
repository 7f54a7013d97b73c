//! Edits of a recording by an instruction: Instruct-MusicGen.

use super::generator::{Generated, Generator, Job};
use super::listener::Listener;
use super::settings::Settings;
use super::windows::windows;
use crate::lm::{Codes, Conditioning};
use crate::{MusicgenError, Result};

/// The length of the clips that the model was trained on, in seconds.
const TRAINED: f64 = 5.0;

/// The least part of a window that it shares with the one before, in seconds.
const OVERLAP: f64 = 1.0;

impl Generator {
    /// The frames of a window whose positions were trained: as the bundle records them, or 5 s.
    pub fn trained_frames(&self) -> usize {
        let recorded = self.config.instruct.as_ref().and_then(|instruct| instruct.trained_frames);
        let most = self.cp.as_ref().map_or(0, |cp| cp.max_frames());
        recorded.unwrap_or((TRAINED * self.config.frame_rate()) as usize).min(most)
    }

    /// The number of frames of a window of an edit with these settings.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] for a model without an instruct part, and for windows that do not fit it.
    pub fn edit_window(&self, settings: &Settings) -> Result<usize> {
        let Some(cp) = &self.cp else {
            let message = "the bundle is plain MusicGen, which does not edit recordings: give --text, or convert Instruct-MusicGen's checkpoint";
            return Err(MusicgenError::Request(message.into()));
        };
        let rate = self.config.frame_rate();
        if let Some(seconds) = settings.window
            && seconds * rate > cp.max_frames() as f64
        {
            let most = cp.max_frames() as f64 / rate;
            return Err(MusicgenError::Request(format!(
                "a window of {seconds} s: the model has positions for {most} s"
            )));
        }
        let usual = self.trained_frames() as f64 / rate;
        Ok(self.window_frames(settings, usual, OVERLAP, cp.max_frames())?.0)
    }

    /// Edits `input`, mono samples at the model's rate, as `text` says. The result has as many samples as the input.
    ///
    /// # Errors
    /// [`MusicgenError`] for an input without samples, settings out of range, and a generation that was stopped.
    pub fn edit(
        &self,
        text: &Conditioning,
        input: &[f32],
        settings: &Settings,
        listener: &mut dyn Listener,
    ) -> Result<Generated> {
        settings.check()?;
        self.edit_window(settings)?;
        let Some(cp) = &self.cp else { return Err(MusicgenError::Request("no instruct part".into())) };
        if input.is_empty() {
            return Err(MusicgenError::Request("the input has no samples".into()));
        }
        let (hop, rate) = (self.config.hop_length, self.config.frame_rate());
        let usual = self.trained_frames() as f64 / rate;
        let (length, shared) = self.window_frames(settings, usual, OVERLAP, cp.max_frames())?;
        let windows = windows(input.len().div_ceil(hop), length, shared);
        let prompt = Codes::filled(self.config.model.decoder.num_codebooks, 0, 0);
        let job = Job { text, windows, prompt, samples: input.len(), settings };
        // The codec sees a window alone, as in training: clips of that length were encoded.
        let prefix = |window: &super::Window| {
            let samples = &input[window.start * hop..input.len().min(window.end() * hop)];
            let codes = self.codec.encode(&[samples.to_vec()])?;
            Ok(Some(cp.prefix(&self.lm, &codes)?))
        };
        self.run(job, prefix, listener)
    }
}
