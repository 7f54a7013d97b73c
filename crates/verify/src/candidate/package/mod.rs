//! Core ML packages: read from their own bytes, run by an interpreter of ours on any machine, or by Core ML itself on
//! a Mac.
//!
//! [`manifest`] finds the files, [`proto`] and [`blob`] decode them, [`program`] checks what can be checked without
//! running anything, [`description`] holds it against what the package promises, [`interpreter`] and [`ops`] run
//! it. It knows the operations that converters write for this model and refuses any other.

mod blob;
mod compute_units;
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_arch::{Dtype, Metadata};
use ndarray::{ArrayD, ArrayView3, Axis, Ix2};
use prost::Message;

use self::blob::BlobFile;
pub use self::compute_units::ComputeUnits;
use self::description::{Description, FRAMES, Lengths, POOLED};
use self::engine::Engine;
pub use self::engine::{Emulation, PackageEngine};
use self::manifest::Files;
use self::program::Program;
use super::{Candidate, HiddenStates, Output};
use crate::{ClosingNorm, Options, Result, VerifyError, signal};

/// Whether a path is that of a Core ML package, whole or not.
pub fn is_package(path: &Path) -> bool {
    path.is_dir()
        && (path.extension().is_some_and(|extension| extension == "mlpackage") || path.join("Manifest.json").exists())
}

/// A Core ML package.
pub struct Package {
    path: PathBuf,
    description: Description,
    engine: Engine,
}

impl Package {
    /// Reads a package and checks all that can be checked without running it.
    ///
    /// # Errors
    /// [`VerifyError::Package`] naming the file, field or operation that is wrong; [`VerifyError::Options`] for options
    /// that are not for packages, or for an engine that is not there.
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        let unfit = |reason: &str| Err(VerifyError::Options(format!("{}: {reason}", path.display())));
        if options.compute.is_some() {
            return unfit(
                "--dtype is for .safetensors files; a package has its own types (--emulate f16 rounds to them)",
            );
        }
        if options.isolate {
            return unfit("--isolate is for .safetensors files; a package runs from the samples up");
        }
        let broken = |reason: String| VerifyError::Package { path: path.to_path_buf(), reason };
        let device = options.device.open()?;
        let files = Files::find(path).map_err(broken)?;
        let model = read_model(&files.model).map_err(broken)?;
        // Core ML reads the program itself, and knows operations that the interpreter does not.
        let program = match options.engine.unwrap_or_default() {
            PackageEngine::Interpreter => Some(read_program(&model, &files, &device).map_err(broken)?),
            PackageEngine::CoreMl(_) => None,
        };
        let description = model.description.ok_or_else(|| broken("model.mlmodel has no `description`".into()))?;
        let description = Description::decode(&description, program.as_ref()).map_err(broken)?;
        let engine = Engine::open(path, program, device, options)?;
        Ok(Package { path: path.to_path_buf(), description, engine })
    }

    /// The files that a package consists of, as far as it has them.
    pub fn files(path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.join("Manifest.json")];
        if let Ok(found) = Files::find(path) {
            files.extend([found.model, found.weights]);
        }
        files
    }

    /// Two lengths of a range: what is nearest to five seconds, and two seconds and a bit from it, which leaves
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

    fn broken(&self, reason: String) -> VerifyError {
        VerifyError::Package { path: self.path.clone(), reason }
    }

    /// An output `(rows, width)` or `(rows, frames, width)` as hidden states.
    fn states(&self, name: &str, output: &ArrayD<f32>, wanted: &[usize]) -> Result<HiddenStates> {
        let rows = &self.description.rows;
        if output.ndim() < 2 || output.len_of(Axis(0)) != rows.len() {
            let found = output.shape();
            return Err(self.broken(format!("output `{name}` has shape {found:?} for {} hidden states", rows.len())));
        }
        let mut states = HiddenStates::new();
        for (row, &index) in rows.iter().enumerate().filter(|(_, index)| wanted.contains(index)) {
            let state = output.index_axis(Axis(0), row);
            let state = if state.ndim() == 1 { state.insert_axis(Axis(0)) } else { state };
            let state = state.into_dimensionality::<Ix2>().map_err(|e| self.broken(format!("output `{name}`: {e}")))?;
            states.insert(index, state.to_owned());
        }
        Ok(states)
    }
}

fn read_model(path: &Path) -> Result<proto::Model, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let model = proto::Model::decode(&bytes[..]).map_err(|e| format!("model.mlmodel cannot be decoded: {e}"))?;
    // Every field that is known is encoded again at the same length. Another kind of model, a training input, a
    // default value are not.
    if model.encoded_len() != bytes.len() {
        let unknown = bytes.len().abs_diff(model.encoded_len());
        return Err(format!(
            "model.mlmodel has fields of {unknown} bytes, outside its program, that are not known here"
        ));
    }
    Ok(model)
}

fn read_program(model: &proto::Model, files: &Files, device: &candle_core::Device) -> Result<Program, String> {
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

    fn arithmetic(&self) -> Dtype {
        self.engine.arithmetic(self.metadata().dtype)
    }

    fn hidden_states(&self) -> Vec<usize> {
        self.description.rows.clone()
    }

    /// All that are listed, or two of a range.
    fn clip_lengths(&self) -> Option<Vec<usize>> {
        Some(match &self.description.lengths {
            Lengths::Listed(listed) => listed.clone(),
            Lengths::Range(shortest, longest) => self.two_lengths(*shortest, *longest).to_vec(),
        })
    }

    fn closing_norm(&self) -> Result<Option<ClosingNorm>> {
        let config = &self.metadata().config;
        Ok(if config.do_stable_layer_norm { self.engine.closing_norm(config.layer_norm_eps) } else { None })
    }

    /// A package that takes several lengths, and was judged at one of them, may have that one built in: it is run
    /// at another one, too.
    fn check_lengths(&self, judged: &[usize]) -> Result<Option<String>> {
        let (Some(&only), true) = (judged.first(), judged.iter().all(|length| *length == judged[0])) else {
            return Ok(None);
        };
        let other = match &self.description.lengths {
            Lengths::Listed(listed) => listed.iter().copied().filter(|length| *length != only).min(),
            Lengths::Range(shortest, longest) => {
                self.two_lengths(*shortest, *longest).into_iter().find(|length| *length != only)
            }
        };
        let Some(other) = other else { return Ok(None) };
        let config = &self.metadata().config;
        let clip = signal::music_like(other, self.metadata().preprocessor.sampling_rate);
        for (output, states) in self.run(&clip, &self.description.rows)? {
            let expected = if output == Output::Frames { config.frames(other) } else { Some(1) };
            if let Some(state) = states.values().find(|state| Some(state.nrows()) != expected) {
                let found = state.nrows();
                return Err(self.broken(format!("of {other} samples it makes {found} frames, not {expected:?}")));
            }
        }
        Ok(Some(format!(
            "it takes clips of {} samples, but was compared with PyTorch at {only} only; at {other} it runs, and what it \
             computes there was not judged. Give a reference of another length, or --checkpoint",
            self.description.lengths.shown()
        )))
    }

    fn run(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<(Output, HiddenStates)>> {
        let lengths = &self.description.lengths;
        if !lengths.admits(input_values.len()) {
            return Err(self.broken(format!(
                "it takes clips of {} samples, the reference's has {}; give a reference of such a length, or convert for \
                 this one (--seconds)",
                lengths.shown(),
                input_values.len()
            )));
        }
        if let Some((index, value)) = input_values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(mert_runtime::Error::NotFinite { index, value: *value }.into());
        }
        let outputs = self.engine.run(input_values, self.description.has_frames).map_err(|e| self.broken(e))?;
        let kinds = [(Output::Pooled, POOLED), (Output::Frames, FRAMES)];
        let found = kinds.into_iter().filter_map(|(kind, name)| Some((kind, name, outputs.get(name)?)));
        found.map(|(kind, name, output)| Ok((kind, self.states(name, output, wanted)?))).collect()
    }

    fn run_isolated(&self, _: &[f32], _: ArrayView3<f32>, _: &[usize]) -> Result<HiddenStates> {
        Err(VerifyError::Options(format!("{}: a package runs from the samples up", self.path.display())))
    }
}

/// Outputs by name.
type Outputs = BTreeMap<String, ArrayD<f32>>;
