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
    /// The value of each seed; empty if it is unknown.
    pub seeds: Vec<Vec<String>>,
    /// The value of the hit; empty if it is unknown.
    pub hit: Vec<String>,
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
            Some(number) => vec![number.to_string()],
            None => column.texts(track).map(ToString::to_string).collect(),
        };
        let known = |seed: &crate::query::Seed| texts(seed.known(catalogue, &name));
        facts.push(Fact { seeds: seeds.seeds.iter().map(|(seed, _)| known(seed)).collect(), column: name, hit });
    }
    let seconds = |seconds: f64| vec![format!("{seconds:.1}")];
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

fn texts(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::Number(number)) => vec![number.to_string()],
        Some(Value::Texts(texts)) => texts,
        None => Vec::new(),
    }
}
