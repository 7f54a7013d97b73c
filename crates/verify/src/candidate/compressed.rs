//! The compressed weights of a Core ML package, by the forms in which they are stored.

use std::collections::BTreeMap;
use std::fmt;

use mert_arch::Dtype;

/// The forms of a model's compressed weights, such as `int8 per channel`, each with the number of weights that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressedWeights {
    forms: BTreeMap<String, usize>,
}

impl CompressedWeights {
    /// The forms of weights; `None` if there are no weights.
    pub(crate) fn new<'a>(forms: impl IntoIterator<Item = &'a String>) -> Option<Self> {
        let mut counts = BTreeMap::new();
        for form in forms {
            *counts.entry(form.clone()).or_default() += 1;
        }
        (!counts.is_empty()).then_some(CompressedWeights { forms: counts })
    }

    /// The name of the array of a reference that holds the hidden states with the values that these weights stand for, after
    /// the form of most of them: `hidden_states_f16_int8_per_channel`. A single weight of another form, by mistake, is then
    /// judged like the rest.
    pub fn array_name(&self, float: Dtype) -> String {
        let most = self.forms.iter().max_by_key(|(_, count)| **count).map_or("", |(form, _)| form);
        format!("hidden_states_{float}_{}", most.replace(|c: char| !c.is_alphanumeric(), "_"))
    }
}

impl fmt::Display for CompressedWeights {
    /// Formats as `72 × int8 per channel`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms: Vec<String> = self.forms.iter().map(|(form, count)| format!("{count} × {form}")).collect();
        f.write_str(&forms.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_reports_and_references() {
        let forms = ["int8 per channel", "int4 in blocks of 32", "int8 per channel"].map(str::to_string);
        let weights = CompressedWeights::new(&forms[..1]).unwrap();
        assert_eq!(weights.to_string(), "1 × int8 per channel");
        assert_eq!(weights.array_name(Dtype::F16), "hidden_states_f16_int8_per_channel");
        let weights = CompressedWeights::new(&forms).unwrap();
        assert_eq!(weights.to_string(), "1 × int4 in blocks of 32, 2 × int8 per channel");
        assert_eq!(weights.array_name(Dtype::F16), "hidden_states_f16_int8_per_channel");
        assert_eq!(CompressedWeights::new(&[]), None);
    }
}
