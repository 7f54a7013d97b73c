//! The engines that run a package: the interpreter and Core ML.

use std::path::Path;
use std::str::FromStr;

use candle_core::Device;
use mert_arch::Dtype;
use mert_runtime::DeviceKind;
use ndarray::ArrayD;

use super::description::{FRAMES, POOLED};
use super::interpreter::Interpreter;
use super::program::Program;
use super::{ComputeUnits, Outputs};
use crate::{ClosingNorm, Options, Result, VerifyError};

/// Who runs a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PackageEngine {
    /// The interpreter in this program, on any machine.
    #[default]
    Interpreter,
    /// Core ML, on a Mac, with the feature `coreml`.
    CoreMl(ComputeUnits),
}

impl PackageEngine {
    /// The engine of this name, `interpreter` or `coreml`, with the compute units given.
    ///
    /// # Errors
    /// For another name, and for compute units without Core ML.
    pub fn chosen(name: Option<&str>, units: Option<ComputeUnits>) -> Result<Option<Self>, String> {
        match (name, units) {
            (None, None) => Ok(None),
            (Some("interpreter"), None) => Ok(Some(PackageEngine::Interpreter)),
            (Some("coreml"), units) => Ok(Some(PackageEngine::CoreMl(units.unwrap_or_default()))),
            (None | Some("interpreter"), Some(_)) => {
                Err("compute units are Core ML's: choose the engine coreml".into())
            }
            (Some(other), _) => Err(format!("unknown engine `{other}`: expected interpreter or coreml")),
        }
    }
}

/// Half precision on a machine that computes in single.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulation {
    /// Every result that the program declares fp16 is rounded to it.
    F16,
}

impl FromStr for Emulation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "f16" { Ok(Emulation::F16) } else { Err(format!("cannot emulate `{text}`: expected f16")) }
    }
}

/// An engine with a package loaded.
pub(super) enum Engine {
    Interpreter(Interpreter),
    #[cfg(all(target_os = "macos", feature = "coreml"))]
    CoreMl(super::core_ml::CoreMl, ComputeUnits),
}

impl Engine {
    /// Loads a package into the engine that was chosen; the program is the interpreter's.
    pub(super) fn open(path: &Path, program: Option<Program>, device: Device, options: &Options) -> Result<Self> {
        match (options.engine.unwrap_or_default(), program) {
            (PackageEngine::Interpreter, Some(program)) => {
                Ok(Engine::Interpreter(Interpreter { program, device, emulate_f16: options.emulate.is_some() }))
            }
            (PackageEngine::Interpreter, None) => {
                Err(VerifyError::Options(format!("{}: the interpreter has no program", path.display())))
            }
            (PackageEngine::CoreMl(units), _) => {
                if options.emulate.is_some() || options.device != DeviceKind::Cpu {
                    let reason = "--emulate and --device are for the interpreter; leave them out with --engine coreml";
                    return Err(VerifyError::Options(format!("{}: {reason}", path.display())));
                }
                Engine::core_ml(path, units)
            }
        }
    }

    #[cfg(all(target_os = "macos", feature = "coreml"))]
    fn core_ml(path: &Path, units: ComputeUnits) -> Result<Self> {
        let loaded = super::core_ml::CoreMl::open(path, units);
        let broken = |reason| VerifyError::Package { path: path.to_path_buf(), reason };
        Ok(Engine::CoreMl(loaded.map_err(broken)?, units))
    }

    #[cfg(not(all(target_os = "macos", feature = "coreml")))]
    fn core_ml(path: &Path, units: ComputeUnits) -> Result<Self> {
        Err(VerifyError::Options(format!(
            "{}: --engine coreml (compute units {units}) needs macOS and a build with --features coreml; without it the \
             interpreter runs the package on any machine",
            path.display()
        )))
    }

    pub(super) fn name(&self) -> String {
        match self {
            Engine::Interpreter(interpreter) if interpreter.emulate_f16 => "the interpreter, rounding to fp16".into(),
            Engine::Interpreter(_) => "the interpreter".into(),
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(_, units) => format!("Core ML, compute units `{units}`"),
        }
    }

    /// The type that it computes in, of a package with such weights.
    pub(super) fn arithmetic(&self, weights: Dtype) -> Dtype {
        match self {
            Engine::Interpreter(interpreter) if !interpreter.emulate_f16 => Dtype::F32,
            _ => weights,
        }
    }

    /// The encoder's final LayerNorm of a pre-LN model, if the program is readable.
    pub(super) fn closing_norm(&self, eps: f64) -> Option<ClosingNorm> {
        match self {
            Engine::Interpreter(interpreter) => interpreter.program.last_layer_norm(eps),
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(..) => None,
        }
    }

    /// The outputs of one clip.
    pub(super) fn run(&self, input_values: &[f32], frames: bool) -> Result<Outputs, String> {
        let names: &[&str] = if frames { &[POOLED, FRAMES] } else { &[POOLED] };
        match self {
            Engine::Interpreter(interpreter) => {
                let outputs = interpreter.run(input_values)?;
                let read = |name: &&str| {
                    let tensor = outputs.get(*name).ok_or_else(|| format!("output `{name}` is missing"))?;
                    let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
                    let values = values.map_err(|e| format!("output `{name}`: {e}"))?;
                    let array = ArrayD::from_shape_vec(tensor.dims(), values);
                    Ok(((*name).to_string(), array.map_err(|e| format!("output `{name}`: {e}"))?))
                };
                names.iter().map(read).collect()
            }
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(model, _) => model.predict(input_values, names),
        }
    }
}
