//! The choice of hits from a ranking: versions of one recording under one hit, limits for artists and albums, variety.

use std::collections::HashMap;

use super::answer::LeftOut;
use super::credits::Credits;
use super::options::{Limits, SearchOptions, Versions};
use super::ranking::Candidate;
use crate::space::{Query, Space};
use crate::vectors::Level;

/// A candidate with its point and its versions.
pub(super) struct Choice {
    pub(super) candidate: Candidate,
    /// The point of the track.
    pub(super) point: Query,
    /// The versions, each with its cosine with the candidate.
    pub(super) versions: Vec<(usize, f64)>,
}

/// A recording that others may be versions of.
pub(super) struct Recording {
    pub(super) point: Query,
    pub(super) duration: f64,
    /// Whether it is a seed that hits should be unlike.
    pub(super) is_minus: bool,
}

impl Versions {
    /// The cosine of two recordings if they are versions of each other.
    pub(super) fn cosine(&self, space: &Space<'_>, a: &Recording, b: &Query, duration: f64) -> Option<f64> {
        if (a.duration - duration).abs() > self.seconds {
            return None;
        }
        let cosine = space.score(&a.point, b);
        (1.0 - cosine <= self.distance).then_some(cosine)
    }
}

/// Candidates whose versions are collapsed.
#[derive(Default)]
pub(super) struct Collapsed {
    /// The best of each recording, best first.
    pub(super) choices: Vec<Choice>,
    /// Candidates that are versions of a seed: the index of the seed's recording, and the cosine with it.
    pub(super) of_seeds: Vec<(Candidate, usize, f64)>,
}

/// Collapses the versions among `candidates`, best first, into the best of each, and sets those of `seeds` apart.
pub(super) fn collapse(
    space: &Space<'_>,
    candidates: &[Candidate],
    seeds: &[Recording],
    versions: Option<&Versions>,
) -> Collapsed {
    let catalogue = space.catalogue();
    let mut collapsed = Collapsed::default();
    // Recordings by length: only neighbours in it can be versions.
    let mut lengths: std::collections::BTreeMap<u64, Vec<usize>> = std::collections::BTreeMap::new();
    'candidates: for &candidate in candidates {
        let point = space.point(Level::Tracks, candidate.track);
        let duration = catalogue.track(candidate.track).duration;
        if let Some(versions) = versions {
            for (index, seed) in seeds.iter().enumerate() {
                if let Some(cosine) = versions.cosine(space, seed, &point, duration) {
                    collapsed.of_seeds.push((candidate, index, cosine));
                    continue 'candidates;
                }
            }
            let near = |length: f64| length.max(0.0) as u64;
            let range = near(duration - versions.seconds)..=near(duration + versions.seconds);
            let mut near: Vec<usize> = lengths.range(range).flat_map(|(_, choices)| choices.iter().copied()).collect();
            near.sort_unstable();
            for index in near {
                let choice = &collapsed.choices[index];
                let recording = Recording {
                    point: choice.point.clone(),
                    duration: catalogue.track(choice.candidate.track).duration,
                    is_minus: false,
                };
                if let Some(cosine) = versions.cosine(space, &recording, &point, duration) {
                    collapsed.choices[index].versions.push((candidate.track, cosine));
                    continue 'candidates;
                }
            }
        }
        lengths.entry(duration.max(0.0) as u64).or_default().push(collapsed.choices.len());
        collapsed.choices.push(Choice { candidate, point, versions: Vec::new() });
    }
    collapsed
}

/// What was chosen.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Indices of choices in the order of the answer.
    pub(super) order: Vec<usize>,
    /// How many were chosen although they exceed the gaps.
    pub(super) beyond_gaps: usize,
    /// How many were chosen although they exceed the numbers for artist or album.
    pub(super) beyond_limits: usize,
    /// How many rank above the last that was chosen and were left out.
    pub(super) left_out: LeftOut,
    /// Whether the ranking may have to be longer to fill the answer within the limits.
    pub(super) is_short: bool,
}

/// Chooses up to `options.top` of `choices`: within all limits, then if need be without the gaps, then without any.
///
/// Without variety each is the next best, and the hits stay in the order of the ranking. With variety `x` each maximises
/// `(1 - x)·score - x·(largest cosine with a hit so far)` among the first choices ([`SearchOptions::POOL`]): maximal
/// marginal relevance, <https://doi.org/10.1145/290941.291025>.
pub(super) fn choose(space: &Space<'_>, credits: &Credits, choices: &[Choice], options: &SearchOptions) -> Chosen {
    let pool = match options.variety > 0.0 {
        true => choices.len().min(pool(options)),
        false => choices.len(),
    };
    let mut picker = Picker::new(space, credits, &choices[..pool], options);
    let limits = options.limits;
    picker.stage(limits);
    let within = picker.order.len();
    picker.stage(Limits { artist_gap: 0, album_gap: 0, ..limits });
    let without_gaps = picker.order.len();
    picker.stage(Limits::NONE);
    let mut order = picker.order;
    let chosen = order.len();
    if options.variety <= 0.0 {
        order.sort_unstable();
    }
    let left_out = left_out(credits, choices, &order, options);
    Chosen {
        is_short: within < options.top,
        beyond_gaps: without_gaps - within,
        beyond_limits: chosen - without_gaps,
        left_out,
        order,
    }
}

/// The number of choices that variety chooses from.
pub(super) fn pool(options: &SearchOptions) -> usize {
    options.top.saturating_mul(10).max(SearchOptions::POOL)
}

/// Picks choices one after the other.
struct Picker<'a> {
    space: &'a Space<'a>,
    credits: &'a Credits,
    choices: &'a [Choice],
    options: &'a SearchOptions,
    order: Vec<usize>,
    is_taken: Vec<bool>,
    /// The largest cosine of each choice with what is picked.
    nearest: Vec<f64>,
}

impl<'a> Picker<'a> {
    fn new(space: &'a Space<'a>, credits: &'a Credits, choices: &'a [Choice], options: &'a SearchOptions) -> Self {
        let (is_taken, nearest) = (vec![false; choices.len()], vec![f64::NEG_INFINITY; choices.len()]);
        Picker { space, credits, choices, options, order: Vec::new(), is_taken, nearest }
    }

    /// Picks within `limits` until there are enough, or none is left.
    fn stage(&mut self, limits: Limits) {
        let mut counter = Counter::new(self.credits, limits);
        self.order.iter().for_each(|&index| counter.add(self.choices[index].candidate.track));
        let mut from = 0;
        while self.order.len() < self.options.top {
            let free = (from..self.choices.len()).filter(|&index| !self.is_taken[index]);
            let mut allowed = free.filter(|&index| counter.refusal(self.choices[index].candidate.track).is_none());
            let next = match self.options.variety > 0.0 {
                false => allowed.next(),
                true => allowed.reduce(|best, index| if self.value(index) > self.value(best) { index } else { best }),
            };
            let Some(next) = next else { return };
            // Without variety what was refused is not tried again in this stage, so that the order stays the ranking's.
            if self.options.variety <= 0.0 {
                from = next + 1;
            }
            counter.add(self.choices[next].candidate.track);
            self.take(next);
        }
    }

    fn take(&mut self, index: usize) {
        self.is_taken[index] = true;
        self.order.push(index);
        if self.options.variety > 0.0 {
            let picked = &self.choices[index].point;
            for (nearest, choice) in self.nearest.iter_mut().zip(self.choices) {
                *nearest = nearest.max(self.space.score(picked, &choice.point));
            }
        }
    }

    /// The marginal relevance of a choice. The first has nothing to be unlike.
    fn value(&self, index: usize) -> f64 {
        let score = self.choices[index].candidate.score;
        match self.order.is_empty() {
            true => score,
            false => (1.0 - self.options.variety) * score - self.options.variety * self.nearest[index],
        }
    }
}

/// Why a track is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Artist,
    Album,
    Gap,
}

/// Counts artists and albums.
struct Counter<'a> {
    credits: &'a Credits,
    limits: Limits,
    artists: HashMap<u32, usize>,
    albums: HashMap<u32, usize>,
    tracks: Vec<usize>,
}

impl<'a> Counter<'a> {
    fn new(credits: &'a Credits, limits: Limits) -> Self {
        Counter { credits, limits, artists: HashMap::new(), albums: HashMap::new(), tracks: Vec::new() }
    }

    fn add(&mut self, track: usize) {
        if let Some(artist) = self.credits.artist(track) {
            *self.artists.entry(artist).or_default() += 1;
        }
        if let Some(album) = self.credits.album(track) {
            *self.albums.entry(album).or_default() += 1;
        }
        self.tracks.push(track);
    }

    /// Why `track` cannot be the next.
    fn refusal(&self, track: usize) -> Option<Refusal> {
        let limits = self.limits;
        let (artist, album) = (self.credits.artist(track), self.credits.album(track));
        let is_full = |limit: usize, count: Option<&usize>| limit > 0 && count.is_some_and(|&count| count >= limit);
        if is_full(limits.per_artist, artist.and_then(|artist| self.artists.get(&artist))) {
            return Some(Refusal::Artist);
        }
        if is_full(limits.per_album, album.and_then(|album| self.albums.get(&album))) {
            return Some(Refusal::Album);
        }
        let last = |gap: usize| self.tracks.iter().rev().take(gap);
        let same_artist =
            artist.is_some() && last(limits.artist_gap).any(|&other| self.credits.artist(other) == artist);
        let same_album = album.is_some() && last(limits.album_gap).any(|&other| self.credits.album(other) == album);
        (same_artist || same_album).then_some(Refusal::Gap)
    }
}

/// How many choices rank above the last of `order` and were left out, by the first limit that refuses them in the end.
fn left_out(credits: &Credits, choices: &[Choice], order: &[usize], options: &SearchOptions) -> LeftOut {
    let mut left_out = LeftOut::default();
    let Some(&last) = order.iter().max() else { return left_out };
    let mut counter = Counter::new(credits, Limits { artist_gap: 0, album_gap: 0, ..options.limits });
    order.iter().for_each(|&index| counter.add(choices[index].candidate.track));
    let chosen: std::collections::HashSet<usize> = order.iter().copied().collect();
    for (index, choice) in choices.iter().enumerate().take(last + 1) {
        if chosen.contains(&index) {
            left_out.versions += choice.versions.len();
            continue;
        }
        match counter.refusal(choice.candidate.track) {
            Some(Refusal::Artist) => left_out.artist += 1,
            Some(Refusal::Album) => left_out.album += 1,
            _ if options.variety > 0.0 => left_out.variety += 1,
            Some(Refusal::Gap) | None => left_out.gap += 1,
        }
    }
    left_out
}
