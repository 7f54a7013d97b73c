//! Figures of probes beside hidden states: what `mert-search probe` measured on artists that it was not fitted to, as it keeps
//! it in `cache/probes/`. Figures of an earlier state of the catalogue, and those no better than chance, are not shown.

use serde::{Deserialize, Serialize};

use crate::Catalogue;

/// A held-out figure of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The column that was predicted.
    pub tag: String,
    /// The name of the figure, such as `balanced_accuracy`.
    pub figure: String,
    /// The figure.
    pub value: f64,
    /// What chance gives.
    pub chance: f64,
}

/// A file of a probe.
#[derive(Deserialize)]
struct Kept {
    tag: String,
    generation: u64,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    figures: Vec<Figure>,
    is_predictable: bool,
}

#[derive(Deserialize)]
struct Figure {
    name: String,
    value: f64,
    chance: f64,
}

/// The figures that are kept of a catalogue: the name of a hidden state, and a figure, in the order of the tags.
pub(super) fn held_out(catalogue: &Catalogue) -> Vec<(String, HeldOut)> {
    // The files are a cache: without them, or with one that is damaged, there is nothing to show.
    let Ok(entries) = std::fs::read_dir(catalogue.folder().join("cache").join("probes")) else { return Vec::new() };
    let read = |path: std::path::PathBuf| serde_json::from_slice::<Kept>(&std::fs::read(path).ok()?).ok();
    let kept = entries.flatten().filter_map(|entry| read(entry.path()));
    let generation = catalogue.manifest().generation;
    let mut figures = Vec::new();
    for kept in kept.filter(|kept| kept.generation == generation) {
        for row in kept.rows.into_iter().filter(|row| row.is_predictable) {
            if let Some(Figure { name: figure, value, chance }) = row.figures.into_iter().next() {
                figures.push((row.name, HeldOut { tag: kept.tag.clone(), figure, value, chance }));
            }
        }
    }
    figures.sort_by(|a, b| a.1.tag.cmp(&b.1.tag));
    figures
}
