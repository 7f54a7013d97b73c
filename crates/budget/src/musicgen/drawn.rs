//! Codes that the unquantized model draws for a text, as it would generate them: the codes that matter in use.

use mert_musicgen::bundle::{Bundle, GenerationConfig};
use mert_musicgen::generate::{Piece, Sampler, Settings, instruction};
use mert_musicgen::{Codes, CpEncoder, ForcedPiece, LanguageModel};

use super::pieces::fixed_text;
use crate::Result;

/// The texts of music, one for each seed in turn.
const MUSIC: [&str; 2] =
    ["A calm piano with soft strings, slow and warm.", "Energetic electronic music with drums and a deep bass."];

/// The instructions of edits.
const INSTRUCTIONS: [&str; 2] = ["Only Drums", "No Piano"];

/// A model that draws.
pub(super) struct Drawing<'a> {
    lm: &'a LanguageModel,
    cp: Option<&'a CpEncoder>,
    /// The states of [`MUSIC`] and of [`INSTRUCTIONS`]; fixed ones for a bundle without a text encoder.
    music: Vec<Vec<f32>>,
    instructions: Vec<Vec<f32>>,
    generation: GenerationConfig,
}

impl<'a> Drawing<'a> {
    /// Encodes the texts.
    ///
    /// # Errors
    /// Those of the text encoder.
    pub(super) fn open(bundle: &Bundle, lm: &'a LanguageModel, cp: Option<&'a CpEncoder>) -> Result<Self> {
        let has_encoder = bundle.folder().join("t5").is_dir();
        let encoder = has_encoder.then(|| bundle.text_encoder()).transpose()?;
        let width = bundle.config().model.text_hidden_size;
        let states = |text: &str| match &encoder {
            Some(encoder) => Ok(encoder.encode(text).map_err(mert_musicgen::MusicgenError::from)?.states),
            None => Ok::<_, crate::BudgetError>(fixed_text(width)),
        };
        Ok(Drawing {
            lm,
            cp,
            music: MUSIC.into_iter().map(states).collect::<Result<_>>()?,
            instructions: INSTRUCTIONS.into_iter().map(|text| states(&instruction(text))).collect::<Result<_>>()?,
            generation: bundle.config().generation,
        })
    }

    /// Draws a piece: music from a text, and for an instruct model the edit of such music by an instruction.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub(super) fn draw(&self, frames: usize, seed: u64) -> Result<ForcedPiece> {
        let of = |texts: &[Vec<f32>]| texts[seed as usize % texts.len()].clone();
        let text_states = of(&self.music);
        let codes = self.codes(&text_states, None, frames, seed)?;
        if self.cp.is_none() {
            return Ok(ForcedPiece { text_states, input: None, codes });
        }
        let (text_states, input) = (of(&self.instructions), codes);
        let codes = self.codes(&text_states, Some(&input), frames, seed)?;
        Ok(ForcedPiece { text_states, input: Some(input), codes })
    }

    fn codes(&self, text: &[f32], input: Option<&Codes>, frames: usize, seed: u64) -> Result<Codes> {
        let settings = Settings::of_model(&GenerationConfig { do_sample: true, ..self.generation });
        let text = self.lm.condition(text)?;
        let prefix = self.cp.zip(input).map(|(cp, input)| cp.prefix(self.lm, input)).transpose()?;
        let piece = Piece {
            lm: self.lm,
            text: &text,
            prefix: prefix.as_ref(),
            prompt: None,
            frames,
            guidance_scale: settings.guidance_scale as f32,
        };
        Ok(piece.generate(&mut Sampler::new(settings.sampling, seed), || Ok(()))?)
    }
}
