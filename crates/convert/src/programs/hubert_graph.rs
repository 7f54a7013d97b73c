//! The refusal of models that a class of HuBERT computes otherwise, by the field that it does not have.

use mert_arch::{Activation, Config, PositionalConv};

/// A field or an option with a value that a program does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The name of the field or option.
    pub(crate) field: &'static str,
    /// The value that was found.
    pub(crate) found: String,
    /// The clause that follows "but": what the program does.
    pub(crate) reason: String,
}

impl Refusal {
    pub(super) fn new(field: &'static str, found: impl ToString, reason: impl Into<String>) -> Self {
        Refusal { field, found: found.to_string(), reason: reason.into() }
    }
}

/// The activation's name in a `config.json`.
fn name(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
    }
}

/// Refuses a field unless its activation is among those that a class has.
pub(super) fn check_activation(
    field: &'static str,
    found: Activation,
    supported: &[Activation],
    class: &str,
) -> Result<(), Refusal> {
    if supported.contains(&found) {
        return Ok(());
    }
    let names: Vec<&str> = supported.iter().map(|&activation| name(activation)).collect();
    Err(Refusal::new(field, name(found), format!("{class} has only {} there", names.join(" and "))))
}

/// Refuses the mechanisms that no class of HuBERT but transformers' has. `class` is the name of the class, for messages.
///
/// `attention_relax` is none of them: the softmax is the same without it.
pub(super) fn check(config: &Config, class: &str) -> Result<(), Refusal> {
    if let Some(bias) = config.position_bias() {
        let reason = format!("{class} has no relative position bias (WavLM)");
        return Err(Refusal::new("num_buckets", bias.num_buckets, reason));
    }
    match config.positional_conv() {
        PositionalConv::WeightNorm { .. } => {}
        PositionalConv::BatchNorm { .. } => {
            let reason = format!("{class} has no BatchNorm over channels before the positional convolution");
            return Err(Refusal::new("conv_pos_batch_norm", true, reason));
        }
        PositionalConv::Stack { kernel, .. } => {
            let reason = format!("{class} has one positional convolution, not a chain of them (data2vec)");
            return Err(Refusal::new("conv_pos_kernel_size", kernel, reason));
        }
    }
    if config.deepnorm {
        return Err(Refusal::new("deepnorm", true, format!("{class} does not scale residual branches (MERT)")));
    }
    Ok(())
}

/// A note about a model of another family than HuBERT, whose arithmetic is the same.
pub(super) fn note(config: &Config, class: &str) -> Option<String> {
    let family = config.family();
    (family.model_type != "hubert")
        .then(|| format!("{class} is a class of HuBERT; this model, {}, computes the same", family.title))
}
