//! The command line of `mert-convert`: its options and printed output.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Parser;
use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use mert_arch::{ConfigField, Dtype, LayerSelection, Layout, known_by_sha256};
use mert_convert::hub::{self, HubModel, HubName, HubSettings};
use mert_convert::write::{CoreMlOptions, CoreMlProgram, DeploymentTarget, InputLengths, Written};
use mert_convert::{
    ConfigOrigin, ConvertError, Plan, PlanOptions, PlannedPreprocessor, PreprocessorOptions, Source, Step, StepInput,
    sha256_output, write,
};
use serde::Serialize;
use serde_json::json;

use crate::hub_progress::HubProgress;

/// Converts a PyTorch checkpoint of MERT or HuBERT for MLX, candle and Core ML.
///
/// Weight norm is fused, Conv1d weights are laid out for the target, and every tensor of the
/// checkpoint is accounted for. Without OUTPUT, or with --dry-run, the plan is printed and nothing is
/// written. Exit status: 0 done, 2 refused, 130 interrupted. OUTPUT appears whole or not at all.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// The checkpoint: a .bin, .pt, .ckpt or .safetensors file, a model folder, or a model of the Hugging Face hub
    /// (m-a-p/MERT-v1-95M, hf://owner/name, owner/name@revision), which is downloaded to the hub's shared cache
    input: PathBuf,
    /// What to write: a file for MLX and candle whose name ends in .safetensors, or a Core ML package whose name
    /// ends in .mlpackage
    output: Option<PathBuf>,
    /// How Conv1d weights are ordered: mlx is (out, kernel, in), candle is PyTorch's (out, in, kernel)
    /// [default: mlx; a Core ML package leaves no choice]
    #[arg(long)]
    layout: Option<Layout>,
    /// The element type to write: f16, bf16 or f32; a Core ML package computes in it, too, and has no bf16
    #[arg(long, default_value = "f16")]
    dtype: Dtype,
    /// The model's config.json [default: the one beside the checkpoint; else the architecture is worked
    /// out from the tensors' shapes]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A field of config.json that overrides the file's or replaces a missing file's, such as num_attention_heads=12
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<ConfigField>,
    /// The model's preprocessor_config.json, which states its audio input [default: the one beside the checkpoint; else
    /// the model type's default, with a note]
    #[arg(long, value_name = "FILE")]
    preprocessor: Option<PathBuf>,
    /// Samples per second of the audio input; overrides the model's files
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1_000..=384_000))]
    sampling_rate: Option<u32>,
    /// Whether windows are normalised to zero mean and unit variance; overrides the model's files
    #[arg(long, value_name = "true|false", action = clap::ArgAction::Set, num_args = 1)]
    do_normalize: Option<bool>,
    /// The dictionary that holds the model, where the checkpoint holds several (such as `state_dict`)
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// What precedes the Hugging Face names, where the checkpoint holds several models (such as `model.`)
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// A tensor to leave out because it is not part of the encoder; a trailing * matches any ending. Nothing inside the
    /// encoder can be left out
    #[arg(long, value_name = "NAME")]
    drop: Vec<String>,
    /// Record this SHA-256 of the checkpoint, which you have just checked, instead of computing it: half the
    /// time. It is taken at your word, and with it the licence that goes with a known checkpoint
    #[arg(long, value_name = "HEX")]
    source_sha256: Option<String>,
    /// How many threads to use [default: one for each processor]; the output does not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Replace OUTPUT if it exists
    #[arg(long)]
    force: bool,
    /// Print the plan and stop
    #[arg(long)]
    dry_run: bool,
    /// Print the plan and the result as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing but errors and, in one line, what was assumed without a config.json; the output's SHA-256 is then not computed, which saves a third of the time
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    // Last: what follows would be listed under its heading.
    #[command(flatten)]
    coreml: CoreMlArgs,
}

/// What only a Core ML package has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Core ML packages")]
struct CoreMlArgs {
    /// The length of clip that it takes: 30, or a list (5,10,30), or a range (1-30). One length is best for the
    /// Neural Engine, a list keeps it eligible, a range does not [default: 30]
    #[arg(long)]
    seconds: Option<InputLengths>,
    /// Return every frame's hidden states as well, `frame_hidden_states`
    #[arg(long)]
    frames: bool,
    /// Which hidden states to return: all, 6, -1 (the last), 0,6,12 or 0-12; layers above the highest are left out
    /// [default: all]
    #[arg(long, allow_hyphen_values = true)]
    layers: Option<LayerSelection>,
    /// The oldest system that is to run it: ios15, ios16, ios17 or ios18 (macOS 12 to 15) [default: ios15]
    #[arg(long, value_name = "TARGET")]
    minimum_deployment: Option<DeploymentTarget>,
}

/// What is written, which the output's extension says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    CoreMl,
}

impl Format {
    fn of(output: &Path) -> Result<Format, ConvertError> {
        match output.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Ok(Format::Safetensors),
            Some("mlpackage") => Ok(Format::CoreMl),
            _ => Err(ConvertError::OutputFormat { path: output.to_path_buf() }),
        }
    }
}

impl CoreMlArgs {
    /// The first option given, by its name.
    fn given(&self) -> Option<&'static str> {
        let given = [
            ("--seconds", self.seconds.is_some()),
            ("--frames", self.frames),
            ("--layers", self.layers.is_some()),
            ("--minimum-deployment", self.minimum_deployment.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    fn options(&self) -> CoreMlOptions {
        CoreMlOptions {
            lengths: self.seconds.clone().unwrap_or_default(),
            frames: self.frames,
            layers: self.layers.clone().unwrap_or_default(),
            minimum_deployment: self.minimum_deployment.unwrap_or_default(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let format = match &args.output {
        Some(output) => check_output(output, args)?,
        None => Format::Safetensors,
    };
    if let (Format::Safetensors, Some(option)) = (format, args.coreml.given()) {
        bail!("{option} is for Core ML packages: give an output whose name ends in .mlpackage");
    }
    if let (Format::CoreMl, Some(_)) = (format, args.layout) {
        bail!("--layout is for safetensors files: a Core ML package leaves no choice; leave it out");
    }
    let (model, source) = open_input(args)?;
    let model = model.as_ref();
    let layout = if format == Format::CoreMl { Layout::Torch } else { args.layout.unwrap_or(Layout::Mlx) };
    let options = PlanOptions {
        layout,
        dtype: args.dtype,
        config_file: args.config.clone(),
        config_set: args.set.clone(),
        preprocessor: PreprocessorOptions {
            file: args.preprocessor.clone(),
            sampling_rate: args.sampling_rate,
            do_normalize: args.do_normalize,
        },
        prefix: args.prefix.clone(),
        drop: args.drop.clone(),
    };
    let plan = Plan::new(&source, &options)?;
    let program = match format {
        Format::CoreMl => Some(write::coreml_program(&plan, &args.coreml.options())?),
        Format::Safetensors => None,
    };
    let result = match &args.output {
        Some(output) if !args.dry_run => Some((output, convert(args, &plan, program.as_ref(), &source, output)?)),
        _ => None,
    };
    print(args, model, &plan, program.as_ref(), result)
}

fn open_input(args: &Args) -> anyhow::Result<(Option<HubModel>, Source)> {
    let key = args.key.as_deref();
    if let Some(name) = HubName::of_input(&args.input).map_err(ConvertError::from)? {
        if args.source_sha256.is_some() {
            bail!("--source-sha256 is for files: leave it out, what comes from the hub is checked");
        }
        let settings = HubSettings::from_env().map_err(ConvertError::from)?;
        let progress = HubProgress::new(!args.quiet, !args.quiet && !args.json);
        let (model, source) = hub::open(&name, &settings, key, &|event| progress.show(&event))?;
        return Ok((Some(model), source));
    }
    let mut source = Source::open_key(&args.input, key)?;
    if let Some(sha256) = &args.source_sha256 {
        source.trust_sha256(&sha256.to_ascii_lowercase())?;
    }
    Ok((None, source))
}

/// What can be known before the checkpoint is read is said before it is read.
fn check_output(output: &Path, args: &Args) -> Result<Format, ConvertError> {
    let format = Format::of(output)?;
    let path = output.to_path_buf();
    match format {
        Format::CoreMl => write::check_package_output(output, args.force || args.dry_run)?,
        Format::Safetensors if output.exists() && !output.is_file() => {
            return Err(ConvertError::OutputNotAFile { path });
        }
        Format::Safetensors if output.exists() && !args.force && !args.dry_run => {
            return Err(ConvertError::OutputExists { path });
        }
        Format::Safetensors => {}
    }
    Ok(format)
}

/// What is told about an output.
#[derive(Serialize)]
struct Report {
    sha256: String,
    #[serde(flatten)]
    written: Written,
}

fn convert(
    args: &Args,
    plan: &Plan,
    program: Option<&CoreMlProgram<'_>>,
    source: &Source,
    output: &Path,
) -> anyhow::Result<Report> {
    let length = program.map_or(plan.byte_len(), CoreMlProgram::byte_len) as u64;
    // indicatif draws on standard error, and only if that is a terminal.
    let bar = if args.quiet { ProgressBar::hidden() } else { ProgressBar::new(length) };
    let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}  {wide_msg}")
        .context("the progress bar's template")?;
    bar.set_style(style);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.map_or(0, usize::from)).build()?;
    let progress = |step: &Step| {
        bar.set_message(step.output.clone());
        bar.inc(step.byte_len() as u64);
    };
    let written = threads.install(|| match program {
        Some(program) => write::coreml(program, source, output, args.force, &progress),
        None => write::safetensors(plan, source, output, args.force, &progress),
    });
    bar.finish_and_clear();
    let written = written?;
    let sha256 = if args.quiet { String::new() } else { sha256_output(output)? };
    Ok(Report { sha256, written })
}

fn print(
    args: &Args,
    model: Option<&HubModel>,
    plan: &Plan,
    program: Option<&CoreMlProgram<'_>>,
    result: Option<(&PathBuf, Report)>,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let printed = if args.json {
        let result = result.map(|(path, written)| json!({ "path": path, "written": written }));
        let mut document = json!({ "input": args.input, "plan": plan, "output": result });
        if let Some(model) = model {
            document["hub"] = json!({ "model": model.repo, "revision": model.commit, "weights": model.weights });
        }
        if let Some(program) = program {
            document["program"] = json!({ "summary": program.summary(), "tensors": program.tensor_count() });
        }
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)
    } else if args.quiet {
        if let Some(assumed) = describe_assumptions(plan) {
            let _ = writeln!(io::stderr(), "mert-convert: {}", printable(&assumed));
        }
        Ok(())
    } else {
        match result {
            None => out.write_all(printable(&describe_plan(args, model, plan, program)).as_bytes()),
            Some((path, written)) => {
                out.write_all(printable(&describe_result(args, model, plan, program, path, &written)).as_bytes())
            }
        }
    };
    match printed {
        // `mert-convert … | head` is no failure.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn describe_source(args: &Args, model: Option<&HubModel>, plan: &Plan) -> String {
    let mut text = match model {
        Some(model) => format!("checkpoint   {} at {}\n", model.repo, model.commit),
        None => format!("checkpoint   {}\n", args.input.display()),
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
        text += "wrappers     wrapper names (_orig_mod and the like) are removed from tensor names\n";
    }
    if let Some(beside) = describe_beside(plan) {
        text += &format!("left out     {beside}\n");
    }
    text += &format!("config       {}\n", plan.config_origin);
    if let ConfigOrigin::Inferred { assumptions } = &plan.config_origin {
        for assumption in assumptions {
            text += &format!("  assumed    {assumption}\n");
        }
        text += "  give --config config.json, or --set FIELD=VALUE, if an assumption is wrong\n";
    }
    for set in &plan.config_set {
        text += &format!("  set        {set}\n");
    }
    text + &describe_preprocessor(&plan.preprocessor)
}

/// What was assumed of the model's function without a config.json, in one line.
fn describe_assumptions(plan: &Plan) -> Option<String> {
    let ConfigOrigin::Inferred { assumptions } = &plan.config_origin else { return None };
    let assumptions = assumptions.join(", ");
    (!assumptions.is_empty()).then(|| format!("there is no config.json; assumed: {assumptions}"))
}

fn describe_preprocessor(planned: &PlannedPreprocessor) -> String {
    let PlannedPreprocessor { preprocessor, sampling_rate_origin, do_normalize_origin } = planned;
    let mut text = format!("audio        {} Hz ({sampling_rate_origin})\n", preprocessor.sampling_rate);
    text += &format!("             do_normalize {} ({do_normalize_origin})\n", preprocessor.do_normalize);
    if sampling_rate_origin.is_assumed() || do_normalize_origin.is_assumed() {
        text += "  give --preprocessor preprocessor_config.json, --sampling-rate or --do-normalize if that is wrong\n";
    }
    text
}

/// The file's contents outside the model's dictionary, in one line: "beside the model: optimizer (dict, 96 tensors)".
fn describe_beside(plan: &Plan) -> Option<String> {
    const LISTED: usize = 8;
    let described = plan.beside.iter().map(|beside| match beside.tensors {
        0 => format!("{} ({})", beside.name, beside.kind),
        count => format!("{} ({}, {count} tensors)", beside.name, beside.kind),
    });
    let mut listed: Vec<String> = described.take(LISTED).collect();
    if plan.beside.len() > LISTED {
        listed.push(format!("and {} more", plan.beside.len() - LISTED));
    }
    (!listed.is_empty()).then(|| format!("beside the model: {}", listed.join(", ")))
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

fn describe_plan(args: &Args, model: Option<&HubModel>, plan: &Plan, program: Option<&CoreMlProgram<'_>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["input", "output", "shape", "what is done"]);
    for step in &plan.steps {
        let (output, shape) = (step.output.clone(), format!("{:?}", step.shape));
        table.add_row([step.input.keys().join(" + "), output, shape, describe_step(step, &plan.prefix)]);
    }
    for (what, reason) in dropped(plan) {
        table.add_row([&what, "–", "", &format!("dropped: {reason}")]);
    }
    format!("{}\n{table}\n\n{}", describe_source(args, model, plan), summary(plan, program))
}

fn describe_step(step: &Step, prefix: &str) -> String {
    let mut done = Vec::new();
    match &step.input {
        StepInput::Tensor(name) if *name != step.output => done.push(format!("prefix {prefix} removed")),
        StepInput::Tensor(_) => {}
        StepInput::WeightNorm { fuse, .. } => done.push(format!("weight norm (dim {}) fused", fuse.dim)),
    }
    if let Some(transpose) = &step.transpose {
        let [a, b, c] = transpose.axes;
        done.push(format!("transposed ({a}, {b}, {c})"));
    }
    if step.cast.from.name() == step.cast.to.name() {
        done.push(format!("{} kept", step.cast.to));
    } else {
        done.push(format!("{} → {}", step.cast.from.name(), step.cast.to));
    }
    done.join(", ")
}

fn summary(plan: &Plan, program: Option<&CoreMlProgram<'_>>) -> String {
    let megabytes = |bytes: usize| bytes as f64 / 1e6;
    let dropped = plan.dropped.len();
    match program {
        Some(program) => {
            let (count, size) = (program.tensor_count(), megabytes(program.byte_len()));
            let above = plan.steps.len() - count;
            let above = if above > 0 { format!(", {above} above the highest layer left out") } else { String::new() };
            format!("{count} tensors, {size:.1} MB, {}{above}; {dropped} dropped\n{}\n", plan.dtype, program.summary())
        }
        None => {
            let (count, size) = (plan.steps.len(), megabytes(plan.byte_len()));
            format!("{count} tensors, {size:.1} MB, layout {}, {}; {dropped} dropped\n", plan.layout, plan.dtype)
        }
    }
}

fn describe_result(
    args: &Args,
    model: Option<&HubModel>,
    plan: &Plan,
    program: Option<&CoreMlProgram<'_>>,
    path: &Path,
    report: &Report,
) -> String {
    let mut text = describe_source(args, model, plan);
    match known_by_sha256(&report.written.source_sha256) {
        Some(known) => {
            text += &format!("known as     {} at {}\n", known.name, known.revision);
            text += &format!("licence      {}, which the output inherits\n", known.license);
        }
        None => text += "licence      unknown: the output inherits the checkpoint's\n",
    }
    for (what, reason) in dropped(plan) {
        text += &format!("dropped      {what}: {reason}\n");
    }
    text += &format!("written      {}\n", path.display());
    text += &format!("sha256       {}\n", report.sha256);
    text + &summary(plan, program)
}

/// Prints an error and its causes.
pub(crate) fn report(error: &anyhow::Error) {
    // Each variant's message already contains its source's; the chain would say it twice.
    let mut text = format!("mert-convert: {error}");
    if let Some(ConvertError::Ambiguous { candidates, option }) = error.downcast_ref() {
        text += &commands(candidates, option);
    }
    let _ = writeln!(io::stderr(), "{}", printable(&text));
}

/// The command as typed, completed with each value of an option.
fn commands(values: &[String], option: &str) -> String {
    let quoted = |word: &str| shlex::try_quote(word).map_or_else(|_| word.to_string(), |quoted| quoted.into_owned());
    let typed: Vec<String> = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy())).collect();
    let command = |value: &String| {
        let separator = if value.starts_with('-') { '=' } else { ' ' };
        format!("\n  mert-convert {} {option}{separator}{}", typed.join(" "), quoted(value))
    };
    // A command with control characters could not be pasted.
    values.iter().filter(|value| !value.contains(char::is_control)).map(command).collect()
}

/// Control characters escaped: tensor names come from files, and a terminal would obey them.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
