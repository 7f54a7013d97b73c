//! Errors of reading and converting checkpoints: what was found, what was expected, and what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use mert_arch::{ConfigError, Dtype, InferError, printable_line};
use thiserror::Error;

use mert_checkpoint::{CheckpointError, objects};
use mert_fs::FsError;

/// Why a checkpoint was not converted. Nothing has been written when one of these is returned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The checkpoint could not be opened or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The output could not be written.
    #[error(transparent)]
    Output(#[from] FsError),
    /// The configuration cannot be used.
    #[error("{path}: {source}")]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// A field that the user set cannot be used.
    #[error("--set: {source}")]
    Set {
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Files that come with the checkpoint disagree about the model's audio input.
    #[error(
        "it is not clear what audio the model takes: `{field}` is {}. A wrong one gives wrong embeddings without an \
         error: find out which is right and give it with {option}",
        .statements.join(" and ")
    )]
    Contradiction {
        /// The field of `preprocessor_config.json`.
        field: &'static str,
        /// The conflicting values, each with its origin.
        statements: Vec<String>,
        /// The command-line option that overrides them.
        option: &'static str,
    },
    /// There is no configuration and none can be inferred.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Objects of another kind sit where tensors belong.
    #[error("the checkpoint holds other objects where tensors belong:{}", list(.problems))]
    NotTensors {
        /// Every such object.
        problems: Vec<Problem>,
    },
    /// Tensors are missing, unexpected or malformed.
    #[error(
        "the checkpoint does not match what its configuration ({config}) implies:{}{}",
        list(.problems), advice(.problems)
    )]
    Mismatch {
        /// Where the configuration comes from.
        config: String,
        /// Every problem found.
        problems: Vec<Problem>,
    },
    /// Tensors inside the encoder that no model of the family has.
    #[error("{path}: {reason}")]
    OtherEncoder {
        /// The input.
        path: PathBuf,
        /// The architecture or tool that they come from, and what to do.
        reason: String,
    },
    /// A `--drop` pattern matches a tensor of the encoder.
    #[error(
        "--drop `{pattern}` matches `{name}`, which is inside the encoder: without it the model computes something else. \
         --drop is for tensors outside the encoder, such as heads and counters"
    )]
    DropInside {
        /// The pattern.
        pattern: String,
        /// The first tensor that it matches.
        name: String,
    },
    /// A `--drop` pattern matches no tensor.
    #[error("--drop `{pattern}` matches no tensor of the checkpoint; correct it or leave it out")]
    UnusedDrop {
        /// The pattern.
        pattern: String,
    },
    /// A tensor could not be read from the checkpoint.
    #[error("{0}; the file is damaged or was not saved completely: download or save it again")]
    ReadTensor(#[source] std::io::Error),
    /// A tensor holds a NaN or an infinity.
    #[error(
        "tensor `{name}` holds {value} at index {index:?}; a model with such a weight computes nothing. Save the \
         checkpoint again from a healthy model"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// Where in it.
        index: Vec<usize>,
        /// The value.
        value: f32,
    },
    /// A finite value does not fit the target's range.
    #[error(
        "tensor `{name}` holds {} at index {index:?}, which overflows {dtype} (largest finite value {max:e}); \
         {}", shown_value(*.value), overflow_advice(*.dtype)
    )]
    Overflow {
        /// The tensor.
        name: String,
        /// Where in it.
        index: Vec<usize>,
        /// The value.
        value: f64,
        /// The target's dtype.
        dtype: Dtype,
        /// Its largest finite value.
        max: f32,
    },
    /// A kernel tap of the positional convolution's direction has norm zero.
    #[error(
        "tensor `{name}`: kernel tap {tap} has norm zero, so weight norm would divide by zero; the checkpoint's \
         positional convolution is broken. If its weights are all zeros, it was not saved or downloaded completely"
    )]
    ZeroNorm {
        /// The direction's name.
        name: String,
        /// The tap.
        tap: usize,
    },
    /// A norm's square is beyond the range in which f64 is exact.
    #[error(
        "tensor `{name}`: the values of kernel tap {tap} are too {size} for weight norm (their squares leave the range of \
         f64); no healthy weights are: save the checkpoint again from a healthy model"
    )]
    NormRange {
        /// The direction's name.
        name: String,
        /// The tap.
        tap: usize,
        /// `small` or `large`.
        size: &'static str,
    },
    /// The model or the options have no Core ML package.
    #[error("no Core ML package can be made: {0}")]
    CoreMl(String),
    /// The output's name says no known format.
    #[error("{path}: the output's format goes by its extension, which must be .safetensors or .mlpackage")]
    OutputFormat {
        /// The output.
        path: PathBuf,
    },
    /// What was written is not what was meant; the disk or the memory is at fault.
    #[error("{path} reads back differently from what was written ({reason}); the output was discarded")]
    ReadBack {
        /// The output.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// A tensor of the checkpoint is a lazily negated view.
    #[error(
        "{path}: PyTorch saved `{name}` as a negated view, which would be read with the wrong sign; save it again after \
         tensor.resolve_neg()"
    )]
    NegatedView {
        /// The input.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

/// One way in which a checkpoint differs from what its configuration implies.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// A tensor of the model is not in the checkpoint.
    #[error("missing tensor `{name}` {expected:?}{}", suggest(.nearest, "the checkpoint has"))]
    Missing {
        /// Its full name.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The nearest name that has no use yet.
        nearest: Option<String>,
    },
    /// A tensor of the checkpoint is not of the model.
    #[error(
        "unexpected tensor `{}` {found:?}{}; if it is not part of the encoder, leave it out with {}",
        printable_line(.name), suggest(.nearest, "the nearest expected name is"), drop_option(.name)
    )]
    Unexpected {
        /// Its full name, as it is in the file.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The nearest name of the model.
        nearest: Option<String>,
        /// The outermost module of the tensor, with its dot, that holds no encoder tensor.
        module: Option<String>,
    },
    /// A tensor inside the encoder that no model of the family has.
    #[error(
        "unexpected tensor `{name}` {found:?}{} inside the encoder; it takes part in what the model computes and cannot \
         be left out",
        suggest(.nearest, "the nearest expected name is")
    )]
    Inside {
        /// The full name.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The nearest expected name.
        nearest: Option<String>,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}{hint}")]
    Shape {
        /// Its full name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
        /// A likely reason.
        hint: &'static str,
    },
    /// A tensor's dtype is not a 16, 32 or 64-bit float.
    #[error(
        "tensor `{name}` has dtype {found}, expected f32, f16, bf16 or f64; save the checkpoint from a float32 model"
    )]
    Dtype {
        /// Its full name.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor outside the encoder with an unknown name.
    #[error(
        "unexpected tensor `{}` {found:?} outside the encoder: leave it out with {}, or all that is not under `{}` with {}",
        printable_line(.name), drop_option(.name), printable_line(.prefix), prefix_option(.prefix)
    )]
    OutsidePrefix {
        /// The full name, as it is in the file.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The encoder's prefix, as it is in the file.
        prefix: String,
    },
    /// An object of another kind sits where a tensor belongs.
    #[error("`{name}` is a pickled `{kind}`, not a tensor (it was not executed){}", foreign_advice(.kind))]
    Foreign {
        /// Its full name.
        name: String,
        /// The Python type.
        kind: String,
    },
    /// The positional convolution is there under several spellings at once.
    #[error(
        "the positional convolution's weight is there twice (`{first}` and `{second}`), so it is not known which is \
         meant; save the checkpoint again from a model that has one of them"
    )]
    Twice {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
}

fn foreign_advice(kind: &str) -> String {
    match objects::advice(kind) {
        Some((what, fix)) => format!(": {what}; {fix}"),
        None => "; save the checkpoint with torch.save of a state_dict of tensors".into(),
    }
}

/// A value in decimal notation: the shortest that parses to the same f32 or, if it is not an f32, f64.
fn shown_value(value: f64) -> String {
    let short = value as f32;
    if f64::from(short) == value { format!("{short:e}") } else { format!("{value:e}") }
}

fn overflow_advice(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "convert with --dtype bf16 or --dtype f32",
        Dtype::Bf16 => "convert with --dtype f32",
        Dtype::F32 => "no healthy weight is as large: save the checkpoint again from a healthy model",
    }
}

fn suggest(name: &Option<String>, lead: &str) -> String {
    name.as_ref().map(|name| format!(" ({lead} `{name}`)")).unwrap_or_default()
}

/// Advice about all problems together.
fn advice(problems: &[Problem]) -> String {
    let unexpected: Option<Vec<_>> = problems
        .iter()
        .map(|problem| match problem {
            Problem::Unexpected { name, module, .. } => Some((name.as_str(), module.as_deref())),
            _ => None,
        })
        .collect();
    match unexpected.as_deref() {
        Some([]) | None => {
            "\nIf the configuration is another model's, give the right one with --config; if tensors are \
                            missing, download or save the checkpoint again"
                .into()
        }
        Some([_]) => String::new(),
        Some(names) => {
            format!("\nThe model is complete without them: to leave all of them out, add {}", drop_options(names))
        }
    }
}

/// Options that drop tensors outside the encoder: by name, or by module where one holds many.
fn drop_options(names: &[(&str, Option<&str>)]) -> String {
    const ONE_BY_ONE: usize = 3;
    let mut modules: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    names.iter().for_each(|(name, module)| modules.entry(*module).or_default().push(name));
    let options = modules.iter().flat_map(|(module, names)| match module {
        Some(module) if names.len() > ONE_BY_ONE => vec![option("--drop", &format!("{module}*"))],
        _ => names.iter().map(|name| option("--drop", name)).collect(),
    });
    let (paste, other): (Vec<_>, Vec<_>) = options.partition(Option::is_some);
    let mut advice: Vec<String> = Vec::new();
    if !paste.is_empty() {
        advice.push(paste.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    if !other.is_empty() {
        advice.push(PATTERN.into());
    }
    advice.join(" and ")
}

/// What to give for a name that cannot be pasted into a terminal.
const PATTERN: &str = "a --drop pattern that ends in * before the control character";

fn drop_option(name: &str) -> String {
    option("--drop", name).unwrap_or_else(|| PATTERN.into())
}

fn prefix_option(prefix: &str) -> String {
    option("--prefix", prefix).unwrap_or_else(|| "--prefix".into())
}

/// An option with its value, quoted for a shell; `None` if the value has control characters, which a terminal would
/// obey. A value that begins with `-` would be taken for another option if it stood apart.
fn option(name: &str, value: &str) -> Option<String> {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    let quoted = value.replace('\'', r"'\''");
    (!value.contains(char::is_control)).then(|| format!("{name}{separator}'{quoted}'"))
}

/// How many problems a message lists: enough to see the pattern, short enough to read.
const LISTED: usize = 12;

fn list(problems: &[Problem]) -> impl fmt::Display {
    let mut text = String::new();
    for problem in problems.iter().take(LISTED) {
        text.push_str(&format!("\n  - {problem}"));
    }
    if problems.len() > LISTED {
        text.push_str(&format!("\n  - … and {} more", problems.len() - LISTED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_can_be_pasted() {
        for (value, expected) in [
            ("a b", Some("--drop 'a b'")),
            ("it's", Some(r"--drop 'it'\''s'")),
            ("-rf*", Some("--drop='-rf*'")),
            ("", Some("--drop ''")),
            ("a\u{1b}[31m", None),
            ("a\nb", None),
        ] {
            assert_eq!(option("--drop", value).as_deref(), expected);
        }
    }

    #[test]
    fn names_are_quoted_in_advice() {
        let outside = |name: &str, prefix: &str| {
            let (name, prefix) = (name.to_string(), prefix.to_string());
            Problem::OutsidePrefix { name, found: vec![1], prefix }.to_string()
        };
        let said = outside("x'; rm -rf '", "-it's.");
        assert!(said.contains(r"--drop 'x'\''; rm -rf '\'''"), "{said}");
        assert!(said.contains(r"--prefix='-it'\''s.'"), "{said}");
        let unexpected = |name: &str, module: Option<&str>| Problem::Unexpected {
            name: name.into(),
            found: vec![1],
            nearest: None,
            module: module.map(str::to_string),
        };
        for said in [outside("a\nb", ""), unexpected("a\nb", None).to_string()] {
            assert!(said.contains("`a\\nb`") && said.contains(PATTERN) && !said.contains("--drop 'a"), "{said}");
        }
        let said = advice(&[unexpected("a\nb", None), unexpected("c\nd", None), unexpected("-e", None)]);
        assert_eq!(said.matches(PATTERN).count(), 1, "{said}");
        assert!(said.contains("--drop='-e'"), "{said}");
    }
}
