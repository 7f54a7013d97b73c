//! The cost of a budget's measurements, counted before they begin.

use std::fmt;

use mert_arch::Encoding;
use serde::Serialize;

use super::pieces::{CALIBRATION_FRAMES, PIECES};
use super::subject::{MusicgenSubject, WIDTHS, place};

/// The work of measuring every group in every width, and the disk space of the bundles that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MusicgenCost {
    /// The number of measurements of single groups.
    pub measurements: usize,
    /// The floating-point operations of the products with weights in these measurements, a multiplication and an addition
    /// apart: an estimate of the work, which attention and the decoding of weights add to.
    pub operations: f64,
    /// The size in bytes of the bundles beside the output, which are removed afterwards.
    pub disk_len: u64,
}

impl fmt::Display for MusicgenCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MusicgenCost { measurements, operations, disk_len } = *self;
        let (unit, factor) = if operations < 1e12 { ("GFLOP", 1e9) } else { ("TFLOP", 1e12) };
        write!(
            f,
            "{measurements} measurements, about {:.1} {unit} of products (an estimate), and {:.1} MB of temporary files",
            operations / factor,
            disk_len as f64 / 1e6
        )
    }
}

/// Counts the work for a model.
pub(super) fn of(subject: &MusicgenSubject<'_>) -> MusicgenCost {
    let config = &subject.plan().config;
    let decoder = &config.decoder;
    // The delay pattern adds a step for each codebook of a channel but the first.
    let steps = CALIBRATION_FRAMES + decoder.num_codebooks / decoder.audio_channels.max(1) - 1;
    let input = config.cp_transformer.map_or(0, |cp| CALIBRATION_FRAMES.min(cp.max_frames - 1) + 1);
    let layers = decoder.num_hidden_layers;
    let mut of_layer = vec![0.0; layers];
    let (mut float_len, mut quantized_len) = (0, [0; WIDTHS.len()]);
    for part in &subject.plan().parts {
        for step in &part.steps {
            let name = subject.plan().names.to_mlx(&step.name).unwrap_or_else(|| step.name.clone());
            let float = match step.encoding() {
                Encoding::Float(dtype) | Encoding::Quantized { float: dtype, .. } => Encoding::Float(dtype),
            };
            if part.folder != "encodec" {
                float_len += float.byte_len(&step.shape);
            }
            let is_quantized = matches!(step.encoding(), Encoding::Quantized { .. });
            if part.folder.is_empty() && !is_quantized {
                quantized_len.iter_mut().for_each(|len| *len += float.byte_len(&step.shape));
            }
            let module = name.strip_suffix(".weight").filter(|_| part.folder.is_empty() && step.shape.len() == 2);
            if let Some((layer, number, _)) = module.and_then(place).filter(|(layer, ..)| *layer < layers) {
                // merge_linear, self-attention, cross-attention, feed-forward.
                let rows = [input, 2 * steps + input, steps, 2 * steps + input][number];
                of_layer[layer] += 2.0 * rows as f64 * step.shape.iter().product::<usize>() as f64;
            }
        }
    }
    for (i, len) in quantized_len.iter_mut().enumerate() {
        *len += subject.groups().iter().map(|group| group.candidates[i].bytes).sum::<usize>();
    }
    let heads = 4.0 * (steps * decoder.num_codebooks * decoder.vocab_size * decoder.hidden_size) as f64;
    let from = |layer: usize| heads + of_layer[layer..].iter().sum::<f64>();
    let groups: f64 = subject.groups().iter().map(|group| from(group.layer)).sum();
    MusicgenCost {
        measurements: subject.groups().len() * WIDTHS.len(),
        operations: groups * (WIDTHS.len() * PIECES) as f64,
        disk_len: (float_len + quantized_len.iter().sum::<usize>()) as u64,
    }
}
