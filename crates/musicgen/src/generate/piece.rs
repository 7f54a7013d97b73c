//! The codes of one window, step by step.

use crate::cp::CpPrefix;
use crate::lm::{Codes, Conditioning, DelayPattern, LanguageModel, Session, guided};
use crate::{MusicgenError, Result};

use super::sampler::Sampler;

/// The inputs of a window.
pub struct Piece<'a> {
    /// The language model.
    pub lm: &'a LanguageModel,
    /// The projected text.
    pub text: &'a Conditioning,
    /// What the language model attends to for the input's codes; `None` for plain MusicGen.
    pub prefix: Option<&'a CpPrefix>,
    /// The frames that are given, from the first; fewer than `frames`.
    pub prompt: Option<Codes>,
    /// The number of frames in all.
    pub frames: usize,
    /// The factor of classifier-free guidance; 1 for none.
    pub guidance_scale: f32,
}

impl Piece<'_> {
    fn pattern(&self) -> DelayPattern {
        let config = self.lm.config();
        DelayPattern::new(config.num_codebooks, config.audio_channels, config.vocab_size as u32)
    }

    /// The number of calls of the language model; what the prompt takes is one of them.
    pub fn calls(&self) -> usize {
        self.pattern().calls(self.frames) - self.given()
    }

    /// The number of frames that are given.
    fn given(&self) -> usize {
        self.prompt.as_ref().map_or(0, Codes::frames)
    }

    /// Generates the codes `(codebooks, frames)`, which begin with the prompt's. `on_step` is called after each call of the
    /// language model, and ends the generation with its error.
    ///
    /// # Errors
    /// [`MusicgenError::NotFinite`], [`MusicgenError::Request`] for a prompt that the model does not have, and those of
    /// `on_step`.
    pub fn generate(&self, sampler: &mut Sampler, mut on_step: impl FnMut() -> Result<()>) -> Result<Codes> {
        let (pattern, config, given) = (self.pattern(), self.lm.config(), self.given());
        let (codebooks, special) = (config.num_codebooks, config.vocab_size as u32);
        let calls = pattern.calls(self.frames);
        let is_guided = self.guidance_scale != 1.0;
        let mut session = Session::new(self.lm, self.text, self.prefix, is_guided, calls)?;
        let mut codes = Codes::filled(codebooks, self.frames, special);
        if let Some(prompt) = &self.prompt {
            self.lm.check_codes(prompt)?;
            if given >= self.frames {
                let frames = self.frames;
                return Err(MusicgenError::Request(format!(
                    "a prompt of {given} frames, expected fewer than {frames}"
                )));
            }
            for k in 0..codebooks {
                (0..given).for_each(|frame| codes.set(k, frame, prompt.get(k, frame)));
            }
        }
        // The steps up to `given` see frames of the prompt alone; the last of them predicts the first frame after it.
        let mut input = pattern.input(&codes).slice(0..given + 1);
        for step in given..calls {
            let logits = session.forward(&input)?;
            let logits = if is_guided { guided(&logits, self.guidance_scale) } else { logits };
            for (k, logits) in logits.chunks_exact(config.vocab_size).enumerate() {
                if let Some(frame) = pattern.frame(k, step + 1, self.frames).filter(|frame| *frame >= given) {
                    codes.set(k, frame, sampler.sample(logits).ok_or(MusicgenError::NotFinite { step })?);
                }
            }
            on_step()?;
            let next = |k| pattern.frame(k, step + 1, self.frames).map_or(special, |frame| codes.get(k, frame));
            input = Codes::filled(codebooks, 1, special);
            (0..codebooks).for_each(|k| input.set(k, 0, next(k)));
        }
        Ok(codes)
    }
}
