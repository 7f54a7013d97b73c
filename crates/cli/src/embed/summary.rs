//! The messages of a run on standard error: notes, what an update changes, and the result.

use mert_cli::terminal::say;
use mert_embed::failures::Failure;
use mert_embed::{EmbedError, Update};
use mert_table::{Alignment, OtherEncoder, Provenance, printable_path};

/// Notes on standard error, unless `--quiet`.
pub(super) struct Notes {
    pub(super) quiet: bool,
}

impl Notes {
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}

/// The text of what an update of `output` changes.
pub(super) fn update_text(output: &std::path::Path, update: &Update) -> String {
    let Update { unchanged, changed, new, missing, others } = update;
    let mut text = format!("{}: {new} new, {changed} changed, {} unchanged", printable_path(output), unchanged.len());
    if !missing.is_empty() {
        text += &format!(", {} missing, whose rows stay", missing.len());
    }
    if !others.is_empty() {
        let gone = others.iter().filter(|input| !input.path.exists()).count();
        text += &format!("; the rows of {} other files stay ({gone} of these files no longer exist)", others.len());
    }
    if update.is_up_to_date() {
        text += "; it is up to date";
    }
    text
}

/// The failures of files that no longer exist and whose rows are kept.
pub(super) fn missing(update: &Update) -> Vec<Failure> {
    update.missing.iter().map(|input| Failure::new(input, &EmbedError::Missing)).collect()
}

/// The audio input and the frames of each encoder, a line for each, and how their rows are joined.
pub(super) fn audio_inputs(provenance: &Provenance) -> Vec<String> {
    let line = |name: Option<&str>, rate: u32, hop: usize, do_normalize: bool, assumed: bool| {
        let name = name.map_or(String::new(), |name| format!("{name}: "));
        let level = if do_normalize { "normalised" } else { "not normalised" };
        let assumed = if assumed { " (assumed in part)" } else { "" };
        let rate_of_frames = f64::from(rate) / hop as f64;
        format!("{name}audio at {rate} Hz, {level}{assumed}; a frame every {hop} samples, {rate_of_frames} in a second")
    };
    let first = provenance.hybrid.as_ref().map(|hybrid| hybrid.first.as_str());
    let Provenance { sample_rate, frame_hop, do_normalize, assumed, .. } = provenance;
    let mut lines = vec![line(first, *sample_rate, *frame_hop, *do_normalize, assumed.is_some())];
    for other in provenance.others() {
        let OtherEncoder { name, sample_rate, frame_hop, do_normalize, assumed, .. } = other;
        lines.push(line(Some(name), *sample_rate, *frame_hop, *do_normalize, assumed.is_some()));
    }
    if let Some(hybrid) = &provenance.hybrid {
        lines.push(match hybrid.alignment {
            Alignment::Window => "rows: a window each, with the pooled vectors of both encoders".into(),
            Alignment::NearestFrame => format!(
                "rows: the frames of {}, each with the frame of the other encoder whose centre is nearest in time",
                hybrid.first
            ),
        });
    }
    lines
}

/// The vectors of a row as text: the hidden states of each encoder and their values.
pub(super) fn vectors(provenance: &Provenance) -> String {
    let values = |layers: &[usize], dim: usize| format!("{}, {dim} values each", hidden_states(layers));
    let projection = provenance.projection.map_or(String::new(), |projection| format!(" through {projection}"));
    let Provenance { hidden_states: layers, dim, .. } = provenance;
    let Some(hybrid) = &provenance.hybrid else {
        return format!("{}{projection}, {dim} values each", hidden_states(layers));
    };
    let first = format!("{}: {}", hybrid.first, values(layers, *dim));
    let others =
        hybrid.others.iter().map(|other| format!("{}: {}", other.name, values(&other.hidden_states, other.dim)));
    std::iter::once(first).chain(others).collect::<Vec<_>>().join("; ")
}

/// The hidden states as text.
fn hidden_states(layers: &[usize]) -> String {
    match layers {
        [0] => "hidden state 0, which enters the first layer".to_string(),
        [layer] => format!("hidden state {layer}, the output of layer {layer}"),
        _ => {
            let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
            format!("hidden states {} (hidden state i is the output of layer i)", layers.join(","))
        }
    }
}
