//! `mert-convert`: checks the options, plans, converts and prints the result.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_arch::{Dtype, Layout};
use mert_checkpoint::{CheckpointError, Source, shell_option, shell_word};
use mert_cli::conversion_cache::assumptions;
use mert_cli::hub::{Hub, Messages, open_source};
use mert_cli::terminal::{print, progress_bar, say};
use mert_convert::write::CoreMlProgram;
use mert_convert::{ConvertError, Plan, PlanOptions, PreprocessorOptions, Step, Target, write};
use mert_fs::{FsError, sha256_output};
use mert_hub::{HubModel, HubName};
use serde_json::json;

use crate::args::Args;
use crate::describe::{Report, describe_plan, describe_result};

/// The output's format, by the program that it is for or else by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    ModelFolder,
    CoreMl,
}

impl Format {
    fn of(output: &Path, target: Option<Target>) -> Result<Format, ConvertError> {
        let path = || output.to_path_buf();
        let extension = output.extension().and_then(|extension| extension.to_str());
        let Some(target) = target else {
            return match extension {
                Some("safetensors") => Ok(Format::Safetensors),
                Some("mlpackage") => Ok(Format::CoreMl),
                _ => Err(ConvertError::OutputFormat { path: path() }),
            };
        };
        let is_file = matches!(extension, Some("safetensors"));
        let is_package = matches!(extension, Some("mlpackage"));
        let unfit = |expected| Err(ConvertError::TargetOutput { target: target.name(), expected, path: path() });
        match target.is_folder() {
            true if is_file || is_package => unfit("a folder, whose name has no such ending"),
            true => Ok(Format::ModelFolder),
            false if is_file => Ok(Format::Safetensors),
            false => unfit("a file NAME.safetensors"),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let format = match &args.output {
        Some(output) => check_output(output, args)?,
        None => Format::Safetensors,
    };
    if let (Format::Safetensors | Format::ModelFolder, Some(option)) = (format, args.coreml.given()) {
        bail!("{option} is for Core ML packages: give an output whose name ends in .mlpackage");
    }
    if let (Format::CoreMl, Some(_)) = (format, args.layout) {
        bail!("--layout is for safetensors files: a Core ML package has only one layout; leave it out");
    }
    if let (Format::CoreMl, Some(_)) = (format, args.keep) {
        bail!("--keep is for safetensors files: a Core ML package returns hidden states; leave it out");
    }
    let (model, source) = open_input(args)?;
    let model = model.as_ref();
    let layout = if format == Format::CoreMl { Layout::Torch } else { args.layout.unwrap_or(Layout::Mlx) };
    let options = PlanOptions {
        target: args.target,
        layout,
        quantize: args.quantization.options().map_err(anyhow::Error::msg)?,
        compress: args.coreml.compression()?,
        dtype: args.dtype.unwrap_or_else(|| args.target.map_or(Dtype::F16, Target::default_dtype)),
        config_file: args.config.clone(),
        config_set: args.set.clone(),
        preprocessor: PreprocessorOptions {
            file: args.preprocessor.clone(),
            sampling_rate: args.sampling_rate,
            do_normalize: args.do_normalize,
        },
        prefix: args.prefix.clone(),
        keep_final_proj: args.keep.is_some(),
        drop: args.drop.clone(),
    };
    let plan = Plan::new(&source, &options)?;
    let program = match format {
        Format::CoreMl => Some(write::coreml_program(&plan, &args.coreml.options())?),
        Format::Safetensors | Format::ModelFolder => None,
    };
    let result = match &args.output {
        Some(output) if !args.dry_run => Some((output, convert(args, &plan, program.as_ref(), &source, output)?)),
        _ => None,
    };
    show(args, model, &plan, program.as_ref(), result)
}

/// Opens the input: a file, a folder, or a model of the hub, which is downloaded.
fn open_input(args: &Args) -> anyhow::Result<(Option<HubModel>, Source)> {
    let key = args.key.as_deref();
    if let Some(name) = HubName::of_input(&args.input)? {
        if args.source_sha256.is_some() {
            bail!("--source-sha256 is for local files: downloads from the hub are verified; leave it out");
        }
        let messages = Messages { command: "mert-convert", notes: !args.quiet, bar: !args.quiet && !args.json };
        let model = Hub::from_env(messages)?.model(&name)?;
        let source = open_source(&model, key)?;
        return Ok((Some(model), source));
    }
    let mut source = Source::open_key(&args.input, key)?;
    if let Some(sha256) = &args.source_sha256 {
        source.trust_sha256(&sha256.to_ascii_lowercase())?;
    }
    Ok((None, source))
}

/// Checks the output before the checkpoint is read, which takes longer.
fn check_output(output: &Path, args: &Args) -> Result<Format, ConvertError> {
    let format = Format::of(output, args.target)?;
    let path = output.to_path_buf();
    match format {
        Format::CoreMl => write::check_package_output(output, args.force || args.dry_run)?,
        Format::ModelFolder => write::check_model_folder_output(output, args.force || args.dry_run)?,
        Format::Safetensors if output.exists() && !output.is_file() => {
            return Err(FsError::OutputNotAFile { path }.into());
        }
        Format::Safetensors if output.exists() && !args.force && !args.dry_run => {
            return Err(FsError::OutputExists { path }.into());
        }
        Format::Safetensors => {}
    }
    Ok(format)
}

/// Writes the output, with a progress bar, and computes its SHA-256 unless nothing is printed.
fn convert(
    args: &Args,
    plan: &Plan,
    program: Option<&CoreMlProgram<'_>>,
    source: &Source,
    output: &Path,
) -> anyhow::Result<Report> {
    let length = program.map_or(plan.byte_len(), CoreMlProgram::byte_len) as u64;
    let bar = progress_bar(Some(length), "{bar:32} {bytes}/{total_bytes}  {wide_msg}", args.quiet);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.map_or(0, usize::from)).build()?;
    let on_step = |step: &Step| {
        bar.set_message(step.name.clone());
        bar.inc(step.byte_len() as u64);
    };
    let written = threads.install(|| match program {
        Some(program) => write::coreml(program, source, output, args.force, &on_step),
        None if plan.target.is_some_and(Target::is_folder) => {
            write::model_folder(plan, source, output, args.force, &on_step)
        }
        None => write::safetensors(plan, source, output, args.force, &on_step),
    });
    bar.finish_and_clear();
    let written = written?;
    let sha256 = if args.quiet { String::new() } else { sha256_output(output)? };
    Ok(Report { sha256, written })
}

/// Prints the plan or the result, as text or JSON.
fn show(
    args: &Args,
    model: Option<&HubModel>,
    plan: &Plan,
    program: Option<&CoreMlProgram<'_>>,
    result: Option<(&PathBuf, Report)>,
) -> anyhow::Result<()> {
    let text = if args.json {
        let result = result.map(|(path, written)| json!({ "path": path, "written": written }));
        let mut document = json!({ "input": args.input, "plan": plan, "output": result });
        if let Some(model) = model {
            document["hub"] = json!({ "model": model.repo, "revision": model.commit, "weights": model.weights });
        }
        if let Some(program) = program {
            document["program"] = json!({ "summary": program.summary(), "tensors": program.tensor_count() });
        }
        serde_json::to_string_pretty(&document)? + "\n"
    } else if args.quiet {
        let assumptions = assumptions(plan);
        if !assumptions.is_empty() {
            say(&format!("mert-convert: {}", assumptions.join("; ")));
        }
        return Ok(());
    } else {
        match result {
            None => describe_plan(args, model, plan, program),
            Some((path, written)) => describe_result(args, model, plan, program, path, &written),
        }
    };
    Ok(print(&text)?)
}

/// Prints an error. For a checkpoint with several models, also prints a command for each.
pub(crate) fn report(error: &anyhow::Error) {
    // Each variant's message contains its source's; the chain would repeat it.
    let mut text = format!("mert-convert: {error}");
    let ambiguous = match error.downcast_ref() {
        Some(ConvertError::Checkpoint(error)) => Some(error),
        _ => error.downcast_ref::<CheckpointError>(),
    };
    if let Some(CheckpointError::Ambiguous { candidates, option }) = ambiguous {
        text += &commands(candidates, option);
    }
    say(&text);
}

/// The command as typed, completed with each value of an option.
fn commands(values: &[String], option: &str) -> String {
    let typed: Option<Vec<String>> = std::env::args_os().skip(1).map(|word| shell_word(word.to_str()?)).collect();
    // A command with control characters or other bytes than UTF-8 could not be pasted.
    let Some(typed) = typed.map(|words| words.join(" ")) else { return String::new() };
    let options = values.iter().filter_map(|value| shell_option(option, value));
    options.map(|option| format!("\n  mert-convert {typed} {option}")).collect()
}
