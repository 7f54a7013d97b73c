//! The convolutional position embedding, in all its variants.

mod batch_norm;
mod grouped_conv;

use candle_core::Result;
use mert_arch::{Activation, Config, PositionalConv};
use rayon::prelude::*;

use super::super::kernels::math::activate_all;
use super::context::Context;
use super::layer_norm::LayerNorm;
use super::weight_loader::WeightLoader;
use batch_norm::BatchNorm;
use grouped_conv::{GroupedConv, Store};

/// Epsilon of the norms in the position embedding: PyTorch's default, which no configuration changes.
const EPS: f64 = 1e-5;

/// Grouped convolutions whose output embeds the position of each frame: transformers' `HubertPositionalConvEmbedding` and
/// `Data2VecAudioPositionalConvEmbedding`.
#[derive(Debug)]
pub(crate) struct PositionalConvEmbedding {
    convs: Convs,
    activation: Activation,
}

#[derive(Debug)]
enum Convs {
    /// One convolution, perhaps of normalised frames, and the activation.
    Single { batch_norm: Option<BatchNorm>, conv: GroupedConv },
    /// Convolutions in a chain, each with the norm and the activation after it.
    Stack { convs: Vec<GroupedConv>, layer_norm: LayerNorm },
}

impl PositionalConvEmbedding {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let (width, variant) = (config.hidden_size, config.positional_conv());
        let conv = |weights: WeightLoader<'_>| GroupedConv::load(&weights.pp("conv"), width, variant);
        let single = |batch_norm| Ok(Convs::Single { batch_norm, conv: conv(weights.clone())? });
        let convs: Result<Convs> = match variant {
            PositionalConv::WeightNorm { .. } => single(None),
            PositionalConv::BatchNorm { .. } => single(Some(BatchNorm::load(&weights.pp("batch_norm"), width, EPS)?)),
            PositionalConv::Stack { layers, .. } => Ok(Convs::Stack {
                convs: (0..layers).map(|i| conv(weights.pp("layers").pp(i))).collect::<Result<_>>()?,
                layer_norm: LayerNorm::without_affine(width, EPS),
            }),
        };
        Ok(PositionalConvEmbedding { convs: convs?, activation: config.feat_extract_activation })
    }

    /// Adds the embedding to `x` `(clips · frames, hidden_size)`.
    pub(crate) fn add_to(&self, context: &mut Context<'_>, x: &mut [f32]) {
        let Context { executor, intermediates, frames } = context;
        match &self.convs {
            Convs::Single { batch_norm, conv } => {
                conv.run(executor, *frames, x, batch_norm.as_ref(), Store::AddActivated(self.activation));
            }
            Convs::Stack { convs, layer_norm } => {
                /// Frames of a task: enough to be worth one.
                const FRAMES: usize = 32;
                let (isa, embedding) = (executor.arithmetic.isa, intermediates.position_embedding.take(x.len()));
                let rows = FRAMES * layer_norm.channels();
                embedding.copy_from_slice(x);
                for conv in convs {
                    conv.run(executor, *frames, embedding, None, Store::Replace);
                    embedding.par_chunks_mut(rows).for_each(|frames| {
                        layer_norm.normalise(isa, frames);
                        activate_all(isa, self.activation, frames);
                    });
                }
                let pairs = x.par_chunks_mut(rows).zip(embedding.par_chunks(rows));
                pairs.for_each(|(x, embedding)| x.iter_mut().zip(embedding).for_each(|(x, e)| *x += e));
            }
        }
    }
}
