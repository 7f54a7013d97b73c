//! The function `convert`: a checkpoint to a file, folder or package that other programs load.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use mert_arch::{Layout, Quantization, QuantizationMode};
use mert_budget::{AudioSource, Budget, ByteSize, Goal, Progress};
use mert_checkpoint::{AdapterOptions, Source};
use mert_cli::conversion::{Conversion, Listener};
use mert_cli::hub::{Hub, Messages, open_source};
use mert_cli::terminal::error_text;
use mert_convert::musicgen::RecognizedMusicgen;
use mert_convert::write::{self, CoreMlOptions, Target, TargetOptions};
use mert_convert::{
    Compression, CompressionScheme, ConvertError, PlanOptions, PreprocessorOptions, Program, QuantizeOptions, Step,
};
use mert_hub::{HubModel, HubName};
use mert_table::printable_path;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pythonize::pythonize;
use rayon::ThreadPoolBuilder;
use serde_json::Value;

use crate::arguments::{parse, parse_some};
use crate::errors::{ConversionError, of_conversion};
use crate::interrupt::{stoppable, unwind_if, unwindable};

/// The quantization of linear layers, as Python gives it.
#[derive(Default, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Quantize {
    bits: Option<usize>,
    group_size: Option<usize>,
    mode: Option<String>,
    only: Vec<String>,
    skip: Vec<String>,
}

impl Quantize {
    /// The options for outputs of `target`, whose groups are as large as it or else MLX has them.
    fn options(self, target: &dyn Target) -> PyResult<QuantizeOptions> {
        let mode = parse_some("mode", self.mode.as_deref())?.unwrap_or(QuantizationMode::Affine);
        let default = mode.default_quantization();
        let bits = self.bits.unwrap_or(default.bits);
        let group_size = self.group_size.unwrap_or_else(|| target.group_size(bits).unwrap_or(default.group_size));
        let default = Quantization::new(default.mode, bits, group_size)
            .map_err(|reason| PyValueError::new_err(format!("quantize: {reason}")))?;
        Ok(QuantizeOptions { default, only: self.only, skip: self.skip, layers: BTreeMap::new() })
    }
}

/// The choices to make by measurement, as Python gives them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Measured {
    budget: Option<String>,
    size: Option<String>,
    int8_budget: Option<String>,
    calibration: Option<PathBuf>,
}

/// The choices to make by measurement.
struct Choice {
    goal: Option<Goal>,
    int8_budget: Option<Budget>,
    audio: AudioSource,
}

impl Measured {
    fn choice(self) -> PyResult<Choice> {
        let budget = parse_some("budget", self.budget.as_deref())?.map(Goal::Error);
        let size = parse_some::<ByteSize>("size", self.size.as_deref())?.map(Goal::Size);
        let int8_budget = parse_some("int8_budget", self.int8_budget.as_deref())?;
        if budget.is_some() && size.is_some() {
            return Err(PyValueError::new_err("budget and size are two aims for the same bits: give one of them"));
        }
        let goal = budget.or(size);
        if self.calibration.is_some() && goal.is_none() && int8_budget.is_none() {
            return Err(PyValueError::new_err(
                "calibration: nothing is measured without budget, size or int8_budget; leave it out",
            ));
        }
        let audio = self.calibration.map_or(AudioSource::BuiltIn, AudioSource::Folder);
        Ok(Choice { goal, int8_budget, audio })
    }
}

/// The options of Core ML packages, as Python gives them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CoreMl {
    seconds: Option<String>,
    frames: bool,
    layers: Option<String>,
    minimum_deployment: Option<String>,
    compress: Option<String>,
    block_size: Option<usize>,
}

impl CoreMl {
    fn options(&self) -> PyResult<CoreMlOptions> {
        Ok(CoreMlOptions {
            lengths: parse_some("coreml: seconds", self.seconds.as_deref())?.unwrap_or_default(),
            frames: self.frames,
            layers: parse_some("coreml: layers", self.layers.as_deref())?.unwrap_or_default(),
            minimum_deployment: parse_some("coreml: minimum_deployment", self.minimum_deployment.as_deref())?
                .unwrap_or_default(),
        })
    }

    fn compression(&self) -> PyResult<Option<Compression>> {
        let scheme: Option<CompressionScheme> = parse_some("coreml: compress", self.compress.as_deref())?;
        if scheme.is_none() && self.block_size.is_some() {
            return Err(PyValueError::new_err("coreml: block_size is for compressed weights: give compress too"));
        }
        let compression = scheme.map(|scheme| Compression::new(scheme, self.block_size)).transpose();
        compression.map_err(|error| of_conversion(&error))
    }
}

/// Converts a checkpoint, or plans its conversion if there is no output. Returns what `mert-convert --json` prints.
#[pyfunction]
#[pyo3(signature = (input, output, *, dtype, layout, program, quantize, measured, coreml, max_shard_size, adapter, key, prefix, config, fields, preprocessor,
    sampling_rate, do_normalize, keep_final_proj, drop, force, quiet))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn convert<'py>(
    py: Python<'py>,
    input: PathBuf,
    output: Option<PathBuf>,
    dtype: Option<&str>,
    layout: Option<&str>,
    program: Option<&str>,
    quantize: Option<Quantize>,
    measured: Measured,
    coreml: Option<CoreMl>,
    max_shard_size: Option<&str>,
    adapter: Option<PathBuf>,
    key: Option<String>,
    prefix: Option<String>,
    config: Option<PathBuf>,
    fields: Vec<String>,
    preprocessor: Option<PathBuf>,
    sampling_rate: Option<u32>,
    do_normalize: Option<bool>,
    keep_final_proj: bool,
    drop: Vec<String>,
    force: bool,
    quiet: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let program: Option<Program> = parse_some("program", program)?;
    let layout: Option<Layout> = parse_some("layout", layout)?;
    let choice = measured.choice()?;
    if choice.goal.is_some() && quantize.as_ref().is_some_and(|given| given.bits.is_some() || given.mode.is_some()) {
        return Err(PyValueError::new_err(
            "quantize: budget and size choose the bits; leave out bits and mode, or budget and size",
        ));
    }
    let target_options = TargetOptions {
        max_shard_size: parse_some("max_shard_size", max_shard_size)?,
        coreml: coreml.as_ref().map(CoreMl::options).transpose()?.unwrap_or_default(),
        given_for_coreml: coreml.as_ref().map(|_| "coreml"),
    };
    let compress = coreml.as_ref().map(CoreMl::compression).transpose()?.flatten();
    let target = write::target_for(output.as_deref(), program, &target_options);
    let target = target.map_err(|error| of_conversion(&error))?;
    let default = PlanOptions::default();
    let options = PlanOptions {
        program,
        layout: target.layout(layout).map_err(|error| of_conversion(&error))?,
        dtype: match dtype {
            Some(dtype) => parse("dtype", dtype)?,
            None => program.map_or(default.dtype, Program::default_dtype),
        },
        quantize: match (quantize, choice.goal) {
            (None, None) => None,
            // A choice of bits begins with all layers in the default's.
            (quantize, _) => Some(quantize.unwrap_or_default().options(target.as_ref())?),
        },
        compress,
        config_file: config,
        config_set: fields.iter().map(|field| parse("config field", field)).collect::<PyResult<_>>()?,
        preprocessor: PreprocessorOptions { file: preprocessor, sampling_rate, do_normalize },
        prefix,
        keep_final_proj,
        drop,
        ..default
    };
    let adapter = AdapterOptions { path: adapter, ..AdapterOptions::default() };
    let job = Job { input, output, options, target, choice, adapter, key, force, quiet };
    let result = stoppable(py, |stop| unwindable(|| job.run(stop)))?;
    // Only an interruption ends it early, and that is an exception already.
    let document = result.unwrap_or_else(|| Err(ConversionError::new_err("the conversion was interrupted")))?;
    Ok(pythonize(py, &document)?)
}

/// A conversion with its choices.
struct Job {
    input: PathBuf,
    output: Option<PathBuf>,
    options: PlanOptions,
    target: Box<dyn Target>,
    choice: Choice,
    adapter: AdapterOptions,
    key: Option<String>,
    force: bool,
    quiet: bool,
}

impl Job {
    fn run(&self, stop: &AtomicBool) -> PyResult<Value> {
        let Job { input, output, options, target, force, .. } = self;
        let failed = |error: ConvertError| of_conversion(&error);
        if let Some(output) = output {
            target.check_output(output, *force).map_err(failed)?;
        }
        target.check_options(options).map_err(failed)?;
        let (model, source) = self.open()?;
        let threads = ThreadPoolBuilder::new().build().map_err(|error| ConversionError::new_err(error.to_string()))?;
        let conversion = Conversion {
            source: &source,
            target: target.as_ref(),
            options: options.clone(),
            output: output.as_deref(),
            dry_run: false,
            force: *force,
            goal: self.choice.goal,
            int8_budget: self.choice.int8_budget,
            audio: self.choice.audio.clone(),
            fidelity: true,
            sha256: true,
            threads: &threads,
        };
        let document = conversion.run(&Stop(stop), |converted| Ok(converted.to_json(input, model.as_ref())));
        document.map_err(|error| ConversionError::new_err(error_text(&error)))
    }

    /// Opens the input: a file, a folder, or a model of the hub, which is downloaded.
    fn open(&self) -> PyResult<(Option<HubModel>, Source)> {
        let key = self.key.as_deref();
        let failed = |error: String| ConversionError::new_err(error);
        let Some(name) = HubName::of_input(&self.input).map_err(|error| failed(error.to_string()))? else {
            if RecognizedMusicgen::open(&self.input).is_some() {
                return Err(failed(format!(
                    "{} is a MusicGen, which the command mert-convert converts to a bundle",
                    printable_path(&self.input)
                )));
            }
            let source = Source::open_with(&self.input, key, &self.adapter);
            return Ok((None, source.map_err(|error| failed(error.to_string()))?));
        };
        let hub = Hub::from_env(Messages::of("mert_toolkit", self.quiet)).and_then(|hub| hub.model(&name));
        let model = hub.map_err(|error| failed(error.to_string()))?;
        let source = open_source(&model, key, &self.adapter).map_err(|error| failed(error.to_string()))?;
        Ok((Some(model), source))
    }
}

/// Ends a conversion at its next step once the flag is set.
struct Stop<'a>(&'a AtomicBool);

impl Listener for Stop<'_> {
    fn on_measurement(&self, _: Progress<'_>) {
        unwind_if(self.0);
    }

    fn on_choice(&self) {}

    fn on_writing(&self, _: usize) {}

    fn on_step(&self, _: &Step) {
        unwind_if(self.0);
    }

    fn on_written(&self) {}
}
