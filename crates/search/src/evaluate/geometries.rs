//! The geometries that an evaluation compares, so that one can be chosen by measurement.

use crate::Geometry;
use crate::catalogue::Catalogue;

/// The numbers of removed components that are tried.
const DROPPED: [usize; 3] = [1, 3, 10];

/// A geometry, and its name in a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The name.
    pub name: String,
    /// The geometry.
    pub geometry: Geometry,
}

/// The geometries to compare: each hidden state alone and `mix`, raw, centred, without 1, 3 and 10 components as far as the
/// catalogue has them, and centred with CSLS.
pub fn table(catalogue: &Catalogue, mix: &[(usize, f64)]) -> Vec<Candidate> {
    let mut weights: Vec<(String, Vec<(usize, f64)>)> = Vec::new();
    if mix.len() > 1 {
        weights.push(("mix".into(), mix.to_vec()));
    }
    for &(group, _) in mix {
        weights.push((catalogue.groups()[group].name.clone(), vec![(group, 1.0)]));
    }
    let components = &catalogue.statistics().components;
    let mut candidates = Vec::new();
    for (name, weights) in weights {
        let geometry = |center, drop_components, csls| {
            let weights = weights.clone();
            Geometry { weights, center, drop_components, csls, metric: None }
        };
        let mut add = |treatment: String, geometry| {
            candidates.push(Candidate { name: format!("{name} {treatment}"), geometry });
        };
        add("raw".into(), geometry(false, 0, false));
        add("centred".into(), geometry(true, 0, false));
        for dropped in DROPPED {
            if weights.iter().all(|&(group, _)| components.get(group).is_some_and(|known| known.len() >= dropped)) {
                add(format!("without {dropped}"), geometry(true, dropped, false));
            }
        }
        add("CSLS".into(), geometry(true, 0, true));
    }
    candidates
}
