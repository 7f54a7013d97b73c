//! The tree of a filter.

use crate::Catalogue;
use crate::catalogue::ColumnKind;
use crate::excerpt;
use crate::filter::nearest;

/// A filter's expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// Either is true.
    Or(Box<Expression>, Box<Expression>),
    /// Both are true.
    And(Box<Expression>, Box<Expression>),
    /// It is not true.
    Not(Box<Expression>),
    /// A comparison with a value.
    Compare(Subject, Comparison, Operand),
    /// A number from the one to the other, both included; an end that is `None` is open.
    Range(Subject, Option<f64>, Option<f64>),
    /// One of several values.
    In(Subject, Vec<Operand>),
    /// Something is known.
    Known(Subject),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `~`: contains the text, without case.
    Contains,
}

/// What is tested: a column of the catalogue, or what every track has.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A column of metadata, with the kind of its values.
    Column(String, ColumnKind),
    /// The escaped path of the file.
    File,
    /// A folder that the file is in, or the file itself.
    Path,
    /// The length in seconds.
    Duration,
}

/// What a subject is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// The values of the seeds.
    Seed(Subject),
}

impl Subject {
    /// The subject of a name.
    ///
    /// # Errors
    /// The reason, if the catalogue has no such column.
    pub(crate) fn named(catalogue: &Catalogue, name: &str) -> Result<Subject, String> {
        if let Ok(column) = catalogue.column(name) {
            return Ok(Subject::Column(name.to_string(), column.kind()));
        }
        match name {
            "file" => return Ok(Subject::File),
            "path" => return Ok(Subject::Path),
            "duration" => return Ok(Subject::Duration),
            _ => {}
        }
        let lower = name.to_lowercase();
        if let Some(other) = catalogue.column_names().find(|other| other.to_lowercase() == lower) {
            return Subject::named(catalogue, other);
        }
        let mut names: Vec<&str> = catalogue.column_names().chain(["file", "path", "duration"]).collect();
        let shown = excerpt(name);
        Err(match nearest(name, names.iter().copied()) {
            Some(near) => format!("the catalogue has no column `{shown}`; the nearest is `{near}`"),
            None => {
                names.sort_unstable();
                format!("the catalogue has no column `{shown}`; it has {}", names.join(", "))
            }
        })
    }

    /// The name in expressions.
    pub fn name(&self) -> &str {
        match self {
            Subject::Column(name, _) => name,
            Subject::File => "file",
            Subject::Path => "path",
            Subject::Duration => "duration",
        }
    }

    /// The kind of the values.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Subject::Column(_, kind) => *kind,
            Subject::File | Subject::Path => ColumnKind::Text,
            Subject::Duration => ColumnKind::Number,
        }
    }
}

impl Expression {
    /// Calls `visit` with each operand.
    pub(super) fn for_each_operand(&self, visit: &mut impl FnMut(&Operand)) {
        match self {
            Expression::Or(a, b) | Expression::And(a, b) => {
                a.for_each_operand(visit);
                b.for_each_operand(visit);
            }
            Expression::Not(a) => a.for_each_operand(visit),
            Expression::Compare(_, _, operand) => visit(operand),
            Expression::In(_, operands) => operands.iter().for_each(visit),
            Expression::Range(..) | Expression::Known(_) => {}
        }
    }
}
