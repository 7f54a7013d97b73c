//! Patterns of tensor names: literal text, `{i}` for an index, and a `*` at the end for the rest.

/// The parts of a name that a pattern leaves open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Captures<'n> {
    /// The digits in place of `{i}`.
    index: Option<&'n str>,
    /// The text in place of the `*`.
    rest: Option<&'n str>,
}

/// Matches a whole name. An index has digits only; a `*` stands for at least one character.
pub(super) fn captures<'n>(pattern: &str, name: &'n str) -> Option<Captures<'n>> {
    let (body, is_open) = match pattern.strip_suffix('*') {
        Some(body) => (body, true),
        None => (pattern, false),
    };
    let (index, rest) = match body.split_once("{i}") {
        None => (None, name.strip_prefix(body)?),
        Some((before, after)) => {
            let name = name.strip_prefix(before)?;
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let (index, name) = name.split_at_checked(digits).filter(|(index, _)| !index.is_empty())?;
            (Some(index), name.strip_prefix(after)?)
        }
    };
    match (is_open, rest.is_empty()) {
        (true, false) => Some(Captures { index, rest: Some(rest) }),
        (false, true) => Some(Captures { index, rest: None }),
        _ => None,
    }
}

/// The name that a pattern gives for these captures.
pub(super) fn fill(pattern: &str, captures: &Captures<'_>) -> String {
    let name = match captures.index {
        Some(index) => pattern.replacen("{i}", index, 1),
        None => pattern.to_string(),
    };
    match (name.strip_suffix('*'), captures.rest) {
        (Some(body), Some(rest)) => format!("{body}{rest}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_a_whole() {
        let renamed = |name| Some(fill("b{i}:*", &captures("a.{i}.c.*", name)?));
        assert_eq!(renamed("a.12.c.weight").unwrap(), "b12:weight");
        assert_eq!(renamed("a.0.c.d.weight").unwrap(), "b0:d.weight");
        for name in ["a.12.c.", "a..c.weight", "a.x.c.weight", "xa.1.c.weight", "a.1.cc.weight", "", "a.1", "a.1é.c.d"]
        {
            assert_eq!(renamed(name), None, "{name}");
        }
        assert!(captures("mask_emb", "mask_emb").is_some());
        assert!(captures("mask_emb", "mask_emb.weight").is_none());
    }
}
