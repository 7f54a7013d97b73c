//! Unique names for the suites and cases of a JUnit report, because readers merge cases of the same name.

use std::collections::HashMap;

/// Names in use. A repeated one is made unique by appending a number.
#[derive(Default)]
pub(super) struct Unique {
    uses: HashMap<String, usize>,
}

impl Unique {
    /// Returns the text or, if it is in use, the text with the first number that makes it unique.
    pub(super) fn name(&mut self, text: String) -> String {
        let mut n = self.uses.get(&text).copied().unwrap_or(0) + 1;
        let mut name = if n == 1 { text.clone() } else { format!("{text} ({n})") };
        while n > 1 && self.uses.contains_key(&name) {
            n += 1;
            name = format!("{text} ({n})");
        }
        self.uses.insert(text, n);
        self.uses.entry(name.clone()).or_insert(1);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let mut unique = Unique::default();
        let names = ["a", "a (2)", "a", "a", "b", "a (2)"].map(|name| unique.name(name.into()));
        assert_eq!(names, ["a", "a (2)", "a (3)", "a (4)", "b", "a (2) (2)"]);
    }
}
