//! The options that the gate and its subcommands share, one struct for each part of the library that they configure.

use std::path::PathBuf;

use clap::Args;
use mert_arch::{ComputeType, LayerSelection};
use mert_audio::WindowPolicy;
use mert_runtime::DeviceKind;
use mert_verify::candidate::{ComputeOptions, ComputeUnits, Emulation, PackageEngine, PackageOptions};
use mert_verify::gate::CompareOptions;
use mert_verify::quantized::Codes;
use mert_verify::{Original, Tolerances, Tracks};

/// The references of a model.
#[derive(Debug, Args)]
pub(crate) struct ReferencesArgs {
    /// The results of PyTorch: for an encoder a .npz with input_values and hidden_states, for a MusicGen bundle one with the
    /// arrays of docs/instruct-musicgen.md; a folder of them, or a .npz on the hub (hf://owner/name/FILE.npz)
    #[arg(long, value_name = "FILE|DIR", requires = "model")]
    pub(crate) reference: Vec<PathBuf>,
    /// The original checkpoint, a file or a model of the hub (owner/name), from which libtorch computes the reference
    /// (feature `tch`)
    #[arg(long, value_name = "ORIGINAL", requires = "model")]
    checkpoint: Option<PathBuf>,
    /// The original's config.json [default: the one beside it]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    checkpoint_config: Option<PathBuf>,
    /// A clip for --checkpoint, .npy or .npz, exactly as it enters the model [default: 5 s of generated, music-like
    /// input; for a Core ML package the length that it accepts]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    input: Vec<PathBuf>,
    /// Audio files for --checkpoint. Both sides get the same windows, and the worst is reported
    #[arg(long, value_name = "FILE", requires = "checkpoint", num_args = 1..)]
    audio: Vec<PathBuf>,
    /// The windows to cut from the audio files: whole, middle:30s or sliding:5s/2.5s (length/hop) [default: middle:30s;
    /// for a Core ML package the length that it accepts]
    #[arg(long, requires = "audio")]
    window: Option<WindowPolicy>,
    /// Decode audio files that cannot be read otherwise (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long, requires = "audio")]
    ffmpeg: bool,
}

impl ReferencesArgs {
    pub(crate) fn original(&self) -> Option<Original> {
        Some(Original {
            path: self.checkpoint.clone()?,
            config: self.checkpoint_config.clone(),
            inputs: self.input.clone(),
            tracks: Tracks { files: self.audio.clone(), window: self.window, ffmpeg: self.ffmpeg },
        })
    }

    /// The first option that was given and is for encoders.
    pub(crate) fn of_encoders(&self) -> Option<&'static str> {
        self.checkpoint.as_ref().map(|_| "--checkpoint")
    }

    /// The files that these options name.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let several = self.reference.iter().chain(&self.input).chain(&self.audio);
        self.checkpoint.iter().chain(&self.checkpoint_config).chain(several)
    }
}

/// The hidden states to compare, and how strictly.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Hidden states to compare: all, 6, -1 (the last), 0,6,12 or 0-12 (0 enters the first layer, i is the
    /// output of layer i)
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerSelection,
    /// Run each layer on the reference's own hidden state below it, to find the layer at fault
    #[arg(long)]
    isolate: bool,
    /// Fail if only the rounding of a 16-bit or quantized file could be judged, not its structure
    #[arg(long)]
    require_structure: bool,
    /// How the codes of quantized weights are judged with --checkpoint: exact (those of mx.quantize on the CPU) or nearest
    /// (within half a step, for models that MLX quantized on a GPU) [default: exact; nearest for a model that MLX saved]
    #[arg(long)]
    codes: Option<Codes>,
}

impl CompareArgs {
    /// The hidden states to compare.
    pub(crate) fn layers(&self) -> &LayerSelection {
        &self.layers
    }

    /// The first option that was given and is for encoders.
    pub(crate) fn of_encoders(&self) -> Option<&'static str> {
        let given = [
            (self.isolate, "--isolate"),
            (self.require_structure, "--require-structure"),
            (self.codes.is_some(), "--codes"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    pub(crate) fn options(&self) -> CompareOptions {
        CompareOptions {
            layers: self.layers.clone(),
            isolate: self.isolate,
            require_structure: self.require_structure,
            codes: self.codes,
            tolerances: Tolerances::default(),
            keep_frames: false,
        }
    }
}

/// The device and arithmetic in which a model runs.
#[derive(Debug, Args)]
pub(crate) struct ComputeArgs {
    /// The device that runs the model: cpu, metal (mps), cuda or auto
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceKind,
    /// The element type in which a converted file is computed: f32, f16 or bf16, on the CPU also int8 [default: f32]
    #[arg(long)]
    dtype: Option<ComputeType>,
}

impl ComputeArgs {
    /// The first option that was given and differs from the CPU in f32.
    pub(crate) fn given(&self) -> Option<&'static str> {
        if self.device != DeviceKind::Cpu {
            return Some("--device");
        }
        self.dtype.filter(|dtype| *dtype != ComputeType::F32).map(|_| "--dtype")
    }

    /// The element type of a converted file's arithmetic.
    pub(crate) fn dtype(&self) -> ComputeType {
        self.dtype.unwrap_or_default()
    }

    pub(crate) fn options(&self) -> ComputeOptions {
        ComputeOptions { device: self.device, dtype: self.dtype }
    }
}

/// The options for running a Core ML package.
#[derive(Debug, Args)]
pub(crate) struct PackageArgs {
    /// The engine that runs a Core ML package: interpreter (on any machine) or coreml (on a Mac, feature `coreml`)
    /// [default: interpreter]
    #[arg(long, requires = "model")]
    engine: Option<PackageEngine>,
    /// The processors that Core ML may use: all, cpu, gpu or ane [default: all]
    #[arg(long, value_name = "UNITS", requires = "engine")]
    compute_units: Option<ComputeUnits>,
    /// Round each half-precision result of a Core ML package to f16, to measure the cost of half precision
    #[arg(long, value_name = "f16", requires = "model")]
    emulate: Option<Emulation>,
}

impl PackageArgs {
    /// The first option that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.engine.is_some(), "--engine"),
            (self.compute_units.is_some(), "--compute-units"),
            (self.emulate.is_some(), "--emulate"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    pub(crate) fn options(&self) -> PackageOptions {
        PackageOptions { engine: self.engine, compute_units: self.compute_units, emulate: self.emulate }
    }
}

/// The report files to write.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as JUnit XML
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    pub(crate) junit: Option<PathBuf>,
    /// Write the report as Markdown
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    pub(crate) markdown: Option<PathBuf>,
    /// Write the report of encoders as an HTML page, with plots: where in the network and where in the music the model differs
    #[arg(long, value_name = "FILE", value_parser = report_file)]
    pub(crate) html: Option<PathBuf>,
}

fn report_file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("reports are written to files; for standard output give /dev/stdout and --quiet".into()),
        path => Ok(path.into()),
    }
}
