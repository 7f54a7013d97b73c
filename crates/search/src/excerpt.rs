//! Excerpts of inputs for messages: an error must not repeat a megabyte of what was given.

/// The most characters of an excerpt.
const MOST: usize = 160;

/// A text as messages quote it: on one line, and beyond 160 characters its beginning with the number of characters left out.
///
/// ```
/// assert_eq!(mert_search::excerpt("a\nb"), "a b");
/// assert_eq!(mert_search::excerpt(&"(".repeat(100_000)).chars().count(), 160 + "… (99840 more characters)".chars().count());
/// ```
pub fn excerpt(text: &str) -> String {
    let line = |text: &str| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() };
    match text.char_indices().nth(MOST) {
        None => line(text),
        Some((end, _)) => format!("{}… ({} more characters)", line(&text[..end]), text[end..].chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        let long = excerpt(&"音".repeat(170));
        assert!(long.starts_with(&"音".repeat(160)) && long.ends_with("… (10 more characters)"), "{long}");
    }
}
