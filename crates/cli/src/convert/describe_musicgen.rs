//! The plan and the result of a MusicGen's conversion as text.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{Table, presets};
use mert_arch::printable_line;
use mert_cli::terminal::counted;
use mert_convert::musicgen::{MusicgenPlan, PlannedLora, WrittenMusicgen};

use crate::describe::{describe_delta_kept, describe_step};

/// The files and what they say about the model, a line for each fact.
fn describe_sources(plan: &MusicgenPlan) -> String {
    let mut text = String::new();
    for source in &plan.sources {
        let (option, kind) = (source.option.trim_start_matches('-').to_lowercase(), source.kind);
        let path = source.path.display().to_string();
        let path = printable_line(&source.name.as_ref().map_or(path.clone(), |name| format!("{name}: {path}")));
        text += &format!("{option:<12} {path} ({kind}, {:.1} MB)\n", source.bytes as f64 / 1e6);
    }
    for note in &plan.notes {
        text += &format!("note         {note}\n");
    }
    if !plan.other_objects.is_empty() {
        let objects = plan.other_objects.iter().map(|object| match object.tensors {
            0 => format!("{} ({})", object.name, object.kind),
            count => format!("{} ({}, {})", object.name, object.kind, counted(count, "tensor")),
        });
        text += &format!("left out     {}\n", objects.take(16).collect::<Vec<_>>().join(", "));
    }
    let decoder = &plan.config.decoder;
    text += &format!(
        "model        {}: {}, width {}, {}, feed-forward {}, {} of {}\n",
        plan.config.model_type(),
        counted(decoder.num_hidden_layers, "layer"),
        decoder.hidden_size,
        counted(decoder.num_attention_heads, "head"),
        decoder.ffn_dim,
        counted(decoder.num_codebooks, "codebook"),
        decoder.vocab_size
    );
    text += &format!("config       {}\n", printable_line(&plan.config_origin));
    for assumption in &plan.assumptions {
        text += &format!("  assumed    {assumption}\n");
    }
    text + &describe_training(plan)
}

/// The lines about the merged adapter, and about the traces of the training in the values.
fn describe_training(plan: &MusicgenPlan) -> String {
    let mut text = String::new();
    for lora in plan.lora.iter().chain(&plan.adapter) {
        let PlannedLora { origin, layers, ranks: [low, high], scales: [least, most], scale_origin, is_scale_assumed } =
            lora;
        let assumed = if *is_scale_assumed { "assumed: " } else { "" };
        let ranks = if low == high { format!("rank {low}") } else { format!("ranks {low} to {high}") };
        let scales = if least == most { format!("scale {least}") } else { format!("scales {least} to {most}") };
        text += &format!(
            "LoRA         {origin}: {}, {ranks}, {scales} ({assumed}{scale_origin}), merged in f32\n",
            counted(*layers, "weight")
        );
    }
    if let Some(random) = plan.random {
        let found = format!("{} of {} sampled", random.random, random.sampled);
        text += &match random.is_random() {
            true => format!(
                "random base  the frozen q, k and v of the cross-attention are audiocraft's initialisation ({found}): the LoRA was \
                 trained on it, so that they are taken from the .ckpt\n"
            ),
            false => format!(
                "random base  no: the frozen q, k and v of the cross-attention are trained weights ({found} look random)\n"
            ),
        };
    }
    if let Some(rows) = plan.positions {
        let ([first, second], [before, after]) = (rows.root_mean_square, rows.untouched);
        text += &format!(
            "positions    rows to {}: RMS {first:.4}, {:.0} % as initialised; from {}: RMS {second:.4}, {:.0} %\n",
            rows.half - 1,
            100.0 * before,
            rows.half,
            100.0 * after
        );
        if let (true, Some(frames)) = (rows.second_half_is_untrained(), plan.trained_frames()) {
            text += &format!(
                "  warning    rows from {} were not trained: edit at most {frames} frames at a time\n",
                rows.half
            );
        }
    }
    text
}

/// The dropped tensors by reason.
fn describe_dropped(plan: &MusicgenPlan) -> Vec<(String, &str)> {
    const LISTED: usize = 4;
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for dropped in &plan.dropped {
        reasons.entry(&dropped.reason).or_default().push(&dropped.name);
    }
    let described = reasons.into_iter().flat_map(|(reason, names)| {
        let named: Vec<String> = match names.len() {
            0..=LISTED => names.into_iter().map(str::to_string).collect(),
            count => vec![format!("{count} tensors, such as {}", names[0])],
        };
        named.into_iter().map(move |what| (what, reason))
    });
    described.collect()
}

/// The sizes of the output in one line.
pub(super) fn sizes(plan: &MusicgenPlan) -> String {
    let (count, megabytes) = (plan.tensor_count(), plan.byte_len() as f64 / 1e6);
    let (files, disk) = (plan.files.len(), plan.disk_len() as f64 / 1e6);
    let weights = if files == 1 { "1 file of weights".to_string() } else { format!("{files} files of weights") };
    format!("{}, {megabytes:.1} MB; {}, {disk:.1} MB of disk", counted(count, "tensor"), weights)
}

/// The sizes by folder and encoding, and of each file.
fn describe_sizes(plan: &MusicgenPlan) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["folder", "encoding", "tensors", "MB"]);
    for ((folder, encoding), (count, bytes)) in plan.encodings() {
        let folder = if folder.is_empty() { "." } else { folder };
        table.add_row([folder.to_string(), encoding, count.to_string(), format!("{:.1}", bytes as f64 / 1e6)]);
    }
    for (file, bytes) in &plan.files {
        table.add_row([file.clone(), "file".into(), String::new(), format!("{:.1}", *bytes as f64 / 1e6)]);
    }
    let mut text = format!("{table}\n");
    let mut kept: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in plan.steps().filter_map(|step| step.left_unquantized.as_deref()) {
        *kept.entry(reason).or_default() += 1;
    }
    for (reason, count) in kept {
        text += &format!("not quantized {}: {reason}\n", counted(count, "tensor"));
    }
    text + &format!("{}; {} dropped; names {}\n", sizes(plan), plan.dropped.len(), plan.names)
}

/// The plan: the files, a row for each tensor, and the sizes.
pub(super) fn describe_plan(plan: &MusicgenPlan) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["input", "output", "shape", "steps"]);
    for part in &plan.parts {
        for step in &part.steps {
            let name =
                if part.folder.is_empty() { step.name.clone() } else { format!("{}/{}", part.folder, step.name) };
            let input = step.inputs.iter().map(|input| input.shown()).collect::<Vec<_>>().join(" + ");
            table.add_row([input, name, format!("{:?}", step.shape), describe_step(step, "not quantized")]);
        }
    }
    for (what, reason) in describe_dropped(plan) {
        table.add_row([&what, "–", "", &format!("dropped: {reason}")]);
    }
    format!(
        "{}licence      CC-BY-NC-4.0, which the output inherits\n\n{table}\n\n{}",
        describe_sources(plan),
        describe_sizes(plan)
    )
}

/// The result: the files, the dropped tensors, the digests and the sizes.
pub(super) fn describe_result(plan: &MusicgenPlan, path: &Path, written: &WrittenMusicgen) -> String {
    let mut text = describe_sources(plan) + "licence      CC-BY-NC-4.0, which the output inherits\n";
    for (what, reason) in describe_dropped(plan) {
        text += &format!("dropped      {what}: {reason}\n");
    }
    if let Some(kept) = &written.delta_kept {
        text += &describe_delta_kept(kept);
    }
    for (name, sha256) in &written.sources {
        text += &format!("sha256       {sha256} {}\n", printable_line(name));
    }
    text += &format!(
        "written      {}, {:.1} MB\n",
        printable_line(&path.display().to_string()),
        written.bytes as f64 / 1e6
    );
    text + &describe_sizes(plan)
}
