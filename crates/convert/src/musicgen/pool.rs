//! The tensors of one part of a model by name, which steps use up, and the problems on the way.

use std::collections::BTreeMap;

use mert_arch::printable_line;
use mert_checkpoint::{SourceDtype, nearest};

use super::error::MusicgenProblem;
use super::tensors::Found;
use crate::Problem;
use crate::plan::Dropped;

/// Tensors by the names that the model has for them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) found: BTreeMap<String, Found>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) problems: Vec<MusicgenProblem>,
}

impl Pool {
    pub(super) fn new(found: BTreeMap<String, Found>) -> Self {
        Pool { found, ..Pool::default() }
    }

    /// Takes a tensor of this shape and a float type out of the pool. `shown` is its name in the file, for a message.
    pub(super) fn take(&mut self, name: &str, shown: &str, shape: &[usize]) -> Option<Found> {
        let Some(found) = self.found.remove(name) else {
            let (name, expected) = (shown.to_string(), shape.to_vec());
            self.problems.push(Problem::Missing { name, expected, nearest: None }.into());
            return None;
        };
        let name = found.key.clone();
        if let SourceDtype::Other(dtype) = &found.info.dtype {
            self.problems.push(Problem::Dtype { name, found: dtype.clone() }.into());
            return None;
        }
        if found.info.shape != shape {
            let (found, expected) = (found.info.shape.clone(), shape.to_vec());
            self.problems.push(Problem::Shape { name, found, expected, hint: "" }.into());
            return None;
        }
        Some(found)
    }

    /// Leaves out what is left for the reason that `reason` gives by name; what has none is a problem.
    pub(super) fn account_for(&mut self, expected: &[String], reason: impl Fn(&str) -> Option<&'static str>) {
        for (name, found) in std::mem::take(&mut self.found) {
            match reason(&name) {
                Some(reason) => {
                    self.dropped.push(Dropped { name: printable_line(&found.key), reason: reason.to_string() });
                }
                None => self.problems.push(unexpected(&found.key, &name, &found.info.shape, expected)),
            }
        }
    }
}

/// The problem of a tensor that the model does not have. `name` is its key without prefixes.
pub(super) fn unexpected(key: &str, name: &str, shape: &[usize], expected: &[String]) -> MusicgenProblem {
    let nearest = nearest(name, expected.iter().map(String::as_str));
    MusicgenProblem::Unexpected { name: key.to_string(), found: shape.to_vec(), nearest }
}
