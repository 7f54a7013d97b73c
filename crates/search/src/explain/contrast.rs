//! Why one track scores above another: the differences of the same terms.

use serde::{Deserialize, Serialize};

use super::reasons::{GroupTerm, group_terms};
use crate::query::{Calibration, Seed, Seeds};
use crate::space::Space;
use crate::vectors::Level;
use crate::{Result, SearchError};

/// Why one track scores above another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The path of the one, escaped.
    pub file: String,
    /// The path of the other, escaped.
    pub versus: String,
    /// The cosine of the one.
    pub cosine: f64,
    /// The cosine of the other.
    pub versus_cosine: f64,
    /// The differences by hidden state, which sum to the difference of the cosines.
    pub terms: Vec<ContrastTerm>,
}

/// The difference in a hidden state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContrastTerm {
    /// The name of the hidden state.
    pub group: String,
    /// The term of the one.
    pub term: f64,
    /// The term of the other.
    pub versus_term: f64,
    /// The one less the other.
    pub difference: f64,
}

/// Why `track` scores above `versus`, or below it, for the weighted `seeds`.
///
/// # Errors
/// [`SearchError::Query`] if there is no such track, or the seeds have no point in the space.
pub fn contrast(
    space: &Space<'_>,
    calibration: &Calibration,
    seeds: &[(Seed, f64)],
    track: usize,
    versus: usize,
) -> Result<Contrast> {
    let catalogue = space.catalogue();
    if let Some(track) = [track, versus].into_iter().find(|&track| !catalogue.live().contains(track)) {
        return Err(SearchError::Query(format!("the catalogue has no track {track}")));
    }
    let seeds = Seeds::new(space, seeds)?;
    let terms = |track| group_terms(space, calibration, &seeds.point, &space.point(Level::Tracks, track));
    let (terms, others) = (terms(track), terms(versus));
    let cosine = |terms: &[GroupTerm]| terms.iter().map(|term| term.term).sum();
    let difference = |(one, other): (&GroupTerm, &GroupTerm)| ContrastTerm {
        group: one.group.clone(),
        term: one.term,
        versus_term: other.term,
        difference: one.term - other.term,
    };
    Ok(Contrast {
        file: catalogue.track(track).file.to_string(),
        versus: catalogue.track(versus).file.to_string(),
        cosine: cosine(&terms),
        versus_cosine: cosine(&others),
        terms: terms.iter().zip(&others).map(difference).collect(),
    })
}
