//! The tensors that the sizes of a MusicGen imply, and the sizes that the shapes of tensors do.

use std::collections::BTreeMap;

use serde_json::Map;

use super::{CpTransformer, MUSICGEN_HEAD_DIM, MusicgenConfig, MusicgenDecoder};
use crate::inventory::TensorList;
use crate::{ConfigError, Role, TensorSpec};

impl MusicgenConfig {
    /// The tensors of the language model, of the text projection and of the condition transformer, under the names of
    /// [`MusicgenNames::Mlx`](crate::naming::MusicgenNames::Mlx), in the order of the forward pass. Weights are `(out, in)`.
    pub fn inventory(&self) -> Vec<TensorSpec> {
        let MusicgenDecoder { num_hidden_layers, hidden_size: width, ffn_dim, num_codebooks, vocab_size, .. } =
            self.decoder;
        let mut tensors = TensorList::default();
        for k in 0..num_codebooks {
            tensors.push(format!("lm.emb.{k}.weight"), &[vocab_size + 1, width], Role::Embedding);
        }
        tensors.linear("text_conditioner.output_proj", self.text_hidden_size, width);
        for i in 0..num_hidden_layers {
            let path = format!("lm.layers.{i}");
            for attention in ["self_attn", "cross_attn"] {
                for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                    tensors.push(format!("{path}.{attention}.{projection}.weight"), &[width, width], Role::Linear);
                }
            }
            tensors.push(format!("{path}.linear1.weight"), &[ffn_dim, width], Role::Linear);
            tensors.push(format!("{path}.linear2.weight"), &[width, ffn_dim], Role::Linear);
            for norm in ["norm1", "norm_cross", "norm2"] {
                tensors.norm(&format!("{path}.{norm}"), width);
            }
        }
        tensors.norm("lm.out_norm", width);
        for k in 0..num_codebooks {
            tensors.push(format!("lm.linears.{k}.weight"), &[vocab_size, width], Role::Linear);
        }
        if let Some(CpTransformer { num_layers, max_frames, hidden_size }) = self.cp_transformer {
            tensors.push("cp_transformer.pos_emb".into(), &[num_layers + 1, max_frames, hidden_size], Role::Embedding);
            tensors.push("cp_transformer.gates".into(), &[num_layers], Role::Gate);
            for i in 0..num_layers {
                let name = format!("cp_transformer.merge_linear.{i}.weight");
                tensors.push(name, &[hidden_size, hidden_size], Role::Linear);
            }
        }
        tensors.into_specs()
    }

    /// Infers the sizes from the shapes of a model's tensors, by their names in [`MusicgenNames::Mlx`]. The number of heads is
    /// not in the shapes.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the first tensor that is missing or has another number of axes.
    ///
    /// [`MusicgenNames::Mlx`]: crate::naming::MusicgenNames::Mlx
    pub fn infer(
        shapes: &BTreeMap<String, Vec<usize>>,
        num_attention_heads: Option<usize>,
    ) -> Result<Self, ConfigError> {
        let matrix = |name: &str| match shapes.get(name).map(Vec::as_slice) {
            Some(&[rows, columns]) => Ok((rows, columns)),
            Some(other) => Err(ConfigError::invalid("shape of a tensor", format!("{other:?} (`{name}`)"), "two axes")),
            None => Err(ConfigError::invalid("tensor", format!("missing (`{name}`)"), "a weight of MusicGen")),
        };
        let count =
            |start: &str, end: &str| (0..).take_while(|i| shapes.contains_key(&format!("{start}{i}{end}"))).count();
        let (rows, hidden_size) = matrix("lm.emb.0.weight")?;
        let (ffn_dim, _) = matrix("lm.layers.0.linear1.weight")?;
        let (_, text_hidden_size) = matrix("text_conditioner.output_proj.weight")?;
        let vocab_size = rows.saturating_sub(1);
        let num_codebooks = count("lm.emb.", ".weight");
        let decoder = MusicgenDecoder {
            num_hidden_layers: count("lm.layers.", ".norm1.weight"),
            hidden_size,
            num_attention_heads: num_attention_heads.unwrap_or(hidden_size / MUSICGEN_HEAD_DIM).max(1),
            ffn_dim,
            num_codebooks,
            vocab_size,
            bos_token_id: vocab_size,
            pad_token_id: vocab_size,
            audio_channels: if num_codebooks == 8 { 2 } else { 1 },
            max_position_embeddings: 2048,
        };
        let cp_transformer = match shapes.get("cp_transformer.pos_emb").map(Vec::as_slice) {
            None => None,
            Some(&[layers, max_frames, hidden_size]) => {
                Some(CpTransformer { num_layers: layers.saturating_sub(1), max_frames, hidden_size })
            }
            Some(other) => {
                let found = format!("{other:?}");
                return Err(ConfigError::invalid(
                    "shape of cp_transformer.pos_emb",
                    found,
                    "(layers + 1, frames, width)",
                ));
            }
        };
        let (text_encoder, audio_encoder) = (Map::new(), Map::new());
        let config = MusicgenConfig { decoder, text_hidden_size, cp_transformer, text_encoder, audio_encoder };
        config.validate()?;
        Ok(config)
    }
}
