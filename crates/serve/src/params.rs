//! The parameters of a query. A parameter that a route does not have is an error of this API, so that a slip of the pen
//! does not pass for an option; other players' protocols ignore it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use mert_search::excerpt;

use crate::api::ApiError;

/// The names and values of a query, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// The parameters of `query`, all of which must be among `known`.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let params = Params::parse_any(query);
        match params.pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(ApiError::invalid(format!(
                "there is no parameter `{}` here; there are {}",
                excerpt(name),
                if known.is_empty() { "none".to_string() } else { known.join(", ") }
            ))),
            None => Ok(params),
        }
    }

    /// The parameters of `query`, whatever they are.
    pub(crate) fn parse_any(query: Option<&str>) -> Self {
        Params { pairs: form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect() }
    }

    /// The values of a parameter in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter; the first if it is given several times, none if it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(other, _)| other == name);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be given.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| ApiError::invalid(format!("the parameter `{name}` is missing")))
    }

    /// A number within `range`.
    pub(crate) fn number<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, ApiError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<T>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::invalid(format!(
                "invalid {name}={}: expected a number from {} to {}",
                excerpt(text),
                range.start(),
                range.end()
            ))),
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(text) => Err(ApiError::invalid(format!("invalid {name}={}: expected true or false", excerpt(text)))),
        }
    }

    /// The number of the generation that track numbers are of.
    pub(crate) fn generation(&self) -> Result<Option<u64>, ApiError> {
        self.number("generation", 0..=u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_and_values_out_of_range_are_errors_that_name_them() {
        let error = Params::parse(Some("sead=1"), &["seed"]).unwrap_err();
        assert!(error.message().contains("`sead`") && error.message().contains("seed"), "{}", error.message());
        let params =
            Params::parse(Some("top=0&variety=x&csls=maybe&q=a%20b+c%ff&q=d"), &["top", "variety", "csls", "q"]);
        let params = params.unwrap();
        assert_eq!(params.text("q"), Some("a b c\u{fffd}"));
        assert_eq!(params.all("q").count(), 2);
        assert!(params.number("top", 1..=100).unwrap_err().message().contains("top=0"));
        assert!(params.number("variety", 0.0..=1.0).is_err() && params.flag("csls").is_err());
        assert_eq!(params.number::<usize>("none", 1..=100).unwrap(), None);
    }
}
