//! The models of a bundle together, and the loop over windows.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::listener::{Listener, Progress};
use super::output::Output;
use super::piece::Piece;
use super::sampler::Sampler;
use super::settings::Settings;
use super::windows::Window;
use crate::bundle::{Bundle, BundleConfig};
use crate::codec::ChannelCodec;
use crate::cp::{CpEncoder, CpPrefix};
use crate::lm::{Codes, Conditioning, LanguageModel};
use crate::{MusicgenError, Result};

/// The language model and the codec of a bundle, ready to generate.
pub struct Generator {
    pub(super) config: BundleConfig,
    pub(super) lm: LanguageModel,
    pub(super) cp: Option<CpEncoder>,
    pub(super) codec: ChannelCodec,
}

/// The result of a generation, beside the samples that the listener got.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The codes `(codebooks, frames)` of all windows.
    pub codes: Codes,
    /// The number of calls of the language model.
    pub steps: usize,
    /// The number of windows.
    pub windows: usize,
    /// The number of samples of a channel.
    pub samples: usize,
    /// The time that each part took.
    pub times: Times,
}

/// The time that the parts of a generation took, of all windows together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// The codec's encoder and the transformer over the input's codes; zero for music from a text.
    pub input: Duration,
    /// The calls of the language model, and the draws.
    pub steps: Duration,
    /// The codec's decoder, and the listener.
    pub output: Duration,
}

/// The music to generate, in windows.
pub(super) struct Job<'a> {
    pub(super) text: &'a Conditioning,
    pub(super) windows: Vec<Window>,
    /// The frames that are given, from the first.
    pub(super) prompt: Codes,
    /// The number of samples to write.
    pub(super) samples: usize,
    pub(super) settings: &'a Settings,
}

impl Generator {
    /// Opens the language model and the codec of a bundle.
    ///
    /// # Errors
    /// Those of [`LanguageModel::open`] and [`ChannelCodec::open`].
    pub fn open(bundle: &Bundle) -> Result<Self> {
        let codec = ChannelCodec::open(bundle)?;
        let (lm, cp) = LanguageModel::open(bundle)?;
        Ok(Generator { config: bundle.config().clone(), lm, cp, codec })
    }

    /// The configuration of the bundle.
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// The language model.
    pub fn language_model(&self) -> &LanguageModel {
        &self.lm
    }

    /// Whether the model edits recordings by instructions.
    pub fn is_instruct(&self) -> bool {
        self.cp.is_some()
    }

    /// Generates the windows of a job one after another. Each begins with the frames that it shares with the one before, as
    /// its prompt. `prefix` yields the input's codes of a window.
    pub(super) fn run(
        &self,
        job: Job<'_>,
        mut prefix: impl FnMut(&Window) -> Result<Option<CpPrefix>>,
        listener: &mut dyn Listener,
    ) -> Result<Generated> {
        let Job { text, windows, prompt, samples, settings } = job;
        let (decoder, hop) = (&self.config.model.decoder, self.config.hop_length);
        let mut sampler = Sampler::new(settings.sampling, settings.seed);
        let mut output = Output::new(decoder.audio_channels, samples);
        let mut codes = Codes::filled(decoder.num_codebooks, 0, 0);
        let (started, mut steps, mut music) = (Instant::now(), 0, 0.0);
        let mut times = Times::default();
        let all_steps = windows.iter().map(|window| window.frames - window.shared).sum::<usize>()
            - prompt.frames().min(windows[0].frames)
            + windows.len() * (decoder.num_codebooks / decoder.audio_channels - 1);
        for (number, window) in windows.iter().enumerate() {
            let given = if number == 0 {
                prompt.slice(0..window.frames)
            } else {
                codes.slice(window.start..window.start + window.shared)
            };
            let given_frames = given.frames();
            let begin = Instant::now();
            let prefix = prefix(window)?;
            if prefix.is_some() {
                times.input += begin.elapsed();
            }
            let guidance_scale = settings.guidance_scale as f32;
            let piece = Piece {
                lm: &self.lm,
                text,
                prefix: prefix.as_ref(),
                frames: window.frames,
                prompt: Some(given),
                guidance_scale,
            };
            let new_seconds = (window.frames - given_frames) as f64 / self.config.frame_rate();
            let (calls, before) = (piece.calls(), music);
            let (mut call, begin) = (0, Instant::now());
            let generated = piece.generate(&mut sampler, || {
                steps += 1;
                call += 1;
                music = before + new_seconds * call as f64 / calls as f64;
                let (elapsed, windows) = (started.elapsed(), windows.len());
                let progress = Progress { window: number, windows, steps, all_steps, elapsed, music };
                match listener.progress(&progress) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(MusicgenError::Stopped { steps }),
                }
            })?;
            times.steps += begin.elapsed();
            let begin = Instant::now();
            codes.append(&generated.slice(window.shared..window.frames));
            let next = windows.get(number + 1).map_or(samples, |next| next.start * hop);
            let finished = output.add(window.start * hop, &self.codec.decode(&generated)?, next);
            listener.audio(&finished).map_err(|source| MusicgenError::Output { source })?;
            times.output += begin.elapsed();
        }
        Ok(Generated { codes, steps, windows: windows.len(), samples, times })
    }

    /// The lengths of windows and of what they share in frames.
    pub(super) fn window_frames(
        &self,
        settings: &Settings,
        window: f64,
        overlap: f64,
        most: usize,
    ) -> Result<(usize, usize)> {
        let frames = |seconds: f64| (seconds * self.config.frame_rate()).round() as usize;
        let length = frames(settings.window.unwrap_or(window)).min(most);
        let shared = settings.overlap.map_or_else(|| frames(overlap).min(length / 2), frames);
        if length == 0 || shared >= length {
            let rate = self.config.frame_rate();
            let (length, shared) = (length as f64 / rate, shared as f64 / rate);
            let message = format!(
                "windows of {length} s (--window) that share {shared} s (--overlap), in whole frames of {:.4} s: expected \
                 windows of at least a frame, and less to be shared than their length",
                1.0 / rate
            );
            return Err(MusicgenError::Request(message));
        }
        Ok((length, shared))
    }
}
