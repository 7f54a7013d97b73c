//! The check of the statistics of a catalogue against the vectors that they were computed from.

use crate::catalogue::statistics::UnknownTracks;
use crate::catalogue::{Catalogue, Statistics};
use crate::vectors::{Level, Vectors, sample};

/// The largest difference of a mean that was computed again, relative to its size: it is computed in f64 by the same
/// program, in an order that may differ.
const MEAN_TOLERANCE: f64 = 1e-9;

/// The largest deviation of components from length 1 and from right angles, and of the variance along them from that along
/// components that were computed again, relative to it. Components of like variances may turn into each other where another
/// processor rounds otherwise, and the variance along all of them stays.
const COMPONENT_TOLERANCE: f64 = 1e-6;

/// The vectors by which the variance along components is measured.
const MEASURED: usize = 20_000;

/// The result of the check.
pub(super) enum Checked {
    /// The statistics are those of this number of segments.
    Same(usize),
    /// The statistics are other ones, and what differs.
    Other(String),
    /// The reason why they cannot be computed again.
    Skipped(String),
}

/// Computes the statistics of `catalogue` again, of the state that they were computed from.
pub(super) fn check(catalogue: &Catalogue) -> Checked {
    let manifest = catalogue.manifest();
    let stored = catalogue.statistics();
    let is_of_this_state = manifest.statistics.path == format!("statistics-{:06}.safetensors", manifest.generation);
    let parts = match &stored.parts {
        Some(parts) => parts.clone(),
        None => Statistics::parts_of(catalogue),
    };
    let tracks = match Statistics::tracks_of(catalogue, &parts) {
        Ok(tracks) => tracks,
        Err(UnknownTracks::Part(name)) => {
            return Checked::Skipped(format!("they are also of the part {name}, all of whose tracks were removed"));
        }
        Err(UnknownTracks::Track(name, track)) => {
            return Checked::Other(format!("the part {name} has no track {track}"));
        }
    };
    let computed = Statistics::of_tracks(catalogue, &tracks, parts);
    let rows: Vec<usize> = tracks.ones().flat_map(|track| catalogue.track(track).segments).collect();
    match difference(catalogue, stored, &computed, &sample(&rows, MEASURED)) {
        Some(_) if stored.parts.is_none() && !is_of_this_state => {
            Checked::Skipped("they are of an earlier state, and do not say of which".into())
        }
        Some(difference) => Checked::Other(difference),
        None => Checked::Same(computed.segments),
    }
}

/// What of `stored` is another than in `computed`.
fn difference(catalogue: &Catalogue, stored: &Statistics, computed: &Statistics, rows: &[usize]) -> Option<String> {
    if stored.segments != computed.segments {
        return Some(format!("they are of {} segments, expected {}", stored.segments, computed.segments));
    }
    for (index, group) in catalogue.groups().iter().enumerate() {
        let (mean, expected) = (&stored.means[index], &computed.means[index]);
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= MEAN_TOLERANCE * a.abs().max(b.abs()).max(1.0);
        if !(mean.len() == expected.len() && mean.iter().zip(expected).all(is_near)) {
            return Some(format!("{}: another mean than that of the vectors", group.column));
        }
        let (components, expected) = (&stored.components[index], &computed.components[index]);
        if components.len() != expected.len() || !are_orthonormal(components) {
            return Some(format!(
                "{}: {} components, expected {} of length 1 at right angles",
                group.column,
                components.len(),
                expected.len()
            ));
        }
        let vectors = catalogue.vectors(Level::Segments, index);
        let [found, wanted] = [components, expected].map(|components| variance(vectors, rows, mean, components));
        if (found - wanted).abs() > COMPONENT_TOLERANCE * wanted {
            return Some(format!("{}: the variance along its components is {found}, expected {wanted}", group.column));
        }
    }
    None
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn are_orthonormal(components: &[Vec<f64>]) -> bool {
    components.iter().enumerate().all(|(index, component)| {
        let is_near = |(other, found): (usize, f64)| {
            let expected = if other == index { 1.0 } else { 0.0 };
            (found - expected).abs() <= COMPONENT_TOLERANCE
        };
        components[..=index].iter().map(|other| dot(component, other)).enumerate().all(is_near)
    })
}

/// The variance of `rows` along all of `components` together.
fn variance(vectors: &Vectors, rows: &[usize], mean: &[f64], components: &[Vec<f64>]) -> f64 {
    let along = |&row: &usize| -> f64 {
        let centered: Vec<f64> =
            vectors.row(row).iter().zip(mean).map(|(&value, mean)| f64::from(value) - mean).collect();
        components.iter().map(|component| dot(component, &centered).powi(2)).sum()
    };
    rows.iter().map(along).sum::<f64>() / rows.len().max(1) as f64
}
