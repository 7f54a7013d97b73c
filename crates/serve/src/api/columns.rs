//! `GET /columns`: what can be filtered by. `GET /columns/{name}`: a column as a whole, which the map is coloured by.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use mert_search::Column;
use serde::Serialize;

use super::{ApiError, ApiResult, blocking};
use crate::params::Params;
use crate::segment::Segment;
use crate::snapshot::Snapshot;
use crate::state::State;

/// The most texts of a column that are listed, the most frequent first.
const MOST: usize = 200;

/// All columns.
#[derive(Debug, Serialize)]
pub(super) struct Columns {
    generation: u64,
    columns: Vec<Summary>,
}

/// What a column holds, over the live tracks.
#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    /// The tracks for which it is known.
    known: usize,
    /// The tracks for which it is not.
    unknown: usize,
    #[serde(flatten)]
    values: Values,
}

/// The values of a column.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Values {
    /// Numbers: the smallest and the largest.
    Number { min: Option<f64>, max: Option<f64> },
    /// Texts: how many there are, and the most frequent ones with the number of their tracks.
    Text { distinct: usize, values: Vec<(String, usize)> },
}

pub(super) async fn columns(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Columns>> {
    Params::parse(query.as_deref(), &[])?;
    let columns = blocking(&state, |snapshot| {
        let summary = |name: &str| Ok(summarize(snapshot, name, &*snapshot.catalogue.column(name)?));
        let columns = snapshot.catalogue.column_names().map(summary).collect::<ApiResult<_>>()?;
        Ok(Columns { generation: snapshot.generation(), columns })
    });
    Ok(Json(columns.await?))
}

fn summarize(snapshot: &Snapshot, name: &str, column: &Column) -> Summary {
    let live = snapshot.catalogue.live();
    let known = live.ones().filter(|&track| column.is_known(track)).count();
    let values = match column {
        Column::Number(_) => {
            let numbers = || live.ones().filter_map(|track| column.number(track)).filter(|number| number.is_finite());
            Values::Number { min: numbers().reduce(f64::min), max: numbers().reduce(f64::max) }
        }
        Column::Text(_) => {
            let mut counts: HashMap<&str, usize> = HashMap::new();
            for text in live.ones().flat_map(|track| column.texts(track)) {
                *counts.entry(text).or_default() += 1;
            }
            let distinct = counts.len();
            let mut values: Vec<(String, usize)> =
                counts.into_iter().map(|(text, count)| (text.to_string(), count)).collect();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            values.truncate(MOST);
            Values::Text { distinct, values }
        }
    };
    Summary { name: name.to_string(), known, unknown: live.count_ones(..) - known, values }
}

/// A value for each track, removed ones included.
#[derive(Debug, Serialize)]
pub(super) struct Whole {
    generation: u64,
    name: String,
    #[serde(flatten)]
    values: WholeValues,
}

/// The values of a column for each track.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum WholeValues {
    /// Numbers; unknown ones are null.
    Number { values: Vec<Option<f64>> },
    /// The first text of each track, by its index in `names`; unknown ones are null. The most frequent texts come first.
    Text { names: Vec<String>, values: Vec<Option<u32>> },
}

pub(super) async fn column(
    Shared(state): Shared<Arc<State>>,
    Segment(name): Segment,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Whole>> {
    Params::parse(query.as_deref(), &[])?;
    let whole = blocking(&state, move |snapshot| {
        let column = snapshot.catalogue.column(&name).map_err(|error| ApiError::not_found(error.to_string()))?;
        let tracks = 0..snapshot.catalogue.tracks();
        let values = match &*column {
            Column::Number(_) => WholeValues::Number { values: tracks.map(|track| column.number(track)).collect() },
            Column::Text(_) => {
                let mut counts: HashMap<&str, usize> = HashMap::new();
                for text in snapshot.catalogue.live().ones().filter_map(|track| column.text(track)) {
                    *counts.entry(text).or_default() += 1;
                }
                let mut names: Vec<&str> = counts.keys().copied().collect();
                names.sort_by_key(|&name| (std::cmp::Reverse(counts.get(name)), name));
                let codes: HashMap<&str, u32> = names.iter().copied().zip(0..).collect();
                let values = tracks.map(|track| codes.get(column.text(track)?).copied()).collect();
                WholeValues::Text { names: names.iter().map(ToString::to_string).collect(), values }
            }
        };
        Ok(Whole { generation: snapshot.generation(), name, values })
    });
    Ok(Json(whole.await?))
}
