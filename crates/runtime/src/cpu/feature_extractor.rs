use bumpalo::collections::Vec as BumpVec;
use candle_core::Result;
use mert_arch::{Activation, Config, FeatureExtractorNorm};

use super::buffer::Buffer;
use super::conv1d::{self, Conv1d};
use super::gemm::GemmScratch;
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::lists::Lists;
use super::patch_norm::{self, PatchNorm};
use super::scratch::{self, Scratch};
use super::weights::Weights;

/// Output frames that are taken through all the convolutions at a time. They need 64 times as many
/// frames of the first one, 4 MB, which stay in the cache; the frames that neighbours compute twice are
/// less than one in a hundred.
const FRAMES: usize = 32;

/// The strided convolutions that turn samples into frames.
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
#[allow(clippy::large_enum_variant)] // there is one
enum FirstLayer {
    Plain(ConvLayer),
    /// Normalised over time, which needs the whole clip before the first frame.
    TimeNormalised(PatchNorm),
}

#[derive(Debug)]
struct ConvLayer {
    conv: Conv1d,
    norm: Option<LayerNorm>,
}

impl FeatureExtractor {
    pub(crate) fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let weights = weights.pp("conv_layers");
        let layer = |i: usize| ConvLayer::load(isa, &weights.pp(i), config, i);
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

    /// `clips`, each of `samples` samples, to `out` `(clips, frames, width)`.
    pub(crate) fn forward(
        &self,
        isa: Isa,
        clips: &[f32],
        samples: usize,
        memory: &mut Memory,
        out: &mut [f32],
        lists: &mut Lists,
    ) {
        let (width, count) = (self.widths[self.widths.len() - 1], clips.len() / samples);
        let Memory { centred, norms } = memory;
        let clips = match &self.first {
            FirstLayer::Plain(_) => clips,
            FirstLayer::TimeNormalised(norm) => {
                let centred = centred.take(clips.len());
                centred.copy_from_slice(clips);
                norms.resize_with(norms.len().max(count), Default::default);
                for (clip, memory) in centred.chunks_mut(samples).zip(norms.iter_mut()) {
                    centre(clip);
                    norm.fold(isa, clip, self.strides[0], memory);
                }
                &*centred
            }
        };
        let frames = out.len() / width / count;
        // As many equal parts as fill the threads evenly.
        let threads = rayon::current_num_threads();
        let parts = frames.div_ceil(FRAMES).next_multiple_of(threads.min(frames));
        // Even, so that frames are odd or even within their part as they are within the clip: a convolution
        // may sum the two differently, and the result must not depend on the parts.
        let part = frames.div_ceil(parts).next_multiple_of(2);
        let mut tasks = BumpVec::new_in(lists.clear());
        for (clip, (samples, out)) in clips.chunks(samples).zip(out.chunks_mut(frames * width)).enumerate() {
            let folded = norms.get(clip).map(patch_norm::Memory::folded);
            for (i, out) in out.chunks_mut(part * width).enumerate() {
                tasks.push((samples, folded, i * part, out));
            }
        }
        scratch::for_each(tasks.into_bump_slice_mut(), |(clip, folded, frame, out), scratch| {
            self.part(isa, clip, *folded, *frame..*frame + out.len() / width, out, scratch);
        });
    }

    /// Frames `frames` of a clip through all layers; the first is `folded` if it is normalised over time.
    fn part(
        &self,
        isa: Isa,
        clip: &[f32],
        folded: Option<&Linear>,
        frames: std::ops::Range<usize>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let Scratch { gemm, a, b, .. } = scratch;
        let (mut x, mut next) = (a, b);
        let last = self.kernels.len() - 1;
        for i in 0..=last {
            let range = self.needed(i, frames.clone());
            let input = if i == 0 { &clip[range.start * self.strides[0]..] } else { &x[..] };
            let y = if i == last { &mut *out } else { next.take(range.len() * self.widths[i]) };
            match (&self.first, folded, i) {
                (FirstLayer::TimeNormalised(_), Some(folded), 0) => {
                    conv1d::patches(isa, folded, input, self.strides[0], y, Some(self.activation), gemm);
                }
                (FirstLayer::Plain(layer), _, 0) => layer.forward(isa, input, y, self.activation, gemm),
                _ => self.layers[i - 1].forward(isa, input, y, self.activation, gemm),
            }
            std::mem::swap(&mut x, &mut next);
        }
    }

    /// The frames of layer `layer`'s output that `frames` of the last one's need.
    fn needed(&self, layer: usize, frames: std::ops::Range<usize>) -> std::ops::Range<usize> {
        (layer + 1..self.kernels.len())
            .rev()
            .fold(frames, |range, i| range.start * self.strides[i]..(range.end - 1) * self.strides[i] + self.kernels[i])
    }
}

/// What [`FeatureExtractor::forward`] works in.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The clips less their means.
    centred: Buffer,
    /// One for each clip, and perhaps more.
    norms: Vec<patch_norm::Memory>,
}

/// Takes the mean off a clip. A norm over time does so in any case, but after products with weights that it
/// has scaled up, where a large mean leaves nothing of a small signal.
fn centre(clip: &mut [f32]) {
    let mean = clip.iter().map(|&x| f64::from(x)).sum::<f64>() / clip.len() as f64;
    clip.iter_mut().for_each(|x| *x = (f64::from(*x) - mean) as f32);
}

impl ConvLayer {
    fn load(isa: Isa, weights: &Weights<'_>, config: &Config, i: usize) -> Result<Self> {
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
        Ok(ConvLayer { conv: Conv1d::new(isa, &weight, bias.as_ref(), input, config.conv_stride[i])?, norm })
    }

    fn forward(&self, isa: Isa, x: &[f32], y: &mut [f32], activation: Activation, scratch: &mut GemmScratch) {
        self.conv.forward(isa, x, y, self.norm.is_none().then_some(activation), scratch);
        if let Some(norm) = &self.norm {
            norm.normalise(isa, y);
            super::math::activate_all(isa, activation, y);
        }
    }
}
