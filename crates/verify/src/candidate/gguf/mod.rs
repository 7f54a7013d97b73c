//! GGUF files as candidates: read by candle's own reader, dequantized to f32, and run by the runtime.

mod file;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::{DType, Device};
use mert_arch::{ComputeType, Encoding, Metadata, TensorSpec};
use mert_runtime::{DeviceKind, Model, VarBuilder};
use ndarray::ArrayView3;

use self::file::GgufFile;
use super::runtime_model::{encoder_norm, hidden_states, run_isolated};
use super::{
    Candidate, CompressedWeights, ComputeOptions, EncoderNorm, HiddenStates, Output, PackageOptions, RunIsolated,
    StoredWeight,
};
use crate::{ModelEncoding, Result, VerifyError};

/// Whether a file begins as GGUF does.
pub(super) fn is_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"GGUF"
}

/// The encoding of a file's weights, according to its metadata.
///
/// # Errors
/// [`VerifyError::Gguf`] for a file that mert-convert did not write.
pub(super) fn gguf_encoding(path: &Path) -> Result<ModelEncoding> {
    let file = GgufFile::open(path).map_err(|reason| VerifyError::gguf(path, reason))?;
    Ok(ModelEncoding::of(file.metadata()))
}

/// A GGUF file, with its weights dequantized.
pub(super) struct GgufModel {
    file: GgufFile,
    encoder_norm: Option<EncoderNorm>,
    model: Model,
    device: DeviceKind,
    dtype: ComputeType,
}

impl GgufModel {
    /// Opens and loads a file.
    ///
    /// # Errors
    /// [`VerifyError::Gguf`] for a file that mert-convert did not write, [`VerifyError::Runtime`] for a device that is not
    /// available, [`VerifyError::Options`] for options of packages.
    pub(super) fn open(path: &Path, compute: ComputeOptions, package: PackageOptions) -> Result<Self> {
        if package != PackageOptions::default() {
            let reason = "--engine, --compute-units and --emulate are for Core ML packages; leave them out";
            return Err(VerifyError::options(path, reason));
        }
        let dtype = compute.dtype.unwrap_or_default();
        let file = GgufFile::open(path).map_err(|reason| VerifyError::gguf(path, reason))?;
        let tensors = file.tensors().map_err(|reason| VerifyError::gguf(path, reason))?;
        let weights = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
        let encoder_norm = encoder_norm(&file.metadata().config, &weights)?;
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &compute.device.open()?);
        let model = Model::load_as(weights, &file.metadata().config, dtype)?;
        Ok(GgufModel { file, encoder_norm, model, device: compute.device, dtype })
    }
}

impl Candidate for GgufModel {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn metadata(&self) -> &Metadata {
        self.file.metadata()
    }

    fn format(&self) -> &'static str {
        "gguf"
    }

    fn runs_on(&self) -> String {
        self.device.name().to_string()
    }

    fn compression(&self) -> Option<CompressedWeights> {
        let (count, _) = self.file.q8_0_layers()?;
        CompressedWeights::new(std::iter::repeat_n(&"Q8_0".to_string(), count))
    }

    fn as_precise_as(&self) -> Option<ModelEncoding> {
        let (_, quantization) = self.file.q8_0_layers()?;
        Some(ModelEncoding::of(&Metadata { quantization: Some(quantization), ..self.metadata().clone() }))
    }

    fn linear_weight(&self, spec: &TensorSpec) -> Result<Option<StoredWeight>> {
        let encoding = self.metadata().encoding(spec);
        if let Encoding::Float(_) = encoding {
            return Ok(None);
        }
        let tensor = self.file.tensor(&spec.name).map_err(|reason| VerifyError::gguf(self.path(), reason))?;
        Ok(Some(StoredWeight { encoding, values: tensor.flatten_all()?.to_vec1()? }))
    }

    fn arithmetic(&self) -> ComputeType {
        self.dtype
    }

    fn rounds_factors_only(&self) -> bool {
        self.model.rounds_factors_only()
    }

    fn hidden_states(&self) -> Vec<usize> {
        (0..self.metadata().config.num_hidden_states()).collect()
    }

    fn clip_lengths(&self) -> Option<Vec<usize>> {
        None
    }

    fn encoder_norm(&self) -> Result<Option<EncoderNorm>> {
        Ok(self.encoder_norm.clone())
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

impl RunIsolated for GgufModel {
    fn run_isolated(&self, input_values: &[f32], reference: ArrayView3<f32>, wanted: &[usize]) -> Result<HiddenStates> {
        run_isolated(&self.model, input_values, reference, wanted)
    }
}
