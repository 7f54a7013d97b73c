//! Counts in messages, with their nouns in the singular or the plural, and sizes.

/// The number of things with its English noun: `1 track`, `2 tracks`, `0 entries`.
///
/// `noun` is the singular; its last word becomes the plural by the regular rules.
///
/// ```
/// assert_eq!(mert_search::count(1, "track"), "1 track");
/// assert_eq!(mert_search::count(3, "removed track"), "3 removed tracks");
/// ```
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    let vowels = ['a', 'e', 'i', 'o', 'u'];
    let plural = match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(vowels) => format!("{stem}ies"),
        _ if ["s", "x", "ch", "sh"].iter().any(|end| noun.ends_with(end)) => format!("{noun}es"),
        _ => format!("{noun}s"),
    };
    format!("{number} {plural}")
}

/// A number of bytes as text, in decimal units: `512 bytes`, `3.4 kB`, `12.0 MB`, `1.5 GB`.
///
/// ```
/// assert_eq!(mert_search::size(3_400), "3.4 kB");
/// ```
pub fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 1_000 => count(bytes as usize, "byte"),
        bytes if bytes < 1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        bytes if bytes < 1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        bytes => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// `is` after one thing, `are` after any other number of things.
pub fn is_or_are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_agree_with_their_numbers() {
        let cases = [
            (0, "track", "0 tracks"),
            (1, "track", "1 track"),
            (2, "track", "2 tracks"),
            (1, "entry", "1 entry"),
            (5, "query", "5 queries"),
            (2, "day", "2 days"),
            (2, "pass", "2 passes"),
            (2, "box", "2 boxes"),
            (2, "branch", "2 branches"),
        ];
        for (number, noun, expected) in cases {
            assert_eq!(count(number, noun), expected);
        }
        assert_eq!([0, 1, 2].map(is_or_are), ["are", "is", "are"]);
        let sizes = [0, 1, 999, 1_000, 2_000_000, 12_300_000_000].map(size);
        assert_eq!(sizes, ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "2.0 MB", "12.3 GB"]);
    }
}
