//! The conversion of a MusicGen: checks the options, plans, writes the bundle and prints the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_arch::Dtype;
use mert_arch::naming::MusicgenNames;
use mert_budget::{MusicgenBudgetReport, MusicgenSubject};
use mert_cli::terminal::{print, progress_bar, say};
use mert_convert::Step;
use mert_convert::musicgen::{MusicgenConversion, MusicgenOptions, MusicgenPlan, RecognizedMusicgen, WrittenMusicgen};
use mert_convert::write::{MAX_SHARD_SIZE, ModelFolder};
use rayon::ThreadPool;
use serde_json::json;

use crate::args::Args;
use crate::describe_musicgen::{describe_plan, describe_result, sizes};
use crate::hub_musicgen::{self, Downloaded, HubInput};
use crate::musicgen_args::ForProgram;
use crate::musicgen_budget::{MeasuredChoice, describe, with_chosen_bits};

/// An input that is a MusicGen.
pub(super) enum Input {
    /// An opened file or folder.
    Local(RecognizedMusicgen),
    /// A model or a file of the hub, which is not yet downloaded.
    Hub(HubInput),
}

/// Converts an input that is a MusicGen.
pub(super) fn run(args: &Args, input: Input) -> anyhow::Result<()> {
    refuse_other_options(args)?;
    let goal = args.quantization.budget.musicgen_goal()?;
    if let Some(output) = &args.output {
        check_is_folder(output)?;
        MusicgenConversion::check_output(output, args.force || args.dry_run)?;
    }
    let mut options = options(args)?;
    let mut downloaded = Downloaded::default();
    // The largest download comes last: what is wrong with the others is found before it.
    hub_musicgen::resolve_options(args, &mut options, &mut downloaded)?;
    let input = match input {
        Input::Local(input) => input,
        Input::Hub(input) => hub_musicgen::open_input(args, &input, &mut options, &mut downloaded)?,
    };
    options.source_names = downloaded.names();
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.map_or(0, usize::from)).build()?;
    let conversion = threads.install(|| MusicgenConversion::new(input, &options))?;
    refuse_types_of_missing_parts(args, conversion.plan())?;
    match (goal, &options.quantize) {
        (Some(goal), Some(quantize)) => {
            let elsewhere = std::env::temp_dir().join("bundles");
            let output = args.output.as_deref().unwrap_or(&elsewhere);
            let temporary = |needed| check_space(output, "the bundles for measurements need", needed);
            let subject = MusicgenSubject::new(&conversion, quantize)?;
            with_chosen_bits(args, &subject, goal, &threads, temporary, |conversion, choice| {
                finish(args, conversion, &threads, &downloaded, Some(choice))
            })
        }
        _ => finish(args, &conversion, &threads, &downloaded, None),
    }
}

/// Writes the bundle unless the plan alone is wanted, and prints the plan or the result.
fn finish(
    args: &Args,
    conversion: &MusicgenConversion,
    threads: &ThreadPool,
    downloaded: &Downloaded,
    choice: Option<&MeasuredChoice<'_>>,
) -> anyhow::Result<()> {
    let plan = conversion.plan();
    let result = match &args.output {
        Some(output) if !args.dry_run => {
            check_space(output, "the output needs", plan.disk_len())?;
            if !args.quiet {
                say(&format!("mert-convert: {}", sizes(plan)));
            }
            Some((output, threads.install(|| write(args, conversion, output, choice))?))
        }
        _ => None,
    };
    show(args, plan, downloaded, choice.map(MeasuredChoice::report), result)
}

/// Writes the bundle with a progress bar, and has a choice of bits checked on what is written.
fn write(
    args: &Args,
    conversion: &MusicgenConversion,
    output: &Path,
    choice: Option<&MeasuredChoice<'_>>,
) -> anyhow::Result<WrittenMusicgen> {
    let length = conversion.plan().byte_len() as u64;
    let bar = progress_bar(Some(length), "{bar:32} {bytes}/{total_bytes}  {wide_msg}", args.quiet);
    let on_step = |step: &Step| {
        bar.set_message(step.name.clone());
        bar.inc(step.byte_len() as u64);
    };
    let inspect = |written: &Path| choice.map_or(Ok(String::new()), |choice| choice.inspect(written));
    let written = conversion.write_inspected(output, args.force, &on_step, &inspect);
    bar.finish_and_clear();
    Ok(written?)
}

/// The choices for the plan.
fn options(args: &Args) -> anyhow::Result<MusicgenOptions> {
    let dtype = args.dtype.unwrap_or(Dtype::F16);
    let musicgen = &args.musicgen;
    let adapter = args.adapter.options();
    Ok(MusicgenOptions {
        base: musicgen.base.clone(),
        codec: musicgen.codec.clone(),
        t5: musicgen.t5.clone(),
        adapter: adapter.path,
        lora_alpha: adapter.alpha,
        min_delta_kept: args.adapter.min_delta_kept,
        names: musicgen.names.unwrap_or(MusicgenNames::Mlx),
        for_mlx_examples: args.program == Some(ForProgram::MlxExamples),
        dtype,
        t5_dtype: musicgen.t5_dtype.unwrap_or(Dtype::F16),
        codec_dtype: musicgen.codec_dtype.unwrap_or(Dtype::F32),
        quantize: args.quantization.options(&ModelFolder::default()).map_err(anyhow::Error::msg)?,
        num_attention_heads: heads(args)?,
        drop: args.drop.clone(),
        max_shard_size: args.max_shard_size.unwrap_or(MAX_SHARD_SIZE),
        source_names: BTreeMap::new(),
    })
}

/// The number of attention heads of `--set`, the one field of a MusicGen that its shapes do not have.
fn heads(args: &Args) -> anyhow::Result<Option<usize>> {
    let mut heads = None;
    for field in &args.set {
        let number = field.strip_prefix("num_attention_heads=").and_then(|number| number.parse().ok());
        match number.filter(|&number| number > 0) {
            Some(number) => heads = Some(number),
            None => bail!(
                "--set {field}: the one field of a MusicGen that can be set is num_attention_heads, a whole number above 0"
            ),
        }
    }
    Ok(heads)
}

/// Refuses options that are about encoders or about other outputs.
fn refuse_other_options(args: &Args) -> anyhow::Result<()> {
    let adapter = args.adapter.options();
    let given = [
        ("--layout", args.layout.is_some()),
        ("--config", args.config.is_some()),
        ("--preprocessor", args.preprocessor.is_some()),
        ("--sampling-rate", args.sampling_rate.is_some()),
        ("--do-normalize", args.do_normalize.is_some()),
        ("--key", args.key.is_some()),
        ("--prefix", args.prefix.is_some()),
        ("--keep", args.keep.is_some()),
        ("--source-sha256", args.source_sha256.is_some()),
        ("--adapter-name", adapter.name.is_some()),
        ("--no-adapter", adapter.ignore),
        ("--int8-budget", args.quantization.budget.int8_budget.is_some()),
        ("--calibration", args.quantization.budget.has_audio()),
        ("--no-fidelity", args.no_fidelity),
    ];
    let coreml = args.coreml.given();
    if let Some(option) = given.into_iter().find(|(_, given)| *given).map(|(name, _)| name).or(coreml) {
        bail!("{option}: the input is a MusicGen, for which there is no such option; leave it out");
    }
    match args.program {
        Some(ForProgram::Encoder(program)) => bail!(
            "--for {program} is for encoders, and the input is a MusicGen: leave it out, or give --for mlx-examples; --names hf \
             writes transformers' names"
        ),
        Some(ForProgram::MlxExamples) if args.musicgen.names.is_some() => {
            bail!("--names and --for mlx-examples both choose the names of the output; give one of them")
        }
        _ => Ok(()),
    }
}

/// Refuses the element type of a part that the output does not have.
fn refuse_types_of_missing_parts(args: &Args, plan: &MusicgenPlan) -> anyhow::Result<()> {
    let given = [
        ("--codec-dtype", args.musicgen.codec_dtype, "encodec", "codec"),
        ("--t5-dtype", args.musicgen.t5_dtype, "t5", "text encoder"),
    ];
    for (option, dtype, folder, part) in given {
        if dtype.is_some() && !plan.parts.iter().any(|part| part.folder == folder) {
            bail!("{option} is the element type of the {part}, which the output does not have; leave it out");
        }
    }
    Ok(())
}

/// Refuses an output whose name is that of a file.
fn check_is_folder(output: &Path) -> anyhow::Result<()> {
    const FILES: [&str; 9] = ["safetensors", "gguf", "mlpackage", "bin", "pt", "pth", "ckpt", "json", "zip"];
    let extension = output.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match extension {
        Some(ending) if FILES.contains(&ending.as_str()) => bail!(
            "a MusicGen is written as a folder, and {} has the name of a file; give a name without .{ending}",
            output.display()
        ),
        _ => Ok(()),
    }
}

/// Refuses to begin where the disk has no room beside the output for a number of bytes, which `what` is about.
fn check_space(output: &Path, what: &str, needed: u64) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let folder = mert_fs::parent_folder(output);
        // Some file systems cannot tell; the write itself will.
        if let Ok(found) = nix::sys::statvfs::statvfs(folder) {
            // A block count has 32 bits on macOS.
            #[allow(clippy::useless_conversion)]
            let free = u64::from(found.blocks_available()).saturating_mul(found.fragment_size());
            if free < needed {
                bail!(
                    "{} has {:.2} GB free, and {what} {:.2} GB",
                    folder.display(),
                    free as f64 / 1e9,
                    needed as f64 / 1e9
                );
            }
        }
    }
    let _ = (output, what, needed);
    Ok(())
}

/// Prints the plan or the result, as text or JSON.
fn show(
    args: &Args,
    plan: &MusicgenPlan,
    downloaded: &Downloaded,
    budget: Option<MusicgenBudgetReport>,
    result: Option<(&PathBuf, WrittenMusicgen)>,
) -> anyhow::Result<()> {
    let text = if args.json {
        let output = result.map(|(path, written)| json!({ "path": path, "written": written }));
        let target = json!({ "tensors": plan.tensor_count(), "bytes": plan.byte_len(), "disk_bytes": plan.disk_len() });
        let mut document = json!({ "input": args.input, "plan": plan, "output": output, "target": target });
        if let Some(hub) = downloaded.to_json() {
            document["hub"] = hub;
        }
        if let Some(budget) = budget {
            document["budget"] = serde_json::to_value(budget)?;
        }
        serde_json::to_string_pretty(&document)? + "\n"
    } else if args.quiet {
        let scale = plan.lora.iter().filter(|lora| lora.is_scale_assumed);
        let scale = scale.map(|lora| format!("LoRA scale {}: {}", lora.scales[0], lora.scale_origin));
        let assumed: Vec<String> = plan.assumptions.iter().cloned().chain(scale).collect();
        if !assumed.is_empty() {
            say(&format!("mert-convert: assumed: {}", assumed.join("; ")));
        }
        return Ok(());
    } else {
        let text = match result {
            None => describe_plan(plan),
            Some((path, written)) => describe_result(plan, path, &written),
        };
        budget.as_ref().map(describe).unwrap_or_default() + &text
    };
    Ok(print(&text)?)
}
