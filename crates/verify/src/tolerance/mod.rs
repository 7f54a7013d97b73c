//! The named tolerances of the gate: the limits that a hidden state must meet, with the reason for each number, and how
//! a `verify.yaml` changes them. [`quantized`] has those of quantized weights.

mod quantized;

use mert_arch::{ComputeType, Dtype};
use serde::{Deserialize, Serialize};

use crate::{ModelEncoding, Result, VerifyError};

/// The pooled cosine that every gate demands at least; lowering it takes a written reason.
pub(crate) const POOLED_COSINE_FLOOR: f64 = 0.999;

/// The limits that a hidden state must meet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// The bound that the cosine of the pooled vectors must exceed.
    pub pooled_cosine: f64,
    /// The minimum of the lowest cosine of two frames.
    pub frame_cosine: f64,
    /// The maximum of the normalised mean squared error.
    pub nmse: f64,
    /// The maximum of the largest difference, as a fraction of the layer's largest reference value.
    pub max_abs_diff: f64,
}

impl Limits {
    /// A sentence about the first limit that is looser than that of `floor`, if one is.
    fn below(&self, floor: &Limits) -> Option<String> {
        let looser = [
            ("pooled_cosine", self.pooled_cosine, floor.pooled_cosine, self.pooled_cosine < floor.pooled_cosine),
            ("frame_cosine", self.frame_cosine, floor.frame_cosine, self.frame_cosine < floor.frame_cosine),
            ("nmse", self.nmse, floor.nmse, self.nmse > floor.nmse),
            ("max_abs_diff", self.max_abs_diff, floor.max_abs_diff, self.max_abs_diff > floor.max_abs_diff),
        ];
        let (name, value, floor, _) = looser.into_iter().find(|(.., looser)| *looser)?;
        Some(format!("{name} {value} is looser than {floor}"))
    }
}

/// Limits with a name and a reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tolerance {
    /// The name that reports show.
    pub name: String,
    /// The limits that apply.
    pub limits: Limits,
    /// The user's reason for limits that are looser than the named tolerance's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below_floor: Option<String>,
}

impl Tolerance {
    pub(crate) fn named(name: &str, limits: Limits) -> Self {
        Tolerance { name: name.to_string(), limits, below_floor: None }
    }

    /// The tolerance of the structure question: both sides compute the same function of the same weights in f32, and
    /// differ in the order of summation.
    ///
    /// NMSE: reordered f32 sums leave 1e-12 to 3e-11 after 12 layers, at widths from 32 to 768 (against
    /// transformers, libtorch and MLX); the smallest defect in the mutant suite (tanh for erf in the
    /// feed-forward blocks' GELU) leaves 6.7e-8. 1e-9 is thirty times the one and a sixtieth of the other.
    /// Cosines: 1 − cos of a vector is about half its NMSE, and single frames were up to nine times as bad as
    /// their layer; 1e-8 leaves a frame twenty times what the NMSE leaves the layer. Largest difference:
    /// up to 7e-6 of the largest value was measured.
    pub(crate) fn structure() -> Self {
        let limits = Limits { pooled_cosine: 1.0 - 1e-8, frame_cosine: 1.0 - 1e-8, nmse: 1e-9, max_abs_diff: 2e-4 };
        Tolerance::named("structure", limits)
    }

    /// The tolerance of the rounding question: the candidate's weights are rounded to `dtype`, the reference's are not.
    ///
    /// A weight rounded to p bits is off by at most 2^-p of its size: 4.9e-4 for f16 (p = 11), 3.9e-3 for bf16
    /// (p = 8). Over twelve layers with sharp weights this adds up to an NMSE of 3.5e-6 and 2.1e-4, a frame
    /// cosine of 1 − 1.5e-5 and 0.9988, and a largest difference of 0.5 % and 4 % of the largest value
    /// (measured; the worst of the fixtures and of full-size models). The limits are about six times the
    /// NMSE and four to thirteen times the rest. Smaller defects are found by
    /// [`Tolerance::structure`].
    pub(crate) fn rounding(dtype: Dtype) -> Self {
        let limits = match dtype {
            Dtype::F32 => return Tolerance::structure(),
            Dtype::F16 => Limits { pooled_cosine: 0.9999, frame_cosine: 0.9998, nmse: 2e-5, max_abs_diff: 0.02 },
            Dtype::Bf16 => Limits { pooled_cosine: 0.9992, frame_cosine: 0.99, nmse: 1.5e-3, max_abs_diff: 0.15 },
        };
        Tolerance::named(&format!("{dtype} weights"), limits)
    }

    /// The tolerance of the rounding question for weights of this encoding.
    pub(crate) fn rounding_of(weights: &ModelEncoding) -> Self {
        if weights.is_quantized() { Tolerance::quantized(weights) } else { Tolerance::rounding(weights.float()) }
    }

    /// The tolerance of two that round independently: of each limit the looser one.
    pub(crate) fn or_looser(self, other: Tolerance) -> Self {
        let (a, b) = (self.limits, other.limits);
        let limits = Limits {
            pooled_cosine: a.pooled_cosine.min(b.pooled_cosine),
            frame_cosine: a.frame_cosine.min(b.frame_cosine),
            nmse: a.nmse.max(b.nmse),
            max_abs_diff: a.max_abs_diff.max(b.max_abs_diff),
        };
        Tolerance::named(&format!("{}, {}", self.name, other.name), limits)
    }

    /// The tolerance of a candidate that computes in bf16 or int8 on the CPU, where the factors of products are rounded and all
    /// else is f32; `None` for other arithmetic.
    ///
    /// Measured on all fixtures against PyTorch in f32, and on full-size models of 5 and 30 s. In bf16 the worst hidden state of
    /// each model has an NMSE of 1.4e-5 to 1.9e-4, a frame cosine of 0.9992 and up, a pooled cosine of 1 − 2.5e-5 and a
    /// largest difference of 3.5 % (`fixtures/voice-conversion`, whose samples are not normalised: 4.6e-4, 0.9978, 1 − 4.5e-5
    /// and 4.6 %). The limits are three to eight times the NMSE and three to five times the rest. In int8 the NMSE is 1.6e-4 to
    /// 4e-3, the frame cosine 0.990 and up, the largest difference 10 %; the limits are two and a half times that. The floor of
    /// the pooled cosine decides there, as with weights of few bits: `fixtures/voice-conversion` has 0.99885 and fails, a model
    /// for which int8 is not exact enough.
    pub(crate) fn rounded_factors(compute: ComputeType) -> Option<Self> {
        let limits = match compute {
            ComputeType::Float(Dtype::Bf16) => {
                Limits { pooled_cosine: 0.9998, frame_cosine: 0.99, nmse: 1.5e-3, max_abs_diff: 0.15 }
            }
            ComputeType::Int8 => {
                Limits { pooled_cosine: POOLED_COSINE_FLOOR, frame_cosine: 0.975, nmse: 1e-2, max_abs_diff: 0.25 }
            }
            ComputeType::Float(_) => return None,
        };
        Some(Tolerance::named(&format!("{compute} on the CPU"), limits))
    }

    /// The tolerance of a candidate that computes in `compute`, which rounds every activation and not only the weights.
    ///
    /// Measured by running the forward pass in that type on the CPU: an NMSE of 9.1e-6 in f16 and 5.6e-4 in
    /// bf16, a frame cosine of 1 − 2.6e-5 and 0.998. The limits are ten times the NMSE and more of the rest,
    /// since GPUs add in other orders and may keep sums in 16 bits. On an NVIDIA H100 the errors are the same up to
    /// a tenth. A model whose samples are not normalised (`fixtures/voice-conversion`) has, on either, an NMSE of up
    /// to 2.2e-5 and 2.9e-3, and a frame cosine of 1 − 7.8e-5 and 0.975.
    pub(crate) fn compute(compute: ComputeType) -> Self {
        let limits = match compute {
            ComputeType::Float(Dtype::F32) => return Tolerance::structure(),
            ComputeType::Float(Dtype::F16) => {
                Limits { pooled_cosine: 0.9999, frame_cosine: 0.999, nmse: 1e-4, max_abs_diff: 0.05 }
            }
            ComputeType::Float(Dtype::Bf16) => {
                Limits { pooled_cosine: 0.9992, frame_cosine: 0.95, nmse: 6e-3, max_abs_diff: 0.3 }
            }
            // Integers are the CPU's.
            ComputeType::Int8 => return Tolerance::rounded_factors(compute).unwrap_or_else(Tolerance::structure),
        };
        Tolerance::named(&format!("{compute} arithmetic"), limits)
    }
}

/// The limits that a `verify.yaml` puts in the place of those of a named tolerance.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToleranceOverride {
    pooled_cosine: Option<f64>,
    frame_cosine: Option<f64>,
    nmse: Option<f64>,
    max_abs_diff: Option<f64>,
    /// The reason for limits that are looser than the named tolerance's; required for those, unused otherwise.
    below_floor: Option<String>,
}

impl ToleranceOverride {
    /// Applies these limits to a named tolerance.
    ///
    /// # Errors
    /// [`VerifyError::Tolerance`] for a limit out of range, and for one that is looser than the named tolerance's
    /// without a reason.
    pub(crate) fn apply(&self, mut tolerance: Tolerance) -> Result<Tolerance> {
        let named = tolerance.limits;
        let limits = &mut tolerance.limits;
        let cosine = |name, value: f64| in_range(name, value, -1.0, 1.0);
        let error = |name, value: f64| in_range(name, value, 0.0, f64::MAX);
        if let Some(value) = self.pooled_cosine {
            limits.pooled_cosine = cosine("pooled_cosine", value)?;
        }
        if let Some(value) = self.frame_cosine {
            limits.frame_cosine = cosine("frame_cosine", value)?;
        }
        if let Some(value) = self.nmse {
            limits.nmse = error("nmse", value)?;
        }
        if let Some(value) = self.max_abs_diff {
            limits.max_abs_diff = error("max_abs_diff", value)?;
        }
        let below = limits.below(&named);
        let reason = self.below_floor.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        if let (Some(below), None) = (&below, reason) {
            return Err(VerifyError::Tolerance(format!(
                "{below}, the floor of tolerance \"{}\"; if this is intended, give the reason in `below_floor: \"…\"`, \
                 which every report shows",
                tolerance.name
            )));
        }
        tolerance.below_floor = reason.filter(|_| below.is_some()).map(str::to_string);
        if *self != ToleranceOverride::default() {
            tolerance.name += " (changed)";
        }
        Ok(tolerance)
    }
}

fn in_range(name: &str, value: f64, min: f64, max: f64) -> Result<f64> {
    if value.is_finite() && (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(VerifyError::Tolerance(format!("{name} is {value}, expected a number from {min} to {max:e}")))
}

impl Tolerances {
    /// Checks the range of all limits, including those of a question that is not asked.
    ///
    /// # Errors
    /// [`VerifyError::Tolerance`] for a limit out of range. Whether a limit is too loose depends on the model and is
    /// checked when it is applied.
    pub(crate) fn validate(&self) -> Result<()> {
        for change in [&self.structure, &self.rounding] {
            let with_reason = ToleranceOverride { below_floor: Some("not checked here".into()), ..change.clone() };
            with_reason.apply(Tolerance::structure())?;
        }
        Ok(())
    }
}

/// The changes that a `verify.yaml` makes to the tolerances of the two questions.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerances {
    /// The changes for the structure question, where both sides have the same weights.
    pub structure: ToleranceOverride,
    /// The changes for the rounding question, where the candidate's weights or arithmetic have fewer bits than the
    /// reference's.
    pub rounding: ToleranceOverride,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> ToleranceOverride {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn every_named_tolerance_is_above_the_floor() {
        for dtype in Dtype::ALL {
            let computes = [dtype.into(), ComputeType::Int8].map(Tolerance::compute);
            let on_cpu = Tolerance::rounded_factors(dtype.into());
            let others = [Tolerance::rounding(dtype), Tolerance::structure()];
            for tolerance in others.into_iter().chain(computes).chain(on_cpu) {
                assert!(tolerance.limits.pooled_cosine >= POOLED_COSINE_FLOOR, "{tolerance:?}");
            }
        }
    }

    #[test]
    fn the_floor_is_not_lowered_silently() {
        let base = || Tolerance::rounding(Dtype::F16);
        assert!(parse("pooled_cosine: 0.9").apply(base()).unwrap_err().to_string().contains("floor"));
        assert!(parse("{pooled_cosine: 0.9, below_floor: ' '}").apply(base()).is_err());
        for loose in ["frame_cosine: 0.5", "nmse: 0.5", "max_abs_diff: 2"] {
            assert!(parse(loose).apply(base()).unwrap_err().to_string().contains("floor"), "{loose}");
        }
        // Tightening is free; the structure question has its own floor.
        assert!(parse("{pooled_cosine: 0.99999, nmse: 1e-6}").apply(base()).unwrap().below_floor.is_none());
        assert!(parse("nmse: 1e-8").apply(Tolerance::structure()).is_err());
        let lowered = parse("{pooled_cosine: 0.9, below_floor: old phones}").apply(base()).unwrap();
        assert_eq!(lowered.below_floor.as_deref(), Some("old phones"));
        assert!(lowered.name.contains("changed"));
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        for yaml in ["pooled_cosine: 1.5", "nmse: -1", "nmse: .nan", "max_abs_diff: .inf"] {
            assert!(parse(yaml).apply(Tolerance::structure()).is_err(), "{yaml}");
        }
        assert!(serde_yaml::from_str::<ToleranceOverride>("nsme: 1").is_err());
    }
}
