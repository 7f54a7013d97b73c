//! Errors of adapters: options that another program would apply differently, and tensors that contradict them.

use mert_arch::printable_line;
use thiserror::Error;

/// The reason why an adapter was not read.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A file or folder holds no adapter of a known kind.
    #[error("{0}")]
    NotFound(String),
    /// The configuration is not the JSON that PEFT or mlx-lm writes.
    #[error("not a configuration of an adapter that is known: {0}")]
    Json(String),
    /// An option changes the weights in a way that is not supported.
    #[error("`{field}` is {found}: {reason}")]
    Unsupported {
        /// The option.
        field: String,
        /// Its value, shortened.
        found: String,
        /// Why it is refused, and what to do.
        reason: String,
    },
    /// A required option is missing.
    #[error("the configuration has no `{field}`, which {reason}")]
    Missing {
        /// The option.
        field: &'static str,
        /// What it decides, and what to do.
        reason: &'static str,
    },
    /// A pattern uses Python's regular expressions beyond those that are supported.
    #[error(
        "`{field}` has the pattern `{}`, a regular expression that is not supported (such as one with \
         look-around); write its modules' paths in full",
        printable_line(.pattern)
    )]
    Pattern {
        /// `rank_pattern` or `alpha_pattern`.
        field: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// A tensor is of another method, or of a layer that is not linear.
    #[error(
        "tensor `{}`: {reason}; merge the adapter in Python, `model = model.merge_and_unload()`, and convert the merged model",
        printable_line(.name)
    )]
    UnsupportedTensor {
        /// The tensor.
        name: String,
        /// What it is.
        reason: &'static str,
    },
    /// A module has a part of an adapter and lacks another.
    #[error(
        "module `{}` has `{}` and no `{missing}`: the adapter is incomplete; save or download it again",
        printable_line(.module), printable_line(.found)
    )]
    Incomplete {
        /// The module.
        module: String,
        /// A tensor of the module.
        found: String,
        /// The part that is missing.
        missing: &'static str,
    },
    /// A tensor's shape does not fit the other parts of its module.
    #[error("tensor `{}` has shape {found:?}, expected {expected}", printable_line(.name))]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The expected shape, in words.
        expected: String,
    },
    /// A tensor's dtype is not a float.
    #[error("tensor `{}` has dtype {found}, expected f32, f16, bf16 or f64", printable_line(.name))]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// The configuration states another rank than the tensors have.
    #[error(
        "module `{}` has rank {found} by `{}`, but {stated} by adapter_config.json ({field}), which decides the scale: the \
         configuration is another adapter's, or the tensors are",
        printable_line(.module), printable_line(.name)
    )]
    Rank {
        /// The module.
        module: String,
        /// The tensor of the factor A.
        name: String,
        /// The rank of the tensors.
        found: usize,
        /// The rank of the configuration.
        stated: usize,
        /// The option that states it.
        field: &'static str,
    },
    /// The tensors and the configuration disagree whether a part exists.
    #[error("`{field}` is {stated}, but {found}: the configuration is another adapter's")]
    Contradiction {
        /// The option.
        field: &'static str,
        /// Its value.
        stated: String,
        /// What the tensors show.
        found: String,
    },
    /// A scale is not a usable number.
    #[error("module `{}`: the scale {scale} is not a positive finite number ({origin})", printable_line(.module))]
    Scale {
        /// The module.
        module: String,
        /// The scale.
        scale: f64,
        /// The options that it follows from.
        origin: String,
    },
    /// Nothing states the scale of an adapter.
    #[error(
        "the adapter's scale is not in its tensors (rank {rank}): put its adapter_config.json beside it, or give the alpha \
         that it was trained with as --lora-alpha (scale = alpha / rank). A wrong one gives another model without an error"
    )]
    UnknownScale {
        /// The rank of the first module.
        rank: usize,
    },
    /// `--lora-alpha` was given although a configuration states the scale.
    #[error(
        "the configuration states the scale: leave --lora-alpha out, or move the file away if it is another adapter's"
    )]
    ScaleStatedTwice,
    /// The checkpoint holds several adapters.
    #[error("the checkpoint holds more than one adapter: {}. Choose one with --adapter-name", .names.join(", "))]
    Ambiguous {
        /// The names.
        names: Vec<String>,
    },
    /// `--adapter-name` names an adapter that the checkpoint does not hold.
    #[error("the checkpoint holds no adapter `{}`; it holds {}", printable_line(.name), .names.join(", "))]
    UnknownName {
        /// The requested name.
        name: String,
        /// The adapters of the checkpoint.
        names: Vec<String>,
    },
}
