//! Probes: how well a tag or a number is predicted from vectors, on artists that the probe was not fitted to.
//!
//! A probe is a ridge regression on standardized vectors: of a number, or of 1 and −1 for each text of a tag, of which the
//! largest prediction is chosen. Its penalty is chosen inside the training folds. It says what vectors hold, and not what a
//! score of similarity is made of.

mod ridge;
mod scores;

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
    /// The tracks of texts that have too few artists.
    pub rare: usize,
    /// The tracks with several texts, of which the first is used.
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
}

/// The figures of a probe of some vectors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeRow {
    /// The group, or `all`.
    pub name: String,
    /// The figures by name: `balanced_accuracy` and `macro_f1`, or `r2`; with intervals of 95% and what chance gives.
    pub figures: Vec<ProbeFigure>,
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
    /// The true value: a number, or the index of a text.
    pub truth: f64,
    /// The prediction.
    pub predicted: f64,
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
    if options.folds < 2 || options.tracks < MIN_TRACKS || options.draws < 100 {
        return Err(SearchError::Query(format!(
            "a probe needs two folds or more, {MIN_TRACKS} tracks or more, 100 draws"
        )));
    }
    let column = catalogue.column(&options.tag)?;
    let artists = Artists::of(catalogue);
    let mut report = ProbeReport {
        options: options.clone(),
        classes: Vec::new(),
        tracks: 0,
        artists: 0,
        unknown: catalogue.live().ones().filter(|&track| !column.is_known(track)).count(),
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
            "cannot probe `{}`: {} tracks by {} artists have it; {MIN_TRACKS} tracks by {} artists are needed",
            options.tag,
            report.tracks,
            report.artists,
            2 * options.folds
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
        let mut predicted = vec![0.0; target.tracks.len()];
        for (test, outputs, _) in &held_out {
            for (row, &item) in test.iter().enumerate() {
                predicted[item] = if target.classes.is_empty() {
                    outputs[(row, 0)]
                } else {
                    // The first of the largest.
                    let largest = (0..outputs.ncols())
                        .max_by(|&a, &b| outputs[(row, a)].total_cmp(&outputs[(row, b)]).then(b.cmp(&a)));
                    largest.unwrap_or(0) as f64
                };
            }
        }
        let members: Vec<usize> = groups.iter().map(|group| distinct.binary_search(group).unwrap_or(0)).collect();
        let figures = if target.classes.is_empty() {
            Numbers { truth: &target.truth, predicted: &predicted, groups: &members }.figures(distinct.len(), options)
        } else {
            let classes = target.classes.len();
            Classes { truth: &target.truth, predicted: &predicted, groups: &members, classes }
                .figures(distinct.len(), options)
        };
        let predictions = target.tracks.iter().enumerate().map(|(item, &track)| Prediction {
            track,
            fold: folds.of_item[item],
            truth: target.truth[item],
            predicted: predicted[item],
        });
        report.rows.push(ProbeRow {
            name,
            is_predictable: figures.first().is_some_and(|figure| figure.interval.low > figure.chance),
            predictions: predictions.collect(),
            penalties: held_out.iter().map(|(_, _, penalty)| *penalty).collect(),
            figures,
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
        let mut by_text: std::collections::BTreeMap<&str, std::collections::BTreeSet<usize>> = Default::default();
        for &track in &known {
            if let Some(text) = column.text(track) {
                by_text.entry(text).or_default().insert(artists.group(track));
            }
            report.several += usize::from(column.texts(track).count() > 1);
        }
        by_text.retain(|_, groups| groups.len() >= MIN_ARTISTS);
        let before = known.len();
        known.retain(|&track| column.text(track).is_some_and(|text| by_text.contains_key(text)));
        report.rare = before - known.len();
        texts = by_text.into_keys().collect();
        if texts.len() < 2 {
            return Err(SearchError::Query(format!(
                "cannot probe `{}`: {} of its texts has tracks by {MIN_ARTISTS} artists or more; two are needed",
                options.tag,
                texts.len()
            )));
        }
    }
    if known.len() > options.tracks {
        report.notes.push(format!("{} of {} tracks, drawn at random", options.tracks, known.len()));
    }
    let tracks = sample(&known, options.tracks, &mut random);
    report.tracks = tracks.len();
    let place = |track: usize| texts.iter().position(|&text| column.text(track) == Some(text)).unwrap_or(0) as f64;
    let truth: Vec<f64> = match column {
        Column::Number(_) => tracks.iter().map(|&track| column.number(track).unwrap_or(f64::NAN)).collect(),
        Column::Text(_) => tracks.iter().map(|&track| place(track)).collect(),
    };
    let outputs = match texts.len() {
        0 => DMatrix::from_column_slice(truth.len(), 1, &truth),
        count => DMatrix::from_fn(truth.len(), count, |row, class| if truth[row] == class as f64 { 1.0 } else { -1.0 }),
    };
    let count = |(class, text): (usize, &&str)| ClassCount {
        text: (*text).to_string(),
        tracks: truth.iter().filter(|&&truth| truth == class as f64).count(),
    };
    report.classes = texts.iter().enumerate().map(count).collect();
    Ok(Target { tracks, truth, outputs, classes: report.classes.clone() })
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
