//! The ways in which a checkpoint differs from what its configuration implies.

use mert_arch::printable_line;
use mert_checkpoint::object_advice;
use thiserror::Error;

use super::options::{drop_option, prefix_option};

/// A difference between a checkpoint and what its configuration implies.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// A tensor of the model is not in the checkpoint.
    #[error("missing tensor `{name}` {expected:?}{}", suggest(.nearest, "the checkpoint has"))]
    Missing {
        /// The full name.
        name: String,
        /// The shape.
        expected: Vec<usize>,
        /// The nearest name in the checkpoint that nothing uses.
        nearest: Option<String>,
    },
    /// A tensor of the checkpoint does not belong to the model.
    #[error(
        "unexpected tensor `{}` {found:?}{}; if it is not part of the encoder, leave it out with {}",
        printable_line(.name), suggest(.nearest, "the nearest expected name is"), drop_option(.name)
    )]
    Unexpected {
        /// The full name, as in the file.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The nearest name of the model.
        nearest: Option<String>,
        /// The outermost module of the tensor, with its dot, that holds no encoder tensor.
        module: Option<String>,
    },
    /// A tensor inside the encoder does not belong to any model of the family.
    #[error(
        "unexpected tensor `{name}` {found:?}{} inside the encoder; it takes part in what the model computes and cannot \
         be left out",
        suggest(.nearest, "the nearest expected name is")
    )]
    UnexpectedInEncoder {
        /// The full name.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The nearest expected name.
        nearest: Option<String>,
    },
    /// A tensor's shape is not the one that the configuration implies.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}{hint}")]
    Shape {
        /// The full name.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
        /// A likely reason.
        hint: &'static str,
    },
    /// A tensor's dtype is not a 16, 32 or 64-bit float.
    #[error(
        "tensor `{name}` has dtype {found}, expected f32, f16, bf16 or f64; save the checkpoint from a float32 model"
    )]
    Dtype {
        /// The full name.
        name: String,
        /// The type.
        found: String,
    },
    /// A tensor outside the encoder has an unknown name.
    #[error(
        "unexpected tensor `{}` {found:?} outside the encoder: leave it out with {}, or everything that is not under `{}` \
         with {}",
        printable_line(.name), drop_option(.name), printable_line(.prefix), prefix_option(.prefix)
    )]
    OutsidePrefix {
        /// The full name, as in the file.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The encoder's prefix, as in the file.
        prefix: String,
    },
    /// A tensor of the adapter changes none of the checkpoint's.
    #[error(
        "adapter: `{}` changes no tensor of the checkpoint{}; {}", printable_line(.name),
        suggest(.nearest, "the nearest is"), unmatched_advice(.name, *.is_head)
    )]
    AdapterUnmatched {
        /// The tensor's key.
        name: String,
        /// The nearest name in the checkpoint.
        nearest: Option<String>,
        /// Whether the tensor is outside the encoder's modules.
        is_head: bool,
    },
    /// Two modules of the adapter change the same tensor.
    #[error(
        "adapter: `{}` and `{}` both change `{}`; give an adapter of one model", printable_line(.first), printable_line(.second),
        printable_line(.name)
    )]
    AdapterTwice {
        /// The tensor of the checkpoint.
        name: String,
        /// A tensor of the first module.
        first: String,
        /// A tensor of the second module.
        second: String,
    },
    /// The adapter changes a layer that is not linear.
    #[error(
        "adapter: `{}` changes `{module}`, which is not a linear layer; merge the adapter in Python, `model = \
         model.merge_and_unload()`, and convert the merged model",
        printable_line(.name)
    )]
    AdapterRole {
        /// The tensor's key.
        name: String,
        /// The module.
        module: String,
    },
    /// The adapter is of a layer of another size.
    #[error(
        "adapter: `{}` is of a layer {found:?}, but the checkpoint's is {expected:?}: the adapter is another model's",
        printable_line(.name)
    )]
    AdapterShape {
        /// The tensor's key.
        name: String,
        /// The shape of the layer that the adapter changes, (out, in).
        found: Vec<usize>,
        /// The shape of the checkpoint's layer.
        expected: Vec<usize>,
    },
    /// The adapter changes a bias that the checkpoint does not have.
    #[error("adapter: module `{module}` changes its bias (lora_bias), but the checkpoint has no `{name}`")]
    AdapterBias {
        /// The module.
        module: String,
        /// The missing tensor.
        name: String,
    },
    /// An entry of the model is not a tensor.
    #[error("`{name}` is a pickled `{kind}`, not a tensor (it was not executed){}", object_hint(.kind))]
    NotATensor {
        /// The full name.
        name: String,
        /// The Python type.
        kind: String,
    },
    /// The checkpoint has the positional convolution's weight in several spellings.
    #[error(
        "the checkpoint has the positional convolution's weight twice (`{first}` and `{second}`); save it again from a model \
         that has one of them"
    )]
    DuplicateWeight {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
    },
}

/// The clause that follows the Python type of an object in place of a tensor.
fn object_hint(kind: &str) -> String {
    match object_advice(kind) {
        Some((what, fix)) => format!(": {what}; {fix}"),
        None => "; save the checkpoint with torch.save of a state_dict of tensors".into(),
    }
}

/// The advice for a tensor of an adapter that matches nothing.
fn unmatched_advice(key: &str, is_head: bool) -> String {
    let name = key.split_once(':').map_or(key, |(_, name)| name);
    match is_head {
        true => format!("if it is of a head, which is not converted, leave it out with {}", drop_option(name)),
        false => "the adapter is another model's, or of another version of it".into(),
    }
}

/// The nearest name in parentheses, after `lead`.
fn suggest(name: &Option<String>, lead: &str) -> String {
    name.as_ref().map(|name| format!(" ({lead} `{name}`)")).unwrap_or_default()
}
