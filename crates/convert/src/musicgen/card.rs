//! The model card of a bundle, `README.md`: what the model is, its licence, its files' digests, and what is in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::lora::PlannedLora;
use super::part::LICENSE;
use super::plan::MusicgenPlan;
use crate::GENERATOR;
use crate::write::DeltaKept;

/// The text of the card, with the [metadata](https://huggingface.co/docs/hub/model-cards#model-card-metadata) that the
/// Hugging Face hub reads. `digests` is the JSON of the sources' digests.
pub(super) fn text(plan: &MusicgenPlan, digests: &str, delta_kept: Option<&DeltaKept>) -> String {
    let is_instruct = plan.config.cp_transformer.is_some();
    let task = if is_instruct { "audio-to-audio" } else { "text-to-audio" };
    let name = if is_instruct { "Instruct-MusicGen" } else { "MusicGen" };
    let mut text = format!(
        "---\nlibrary_name: mlx\npipeline_tag: {task}\nlicense: {}\ntags:\n- mlx\n- audio\n- musicgen\n---\n\n# {name} for MLX\n\n",
        LICENSE.to_lowercase()
    );
    let decoder = &plan.config.decoder;
    let _ = writeln!(
        text,
        "A language model of {} layers of width {} over {} codebooks of EnCodec{}. The tensors in `model.safetensors` have the \
         names `{}`; `config.json` says which are quantized.\n",
        decoder.num_hidden_layers,
        decoder.hidden_size,
        decoder.num_codebooks,
        if is_instruct { ", with the condition transformer that reads the music to edit" } else { "" },
        plan.names,
    );
    text += &licence(plan);
    text += &sources(plan, digests, delta_kept);
    text += "| folder | encoding | tensors | bytes |\n|---|---|---|---|\n";
    for ((folder, encoding), (count, bytes)) in plan.encodings() {
        let folder = if folder.is_empty() { "." } else { folder };
        let _ = writeln!(text, "| {folder} | {encoding} | {count} | {bytes} |");
    }
    text
}

/// The licences of the parts.
fn licence(plan: &MusicgenPlan) -> String {
    let mut text = format!(
        "## Licence\n\nThe weights that Meta published for MusicGen and EnCodec, and everything derived from them, this model \
         included, are under {LICENSE}: no commercial use, and the authors must be named."
    );
    if plan.parts.iter().any(|part| part.folder == "t5") {
        text += " T5 (`t5/`) is under Apache-2.0.";
    }
    text + "\n\n## Origin\n\n"
}

/// The files that the model was made from, and how.
fn sources(plan: &MusicgenPlan, digests: &str, delta_kept: Option<&DeltaKept>) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    let digests: BTreeMap<String, String> = serde_json::from_str(digests).unwrap_or_default();
    for (name, sha256) in digests {
        let _ = writeln!(text, "| {name}, SHA-256 | `{sha256}` |");
    }
    for lora in plan.lora.iter().chain(&plan.adapter) {
        let PlannedLora { origin, layers, ranks: [_, rank], scales: [low, high], .. } = lora;
        let scale = if low == high { format!("scale {low}") } else { format!("scales {low} to {high}") };
        let noun = if *layers == 1 { "layer" } else { "layers" };
        let _ = writeln!(text, "| LoRA merged | {origin}: {layers} {noun}, rank {rank}, {scale} |");
    }
    if let Some(kept) = delta_kept {
        let (minimum, median, layers) = (kept.minimum, kept.median, kept.layers.len());
        let worst = kept.layers.first().map_or("", |layer| &layer.name);
        let _ = writeln!(
            text,
            "| of the LoRA's change, stored | at least {minimum:.3} (`{worst}`), median {median:.3}; layers: {layers} |"
        );
    }
    if let Some(random) = plan.random {
        let base = if random.is_random() {
            "audiocraft's initialisation: the LoRA was trained on it, not on MusicGen's own weights"
        } else {
            "trained weights"
        };
        let _ = writeln!(text, "| cross-attention's q, k and v before the LoRA | {base} |");
    }
    if let (Some(frames), Some(rows)) = (plan.trained_frames(), plan.positions)
        && rows.second_half_is_untrained()
    {
        let _ = writeln!(text, "| frames whose positions look trained | {frames} |");
    }
    let _ = writeln!(text, "| made with | {GENERATOR} |");
    let _ = writeln!(text, "| weights | {:.1} MB |\n", plan.byte_len() as f64 / 1e6);
    text
}
