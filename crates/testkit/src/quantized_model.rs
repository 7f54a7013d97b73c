//! Converted models with quantized linear layers, as mert-convert and as MLX write them, and the values that their codes
//! stand for.
//!
//! The codes are near the values and no more: not those of `mx.quantize`. Tests of readers need no better.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use mert_arch::{Dtype, Encoding, Metadata, QuantizationConfig, QuantizationMode, StoredDtype, StoredTensor};
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

use crate::ConvertedModel;
use crate::editor::{narrow, swap_if_mlx, widen};

/// The contents of a file with quantized linear layers.
#[derive(Debug, Clone)]
pub struct QuantizedModel {
    /// The metadata, which states the quantization.
    pub metadata: Metadata,
    /// The tensors as they are stored, by name.
    pub tensors: BTreeMap<String, StoredBytes>,
}

/// A tensor as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBytes {
    /// The shape.
    pub shape: Vec<usize>,
    /// The element type.
    pub dtype: StoredDtype,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

impl QuantizedModel {
    /// Quantizes the linear layers of a model as `config` states, with scales in the model's dtype. The second value is the
    /// model with the values that the codes stand for, in f32.
    pub fn new(model: &ConvertedModel, config: QuantizationConfig) -> (Self, ConvertedModel) {
        let metadata = Metadata { quantization: Some(config), ..model.metadata.clone() };
        let mut decoded = model.clone();
        decoded.metadata.dtype = Dtype::F32;
        let mut tensors = BTreeMap::new();
        for spec in metadata.inventory() {
            let (encoding, tensor) = (metadata.encoding(&spec), decoded.tensor(&spec.name));
            let parts = match encoding {
                Encoding::Quantized { quantization, float } => {
                    let mut codes = Codes { float, ..Codes::default() };
                    for group in tensor.values.chunks_exact_mut(quantization.group_size) {
                        match quantization.mode {
                            QuantizationMode::Affine => codes.affine(group, quantization.bits),
                            mode => codes.microscaled(group, mode),
                        }
                    }
                    vec![codes.bytes, codes.scales, codes.biases]
                }
                Encoding::Float(dtype) => {
                    let bytes = narrow(&swap_if_mlx(tensor.clone(), spec.role, metadata.layout).values, dtype);
                    tensor.values = widen(&narrow(&tensor.values, dtype), dtype);
                    vec![bytes]
                }
            };
            let shape = metadata.layout.shape_from_torch(spec.role, &spec.shape);
            for (StoredTensor { name, shape, dtype }, bytes) in
                encoding.stored_tensors(&spec.name, &shape).into_iter().zip(parts)
            {
                tensors.insert(name, StoredBytes { shape, dtype, bytes });
            }
        }
        (QuantizedModel { metadata, tensors }, decoded)
    }

    /// Writes a file as mert-convert does, with its metadata.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let metadata: HashMap<String, String> = self.metadata.to_map().into_iter().collect();
        write(self.tensors.iter(), Some(metadata), path)
    }

    /// Writes a folder as MLX does: weights without metadata, in one file or in as many shards as asked for, and
    /// `config.json` with the architecture and the quantization.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn write_mlx_folder(&self, folder: &Path, shards: usize) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut config: Value = serde_json::from_str(&self.metadata.config.to_json())?;
        if let Some(quantization) = &self.metadata.quantization {
            config["quantization"] = quantization.to_value();
            config["quantization_config"] = quantization.to_value();
        }
        std::fs::write(folder.join("config.json"), serde_json::to_string_pretty(&config)?)?;
        if shards < 2 {
            return write(self.tensors.iter(), None, &folder.join("model.safetensors"));
        }
        let all: Vec<_> = self.tensors.iter().collect();
        let mut weight_map = Map::new();
        for (i, tensors) in all.chunks(all.len().div_ceil(shards)).enumerate() {
            let name = format!("model-{:05}-of-{shards:05}.safetensors", i + 1);
            write(tensors.iter().copied(), None, &folder.join(&name))?;
            weight_map.extend(tensors.iter().map(|(tensor, _)| ((*tensor).clone(), json!(name))));
        }
        let index = json!({"metadata": {}, "weight_map": weight_map});
        std::fs::write(folder.join("model.safetensors.index.json"), serde_json::to_string_pretty(&index)?)
    }
}

fn write<'a>(
    tensors: impl Iterator<Item = (&'a String, &'a StoredBytes)>,
    metadata: Option<HashMap<String, String>>,
    path: &Path,
) -> io::Result<()> {
    let view = |(name, stored): (&'a String, &'a StoredBytes)| {
        let dtype = match stored.dtype {
            StoredDtype::F16 => safetensors::Dtype::F16,
            StoredDtype::Bf16 => safetensors::Dtype::BF16,
            StoredDtype::F32 => safetensors::Dtype::F32,
            StoredDtype::U32 => safetensors::Dtype::U32,
            StoredDtype::U8 => safetensors::Dtype::U8,
        };
        Ok((name, TensorView::new(dtype, stored.shape.clone(), &stored.bytes).map_err(io::Error::other)?))
    };
    let views: Vec<_> = tensors.map(view).collect::<io::Result<_>>()?;
    safetensors::serialize_to_file(views, metadata, path).map_err(io::Error::other)
}

/// The parts of a quantized weight, group by group.
struct Codes {
    float: Dtype,
    bytes: Vec<u8>,
    scales: Vec<u8>,
    biases: Vec<u8>,
    /// Bits that do not fill a byte yet, the first one lowest.
    pending: u32,
    pending_bits: usize,
}

impl Default for Codes {
    fn default() -> Self {
        let empty = Vec::new;
        Codes { float: Dtype::F32, bytes: empty(), scales: empty(), biases: empty(), pending: 0, pending_bits: 0 }
    }
}

impl Codes {
    fn push(&mut self, code: usize, bits: usize) {
        self.pending |= (code as u32) << self.pending_bits;
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    /// Replaces the values of a group by scale · code + bias. Every other group has a negative scale, as about half of
    /// MLX's have.
    fn affine(&mut self, group: &mut [f32], bits: usize) {
        let (min, max) = group.iter().fold((f32::MAX, f32::MIN), |(min, max), &x| (min.min(x), max.max(x)));
        let top = ((1 << bits) - 1) as f32;
        let step = (max - min) / top;
        let is_negative = (self.scales.len() / self.float.size()) % 2 == 1;
        let (scale, bias) = if is_negative { (-step, max) } else { (step, min) };
        let stored = [scale, bias].map(|value| narrow(&[value], self.float));
        let [scale, bias] = [&stored[0], &stored[1]].map(|bytes| f64::from(widen(bytes, self.float)[0]));
        let [scale_bytes, bias_bytes] = stored;
        self.scales.extend(scale_bytes);
        self.biases.extend(bias_bytes);
        for value in group {
            let code = ((f64::from(*value) - bias) / scale).round().clamp(0.0, f64::from(top));
            self.push(code as usize, bits);
            *value = (scale * code + bias) as f32;
        }
    }

    /// Replaces the values of a group by scale · code, with a scale for which none is beyond the largest code.
    fn microscaled(&mut self, group: &mut [f32], mode: QuantizationMode) {
        let bits = mode.default_quantization().bits;
        let values: Vec<f64> = if bits == 4 { E2M1.map(f64::from).to_vec() } else { (0..=255).map(e4m3).collect() };
        let largest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let wanted = group.iter().fold(0.0, |max, x| f64::from(x.abs()).max(max)) / largest;
        let is_enough = |scale: f64| scale >= wanted;
        let (byte, scale) = match mode {
            QuantizationMode::Nvfp4 => {
                let byte = (1..0x7f).find(|&byte| is_enough(e4m3(byte))).unwrap_or(0x7e);
                (byte, e4m3(byte))
            }
            _ => {
                let byte = (1..255).find(|&byte| is_enough(power(byte))).unwrap_or(254);
                (byte, power(byte))
            }
        };
        self.scales.push(byte);
        for value in group {
            let distance = |code: &usize| (values[*code] * scale - f64::from(*value)).abs();
            let numbers = (0..values.len()).filter(|&code| values[code].is_finite());
            let code = numbers.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
            self.push(code, bits);
            *value = (values[code] * scale) as f32;
        }
    }
}

const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// The value of a byte in E4M3; NaN for 0x7f and 0xff.
fn e4m3(byte: u8) -> f64 {
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f64::from(byte & 7));
    let magnitude = match exponent {
        15 if fraction == 7.0 => f64::NAN,
        0 => fraction / 512.0,
        _ => (1.0 + fraction / 8.0) * 2f64.powi(exponent - 7),
    };
    if byte < 128 { magnitude } else { -magnitude }
}

fn power(byte: u8) -> f64 {
    2f64.powi(i32::from(byte) - 127)
}
