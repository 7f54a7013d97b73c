use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use mert_audio::WindowPolicy;
use mert_runtime::DeviceKind;
use mert_spec::{Dtype, LayerSelection};
use mert_verify::candidate::{ComputeUnits, Emulation, PackageEngine};
use mert_verify::fixture::Fixture;
use mert_verify::job::{CheckpointJob, Job};
use mert_verify::report::{self, ModelReport};
use mert_verify::suite::read_suite;
use mert_verify::tracks::Tracks;
use mert_verify::{Options, Report, VerifyError};

use super::Outcome;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The converted file, a folder with a model.safetensors, or a Core ML package [default: the built-in fixture]
    model: Option<PathBuf>,
    /// Hidden states to compare: all, 6, 0,6,12 or 0-12 (0 enters the first layer, i is the output of
    /// layer i)
    #[arg(long, default_value = "all")]
    layers: LayerSelection,
    /// What PyTorch returned: a .npz with input_values and hidden_states, or a folder of them
    #[arg(long, value_name = "FILE|DIR", requires = "model")]
    reference: Vec<PathBuf>,
    /// The original checkpoint, from which libtorch computes the reference (feature `tch`)
    #[arg(long, value_name = "ORIGINAL", requires = "model")]
    checkpoint: Option<PathBuf>,
    /// The original's config.json [default: the one beside it]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    checkpoint_config: Option<PathBuf>,
    /// A clip for --checkpoint, .npy or .npz, exactly as it enters the model [default: 5 s of generated
    /// music-like input; for a Core ML package as long as it takes]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    input: Vec<PathBuf>,
    /// Music for --checkpoint, audio files. Both sides get the same windows, and the worst is reported
    #[arg(long, value_name = "FILE", requires = "checkpoint", num_args = 1..)]
    audio: Vec<PathBuf>,
    /// Which parts of the music: whole, middle:30s or sliding:5s/2.5s (length/hop) [default: middle:30s; for a Core ML
    /// package as long as it takes]
    #[arg(long, requires = "audio")]
    window: Option<WindowPolicy>,
    /// Decode music that is not read otherwise (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long, requires = "audio")]
    ffmpeg: bool,
    /// A verify.yaml that lists models, references and tolerances
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "layers", "device", "dtype", "engine",
        "emulate", "isolate", "require_structure"])]
    config: Option<PathBuf>,
    /// Where the model runs: cpu, metal or cuda
    #[arg(long, default_value = "cpu")]
    device: DeviceKind,
    /// The element type in which the model computes: f32, f16 or bf16 [default: f32]
    #[arg(long)]
    dtype: Option<Dtype>,
    /// Who runs a Core ML package: interpreter (ours, on any machine) or coreml (on a Mac, feature `coreml`)
    /// [default: interpreter]
    #[arg(long, value_name = "ENGINE", requires = "model")]
    engine: Option<String>,
    /// Where Core ML runs it: all, cpu, gpu or ane [default: all]
    #[arg(long, value_name = "UNITS", requires = "engine")]
    compute_units: Option<ComputeUnits>,
    /// Round each half-precision result of a Core ML package to f16, to see what that costs
    #[arg(long, value_name = "f16", requires = "model")]
    emulate: Option<Emulation>,
    /// Feed each layer the reference's own input, so that the layer at fault is found
    #[arg(long)]
    isolate: bool,
    /// Fail if only the rounding of a 16-bit file could be judged, not its structure
    #[arg(long)]
    require_structure: bool,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let reports: Vec<&Path> = [&args.json, &args.junit, &args.markdown].into_iter().flatten().map(|p| &**p).collect();
    refuse_overwriting(&reports, &args.inputs())?;
    let jobs = match (&args.config, &args.model) {
        (Some(suite), _) => read_suite(suite).inspect_err(|_| remove_stale(&reports))?,
        (None, Some(model)) => vec![args.job(model).inspect_err(|_| remove_stale(&reports))?],
        (None, None) => Vec::new(),
    };
    refuse_overwriting(&reports, &jobs.iter().flat_map(Job::inputs).collect::<Vec<_>>())?;
    // Should this run be cut short, an earlier run's verdict must not be taken for its own.
    remove_stale(&reports);

    let report = if jobs.is_empty() {
        Report::new([(FIXTURE.into(), args.run_fixture())])
    } else {
        Report::new(jobs.into_iter().map(|job| (job.model.clone(), job.run())))
    };
    // Everything is attempted before a failure to write any of it ends the run.
    let mut written = vec![if args.quiet { Ok(()) } else { super::print(&report.to_string()) }];
    for error in &report.errors {
        let line = super::printable(&format!("mert-verify: {}", error.error));
        written.push(writeln!(io::stderr(), "{line}").map_err(Into::into));
    }
    for (path, text) in
        [(&args.json, report.to_json()), (&args.junit, report.to_junit()), (&args.markdown, report.to_markdown())]
    {
        if let Some(path) = path {
            written.push(report::write(path, &text).map_err(Into::into));
        }
    }
    written.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(match (report.errors.is_empty(), report.passed) {
        (false, _) => Outcome::NotChecked,
        (true, true) => Outcome::Passed,
        (true, false) => Outcome::Failed,
    })
}

/// A report that would replace an input, or another report, is a slip on the command line.
fn refuse_overwriting(reports: &[&Path], inputs: &[PathBuf]) -> anyhow::Result<()> {
    for (i, report) in reports.iter().enumerate() {
        if let Some(input) = inputs.iter().find(|input| super::same_file(report, input)) {
            bail!("{} is an input; give the report another name", input.display());
        }
        if reports[..i].iter().any(|other| other == report || super::same_file(other, report)) {
            bail!("two reports are to be written to {}; give each a name of its own", report.display());
        }
    }
    Ok(())
}

/// Removes an earlier run's reports. One that cannot be removed cannot be replaced either, which is said
/// when that is tried.
fn remove_stale(reports: &[&Path]) {
    for report in reports {
        if std::fs::symlink_metadata(report).is_ok_and(|existing| existing.is_file()) {
            let _ = std::fs::remove_file(report);
        }
    }
}

const FIXTURE: &str = "built-in fixture mert-tiny";

impl VerifyArgs {
    /// The files that the command line names to be read.
    fn inputs(&self) -> Vec<PathBuf> {
        let single = [&self.model, &self.checkpoint, &self.checkpoint_config, &self.config];
        let several = self.reference.iter().chain(&self.input).chain(&self.audio);
        single.into_iter().flatten().chain(several).cloned().collect()
    }

    fn options(&self, engine: Option<PackageEngine>) -> Options {
        Options {
            layers: self.layers.clone(),
            device: self.device,
            compute: self.dtype,
            engine,
            emulate: self.emulate,
            isolate: self.isolate,
            require_structure: self.require_structure,
            ..Options::default()
        }
    }

    fn job(&self, model: &Path) -> anyhow::Result<Job> {
        let engine = PackageEngine::chosen(self.engine.as_deref(), self.compute_units).map_err(anyhow::Error::msg)?;
        Ok(Job {
            model: model.to_path_buf(),
            references: self.reference.clone(),
            checkpoint: self.checkpoint.as_ref().map(|path| CheckpointJob {
                path: path.clone(),
                config: self.checkpoint_config.clone(),
                inputs: self.input.clone(),
                tracks: Tracks { files: self.audio.clone(), window: self.window, ffmpeg: self.ffmpeg },
            }),
            options: self.options(engine),
        })
    }

    fn run_fixture(&self) -> Result<ModelReport, VerifyError> {
        let fixture = Fixture::unpack()?;
        let job = Job {
            model: fixture.model(),
            references: vec![fixture.reference()],
            options: self.options(None),
            ..Job::default()
        };
        let mut report = job.run()?;
        // The temporary folder's name tells nobody anything.
        report.model = FIXTURE.into();
        let reference = "what transformers returned for it";
        report.comparisons.iter_mut().for_each(|comparison| comparison.reference = reference.into());
        report.timings.iter_mut().for_each(|timing| timing.reference = reference.into());
        Ok(report)
    }
}
