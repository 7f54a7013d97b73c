//! Metrics that are learned from a user's judgments: pairs that sound alike or not, odd ones out, likes and skips.
//!
//! Vectors stay as they are; a diagonal, or a linear map of low rank, is fitted to them. What it gains is measured on judgments
//! of artists that it was not learned from, and a metric whose gain may be zero is refused.

mod fit;
mod gain;
mod head;
mod judgments;
mod model;

use std::sync::Arc;

use serde::Serialize;

pub use self::gain::Gain;
pub use self::head::{HEAD_LAYERS, head_metric};
pub use self::judgments::{Judgment, JudgmentKind, Judgments};
use self::model::Features;
pub use self::model::ModelKind;
use crate::analysis::Artists;
use crate::space::{Metric, MetricGroup, MetricOrigin};
use crate::{Result, SearchError, Space};

/// The fewest judgments that anything is learned from.
pub const MIN_JUDGMENTS: usize = 20;

/// The fewest artists whose tracks are judged.
pub const MIN_ARTISTS: usize = 9;

/// The most repeats.
pub const MAX_REPEATS: usize = 1000;

/// The choices of learning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearnOptions {
    /// The folds of artists: judgments of one fold's artists are held out in turn.
    pub folds: usize,
    /// The number of times that artists are divided anew.
    pub repeats: usize,
    /// The draws of the bootstrap.
    pub draws: usize,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
}

impl Default for LearnOptions {
    fn default() -> Self {
        LearnOptions { folds: 3, repeats: 4, draws: 2000, seed: 15 }
    }
}

/// What was learned, and how much it gains.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LearnReport {
    /// The kind of the judgments.
    pub kind: JudgmentKind,
    /// SHA-256 of the file of judgments.
    pub sha256: String,
    /// The number of judgments that were used.
    pub judgments: usize,
    /// The rows of the file with a file that the catalogue does not have.
    pub unmatched: usize,
    /// Some of those files.
    pub unmatched_files: Vec<String>,
    /// The rows that compare a track with itself, which say nothing.
    pub same_track: usize,
    /// The number of tracks that were judged.
    pub tracks: usize,
    /// The number of artists, or of groups of artists that share tracks.
    pub artists: usize,
    /// What is measured on held-out judgments.
    pub figure: &'static str,
    /// What the interval of a gain covers: 95%, divided by the number of models that were tried.
    pub level: f64,
    /// The gains of the models.
    pub models: Vec<Gain>,
    /// The model of the larger gain, if the gain's lower bound is above zero.
    pub chosen: Option<ModelKind>,
    /// The reason why nothing was learned.
    pub refused: Option<String>,
    /// The choices.
    pub options: LearnOptions,
    /// The geometry that the metric belongs to.
    pub geometry: serde_json::Value,
}

/// Learns a metric in `space` from `judgments`. Without a sure gain the report says why, and there is no metric.
///
/// # Errors
/// [`SearchError::Query`] for a space that has a metric already, and options out of range.
pub fn learn(
    space: &Space<'_>,
    judgments: &Judgments,
    options: &LearnOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(LearnReport, Option<Metric>)> {
    let catalogue = space.catalogue();
    if space.geometry().metric.is_some() {
        return Err(SearchError::Query("a metric is learned on vectors as they are: give no --metric".into()));
    }
    if !(1..=MAX_REPEATS).contains(&options.repeats) {
        let repeats = options.repeats;
        return Err(SearchError::Query(format!("invalid --repeats {repeats}: expected 1 to {MAX_REPEATS}")));
    }
    if options.folds < 2 || options.draws < 100 {
        let (folds, draws) = (options.folds, options.draws);
        return Err(SearchError::Query(format!("{folds} folds and {draws} draws: expected 2 and 100 or more")));
    }
    let artists = Artists::of(catalogue);
    let tracks = judgments.tracks();
    let mut groups: Vec<usize> = tracks.iter().map(|&track| artists.group(track)).collect();
    groups.sort_unstable();
    groups.dedup();
    let level = 1.0 - 0.05 / ModelKind::ALL.len() as f64;
    let mut report = LearnReport {
        kind: judgments.kind,
        sha256: judgments.sha256.clone(),
        judgments: judgments.items.len(),
        unmatched: judgments.unmatched,
        unmatched_files: judgments.unmatched_files.clone(),
        same_track: judgments.same_track,
        tracks: tracks.len(),
        artists: groups.len(),
        figure: judgments.kind.figure(),
        level,
        models: Vec::new(),
        chosen: None,
        refused: None,
        options: options.clone(),
        geometry: space.geometry().describe(catalogue)?,
    };
    if let Some(reason) = too_few(judgments, groups.len()) {
        report.refused = Some(reason);
        return Ok((report, None));
    }
    let group_of = |track: usize| groups.binary_search(&artists.group(track)).unwrap_or(0);
    let features = Features::new(space, &tracks, options.seed);
    for kind in ModelKind::ALL {
        let gain = gain::measure(kind, &features, judgments, &group_of, groups.len(), level, options, progress);
        report.models.push(gain);
    }
    let best = report.models.iter().max_by(|a, b| a.gain.value.total_cmp(&b.gain.value)).cloned();
    match best {
        Some(best) if best.gain.low > 0.0 => {
            report.chosen = Some(best.model);
            let indices: Vec<usize> = (0..judgments.items.len()).collect();
            let model = fit::select_and_fit(best.model, &features, judgments, &indices, &group_of, options.seed);
            let metric = Metric::new(features.transform(&model), origin(space, &report)?)?;
            Ok((report, Some(metric)))
        }
        best => {
            let best = best.map_or(f64::NAN, |best| best.gain.low);
            report.refused = Some(if best.is_nan() {
                "no judgment could be held out: all judgments of an artist's tracks are needed to learn the others"
                    .to_string()
            } else {
                "no model is surely better than the vectors as they are on artists that it was not learned from".into()
            });
            Ok((report, None))
        }
    }
}

/// The reason why there are too few judgments.
fn too_few(judgments: &Judgments, artists: usize) -> Option<String> {
    let count = judgments.items.len();
    if count < MIN_JUDGMENTS {
        return Some(format!("{count} judgments are too few: {MIN_JUDGMENTS} or more are needed"));
    }
    if artists < MIN_ARTISTS {
        return Some(format!(
            "judgments of {artists} artists are too few to hold some out: {MIN_ARTISTS} or more are needed"
        ));
    }
    let alike = judgments.items.iter().filter(|item| matches!(item, Judgment::Pair { alike: true, .. })).count();
    let pairs = judgments.items.iter().filter(|item| matches!(item, Judgment::Pair { .. })).count();
    (pairs > 0 && (alike == 0 || alike == pairs)).then(|| "all pairs have the same label: both are needed".to_string())
}

fn origin(space: &Space<'_>, report: &LearnReport) -> Result<MetricOrigin> {
    let (catalogue, geometry) = (space.catalogue(), space.geometry());
    let groups = geometry
        .weights
        .iter()
        .map(|&(group, weight)| MetricGroup { name: catalogue.groups()[group].name.clone(), weight });
    let learned = serde_json::to_value(report).map_err(|error| SearchError::Query(error.to_string()))?;
    Ok(MetricOrigin {
        settings: Some(catalogue.settings().clone()),
        groups: groups.collect(),
        center: geometry.center,
        drop_components: geometry.drop_components,
        learned,
    })
}

/// The space of `space`'s geometry with `metric`.
///
/// # Errors
/// Those of [`Space::new`].
pub fn with_metric<'c>(space: &Space<'c>, metric: Metric) -> Result<Space<'c>> {
    let geometry = crate::Geometry { metric: Some(Arc::new(metric)), ..space.geometry().clone() };
    Space::new(space.catalogue(), geometry)
}

#[cfg(test)]
mod tests;
