//! Converted files as candidates, run by the runtime.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use mert_arch::{Dtype, Metadata};
use mert_runtime::{ConvertedFile, DeviceKind, Model};
use ndarray::{ArrayView3, Axis};

use super::{Candidate, HiddenStates, Output, is_package, to_array};
use crate::{ClosingNorm, Options, Result, VerifyError};

/// A converted file, run by `mert-runtime`.
pub struct SafetensorsFile {
    file: ConvertedFile,
    model: Model,
    device: DeviceKind,
    compute: Dtype,
}

impl SafetensorsFile {
    /// Opens and loads a converted file, or the `model.safetensors` in a folder.
    ///
    /// # Errors
    /// [`VerifyError::Runtime`] for a file that is none or a device that is not there; [`VerifyError::Options`] for
    /// options that are not for files.
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        if options.engine.is_some() || options.emulate.is_some() {
            return Err(VerifyError::Options(format!(
                "{}: --engine, --compute-units and --emulate are for Core ML packages; leave them out",
                path.display()
            )));
        }
        let file = ConvertedFile::open(&SafetensorsFile::path_of(path)?)?;
        let compute = options.compute.unwrap_or(Dtype::F32);
        let model = Model::from_file(&file, compute, &options.device.open()?)?;
        Ok(SafetensorsFile { file, model, device: options.device, compute })
    }

    /// The file that a model argument names: itself, or `model.safetensors` in a folder.
    ///
    /// # Errors
    /// [`VerifyError::Options`] for a Core ML package, and for a folder without such a file.
    pub fn path_of(path: &Path) -> Result<PathBuf> {
        if is_package(path) {
            return Err(VerifyError::Options(format!(
                "{} is a Core ML package, which can only be verified; this needs a converted .safetensors file",
                path.display()
            )));
        }
        if let Some(package) = path.ancestors().skip(1).find(|folder| is_package(folder)) {
            return Err(VerifyError::Options(format!(
                "{} is part of a Core ML package: name the package, {}",
                path.display(),
                package.display()
            )));
        }
        if !path.is_dir() {
            return Ok(path.to_path_buf());
        }
        let file = path.join("model.safetensors");
        if !file.exists() {
            return Err(VerifyError::Options(format!(
                "{} has no model.safetensors; a checkpoint is converted with mert-convert first",
                path.display()
            )));
        }
        Ok(file)
    }
}

impl Candidate for SafetensorsFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn metadata(&self) -> &Metadata {
        self.file.metadata()
    }

    fn format(&self) -> &'static str {
        self.file.metadata().layout.name()
    }

    fn runs_on(&self) -> String {
        self.device.name().to_string()
    }

    fn arithmetic(&self) -> Dtype {
        self.compute
    }

    fn hidden_states(&self) -> Vec<usize> {
        (0..self.metadata().config.num_hidden_states()).collect()
    }

    fn clip_lengths(&self) -> Option<Vec<usize>> {
        None
    }

    fn closing_norm(&self) -> Result<Option<ClosingNorm>> {
        let config = &self.metadata().config;
        if !config.do_stable_layer_norm {
            return Ok(None);
        }
        let weights = self.file.var_builder(Dtype::F32, &Device::Cpu);
        let read = |name: &str| weights.get(config.hidden_size, &format!("encoder.layer_norm.{name}"))?.to_vec1();
        Ok(Some(ClosingNorm { gain: read("weight")?, bias: read("bias")?, eps: config.layer_norm_eps }))
    }

    fn check_lengths(&self, _: &[usize]) -> Result<Option<String>> {
        Ok(None)
    }

    fn run(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<(Output, HiddenStates)>> {
        Ok(vec![(Output::Frames, cumulative(&self.model, input_values, wanted)?)])
    }

    fn run_isolated(&self, input_values: &[f32], reference: ArrayView3<f32>, wanted: &[usize]) -> Result<HiddenStates> {
        let model = &self.model;
        let (available, _, width) = reference.dim();
        let mut states = HiddenStates::new();
        for &index in wanted {
            if index == 0 {
                states.extend(cumulative(model, input_values, &[0])?);
            } else if index <= available && width == model.config().hidden_size {
                let previous = reference.index_axis(Axis(0), index - 1);
                let values: Vec<f32> = previous.iter().copied().collect();
                let previous = Tensor::from_vec(values, (1, previous.nrows(), width), &Device::Cpu)?;
                states.insert(index, to_array(&model.hidden_state_from_previous(index, &previous)?)?);
            }
        }
        Ok(states)
    }
}

/// The wanted hidden states of a clip.
///
/// # Errors
/// [`VerifyError::Runtime`] for an input that the model refuses.
pub fn cumulative(model: &Model, input_values: &[f32], wanted: &[usize]) -> Result<HiddenStates> {
    let states = model.hidden_states(input_values, wanted)?;
    wanted.iter().zip(states).map(|(&index, state)| Ok((index, to_array(&state)?))).collect()
}
