//! Core ML packages as candidates: read from their bytes, and run by an interpreter on any machine or by Core ML on a
//! Mac. The format is documented at <https://apple.github.io/coremltools/mlmodel/index.html>.
//!
//! [`manifest`] finds the files, [`proto`] and [`blob`] decode them, [`program`] checks what can be checked without
//! running anything, [`description`] compares it with the interface that the package declares, [`interpreter`] and
//! [`ops`] run it; [`constexpr`] decompresses its weights. Only the operations that converters write for this model are supported; any other is refused.

mod blob;
mod constexpr;
#[cfg(all(target_os = "macos", feature = "coreml"))]
mod core_ml;
mod description;
mod engine;
mod interpreter;
mod manifest;
mod ops;
mod program;
mod proto;
#[cfg(any(test, all(target_os = "macos", feature = "coreml")))]
mod strided;
mod types;
mod value;

use std::path::{Path, PathBuf};

use candle_core::Device;
use mert_arch::{ComputeType, Metadata, TensorSpec};
use ndarray::{ArrayD, Axis, Ix2};
use prost::Message;

use self::blob::BlobFile;
use self::description::{Description, FRAMES, Lengths, POOLED};
use self::engine::Engine;
use self::manifest::PackageFiles;
use self::program::Program;
use super::options::{ComputeOptions, PackageEngine, PackageOptions};
use super::{Candidate, CompressedWeights, EncoderNorm, HiddenStates, Output, RunIsolated};
use crate::{Result, VerifyError};

/// Whether a path is that of a Core ML package, complete or not.
pub(super) fn is_package(path: &Path) -> bool {
    path.is_dir()
        && (path.extension().is_some_and(|extension| extension == "mlpackage") || path.join("Manifest.json").exists())
}

/// A Core ML package.
pub(super) struct Package {
    path: PathBuf,
    description: Description,
    engine: Engine,
}

impl Package {
    /// Reads a package and checks all that can be checked without running it.
    ///
    /// # Errors
    /// [`VerifyError::Package`] naming the file, field or operation at fault; [`VerifyError::Options`] for options
    /// that do not apply to packages, or for an engine that is not available.
    pub(super) fn open(path: &Path, compute: ComputeOptions, options: PackageOptions) -> Result<Self> {
        options.check().map_err(|reason| VerifyError::options(path, reason))?;
        if compute.dtype.is_some() {
            let reason =
                "--dtype is for .safetensors files; a package has its own types (--emulate f16 rounds to them)";
            return Err(VerifyError::options(path, reason));
        }
        let device = compute.device.open()?;
        let files = PackageFiles::find(path).map_err(|reason| VerifyError::package(path, reason))?;
        // Core ML reads the program itself, and has operations that the interpreter lacks.
        let interpreted = options.engine.unwrap_or_default() == PackageEngine::Interpreter;
        let (program, description) =
            read_files(&files, interpreted.then_some(&device)).map_err(|reason| VerifyError::package(path, reason))?;
        let engine = match program {
            Some(program) => Engine::interpreter(program, device, options.emulate),
            None => Engine::core_ml(path, compute.device, options)?,
        };
        Ok(Package { path: path.to_path_buf(), description, engine })
    }

    /// Lists the files of a package, as far as they exist.
    pub(super) fn files(path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.join("Manifest.json")];
        if let Ok(found) = PackageFiles::find(path) {
            files.extend([found.model, found.weights]);
        }
        files
    }

    /// Chooses two lengths of a range: the one nearest to five seconds, and one about two seconds from it, which leaves
    /// another remainder in every convolution.
    fn two_lengths(&self, shortest: usize, longest: usize) -> [usize; 2] {
        let rate = f64::from(self.metadata().preprocessor.sampling_rate);
        let first = ((5.0 * rate) as usize).clamp(shortest, longest);
        let step = (2.0301 * rate) as usize;
        let second = match (first + step <= longest, first >= shortest + step) {
            (true, _) => first + step,
            (false, true) => first - step,
            (false, false) if first == longest => shortest,
            (false, false) => longest,
        };
        [first, second]
    }

    fn error(&self, reason: String) -> VerifyError {
        VerifyError::package(&self.path, reason)
    }

    /// Converts an output `(rows, width)` or `(rows, frames, width)` to hidden states.
    fn states(&self, name: &str, output: &ArrayD<f32>, wanted: &[usize]) -> Result<HiddenStates> {
        let rows = &self.description.rows;
        if output.ndim() < 2 || output.len_of(Axis(0)) != rows.len() {
            let found = output.shape();
            return Err(self.error(format!("output `{name}` has shape {found:?} for {} hidden states", rows.len())));
        }
        let mut states = HiddenStates::new();
        for (row, &index) in rows.iter().enumerate().filter(|(_, index)| wanted.contains(index)) {
            let state = output.index_axis(Axis(0), row);
            let state = if state.ndim() == 1 { state.insert_axis(Axis(0)) } else { state };
            let state = state.into_dimensionality::<Ix2>().map_err(|e| self.error(format!("output `{name}`: {e}")))?;
            states.insert(index, state.to_owned());
        }
        Ok(states)
    }
}

fn read_model(path: &Path) -> Result<proto::Model, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let model = proto::Model::decode(&bytes[..]).map_err(|e| format!("model.mlmodel cannot be decoded: {e}"))?;
    // Known fields have the same length when they are encoded again. Fields of another kind of model, of a training
    // input or of a default value are unknown, and decoding drops them.
    if model.encoded_len() != bytes.len() {
        let unknown = bytes.len().abs_diff(model.encoded_len());
        return Err(format!("model.mlmodel has unsupported fields of {unknown} bytes outside its program"));
    }
    Ok(model)
}

/// Reads the program, if it is to be interpreted on a device, and the description.
fn read_files(files: &PackageFiles, device: Option<&Device>) -> Result<(Option<Program>, Description), String> {
    let model = read_model(&files.model)?;
    let program = device.map(|device| read_program(&model, files, device)).transpose()?;
    let description = model.description.ok_or("model.mlmodel has no `description`")?;
    let description = Description::decode(&description, program.as_ref())?;
    Ok((program, description))
}

fn read_program(model: &proto::Model, files: &PackageFiles, device: &Device) -> Result<Program, String> {
    let bytes = model.ml_program.as_ref().ok_or("model.mlmodel holds no ML Program (`mlProgram`)")?;
    let mut blobs = BlobFile::open(&files.weights)?;
    Program::decode(bytes, model.specification_version, &mut blobs, device)
}

impl Candidate for Package {
    fn path(&self) -> &Path {
        &self.path
    }

    fn metadata(&self) -> &Metadata {
        &self.description.metadata
    }

    fn format(&self) -> &'static str {
        "mlpackage"
    }

    fn runs_on(&self) -> String {
        self.engine.name()
    }

    fn compression(&self) -> Option<CompressedWeights> {
        self.engine.compression()
    }

    fn decompressed(&self, spec: &TensorSpec) -> Result<Option<Vec<f32>>> {
        let values = self.engine.decompressed(&spec.name).map_err(|reason| self.error(reason))?;
        let expected: usize = spec.shape.iter().product();
        match values {
            Some(values) if values.len() != expected => {
                Err(self.error(format!("weight `{}` has {} values, expected {expected}", spec.name, values.len())))
            }
            values => Ok(values),
        }
    }

    fn arithmetic(&self) -> ComputeType {
        self.engine.arithmetic(self.metadata().dtype).into()
    }

    fn hidden_states(&self) -> Vec<usize> {
        self.description.rows.clone()
    }

    /// All enumerated lengths, or two of a range.
    fn clip_lengths(&self) -> Option<Vec<usize>> {
        Some(match &self.description.lengths {
            Lengths::Enumerated(lengths) => lengths.clone(),
            Lengths::Range(shortest, longest) => self.two_lengths(*shortest, *longest).to_vec(),
        })
    }

    fn encoder_norm(&self) -> Result<Option<EncoderNorm>> {
        let config = &self.metadata().config;
        Ok(if config.do_stable_layer_norm { self.engine.encoder_norm(config.layer_norm_eps) } else { None })
    }

    /// Runs a package that accepts several lengths, and was judged at one of them, at another one: its program may have
    /// the judged length built in.
    fn check_lengths(&self, judged: &[usize]) -> Result<Option<String>> {
        let (Some(&only), true) = (judged.first(), judged.iter().all(|length| *length == judged[0])) else {
            return Ok(None);
        };
        let other = match &self.description.lengths {
            Lengths::Enumerated(lengths) => lengths.iter().copied().filter(|length| *length != only).min(),
            Lengths::Range(shortest, longest) => {
                self.two_lengths(*shortest, *longest).into_iter().find(|length| *length != only)
            }
        };
        let Some(other) = other else { return Ok(None) };
        let config = &self.metadata().config;
        let clip = mert_audio::music_like(other, self.metadata().preprocessor.sampling_rate);
        for (output, states) in self.run(&clip, &self.description.rows)? {
            let expected = if output == Output::Frames { config.frames(other) } else { Some(1) };
            if let Some(state) = states.values().find(|state| Some(state.nrows()) != expected) {
                let found = state.nrows();
                return Err(
                    self.error(format!("from {other} samples it computes {found} frames, expected {expected:?}"))
                );
            }
        }
        Ok(Some(format!(
            "it takes clips of {} samples, but was compared with PyTorch at {only} only; at {other} it runs, and its \
             result there was not judged. Give a reference of another length, or --checkpoint",
            self.description.lengths
        )))
    }

    fn run(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<(Output, HiddenStates)>> {
        let lengths = &self.description.lengths;
        if !lengths.contains(input_values.len()) {
            return Err(self.error(format!(
                "it takes clips of {lengths} samples, the reference's has {}; give a reference of such a length, or convert \
                 for this one (--seconds)",
                input_values.len()
            )));
        }
        if let Some((index, value)) = input_values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(mert_runtime::Error::NotFinite { index, value: *value }.into());
        }
        let outputs = self.engine.run(input_values, self.description.has_frames).map_err(|e| self.error(e))?;
        let kinds = [(Output::Pooled, POOLED), (Output::Frames, FRAMES)];
        let found = kinds.into_iter().filter_map(|(kind, name)| Some((kind, name, outputs.get(name)?)));
        found.map(|(kind, name, output)| Ok((kind, self.states(name, output, wanted)?))).collect()
    }

    fn isolated(&self) -> Option<&dyn RunIsolated> {
        None
    }
}
