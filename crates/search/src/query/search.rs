//! The search itself: from seeds and options to an answer.

use fixedbitset::FixedBitSet;

use super::answer::{Answer, Hit, Version};
use super::calibration::Calibration;
use super::options::SearchOptions;
use super::ranking::{Candidate, Ranking, rank};
use super::seed::{Seed, Seeds};
use super::select::{Choice, Chosen, Collapsed, Recording, choose, collapse, pool};
use crate::filter::Filter;
use crate::space::{MIN_CENTERED, Space};
use crate::{Catalogue, Result, SearchError};

/// A candidate that is a version of a seed, the index of the seed's recording, and the cosine with it.
type OfSeed = (Candidate, usize, f64);

/// What sounds like the weighted `seeds`; those with a weight below zero are what hits should be unlike.
///
/// `calibration` must be of the same space and of `options.level`. It is computed once for many searches.
///
/// # Errors
/// [`SearchError::Query`] for seeds without a point, options that cannot be, and a filter that does not fit the catalogue.
pub fn search(
    space: &Space<'_>,
    calibration: &Calibration,
    seeds: &[(Seed, f64)],
    options: &SearchOptions,
) -> Result<Answer> {
    let catalogue = space.catalogue();
    check(calibration, options)?;
    let seeds = Seeds::new(space, seeds)?;
    let mut notes = covered(space, &seeds)?;
    let tracks = compared(catalogue, &seeds, options, &mut notes)?;
    let compared = tracks.count_ones(..);
    let (collapsed, chosen, is_all, note) = ranked(space, calibration, &seeds, &tracks, options)?;
    notes.extend(note);
    let Collapsed { mut choices, of_seeds } = collapsed;
    notes.extend(notes_on(space, calibration, &choices, &chosen, &of_seeds, options, is_all));

    let (seed_tracks, of_query) = (seeds.tracks().collect::<Vec<_>>(), &seeds.point);
    let of_query = calibration.of_query(space, of_query, &seed_tracks);
    let hits = chosen.order.iter().map(|&index| hit(catalogue, calibration, &of_query, &mut choices[index]));
    let hits = hits.collect();
    let recordings = recordings(space, &seeds);
    let (of_plus, of_minus): (Vec<&OfSeed>, Vec<&OfSeed>) =
        of_seeds.iter().partition(|(_, seed, _)| !recordings[*seed].is_minus);
    if let Some((candidate, ..)) = of_minus.first() {
        notes.push(format!(
            "left out: {} of a seed that hits should be unlike, such as {}",
            crate::count(of_minus.len(), "version"),
            catalogue.track(candidate.track).file
        ));
    }
    let seed_versions = of_plus
        .iter()
        .map(|(candidate, seed, cosine)| version(catalogue, candidate.track, *cosine, recordings[*seed].duration));
    Ok(Answer {
        hits,
        seed_versions: seed_versions.collect(),
        tracks: catalogue.live().count_ones(..),
        compared,
        left_out: chosen.left_out,
        pairs: calibration.pairs(),
        notes,
    })
}

fn check(calibration: &Calibration, options: &SearchOptions) -> Result<()> {
    let invalid = |reason: String| Err(SearchError::Query(reason));
    if !(1..=SearchOptions::MOST).contains(&options.top) {
        return invalid(format!("the number of hits: expected 1 to {}, found {}", SearchOptions::MOST, options.top));
    }
    if !(0.0..=1.0).contains(&options.variety) {
        return invalid(format!("variety: expected a number from 0 to 1, found {}", options.variety));
    }
    if let Some(versions) = options.versions
        && [versions.distance, versions.seconds].iter().any(|limit| limit.is_nan() || *limit < 0.0)
    {
        return invalid("versions: expected a distance and seconds of at least 0".into());
    }
    if calibration.level() != options.level {
        return invalid(format!("the calibration is one of {:?}, not {:?}", calibration.level(), options.level));
    }
    Ok(())
}

/// The tracks that are compared: those that the filter keeps, without the seeds.
fn compared(
    catalogue: &Catalogue,
    seeds: &Seeds<'_>,
    options: &SearchOptions,
    notes: &mut Vec<String>,
) -> Result<FixedBitSet> {
    let mut tracks = catalogue.live().clone();
    if let Some(text) = &options.filter {
        let filter = Filter::parse(catalogue, text)?;
        let plus: Vec<&Seed> = seeds.plus().collect();
        for column in filter.unknown_of_seeds(catalogue, &plus) {
            notes.push(format!("the seed's {column} is unknown: comparisons with seed.{column} hold for no value"));
        }
        tracks = filter.rows(catalogue, &plus);
        let (kept, live) = (tracks.count_ones(..), catalogue.live().count_ones(..));
        if kept == 0 {
            notes.push(format!("the filter keeps none of the {}", crate::count(live, "track")));
        }
    }
    seeds.tracks().for_each(|track| tracks.remove(track));
    Ok(tracks)
}

/// What the passages among the seeds are compared by.
fn covered(space: &Space<'_>, seeds: &Seeds<'_>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (seed, _) in seeds.seeds.iter().filter(|(seed, _)| matches!(seed, Seed::Passage { .. })) {
        let segments = seed.segments(space)?;
        let times: Vec<String> = segments.iter().map(|(start, end, _)| format!("{start:.2}–{end:.2} s")).collect();
        let (label, noun) = (seed.label(space.catalogue()), if times.len() == 1 { "segment" } else { "segments" });
        notes.push(format!("{label}: compared by the {noun} {}", times.join(", ")));
    }
    Ok(notes)
}

/// The recordings that the seeds are.
fn recordings(space: &Space<'_>, seeds: &Seeds<'_>) -> Vec<Recording> {
    let recording = |((seed, weight), point): (&(Seed, f64), &crate::Query)| {
        let is_minus = *weight < 0.0;
        if let Some(duration) = seed.duration(space.catalogue()) {
            return Some(Recording { point: point.clone(), duration, is_minus });
        }
        match *seed {
            // Versions of the whole track hold the passage, too.
            Seed::Passage { track, .. } => Some(Recording {
                point: space.point(crate::Level::Tracks, track),
                duration: space.catalogue().track(track).duration,
                is_minus,
            }),
            _ => None,
        }
    };
    seeds.seeds.iter().zip(&seeds.points).filter_map(recording).collect()
}

/// The choices of a ranking that is as long as the hits need, what was chosen, whether it is of all that is compared, and how
/// the ranking was found.
fn ranked(
    space: &Space<'_>,
    calibration: &Calibration,
    seeds: &Seeds<'_>,
    tracks: &FixedBitSet,
    options: &SearchOptions,
) -> Result<(Collapsed, Chosen, bool, Option<String>)> {
    let available = tracks.count_ones(..);
    let recordings = recordings(space, seeds);
    let depth = pool(options).saturating_mul(10);
    let mut count = pool(options).min(available);
    loop {
        let Ranking { candidates, note } = rank(space, &seeds.point, tracks, options, count)?;
        let mut collapsed = collapse(space, &candidates, &recordings, options.versions.as_ref());
        // Rows of a damaged file are never among the candidates, so that their number says nothing.
        let is_all = count >= available;
        // A filter that keeps nothing but versions of the seed asks for them.
        if is_all && collapsed.choices.is_empty() && !collapsed.of_seeds.is_empty() {
            let of_seeds: Vec<Candidate> = collapsed.of_seeds.iter().map(|&(candidate, ..)| candidate).collect();
            collapsed = Collapsed { of_seeds: collapsed.of_seeds, ..collapse(space, &of_seeds, &[], None) };
        }
        let chosen = choose(space, calibration.credits(), &collapsed.choices, options);
        let is_short = match options.variety > 0.0 {
            true => collapsed.choices.len() < pool(options),
            false => chosen.order.len() < options.top || (chosen.is_short && count < depth),
        };
        if is_all || !is_short {
            return Ok((collapsed, chosen, is_all, note));
        }
        count = count.saturating_mul(10).min(available);
    }
}

/// What a reader of the hits has to know.
fn notes_on(
    space: &Space<'_>,
    calibration: &Calibration,
    choices: &[Choice],
    chosen: &Chosen,
    of_seeds: &[(Candidate, usize, f64)],
    options: &SearchOptions,
    is_all: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    let catalogue = space.catalogue();
    let live = catalogue.live().count_ones(..);
    if space.geometry().center && live < MIN_CENTERED {
        notes.push(format!(
            "not centred: the mean of {} is mostly what is compared; {MIN_CENTERED} tracks are needed",
            crate::count(live, "track")
        ));
    }
    let hits = chosen.order.len();
    if hits < options.top {
        notes.push(format!("{hits} of {}: there are no other tracks to compare", crate::count(options.top, "hit")));
    }
    if chosen.beyond_gaps > 0 {
        let (hits, exceed) = exceeding(chosen.beyond_gaps);
        notes.push(format!("{hits} {exceed} the gaps for artist or album, to fill the list"));
    }
    if chosen.beyond_limits > 0 {
        let reason = if is_all { "" } else { ", of the ranking's first part" };
        let (hits, exceed) = exceeding(chosen.beyond_limits);
        notes.push(format!("{hits} {exceed} the numbers for artist or album, to fill the list{reason}"));
    }
    let is_of_seed = |choice: &Choice| of_seeds.iter().any(|(candidate, ..)| candidate.track == choice.candidate.track);
    if choices.iter().any(is_of_seed) {
        notes.push("all that the search found are versions of the seed, which are shown for that reason".into());
    }
    match calibration.pairs() {
        0 => notes.push("no percentiles: there are no two tracks by different artists".into()),
        pairs if pairs < 100 => {
            notes.push(format!("percentiles are coarse: {} of tracks", crate::count(pairs, "pair")))
        }
        _ => {}
    }
    notes
}

/// A number of hits, and the verb after it.
fn exceeding(hits: usize) -> (String, &'static str) {
    (crate::count(hits, "hit"), if hits == 1 { "exceeds" } else { "exceed" })
}

fn hit(catalogue: &Catalogue, calibration: &Calibration, of_query: &[f64], choice: &mut Choice) -> Hit {
    let Candidate { track, segment, cosine, score } = choice.candidate;
    let text = |name: &str| catalogue.column(name).ok()?.text(track).map(ToString::to_string);
    let lower = of_query.partition_point(|&other| other < cosine);
    let about = catalogue.track(track);
    let versions = std::mem::take(&mut choice.versions);
    Hit {
        track,
        segment,
        file: about.file.to_string(),
        title: text("title"),
        artist: text("artist").or_else(|| text("album_artist")),
        cosine,
        score,
        percentile: calibration.percentile(cosine),
        percentile_of_query: (!of_query.is_empty()).then(|| 100.0 * lower as f64 / of_query.len() as f64),
        passage: segment.map(|segment| catalogue.segment(segment)).map(|segment| (segment.start, segment.end)),
        versions: versions
            .into_iter()
            .map(|(track, cosine)| version(catalogue, track, cosine, about.duration))
            .collect(),
    }
}

fn version(catalogue: &Catalogue, track: usize, cosine: f64, duration: f64) -> Version {
    let about = catalogue.track(track);
    Version { track, file: about.file.to_string(), cosine, longer: about.duration - duration }
}
