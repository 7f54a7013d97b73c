use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Which hidden states are asked for: `all`, `6`, `0,6,12`, `0-12` or a mix such as `0,4-6`.
///
/// Numbers are hidden states: 0 enters the first layer, i is the output of layer i.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LayerSelection {
    /// Every hidden state of the model.
    #[default]
    All,
    /// These.
    Some(BTreeSet<usize>),
}

/// Why a selection cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The text is not a selection.
    #[error("`{text}` is not a choice of hidden states: expected `all`, `6`, `0,6,12` or `0-12`")]
    Syntax {
        /// The text.
        text: String,
    },
    /// The model does not return them.
    #[error("hidden state {asked} is not returned: the model returns {}", .available.iter().map(usize::to_string).collect::<Vec<_>>().join(","))]
    NotReturned {
        /// One asked for.
        asked: usize,
        /// Those that it returns.
        available: Vec<usize>,
    },
    /// The model has fewer hidden states.
    #[error("hidden state {asked} does not exist: the model has hidden states 0 to {last}")]
    OutOfRange {
        /// The highest one asked for.
        asked: usize,
        /// The highest one there is.
        last: usize,
    },
}

impl LayerSelection {
    /// The chosen hidden states of a model that has `count` of them, ascending; never empty.
    ///
    /// # Errors
    /// [`SelectionError::OutOfRange`] if one does not exist.
    pub fn resolve(&self, count: usize) -> Result<Vec<usize>, SelectionError> {
        match self {
            LayerSelection::All => Ok((0..count).collect()),
            LayerSelection::Some(chosen) => match chosen.last() {
                Some(&asked) if asked >= count => {
                    Err(SelectionError::OutOfRange { asked, last: count.saturating_sub(1) })
                }
                _ => Ok(chosen.iter().copied().collect()),
            },
        }
    }
}

impl LayerSelection {
    /// The chosen ones of the hidden states that a model returns, given ascending.
    ///
    /// # Errors
    /// [`SelectionError::NotReturned`] or [`SelectionError::OutOfRange`] if one is not among them.
    pub fn resolve_among(&self, available: &[usize]) -> Result<Vec<usize>, SelectionError> {
        let complete = available.iter().copied().eq(0..available.len());
        match self {
            LayerSelection::All => Ok(available.to_vec()),
            LayerSelection::Some(_) if complete => self.resolve(available.len()),
            LayerSelection::Some(chosen) => match chosen.iter().find(|layer| !available.contains(layer)) {
                Some(&asked) => Err(SelectionError::NotReturned { asked, available: available.to_vec() }),
                None => Ok(chosen.iter().copied().collect()),
            },
        }
    }
}

impl FromStr for LayerSelection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "all" {
            return Ok(LayerSelection::All);
        }
        // A range is written out below; no model has more layers than this.
        const MAX: usize = 1 << 12;
        let syntax = || SelectionError::Syntax { text: text.to_string() };
        let number = |part: &str| part.trim().parse::<usize>().ok().filter(|&n| n < MAX).ok_or_else(syntax);
        let mut chosen = BTreeSet::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(syntax());
                    }
                    chosen.extend(first..=last);
                }
                None => {
                    chosen.insert(number(part)?);
                }
            }
        }
        Ok(LayerSelection::Some(chosen))
    }
}

impl fmt::Display for LayerSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerSelection::All => f.write_str("all"),
            LayerSelection::Some(chosen) => {
                let names: Vec<_> = chosen.iter().map(usize::to_string).collect();
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
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "1,", "-1", "5-3", "1-2-3", "99999999999999999999", "0-4000000000"] {
            assert!(matches!(resolve(text), Err(SelectionError::Syntax { .. })), "{text}");
        }
        assert_eq!(resolve("13"), Err(SelectionError::OutOfRange { asked: 13, last: 12 }));
    }
}
