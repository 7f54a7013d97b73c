//! `mert-convert`: checks the options, plans, converts and prints the result.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_arch::Dtype;
use mert_checkpoint::{CheckpointError, Source, shell_option, shell_word};
use mert_cli::conversion_cache::assumptions;
use mert_cli::hub::open_source;
use mert_cli::terminal::{print, progress_bar, say};
use mert_convert::musicgen::RecognizedMusicgen;
use mert_convert::write::{Fidelity, PreparedOutput, Target, WriteJob, no_inspection};
use mert_convert::{ConvertError, Plan, PlanOptions, PreprocessorOptions, Program, Step};
use mert_fs::sha256_output;
use mert_hub::{HubModel, HubName};
use rayon::ThreadPool;
use serde_json::json;

use crate::args::Args;
use crate::budget::{MeasuredChoice, describe, with_chosen_bits};
use crate::describe::{Report, describe_plan, describe_result};
use crate::hub_musicgen::HubInput;
use crate::int8::{self, MeasuredInt8, with_chosen_modules};
use crate::musicgen::Input;
use crate::musicgen_args::ForProgram;
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
    let conversion =
        Conversion { args, target: target.as_ref(), model: model.as_ref(), source: &source, threads: &threads };
    match args.quantization.budget.goal()? {
        None => conversion.choose_modules(&options, None),
        Some(goal) => with_chosen_bits(args, &source, &options, goal, &threads, |bits| {
            conversion.choose_modules(&bits.chosen.options, Some(bits))
        }),
    }
}

/// The choices that were made by measurement.
#[derive(Clone, Copy)]
struct Choices<'a> {
    bits: Option<&'a MeasuredChoice<'a>>,
    int8: Option<&'a MeasuredInt8<'a>>,
}

/// Refuses options about MusicGen for another input.
fn refuse_musicgen_options(args: &Args) -> anyhow::Result<()> {
    let program = (args.program == Some(ForProgram::MlxExamples)).then_some("--for mlx-examples");
    match args.musicgen.given().or(program) {
        Some(option) => bail!("{option} is for MusicGen, and the input is none that can be read; leave it out"),
        None => Ok(()),
    }
}

/// The inputs of a conversion.
struct Conversion<'a> {
    args: &'a Args,
    target: &'a dyn Target,
    model: Option<&'a HubModel>,
    source: &'a Source,
    threads: &'a ThreadPool,
}

impl Conversion<'_> {
    /// Chooses the modules that keep floats in 8-bit integers, if it is asked to, and runs.
    fn choose_modules(&self, options: &PlanOptions, bits: Option<&MeasuredChoice<'_>>) -> anyhow::Result<()> {
        let Some(budget) = self.args.quantization.budget.int8_budget else {
            return self.run(options, Choices { bits, int8: None });
        };
        // A plan that the output cannot hold is refused before anything is measured.
        self.target.prepare(&self.target.refine(Plan::new(self.source, options)?)?)?;
        with_chosen_modules(self.args, self.source, options, budget, self.threads, |int8| {
            let int8_exceptions = Some(int8.chosen.exceptions.clone());
            let options = PlanOptions { int8_exceptions, ..options.clone() };
            self.run(&options, Choices { bits, int8: Some(int8) })
        })
    }

    /// Plans, converts, and prints the plan or the result.
    fn run(&self, options: &PlanOptions, choices: Choices<'_>) -> anyhow::Result<()> {
        let args = self.args;
        let plan = self.target.refine(Plan::new(self.source, options)?)?;
        let prepared = self.target.prepare(&plan)?;
        let result = match &args.output {
            Some(output) if !args.dry_run => Some((output, self.convert(options, prepared.as_ref(), output, choices)?)),
            _ => None,
        };
        show(args, self.model, &plan, prepared.as_ref(), choices, result)
    }

    /// Writes the output, with a progress bar, and computes its SHA-256 unless nothing is printed.
    fn convert(
        &self,
        options: &PlanOptions,
        prepared: &dyn PreparedOutput,
        output: &Path,
        choices: Choices<'_>,
    ) -> anyhow::Result<Report> {
        let args = self.args;
        let length = prepared.byte_len() as u64;
        let bar = progress_bar(Some(length), "{bar:32} {bytes}/{total_bytes}  {wide_msg}", args.quiet);
        let on_step = |step: &Step| {
            bar.set_message(step.name.clone());
            bar.inc(step.byte_len() as u64);
        };
        let inspect = |written: &Path| match choices.bits {
            Some(bits) => bits.inspect(written),
            None if prepared.records_fidelity() && !args.no_fidelity => {
                let measured = mert_budget::fidelity(self.source, options, written);
                measured.map(Some).map_err(|error| error.to_string())
            }
            None => no_inspection(written),
        };
        let inspect = |written: &Path| {
            let Some(int8) = choices.int8 else { return inspect(written) };
            int8.inspect(written)?;
            let section = int8.chosen.report.to_markdown();
            let add = |fidelity: Fidelity| {
                let sections = [fidelity.sections, section].join("\n");
                Fidelity { sections: sections.trim_start().to_string(), ..fidelity }
            };
            Ok(inspect(written)?.map(add))
        };
        let job = WriteJob { source: self.source, output, force: args.force, on_step: &on_step, inspect: &inspect };
        let written = self.threads.install(|| prepared.write(&job));
        bar.finish_and_clear();
        let written = written?;
        let sha256 = if args.quiet { String::new() } else { sha256_output(output)? };
        Ok(Report { sha256, written })
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
fn show(
    args: &Args,
    model: Option<&HubModel>,
    plan: &Plan,
    prepared: &dyn PreparedOutput,
    choices: Choices<'_>,
    result: Option<(&PathBuf, Report)>,
) -> anyhow::Result<()> {
    let text = if args.json {
        let result = result.map(|(path, written)| json!({ "path": path, "written": written }));
        let mut document = json!({ "input": args.input, "plan": plan, "output": result });
        if let Some(model) = model {
            document["hub"] = json!({ "model": model.repo, "revision": model.commit, "weights": model.weights });
        }
        if let Some(bits) = choices.bits {
            document["budget"] = serde_json::to_value(&bits.chosen.report)?;
        }
        if let Some(int8) = choices.int8 {
            document["int8"] = serde_json::to_value(&int8.chosen.report)?;
        }
        let (form, tensors) = (prepared.form(), prepared.tensor_count());
        document["target"] =
            json!({ "form": form, "tensors": tensors, "bytes": prepared.byte_len(), "details": prepared.details() });
        serde_json::to_string_pretty(&document)? + "\n"
    } else if args.quiet {
        let assumptions = assumptions(plan);
        if !assumptions.is_empty() {
            say(&format!("mert-convert: {}", assumptions.join("; ")));
        }
        return Ok(());
    } else {
        let text = match result {
            None => describe_plan(args, model, plan, prepared),
            Some((path, written)) => describe_result(args, model, plan, prepared, path, &written),
        };
        let bits = choices.bits.map(|bits| describe(&bits.chosen.report)).unwrap_or_default();
        let int8 = choices.int8.map(|int8| int8::describe(&int8.chosen.report)).unwrap_or_default();
        bits + &int8 + &text
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
