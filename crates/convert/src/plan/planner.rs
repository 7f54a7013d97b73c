//! The match of a checkpoint's tensors with the model's: each becomes a step, is dropped for a reason, or is a problem.

use std::collections::BTreeSet;

use mert_arch::naming::{NameTable, NamingScheme, Variant};
use mert_arch::{Config, Encoding, Layout, Role, TensorSpec, inventory, printable_line, training_only_reason};
use mert_checkpoint::{Adapter, Listing, SourceDtype, is_in_encoder, nearest};

use super::adapter::{AdapterChanges, BaseNames};
use super::compression;
use super::drop_pattern::is_dropped;
use super::layer_cut::LayerCut;
use super::options::PlanOptions;
use super::quantization::{self, Choice};
use super::step::{Dropped, Step, StepInput};
use crate::Problem;
use crate::programs::WeightNormForm;
use crate::transform::{Cast, Quantize, Rename, Transform, Transpose};

/// The matching of tensors: steps use up the listing, and the tensors left over must have a reason to be dropped.
pub(super) struct Planner<'a> {
    listing: &'a Listing,
    pub(super) prefix: &'a str,
    /// The prefixes of the other models in the checkpoint.
    others: &'a [String],
    /// The layers that the model is cut to.
    cut: Option<LayerCut>,
    /// The names of the implementation that saved the model, and its scheme.
    scheme: NamingScheme,
    table: NameTable,
    options: &'a PlanOptions,
    layout: Layout,
    /// The output's form of the positional convolution's weight.
    pub(super) weight_norm: WeightNormForm,
    pub(super) unused: BTreeSet<&'a str>,
    /// The changes of the adapter that is merged, which steps use up as well.
    adapter: AdapterChanges<'a>,
    dropped: Vec<Dropped>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        (listing, adapter): (&'a Listing, Option<&'a Adapter>),
        prefix: &'a str,
        others: &'a [String],
        cut: Option<LayerCut>,
        config: &Config,
        options: &'a PlanOptions,
        layout: Layout,
    ) -> Self {
        let mut dropped: Vec<Dropped> = listing
            .other_tensors
            .iter()
            .map(|name| Dropped { name: printable_line(name), reason: "outside the model's state dict".into() })
            .collect();
        dropped.extend(listing.non_tensors.iter().map(|(name, kind)| Dropped {
            name: printable_line(&listing.name_in_file(name)),
            reason: format!("a pickled `{kind}`, not a tensor"),
        }));
        let mut unused = BTreeSet::new();
        for name in listing.tensors.keys() {
            if options.drop.iter().any(|pattern| is_dropped(listing, pattern, name)) {
                let name = printable_line(&listing.name_in_file(name));
                dropped.push(Dropped { name, reason: "left out with --drop".into() });
            } else {
                unused.insert(name.as_str());
            }
        }
        let scheme = listing.naming.get(prefix).copied().unwrap_or_default();
        let table = scheme.table(Variant::of_config(config));
        let weight_norm = options.program.map_or(WeightNormForm::Fused, |program| program.class().weight_norm());
        let names = BaseNames { listing, prefix, table: &table, drop: &options.drop };
        let adapter = AdapterChanges::new(adapter, &names);
        let problems = Vec::new();
        Planner {
            listing,
            prefix,
            others,
            cut,
            scheme,
            table,
            options,
            layout,
            weight_norm,
            unused,
            adapter,
            dropped,
            problems,
        }
    }

    /// The name of a tensor for a message: the one in the file, or that it would have there.
    pub(super) fn shown(&self, key: &str) -> String {
        if self.listing.tensors.contains_key(key) || self.listing.non_tensors.contains_key(key) {
            return self.listing.name_in_file(key);
        }
        let other = key.strip_prefix(self.prefix).and_then(|name| self.table.from_hugging_face(name));
        other.map_or(key.to_string(), |other| format!("{}{}", self.prefix, other.name))
    }

    /// Whether an entry of the model is there and unused.
    pub(super) fn has(&self, name: &str) -> bool {
        let key = format!("{}{name}", self.prefix);
        self.unused.contains(key.as_str()) || self.listing.non_tensors.contains_key(&key)
    }

    /// The steps for a tensor of the model, unless its input is a problem: one, or several for a weight that the program reads
    /// as its factors.
    pub(super) fn steps(&mut self, spec: &TensorSpec) -> Vec<Step> {
        match spec.role {
            Role::PositionalConv => self.positional_conv(spec),
            _ => self.plain(spec).into_iter().collect(),
        }
    }

    /// The step for a tensor that only training uses, if the checkpoint has it in this shape.
    pub(super) fn optional(&mut self, spec: &TensorSpec) -> Option<Step> {
        let info = self.listing.tensors.get(&format!("{}{}", self.prefix, spec.name))?;
        let is_usable = info.shape == spec.shape && !matches!(info.dtype, SourceDtype::Other(_));
        if is_usable && self.has(&spec.name) { self.plain(spec) } else { None }
    }

    /// The step for a tensor of a head, whose name in the checkpoint begins with `prefix`.
    pub(super) fn head(&mut self, prefix: &str, spec: &TensorSpec) -> Option<Step> {
        self.with_changes(format!("{prefix}{}", spec.name), spec)
    }

    /// The step for a tensor that is one tensor in the checkpoint, too.
    fn plain(&mut self, spec: &TensorSpec) -> Option<Step> {
        self.with_changes(format!("{}{}", self.prefix, spec.name), spec)
    }

    /// The step for the tensor with the full name `key`, and an adapter's change of it.
    fn with_changes(&mut self, key: String, spec: &TensorSpec) -> Option<Step> {
        let base = self.take_key(key.clone(), &spec.shape, spec.role)?;
        let (transform, changes) = self.adapter.merge(&key, spec).unzip();
        let inputs = std::iter::once(base).chain(changes.unwrap_or_default()).collect();
        Some(self.finish_step(spec, inputs, transform))
    }

    /// Marks a tensor of the encoder as used, if it is there with the right shape and a usable dtype.
    pub(super) fn take(&mut self, name: &str, shape: &[usize], role: Role) -> Option<(String, SourceDtype)> {
        self.take_key(format!("{}{name}", self.prefix), shape, role)
    }

    /// Marks the tensor with the full name `key` as used, as [`Planner::take`] does.
    fn take_key(&mut self, key: String, shape: &[usize], role: Role) -> Option<(String, SourceDtype)> {
        if let Some(kind) = self.listing.non_tensors.get(&key) {
            self.problems.push(Problem::NotATensor { name: self.shown(&key), kind: kind.clone() });
            return None;
        }
        if !self.unused.remove(key.as_str()) {
            let name = self.shown(&key);
            self.problems.push(Problem::Missing { name, expected: shape.to_vec(), nearest: None });
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
            self.problems.push(Problem::Shape { name: self.shown(&key), found, expected, hint });
            return None;
        }
        if let SourceDtype::Other(found) = &info.dtype {
            self.problems.push(Problem::Dtype { name: self.shown(&key), found: found.clone() });
            return None;
        }
        let dtype = info.dtype.clone();
        Some(self.adapter.replacement(&key, shape).unwrap_or((key, dtype)))
    }

    /// The step that turns tensors of the checkpoint into one of the output; `first` is the transform that makes one of
    /// several, or another of one.
    pub(super) fn finish_step(
        &self,
        spec: &TensorSpec,
        inputs: Vec<(String, SourceDtype)>,
        first: Option<Transform>,
    ) -> Step {
        let PlanOptions { program, dtype, .. } = *self.options;
        let is_merged = matches!(first, Some(Transform::MergeLora(_) | Transform::AddScaled(_)));
        let from = if is_merged { SourceDtype::F32 } else { common_dtype(&inputs) };
        let input = |(key, dtype): (String, SourceDtype)| {
            let name_in_file = self.listing.renamed.contains_key(&key).then(|| self.listing.name_in_file(&key));
            StepInput { key, dtype, name_in_file }
        };
        let inputs: Vec<StepInput> = inputs.into_iter().map(input).collect();
        let name = program.map_or_else(|| spec.name.clone(), |program| program.class().name(&spec.name));
        let shape = self.layout.shape_from_torch(spec.role, &spec.shape);
        let mut chain = Vec::new();
        match (first, &inputs[..]) {
            (Some(first), _) => chain.push(first),
            (None, [input]) if input.shown() != name => {
                chain.push(Transform::Rename(Rename { from: input.shown().into(), to: name.clone() }));
            }
            (None, _) => {}
        }
        let axes = self.layout.permutation_from_torch(spec.role);
        chain.extend(axes.map(|axes| Transform::Transpose(Transpose { axes })));
        chain.push(Transform::Cast(Cast { from, to: dtype }));
        let Choice { encoding, mut left_unquantized } =
            quantization::choose(spec, dtype, self.options.quantize.as_ref());
        if let Encoding::Quantized { quantization, float } = encoding {
            chain.push(Transform::Quantize(Quantize { quantization, float }));
        }
        let mut outputs = encoding.stored_tensors(&name, &shape);
        match self.options.compress.map(|compress| compress.of_tensor(spec)) {
            Some(Ok(transform)) => {
                outputs = compression::stored_tensors(&name, shape.iter().product(), &transform);
                chain.push(transform);
            }
            Some(Err(reason)) => left_unquantized = Some(reason),
            None => {}
        }
        Step { name, shape, role: spec.role, inputs, input_shape: spec.shape.clone(), chain, outputs, left_unquantized }
    }

    /// The dropped tensors and all problems, after a step was requested for each tensor of the model.
    pub(super) fn finish(mut self, config: &Config) -> (Vec<Dropped>, Vec<Problem>) {
        let expected: Vec<String> =
            inventory(config).into_iter().map(|spec| self.shown(&format!("{}{}", self.prefix, spec.name))).collect();
        let unused: Vec<&str> = self.unused.iter().copied().collect();
        for name in unused {
            self.account_for(name, &expected);
        }
        self.account_for_adapter();
        let unused: Vec<String> = self.unused.iter().map(|name| self.shown(name)).collect();
        for problem in &mut self.problems {
            if let Problem::Missing { name, nearest: found, .. } = problem {
                *found = nearest(name, unused.iter().map(String::as_str));
            }
        }
        self.dropped.sort_by(|a, b| a.name.cmp(&b.name));
        (self.dropped, self.problems)
    }
}

impl Planner<'_> {
    /// Drops a tensor that no step reads for a reason, or records a problem.
    fn account_for(&mut self, name: &str, expected: &[String]) {
        let outside = !name.starts_with(self.prefix)
            || self.others.iter().any(|other| other.starts_with(self.prefix) && name.starts_with(other.as_str()));
        let (shown, found) = (self.shown(name), self.listing.tensors[name].shape.clone());
        if let Some(reason) = self.dropped_reason(name, outside) {
            self.dropped.push(Dropped { name: printable_line(&shown), reason });
            return;
        }
        let nearest = nearest(&shown, expected.iter().map(String::as_str));
        self.problems.push(if outside {
            Problem::OutsidePrefix { name: shown, found, prefix: self.prefix.to_string() }
        } else if is_in_encoder(self.prefix, name) {
            Problem::UnexpectedInEncoder { name: printable_line(&shown), found, nearest }
        } else {
            let module = module_without(&shown, expected);
            Problem::Unexpected { name: shown, found, nearest, module }
        });
    }

    /// Drops the tensors of the adapter that change a tensor which is dropped.
    fn account_for_adapter(&mut self) {
        for (key, part) in self.adapter.left_over() {
            let shown = printable_line(&self.shown(&key));
            let with = self.dropped.iter().find(|dropped| dropped.name == shown);
            // A tensor that is not dropped is a problem already.
            if let Some(Dropped { reason, .. }) = with {
                let reason = format!("with the tensor that it changes ({reason})");
                self.dropped.push(Dropped { name: printable_line(&part), reason });
            }
        }
        self.dropped.append(&mut self.adapter.dropped);
        self.problems.append(&mut self.adapter.problems);
    }

    /// The reason to leave out a tensor that no step reads; `None` if there is none.
    fn dropped_reason(&self, name: &str, outside: bool) -> Option<String> {
        if let Some(cut) = self.cut
            && name.strip_prefix(self.prefix).is_some_and(|name| cut.leaves_out(name))
        {
            return Some(cut.to_string());
        }
        training_only(self.scheme, self.prefix, name).map(str::to_string).or_else(|| {
            (outside && self.options.prefix.is_some()).then(|| format!("outside the prefix `{}`", self.prefix))
        })
    }
}

/// The type that holds the values of all inputs exactly.
fn common_dtype(inputs: &[(String, SourceDtype)]) -> SourceDtype {
    let mut dtypes = inputs.iter().map(|(_, dtype)| dtype);
    match dtypes.next() {
        Some(first) if dtypes.all(|dtype| dtype == first) => first.clone(),
        _ if inputs.iter().any(|(_, dtype)| *dtype == SourceDtype::F64) => SourceDtype::F64,
        _ => SourceDtype::F32,
    }
}

/// The outermost module of a tensor, with its dot, that holds no expected tensor.
fn module_without(name: &str, expected: &[String]) -> Option<String> {
    let mut ends = name.match_indices('.').map(|(at, _)| &name[..=at]);
    ends.find(|module| !expected.iter().any(|expected| expected.starts_with(module))).map(str::to_string)
}

/// The reason to drop a tensor that only training uses. A task head is beside the encoder (`lm_head.weight` beside
/// `hubert.…`) or under its prefix, so the name is looked up after each part of the prefix.
fn training_only(scheme: NamingScheme, prefix: &str, name: &str) -> Option<&'static str> {
    let mut rest = Some(name);
    let mut parts = prefix.split_inclusive('.');
    while let Some(name) = rest {
        if let Some(reason) = scheme.training_only_reason(name).or_else(|| training_only_reason(name)) {
            return Some(reason);
        }
        rest = parts.next().and_then(|part| name.strip_prefix(part));
    }
    None
}
