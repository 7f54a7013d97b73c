//! The function `verify`: the gate, with its report as a dictionary.

use std::path::PathBuf;

use mert_arch::LayerSelection;
use mert_cli::hub::Messages;
use mert_cli::model_input::converted_file;
use mert_verify::candidate::ComputeOptions;
use mert_verify::fixture::Fixture;
use mert_verify::gate::{CompareOptions, ModelVerdict, Verdict};
use mert_verify::report::{to_html, to_json, to_junit, to_markdown};
use mert_verify::{Check, VerifyError, gate_file};
use pyo3::prelude::*;

use crate::arguments::{parse, parse_some};
use crate::errors::{of_model, of_verification};
use crate::interrupt::abandonable;

/// The forms of a report: JSON, JUnit XML, Markdown and HTML.
type Report = (String, String, String, String);

/// Compares a converted model with references; without a model the built-in fixture.
#[pyfunction]
#[pyo3(signature = (model, references, *, layers, isolate, require_structure, device, dtype, quiet))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn verify(
    py: Python<'_>,
    model: Option<PathBuf>,
    references: Vec<PathBuf>,
    layers: &str,
    isolate: bool,
    require_structure: bool,
    device: &str,
    dtype: Option<&str>,
    quiet: bool,
) -> PyResult<Report> {
    let layers: LayerSelection = parse("layers", layers)?;
    let compare = CompareOptions { layers, isolate, require_structure, keep_frames: true, ..CompareOptions::default() };
    let compute = ComputeOptions { device: parse("device", device)?, dtype: parse_some("dtype", dtype)? };
    let run = move || -> anyhow::Result<Result<Verdict, VerifyError>> {
        let check = Check { references, compare, compute, ..Check::default() };
        let Some(model) = model else {
            return Ok(of_fixture(check).map(|verdict| Verdict::new([(FIXTURE.into(), Ok(verdict))])));
        };
        let path = match model.is_dir() || model.extension().is_some_and(|ending| ending == "mlpackage") {
            true => model,
            false => converted_file(&model, Messages::of("mert_toolkit", quiet))?,
        };
        let check = Check { model: path.clone(), ..check };
        Ok(check.run().map(|verdict| Verdict::new([(path, Ok(verdict))])))
    };
    match abandonable(py, run)? {
        Ok(verdict) => verdict.map(|verdict| report(&verdict)).map_err(|error| of_verification(&error)),
        Err(error) => Err(of_model(&error)),
    }
}

/// Runs the checks of a `verify.yaml`. A check that could not be run is among the errors of the report.
#[pyfunction]
pub(crate) fn verify_config(py: Python<'_>, path: PathBuf) -> PyResult<Report> {
    let run = move || -> Result<Verdict, VerifyError> {
        let mut checks = gate_file::read(&path)?;
        checks.iter_mut().for_each(|check| check.compare.keep_frames = true);
        Ok(Verdict::new(checks.into_iter().map(|check| (check.model.clone(), check.run()))))
    };
    abandonable(py, run)?.map(|verdict| report(&verdict)).map_err(|error| of_verification(&error))
}

const FIXTURE: &str = "built-in fixture mert-tiny";

fn of_fixture(check: Check) -> Result<ModelVerdict, VerifyError> {
    let fixture = Fixture::unpack()?;
    let mut verdict = Check { model: fixture.model(), references: vec![fixture.reference()], ..check }.run()?;
    verdict.model = FIXTURE.into();
    Ok(verdict)
}

fn report(verdict: &Verdict) -> Report {
    (to_json(verdict), to_junit(verdict), to_markdown(verdict), to_html(verdict))
}
