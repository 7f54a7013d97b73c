//! The patterns of `--drop`.

use mert_checkpoint::Listing;

/// Whether a `--drop` pattern matches a tensor, by its name with or without wrapper names.
pub(super) fn is_dropped(listing: &Listing, pattern: &str, name: &str) -> bool {
    matches(pattern, name) || listing.wrapped.get(name).is_some_and(|original| matches(pattern, original))
}

/// Whether a name matches a pattern: the name itself, or a beginning of it followed by `*`.
fn matches(pattern: &str, name: &str) -> bool {
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
