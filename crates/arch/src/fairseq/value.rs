//! A training configuration as plain values, whatever objects a checkpoint stores it in.

use std::collections::BTreeMap;

/// A value of a training configuration: of a dict, of an `argparse.Namespace`'s attributes, or of an omegaconf `DictConfig`.
#[derive(Debug, Clone, PartialEq)]
pub enum CfgValue {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list or tuple.
    List(Vec<CfgValue>),
    /// A dictionary with strings as keys.
    Dict(BTreeMap<String, CfgValue>),
    /// An object that is not a plain value, by its Python type.
    Other(String),
}

impl CfgValue {
    /// The value of a key; `None` for a value that is not a dictionary.
    pub fn get(&self, key: &str) -> Option<&CfgValue> {
        match self {
            CfgValue::Dict(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The value at a path of keys with dots between them.
    fn at(&self, path: &str) -> Option<&CfgValue> {
        path.split('.').try_fold(self, |value, key| value.get(key))
    }

    /// The value that an interpolation of omegaconf (`${task.normalize}`) refers to, from the root of the configuration;
    /// other values are their own. `None` for an interpolation of nothing or of itself, and for omegaconf's `???`, a value
    /// that is still missing.
    pub(super) fn resolved<'v>(&'v self, root: &'v CfgValue) -> Option<&'v CfgValue> {
        const MAX_STEPS: usize = 8;
        let mut value = self;
        for _ in 0..MAX_STEPS {
            let CfgValue::Text(text) = value else { return Some(value) };
            if text == "???" {
                return None;
            }
            let Some(path) = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')) else {
                return Some(value);
            };
            value = root.at(path)?;
        }
        None
    }
}

impl std::fmt::Display for CfgValue {
    /// The value as Python writes it, shortened if it is long; an object by its type.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MAX_TEXT: usize = 200;
        match self {
            CfgValue::None => f.write_str("None"),
            CfgValue::Bool(true) => f.write_str("True"),
            CfgValue::Bool(false) => f.write_str("False"),
            CfgValue::Int(value) => write!(f, "{value}"),
            CfgValue::Float(value) => write!(f, "{value:?}"),
            CfgValue::Text(text) if text.len() > MAX_TEXT => {
                write!(f, "'{}…'", crate::printable_line(&text.chars().take(MAX_TEXT).collect::<String>()))
            }
            CfgValue::Text(text) => write!(f, "'{}'", crate::printable_line(text)),
            CfgValue::List(items) => write!(f, "a list of {}", items.len()),
            CfgValue::Dict(_) => f.write_str("a dictionary"),
            CfgValue::Other(kind) => write!(f, "a pickled `{}`", crate::printable_line(kind)),
        }
    }
}
