//! The tolerance of quantized weights under the rounding question, for any bits, groups and modes, and any mixture of them.

use mert_arch::{Dtype, Quantization, QuantizationMode};

use super::{Limits, POOLED_COSINE_FLOOR, Tolerance};
use crate::encoding::ModelEncoding;

/// The NMSE of hidden states that is allowed for each unit of the weights' own.
///
/// Over twelve layers of sharp weights the worst hidden state has 4 to 10.5 times the NMSE of the weights, from 8 bits down to
/// 4 bits and in every mode (`fixtures/mert-tiny` and a full-size MERT-95M, on music; fewer bits saturate at 1). The limit is
/// three times the largest: weights of heavier tails than a normal distribution's lose more in a group.
const HIDDEN_PER_WEIGHT: f64 = 30.0;

/// The distance of the lowest frame cosine from 1, for each unit of NMSE. 0.8 was measured in the full-size model, and up to 12
/// in a tiny one, where some frames are near zero.
const FRAME_PER_NMSE: f64 = 8.0;

/// The distance of the pooled cosine from 1, for each unit of NMSE: 0.3 to 0.46 was measured, half of the NMSE is what an error
/// without a common part leaves in the mean over frames.
const POOLED_PER_NMSE: f64 = 0.5;

/// The largest difference, for each unit of the root of the NMSE: 1.3 to 2.7 was measured.
const MAX_PER_ROOT: f64 = 4.0;

impl Tolerance {
    /// The tolerance of the rounding question for quantized weights.
    ///
    /// The limits follow from the NMSE of the weights, averaged over the linear layers: the errors of layers that are quantized
    /// independently add up. What decides at 5 bits and below is the pooled cosine's floor, which is the same for every encoding:
    /// at 0.999 the NMSE is about 3e-3.
    pub(crate) fn quantized(encoding: &ModelEncoding) -> Self {
        let floats = match encoding.float() {
            // A linear layer in f32 has no error.
            Dtype::F32 => 0.0,
            float => Tolerance::rounding(float).limits.nmse,
        };
        let weights = encoding.mean_over_linears(|quantization| quantization.map_or(0.0, weight_nmse));
        let nmse = (HIDDEN_PER_WEIGHT * weights + floats).min(1.0);
        let limits = Limits {
            pooled_cosine: (1.0 - POOLED_PER_NMSE * nmse).max(POOLED_COSINE_FLOOR),
            frame_cosine: (1.0 - FRAME_PER_NMSE * nmse).max(0.0),
            nmse,
            max_abs_diff: (MAX_PER_ROOT * nmse.sqrt()).min(2.0),
        };
        Tolerance::named(&format!("{encoding} weights"), limits.rounded())
    }

    /// The tolerance under the name of another form, which is as precise.
    pub(crate) fn named_after(self, form: &str) -> Self {
        Tolerance { name: form.to_string(), ..self }
    }

    /// The tolerance of weights in a form of which no limits were measured: the floor of the pooled cosine, and of the others
    /// what an error of that size leaves.
    pub(crate) fn compressed(form: &str) -> Self {
        let nmse = 2.0 * (1.0 - POOLED_COSINE_FLOOR) / 0.3;
        let limits = Limits {
            pooled_cosine: POOLED_COSINE_FLOOR,
            frame_cosine: 1.0 - FRAME_PER_NMSE * nmse,
            nmse,
            max_abs_diff: MAX_PER_ROOT * nmse.sqrt(),
        };
        Tolerance::named(form, limits.rounded())
    }
}

impl Limits {
    /// Two significant digits of each distance from 1 or 0, as a reader writes limits.
    fn rounded(self) -> Self {
        let two_digits = |value: f64| {
            let unit = 10f64.powi(value.abs().max(f64::MIN_POSITIVE).log10().floor() as i32 - 1);
            (value / unit).round() * unit
        };
        Limits {
            pooled_cosine: 1.0 - two_digits(1.0 - self.pooled_cosine),
            frame_cosine: 1.0 - two_digits(1.0 - self.frame_cosine),
            nmse: two_digits(self.nmse),
            max_abs_diff: two_digits(self.max_abs_diff),
        }
    }
}

/// The NMSE of normally distributed weights, measured with `mx.quantize` on weights of 768 and 3072 columns.
fn weight_nmse(Quantization { mode, bits, group_size }: Quantization) -> f64 {
    match (mode, bits, group_size) {
        (QuantizationMode::Mxfp4, ..) => 1.4e-2,
        (QuantizationMode::Mxfp8, ..) => 7.0e-4,
        (QuantizationMode::Nvfp4, ..) => 1.1e-2,
        (QuantizationMode::Affine, 8, 32) => 2.3e-5,
        (QuantizationMode::Affine, 8, 64) => 2.9e-5,
        (QuantizationMode::Affine, 8, _) => 3.6e-5,
        (QuantizationMode::Affine, 6, 32) => 3.7e-4,
        (QuantizationMode::Affine, 6, 64) => 4.7e-4,
        (QuantizationMode::Affine, 6, _) => 5.8e-4,
        (QuantizationMode::Affine, 5, 32) => 1.5e-3,
        (QuantizationMode::Affine, 5, 64) => 2.0e-3,
        (QuantizationMode::Affine, 5, _) => 2.4e-3,
        (QuantizationMode::Affine, 4, 32) => 6.6e-3,
        (QuantizationMode::Affine, 4, 64) => 8.3e-3,
        (QuantizationMode::Affine, 4, _) => 1.0e-2,
        (QuantizationMode::Affine, 3, 32) => 2.9e-2,
        (QuantizationMode::Affine, 3, 64) => 3.6e-2,
        (QuantizationMode::Affine, 3, _) => 4.3e-2,
        (QuantizationMode::Affine, _, 32) => 0.13,
        (QuantizationMode::Affine, _, 64) => 0.16,
        (QuantizationMode::Affine, ..) => 0.18,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::tests::encoding;

    fn tolerance(json: &str) -> Limits {
        Tolerance::quantized(&encoding(Some(json))).limits
    }

    /// The worst hidden state of `fixtures/mert-tiny` and of a full-size MERT-95M with sharp weights, on music: bits, group
    /// size, NMSE, 1 − lowest frame cosine, 1 − pooled cosine, largest difference.
    const MEASURED: [(usize, usize, [f64; 4]); 12] = [
        (8, 32, [2.0e-4, 7.1e-4, 8.6e-5, 0.032]),
        (8, 64, [2.0e-4, 6.1e-4, 8.7e-5, 0.027]),
        (8, 128, [3.7e-4, 2.9e-4, 1.5e-4, 0.038]),
        (6, 32, [2.8e-3, 1.9e-2, 8.4e-4, 0.12]),
        (6, 64, [3.2e-3, 9.6e-3, 1.0e-3, 0.093]),
        (6, 128, [4.4e-3, 3.7e-3, 1.5e-3, 0.098]),
        (5, 32, [1.4e-2, 9.2e-2, 5.5e-3, 0.24]),
        (5, 64, [2.0e-2, 8.7e-2, 9.5e-3, 0.34]),
        (5, 128, [1.8e-2, 1.5e-2, 6.3e-3, 0.21]),
        (4, 32, [4.5e-2, 0.32, 1.6e-2, 0.50]),
        (4, 64, [5.5e-2, 0.26, 1.8e-2, 0.39]),
        (4, 128, [6.7e-2, 6.4e-2, 2.3e-2, 0.34]),
    ];

    #[test]
    fn what_was_measured_is_within_all_limits_but_the_floor() {
        for (bits, group_size, [nmse, frame, pooled, max]) in MEASURED {
            let limits = tolerance(&format!(r#"{{"bits":{bits},"group_size":{group_size}}}"#));
            assert!(2.0 * nmse < limits.nmse && limits.nmse < 15.0 * nmse, "{bits} {group_size}: {limits:?}");
            assert!(
                1.0 - 2.0 * frame > limits.frame_cosine && 2.0 * max < limits.max_abs_diff,
                "{bits} {group_size}: {limits:?}"
            );
            // With sharp weights only 8 bits hold the floor for certain.
            assert_eq!(1.0 - pooled > limits.pooled_cosine, pooled < 1e-3, "{bits} {group_size}: {limits:?}");
        }
    }

    #[test]
    fn a_mixture_is_between_its_parts_and_no_encoding_below_the_floor() {
        let mixed = r#"{"bits":4,"group_size":64,"encoder.layers.0.feed_forward.intermediate_dense":{"bits":8,"group_size":64}}"#;
        let (four, mixed, eight) =
            (tolerance(r#"{"bits":4,"group_size":64}"#), tolerance(mixed), tolerance(r#"{"bits":8,"group_size":64}"#));
        assert!(four.nmse > mixed.nmse && mixed.nmse > eight.nmse);
        assert_eq!((four.pooled_cosine, mixed.pooled_cosine), (0.999, 0.999));
        assert!(eight.pooled_cosine > 0.9995 && eight.frame_cosine > 0.99);
        for bits in [2, 3, 4, 5, 6, 8] {
            for group_size in [32, 64, 128] {
                let limits = tolerance(&format!(r#"{{"bits":{bits},"group_size":{group_size}}}"#));
                assert!(limits.pooled_cosine >= POOLED_COSINE_FLOOR && limits.nmse <= 1.0);
            }
        }
        assert!(Tolerance::compressed("72 × int8").limits.pooled_cosine >= POOLED_COSINE_FLOOR);
    }
}
