//! How well what sounds alike agrees with a tag: retrieval figures with artist and album filters, and hubs.
//!
//! Each track with the tag is a query. It ranks all tracks with the tag that are by other artists and not of its album; a track
//! is relevant if it shares one of the tag's texts. Figures are means over the queries that have a relevant track, with
//! bootstrap intervals, beside what a random order gives.

mod geometries;
mod hubs;
mod ranking;

use serde::Serialize;

pub use self::geometries::{Candidate, table};
pub use self::hubs::Hubs;
use self::hubs::{LocalScaling, hubs};
pub use self::ranking::Figures;
use crate::analysis::{Artists, Interval, Rows, bootstrap, sample};
use crate::catalogue::{Catalogue, Column, Texts};
use crate::space::MIN_CENTERED;
use crate::{Result, SearchError, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Columns that the filters leave nothing of.
const FILTERED: [&str; 5] = ["artist", "album_artist", "album", "mb_artist_id", "mb_album_id"];

/// The most tracks that are all compared with all for hubs and for CSLS.
pub const ALL_PAIRS: usize = 20_000;

/// The most draws of the bootstrap.
const MAX_DRAWS: usize = 1_000_000;

/// The choices of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluateOptions {
    /// The column whose texts say what is relevant.
    pub tag: String,
    /// The length of the lists that P@k, nDCG@k and R@k judge, and of those in which hubs are counted.
    pub k: usize,
    /// The most queries; of more, so many are drawn.
    pub queries: usize,
    /// The draws of the bootstrap.
    pub draws: usize,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
}

impl EvaluateOptions {
    /// The default choices for a tag.
    pub fn new(tag: &str) -> Self {
        EvaluateOptions { tag: tag.into(), k: 10, queries: 2000, draws: 1000, seed: 15 }
    }
}

/// The figures of several geometries for one tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The choices.
    pub options: EvaluateOptions,
    /// The number of live tracks.
    pub tracks: usize,
    /// The number of queries whose figures are averaged.
    pub queries: usize,
    /// The number of tracks that could have been queries.
    pub possible_queries: usize,
    /// The number of tracks without the tag, which are neither queries nor ranked.
    pub without_tag: usize,
    /// The number of tracks with the tag and no relevant track by another artist, which are no queries.
    pub without_relevant: usize,
    /// The number of tracks whose artist is unknown: they count as one artist.
    pub unknown_artists: usize,
    /// The mean number of tracks that a query ranks, and of those that are relevant.
    pub candidates: f64,
    /// The mean number of relevant tracks of a query.
    pub relevant: f64,
    /// What a random order gives: expected values, exactly.
    pub chance: Figures<f64>,
    /// The figures of each geometry.
    pub rows: Vec<EvaluationRow>,
    /// What was left out or sampled.
    pub notes: Vec<String>,
}

/// The figures of a geometry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationRow {
    /// The name in the table.
    pub name: String,
    /// The geometry.
    pub geometry: serde_json::Value,
    /// The figures, with intervals of 95%.
    pub figures: Figures<Interval>,
    /// How unevenly the lists of neighbours are filled.
    pub hubs: Hubs,
}

/// The queries of an evaluation and what is relevant to them; rows are indices of live tracks.
struct Task<'c> {
    live: Vec<usize>,
    texts: &'c Texts,
    artists: Artists,
    queries: Vec<usize>,
    possible_queries: usize,
    without_tag: usize,
    without_relevant: usize,
}

/// Whether a row is relevant to a query; `None` if it is not among those that the query ranks.
fn relevance(task: &Task<'_>, query: usize, row: usize) -> Option<bool> {
    let (query, track) = (task.live[query], task.live[row]);
    let (own, other) = (task.texts.codes(query), task.texts.codes(track));
    if query == track || other.is_empty() || task.artists.related(query, track) {
        return None;
    }
    Some(own.iter().any(|text| other.contains(text)))
}

impl<'c> Task<'c> {
    fn new(catalogue: &Catalogue, texts: &'c Texts, options: &EvaluateOptions) -> Self {
        let live: Vec<usize> = catalogue.live().ones().collect();
        let mut task = Task {
            artists: Artists::of(catalogue),
            queries: Vec::new(),
            possible_queries: 0,
            without_tag: live.iter().filter(|&&track| texts.codes(track).is_empty()).count(),
            without_relevant: 0,
            live,
            texts,
        };
        let mut of_text: Vec<Vec<usize>> = vec![Vec::new(); texts.names().len()];
        for (row, &track) in task.live.iter().enumerate() {
            texts.codes(track).iter().for_each(|&text| of_text[text as usize].push(row));
        }
        let known = (0..task.live.len()).filter(|&row| !texts.codes(task.live[row]).is_empty());
        let (possible, without): (Vec<usize>, Vec<usize>) = known.partition(|&query| {
            let mut alike = texts.codes(task.live[query]).iter().flat_map(|&text| &of_text[text as usize]);
            alike.any(|&row| relevance(&task, query, row) == Some(true))
        });
        task.possible_queries = possible.len();
        task.without_relevant = without.len();
        task.queries = sample(&possible, options.queries, &mut ChaCha8Rng::seed_from_u64(options.seed));
        task
    }
}

/// Evaluates geometries by a tag.
///
/// # Errors
/// [`SearchError::Query`] for a tag that is not a column of texts, one that the filters leave nothing of, no query with a
/// relevant track, options of zero, and geometries that the catalogue does not have.
pub fn evaluate(
    catalogue: &Catalogue,
    geometries: &[Candidate],
    options: &EvaluateOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Evaluation> {
    let tag = &options.tag;
    if FILTERED.contains(&tag.as_str()) {
        return Err(SearchError::Query(format!(
            "cannot evaluate `{tag}`: tracks of the same artist and album are left out, because they sound alike for \
             other reasons. Evaluate a tag that artists share, such as genre"
        )));
    }
    let live = catalogue.live().count_ones(..);
    if live < 2 {
        return Err(SearchError::Query(format!(
            "cannot evaluate: the catalogue has {}, and a ranking needs at least 2",
            crate::count(live, "track")
        )));
    }
    let column = catalogue.column(tag)?;
    let Column::Text(texts) = &*column else {
        return Err(SearchError::Query(format!(
            "cannot evaluate `{tag}`: it holds numbers, and a track is relevant if it shares a text. `mert-search probe \
             --tag {tag}` tells how well numbers are predicted"
        )));
    };
    let others = live - 1;
    let invalid = |option: &str, given: usize, expected: String| {
        Err(SearchError::Query(format!("invalid {option} {given}: expected {expected}")))
    };
    if !(1..=others).contains(&options.k) {
        return invalid("-k", options.k, format!("1 to {others}, the number of tracks less the query"));
    }
    if options.queries == 0 {
        return invalid("--queries", options.queries, "1 or more".into());
    }
    if !(100..=MAX_DRAWS).contains(&options.draws) {
        return invalid("--draws", options.draws, format!("100 to {MAX_DRAWS}"));
    }
    let task = Task::new(catalogue, texts, options);
    if task.queries.is_empty() {
        return Err(SearchError::Query(format!(
            "no track shares a text of `{tag}` with a track by another artist: {} without `{tag}`, {} without a known \
             artist, which count as by one",
            crate::count(task.without_tag, "track"),
            task.artists.unknown()
        )));
    }
    let mut evaluation = Evaluation {
        options: options.clone(),
        tracks: task.live.len(),
        queries: task.queries.len(),
        possible_queries: task.possible_queries,
        without_tag: task.without_tag,
        without_relevant: task.without_relevant,
        unknown_artists: task.artists.unknown(),
        candidates: 0.0,
        relevant: 0.0,
        chance: Figures::default(),
        rows: Vec::new(),
        notes: Vec::new(),
    };
    chance(&task, options.k, &mut evaluation);
    if task.queries.len() < task.possible_queries {
        evaluation.notes.push(format!("{} of {} queries, drawn at random", task.queries.len(), task.possible_queries));
    }
    let pairs = task.live.len() <= ALL_PAIRS;
    if !pairs {
        evaluation.notes.push(format!(
            "hubs are counted in the lists of {} tracks, drawn at random; CSLS is left out, which compares all pairs",
            options.queries
        ));
    }
    if task.live.len() < MIN_CENTERED {
        evaluation.notes.push(format!("nothing is centred: there are fewer than {MIN_CENTERED} tracks"));
    }
    for Candidate { name, geometry } in geometries {
        if geometry.csls && !pairs {
            continue;
        }
        let space = Space::new(catalogue, geometry.clone())?;
        let rows = Rows::new(&space, task.live.clone());
        let scaling = if geometry.csls { Some(LocalScaling::of(&rows, progress)) } else { None };
        let figures = rows.map_queries(&task.queries, progress, |query, scores| {
            let scores = scaling.as_ref().map_or_else(|| scores.to_vec(), |scaling| scaling.scores(scores));
            ranking::judge(&order(&task, query, &scores), options.k)
        });
        let hubs = hubs(&rows, scaling.as_ref(), options, progress);
        evaluation.rows.push(EvaluationRow {
            name: name.clone(),
            geometry: geometry.describe(catalogue)?,
            figures: intervals(&figures, options),
            hubs,
        });
    }
    Ok(evaluation)
}

/// The relevance of a query's candidates, best first.
fn order(task: &Task<'_>, query: usize, scores: &[f64]) -> Vec<bool> {
    let candidates =
        scores.iter().enumerate().filter_map(|(row, &score)| Some((score, row, relevance(task, query, row)?)));
    let mut candidates: Vec<(f64, usize, bool)> = candidates.collect();
    candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    candidates.into_iter().map(|(_, _, is_relevant)| is_relevant).collect()
}

/// Sets the figures of a random order, and the mean numbers of candidates.
fn chance(task: &Task<'_>, k: usize, evaluation: &mut Evaluation) {
    let count = task.queries.len() as f64;
    for &query in &task.queries {
        let judged: Vec<bool> = (0..task.live.len()).filter_map(|row| relevance(task, query, row)).collect();
        let relevant = judged.iter().filter(|&&is_relevant| is_relevant).count();
        evaluation.candidates += judged.len() as f64 / count;
        evaluation.relevant += relevant as f64 / count;
        let figures = ranking::chance(judged.len(), relevant, k);
        evaluation.chance = evaluation.chance.zip(figures, |sum, figure| sum + figure / count);
    }
}

/// The means of figures with intervals over queries.
fn intervals(figures: &[Figures<f64>], options: &EvaluateOptions) -> Figures<Interval> {
    let mean = |counts: &[u32]| {
        let mut sums = Figures::default();
        let mut total = 0.0;
        for (figures, &count) in figures.iter().zip(counts).filter(|(_, count)| **count > 0) {
            sums = sums.zip(*figures, |sum: f64, figure| sum + f64::from(count) * figure);
            total += f64::from(count);
        }
        sums.to_array().map(|sum| sum / total)
    };
    Figures::from_array(bootstrap(figures.len(), options.draws, 0.95, options.seed, mean))
}

#[cfg(test)]
mod tests;
