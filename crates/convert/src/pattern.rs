//! Patterns of tensor names in options.

/// Whether a name matches a `--drop` pattern: the name itself, or a beginning of it followed by `*`.
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
