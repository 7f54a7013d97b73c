//! Which tracks fulfil an expression, as a bitmap. A text is compared once for each different text of a column.

use fixedbitset::FixedBitSet;

use super::syntax::{Comparison, Expression, Operand, Subject};
use crate::Catalogue;
use crate::catalogue::{Column, Value};
use crate::query::Seed;

/// The tracks, removed ones included, of which `expression` is true.
pub(super) fn evaluate(expression: &Expression, catalogue: &Catalogue, seeds: &[&Seed]) -> FixedBitSet {
    match expression {
        Expression::Or(a, b) => {
            let mut rows = evaluate(a, catalogue, seeds);
            rows.union_with(&evaluate(b, catalogue, seeds));
            rows
        }
        Expression::And(a, b) => {
            let mut rows = evaluate(a, catalogue, seeds);
            rows.intersect_with(&evaluate(b, catalogue, seeds));
            rows
        }
        Expression::Not(a) => complement(evaluate(a, catalogue, seeds)),
        Expression::Known(subject) => match subject {
            Subject::Column(name, _) => match catalogue.column(name) {
                Ok(column) => rows(catalogue, |track| column.is_known(track)),
                Err(_) => rows(catalogue, |_| false),
            },
            Subject::File | Subject::Path | Subject::Duration => rows(catalogue, |_| true),
        },
        Expression::Range(subject, from, to) => numbers(subject, catalogue, |number| {
            from.is_none_or(|from| number >= from) && to.is_none_or(|to| number <= to)
        }),
        Expression::In(subject, operands) => equal(subject, catalogue, seeds, operands),
        Expression::Compare(subject, comparison, operand) => {
            let operands = std::slice::from_ref(operand);
            match comparison {
                Comparison::Equal => equal(subject, catalogue, seeds, operands),
                Comparison::NotEqual => complement(equal(subject, catalogue, seeds, operands)),
                Comparison::Contains => {
                    let parts = texts_of(operands, catalogue, seeds);
                    texts(subject, catalogue, |text| parts.iter().any(|part| text.contains(part)))
                }
                Comparison::Less => ordered(subject, catalogue, seeds, operands, |a, b| a < b),
                Comparison::LessOrEqual => ordered(subject, catalogue, seeds, operands, |a, b| a <= b),
                Comparison::Greater => ordered(subject, catalogue, seeds, operands, |a, b| a > b),
                Comparison::GreaterOrEqual => ordered(subject, catalogue, seeds, operands, |a, b| a >= b),
            }
        }
    }
}

/// The values of the seeds: numbers or texts, of those that know them.
pub(super) fn seed_values(subject: &Subject, catalogue: &Catalogue, seeds: &[&Seed]) -> Vec<Value> {
    let value = |seed: &&Seed| match subject {
        Subject::Column(name, _) => seed.known(catalogue, name),
        Subject::Duration => match seed.track() {
            Some(track) => Some(Value::Number(catalogue.track(track).duration)),
            None => seed.duration(catalogue).map(Value::Number),
        },
        Subject::File | Subject::Path => {
            let track = seed.track()?;
            Some(Value::Texts(vec![catalogue.track(track).file.to_string()]))
        }
    };
    seeds.iter().filter_map(value).collect()
}

fn rows(catalogue: &Catalogue, is_in: impl Fn(usize) -> bool) -> FixedBitSet {
    let mut rows = FixedBitSet::with_capacity(catalogue.tracks());
    (0..catalogue.tracks()).filter(|&track| is_in(track)).for_each(|track| rows.insert(track));
    rows
}

fn complement(mut rows: FixedBitSet) -> FixedBitSet {
    rows.toggle_range(..);
    rows
}

/// The tracks one of whose values equals one of `operands`.
fn equal(subject: &Subject, catalogue: &Catalogue, seeds: &[&Seed], operands: &[Operand]) -> FixedBitSet {
    match subject.kind() {
        crate::catalogue::ColumnKind::Number => ordered(subject, catalogue, seeds, operands, |a, b| a == b),
        crate::catalogue::ColumnKind::Text => {
            let values = texts_of(operands, catalogue, seeds);
            if *subject == Subject::Path {
                return rows(catalogue, |track| values.iter().any(|folder| is_in(catalogue.track(track).file, folder)));
            }
            texts(subject, catalogue, |text| values.iter().any(|value| text == value))
        }
    }
}

/// Whether `file` is at the path `folder`, or in it.
fn is_in(file: &str, folder: &str) -> bool {
    let (file, folder) = (file.to_lowercase(), folder.trim_end_matches('/'));
    match file.strip_prefix(folder) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

fn ordered(
    subject: &Subject,
    catalogue: &Catalogue,
    seeds: &[&Seed],
    operands: &[Operand],
    holds: impl Fn(f64, f64) -> bool,
) -> FixedBitSet {
    let mut values = Vec::new();
    for operand in operands {
        match operand {
            Operand::Number(number) => values.push(*number),
            Operand::Text(_) => {}
            Operand::Seed(subject) => {
                values.extend(seed_values(subject, catalogue, seeds).into_iter().filter_map(|value| match value {
                    Value::Number(number) => Some(number),
                    Value::Texts(_) => None,
                }))
            }
        }
    }
    numbers(subject, catalogue, |number| values.iter().any(|&value| holds(number, value)))
}

/// The tracks whose number is known and passes.
fn numbers(subject: &Subject, catalogue: &Catalogue, passes: impl Fn(f64) -> bool) -> FixedBitSet {
    match subject {
        Subject::Duration => rows(catalogue, |track| passes(catalogue.track(track).duration)),
        Subject::Column(name, _) => match catalogue.column(name) {
            Ok(column) => rows(catalogue, |track| column.number(track).is_some_and(&passes)),
            Err(_) => rows(catalogue, |_| false),
        },
        Subject::File | Subject::Path => rows(catalogue, |_| false),
    }
}

/// The tracks one of whose texts, in lower case, passes.
fn texts(subject: &Subject, catalogue: &Catalogue, passes: impl Fn(&str) -> bool) -> FixedBitSet {
    match subject {
        Subject::File | Subject::Path => rows(catalogue, |track| passes(&catalogue.track(track).file.to_lowercase())),
        Subject::Column(name, _) => match catalogue.column(name).as_deref() {
            Ok(Column::Text(texts)) => {
                let passing: Vec<bool> = texts.names().iter().map(|name| passes(&name.to_lowercase())).collect();
                rows(catalogue, |track| texts.codes(track).iter().any(|&code| passing[code as usize]))
            }
            _ => rows(catalogue, |_| false),
        },
        Subject::Duration => rows(catalogue, |_| false),
    }
}

/// The texts of `operands`, in lower case.
fn texts_of(operands: &[Operand], catalogue: &Catalogue, seeds: &[&Seed]) -> Vec<String> {
    let mut texts = Vec::new();
    for operand in operands {
        match operand {
            Operand::Text(text) => texts.push(text.to_lowercase()),
            Operand::Number(number) => texts.push(number.to_string()),
            Operand::Seed(subject) => {
                for value in seed_values(subject, catalogue, seeds) {
                    if let Value::Texts(values) = value {
                        texts.extend(values.iter().map(|text| text.to_lowercase()));
                    }
                }
            }
        }
    }
    texts
}
