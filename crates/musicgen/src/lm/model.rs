//! The weights of the language model.

use std::collections::BTreeMap;

use mert_linear::Linear;
use rayon::prelude::*;

use super::codes::Codes;
use super::conditioning::Conditioning;
use super::layer::Layer;
use super::positions;
use crate::bundle::{Bundle, Weights};
use crate::cp::CpEncoder;
use crate::transformer::{LayerNorm, Precision};
use crate::{MusicgenError, Result};
use mert_arch::MusicgenDecoder;

/// The language model, with its weights mapped from the bundle's files.
pub struct LanguageModel {
    config: MusicgenDecoder,
    text_width: usize,
    embeddings: Vec<Linear>,
    layers: Vec<Layer>,
    out_norm: LayerNorm,
    heads: Vec<Linear>,
    output_proj: Linear,
    precision: Precision,
}

impl LanguageModel {
    /// Opens the language model of a bundle, and its transformer over the input's codes if it has one.
    ///
    /// # Errors
    /// [`MusicgenError`] for weights that are missing, of another shape or type, or left over.
    pub fn open(bundle: &Bundle) -> Result<(Self, Option<CpEncoder>)> {
        Self::from_weights(bundle, bundle.weights()?)
    }

    /// Opens the model of a bundle with the linear layers of others in the places of its own: `modules` has the number among
    /// `others` by the path of the module, such as `lm.layers.0.linear1`.
    ///
    /// # Errors
    /// Those of [`LanguageModel::open`].
    pub fn open_mixed(
        bundle: &Bundle,
        others: &[&Bundle],
        modules: &BTreeMap<String, usize>,
    ) -> Result<(Self, Option<CpEncoder>)> {
        let mut weights = bundle.weights()?;
        for (number, other) in others.iter().enumerate() {
            let replaced: Vec<&str> =
                modules.iter().filter(|(_, of)| **of == number).map(|(module, _)| module.as_str()).collect();
            if !replaced.is_empty() {
                weights.replace(other.weights()?, &replaced);
            }
        }
        Self::from_weights(bundle, weights)
    }

    fn from_weights(bundle: &Bundle, weights: Weights) -> Result<(Self, Option<CpEncoder>)> {
        let config = &bundle.config().model.decoder;
        let MusicgenDecoder { num_hidden_layers, hidden_size, num_codebooks, vocab_size, .. } = *config;
        let text_width = bundle.config().model.text_hidden_size;
        let embedding = |k| weights.table(&format!("lm.emb.{k}.weight"), &[vocab_size + 1, hidden_size]);
        let head = |k| weights.linear(&format!("lm.linears.{k}"), vocab_size, hidden_size);
        let output_proj = weights.linear("text_conditioner.output_proj", hidden_size, text_width)?;
        let bias = weights.vector("text_conditioner.output_proj.bias", hidden_size)?;
        let name = || "text_conditioner.output_proj.bias".to_string();
        let output_proj =
            output_proj.with_bias(bias).map_err(|source| MusicgenError::Linear { name: name(), source })?;
        let model = LanguageModel {
            config: config.clone(),
            text_width,
            embeddings: (0..num_codebooks).map(embedding).collect::<Result<_>>()?,
            layers: (0..num_hidden_layers)
                .map(|i| Layer::open(&weights, &format!("lm.layers.{i}"), config))
                .collect::<Result<_>>()?,
            out_norm: LayerNorm::open(&weights, "lm.out_norm", hidden_size)?,
            heads: (0..num_codebooks).map(head).collect::<Result<_>>()?,
            output_proj,
            // Keys and values need no more precision than the weights that they come from.
            precision: if weights.has_half_precision() { Precision::F16 } else { Precision::F32 },
        };
        let cp = bundle.config().model.cp_transformer.map(|cp| CpEncoder::open(&weights, cp)).transpose()?;
        weights.check_all_read()?;
        Ok((model, cp))
    }

    /// The sizes.
    pub fn config(&self) -> &MusicgenDecoder {
        &self.config
    }

    /// Keeps keys and values in f32 whatever the type of the weights, for comparisons with a reference in f32.
    pub fn keep_f32(&mut self) {
        self.precision = Precision::F32;
    }

    /// The projection of a text's states `(tokens, d_model)` to the model's width.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] for states of another width, or none.
    pub fn condition(&self, text_states: &[f32]) -> Result<Conditioning> {
        let (width, text_width) = (self.config.hidden_size, self.text_width);
        if text_states.is_empty() || !text_states.len().is_multiple_of(text_width) {
            let found = text_states.len();
            let message = format!("the text has {found} values, expected rows of {text_width}, as config.json says");
            return Err(MusicgenError::Request(message));
        }
        let mut states = vec![0.0; text_states.len() / text_width * width];
        self.output_proj.forward(text_states, &mut states);
        Ok(Conditioning { states, width })
    }

    /// Checks that the model has these codes.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] naming the first that it does not have.
    pub fn check_codes(&self, codes: &Codes) -> Result<()> {
        let MusicgenDecoder { num_codebooks, vocab_size, .. } = self.config;
        if codes.codebooks() != num_codebooks {
            let found = codes.codebooks();
            return Err(MusicgenError::Request(format!("{found} codebooks of codes, expected {num_codebooks}")));
        }
        let beyond = |(k, codes): (usize, &Vec<u32>)| {
            let frame = codes.iter().position(|&code| code as usize > vocab_size)?;
            Some(format!("code {} in frame {frame} of codebook {k}, expected 0 to {vocab_size}", codes[frame]))
        };
        codes.rows().iter().enumerate().find_map(beyond).map_or(Ok(()), |message| Err(MusicgenError::Request(message)))
    }

    /// The sum of the embeddings of one code of each codebook.
    pub(crate) fn embed(&self, code: impl Fn(usize) -> u32, out: &mut [f32]) {
        let mut row = vec![0.0; out.len()];
        out.fill(0.0);
        for (k, embedding) in self.embeddings.iter().enumerate() {
            embedding.row(code(k) as usize, &mut row);
            out.iter_mut().zip(&row).for_each(|(out, value)| *out += value);
        }
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The states `(steps, width)` before the first layer, for codes as the delay pattern has them, the first of them at step
    /// `before`: the embeddings of the codes, and the position.
    pub(super) fn inputs(&self, input: &Codes, before: usize, out: &mut [f32]) {
        out.par_chunks_exact_mut(self.config.hidden_size).enumerate().for_each(|(step, out)| {
            self.embed(|k| input.get(k, step), out);
            positions::add(before + step, out);
        });
    }

    /// The final norm of `states`, in place.
    pub(super) fn normalize(&self, states: &mut [f32], x: &mut Vec<f32>) {
        self.out_norm.forward(states, x);
        states.copy_from_slice(x);
    }

    /// The logits `(steps, codebooks, vocab_size)` of normalised states `(steps, width)`.
    pub(super) fn logits(&self, states: &[f32]) -> Vec<f32> {
        let MusicgenDecoder { hidden_size, num_codebooks, vocab_size, .. } = self.config;
        let steps = states.len() / hidden_size;
        let mut parts = vec![vec![0.0; steps * vocab_size]; num_codebooks];
        let heads: Vec<&Linear> = self.heads.iter().collect();
        let mut outs: Vec<&mut [f32]> = parts.iter_mut().map(Vec::as_mut_slice).collect();
        Linear::forward_all(&heads, states, &mut outs);
        let of_step = |step: usize| parts.iter().flat_map(move |part| &part[step * vocab_size..][..vocab_size]);
        (0..steps).flat_map(of_step).copied().collect()
    }
}
