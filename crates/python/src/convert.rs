//! The function `convert`: a checkpoint to a file, folder or package that other programs load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mert_arch::{Layout, Quantization, QuantizationMode};
use mert_checkpoint::{AdapterOptions, Source};
use mert_cli::conversion_cache::assumptions;
use mert_cli::hub::{Hub, Messages, open_source};
use mert_convert::write::{self, Target, TargetOptions, WriteJob, no_inspection};
use mert_convert::{ConvertError, Plan, PlanOptions, PreprocessorOptions, Program, QuantizeOptions, Step};
use mert_fs::sha256_output;
use mert_hub::HubName;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pythonize::pythonize;
use serde_json::{Value, json};

use crate::arguments::{parse, parse_some};
use crate::errors::{ConversionError, of_conversion};
use crate::interrupt::{stoppable, unwind_if, unwindable};

/// The quantization of linear layers, as Python gives it.
#[derive(FromPyObject)]
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

/// Converts a checkpoint, or plans its conversion if there is no output. Returns what `mert-convert --json` prints.
#[pyfunction]
#[pyo3(signature = (input, output, *, dtype, layout, program, quantize, adapter, key, prefix, config, fields, preprocessor,
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
    let target = write::target_for(output.as_deref(), program, &TargetOptions::default());
    let target = target.map_err(|error| of_conversion(&error))?;
    let default = PlanOptions::default();
    let options = PlanOptions {
        program,
        layout: target.layout(layout).map_err(|error| of_conversion(&error))?,
        dtype: match dtype {
            Some(dtype) => parse("dtype", dtype)?,
            None => program.map_or(default.dtype, Program::default_dtype),
        },
        quantize: quantize.map(|quantize| quantize.options(target.as_ref())).transpose()?,
        config_file: config,
        config_set: fields.iter().map(|field| parse("config field", field)).collect::<PyResult<_>>()?,
        preprocessor: PreprocessorOptions { file: preprocessor, sampling_rate, do_normalize },
        prefix,
        keep_final_proj,
        drop,
        ..default
    };
    let adapter = AdapterOptions { path: adapter, ..AdapterOptions::default() };
    let job = Job { input, output, options, target, adapter, key, force, quiet };
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
    adapter: AdapterOptions,
    key: Option<String>,
    force: bool,
    quiet: bool,
}

// Targets hold options alone.
impl Job {
    fn run(&self, stop: &AtomicBool) -> PyResult<Value> {
        let Job { input, output, options, target, force, .. } = self;
        let failed = |error: ConvertError| of_conversion(&error);
        if let Some(output) = output {
            target.check_output(output, *force).map_err(failed)?;
        }
        target.check_options(options).map_err(failed)?;
        let (hub, source) = self.open()?;
        let plan = Plan::new(&source, options).and_then(|plan| target.refine(plan)).map_err(failed)?;
        let prepared = target.prepare(&plan).map_err(failed)?;
        let written =
            output.as_deref().map(|output| self.write(&source, prepared.as_ref(), output, stop)).transpose()?;
        let mut document = json!({
            "input": input,
            "plan": plan,
            "assumptions": assumptions(&plan),
            "output": written,
            "target": {
                "form": prepared.form(),
                "tensors": prepared.tensor_count(),
                "bytes": prepared.byte_len(),
                "details": prepared.details(),
            },
        });
        if let Some(hub) = hub {
            document["hub"] = hub;
        }
        Ok(document)
    }

    /// Opens the input: a file, a folder, or a model of the hub, which is downloaded.
    fn open(&self) -> PyResult<(Option<Value>, Source)> {
        let key = self.key.as_deref();
        let failed = |error: String| ConversionError::new_err(error);
        let Some(name) = HubName::of_input(&self.input).map_err(|error| failed(error.to_string()))? else {
            let source = Source::open_with(&self.input, key, &self.adapter);
            return Ok((None, source.map_err(|error| failed(error.to_string()))?));
        };
        let hub = Hub::from_env(Messages::of("mert_toolkit", self.quiet)).and_then(|hub| hub.model(&name));
        let model = hub.map_err(|error| failed(error.to_string()))?;
        let source = open_source(&model, key, &self.adapter).map_err(|error| failed(error.to_string()))?;
        Ok((Some(json!({ "model": model.repo, "revision": model.commit, "weights": model.weights })), source))
    }

    fn write(
        &self,
        source: &Source,
        prepared: &dyn write::PreparedOutput,
        output: &Path,
        stop: &AtomicBool,
    ) -> PyResult<Value> {
        let on_step = |_: &Step| unwind_if(stop);
        let inspect = |written: &Path| match prepared.records_fidelity() {
            true => mert_budget::fidelity(source, &self.options, written).map(Some).map_err(|error| error.to_string()),
            false => no_inspection(written),
        };
        let job = WriteJob { source, output, force: self.force, on_step: &on_step, inspect: &inspect };
        let written = prepared.write(&job).map_err(|error| of_conversion(&error))?;
        let sha256 = sha256_output(output).map_err(|error| ConversionError::new_err(error.to_string()))?;
        Ok(json!({ "path": output, "written": { "sha256": sha256, "bytes": written.bytes } }))
    }
}
