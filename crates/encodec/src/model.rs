//! The codec: from samples to codes, and from codes to samples.

use std::path::Path;

use candle_core::{Device, Tensor};
use mert_arch::{CONFIG_FILE, EncodecConfig};
use mert_checkpoint::{Checkpoint, open_weights};

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::quantizer::Quantizer;
use crate::weights::Weights;
use crate::{EncodecError, Result};

/// A codec: the encoder, the quantizer and the decoder.
pub struct Encodec {
    config: EncodecConfig,
    encoder: Encoder,
    quantizer: Quantizer,
    decoder: Decoder,
    device: Device,
}

impl Encodec {
    /// Opens a folder with `config.json` and `model.safetensors`, as transformers or mlx-examples have it, and computes in
    /// f32 on this device, whatever the dtype of the file.
    ///
    /// # Errors
    /// [`EncodecError`] if there is no such codec, or one that is not computed here.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let opened = open_weights(folder)?;
        let path = opened.folder.join(CONFIG_FILE);
        if !path.is_file() {
            return Err(EncodecError::NoConfig { path: folder.into() });
        }
        let read = |source| EncodecError::Read { path: path.clone(), source };
        let bytes = std::fs::read(&path).map_err(read)?;
        let text = mert_arch::text_from_bytes(&bytes)
            .map_err(|problem| read(std::io::Error::new(std::io::ErrorKind::InvalidData, problem)))?;
        let config =
            EncodecConfig::from_json(&text).map_err(|source| EncodecError::Config { path: path.clone(), source })?;
        Encodec::from_checkpoint(config, opened.checkpoint.as_ref(), device)
    }

    /// The codec of this configuration, whatever a `config.json` beside the checkpoint says.
    ///
    /// # Errors
    /// [`EncodecError`] if the checkpoint does not have the tensors of the configuration.
    pub fn from_checkpoint(config: EncodecConfig, checkpoint: &dyn Checkpoint, device: &Device) -> Result<Self> {
        let weights = Weights::new(&config, checkpoint, device);
        let encoder = Encoder::new(&config, &weights)?;
        let decoder = Decoder::new(&config, &weights)?;
        let quantizer = Quantizer::new(weights.codebooks(&config)?)?;
        weights.check_all_read()?;
        Ok(Encodec { config, encoder, quantizer, decoder, device: device.clone() })
    }

    /// The configuration.
    pub fn config(&self) -> &EncodecConfig {
        &self.config
    }

    /// Samples of a frame of codes.
    pub fn hop_length(&self) -> usize {
        self.config.hop_length()
    }

    /// Samples in a second.
    pub fn sampling_rate(&self) -> u32 {
        self.config.sampling_rate
    }

    /// The codebooks.
    pub fn num_quantizers(&self) -> usize {
        self.config.num_quantizers()
    }

    /// The codes of a mono clip at the codec's rate: for each codebook one code a frame, `⌈samples / hop⌉` of them. The
    /// sound of an incomplete last frame is continued by the padding of the convolutions.
    ///
    /// # Errors
    /// [`EncodecError::Empty`], [`EncodecError::Sample`] and [`EncodecError::Compute`].
    pub fn encode(&self, samples: &[f32]) -> Result<Vec<Vec<u32>>> {
        self.quantizer.encode(&self.embed(samples)?)
    }

    /// The vectors that are coded, `(frames, hidden_size)`: what the encoder of transformers' model returns, transposed.
    ///
    /// # Errors
    /// Those of [`Encodec::encode`].
    pub fn embed(&self, samples: &[f32]) -> Result<Tensor> {
        if samples.is_empty() {
            return Err(EncodecError::Empty { what: "sound", unit: "sample" });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(EncodecError::Sample { index, value: samples[index] });
        }
        self.encoder.forward(&Tensor::from_slice(samples, (samples.len(), 1), &self.device)?)
    }

    /// The samples of codes: `frames · hop` of them, which the caller cuts to the length of the clip. There may be codes of
    /// the first codebooks only.
    ///
    /// # Errors
    /// [`EncodecError::Empty`], [`EncodecError::Codebooks`], [`EncodecError::Frames`], [`EncodecError::Code`] and
    /// [`EncodecError::Compute`].
    pub fn decode(&self, codes: &[Vec<u32>]) -> Result<Vec<f32>> {
        self.check(codes)?;
        let vectors = self.quantizer.decode(codes)?;
        Ok(self.decoder.forward(&vectors)?.flatten_all()?.to_vec1()?)
    }

    fn check(&self, codes: &[Vec<u32>]) -> Result<()> {
        let (expected, size) = (self.num_quantizers(), self.config.codebook_size);
        let Some(first) = codes.first().filter(|_| codes.len() <= expected) else {
            return Err(EncodecError::Codebooks { found: codes.len(), expected });
        };
        if first.is_empty() {
            return Err(EncodecError::Empty { what: "list of codes", unit: "frame" });
        }
        for (codebook, codes) in codes.iter().enumerate() {
            if codes.len() != first.len() {
                return Err(EncodecError::Frames { codebook, found: codes.len(), expected: first.len() });
            }
            if let Some(frame) = codes.iter().position(|&code| code as usize >= size) {
                return Err(EncodecError::Code { codebook, frame, code: codes[frame], size });
            }
        }
        Ok(())
    }
}
