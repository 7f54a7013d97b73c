//! The model card, `README.md`: what the model is, its licence, how it was made, and how close it is to its checkpoint.

use std::collections::BTreeMap;
use std::fmt::Write;

use mert_arch::{Encoding, known_by_sha256};

use crate::GENERATOR;
use crate::plan::Plan;
use crate::write::fidelity::Fidelity;
use crate::write::output::Written;

/// The text of the card, with the [metadata](https://huggingface.co/docs/hub/model-cards#model-card-metadata) that the
/// Hugging Face hub reads.
pub(super) fn text(plan: &Plan, written: &Written) -> String {
    let known = known_by_sha256(&written.source_sha256);
    let mut text = String::from("---\nlibrary_name: mlx\npipeline_tag: feature-extraction\n");
    if let Some(known) = known {
        text += &format!("license: {}\n", known.license.to_lowercase());
        if known.revision.is_some() {
            text += &format!("base_model: {}\n", known.name);
        }
    }
    text += "tags:\n- mlx\n- audio\n---\n\n";
    let class = plan.config.family().class;
    let name = known.map_or(class, |known| known.name);
    let _ = writeln!(text, "# {name} for MLX\n");
    let preprocessor = plan.preprocessor.preprocessor;
    let normalized = if preprocessor.do_normalize { ", normalised to zero mean and unit variance" } else { "" };
    let _ = writeln!(
        text,
        "An encoder of {} Hz audio{normalized}, with {} hidden states of {} values a frame. The weights are in MLX's layout \
         (Conv1d `(out, kernel, in)`) with weight norm fused, under the names of the checkpoint on the Hugging Face hub.\n",
        preprocessor.sampling_rate,
        plan.config.num_hidden_states(),
        plan.config.hidden_size,
    );
    let _ = writeln!(text, "| | |\n|---|---|");
    let licence =
        known.map_or("unknown: that of the checkpoint applies".to_string(), |known| known.license.to_string());
    let _ = writeln!(text, "| licence | {licence} |");
    let _ = writeln!(text, "| checkpoint, SHA-256 | `{}` |", written.source_sha256);
    text += &adapter(plan, written);
    let _ = writeln!(text, "| made with | {GENERATOR} |");
    let _ = writeln!(text, "| weights | {:.1} MB |\n", plan.byte_len() as f64 / 1e6);
    text += &encodings(plan);
    text += &match &written.fidelity {
        Some(fidelity) => measured(fidelity),
        None => "## Fidelity\n\nNot measured. `mert-verify` compares the hidden states with the checkpoint's.\n".into(),
    };
    text
}

/// The adapter that was merged, and what the weights have of its changes.
fn adapter(plan: &Plan, written: &Written) -> String {
    let Some(adapter) = &plan.adapter else { return String::new() };
    let sha256 = adapter.sha256.as_ref().map(|sha256| format!(", SHA-256 `{sha256}`")).unwrap_or_default();
    let mut text = format!("| adapter merged | {}{sha256} |\n", adapter.name);
    if let Some(kept) = &written.delta_kept {
        let (minimum, median, layers) = (kept.minimum, kept.median, kept.layers.len());
        let worst = kept.layers.first().map_or("", |layer| &layer.name);
        let _ = writeln!(
            text,
            "| of the adapter's change, stored | at least {minimum:.3} (`{worst}`), median {median:.3}; layers: {layers} |"
        );
    }
    text
}

/// The encodings of the weights, with their numbers and bytes.
fn encodings(plan: &Plan) -> String {
    let mut rows: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for step in &plan.steps {
        let encoding = match step.encoding() {
            Encoding::Float(dtype) => dtype.to_string(),
            Encoding::Quantized { quantization, float } => format!("{quantization}, scales in {float}"),
        };
        let (count, bytes) = rows.entry(encoding).or_default();
        *count += 1;
        *bytes += step.byte_len();
    }
    let mut text = String::from("| encoding | tensors | bytes |\n|---|---|---|\n");
    for (encoding, (count, bytes)) in rows {
        let _ = writeln!(text, "| {encoding} | {count} | {bytes} |");
    }
    text + "\n"
}

/// The measured figures of each hidden state.
fn measured(fidelity: &Fidelity) -> String {
    let mut text = format!(
        "## Fidelity\n\nHidden states compared with the checkpoint's in f32, both computed in f32, on {}. Worst clip of each:\n\n\
         | hidden state | NMSE | cosine of the means | lowest cosine of a frame |\n|---|---|---|---|\n",
        fidelity.clips
    );
    for (index, state) in fidelity.hidden_states.iter().enumerate() {
        let _ =
            writeln!(text, "| {index} | {:.1e} | {:.7} | {:.7} |", state.nmse, state.pooled_cosine, state.frame_cosine);
    }
    if !fidelity.sections.is_empty() {
        let _ = write!(text, "\n{}", fidelity.sections);
    }
    text
}
