//! Filters: expressions over what is known of tracks, such as `bpm 90..110 and language != de and artist != seed.artist`.
//!
//! ```text
//! expression = term { "or" term }            term = factor { "and" factor }
//! factor     = "not" factor | "(" expression ")" | test
//! test       = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" ) value
//!            | column [ "in" ] range          range = number ".." number, with either end left out
//!            | column [ "not" ] "in" "(" value { "," value } ")"
//!            | column "is" [ "not" ] ( "known" | "unknown" )
//! value      = number | word | "quoted text" | "seed." column
//! ```
//!
//! A test is true or false for each track, also where nothing is known: an unknown value equals nothing, is in no range and
//! contains nothing, so that `!=` is true of it and every other test of a value is false. `not` turns a test around.

mod evaluate;
mod lexer;
mod nearest;
mod parser;
mod syntax;

use fixedbitset::FixedBitSet;

pub use self::syntax::{Comparison, Expression, Operand, Subject};
use crate::query::Seed;
use crate::{Catalogue, Result, SearchError};

pub(crate) use self::nearest::nearest;

/// A filter over the columns of a catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    expression: Expression,
}

impl Filter {
    /// Reads a filter over the columns of `catalogue`.
    ///
    /// # Errors
    /// [`SearchError::Query`] with the text, a mark below the place, what was expected and what was found.
    pub fn parse(catalogue: &Catalogue, text: &str) -> Result<Self> {
        let columns = |name: &str| syntax::Subject::named(catalogue, name);
        match parser::parse(text, &columns) {
            Ok(expression) => Ok(Filter { expression }),
            Err(fault) => Err(SearchError::Query(fault.message(text))),
        }
    }

    /// The expression.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// The live tracks that fulfil the filter, given the seeds whose values `seed.` stands for.
    pub fn rows(&self, catalogue: &Catalogue, seeds: &[&Seed]) -> FixedBitSet {
        let mut rows = evaluate::evaluate(&self.expression, catalogue, seeds);
        rows.intersect_with(catalogue.live());
        rows
    }

    /// The columns after `seed.` that are unknown for all seeds.
    pub fn unknown_of_seeds(&self, catalogue: &Catalogue, seeds: &[&Seed]) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        self.expression.for_each_operand(&mut |operand| {
            if let Operand::Seed(subject) = operand
                && evaluate::seed_values(subject, catalogue, seeds).is_empty()
                && !columns.iter().any(|column| column == subject.name())
            {
                columns.push(subject.name().to_string());
            }
        });
        columns
    }
}

#[cfg(test)]
mod tests;
