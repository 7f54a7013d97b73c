//! PEFT's `rank_pattern` and `alpha_pattern`: values of single modules, by regular expressions of their paths.

use std::fmt;

use regex::Regex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::error::AdapterError;

/// Values by pattern, in the file's order, in which PEFT tries them.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<(String, f64)>);

impl Patterns {
    /// Compiles the patterns of the field `field`.
    ///
    /// # Errors
    /// [`AdapterError::Pattern`] for an expression that Python has and this crate does not.
    pub(super) fn compile(&self, field: &'static str) -> Result<CompiledPatterns, AdapterError> {
        let compile = |(pattern, value): &(String, f64)| {
            // `re.match(rf"(.*\.)?({key})$", path)` in get_pattern_key:
            // https://github.com/huggingface/peft/blob/v0.21.2/src/peft/utils/other.py
            let regex = Regex::new(&format!(r"^(?:(?:.*\.)?(?:{pattern}))$"));
            let regex = regex.map_err(|_| AdapterError::Pattern { field, pattern: pattern.clone() })?;
            Ok((regex, *value))
        };
        self.0.iter().map(compile).collect::<Result<_, _>>().map(CompiledPatterns)
    }
}

/// Patterns that are ready to match.
#[derive(Debug, Default)]
pub(super) struct CompiledPatterns(Vec<(Regex, f64)>);

impl CompiledPatterns {
    /// The value of the first pattern that matches a module's path.
    pub(super) fn value(&self, module: &str) -> Option<f64> {
        self.0.iter().find(|(regex, _)| regex.is_match(module)).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Patterns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dictionary of numbers by module pattern")
            }

            fn visit_unit<E>(self) -> Result<Patterns, E> {
                Ok(Patterns::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Patterns(entries))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of PEFT 0.21.2's `get_pattern_key` for these patterns and paths.
    #[test]
    fn patterns_match_as_in_peft() {
        let text = r#"{"layers.1.q_proj": 4, "^encoder.layers.0.q_proj": 5, "k_.*": 6, "q_proj|v_proj": 7, "x": 8}"#;
        let patterns = serde_json::from_str::<Patterns>(text).unwrap().compile("rank_pattern").unwrap();
        for (module, expected) in [
            ("encoder.layers.1.q_proj", Some(4.0)),
            ("layers.1.q_proj", Some(4.0)),
            ("encoder.layers.11.q_proj", Some(7.0)),
            ("encoder.layersx1.q_proj", Some(4.0)),
            ("encoder.layers.0.q_proj", Some(5.0)),
            ("hubert.encoder.layers.0.q_proj", Some(7.0)),
            ("a.k_proj", Some(6.0)),
            ("a.xk_proj", None),
            ("a.v_proj", Some(7.0)),
            ("a.v_projx", None),
            ("x", Some(8.0)),
            ("xx", None),
        ] {
            assert_eq!(patterns.value(module), expected, "{module}");
        }
    }

    #[test]
    fn the_first_pattern_of_the_file_counts() {
        for (text, expected) in [(r#"{"q.*": 1, "q_proj": 2}"#, 1.0), (r#"{"q_proj": 2, "q.*": 1}"#, 2.0)] {
            let patterns = serde_json::from_str::<Patterns>(text).unwrap().compile("rank_pattern").unwrap();
            assert_eq!(patterns.value("a.q_proj"), Some(expected));
        }
    }

    #[test]
    fn an_expression_of_python_alone_is_refused() {
        let patterns: Patterns = serde_json::from_str(r#"{"(?=q).*": 2}"#).unwrap();
        let message = patterns.compile("alpha_pattern").unwrap_err().to_string();
        assert!(message.contains("alpha_pattern") && message.contains("(?=q).*"), "{message}");
    }
}
