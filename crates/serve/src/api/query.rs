//! The parameters that several routes share: seeds, and the geometry that vectors are compared in.

use mert_search::query::{Seed, parse_times};
use mert_search::{Geometry, Space};

use super::{ApiError, ApiResult};
use crate::params::Params;
use crate::snapshot::Snapshot;

/// The parameters of a geometry.
const GEOMETRY: [&str; 4] = ["layers", "center", "components", "csls"];

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
    if let Some(csls) = params.flag("csls")? {
        geometry.csls = csls;
    }
    Ok(Space::new(catalogue, geometry)?)
}

/// The seeds with weight 1, and those to be unlike with weight -1.
pub(crate) fn seeds(snapshot: &Snapshot, params: &Params) -> ApiResult<Vec<(Seed, f64)>> {
    snapshot.check_generation(params.generation()?)?;
    let mut seeds = Vec::new();
    for (name, weight) in [("seed", 1.0), ("minus", -1.0)] {
        for text in params.all(name) {
            seeds.push((seed(snapshot, text)?, weight));
        }
    }
    match seeds.is_empty() {
        true => Err(ApiError::invalid("the parameter `seed` is missing: give the number of a track")),
        false => Ok(seeds),
    }
}

/// A seed: the number of a track or its identifier, with `@START-END` for a passage of it.
pub(crate) fn seed(snapshot: &Snapshot, text: &str) -> ApiResult<Seed> {
    let (track, times) = text.split_once('@').map_or((text, None), |(track, times)| (track, Some(times)));
    let track = self::track(snapshot, track)?;
    let Some(times) = times else { return Ok(Seed::Track(track)) };
    match parse_times(times) {
        Some((start, end)) => Ok(Seed::Passage { track, start, end }),
        None => Err(ApiError::invalid(format!("invalid seed {text}: expected times such as 12@80-95 or 12@1:20-1:35"))),
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
            .ok_or_else(|| ApiError::not_found(format!("the catalogue has no track `{text}`"))),
    }
}
