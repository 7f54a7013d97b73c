//! The strided convolutions that turn samples into frames.

use bumpalo::collections::Vec as BumpVec;
use candle_core::Result;
use mert_arch::{Activation, Config, FeatureExtractorNorm};
use mert_simd::Factors;

use super::super::arithmetic::Arithmetic;
use super::super::kernels::conv1d::{self, Conv1d};
use super::super::kernels::math::activate_all;
use super::super::kernels::patch_norm::PatchNorm;
use super::super::memory::{GemmScratch, Intermediates, PackedWeight, Scratch, for_each_with_scratch};
use super::context::Context;
use super::layer_norm::LayerNorm;
use super::weight_loader::WeightLoader;

/// Output frames that are taken through all the convolutions at a time. They need 64 times as many frames of the first
/// one, 4 MB, which stay in the cache; the frames that neighbours compute twice are less than one in a hundred. Products of
/// smaller numbers wait longer for the cache, so that they take half as many.
const fn frames_at_a_time(factors: Factors) -> usize {
    match factors {
        Factors::F32 => 32,
        Factors::Bf16 | Factors::Int8 => 16,
    }
}

/// The convolutions, each with its norm and activation: transformers' `HubertFeatureEncoder`.
#[derive(Debug)]
pub(crate) struct FeatureExtractor {
    first: FirstLayer,
    layers: Vec<ConvLayer>,
    widths: Vec<usize>,
    kernels: Vec<usize>,
    strides: Vec<usize>,
    activation: Activation,
}

/// The convolution of the samples.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a model has one
enum FirstLayer {
    Plain(ConvLayer),
    /// Normalised over time, which needs the whole clip before the first frame.
    TimeNormalised(PatchNorm),
}

/// The first convolution of one clip.
#[derive(Clone, Copy)]
enum FirstConv<'a> {
    Plain(&'a ConvLayer),
    /// The convolution with this clip's norm folded into it.
    Folded(&'a PackedWeight),
}

/// A convolution with its norm: transformers' `HubertNoLayerNormConvLayer` and `HubertLayerNormConvLayer`.
#[derive(Debug)]
struct ConvLayer {
    conv: Conv1d,
    norm: Option<LayerNorm>,
}

/// Some output frames of one clip.
struct Task<'a> {
    clip: &'a [f32],
    first: FirstConv<'a>,
    /// The first frame of `out` within the clip.
    frame: usize,
    /// The output, `(frames, conv_dim.last)`.
    out: &'a mut [f32],
}

impl FeatureExtractor {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let weights = weights.pp("conv_layers");
        // The samples stay in f32: the first convolution is a hundredth of the work, and its few inputs fill no line of words.
        let layer = |i: usize| {
            let weights = weights.pp(i);
            ConvLayer::load(&if i == 0 { weights.with_factors(Factors::F32) } else { weights }, config, i)
        };
        let first = match config.feat_extract_norm {
            FeatureExtractorNorm::Group => {
                let weights = weights.pp(0);
                let (outputs, kernel) = (config.conv_dim[0], config.conv_kernel[0]);
                FirstLayer::TimeNormalised(PatchNorm::new(
                    &weights.matrix("conv.weight", (outputs, 1, kernel))?,
                    &weights.vector("layer_norm.weight", outputs)?,
                    &weights.vector("layer_norm.bias", outputs)?,
                    Config::FEATURE_EXTRACTOR_NORM_EPS,
                )?)
            }
            FeatureExtractorNorm::Layer => FirstLayer::Plain(layer(0)?),
        };
        Ok(FeatureExtractor {
            first,
            layers: (1..config.conv_dim.len()).map(layer).collect::<Result<_>>()?,
            widths: config.conv_dim.clone(),
            kernels: config.conv_kernel.clone(),
            strides: config.conv_stride.clone(),
            activation: config.feat_extract_activation,
        })
    }

    /// Maps `clips`, each of `samples` samples, to `out` `(clips · frames, conv_dim.last)`.
    pub(crate) fn forward(&self, context: &mut Context<'_>, clips: &[f32], samples: usize, out: &mut [f32]) {
        let Context { executor, intermediates, frames } = context;
        let (arithmetic, frames, width) = (executor.arithmetic, *frames, self.widths[self.widths.len() - 1]);
        let Intermediates { centred_clips, patch_statistics, folded, .. } = &mut **intermediates;
        let clips = match &self.first {
            FirstLayer::Plain(_) => clips,
            FirstLayer::TimeNormalised(norm) => {
                let centred = centred_clips.take(clips.len());
                centred.copy_from_slice(clips);
                folded.resize_with(folded.len().max(clips.len() / samples), Default::default);
                for (clip, folded) in centred.chunks_mut(samples).zip(folded.iter_mut()) {
                    centre(clip);
                    norm.fold(arithmetic.isa, clip, self.strides[0], patch_statistics, folded);
                }
                &*centred
            }
        };
        // As many equal parts as keep all threads busy to the end.
        let threads = rayon::current_num_threads();
        let parts = frames.div_ceil(frames_at_a_time(arithmetic.factors)).next_multiple_of(threads.min(frames));
        // Even, so that frames are odd or even within their part as they are within the clip: a convolution
        // may sum the two differently, and the result must not depend on the parts.
        let part = frames.div_ceil(parts).next_multiple_of(2);
        let mut tasks = BumpVec::new_in(executor.task_arena.clear());
        let clips = clips.chunks(samples).zip(out.chunks_mut(frames * width));
        for (i, (clip, out)) in clips.enumerate() {
            let first = match &self.first {
                FirstLayer::Plain(layer) => FirstConv::Plain(layer),
                FirstLayer::TimeNormalised(_) => FirstConv::Folded(&folded[i]),
            };
            for (i, out) in out.chunks_mut(part * width).enumerate() {
                tasks.push(Task { clip, first, frame: i * part, out });
            }
        }
        for_each_with_scratch(tasks.into_bump_slice_mut(), |task, scratch| self.run(arithmetic, task, scratch));
    }

    /// Takes the frames of a task through all layers, on this thread.
    fn run(&self, arithmetic: Arithmetic, task: &mut Task<'_>, scratch: &mut Scratch) {
        let Task { clip, first, frame, ref mut out } = *task;
        let last = self.kernels.len() - 1;
        let frames = frame..frame + out.len() / self.widths[last];
        let Scratch { gemm, a, b, .. } = scratch;
        let (mut x, mut next) = (a, b);
        for i in 0..=last {
            let range = self.needed(i, frames.clone());
            let input = if i == 0 { &clip[range.start * self.strides[0]..] } else { &x[..] };
            let y = if i == last { &mut **out } else { next.take(range.len() * self.widths[i]) };
            match (first, i) {
                (FirstConv::Folded(weight), 0) => {
                    conv1d::patches(arithmetic, weight, input, self.strides[0], y, Some(self.activation), gemm);
                }
                (FirstConv::Plain(layer), 0) => layer.forward(arithmetic, input, y, self.activation, gemm),
                _ => self.layers[i - 1].forward(arithmetic, input, y, self.activation, gemm),
            }
            std::mem::swap(&mut x, &mut next);
        }
    }

    /// The frames of layer `layer`'s output that `frames` of the last layer's output need.
    fn needed(&self, layer: usize, frames: std::ops::Range<usize>) -> std::ops::Range<usize> {
        (layer + 1..self.kernels.len())
            .rev()
            .fold(frames, |range, i| range.start * self.strides[i]..(range.end - 1) * self.strides[i] + self.kernels[i])
    }
}

/// Subtracts the mean of a clip. A norm over time does so in any case, but after products with weights that it has
/// scaled up, where a large mean leaves nothing of a small signal.
fn centre(clip: &mut [f32]) {
    let mean = clip.iter().map(|&x| f64::from(x)).sum::<f64>() / clip.len() as f64;
    clip.iter_mut().for_each(|x| *x = (f64::from(*x) - mean) as f32);
}

impl ConvLayer {
    fn load(weights: &WeightLoader<'_>, config: &Config, i: usize) -> Result<Self> {
        let input = if i == 0 { 1 } else { config.conv_dim[i - 1] };
        let output = config.conv_dim[i];
        let weight = weights.matrix("conv.weight", (output, input, config.conv_kernel[i]))?;
        let bias = if config.conv_bias { Some(weights.vector("conv.bias", output)?) } else { None };
        let norm = match config.feat_extract_norm {
            FeatureExtractorNorm::Layer => {
                Some(weights.layer_norm("layer_norm", output, Config::FEATURE_EXTRACTOR_NORM_EPS)?)
            }
            FeatureExtractorNorm::Group => None,
        };
        let conv = Conv1d::new(weights.arithmetic(), &weight, bias.as_ref(), input, config.conv_stride[i])?;
        Ok(ConvLayer { conv, norm })
    }

    /// Computes as many frames of `y` as there is room for, on this thread.
    fn forward(
        &self,
        arithmetic: Arithmetic,
        x: &[f32],
        y: &mut [f32],
        activation: Activation,
        scratch: &mut GemmScratch,
    ) {
        self.conv.forward(arithmetic, x, y, self.norm.is_none().then_some(activation), scratch);
        if let Some(norm) = &self.norm {
            norm.normalise(arithmetic.isa, y);
            activate_all(arithmetic.isa, activation, y);
        }
    }
}
