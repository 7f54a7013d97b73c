//! A way from one song to another through the space.

use fixedbitset::FixedBitSet;
use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::options::{Limits, Versions};
use super::seed::{Seed, Seeds};
use super::select::Recording;
use crate::filter::Filter;
use crate::space::{Query, Space};
use crate::vectors::Level;
use crate::{Result, SearchError};

/// The most tracks between the ends of a path.
const MAX_STEPS: usize = 10_000;

/// The options of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathOptions {
    /// The number of tracks between the two.
    pub steps: usize,
    /// An expression that the tracks between fulfil, in which `seed.` stands for the two.
    pub filter: Option<String>,
    /// The most tracks between by one artist and from one album. The gaps are not used.
    pub limits: Limits,
    /// When a track counts as a version of one on the path, and is left out; `None` to allow it.
    pub versions: Option<Versions>,
    /// The percentile of a step's cosine below which the step is wide.
    pub wide: f64,
}

impl Default for PathOptions {
    fn default() -> Self {
        PathOptions { steps: 8, filter: None, limits: Limits::NONE, versions: Some(Versions::default()), wide: 50.0 }
    }
}

/// A way from one song to another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Path {
    /// The songs, the given ones first and last.
    pub steps: Vec<PathStep>,
    /// What a reader of the path has to know.
    pub notes: Vec<String>,
}

/// A song of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathStep {
    /// The track; `None` for a given song that is not in the catalogue.
    pub track: Option<usize>,
    /// The path of its file, escaped, or the label of the given song.
    pub file: String,
    /// Its title, if it is known.
    pub title: Option<String>,
    /// Its artist, if it is known.
    pub artist: Option<String>,
    /// The place on the way, from 0 to 1.
    pub position: f64,
    /// The cosine with the point at that place.
    pub cosine_to_point: f64,
    /// The cosine with the song before; `None` for the first.
    pub cosine: Option<f64>,
    /// The share of random pairs of tracks by different artists whose cosine is lower than that, in percent.
    pub percentile: Option<f64>,
    /// Whether the percentile is below [`PathOptions::wide`].
    pub is_wide: bool,
}

/// A way from `from` to `to`: for each of evenly spaced weights between the two the nearest track that is not on the way
/// yet. There always is one; it is shorter if the catalogue has no more tracks that may be used.
///
/// # Errors
/// [`SearchError::Query`] for songs without a point, and a filter that does not fit the catalogue.
pub fn path(
    space: &Space<'_>,
    calibration: &Calibration,
    from: &Seed,
    to: &Seed,
    options: &PathOptions,
) -> Result<Path> {
    let catalogue = space.catalogue();
    if options.steps > MAX_STEPS {
        let steps = options.steps;
        return Err(SearchError::Query(format!("the tracks between: expected at most {MAX_STEPS}, found {steps}")));
    }
    if !(0.0..=100.0).contains(&options.wide) {
        let wide = options.wide;
        return Err(SearchError::Query(format!("a wide step: expected a percentile from 0 to 100, found {wide}")));
    }
    let (ends, mut notes) = ([from, to], Vec::new());
    let given = [(from.clone(), 1.0), (to.clone(), 1.0)];
    let [start, end] = [&given[..1], &given[1..]].map(|seed| Seeds::new(space, seed).map(|seeds| seeds.point));
    let (start, end) = (start?, end?);
    let mut tracks = catalogue.live().clone();
    if let Some(text) = &options.filter {
        tracks = Filter::parse(catalogue, text)?.rows(catalogue, &ends);
    }
    ends.iter().filter_map(|seed| seed.track()).for_each(|track| tracks.remove(track));

    let place = |step: usize| step as f64 / (options.steps + 1) as f64;
    let point = |step: usize| {
        let place = place(step);
        space.combine(&[(start.clone(), 1.0 - place), (end.clone(), place)])
    };
    let points: Vec<Query> = (1..=options.steps).map(point).collect();
    let used: Vec<Recording> = ends
        .iter()
        .zip([&start, &end])
        .filter_map(|(seed, point)| {
            Some(Recording { point: point.clone(), duration: seed.duration(catalogue)?, is_minus: false })
        })
        .collect();
    let mut walk = Walk { space, calibration, options, tracks, used, chosen: Vec::new() };
    let between = walk.choose(&points);
    if between.len() < options.steps {
        notes.push(format!(
            "{} of {} between: there are no others that may be used",
            between.len(),
            crate::count(options.steps, "track")
        ));
    }

    let mut songs = vec![(ends[0].track(), ends[0].label(catalogue), 0.0, start.clone(), start)];
    for (step, track) in between {
        let file = catalogue.track(track).file.to_string();
        songs.push((Some(track), file, place(step + 1), space.point(Level::Tracks, track), points[step].clone()));
    }
    songs.push((ends[1].track(), ends[1].label(catalogue), 1.0, end.clone(), end));
    let mut steps: Vec<PathStep> = Vec::with_capacity(songs.len());
    for (index, (track, file, position, own, target)) in songs.iter().enumerate() {
        let cosine = index.checked_sub(1).map(|before| space.score(&songs[before].3, own));
        let percentile = cosine.and_then(|cosine| calibration.percentile(cosine));
        let text = |name: &str| catalogue.column(name).ok()?.text((*track)?).map(ToString::to_string);
        steps.push(PathStep {
            track: *track,
            file: file.clone(),
            title: text("title"),
            artist: text("artist").or_else(|| text("album_artist")),
            position: *position,
            cosine_to_point: space.score(own, target),
            cosine,
            percentile,
            is_wide: percentile.is_some_and(|percentile| percentile < options.wide),
        });
    }
    if space.geometry().csls {
        notes.push(
            "the tracks between are chosen by scores that are corrected for hubs (CSLS); the cosines are not".into(),
        );
    }
    if calibration.pairs() == 0 {
        notes.push("no percentiles, and no mark of wide steps: there are no two tracks by different artists".into());
    }
    Ok(Path { steps, notes })
}

/// The choice of tracks for the points of a way.
struct Walk<'a> {
    space: &'a Space<'a>,
    calibration: &'a Calibration,
    options: &'a PathOptions,
    /// The tracks that may be used.
    tracks: FixedBitSet,
    /// The recordings on the way.
    used: Vec<Recording>,
    chosen: Vec<usize>,
}

impl Walk<'_> {
    /// For each point the nearest track that may be used, by the index of the point; points for which none is left are
    /// not in it.
    fn choose(&mut self, points: &[Query]) -> Vec<(usize, usize)> {
        let mut result = Vec::with_capacity(points.len());
        // All points share one scan, whose lists mostly are long enough.
        let count = points.len() + 64;
        let lists = match points.is_empty() {
            true => Vec::new(),
            false => self.space.scan(Level::Tracks, points, &self.tracks, count),
        };
        for (index, list) in lists.into_iter().enumerate() {
            let mut next = list.iter().map(|scored| scored.row).find(|&track| self.may_use(track));
            if next.is_none() && list.len() == count {
                let all = self.tracks.count_ones(..);
                let list = self.space.scan(Level::Tracks, &points[index..=index], &self.tracks, all).swap_remove(0);
                next = list.iter().map(|scored| scored.row).find(|&track| self.may_use(track));
            }
            if let Some(track) = next {
                let duration = self.space.catalogue().track(track).duration;
                self.used.push(Recording { point: self.space.point(Level::Tracks, track), duration, is_minus: false });
                self.chosen.push(track);
                result.push((index, track));
            }
        }
        result
    }

    fn may_use(&self, track: usize) -> bool {
        if self.chosen.contains(&track) {
            return false;
        }
        let (credits, limits) = (self.calibration.credits(), self.options.limits);
        let is_full = |limit: usize, of: &dyn Fn(usize) -> Option<u32>| {
            limit > 0
                && of(track).is_some()
                && self.chosen.iter().filter(|&&other| of(other) == of(track)).count() >= limit
        };
        if is_full(limits.per_artist, &|track| credits.artist(track))
            || is_full(limits.per_album, &|track| credits.album(track))
        {
            return false;
        }
        let Some(versions) = &self.options.versions else { return true };
        let (point, duration) = (self.space.point(Level::Tracks, track), self.space.catalogue().track(track).duration);
        !self.used.iter().any(|other| versions.cosine(self.space, other, &point, duration).is_some())
    }
}
