//! The training configuration in a Trainer's dictionary (`cfg`, or `args` in old checkpoints), as plain values.
//!
//! Checkpoints of fairseq have it as dictionaries, as an `argparse.Namespace`, or as omegaconf's `DictConfig`; the original
//! WavLM has a dictionary; s3prl's copies have the sections `model_cfg` and `task_cfg`. No class is imported: an object is its attributes.

use std::collections::BTreeMap;

use mert_arch::fairseq::CfgValue;

use crate::pickle::{Unpickler, Value};

/// Limits on the values and the depth of a configuration: a pickle of a few bytes can describe many, and cycles.
const MAX_VALUES: usize = 1 << 14;
const MAX_DEPTH: usize = 24;

/// The configuration beside the model in a pickle's root; `None` if there is none.
pub(super) fn training_config(unpickler: &Unpickler<'_>, root: &Value<'_>) -> Option<CfgValue> {
    let entries = unpickler.dict_of(root)?;
    // The last entry of a name counts, as in Python.
    let entry = |name: &str| entries.iter().rev().find(|(key, _)| *key == Value::Text(name)).map(|(_, value)| value);
    let section = |name: &str| {
        let mut reader = Reader { unpickler, values: 0 };
        match reader.plain(entry(name)?, 0) {
            CfgValue::Dict(fields) if !fields.is_empty() => Some(CfgValue::Dict(fields)),
            _ => None,
        }
    };
    section("cfg").or_else(|| section("args")).or_else(|| {
        // s3prl/upstream/hubert/convert.py
        let named = |(name, key): (&str, &str)| Some((name.to_string(), section(key)?));
        let sections = BTreeMap::from([named(("model", "model_cfg"))?]);
        Some(CfgValue::Dict(sections.into_iter().chain(named(("task", "task_cfg"))).collect()))
    })
}

/// The key of the model in a Trainer's dictionary.
pub(super) const TRAINER_MODEL: &str = "model";

/// Whether a pickle's root is the dictionary of a fairseq Trainer, in which `model` is the model and others are copies.
pub(super) fn is_trainer(unpickler: &Unpickler<'_>, root: &Value<'_>) -> bool {
    let has = |name: &str| unpickler.dict_of(root).unwrap_or_default().iter().any(|(key, _)| *key == Value::Text(name));
    has(TRAINER_MODEL) && (has("cfg") || has("args"))
}

struct Reader<'u, 'a> {
    unpickler: &'u Unpickler<'a>,
    values: usize,
}

impl Reader<'_, '_> {
    /// A value without its objects; beyond the limits, its type.
    fn plain(&mut self, value: &Value<'_>, depth: usize) -> CfgValue {
        self.values += 1;
        let opaque = || CfgValue::Other(self.unpickler.python_type(value).to_string());
        if self.values > MAX_VALUES || depth > MAX_DEPTH {
            return opaque();
        }
        match value {
            Value::Scalar("None") => CfgValue::None,
            Value::Bool(value) => CfgValue::Bool(*value),
            Value::Int(value) => CfgValue::Int(*value),
            Value::Float(value) => CfgValue::Float(*value),
            Value::Text(text) => CfgValue::Text(text.to_string()),
            Value::Sequence(_) => self.list(self.unpickler.items(value).unwrap_or_default(), depth),
            Value::Dict(_) => self.dict(self.unpickler.dict_of(value).unwrap_or_default(), depth),
            Value::Object(_) => self.object(value, depth).unwrap_or_else(opaque),
            _ => opaque(),
        }
    }

    fn list(&mut self, items: &[Value<'_>], depth: usize) -> CfgValue {
        let room = MAX_VALUES.saturating_sub(self.values);
        CfgValue::List(items.iter().take(room).map(|item| self.plain(item, depth + 1)).collect())
    }

    /// The entries with strings as keys.
    fn dict(&mut self, entries: &[(Value<'_>, Value<'_>)], depth: usize) -> CfgValue {
        let room = MAX_VALUES.saturating_sub(self.values);
        let mut plain = BTreeMap::new();
        for (key, value) in entries.iter().take(room) {
            if let Value::Text(key) = key {
                plain.insert(key.to_string(), self.plain(value, depth + 1));
            }
        }
        CfgValue::Dict(plain)
    }

    /// An object by its class: a container or node of omegaconf by its content, a member of an enumeration by its value,
    /// others by their attributes.
    fn object(&mut self, value: &Value<'_>, depth: usize) -> Option<CfgValue> {
        let unpickler = self.unpickler;
        let attributes = unpickler.state(value).and_then(|state| unpickler.dict_of(state));
        let Some(attributes) = attributes else {
            // An enumeration's member is a call of its class with the value.
            return match unpickler.arguments(value) {
                Some([text @ Value::Text(_)]) => Some(self.plain(text, depth + 1)),
                _ => None,
            };
        };
        let class = unpickler.python_type(value);
        let attribute =
            |name: &str| attributes.iter().find(|(key, _)| *key == Value::Text(name)).map(|(_, value)| value);
        if class.starts_with("omegaconf.") {
            let content = attribute("_content").or_else(|| attribute("_val"))?;
            return Some(self.plain(content, depth + 1));
        }
        Some(self.dict(attributes, depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pickle: &[u8]) -> Option<CfgValue> {
        let mut unpickler = Unpickler::new(pickle);
        let root = unpickler.load().unwrap();
        training_config(&unpickler, &root)
    }

    fn text(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A dictionary of protocol 2.
    fn dict(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let entries: Vec<u8> = entries.iter().flat_map(|(key, value)| [&text(key)[..], value].concat()).collect();
        [b"}(", &entries[..], b"u"].concat()
    }

    #[test]
    fn args_take_the_place_of_a_missing_cfg() {
        let namespace = |value: &[u8]| [b"cargparse\nNamespace\n)\x81", &dict(&[("a", value)])[..], b"b"].concat();
        let expected = |value| Some(CfgValue::Dict(BTreeMap::from([("a".to_string(), CfgValue::Int(value))])));
        let root = |cfg: &[u8], args: &[u8]| [&dict(&[("cfg", cfg), ("args", args)])[..], b"."].concat();
        assert_eq!(config(&root(b"N", &namespace(b"K\x02"))), expected(2));
        assert_eq!(config(&root(&dict(&[("a", b"K\x01")]), &namespace(b"K\x02"))), expected(1));
        assert_eq!(config(&root(b"}", &namespace(b"K\x02"))), expected(2));
        assert_eq!(config(&root(b"N", b"N")), None);
        let copy =
            [&dict(&[("model_cfg", &dict(&[("a", b"K\x01")])), ("task_cfg", &dict(&[("a", b"K\x02")]))])[..], b"."];
        let Some(CfgValue::Dict(sections)) = config(&copy.concat()) else { panic!() };
        assert_eq!((sections.get("model").cloned(), sections.get("task").cloned()), (expected(1), expected(2)));
        assert_eq!(config(b"}."), None);
        assert_eq!(config(b"N."), None);
    }

    #[test]
    fn objects_are_not_executed_and_limits_hold() {
        let call = b"cos\nsystem\n(X\x04\0\0\0truetR";
        let cfg = [&dict(&[("cfg", &dict(&[("a", call)]))])[..], b"."].concat();
        let Some(CfgValue::Dict(entries)) = config(&cfg) else { panic!() };
        // A call with one string is read as a member of an enumeration: its value.
        assert_eq!(entries["a"], CfgValue::Text("true".into()));

        let nested = [&b"]".repeat(50)[..], &b"a".repeat(49)].concat();
        let cfg = [&dict(&[("cfg", &dict(&[("a", &nested)]))])[..], b"."].concat();
        assert!(format!("{:?}", config(&cfg)).contains("Other(\"list\")"));
        // A list that holds itself, and one of a million items.
        let cycle = [&dict(&[("cfg", &dict(&[("a", b"]q\x01h\x01a")]))])[..], b"."].concat();
        assert!(config(&cycle).is_some());
        let long = [b"](", &b"N".repeat(1 << 20)[..], b"e"].concat();
        let cfg = [&dict(&[("cfg", &dict(&[("a", &long)]))])[..], b"."].concat();
        let Some(CfgValue::Dict(entries)) = config(&cfg) else { panic!() };
        assert!(matches!(&entries["a"], CfgValue::List(items) if items.len() <= MAX_VALUES));
    }
}
