//! The weight of the positional convolution: fused or a weight-norm pair in the checkpoint, and in the output the form that
//! the program reads.

use mert_arch::{Role, TensorSpec, weight_norm};
use mert_checkpoint::SourceDtype;

use super::planner::Planner;
use super::step::Step;
use crate::Problem;
use crate::programs::WeightNormForm;
use crate::transform::{FuseWeightNorm, Transform};

/// A tensor of the checkpoint: its key and type.
type Found = (String, SourceDtype);

/// The weight as the checkpoint has it.
enum Weight {
    /// One weight.
    Fused(Found),
    /// The factors of a weight norm.
    Factors { g: Found, v: Found },
}

const FUSE: FuseWeightNorm = FuseWeightNorm { dim: weight_norm::DIM };

impl Planner<'_> {
    /// The steps for the weight in the program's form, unless the checkpoint's is a problem.
    pub(super) fn positional_conv(&mut self, spec: &TensorSpec) -> Vec<Step> {
        let Some(weight) = self.find_weight(spec) else { return Vec::new() };
        match self.weight_norm {
            WeightNormForm::Fused => vec![self.fused(spec, &weight)],
            WeightNormForm::Factors => self.factors(spec, &weight).into(),
            WeightNormForm::FactorsAndFused => {
                self.factors(spec, &weight).into_iter().chain([self.fused(spec, &weight)]).collect()
            }
        }
    }

    /// Takes the weight: fused already, or a weight-norm pair in one of its spellings.
    fn find_weight(&mut self, spec: &TensorSpec) -> Option<Weight> {
        let spelled = weight_norm::SPELLINGS.iter().filter(|s| self.has(s.g) || self.has(s.v));
        let mut present: Vec<(&str, Option<weight_norm::Spelling>)> = spelled.map(|s| (s.v, Some(*s))).collect();
        if self.has(weight_norm::FUSED) {
            present.push((weight_norm::FUSED, None));
        }
        match present[..] {
            [(_, Some(spelling))] => {
                let g = self.take(spelling.g, &magnitude_shape(spec), Role::NormWeight);
                let v = self.take(spelling.v, &spec.shape, spec.role);
                Some(Weight::Factors { g: g?, v: v? })
            }
            [(first, _), (second, _), ..] => {
                let full = |name: &str| self.shown(&format!("{}{name}", self.prefix));
                self.problems.push(Problem::DuplicateWeight { first: full(first), second: full(second) });
                for name in
                    [weight_norm::FUSED].into_iter().chain(weight_norm::SPELLINGS.iter().flat_map(|s| [s.g, s.v]))
                {
                    let key = format!("{}{name}", self.prefix);
                    self.unused.remove(key.as_str());
                }
                None
            }
            _ => self.take(&spec.name, &spec.shape, spec.role).map(Weight::Fused),
        }
    }

    /// The step for one weight.
    fn fused(&self, spec: &TensorSpec, weight: &Weight) -> Step {
        match weight {
            Weight::Fused(weight) => self.finish_step(spec, vec![weight.clone()], None),
            Weight::Factors { g, v } => {
                self.finish_step(spec, vec![g.clone(), v.clone()], Some(Transform::FuseWeightNorm(FUSE)))
            }
        }
    }

    /// The steps for the factors, under the names of torch 2. A fused weight is its own direction, and its norms are the
    /// magnitudes.
    fn factors(&self, spec: &TensorSpec, weight: &Weight) -> [Step; 2] {
        let [_, names] = weight_norm::SPELLINGS;
        let named =
            |name: &str, shape: &[usize]| TensorSpec { name: name.into(), shape: shape.to_vec(), role: spec.role };
        let (magnitude, direction) = (named(names.g, &magnitude_shape(spec)), named(names.v, &spec.shape));
        let (g, computed, v) = match weight {
            Weight::Factors { g, v } => (g, None, v),
            Weight::Fused(v) => (v, Some(Transform::WeightNormMagnitude(FUSE)), v),
        };
        let checked = Some(Transform::WeightNormDirection(FUSE));
        [
            self.finish_step(&magnitude, vec![g.clone()], computed),
            self.finish_step(&direction, vec![v.clone()], checked),
        ]
    }
}

/// The shape of the magnitude of a weight: one value for each tap of the kernel.
fn magnitude_shape(spec: &TensorSpec) -> [usize; 3] {
    [1, 1, spec.shape.last().copied().unwrap_or(1)]
}
