//! Converted safetensors files as candidates, run by the runtime.

use std::path::{Path, PathBuf};

use candle_core::Device;
use mert_arch::{ComputeType, Dtype, Metadata, TensorSpec};
use mert_runtime::{ConvertedFile, DeviceKind, Model};
use ndarray::ArrayView3;

use super::coreml::is_package;
use super::gguf::{gguf_encoding, is_gguf};
use super::runtime_model::{encoder_norm, hidden_states, run_isolated};
use super::stored_weights::StoredWeights;
use super::{Candidate, ComputeOptions, EncoderNorm, HiddenStates, Output, PackageOptions, RunIsolated, StoredWeight};
use crate::{ModelEncoding, Result, VerifyError};

/// A converted file, run by `mert-runtime`.
pub(super) struct SafetensorsFile {
    file: ConvertedFile,
    model: Model,
    device: DeviceKind,
    dtype: ComputeType,
}

impl SafetensorsFile {
    /// Opens and loads a converted file, or the weights in a folder.
    ///
    /// # Errors
    /// [`VerifyError::Runtime`] for a file that is not a converted one or a device that is not available,
    /// [`VerifyError::Options`] for options of packages.
    pub(super) fn open(path: &Path, compute: ComputeOptions, package: PackageOptions) -> Result<Self> {
        if package != PackageOptions::default() {
            let reason = "--engine, --compute-units and --emulate are for Core ML packages; leave them out";
            return Err(VerifyError::options(path, reason));
        }
        let file = ConvertedFile::open(&converted_file(path)?)?;
        let dtype = compute.dtype.unwrap_or_default();
        let model = Model::from_file(&file, dtype, &compute.device.open()?)?;
        Ok(SafetensorsFile { file, model, device: compute.device, dtype })
    }
}

/// Finds the converted weights that a model argument names: the file itself, or in a folder `model.safetensors` or the index
/// of its shards.
///
/// # Errors
/// [`VerifyError::Options`] for a Core ML package, and for a folder without such a file.
pub fn converted_file(path: &Path) -> Result<PathBuf> {
    if is_package(path) {
        let reason = "it is a Core ML package, which can only be verified; this needs a converted .safetensors file";
        return Err(VerifyError::options(path, reason));
    }
    if let Some(package) = path.ancestors().skip(1).find(|folder| is_package(folder)) {
        let reason = format!("it is part of a Core ML package: name the package, {}", package.display());
        return Err(VerifyError::options(path, reason));
    }
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let files = ["model.safetensors", "model.safetensors.index.json"].map(|name| path.join(name));
    files.into_iter().find(|file| file.exists()).ok_or_else(|| {
        let reason = "it has no model.safetensors; convert a checkpoint with mert-convert first";
        VerifyError::options(path, reason)
    })
}

/// The encoding of a converted model's weights, according to its metadata.
///
/// # Errors
/// As for [`converted_file`], and [`VerifyError::Runtime`] or [`VerifyError::Gguf`] for a file that is not a converted one.
pub fn converted_encoding(path: &Path) -> Result<ModelEncoding> {
    if is_gguf(path) {
        return gguf_encoding(path);
    }
    Ok(ModelEncoding::of(ConvertedFile::open(&converted_file(path)?)?.metadata()))
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

    fn arithmetic(&self) -> ComputeType {
        self.dtype
    }

    fn rounds_factors_only(&self) -> bool {
        self.model.rounds_factors_only()
    }

    fn linear_weight(&self, spec: &TensorSpec) -> Result<Option<StoredWeight>> {
        let weights = StoredWeights::open(self.path(), &self.file.files())?;
        weights.read(spec, self.metadata().encoding(spec)).map(Some)
    }

    fn hidden_states(&self) -> Vec<usize> {
        (0..self.metadata().config.num_hidden_states()).collect()
    }

    fn clip_lengths(&self) -> Option<Vec<usize>> {
        None
    }

    fn encoder_norm(&self) -> Result<Option<EncoderNorm>> {
        encoder_norm(&self.metadata().config, &self.file.var_builder(Dtype::F32, &Device::Cpu))
    }

    fn check_lengths(&self, _: &[usize]) -> Result<Option<String>> {
        Ok(None)
    }

    fn run(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<(Output, HiddenStates)>> {
        Ok(vec![(Output::Frames, hidden_states(&self.model, input_values, wanted)?)])
    }

    fn isolated(&self) -> Option<&dyn RunIsolated> {
        Some(self)
    }
}

impl RunIsolated for SafetensorsFile {
    fn run_isolated(&self, input_values: &[f32], reference: ArrayView3<f32>, wanted: &[usize]) -> Result<HiddenStates> {
        run_isolated(&self.model, input_values, reference, wanted)
    }
}
