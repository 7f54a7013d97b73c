//! Tables of names: rows of two patterns, read in both directions.

use super::pattern::{captures, fill};

/// A pattern of Hugging Face names beside that of another implementation: literal text, `{i}` for an index, and a `*` at
/// the end for the rest of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The Hugging Face names.
    pub hugging_face: &'static str,
    /// The other implementation's names.
    pub other: &'static str,
    /// Which third of the other tensor it is, along the first axis, if three tensors are stacked in one there.
    pub third: Option<usize>,
}

impl Row {
    /// A row of names for the same tensor.
    pub const fn new(hugging_face: &'static str, other: &'static str) -> Self {
        Row { hugging_face, other, third: None }
    }

    /// A row of a tensor that is a third of the other one.
    pub const fn third(hugging_face: &'static str, other: &'static str, third: usize) -> Self {
        Row { hugging_face, other, third: Some(third) }
    }
}

/// The name of a tensor in another implementation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherName {
    /// The name there.
    pub name: String,
    /// The third of that tensor, along the first axis, if it holds two more.
    pub third: Option<usize>,
}

/// The Hugging Face names of another implementation's tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HuggingFaceNames {
    /// The tensor is one tensor there, too.
    One(String),
    /// The tensor is three, stacked along the first axis in this order.
    Thirds([String; 3]),
}

/// The names of an implementation beside the Hugging Face names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTable {
    rows: Vec<Row>,
}

impl NameTable {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        NameTable { rows }
    }

    /// The Hugging Face names of the other implementation's tensor; `None` if the table has no row for it.
    pub fn to_hugging_face(&self, name: &str) -> Option<HuggingFaceNames> {
        let mut found = self.rows.iter().filter_map(|row| Some((row, captures(row.other, name)?)));
        let (row, first) = found.next()?;
        if row.third.is_none() {
            return Some(HuggingFaceNames::One(fill(row.hugging_face, &first)));
        }
        let mut thirds: [String; 3] = Default::default();
        for (row, captures) in std::iter::once((row, first)).chain(found) {
            if let Some(third) = row.third.and_then(|third| thirds.get_mut(third)) {
                *third = fill(row.hugging_face, &captures);
            }
        }
        Some(HuggingFaceNames::Thirds(thirds))
    }

    /// The other implementation's name of a Hugging Face tensor; `None` if the table has no row for it.
    pub fn from_hugging_face(&self, name: &str) -> Option<OtherName> {
        self.rows.iter().find_map(|row| {
            let captures = captures(row.hugging_face, name)?;
            Some(OtherName { name: fill(row.other, &captures), third: row.third })
        })
    }
}
