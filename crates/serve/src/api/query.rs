//! The parameters that several routes share: seeds, and the geometry that vectors are compared in.

use std::sync::Arc;

use mert_search::query::{Seed, parse_times};
use mert_search::{Geometry, Space, excerpt};

use super::{ApiError, ApiResult, TrackCard};
use crate::params::Params;
use crate::snapshot::Snapshot;
use crate::uploads::PREFIX;

/// The parameters of a geometry.
const GEOMETRY: [&str; 5] = ["layers", "center", "components", "metric", "csls"];

/// A seed and its weight.
pub(crate) type WeightedSeed = (Seed, f64);

/// The most seeds of a search.
const MOST_SEEDS: usize = 1000;

/// The most components that may be removed.
const MOST_COMPONENTS: usize = 1000;

/// The parameters of a route: its own, those of a geometry, and the generation of track numbers.
pub(crate) fn parse(query: Option<&str>, own: &[&str]) -> ApiResult<Params> {
    let known: Vec<&str> = own.iter().copied().chain(GEOMETRY).chain(["generation"]).collect();
    Params::parse(query, &known)
}

/// The space in which a request compares vectors.
pub(crate) fn space<'s>(snapshot: &'s Snapshot, params: &Params) -> ApiResult<Space<'s>> {
    let catalogue = &snapshot.catalogue;
    let mut geometry = Geometry::of(catalogue);
    if let Some(layers) = params.text("layers") {
        geometry.weights = Geometry::parse_weights(catalogue, layers)?;
    }
    if let Some(center) = params.flag("center")? {
        geometry.center = center;
    }
    if let Some(components) = params.number("components", 0..=MOST_COMPONENTS)? {
        geometry.drop_components = components;
    }
    if let Some(name) = params.text("metric") {
        if let Some(other) = ["layers", "center", "components"].into_iter().find(|other| params.text(other).is_some()) {
            let name = excerpt(name);
            return Err(ApiError::invalid(format!("metric={name} has its own {other}: leave {other} out")));
        }
        let named =
            snapshot.metrics.iter().find(|named| named.name == name).ok_or_else(|| no_metric(snapshot, name))?;
        geometry = Geometry { metric: Some(Arc::clone(&named.metric)), ..named.metric.geometry(catalogue)? };
    }
    if let Some(csls) = params.flag("csls")? {
        geometry.csls = csls;
    }
    Ok(Space::new(catalogue, geometry)?)
}

/// The error of a metric that the server does not have.
fn no_metric(snapshot: &Snapshot, name: &str) -> ApiError {
    let names: Vec<&str> = snapshot.metrics.iter().map(|named| named.name.as_str()).collect();
    let known = match names.is_empty() {
        true => "the server was started without --metric".to_string(),
        false => format!("there are {}", names.join(", ")),
    };
    ApiError::invalid(format!("invalid metric={}: {known}", excerpt(name)))
}

/// The seeds with weight 1, and those to be unlike with weight -1; and a card of each.
pub(crate) fn seeds(snapshot: &Snapshot, params: &Params) -> ApiResult<(Vec<WeightedSeed>, Vec<TrackCard>)> {
    snapshot.check_generation(params.generation()?)?;
    let (mut seeds, mut cards) = (Vec::new(), Vec::new());
    for (name, weight) in [("seed", 1.0), ("minus", -1.0)] {
        for text in params.all(name) {
            if seeds.len() == MOST_SEEDS {
                return Err(ApiError::invalid(format!("expected at most {MOST_SEEDS} seeds")));
            }
            let (seed, card) = seed(snapshot, text)?;
            seeds.push((seed, weight));
            cards.push(card);
        }
    }
    match seeds.is_empty() {
        true => Err(ApiError::invalid("the parameter `seed` is missing: give the number of a track")),
        false => Ok((seeds, cards)),
    }
}

/// A seed and its card: the number of a track or its identifier, with `@START-END` for a passage of it; or the identifier
/// of a file that was sent.
pub(crate) fn seed(snapshot: &Snapshot, text: &str) -> ApiResult<(Seed, TrackCard)> {
    if text.starts_with(PREFIX) {
        if text.contains('@') {
            let reason = "of a file that was sent there are no passages: send the passage as a file";
            return Err(ApiError::invalid(format!("invalid seed {}: {reason}", excerpt(text))));
        }
        let upload = snapshot.uploads.get(text)?;
        return Ok((upload.seed()?, TrackCard::of_upload(&upload)));
    }
    let (track, times) = text.split_once('@').map_or((text, None), |(track, times)| (track, Some(times)));
    let track = self::track(snapshot, track)?;
    let card = TrackCard::new(snapshot, track);
    let Some(times) = times else { return Ok((Seed::Track(track), card)) };
    match parse_times(times) {
        Ok((start, end)) => Ok((Seed::Passage { track, start, end }, card)),
        Err(fault) => Err(ApiError::invalid(format!("invalid passage `{}` of track {track}: {fault}", excerpt(times)))),
    }
}

/// A live track, by its number or identifier.
pub(crate) fn track(snapshot: &Snapshot, text: &str) -> ApiResult<usize> {
    match text.parse() {
        // An identifier of digits only is too long for a number, or is not a track's number here.
        Ok(number) if text.len() < 16 => snapshot.live(number),
        _ => snapshot
            .keys()
            .track(text)
            .ok_or_else(|| ApiError::not_found(format!("the catalogue has no track `{}`", excerpt(text)))),
    }
}
