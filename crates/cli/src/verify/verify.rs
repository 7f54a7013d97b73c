//! `mert-verify verify`: compares converted models with references and writes the reports.

use std::path::{Path, PathBuf};

use clap::Args;
use mert_arch::{Dtype, LayerSelection};
use mert_audio::WindowPolicy;
use mert_runtime::DeviceKind;
use mert_verify::candidate::{ComputeUnits, Emulation, PackageEngine};
use mert_verify::fixture::Fixture;
use mert_verify::job::{CheckpointJob, Job};
use mert_verify::report::ModelReport;
use mert_verify::suite::read_suite;
use mert_verify::tracks::Tracks;
use mert_verify::{Options, Report, VerifyError};

use crate::hub_inputs;
use crate::reports::Reports;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print, say};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The converted file, a folder with a model.safetensors, a Core ML package, or a model of the hub that holds a
    /// converted model.safetensors (owner/name) [default: the built-in fixture]
    model: Option<PathBuf>,
    /// Hidden states to compare: all, 6, -1 (the last), 0,6,12 or 0-12 (0 enters the first layer, i is the
    /// output of layer i)
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerSelection,
    /// What PyTorch returned: a .npz with input_values and hidden_states, a folder of them, or a .npz on the hub
    /// (hf://owner/name/FILE.npz)
    #[arg(long, value_name = "FILE|DIR", requires = "model")]
    reference: Vec<PathBuf>,
    /// The original checkpoint, a file or a model of the hub (owner/name), from which libtorch computes the reference
    /// (feature `tch`)
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
    /// The device that runs the model: cpu, metal (mps), cuda or auto
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

pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let mut reports = Reports::new(args.json.as_deref(), args.junit.as_deref(), args.markdown.as_deref());
    let jobs = args.jobs(&mut reports);
    if jobs.is_err() {
        reports.spare_what_may_be_an_input(args.config.as_deref());
    }
    // Should this run be cut short, an earlier run's verdict must not be taken for its own.
    reports.remove_stale();
    let report = match jobs {
        Err(error) => Report::not_started(args.subject(), error.to_string()),
        Ok(jobs) if jobs.is_empty() => Report::new([(FIXTURE.into(), args.run_fixture())]),
        Ok(jobs) => Report::new(jobs.into_iter().map(|job| (job.model.clone(), job.run()))),
    };
    // Everything is attempted before a failure to write any of it ends the run.
    let mut written = vec![if args.quiet { Ok(()) } else { print(&report.to_string()).map_err(Into::into) }];
    for error in &report.errors {
        say(&format!("mert-verify: {}", error.error));
    }
    written.extend(reports.write(&report));
    written.into_iter().collect::<anyhow::Result<()>>()?;
    Ok(match (report.errors.is_empty(), report.passed) {
        (false, _) => Exit::Error,
        (true, true) => Exit::Success,
        (true, false) => Exit::Failure,
    })
}

const FIXTURE: &str = "built-in fixture mert-tiny";

impl VerifyArgs {
    /// The subject of a run that ends before it opens a model.
    fn subject(&self) -> PathBuf {
        self.config.as_ref().or(self.model.as_ref()).cloned().unwrap_or_else(|| FIXTURE.into())
    }

    /// The jobs; none for the built-in fixture. Reports that would replace an input are removed from `reports`.
    fn jobs(&self, reports: &mut Reports<'_>) -> anyhow::Result<Vec<Job>> {
        reports.spare(&self.inputs())?;
        let mut jobs = match (&self.config, &self.model) {
            (Some(suite), _) => read_suite(suite)?,
            (None, Some(model)) => vec![self.job(model)?],
            (None, None) => Vec::new(),
        };
        hub_inputs::resolve(&mut jobs, self.config.is_none(), Messages::of("mert-verify", self.quiet))?;
        reports.spare(&jobs.iter().flat_map(Job::inputs).collect::<Vec<_>>())?;
        Ok(jobs)
    }

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
