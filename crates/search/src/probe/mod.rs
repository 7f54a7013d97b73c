//! Probes: how well a tag or a number is predicted from vectors, on artists that the probe was not fitted to.
//!
//! A probe is a ridge regression on standardized vectors: of a number, or of 1 and −1 for each text of a tag (one against the
//! rest, so that a track may have several). Its penalty is chosen inside the training folds. It says what vectors hold, and
//! not what a score of similarity is made of.

mod ridge;
mod scores;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::scores::{Classes, Numbers};
use crate::analysis::{Artists, Folds, Interval, sample};
use crate::catalogue::{Catalogue, Column};
use crate::{Level, Result, SearchError};

/// The fewest artists of a text of a tag; texts of fewer are left out.
pub const MIN_ARTISTS: usize = 3;
/// The fewest tracks of a probe.
pub const MIN_TRACKS: usize = 30;
/// The most folds of a probe.
pub const MAX_FOLDS: usize = 50;

/// The choices of a probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeOptions {
    /// The column that is predicted.
    pub tag: String,
    /// The folds of artists.
    pub folds: usize,
    /// The most tracks; of more, so many are drawn.
    pub tracks: usize,
    /// The draws of the bootstrap, which draws artists.
    pub draws: usize,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
}

impl ProbeOptions {
    /// The default choices for a tag.
    pub fn new(tag: &str) -> Self {
        ProbeOptions { tag: tag.into(), folds: 5, tracks: 1000, draws: 1000, seed: 15 }
    }
}

/// What a probe measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeReport {
    /// The choices.
    pub options: ProbeOptions,
    /// The texts that are told apart; none for a number.
    pub classes: Vec<ClassCount>,
    /// The number of tracks that were predicted, and of their artists.
    pub tracks: usize,
    /// The number of artists.
    pub artists: usize,
    /// The number of live tracks whose value is not known.
    pub unknown: usize,
    /// The texts that have too few artists, which are not predicted.
    pub left_out: Vec<ClassCount>,
    /// The tracks that have no other text, which are left out.
    pub rare: usize,
    /// The tracks with several predicted texts: each counts in the areas under the ROC curves, the first in the other figures.
    pub several: usize,
    /// The figures by group and for all groups together.
    pub rows: Vec<ProbeRow>,
    /// What was sampled or left out.
    pub notes: Vec<String>,
}

/// A text of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The text.
    pub text: String,
    /// The number of tracks.
    pub tracks: usize,
    /// The number of their artists.
    pub artists: usize,
}

/// The figures of a probe of some vectors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeRow {
    /// The group, or `all`.
    pub name: String,
    /// The figures by name: `macro_auc`, `balanced_accuracy` and `macro_f1`, or `r2`; with intervals of 95% and what chance
    /// gives.
    pub figures: Vec<ProbeFigure>,
    /// For each text the held-out area under the ROC curve, the text against the rest.
    pub areas: Vec<Interval>,
    /// Whether the first figure is surely better than chance.
    pub is_predictable: bool,
    /// The held-out prediction of each track: a number, or the index of a text.
    pub predictions: Vec<Prediction>,
    /// The penalties that were chosen in the folds.
    pub penalties: Vec<f64>,
}

/// A figure of a probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeFigure {
    /// The name.
    pub name: &'static str,
    /// The figure.
    #[serde(flatten)]
    pub interval: Interval,
    /// What chance gives.
    pub chance: f64,
}

/// A held-out prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The track.
    pub track: usize,
    /// The fold in which it was held out.
    pub fold: usize,
    /// The true value: a number, or the index of the first text.
    pub truth: f64,
    /// The prediction: a number, or the index of the text with the largest score.
    pub predicted: f64,
    /// The indices of all texts of the track.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<usize>,
    /// The scores of all texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<f64>,
}

/// The tracks of a probe, and the values to predict: a column for each text, or one.
struct Target {
    tracks: Vec<usize>,
    truth: Vec<f64>,
    outputs: DMatrix<f64>,
    classes: Vec<ClassCount>,
}

/// Probes all groups of `catalogue`, and all of them together, for a column.
///
/// # Errors
/// [`SearchError::Query`] for too few tracks or artists, fewer than two texts, and options out of range.
pub fn probe(catalogue: &Catalogue, options: &ProbeOptions, progress: &(dyn Fn(u64) + Sync)) -> Result<ProbeReport> {
    let invalid = |option: &str, given: usize, expected: &str| {
        Err(SearchError::Query(format!("invalid {option} {given}: expected {expected}")))
    };
    if !(2..=MAX_FOLDS).contains(&options.folds) {
        return invalid("--folds", options.folds, &format!("2 to {MAX_FOLDS}"));
    }
    if options.tracks < MIN_TRACKS {
        return invalid("--tracks", options.tracks, &format!("{MIN_TRACKS} or more"));
    }
    if options.draws < 100 {
        return invalid("--draws", options.draws, "100 or more");
    }
    if catalogue.live().count_ones(..) == 0 {
        return Err(SearchError::Query("cannot probe: the catalogue has no tracks".into()));
    }
    let column = catalogue.column(&options.tag)?;
    let artists = Artists::of(catalogue);
    let mut report = ProbeReport {
        options: options.clone(),
        classes: Vec::new(),
        tracks: 0,
        artists: 0,
        unknown: catalogue.live().ones().filter(|&track| !column.is_known(track)).count(),
        left_out: Vec::new(),
        rare: 0,
        several: 0,
        rows: Vec::new(),
        notes: Vec::new(),
    };
    let target = target(catalogue, &column, &artists, options, &mut report)?;
    let groups: Vec<usize> = target.tracks.iter().map(|&track| artists.group(track)).collect();
    let folds = Folds::new(&groups, options.folds, &mut ChaCha8Rng::seed_from_u64(options.seed));
    let mut distinct = groups.clone();
    distinct.sort_unstable();
    distinct.dedup();
    report.artists = distinct.len();
    if report.tracks < MIN_TRACKS || report.artists < 2 * options.folds {
        return Err(SearchError::Query(format!(
            "cannot probe `{}`: {} tracks by {} artists have it; {MIN_TRACKS} tracks by {} artists, two for each of --folds \
             {}, are needed. Tracks of unknown artists count as one artist for each album",
            options.tag,
            report.tracks,
            report.artists,
            2 * options.folds,
            options.folds
        )));
    }
    let all: Vec<usize> = (0..catalogue.groups().len()).collect();
    let mut features: Vec<(String, Vec<usize>)> =
        all.iter().map(|&group| (catalogue.groups()[group].name.clone(), vec![group])).collect();
    if all.len() > 1 {
        features.push(("all".into(), all));
    }
    for (name, chosen) in features {
        let inputs = inputs(catalogue, &target.tracks, &chosen);
        let held_out: Vec<(Vec<usize>, DMatrix<f64>, f64)> = (0..options.folds)
            .into_par_iter()
            .map(|fold| {
                let (test, train) = folds.split(fold);
                let (predicted, penalty) =
                    ridge::predict(&inputs, &target.outputs, &groups, &train, &test, options.seed);
                progress(1);
                (test, predicted, penalty)
            })
            .collect();
        let mut scores = DMatrix::zeros(target.tracks.len(), target.outputs.ncols());
        for (test, outputs, _) in &held_out {
            test.iter().zip(outputs.row_iter()).for_each(|(&item, outputs)| scores.set_row(item, &outputs));
        }
        let is_number = target.classes.is_empty();
        let predicted = |item: usize| {
            // The first of the largest.
            let largest =
                (0..scores.ncols()).max_by(|&a, &b| scores[(item, a)].total_cmp(&scores[(item, b)]).then(b.cmp(&a)));
            if is_number { scores[(item, 0)] } else { largest.unwrap_or(0) as f64 }
        };
        let predicted: Vec<f64> = (0..target.tracks.len()).map(predicted).collect();
        let members: Vec<usize> = groups.iter().map(|group| distinct.binary_search(group).unwrap_or(0)).collect();
        let (truth, predicted, groups) = (&target.truth[..], &predicted[..], &members[..]);
        let (figures, areas) = if is_number {
            (Numbers { truth, predicted, groups }.figures(distinct.len(), options), Vec::new())
        } else {
            let classes = Classes { truth, predicted, groups, memberships: &target.outputs, scores: &scores };
            (classes.figures(distinct.len(), options), classes.areas(distinct.len(), options))
        };
        let texts = |item: usize| (0..scores.ncols()).filter(|&class| target.outputs[(item, class)] > 0.0).collect();
        let predictions = target.tracks.iter().enumerate().map(|(item, &track)| Prediction {
            track,
            fold: folds.of_item[item],
            truth: truth[item],
            predicted: predicted[item],
            texts: if is_number { Vec::new() } else { texts(item) },
            scores: if is_number { Vec::new() } else { scores.row(item).iter().copied().collect() },
        });
        report.rows.push(ProbeRow {
            name,
            is_predictable: figures.first().is_some_and(|figure| figure.interval.low > figure.chance),
            predictions: predictions.collect(),
            penalties: held_out.iter().map(|(_, _, penalty)| *penalty).collect(),
            figures,
            areas,
        });
    }
    Ok(report)
}

fn target(
    catalogue: &Catalogue,
    column: &Column,
    artists: &Artists,
    options: &ProbeOptions,
    report: &mut ProbeReport,
) -> Result<Target> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let is_usable = |&track: &usize| column.number(track).map_or(column.is_known(track), f64::is_finite);
    let mut known: Vec<usize> = catalogue.live().ones().filter(is_usable).collect();
    let mut texts: Vec<&str> = Vec::new();
    if matches!(column, Column::Text(_)) {
        let counts = count_texts(column, artists, &known);
        report.left_out = counts.iter().filter(|count| count.artists < MIN_ARTISTS).cloned().collect();
        let frequent: BTreeSet<String> =
            counts.into_iter().filter(|count| count.artists >= MIN_ARTISTS).map(|count| count.text).collect();
        let before = known.len();
        known.retain(|&track| column.texts(track).any(|text| frequent.contains(text)));
        report.rare = before - known.len();
        if frequent.len() < 2 {
            return Err(SearchError::Query(format!(
                "cannot probe `{}`: expected at least two texts with tracks by {MIN_ARTISTS} artists or more, found {} of {}. \
                 Tracks of unknown artists count as one artist for each album",
                options.tag,
                frequent.len(),
                crate::count(frequent.len() + report.left_out.len(), "text")
            )));
        }
        let mut found: Vec<&str> = known.iter().flat_map(|&track| column.texts(track)).collect();
        found.retain(|text| frequent.contains(*text));
        found.sort_unstable();
        found.dedup();
        texts = found;
    }
    if known.len() > options.tracks {
        report.notes.push(format!("{} of {} tracks, drawn at random", options.tracks, known.len()));
    }
    let tracks = sample(&known, options.tracks, &mut random);
    report.tracks = tracks.len();
    // The places of a track's predicted texts, in the order in which the track has them.
    let places = |track: usize| column.texts(track).filter_map(|text| texts.binary_search(&text).ok());
    let truth: Vec<f64> = match column {
        Column::Number(_) => tracks.iter().map(|&track| column.number(track).unwrap_or(f64::NAN)).collect(),
        Column::Text(_) => tracks.iter().map(|&track| places(track).next().unwrap_or(0) as f64).collect(),
    };
    let outputs = if texts.is_empty() {
        DMatrix::from_column_slice(truth.len(), 1, &truth)
    } else {
        let mut outputs = DMatrix::repeat(tracks.len(), texts.len(), -1.0);
        for (row, &track) in tracks.iter().enumerate() {
            places(track).for_each(|class| outputs[(row, class)] = 1.0);
        }
        report.several = outputs.row_iter().filter(|row| row.iter().filter(|&&value| value > 0.0).count() > 1).count();
        outputs
    };
    if !texts.is_empty() {
        report.classes = count_texts(column, artists, &tracks);
        report.classes.retain(|count| texts.binary_search(&count.text.as_str()).is_ok());
        // A sample may have none of a text.
        for text in &texts {
            if report.classes.iter().all(|count| count.text != *text) {
                report.classes.push(ClassCount { text: (*text).to_string(), tracks: 0, artists: 0 });
            }
        }
        report.classes.sort_by(|a, b| a.text.cmp(&b.text));
    }
    Ok(Target { tracks, truth, outputs, classes: report.classes.clone() })
}

/// The texts of tracks with the numbers of tracks and artists, in the order of texts.
fn count_texts(column: &Column, artists: &Artists, tracks: &[usize]) -> Vec<ClassCount> {
    let mut by_text: BTreeMap<&str, (BTreeSet<usize>, BTreeSet<usize>)> = BTreeMap::new();
    for &track in tracks {
        for text in column.texts(track) {
            let (tracks, groups) = by_text.entry(text).or_default();
            tracks.insert(track);
            groups.insert(artists.group(track));
        }
    }
    let count = |(text, (tracks, groups)): (&str, (BTreeSet<usize>, BTreeSet<usize>))| ClassCount {
        text: text.to_string(),
        tracks: tracks.len(),
        artists: groups.len(),
    };
    by_text.into_iter().map(count).collect()
}

/// The vectors of some groups, one after the other, a row for each track.
fn inputs(catalogue: &Catalogue, tracks: &[usize], groups: &[usize]) -> DMatrix<f64> {
    let values = tracks
        .iter()
        .flat_map(|&track| groups.iter().flat_map(move |&group| catalogue.vectors(Level::Tracks, group).row(track)));
    let dim: usize = groups.iter().map(|&group| catalogue.groups()[group].dim).sum();
    DMatrix::from_row_iterator(tracks.len(), dim, values.map(|&value| f64::from(value)))
}

/// The path at which figures of a column are kept, for reasons that name them: `cache/probes/COLUMN.json`, where characters
/// other than letters, digits, `-` and `_` are `%` and two hexadecimal digits for each byte.
pub fn cache_path(catalogue: &Catalogue, tag: &str) -> PathBuf {
    let escaped = tag.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    });
    catalogue.folder().join("cache").join("probes").join(format!("{}.json", escaped.collect::<String>()))
}

/// Keeps the figures of a report, without its predictions, with the statistics that they belong to.
///
/// # Errors
/// [`SearchError::Io`] and [`SearchError::Write`].
pub fn keep(catalogue: &Catalogue, report: &ProbeReport) -> Result<PathBuf> {
    use std::io::Write;
    let path = cache_path(catalogue, &report.options.tag);
    let folder = path.parent().unwrap_or(catalogue.folder());
    std::fs::create_dir_all(folder).map_err(SearchError::io(folder))?;
    let rows: Vec<serde_json::Value> = report
        .rows
        .iter()
        .map(
            |row| serde_json::json!({ "name": row.name, "figures": row.figures, "is_predictable": row.is_predictable }),
        )
        .collect();
    let kept = serde_json::json!({
        "tag": report.options.tag,
        "generation": catalogue.manifest().generation,
        "tracks": report.tracks,
        "artists": report.artists,
        "rows": rows,
    });
    mert_fs::replace_file(&path, |file| file.write_all(kept.to_string().as_bytes()))?;
    Ok(path)
}

#[cfg(test)]
mod tests;
