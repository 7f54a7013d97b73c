//! The most similar name, which messages about missing and unexpected tensors suggest.

use mert_arch::printable_line;

/// The candidate nearest to `name` by edit distance, unless even that one is mostly different.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.5)
        .map(|(_, candidate)| printable_line(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_letter_is_found_and_a_different_name_is_not() {
        let names = ["encoder.layer_norm.weight", "encoder.layer_norm.bias"];
        assert_eq!(nearest("encoder.layer_nrom.weight", names.into_iter()).as_deref(), Some(names[0]));
        assert_eq!(nearest("x", names.into_iter()), None);
    }
}
