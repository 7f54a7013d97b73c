use candle_core::Result;
use mert_spec::{Activation, Config, FeatureExtractorNorm};

use super::conv1d::Conv1d;
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::patch_norm::PatchNorm;
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
            kernels: config.conv_kernel.clone(),
            strides: config.conv_stride.clone(),
            activation: config.feat_extract_activation,
        })
    }

    /// `clips`, each of `samples` samples, to `out` `(clips, frames, width)`.
    pub(crate) fn forward(&self, isa: Isa, clips: &[f32], samples: usize, out: &mut [f32]) -> Result<()> {
        let width = self.layers.last().map_or(self.first_width(), |layer| layer.conv.outputs());
        let mut centred = Vec::new();
        let clips = match &self.first {
            FirstLayer::Plain(_) => clips,
            FirstLayer::TimeNormalised(_) => {
                centred.extend_from_slice(clips);
                centred.chunks_mut(samples).for_each(centre);
                &centred
            }
        };
        let clips: Vec<&[f32]> = clips.chunks(samples).collect();
        let frames = out.len() / width / clips.len();
        let first: Vec<Option<Conv1d>> = clips.iter().map(|clip| self.fold(isa, clip)).collect::<Result<_>>()?;
        // As many equal parts as fill the threads evenly.
        let threads = rayon::current_num_threads();
        let parts = frames.div_ceil(FRAMES).next_multiple_of(threads.min(frames));
        // Even, so that frames are odd or even within their part as they are within the clip: a convolution
        // may sum the two differently, and the result must not depend on the parts.
        let part = frames.div_ceil(parts).next_multiple_of(2);
        let mut tasks = Vec::new();
        for ((clip, first), out) in clips.iter().zip(&first).zip(out.chunks_mut(frames * width)) {
            for (i, out) in out.chunks_mut(part * width).enumerate() {
                tasks.push((*clip, first.as_ref(), i * part, out));
            }
        }
        scratch::for_each(tasks, |(clip, first, frame, out), scratch| {
            self.part(isa, clip, first, frame..frame + out.len() / width, out, scratch);
        });
        Ok(())
    }

    fn first_width(&self) -> usize {
        match &self.first {
            FirstLayer::Plain(layer) => layer.conv.outputs(),
            FirstLayer::TimeNormalised(norm) => norm.outputs(),
        }
    }

    /// The first convolution with the clip's statistics in its weights.
    fn fold(&self, isa: Isa, clip: &[f32]) -> Result<Option<Conv1d>> {
        match &self.first {
            FirstLayer::Plain(_) => Ok(None),
            FirstLayer::TimeNormalised(norm) => {
                let folded = norm.fold(isa, clip, self.strides[0])?;
                Ok(Some(Conv1d::of_samples(folded, self.strides[0])))
            }
        }
    }

    /// Frames `frames` of a clip through all layers.
    fn part(
        &self,
        isa: Isa,
        clip: &[f32],
        folded: Option<&Conv1d>,
        frames: std::ops::Range<usize>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let ranges = self.needed(frames);
        let Scratch { gemm, a, b, .. } = scratch;
        let (mut x, mut next) = (a, b);
        for (i, range) in ranges.iter().enumerate() {
            let (conv, norm) = match (&self.first, folded, i) {
                (FirstLayer::TimeNormalised(_), Some(folded), 0) => (folded, None),
                (FirstLayer::Plain(layer), _, 0) => (&layer.conv, layer.norm.as_ref()),
                _ => (&self.layers[i - 1].conv, self.layers[i - 1].norm.as_ref()),
            };
            let input = if i == 0 { &clip[range.start * self.strides[0]..] } else { &x[..] };
            let size = range.len() * conv.outputs();
            let y = if i + 1 == ranges.len() { &mut *out } else { next.take(size) };
            conv.forward(isa, input, y, norm.is_none().then_some(self.activation), gemm);
            if let Some(norm) = norm {
                norm.normalise(isa, y);
                super::math::activate_all(isa, self.activation, y);
            }
            std::mem::swap(&mut x, &mut next);
        }
    }

    /// The frames of each layer's output that `frames` of the last one need, from the first layer on.
    fn needed(&self, frames: std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
        let mut ranges = vec![frames.clone()];
        let mut range = frames;
        for i in (1..self.kernels.len()).rev() {
            range = range.start * self.strides[i]..(range.end - 1) * self.strides[i] + self.kernels[i];
            ranges.push(range.clone());
        }
        ranges.reverse();
        ranges
    }
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
}
