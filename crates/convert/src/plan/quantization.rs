//! The choice of each tensor's encoding: which linear layers are quantized and how, and why the other tensors are not.

use std::collections::{BTreeMap, BTreeSet};

use mert_arch::{Dtype, Encoding, Quantization, QuantizationConfig, Role, TensorSpec};

use super::Step;
use super::options::QuantizeOptions;

/// The encoding of a tensor in a plan, with the reason if it is left unquantized in a model that is quantized.
pub(crate) struct Choice {
    pub(crate) encoding: Encoding,
    pub(crate) left_unquantized: Option<String>,
}

impl Choice {
    /// The quantization, if there is one.
    pub(crate) fn quantization(&self) -> Option<Quantization> {
        match self.encoding {
            Encoding::Quantized { quantization, .. } => Some(quantization),
            Encoding::Float(_) => None,
        }
    }
}

/// Chooses the encoding of a tensor.
pub(crate) fn choose(spec: &TensorSpec, dtype: Dtype, options: Option<&QuantizeOptions>) -> Choice {
    let chosen = options.map(|options| options.of_tensor(spec));
    let (encoding, left_unquantized) = match chosen {
        None => (Encoding::Float(dtype), None),
        Some(Ok(quantization)) => (Encoding::Quantized { quantization, float: dtype }, None),
        Some(Err(reason)) => (Encoding::Float(dtype), Some(reason)),
    };
    Choice { encoding, left_unquantized }
}

impl QuantizeOptions {
    /// The quantization of a tensor, or the reason why it is left in the float type.
    fn of_tensor(&self, spec: &TensorSpec) -> Result<Quantization, String> {
        let what = match spec.role {
            Role::Linear => None,
            Role::Conv1d | Role::PositionalConv => Some("a convolution"),
            Role::Embedding => Some("an embedding"),
            Role::NormWeight | Role::NormBias => Some("a norm"),
            Role::Statistic => Some("a statistic of a norm"),
            Role::Bias => Some("a bias"),
            Role::Gate => Some("a gate"),
        };
        if let Some(what) = what {
            return Err(what.into());
        }
        let module = module(&spec.name);
        let matching = |patterns: &[String]| patterns.iter().find(|pattern| matches(pattern, module)).cloned();
        if let Some(pattern) = matching(&self.skip) {
            return Err(format!("--q-skip {pattern}"));
        }
        if !self.only.is_empty() && matching(&self.only).is_none() {
            return Err("no --q-only pattern matches it".into());
        }
        let chosen = self.layers.get(module).copied().unwrap_or(Some(self.default));
        let quantization = chosen.ok_or("more bits are needed to stay within the budget")?;
        let inputs = spec.shape.last().copied().unwrap_or_default();
        quantization.check_inputs(inputs)?;
        Ok(quantization)
    }

    /// The first pattern or layer that matches no linear layer of the model.
    pub(crate) fn unused(&self, specs: &[TensorSpec]) -> Option<(&'static str, String)> {
        let modules: BTreeSet<&str> =
            specs.iter().filter(|spec| spec.role == Role::Linear).map(|spec| module(&spec.name)).collect();
        let is_unused = |pattern: &&String| !modules.iter().any(|module| matches(pattern, module));
        let skip = self.skip.iter().find(is_unused).map(|pattern| ("--q-skip", pattern.clone()));
        let only = || self.only.iter().find(is_unused).map(|pattern| ("--q-only", pattern.clone()));
        skip.or_else(only)
    }
}

/// The field `quantization` of a model with these steps: `false` for each linear layer that is left in the float type, so
/// that the field alone tells every encoding. `None` if no layer is quantized.
pub(super) fn config(steps: &[Step], options: &QuantizeOptions) -> Option<QuantizationConfig> {
    let mut layers = BTreeMap::new();
    let mut is_quantized = false;
    for step in steps.iter().filter(|step| step.role == Role::Linear) {
        let layer = match step.encoding() {
            Encoding::Quantized { quantization, .. } => Some(quantization),
            Encoding::Float(_) => None,
        };
        is_quantized |= layer.is_some();
        if layer != Some(options.default) {
            layers.insert(module(&step.name).to_string(), layer);
        }
    }
    is_quantized.then_some(QuantizationConfig { default: options.default, layers })
}

/// The path of the module of a weight.
fn module(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// Whether a path matches a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(path) = path.strip_prefix(first) else { return false };
    let mut ends = path.char_indices().map(|(at, _)| at).chain([path.len()]);
    ends.any(|at| matches(rest, &path[at..]))
}

#[cfg(test)]
mod tests {
    use mert_arch::{Config, QuantizationMode, inventory};

    use super::*;

    fn options(skip: &[&str], only: &[&str]) -> QuantizeOptions {
        let owned = |patterns: &[&str]| patterns.iter().map(|pattern| pattern.to_string()).collect();
        QuantizeOptions { skip: owned(skip), only: owned(only), ..QuantizeOptions::default() }
    }

    #[test]
    fn patterns() {
        let path = "encoder.layers.10.attention.q_proj";
        for pattern in ["*", path, "encoder.*", "*.q_proj", "*.layers.1*.q_*", "*attention*", "**q_proj"] {
            assert!(matches(pattern, path), "{pattern}");
        }
        for pattern in ["", "q_proj", "*.q", "encoder", "*.k_proj", "*.layers.2*", "x*"] {
            assert!(!matches(pattern, path), "{pattern}");
        }
    }

    #[test]
    fn every_linear_layer_of_whole_groups_is_quantized_and_nothing_else() {
        let specs = inventory(&Config::mert_v1_95m());
        let chosen = |options: &QuantizeOptions| -> Vec<Choice> {
            specs.iter().map(|spec| choose(spec, Dtype::F16, Some(options))).collect()
        };
        let quantized = |options: &QuantizeOptions| {
            chosen(options).iter().filter(|choice| choice.left_unquantized.is_none()).count()
        };
        assert_eq!(quantized(&options(&[], &[])), 12 * 6 + 1);
        assert_eq!(quantized(&options(&["feature_projection.*", "*.11.*"], &[])), 11 * 6);
        assert_eq!(quantized(&options(&["*.q_proj"], &["*.attention.*"])), 12 * 3);
        let reasons: BTreeSet<String> =
            chosen(&options(&[], &[])).into_iter().filter_map(|choice| choice.left_unquantized).collect();
        let reasons: Vec<_> = reasons.iter().map(String::as_str).collect();
        assert_eq!(reasons, ["a bias", "a convolution", "a norm"]);

        let narrow = Config { intermediate_size: 3000, ..Config::mert_v1_95m() };
        let spec =
            inventory(&narrow).into_iter().find(|spec| spec.name.ends_with("0.feed_forward.output_dense.weight"));
        let choice = choose(&spec.unwrap(), Dtype::F16, Some(&options(&[], &[])));
        let reason = choice.left_unquantized.unwrap();
        assert_eq!(reason, "its last axis, 3000, is not a multiple of the group size 64");
    }

    #[test]
    fn patterns_and_layers_that_match_nothing_are_found() {
        let specs = inventory(&Config::mert_v1_95m());
        assert_eq!(options(&["*"], &["*.q_proj"]).unused(&specs), None);
        assert_eq!(
            options(&["encoder.layer_norm"], &[]).unused(&specs),
            Some(("--q-skip", "encoder.layer_norm".into()))
        );
        assert_eq!(options(&[], &["*.query"]).unused(&specs), Some(("--q-only", "*.query".into())));
    }

    #[test]
    fn a_layer_can_have_its_own_bits() {
        let eight = Quantization::new(QuantizationMode::Affine, 8, 32).unwrap();
        let layers = BTreeMap::from([
            ("encoder.layers.0.attention.q_proj".to_string(), Some(eight)),
            ("encoder.layers.0.attention.k_proj".to_string(), None),
        ]);
        let options = QuantizeOptions { layers, ..QuantizeOptions::default() };
        let specs = inventory(&Config::mert_v1_95m());
        let of = |name: &str| {
            let spec = specs.iter().find(|spec| spec.name == format!("encoder.layers.0.attention.{name}.weight"));
            choose(spec.unwrap(), Dtype::F16, Some(&options)).encoding.to_string()
        };
        assert_eq!([of("q_proj"), of("k_proj"), of("v_proj")], ["8-bit g32", "f16", "4-bit g64"]);
    }
}
