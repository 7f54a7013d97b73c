//! The access token, in a type of its own so that it is not printed by accident.

use std::fmt;

/// A secret that [`fmt::Debug`] does not show.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token without the white space around it. `None` if it is empty or not of printable ASCII characters.
    pub fn new(token: &str) -> Option<Token> {
        let token = token.trim();
        let legal = !token.is_empty() && token.bytes().all(|c| c.is_ascii_graphic());
        legal.then(|| Token(token.to_string()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
