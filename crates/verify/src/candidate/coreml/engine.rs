//! The engines that run a package: the interpreter and Core ML. Where Core ML is not available, choosing it is an error.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use mert_arch::Dtype;
use mert_runtime::DeviceKind;
use ndarray::ArrayD;

use super::description::{FRAMES, POOLED};
use super::interpreter::Interpreter;
use super::program::Program;
use crate::candidate::compressed::CompressedWeights;
use crate::candidate::encoder_norm::EncoderNorm;
use crate::candidate::options::{ComputeUnits, Emulation, PackageOptions};
use crate::{Result, VerifyError};

/// The outputs of a package, by name.
pub(super) type Outputs = BTreeMap<String, ArrayD<f32>>;

/// An engine with a package loaded.
pub(super) enum Engine {
    Interpreter(Interpreter),
    #[cfg(all(target_os = "macos", feature = "coreml"))]
    CoreMl(super::core_ml::CoreMl, ComputeUnits),
}

impl Engine {
    /// Prepares the interpreter.
    pub(super) fn interpreter(program: Program, device: Device, emulate: Option<Emulation>) -> Self {
        Engine::Interpreter(Interpreter { program, device, emulate_f16: emulate.is_some() })
    }

    /// Loads a package into Core ML, which chooses its own device and arithmetic.
    pub(super) fn core_ml(path: &Path, device: DeviceKind, options: PackageOptions) -> Result<Self> {
        if options.emulate.is_some() || device != DeviceKind::Cpu {
            let reason = "--emulate and --device are for the interpreter; leave them out with --engine coreml";
            return Err(VerifyError::options(path, reason));
        }
        Engine::load_core_ml(path, options.compute_units.unwrap_or_default())
    }

    #[cfg(all(target_os = "macos", feature = "coreml"))]
    fn load_core_ml(path: &Path, units: ComputeUnits) -> Result<Self> {
        let loaded = super::core_ml::CoreMl::open(path, units);
        Ok(Engine::CoreMl(loaded.map_err(|reason| VerifyError::package(path, reason))?, units))
    }

    #[cfg(not(all(target_os = "macos", feature = "coreml")))]
    fn load_core_ml(path: &Path, units: ComputeUnits) -> Result<Self> {
        let reason = format!(
            "--engine coreml (compute units {units}) needs macOS and a build with --features coreml; without it the \
             interpreter runs the package on any machine"
        );
        Err(VerifyError::options(path, reason))
    }

    /// The name shown in reports.
    pub(super) fn name(&self) -> String {
        match self {
            Engine::Interpreter(interpreter) if interpreter.emulate_f16 => "the interpreter, rounding to fp16".into(),
            Engine::Interpreter(_) => "the interpreter".into(),
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(_, units) => format!("Core ML, compute units `{units}`"),
        }
    }

    /// The forms of the compressed weights; `None` if all weights are floats, or if the program is not readable.
    pub(super) fn compression(&self) -> Option<CompressedWeights> {
        match self {
            Engine::Interpreter(interpreter) => CompressedWeights::new(interpreter.program.encodings.values()),
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(..) => None,
        }
    }

    /// The values of the weight of this name `(out, in)` if it is compressed, row by row.
    pub(super) fn decompressed(&self, name: &str) -> Result<Option<Vec<f32>>, String> {
        match self {
            Engine::Interpreter(interpreter) => interpreter.program.decompressed(name),
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(..) => Ok(None),
        }
    }

    /// The element type in which a package with weights of type `weights` is computed.
    pub(super) fn arithmetic(&self, weights: Dtype) -> Dtype {
        match self {
            Engine::Interpreter(interpreter) if !interpreter.emulate_f16 => Dtype::F32,
            _ => weights,
        }
    }

    /// The encoder's final LayerNorm of a pre-LN model, if the program is readable.
    pub(super) fn encoder_norm(&self, eps: f64) -> Option<EncoderNorm> {
        match self {
            Engine::Interpreter(interpreter) => interpreter.program.last_layer_norm(eps),
            #[cfg(all(target_os = "macos", feature = "coreml"))]
            Engine::CoreMl(..) => None,
        }
    }

    /// Runs the package on a clip and returns the pooled output and, if `frames`, that of all frames.
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
