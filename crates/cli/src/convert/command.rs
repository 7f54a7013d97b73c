//! `mert-convert`: checks the options, plans, converts and prints the result.

use anyhow::bail;
use mert_arch::Dtype;
use mert_checkpoint::{CheckpointError, Source, shell_option, shell_word};
use mert_cli::conversion::{Conversion, Converted};
use mert_cli::conversion_cache::assumptions;
use mert_cli::hub::open_source;
use mert_cli::terminal::{print, say};
use mert_convert::musicgen::RecognizedMusicgen;
use mert_convert::write::Target;
use mert_convert::{ConvertError, PlanOptions, PreprocessorOptions, Program};
use mert_hub::{HubModel, HubName};

use crate::args::Args;
use crate::describe::{describe_plan, describe_result};
use crate::describe_choices::{describe_bits, describe_int8};
use crate::hub_musicgen::HubInput;
use crate::musicgen::Input;
use crate::musicgen_args::ForProgram;
use crate::progress::Bars;
use crate::{hub_musicgen, musicgen, target};

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(input) = RecognizedMusicgen::open(&args.input) {
        return musicgen::run(args, Input::Local(input));
    }
    if let Some(file) = hub_musicgen::file_of_model(&args.input)? {
        return musicgen::run(args, Input::Hub(HubInput::File(file)));
    }
    let mut name = HubName::of_input(&args.input)?;
    if let Some(name) = &mut name {
        let (is_musicgen, pinned) = hub_musicgen::look_up(args, name)?;
        if is_musicgen {
            return musicgen::run(args, Input::Hub(HubInput::Model(pinned)));
        }
        *name = pinned;
    }
    refuse_musicgen_options(args)?;
    let target = target::choose(args)?;
    if let Some(output) = &args.output {
        target.check_output(output, args.force || args.dry_run)?;
    }
    let options = plan_options(args, target.as_ref())?;
    target.check_options(&options)?;
    let (model, source) = open_input(args, name)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.map_or(0, usize::from)).build()?;
    let conversion = Conversion {
        source: &source,
        target: target.as_ref(),
        options,
        output: args.output.as_deref(),
        dry_run: args.dry_run,
        force: args.force,
        goal: args.quantization.budget.goal()?,
        int8_budget: args.quantization.budget.int8_budget,
        audio: args.quantization.budget.audio(),
        fidelity: !args.no_fidelity,
        // The digest takes a third of the time, and is of no use where nothing is printed.
        sha256: !args.quiet,
        threads: &threads,
    };
    conversion.run(&Bars::new(args.quiet), |converted| show(args, model.as_ref(), &converted))
}

/// Refuses options about MusicGen for another input.
fn refuse_musicgen_options(args: &Args) -> anyhow::Result<()> {
    let program = (args.program == Some(ForProgram::MlxExamples)).then_some("--for mlx-examples");
    match args.musicgen.given().or(program) {
        Some(option) => bail!("{option} is for MusicGen, and the input is none that can be read; leave it out"),
        None => Ok(()),
    }
}

/// The choices for the plan.
fn plan_options(args: &Args, target: &dyn Target) -> anyhow::Result<PlanOptions> {
    Ok(PlanOptions {
        program: args.encoder_program(),
        layout: target.layout(args.layout)?,
        quantize: args.quantization.options(target).map_err(anyhow::Error::msg)?,
        int8_exceptions: None,
        compress: args.coreml.compression()?,
        dtype: args.dtype.unwrap_or_else(|| args.encoder_program().map_or(Dtype::F16, Program::default_dtype)),
        config_file: args.config.clone(),
        config_set: args.config_fields()?,
        preprocessor: PreprocessorOptions {
            file: args.preprocessor.clone(),
            sampling_rate: args.sampling_rate,
            do_normalize: args.do_normalize,
        },
        prefix: args.prefix.clone(),
        keep_final_proj: args.keep.is_some(),
        min_delta_kept: args.adapter.min_delta_kept,
        drop: args.drop.clone(),
    })
}

/// Opens the input: a file, a folder, or the model of the hub that it names, which is downloaded.
fn open_input(args: &Args, name: Option<HubName>) -> anyhow::Result<(Option<HubModel>, Source)> {
    let key = args.key.as_deref();
    let adapter = args.adapter.options();
    if let Some(name) = name {
        if args.source_sha256.is_some() {
            bail!("--source-sha256 is for local files: downloads from the hub are verified; leave it out");
        }
        let model = hub_musicgen::hub(args)?.model(&name)?;
        let source = open_source(&model, key, &adapter)?;
        return Ok((Some(model), source));
    }
    let mut source = Source::open_with(&args.input, key, &adapter)?;
    if let Some(sha256) = &args.source_sha256 {
        source.trust_sha256(&sha256.to_ascii_lowercase())?;
    }
    Ok((None, source))
}

/// Prints the plan or the result, as text or JSON.
fn show(args: &Args, model: Option<&HubModel>, converted: &Converted<'_>) -> anyhow::Result<()> {
    let Converted { plan, prepared, bits, int8, output } = converted;
    let text = if args.json {
        serde_json::to_string_pretty(&converted.to_json(&args.input, model))? + "\n"
    } else if args.quiet {
        let assumptions = assumptions(plan);
        if !assumptions.is_empty() {
            say(&format!("mert-convert: {}", assumptions.join("; ")));
        }
        return Ok(());
    } else {
        let text = match output {
            None => describe_plan(args, model, plan, *prepared),
            Some((path, written)) => describe_result(args, model, plan, *prepared, path, written),
        };
        bits.map(describe_bits).unwrap_or_default() + &int8.map(describe_int8).unwrap_or_default() + &text
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
