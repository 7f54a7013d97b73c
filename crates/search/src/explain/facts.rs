//! What is known of the seeds and of a hit: facts beside the score, which are not its causes.

use serde::{Deserialize, Serialize};

use crate::catalogue::Value;
use crate::query::Seeds;
use crate::{Catalogue, Result};

/// The columns that are shown unless others are asked for, where the catalogue has them.
const USUAL: [&str; 10] = ["title", "artist", "album", "genre", "year", "bpm", "key", "loudness", "mood", "language"];

/// What is known in one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// The column.
    pub column: String,
    /// The values of each seed; empty if they are unknown.
    pub seeds: Vec<Vec<FactValue>>,
    /// The values of the hit; empty if they are unknown.
    pub hit: Vec<FactValue>,
}

/// A number or a text that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FactValue {
    /// A finite number, in the column's unit; of `duration` in seconds.
    Number(f64),
    /// A text, or a number that is not finite, which JSON does not have.
    Text(String),
}

/// The facts in `columns`, or in the usual columns if there are none.
pub(super) fn facts(catalogue: &Catalogue, seeds: &Seeds<'_>, track: usize, columns: &[String]) -> Result<Vec<Fact>> {
    let has = |column: &&str| catalogue.column_names().any(|name| name == *column);
    let columns: Vec<String> = match columns {
        [] => USUAL.iter().filter(|column| has(column)).map(ToString::to_string).collect(),
        columns => columns.to_vec(),
    };
    let mut facts = Vec::with_capacity(columns.len() + 1);
    for name in columns {
        // It stands below in any case.
        if name == "duration" && !has(&name.as_str()) {
            continue;
        }
        let column = catalogue.column(&name)?;
        let hit = match column.number(track) {
            Some(number) => vec![FactValue::of(number)],
            None => column.texts(track).map(|text| FactValue::Text(text.to_string())).collect(),
        };
        let known = |seed: &crate::query::Seed| values(seed.known(catalogue, &name));
        facts.push(Fact { seeds: seeds.seeds.iter().map(|(seed, _)| known(seed)).collect(), column: name, hit });
    }
    let seconds = |seconds: f64| vec![FactValue::of(seconds)];
    let duration = |seed: &crate::query::Seed| match seed.track() {
        Some(track) => seconds(catalogue.track(track).duration),
        None => seed.duration(catalogue).map(seconds).unwrap_or_default(),
    };
    facts.push(Fact {
        column: "duration".into(),
        seeds: seeds.seeds.iter().map(|(seed, _)| duration(seed)).collect(),
        hit: seconds(catalogue.track(track).duration),
    });
    Ok(facts)
}

impl FactValue {
    fn of(number: f64) -> Self {
        if number.is_finite() { FactValue::Number(number) } else { FactValue::Text(number.to_string()) }
    }
}

fn values(value: Option<Value>) -> Vec<FactValue> {
    match value {
        Some(Value::Number(number)) => vec![FactValue::of(number)],
        Some(Value::Texts(texts)) => texts.into_iter().map(FactValue::Text).collect(),
        None => Vec::new(),
    }
}
