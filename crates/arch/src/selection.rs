//! The selection of hidden states by options such as `--layers`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A selection of hidden states: `all`, `6`, `-1`, `0,6,12`, `0-12` or a mix such as `0,4-6,-1`.
///
/// Numbers are hidden states: 0 enters the first layer, i is the output of layer i. Negative numbers count from the
/// end, as in Python: -1 is the last hidden state.
///
/// ```
/// use mert_arch::LayerSelection;
///
/// let layers: LayerSelection = "0,4-6,-1".parse()?;
/// assert_eq!(layers.resolve(13)?, [0, 4, 5, 6, 12]);
/// # Ok::<(), mert_arch::SelectionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LayerSelection {
    /// Every hidden state of the model.
    #[default]
    All,
    /// The hidden states with these numbers.
    Some(BTreeSet<i64>),
}

/// An error of a selection that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The text is not a selection.
    #[error("invalid hidden states `{text}`: expected all, 6, -1, 0,6,12 or 0-12")]
    Syntax {
        /// The text.
        text: String,
    },
    /// The model does not return a selected hidden state.
    #[error("hidden state {selected} is not returned: the model returns {}", .available.iter().map(usize::to_string).collect::<Vec<_>>().join(","))]
    NotReturned {
        /// The hidden state of the selection.
        selected: i64,
        /// The hidden states that the model returns.
        available: Vec<usize>,
    },
    /// The model has fewer hidden states.
    #[error("hidden state {selected} does not exist: the model has hidden states 0 to {last} (-1 is the last)")]
    OutOfRange {
        /// The hidden state of the selection.
        selected: i64,
        /// The last hidden state of the model.
        last: usize,
    },
}

impl SelectionError {
    fn syntax(text: &str) -> Self {
        SelectionError::Syntax { text: text.to_string() }
    }

    fn not_returned(selected: i64, available: &[usize]) -> Self {
        SelectionError::NotReturned { selected, available: available.to_vec() }
    }
}

impl LayerSelection {
    /// The selected hidden states of a model that has `count` of them, ascending; never empty.
    ///
    /// # Errors
    /// [`SelectionError::OutOfRange`] if one does not exist.
    pub fn resolve(&self, count: usize) -> Result<Vec<usize>, SelectionError> {
        let LayerSelection::Some(chosen) = self else { return Ok((0..count).collect()) };
        let out_of_range = |selected| SelectionError::OutOfRange { selected, last: count.saturating_sub(1) };
        // In descending order, so that the error names the highest.
        let indices: Result<BTreeSet<usize>, _> =
            chosen.iter().rev().map(|&layer| from_start(layer, count).ok_or_else(|| out_of_range(layer))).collect();
        Ok(indices?.into_iter().collect())
    }

    /// The selected hidden states among those that a model returns, given in ascending order. If it does not return
    /// all, -1 is the last that it returns.
    ///
    /// # Errors
    /// [`SelectionError::NotReturned`] or [`SelectionError::OutOfRange`] if a selected one is not among them.
    pub fn resolve_among(&self, available: &[usize]) -> Result<Vec<usize>, SelectionError> {
        let complete = available.iter().copied().eq(0..available.len());
        match self {
            LayerSelection::All => Ok(available.to_vec()),
            LayerSelection::Some(_) if complete => self.resolve(available.len()),
            LayerSelection::Some(chosen) => {
                let find = |layer: i64| match layer {
                    ..0 => from_start(layer, available.len()).map(|index| available[index]),
                    _ => available.iter().copied().find(|&index| index as i64 == layer),
                };
                let indices: Result<BTreeSet<usize>, _> = chosen
                    .iter()
                    .map(|&layer| find(layer).ok_or_else(|| SelectionError::not_returned(layer, available)))
                    .collect();
                Ok(indices?.into_iter().collect())
            }
        }
    }
}

/// The index of `layer` among `count`; a negative number counts from the end.
fn from_start(layer: i64, count: usize) -> Option<usize> {
    let index = if layer < 0 { layer + count as i64 } else { layer };
    usize::try_from(index).ok().filter(|&index| index < count)
}

impl FromStr for LayerSelection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "all" {
            return Ok(LayerSelection::All);
        }
        // A bound for the ranges that are expanded below; no model has more layers.
        const MAX: i64 = 1 << 12;
        let number = |part: &str| {
            part.trim().parse::<i64>().ok().filter(|n| n.abs() < MAX).ok_or_else(|| SelectionError::syntax(text))
        };
        let mut chosen = BTreeSet::new();
        for part in text.split(',').map(str::trim) {
            // The first character may be a minus sign.
            let dash = part.char_indices().skip(1).find(|&(_, c)| c == '-').map(|(index, _)| index);
            let (first, last) = match dash {
                Some(dash) => (number(&part[..dash])?, number(&part[dash + 1..])?),
                None => (number(part)?, number(part)?),
            };
            // The length of a range from 0 to -1 depends on the model.
            if first > last || (first < 0) != (last < 0) {
                return Err(SelectionError::syntax(text));
            }
            chosen.extend(first..=last);
        }
        Ok(LayerSelection::Some(chosen))
    }
}

impl fmt::Display for LayerSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerSelection::All => f.write_str("all"),
            LayerSelection::Some(chosen) => {
                let names: Vec<_> = chosen.iter().map(i64::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Vec<usize>, SelectionError> {
        text.parse::<LayerSelection>()?.resolve(13)
    }

    #[test]
    fn every_form() {
        assert_eq!(resolve("all").unwrap(), (0..13).collect::<Vec<_>>());
        assert_eq!(resolve("6").unwrap(), [6]);
        assert_eq!(resolve("12, 0,6").unwrap(), [0, 6, 12]);
        assert_eq!(resolve("0-12").unwrap().len(), 13);
        assert_eq!(resolve("0,4-6,5").unwrap(), [0, 4, 5, 6]);
        assert_eq!(resolve("-1").unwrap(), [12]);
        assert_eq!(resolve("-3--1, 0,12").unwrap(), [0, 10, 11, 12]);
    }

    #[test]
    fn negative_numbers_count_from_the_last_returned_state() {
        let among = |text: &str, available: &[usize]| text.parse::<LayerSelection>()?.resolve_among(available);
        assert_eq!(among("-1", &[0, 6]).unwrap(), [6]);
        assert_eq!(among("-2,6", &[0, 6]).unwrap(), [0, 6]);
        assert_eq!(among("-1", &[0, 1, 2]).unwrap(), [2]);
        assert!(matches!(among("-3", &[0, 6]), Err(SelectionError::NotReturned { selected: -3, .. })));
        assert!(matches!(among("5", &[0, 6]), Err(SelectionError::NotReturned { selected: 5, .. })));
    }

    #[test]
    fn invalid_selections_are_refused() {
        for text in ["", "-", "x", "1,", "--1", "5-3", "1-2-3", "0--1", "-1-3", "99999999999999999999", "0-4000000000"]
        {
            assert!(matches!(resolve(text), Err(SelectionError::Syntax { .. })), "{text}");
        }
        assert_eq!(resolve("13"), Err(SelectionError::OutOfRange { selected: 13, last: 12 }));
        assert_eq!(resolve("-14"), Err(SelectionError::OutOfRange { selected: -14, last: 12 }));
    }
}
