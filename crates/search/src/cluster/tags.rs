//! Tags that are more frequent in a cluster than in the catalogue.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::catalogue::{Catalogue, Column};

/// Columns whose texts are different for almost every track.
const IDENTITIES: [&str; 4] = ["title", "isrc", "mb_recording_id", "mb_album_id"];

/// The probability by chance above which a tag is not listed, divided by the number of texts that are tried.
const LEVEL: f64 = 0.01;

/// The tags that are listed, at most.
const LISTED: usize = 5;

/// A tag that is more frequent in a cluster than in the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrequentTag {
    /// The column.
    pub column: String,
    /// The text.
    pub text: String,
    /// The tracks of the cluster that have it, and those whose value is known.
    pub inside: usize,
    /// The tracks of the cluster whose value is known.
    pub inside_known: usize,
    /// The tracks of the catalogue that have it.
    pub total: usize,
    /// The tracks of the catalogue whose value is known.
    pub total_known: usize,
    /// The probability of as many or more in as large a random choice of tracks (hypergeometric).
    pub probability: f64,
}

/// The tags of a catalogue, counted once for all clusters.
pub(super) struct Frequent {
    columns: Vec<CountedColumn>,
    factorials: LogFactorials,
    /// The number of texts that are tried.
    tried: f64,
}

/// A column, the number of live tracks with each text, and of those with any.
struct CountedColumn {
    name: String,
    column: Arc<Column>,
    total: BTreeMap<String, usize>,
    known: usize,
}

impl Frequent {
    /// The tags of `live` tracks.
    pub(super) fn new(catalogue: &Catalogue, live: &[usize]) -> Self {
        let mut columns = Vec::new();
        for name in catalogue.column_names().filter(|name| !IDENTITIES.contains(name)) {
            let Ok(column) = catalogue.column(name) else { continue };
            let (total, known) = counts(&column, live);
            columns.push(CountedColumn { name: name.to_string(), column, total, known });
        }
        let tried = columns.iter().map(|column| column.total.len() as f64).sum();
        Frequent { columns, factorials: LogFactorials::new(live.len()), tried }
    }

    /// The tags that are more frequent among `members` than in the catalogue.
    pub(super) fn among(&self, members: &[usize]) -> Vec<FrequentTag> {
        let mut found = Vec::new();
        for column in &self.columns {
            let (inside, inside_known) = counts(&column.column, members);
            for (text, count) in inside {
                let total = column.total.get(&text).copied().unwrap_or(count);
                if count >= 2 && count * column.known > total * inside_known {
                    found.push(FrequentTag {
                        column: column.name.clone(),
                        text,
                        inside: count,
                        inside_known,
                        total,
                        total_known: column.known,
                        probability: self.factorials.tail(count, inside_known, total, column.known),
                    });
                }
            }
        }
        found.retain(|tag| tag.probability * self.tried < LEVEL);
        found.sort_by(|a, b| a.probability.total_cmp(&b.probability).then_with(|| a.text.cmp(&b.text)));
        found.truncate(LISTED);
        found
    }
}

/// The number of tracks with each text, and of those with any.
fn counts(column: &Column, tracks: &[usize]) -> (BTreeMap<String, usize>, usize) {
    let mut counts = BTreeMap::new();
    let mut known = 0;
    for &track in tracks {
        let mut texts: Vec<&str> = column.texts(track).collect();
        known += usize::from(!texts.is_empty());
        texts.sort_unstable();
        texts.dedup();
        texts.into_iter().for_each(|text| *counts.entry(text.to_string()).or_default() += 1);
    }
    (counts, known)
}

/// Logarithms of factorials.
struct LogFactorials(Vec<f64>);

impl LogFactorials {
    fn new(largest: usize) -> Self {
        let mut logs = vec![0.0];
        logs.extend((1..=largest).scan(0.0, |sum, value| {
            *sum += (value as f64).ln();
            Some(*sum)
        }));
        LogFactorials(logs)
    }

    fn choose(&self, n: usize, k: usize) -> f64 {
        self.0[n] - self.0[k] - self.0[n - k]
    }

    /// The probability that of `drawn` of `all` items, `marked` of which are marked, `count` or more are marked.
    fn tail(&self, count: usize, drawn: usize, marked: usize, all: usize) -> f64 {
        let all_draws = self.choose(all, drawn);
        let probability = |hit: usize| {
            if drawn - hit > all - marked {
                return 0.0;
            }
            (self.choose(marked, hit) + self.choose(all - marked, drawn - hit) - all_draws).exp()
        };
        (count..=drawn.min(marked)).map(probability).sum::<f64>().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_is_that_of_the_hypergeometric_distribution() {
        // scipy.stats.hypergeom.sf(count − 1, all, marked, drawn)
        let factorials = LogFactorials::new(100);
        for (count, drawn, marked, all, expected) in
            [(4, 5, 10, 20, 0.151_702_786_377_708_96), (2, 10, 5, 100, 0.076_856_722_070_271_4)]
        {
            let found = factorials.tail(count, drawn, marked, all);
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(factorials.tail(0, 3, 2, 4), 1.0);
    }
}
