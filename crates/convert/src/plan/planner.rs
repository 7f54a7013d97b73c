//! The match of a checkpoint's tensors with the model's: each becomes a step, is dropped for a reason, or is a problem.

use std::collections::BTreeSet;

use mert_arch::{Config, Layout, Role, TensorSpec, inventory, printable_line, training_only_reason, weight_norm};
use mert_checkpoint::{Listing, SourceDtype, is_in_encoder, nearest};

use super::drop_pattern::is_dropped;
use super::options::PlanOptions;
use super::step::{Dropped, Step, StepInput};
use crate::Problem;
use crate::transform::{Cast, FuseWeightNorm, Transpose};

/// The matching of tensors: steps use up the listing, and the tensors left over must have a reason to be dropped.
pub(super) struct Planner<'a> {
    listing: &'a Listing,
    prefix: &'a str,
    /// The prefixes of the other models in the checkpoint.
    others: &'a [String],
    options: &'a PlanOptions,
    unused: BTreeSet<&'a str>,
    dropped: Vec<Dropped>,
    problems: Vec<Problem>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(listing: &'a Listing, prefix: &'a str, others: &'a [String], options: &'a PlanOptions) -> Self {
        let mut dropped: Vec<Dropped> = listing
            .other_tensors
            .iter()
            .map(|name| Dropped { name: printable_line(name), reason: "outside the model's state dict".into() })
            .collect();
        dropped.extend(listing.non_tensors.iter().map(|(name, kind)| Dropped {
            name: printable_line(name),
            reason: format!("a pickled `{kind}`, not a tensor"),
        }));
        let mut unused = BTreeSet::new();
        for name in listing.tensors.keys() {
            if options.drop.iter().any(|pattern| is_dropped(listing, pattern, name)) {
                dropped.push(Dropped { name: name.clone(), reason: "left out with --drop".into() });
            } else {
                unused.insert(name.as_str());
            }
        }
        Planner { listing, prefix, others, options, unused, dropped, problems: Vec::new() }
    }

    /// Whether an entry of the model is there and unused.
    fn has(&self, name: &str) -> bool {
        let key = format!("{}{name}", self.prefix);
        self.unused.contains(key.as_str()) || self.listing.non_tensors.contains_key(&key)
    }

    /// The step for a tensor of the model, unless its input is a problem.
    pub(super) fn step(&mut self, spec: &TensorSpec) -> Option<Step> {
        match spec.role {
            Role::PositionalConv => self.positional_conv(spec),
            _ => self.plain(spec),
        }
    }

    /// The step for a tensor of a head, whose name in the checkpoint begins with `prefix`.
    pub(super) fn head(&mut self, prefix: &str, spec: &TensorSpec) -> Option<Step> {
        let (key, dtype) = self.take_key(format!("{prefix}{}", spec.name), &spec.shape, spec.role)?;
        Some(self.finish_step(spec, StepInput::Tensor(key), dtype))
    }

    /// The step for a tensor that is one tensor in the checkpoint, too.
    fn plain(&mut self, spec: &TensorSpec) -> Option<Step> {
        let (key, dtype) = self.take(&spec.name, &spec.shape, spec.role)?;
        Some(self.finish_step(spec, StepInput::Tensor(key), dtype))
    }

    /// The step for the positional convolution's weight: fused already, or a weight-norm pair in one of its spellings.
    fn positional_conv(&mut self, spec: &TensorSpec) -> Option<Step> {
        let spelled = weight_norm::SPELLINGS.iter().filter(|s| self.has(s.g) || self.has(s.v));
        let mut present: Vec<(&str, Option<weight_norm::Spelling>)> = spelled.map(|s| (s.v, Some(*s))).collect();
        if self.has(weight_norm::FUSED) {
            present.push((weight_norm::FUSED, None));
        }
        match present[..] {
            [(_, Some(spelling))] => {
                let kernel = *spec.shape.last()?;
                let g = self.take(spelling.g, &[1, 1, kernel], Role::NormWeight);
                let v = self.take(spelling.v, &spec.shape, spec.role);
                let ((g, g_dtype), (v, v_dtype)) = (g?, v?);
                let is_wide = g_dtype == SourceDtype::F64 || v_dtype == SourceDtype::F64;
                let dtype = match g_dtype == v_dtype {
                    true => v_dtype,
                    false if is_wide => SourceDtype::F64,
                    false => SourceDtype::F32,
                };
                let fuse = FuseWeightNorm { dim: weight_norm::DIM };
                Some(self.finish_step(spec, StepInput::WeightNorm { g, v, fuse }, dtype))
            }
            [(first, _), (second, _), ..] => {
                let full = |name: &str| format!("{}{name}", self.prefix);
                self.problems.push(Problem::DuplicateWeight { first: full(first), second: full(second) });
                for name in
                    [weight_norm::FUSED].into_iter().chain(weight_norm::SPELLINGS.iter().flat_map(|s| [s.g, s.v]))
                {
                    let key = format!("{}{name}", self.prefix);
                    self.unused.remove(key.as_str());
                }
                None
            }
            _ => self.plain(spec),
        }
    }

    /// Marks a tensor of the encoder as used, if it is there with the right shape and a usable dtype.
    fn take(&mut self, name: &str, shape: &[usize], role: Role) -> Option<(String, SourceDtype)> {
        self.take_key(format!("{}{name}", self.prefix), shape, role)
    }

    /// Marks the tensor with the full name `key` as used, as [`Planner::take`] does.
    fn take_key(&mut self, key: String, shape: &[usize], role: Role) -> Option<(String, SourceDtype)> {
        if let Some(kind) = self.listing.non_tensors.get(&key) {
            self.problems.push(Problem::NotATensor { name: key, kind: kind.clone() });
            return None;
        }
        if !self.unused.remove(key.as_str()) {
            self.problems.push(Problem::Missing { name: key, expected: shape.to_vec(), nearest: None });
            return None;
        }
        let info = &self.listing.tensors[&key];
        if info.shape != shape {
            let swapped = role.is_conv1d() && info.shape == Layout::Mlx.shape_from_torch(role, shape);
            let hint = match (swapped, role) {
                (true, _) => " (its last two axes are swapped: the file may be in MLX layout already)",
                (false, Role::NormWeight) if shape.len() == 3 => {
                    " (weight norm must be over dim 2: one magnitude per kernel tap)"
                }
                _ => "",
            };
            let (found, expected) = (info.shape.clone(), shape.to_vec());
            self.problems.push(Problem::Shape { name: key, found, expected, hint });
            return None;
        }
        if let SourceDtype::Other(found) = &info.dtype {
            self.problems.push(Problem::Dtype { name: key, found: found.clone() });
            return None;
        }
        Some((key, info.dtype.clone()))
    }

    /// The step that turns `input` into a tensor of the output.
    fn finish_step(&self, spec: &TensorSpec, input: StepInput, from: SourceDtype) -> Step {
        let PlanOptions { layout, dtype, .. } = *self.options;
        Step {
            output: spec.name.clone(),
            shape: layout.shape_from_torch(spec.role, &spec.shape),
            role: spec.role,
            input,
            input_shape: spec.shape.clone(),
            transpose: layout.permutation_from_torch(spec.role).map(|axes| Transpose { axes }),
            cast: Cast { from, to: dtype },
        }
    }

    /// The dropped tensors and all problems, after a step was requested for each tensor of the model.
    pub(super) fn finish(mut self, config: &Config) -> (Vec<Dropped>, Vec<Problem>) {
        let expected: Vec<String> =
            inventory(config).into_iter().map(|spec| format!("{}{}", self.prefix, spec.name)).collect();
        for name in &self.unused {
            let outside = !name.starts_with(self.prefix)
                || self.others.iter().any(|other| other.starts_with(self.prefix) && name.starts_with(other.as_str()));
            match dropped_reason(self.prefix, name) {
                Some(reason) => self.dropped.push(Dropped { name: printable_line(name), reason: reason.into() }),
                None if outside && self.options.prefix.is_some() => {
                    let reason = format!("outside the prefix `{}`", self.prefix);
                    self.dropped.push(Dropped { name: printable_line(name), reason });
                }
                None if outside => {
                    let found = self.listing.tensors[*name].shape.clone();
                    let prefix = self.prefix.to_string();
                    self.problems.push(Problem::OutsidePrefix { name: name.to_string(), found, prefix });
                }
                None if is_in_encoder(self.prefix, name) => self.problems.push(Problem::UnexpectedInEncoder {
                    name: printable_line(name),
                    found: self.listing.tensors[*name].shape.clone(),
                    nearest: nearest(name, expected.iter().map(String::as_str)),
                }),
                None => self.problems.push(Problem::Unexpected {
                    name: name.to_string(),
                    found: self.listing.tensors[*name].shape.clone(),
                    nearest: nearest(name, expected.iter().map(String::as_str)),
                    module: module_without(name, &expected),
                }),
            }
        }
        for problem in &mut self.problems {
            if let Problem::Missing { name, nearest: found, .. } = problem {
                *found = nearest(name, self.unused.iter().copied());
            }
        }
        self.dropped.sort_by(|a, b| a.name.cmp(&b.name));
        (self.dropped, self.problems)
    }
}

/// The outermost module of a tensor, with its dot, that holds no expected tensor.
fn module_without(name: &str, expected: &[String]) -> Option<String> {
    let mut ends = name.match_indices('.').map(|(at, _)| &name[..=at]);
    ends.find(|module| !expected.iter().any(|expected| expected.starts_with(module))).map(str::to_string)
}

/// The reason to drop a tensor that only training uses. A task head is beside the encoder (`lm_head.weight` beside
/// `hubert.…`) or under its prefix, so the name is looked up after each part of the prefix.
fn dropped_reason(prefix: &str, name: &str) -> Option<&'static str> {
    let mut rest = Some(name);
    let mut parts = prefix.split_inclusive('.');
    while let Some(name) = rest {
        if let Some(reason) = training_only_reason(name) {
            return Some(reason);
        }
        rest = parts.next().and_then(|part| name.strip_prefix(part));
    }
    None
}
