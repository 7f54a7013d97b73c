//! The patterns of `--drop`.

use mert_checkpoint::{Listing, TensorOrigin};

/// Whether a `--drop` pattern matches a tensor, by its Hugging Face name or its name in the file, with or without wrapper
/// names.
pub(super) fn is_dropped(listing: &Listing, pattern: &str, name: &str) -> bool {
    let wrapped = listing.wrapped.get(name).map(String::as_str);
    let renamed = listing.renamed.get(name).and_then(TensorOrigin::key);
    [Some(name), wrapped, renamed].into_iter().flatten().any(|name| matches(pattern, name))
}

/// Whether a name matches a pattern: the name itself, or a beginning of it followed by `*`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("head.weight", "head.weight"));
        assert!(!matches("head", "head.weight"));
        assert!(matches("head.*", "head.weight"));
        assert!(!matches("head.*", "heads.weight"));
    }
}
