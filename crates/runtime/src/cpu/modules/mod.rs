//! The modules of the CPU engine, under the names of the checkpoint's own: `feature_extractor`, `feature_projection`,
//! `encoder` with `pos_conv_embed` and its layers' `attention` and `feed_forward`. They split each step into tasks for
//! the threads, which run the kernels.
//!
//! They mirror transformers'
//! [`modeling_hubert.py`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/hubert/modeling_hubert.py)
//! and MERT's [`modeling_MERT.py`](https://huggingface.co/m-a-p/MERT-v1-95M/blob/main/modeling_MERT.py).

mod attention;
mod context;
mod encoder;
mod feature_extractor;
mod feature_projection;
mod feed_forward;
mod final_proj;
mod joined_linear;
mod layer_norm;
mod linear;
mod position_bias;
mod positional_conv;
mod weight_loader;

pub(crate) use context::{Context, Executor};
pub(crate) use encoder::Encoder;
pub(crate) use feature_extractor::FeatureExtractor;
pub(crate) use feature_projection::FeatureProjection;
pub(crate) use final_proj::FinalProj;
pub(crate) use weight_loader::WeightLoader;
