//! A parser of option values with fixed names.

use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A parser of values with fixed names, which clap lists in the help text and in errors.
pub(super) fn one_of<T: FromStr<Err = String> + Clone + Send + Sync + 'static>(
    names: Vec<&'static str>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}
