//! Arguments that are words, parsed as the commands parse their options.

use std::fmt::Display;
use std::str::FromStr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The value that `text` means.
///
/// # Errors
/// `ValueError` naming the argument, with the reason of the parser.
pub(crate) fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> PyResult<T> {
    text.parse().map_err(|reason| PyValueError::new_err(format!("{name}: {reason}")))
}

/// The value that `text` means, if there is one.
///
/// # Errors
/// Those of [`parse`].
pub(crate) fn parse_some<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> PyResult<Option<T>> {
    text.map(|text| parse(name, text)).transpose()
}
