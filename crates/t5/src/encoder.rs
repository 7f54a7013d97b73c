//! The text encoder of a folder.

use std::path::Path;

use candle_core::{Device, Tensor};
use mert_arch::{CONFIG_FILE, T5Config};
use mert_checkpoint::open_weights;

use crate::layer::Layer;
use crate::norm::Norm;
use crate::position_bias::position_bias;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;
use crate::{Result, T5Error};

/// The most tokens of a text: attention has as many scores as their square. Texts of T5's training have 512.
const MOST_TOKENS: usize = 4096;

/// T5's encoder with its tokenizer.
pub struct T5Encoder {
    config: T5Config,
    tokenizer: Tokenizer,
    embedding: Tensor,
    position_table: Tensor,
    layers: Vec<Layer>,
    final_norm: Norm,
    device: Device,
}

/// A text as the language model reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedText {
    /// The numbers of its pieces, with `</s>` at the end.
    pub ids: Vec<u32>,
    /// The states `(tokens, d_model)` after the final norm: `last_hidden_state` of transformers' T5EncoderModel.
    pub states: Vec<f32>,
}

impl T5Encoder {
    /// Opens a folder with `config.json`, `model.safetensors` and `tokenizer.json`.
    ///
    /// # Errors
    /// [`T5Error`] if there is no such model, or one that is not computed here.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let opened = open_weights(folder)?;
        let path = opened.folder.join(CONFIG_FILE);
        if !path.is_file() {
            return Err(T5Error::NoFile {
                folder: folder.into(),
                file: CONFIG_FILE,
                contents: "the model's sizes",
                advice: "give the folder of the model as transformers saved it",
            });
        }
        let bytes = std::fs::read(&path).map_err(|source| T5Error::Read { path: path.clone(), source })?;
        let text = mert_arch::text_from_bytes(&bytes).map_err(|problem| T5Error::Read {
            path: path.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, problem),
        })?;
        let config = T5Config::from_json(&text).map_err(|source| T5Error::Config { path, source })?;
        let tokenizer = Tokenizer::open(folder, &config)?;
        let weights = Weights::new(&config, opened.checkpoint.as_ref(), device);
        let table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        let encoder = T5Encoder {
            tokenizer,
            embedding: weights.tensor("shared.weight")?,
            position_table: weights.tensor(table)?,
            layers: (0..config.num_layers).map(|i| Layer::open(&weights, &config, i)).collect::<Result<_>>()?,
            final_norm: Norm::open(&weights, "encoder.final_layer_norm.weight", config.layer_norm_epsilon)?,
            device: device.clone(),
            config,
        };
        weights.check_all_read()?;
        Ok(encoder)
    }

    /// The configuration.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// The numbers of a text's pieces, with `</s>` at the end.
    ///
    /// # Errors
    /// [`T5Error::Tokenizer`].
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text)
    }

    /// The tokens and states of a text.
    ///
    /// # Errors
    /// [`T5Error::Tokenizer`], and those of [`T5Encoder::states`].
    pub fn encode(&self, text: &str) -> Result<EncodedText> {
        let ids = self.tokenizer.encode(text)?;
        let states = self.states(&ids)?;
        Ok(EncodedText { ids, states })
    }

    /// The states `(tokens, d_model)` of tokens.
    ///
    /// # Errors
    /// [`T5Error::Length`], [`T5Error::Token`] and [`T5Error::Compute`].
    pub fn states(&self, ids: &[u32]) -> Result<Vec<f32>> {
        if !(1..=MOST_TOKENS).contains(&ids.len()) {
            return Err(T5Error::Length { found: ids.len(), most: MOST_TOKENS });
        }
        let size = self.config.vocab_size;
        if let Some(index) = ids.iter().position(|&id| id as usize >= size) {
            return Err(T5Error::Token { index, token: ids[index], size });
        }
        let bias = position_bias(&self.config, &self.position_table, ids.len())?;
        let mut states = self.embedding.index_select(&Tensor::new(ids, &self.device)?, 0)?;
        for layer in &self.layers {
            states = layer.forward(&states, &bias)?;
        }
        Ok(self.final_norm.forward(&states)?.flatten_all()?.to_vec1()?)
    }
}
