//! The plan and the result of a conversion as text.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{Table, presets};
use mert_arch::{Encoding, KnownCheckpoint, known_by_sha256, printable_line};
use mert_cli::conversion::WrittenOutput;
use mert_cli::terminal::counted;
use mert_convert::transform::{LinearQuantize, MergeLora, Transform, Transpose};
use mert_convert::write::{DeltaKept, PreparedOutput};
use mert_convert::{ConfigOrigin, Plan, PlannedAdapter, PlannedPreprocessor, Step, StepInput};
use mert_hub::HubModel;

use crate::args::Args;

/// The checkpoint, its configuration and its audio input, a line for each fact.
fn describe_source(args: &Args, model: Option<&HubModel>, plan: &Plan) -> String {
    let mut text = match model {
        Some(model) => format!("checkpoint   {} at {}\n", model.repo, model.commit),
        None => format!("checkpoint   {}\n", printable_line(&args.input.display().to_string())),
    };
    for note in &plan.notes {
        text += &format!("note         {note}\n");
    }
    if !plan.state_dict.is_empty() {
        text += &format!("dictionary   {}\n", plan.state_dict);
    }
    if !plan.prefix.is_empty() {
        text += &format!("key prefix   {}\n", plan.prefix);
    }
    if plan.unwrapped {
        text += "wrappers     removed from tensor names (_orig_mod and the like)\n";
    }
    if let Some(objects) = describe_other_objects(plan) {
        text += &format!("left out     {objects}\n");
    }
    if let Some(adapter) = &plan.adapter {
        text += &describe_adapter(adapter);
    }
    text += &format!("model        {}\n", plan.recognized);
    if let Some(cut) = &plan.cut {
        text += &format!("cut          {cut}\n");
    }
    text += &format!("config       {}\n", plan.config_origin);
    for assumption in plan.config_origin.assumptions() {
        text += &format!("  assumed    {assumption}\n");
    }
    if !plan.config_origin.assumptions().is_empty() {
        text += "  if an assumption is wrong, give --config config.json or --set FIELD=VALUE\n";
    }
    for set in &plan.config_set {
        text += &format!("  set        {set}\n");
    }
    text += &describe_preprocessor(&plan.preprocessor);
    if let Some(size) = plan.final_proj {
        let width = plan.config.hidden_size;
        let purpose = if plan.program.is_none() { ", for mert-embed --project final_proj" } else { "" };
        text += &format!("kept         final_proj, {width} to {size} values a frame{purpose}\n");
    }
    text
}

/// The adapter that is merged, in one line.
fn describe_adapter(adapter: &PlannedAdapter) -> String {
    let scale = match adapter.scales {
        [low, high] if low == high => format!("scale {low}"),
        [low, high] => format!("scales {low} to {high}"),
    };
    let replaced = match adapter.replaced {
        0 => String::new(),
        count => format!(", {} replaced", counted(count, "tensor")),
    };
    let origin = printable_line(&adapter.origin);
    format!("adapter      {origin}: {}, {scale}{replaced}\n", counted(adapter.layers, "linear layer"))
}

/// What the weights have of an adapter's changes, with the worst layers.
pub(super) fn describe_delta_kept(kept: &DeltaKept) -> String {
    const LISTED: usize = 3;
    let (minimum, median, layers) = (kept.minimum, kept.median, counted(kept.layers.len(), "layer"));
    let mut text =
        format!("delta kept   at least {minimum:.3}, median {median:.3} of the adapter's change in {layers}\n");
    for layer in kept.layers.iter().take(LISTED) {
        text += &format!("             {:.3} in {}\n", layer.kept, printable_line(&layer.name));
    }
    text
}

/// The model's audio input, with the origin of each field.
fn describe_preprocessor(planned: &PlannedPreprocessor) -> String {
    let PlannedPreprocessor { preprocessor, sampling_rate_origin, do_normalize_origin } = planned;
    let mut text = format!("audio        {} Hz ({sampling_rate_origin})\n", preprocessor.sampling_rate);
    text += &format!("             do_normalize {} ({do_normalize_origin})\n", preprocessor.do_normalize);
    if sampling_rate_origin.is_assumed() || do_normalize_origin.is_assumed() {
        text += "  if that is wrong, give --preprocessor preprocessor_config.json, --sampling-rate or --do-normalize\n";
    }
    text
}

/// The objects outside the model's dictionary, in one line: "epoch (int), optimizer (dict, 96 tensors)".
fn describe_other_objects(plan: &Plan) -> Option<String> {
    const LISTED: usize = 8;
    // The training configuration is not left out: the plan is made from it.
    let is_cfg = |name: &str| matches!(plan.config_origin, ConfigOrigin::Cfg { .. }) && matches!(name, "cfg" | "args");
    let objects = plan.other_objects.iter().filter(|object| !is_cfg(&object.name));
    let count = objects.clone().count();
    let described = objects.map(|object| match object.tensors {
        0 => format!("{} ({})", object.name, object.kind),
        count => format!("{} ({}, {})", object.name, object.kind, counted(count, "tensor")),
    });
    let mut listed: Vec<String> = described.take(LISTED).collect();
    if count > LISTED {
        listed.push(format!("and {} more", count - LISTED));
    }
    (!listed.is_empty()).then(|| listed.join(", "))
}

/// The dropped tensors with their reasons; a count where one reason has many tensors.
fn dropped(plan: &Plan) -> Vec<(String, &str)> {
    const LISTED: usize = 6;
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for dropped in &plan.dropped {
        reasons.entry(&dropped.reason).or_default().push(&dropped.name);
    }
    let described = reasons.into_iter().flat_map(|(reason, names)| {
        let named: Vec<String> = match names.len() {
            0..=LISTED => names.into_iter().map(str::to_string).collect(),
            count => vec![format!("{count} tensors")],
        };
        named.into_iter().map(move |what| (what, reason))
    });
    described.collect()
}

/// The plan: the source, a row for each tensor, and a summary.
pub(super) fn describe_plan(
    args: &Args,
    model: Option<&HubModel>,
    plan: &Plan,
    prepared: &dyn PreparedOutput,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["input", "output", "shape", "steps"]);
    let left = if plan.compression.is_some() { "not compressed" } else { "not quantized" };
    for step in &plan.steps {
        let (output, shape) = (step.name.clone(), format!("{:?}", step.shape));
        let input = step.inputs.iter().map(StepInput::shown).collect::<Vec<_>>().join(" + ");
        table.add_row([input, output, shape, describe_step(step, left)]);
    }
    for (what, reason) in dropped(plan) {
        table.add_row([&what, "–", "", &format!("dropped: {reason}")]);
    }
    let known = plan.known.map(describe_known).unwrap_or_default();
    format!("{}{known}\n{table}\n\n{}", describe_source(args, model, plan), summary(plan, prepared))
}

/// A published checkpoint and its licence.
fn describe_known(known: &KnownCheckpoint) -> String {
    let revision = known.revision.map(|revision| format!(" at {revision}")).unwrap_or_default();
    let name = known.name;
    format!("published    {name}{revision}\nlicence      {}, which the output inherits\n", known.license)
}

/// The transforms of a step, and the reason why the tensor is left as it is.
pub(super) fn describe_step(step: &Step, left: &str) -> String {
    let transforms: Vec<String> = step.chain.iter().map(describe_transform).collect();
    let reason = step.left_unquantized.as_ref().map(|reason| format!(" ({left}: {reason})"));
    transforms.join(", ") + &reason.unwrap_or_default()
}

fn describe_transform(transform: &Transform) -> String {
    match transform {
        Transform::Rename(rename) => match rename.removed_prefix() {
            Some(prefix) => format!("prefix {} removed", printable_line(prefix)),
            None => "renamed".into(),
        },
        Transform::FuseWeightNorm(fuse) => format!("weight norm (dim {}) fused", fuse.dim),
        Transform::WeightNormDirection(fuse) => format!("direction of weight norm (dim {})", fuse.dim),
        Transform::WeightNormMagnitude(fuse) => {
            format!("norms of the fused weight (dim {}), which is its own direction", fuse.dim)
        }
        Transform::MergeLora(MergeLora { rank, scale, has_magnitude, .. }) => {
            let method = if *has_magnitude { "DoRA" } else { "LoRA" };
            format!("{method} merged (rank {rank}, scale {scale})")
        }
        Transform::AddScaled(add) => format!("bias of LoRA added (scale {})", add.scale),
        Transform::SumBiases => "sum of the two biases".into(),
        Transform::Transpose(Transpose { axes: [a, b, c] }) => format!("transposed ({a}, {b}, {c})"),
        Transform::Cast(cast) if cast.from.name() == cast.to.name() => format!("{} kept", cast.to),
        Transform::Cast(cast) => format!("{} → {}", cast.from.name(), cast.to),
        Transform::Quantize(quantize) => format!("quantized {}", quantize.quantization),
        Transform::GgmlBlocks(blocks) => format!("blocks of {}", blocks.name()),
        Transform::LinearQuantize(LinearQuantize { codes, block }) => {
            format!("compressed to {}, {block} to a scale", codes.name())
        }
        Transform::Palettize(palettize) => format!("compressed to {}-bit indices into a palette", palettize.bits),
    }
}

/// The number and size of the output's tensors, its form and its details.
fn summary(plan: &Plan, prepared: &dyn PreparedOutput) -> String {
    let (count, size, dropped) = (prepared.tensor_count(), prepared.byte_len() as f64 / 1e6, plan.dropped.len());
    let (form, dtype, encoding) = (prepared.form(), plan.dtype, describe_quantization(plan));
    let mut text =
        format!("{}, {size:.1} MB, {form}, {dtype}{encoding}; {dropped} dropped\n", counted(count, "tensor"));
    for line in prepared.details() {
        text += &format!("{line}\n");
    }
    text
}

/// The quantized layers, by their encoding: " with 72 linear layers in 4-bit g64 and 1 in 8-bit g64".
fn describe_quantization(plan: &Plan) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for step in &plan.steps {
        let encoding = match (step.chain.last(), step.encoding()) {
            (Some(Transform::GgmlBlocks(blocks)), _) => blocks.name().to_string(),
            (_, Encoding::Quantized { quantization, .. }) => quantization.to_string(),
            (_, Encoding::Float(_)) => continue,
        };
        *counts.entry(encoding).or_default() += 1;
    }
    let mut counts = counts.into_iter();
    let Some((encoding, count)) = counts.next() else { return String::new() };
    let first = format!(" with {} in {encoding}", counted(count, "linear layer"));
    counts.fold(first, |text, (encoding, count)| text + &format!(", {count} in {encoding}"))
}

/// The result: the source, the licence, the dropped tensors, the output and a summary.
pub(super) fn describe_result(
    args: &Args,
    model: Option<&HubModel>,
    plan: &Plan,
    prepared: &dyn PreparedOutput,
    path: &Path,
    report: &WrittenOutput,
) -> String {
    let mut text = describe_source(args, model, plan);
    match known_by_sha256(&report.written.source_sha256) {
        Some(known) => text += &describe_known(known),
        None => text += "licence      unknown: the output inherits the checkpoint's\n",
    }
    for (what, reason) in dropped(plan) {
        text += &format!("dropped      {what}: {reason}\n");
    }
    if let Some(kept) = &report.written.delta_kept {
        text += &describe_delta_kept(kept);
    }
    text += &format!("written      {}\n", printable_line(&path.display().to_string()));
    text += &format!("sha256       {}\n", report.sha256);
    if let Some((fidelity, worst)) = report.written.fidelity.as_ref().and_then(|all| Some((all, all.worst()?))) {
        let states = fidelity.hidden_states.len();
        text += &format!("fidelity     {worst}, the worst of {states} hidden states, on {}\n", fidelity.clips);
    }
    text + &summary(plan, prepared)
}
