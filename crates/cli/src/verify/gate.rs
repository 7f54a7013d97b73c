//! `mert-verify` without a subcommand: compares converted models with references and writes the reports.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print, say};
use mert_verify::fixture::Fixture;
use mert_verify::gate::{CompareOptions, ModelVerdict, Outcome, Verdict};
use mert_verify::musicgen::is_bundle;
use mert_verify::{Check, VerifyError, gate_file};

use crate::bundle::{self, BundleArgs};
use crate::hub_inputs;
use crate::options::{CompareArgs, ComputeArgs, PackageArgs, ReferencesArgs, ReportArgs};
use crate::reports::Reports;
use crate::text;

/// The options that `--config` replaces. Listed one by one: of a group, clap would name also those that were not given.
const CONFIG_CONFLICTS: [&str; 20] = [
    "model",
    "reference",
    "checkpoint",
    "checkpoint_config",
    "input",
    "audio",
    "window",
    "ffmpeg",
    "layers",
    "isolate",
    "require_structure",
    "codes",
    "device",
    "dtype",
    "engine",
    "compute_units",
    "emulate",
    "against",
    "max_kl",
    "allow_missing",
];

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// The converted file (.safetensors or .gguf), a folder with a model.safetensors, a Core ML package, a bundle of MusicGen, or
    /// a model of the hub that holds a converted model.safetensors (owner/name) [default: the built-in fixture]
    model: Option<PathBuf>,
    #[command(flatten)]
    references: ReferencesArgs,
    /// A verify.yaml that lists models, references and tolerances
    #[arg(long, value_name = "FILE", conflicts_with_all = CONFIG_CONFLICTS)]
    config: Option<PathBuf>,
    #[command(flatten)]
    compare: CompareArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    package: PackageArgs,
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    reports: ReportArgs,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run(args: &GateArgs) -> anyhow::Result<Exit> {
    if let Some(model) = args.model.as_deref().filter(|model| is_bundle(model)) {
        args.check_options_of_bundle()?;
        let (references, layers) = (&args.references.reference, args.compare.layers());
        return bundle::run(model, references, layers, &args.bundle, &args.reports, args.quiet);
    }
    if let (Some(option), Some(model)) = (args.bundle.given(), &args.model) {
        let model = model.display();
        ensure!(
            args.model.as_deref().is_some_and(Path::exists),
            "{model} does not exist; {option} is for MusicGen bundles"
        );
        bail!(
            "{option} is for MusicGen bundles, and {model} is not one: it has no config.json with the `model_type` musicgen or \
             instruct_musicgen"
        );
    }
    let mut reports = Reports::new(&args.reports);
    let checks = args.checks(&mut reports);
    if checks.is_err() {
        reports.drop_possible_inputs(args.config.as_deref());
    }
    // If this run is cut short, the verdict of an earlier run must not be mistaken for its own.
    reports.remove_stale();
    let verdict = match checks {
        Err(error) => Verdict::not_started(args.subject(), error.to_string()),
        Ok(checks) if checks.is_empty() => Verdict::new([(FIXTURE.into(), args.run_fixture())]),
        Ok(checks) => Verdict::new(checks.into_iter().map(|check| (check.model.clone(), check.run()))),
    };
    // Everything is attempted before a failure to write any of it ends the run.
    let mut written = vec![if args.quiet { Ok(()) } else { print(&text::render(&verdict)).map_err(Into::into) }];
    for error in &verdict.errors {
        say(&format!("mert-verify: {}", error.error));
    }
    written.extend(reports.write(&verdict));
    written.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(match verdict.outcome() {
        Outcome::Passed => Exit::Success,
        Outcome::Failed => Exit::Failure,
        Outcome::Incomplete => Exit::Error,
    })
}

const FIXTURE: &str = "built-in fixture mert-tiny";

impl GateArgs {
    /// Refuses options that have no effect on a MusicGen bundle.
    fn check_options_of_bundle(&self) -> anyhow::Result<()> {
        let given = self.references.of_encoders().or(self.compare.of_encoders()).or(self.compute.given());
        let given = given.or(self.package.given());
        ensure!(
            self.reports.html.is_none(),
            "--html is for encoders; the reports of a MusicGen bundle are --json, --junit and --markdown"
        );
        match given {
            Some(option) => bail!(
                "{option} is for encoders; a MusicGen bundle is judged by --reference FILE.npz or --against BUNDLE, on the CPU in f32"
            ),
            None => Ok(()),
        }
    }

    /// The subject of a run that ends before it opens a model.
    fn subject(&self) -> PathBuf {
        self.config.as_ref().or(self.model.as_ref()).cloned().unwrap_or_else(|| FIXTURE.into())
    }

    /// The checks to run; none for the built-in fixture. Reports that would replace an input, or that
    /// cannot be written, are removed from `reports`.
    fn checks(&self, reports: &mut Reports<'_>) -> anyhow::Result<Vec<Check>> {
        let named: Vec<PathBuf> =
            self.model.iter().chain(&self.config).chain(self.references.files()).cloned().collect();
        // A report that would replace an input must be dropped even if another one cannot be written.
        let (inputs, unwritable) = (reports.drop_inputs(&named), reports.drop_unwritable());
        inputs.and(unwritable)?;
        let mut checks = match (&self.config, &self.model) {
            (Some(file), _) => self.checks_of_file(file)?,
            (None, Some(model)) => vec![self.check(model)],
            (None, None) => Vec::new(),
        };
        hub_inputs::resolve(&mut checks, self.config.is_none(), Messages::of("mert-verify", self.quiet))?;
        reports.drop_inputs(&checks.iter().flat_map(Check::inputs).collect::<Vec<_>>())?;
        Ok(checks)
    }

    fn checks_of_file(&self, file: &Path) -> Result<Vec<Check>, VerifyError> {
        let mut checks = gate_file::read(file)?;
        checks.iter_mut().for_each(|check| check.compare.keep_frames = self.keep_frames());
        Ok(checks)
    }

    /// Only the HTML page shows single frames.
    fn keep_frames(&self) -> bool {
        self.reports.html.is_some()
    }

    fn check(&self, model: &Path) -> Check {
        Check {
            model: model.to_path_buf(),
            references: self.references.reference.clone(),
            original: self.references.original(),
            compare: CompareOptions { keep_frames: self.keep_frames(), ..self.compare.options() },
            compute: self.compute.options(),
            package: self.package.options(),
        }
    }

    fn run_fixture(&self) -> Result<ModelVerdict, VerifyError> {
        let fixture = Fixture::unpack()?;
        let check = Check { references: vec![fixture.reference()], ..self.check(&fixture.model()) };
        let mut verdict = check.run()?;
        // The name of the temporary folder would mean nothing to the reader.
        verdict.model = FIXTURE.into();
        let reference = "what transformers returned for it";
        verdict.comparisons.iter_mut().for_each(|comparison| comparison.reference = reference.into());
        verdict.timings.iter_mut().for_each(|time| time.reference = reference.into());
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn config_conflicts_with_all_that_it_replaces() {
        let mut command = crate::args::Args::command();
        command.build();
        let config = command.get_arguments().find(|arg| arg.get_id() == "config").unwrap();
        let conflicts: Vec<_> = command.get_arg_conflicts_with(config).iter().map(|arg| arg.get_id()).collect();
        for arg in command.get_arguments().map(|arg| arg.get_id()) {
            let beside =
                ["config", "json", "junit", "markdown", "html", "quiet", "help", "version"].contains(&arg.as_str());
            assert_ne!(conflicts.contains(&arg), beside, "{arg}");
        }
    }
}
