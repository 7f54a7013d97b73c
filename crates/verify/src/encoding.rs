//! The encoding of all of a model's weights: the type of its floats and the quantization of each linear layer, with the names
//! that reports and references give it.

use std::fmt;

use mert_arch::{Dtype, Encoding, Metadata, Quantization, Role, inventory};
use serde::{Serialize, Serializer};

/// The number of hexadecimal digits of a digest in the name of an array.
const DIGEST_DIGITS: usize = 12;

/// The encoding of a model's weights, as far as its hidden states depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEncoding {
    float: Dtype,
    /// The linear layers of a quantized model; empty otherwise.
    linears: Vec<Linear>,
    /// The SHA-256 of the field `quantization` of a quantized model.
    digest: String,
}

/// The weight of a linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Linear {
    name: String,
    outputs: usize,
    inputs: usize,
    quantization: Option<Quantization>,
}

impl ModelEncoding {
    /// The encoding of a model without quantized weights.
    pub const fn of_floats(float: Dtype) -> Self {
        ModelEncoding { float, linears: Vec::new(), digest: String::new() }
    }

    /// The encoding that the metadata of a converted model states.
    pub fn of(metadata: &Metadata) -> Self {
        let Some(config) = &metadata.quantization else { return Self::of_floats(metadata.dtype) };
        let linear = |spec: mert_arch::TensorSpec| {
            let quantization = match metadata.encoding(&spec) {
                Encoding::Quantized { quantization, .. } => Some(quantization),
                Encoding::Float(_) => None,
            };
            let [outputs, inputs] = spec.shape[..] else { return None };
            (spec.role == Role::Linear).then_some(Linear { name: spec.name, outputs, inputs, quantization })
        };
        // A head that the file keeps has no part in the hidden states.
        let linears: Vec<Linear> = inventory(&metadata.config).into_iter().filter_map(linear).collect();
        if linears.iter().all(|linear| linear.quantization.is_none()) {
            return Self::of_floats(metadata.dtype);
        }
        let digest = mert_fs::sha256_bytes(config.to_json().as_bytes());
        ModelEncoding { float: metadata.dtype, linears, digest }
    }

    /// The type of the floats: of all that is not quantized, and of the scales and biases of what is.
    pub const fn float(&self) -> Dtype {
        self.float
    }

    /// Whether a linear layer is quantized.
    pub fn is_quantized(&self) -> bool {
        !self.linears.is_empty()
    }

    /// The encoding of the tensor of this Hugging Face name.
    pub fn of_tensor(&self, name: &str) -> Encoding {
        let linear = self.linears.iter().find(|linear| linear.name == name);
        match linear.and_then(|linear| linear.quantization) {
            Some(quantization) => Encoding::Quantized { quantization, float: self.float },
            None => Encoding::Float(self.float),
        }
    }

    /// The quantization of all layers whose rows are whole groups of it; `None` if layers differ, or one that could be quantized
    /// is not.
    fn uniform(&self) -> Option<Quantization> {
        let first = self.linears.iter().find_map(|linear| linear.quantization)?;
        let is_uniform = |linear: &Linear| match linear.quantization {
            Some(quantization) => quantization == first,
            None => first.check_inputs(linear.inputs).is_err(),
        };
        self.linears.iter().all(is_uniform).then_some(first)
    }

    /// The mean over the weights of the linear layers, each with a value of its quantization.
    pub(crate) fn mean_over_linears(&self, value: impl Fn(Option<Quantization>) -> f64) -> f64 {
        let elements = |linear: &Linear| (linear.outputs * linear.inputs) as f64;
        let total: f64 = self.linears.iter().map(elements).sum();
        self.linears.iter().map(|linear| elements(linear) * value(linear.quantization)).sum::<f64>() / total.max(1.0)
    }

    /// The name of the array of a reference that holds the hidden states with weights of this encoding: `hidden_states_f16`,
    /// `hidden_states_f16_q4g64` or `hidden_states_f16_mxfp4` if all layers are quantized alike, and otherwise
    /// [`ModelEncoding::digest_name`].
    pub fn array_name(&self) -> String {
        let float = format!("hidden_states_{}", self.float);
        match self.uniform() {
            _ if !self.is_quantized() => float,
            Some(Quantization { mode: mert_arch::QuantizationMode::Affine, bits, group_size }) => {
                format!("{float}_q{bits}g{group_size}")
            }
            Some(Quantization { mode, .. }) => format!("{float}_{mode}"),
            None => self.digest_name(),
        }
    }

    /// The name of that array for any quantized model: `hidden_states_f16_q` with 12 digits of the SHA-256 of the entry
    /// `quantization` of its metadata.
    pub fn digest_name(&self) -> String {
        let digits = self.digest.get(..DIGEST_DIGITS).unwrap_or_default();
        format!("hidden_states_{}_q{digits}", self.float)
    }
}

impl fmt::Display for ModelEncoding {
    /// Formats as `f16`, `4-bit g64`, or `mixed 4.6 bits` with the mean over the weights of linear layers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_quantized() {
            return self.float.fmt(f);
        }
        if let Some(quantization) = self.uniform() {
            return quantization.fmt(f);
        }
        let float_bits = 8 * self.float.size();
        let bits = self.mean_over_linears(|quantization| match quantization {
            Some(quantization) => quantization.bits_per_weight(float_bits),
            None => float_bits as f64,
        });
        f.pad(&format!("mixed {bits:.1} bits"))
    }
}

impl Serialize for ModelEncoding {
    /// Serialises the text that reports show.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mert_arch::{Config, Layout, Preprocessor, QuantizationConfig};

    use super::*;

    /// The encoding of a MERT-v1-95M with this field `quantization`.
    pub(crate) fn encoding(json: Option<&str>) -> ModelEncoding {
        let config = Config::mert_v1_95m();
        ModelEncoding::of(&Metadata {
            layout: Layout::Mlx,
            dtype: Dtype::F16,
            quantization: json.map(|json| QuantizationConfig::from_json(json).unwrap()),
            int8_exceptions: None,
            preprocessor: Preprocessor::assumed(&config),
            config,
            config_inferred: false,
            config_set: Vec::new(),
            preprocessor_origin: None,
            final_proj: None,
            source_sha256: String::new(),
            license: None,
            adapter: None,
            adapter_sha256: None,
            generator: String::new(),
        })
    }

    #[test]
    fn names_in_reports_and_references() {
        for (json, text, array) in [
            (None, "f16", "hidden_states_f16"),
            (Some(r#"{"bits":4,"group_size":64}"#), "4-bit g64", "hidden_states_f16_q4g64"),
            (Some(r#"{"bits":4,"group_size":32,"mode":"mxfp4"}"#), "mxfp4 g32", "hidden_states_f16_mxfp4"),
            // sha256 of {"bits":4,"feature_projection.projection":false,"group_size":64,"mode":"affine"}
            (
                Some(r#"{"bits":4,"group_size":64,"feature_projection.projection":false}"#),
                "mixed 4.6 bits",
                "hidden_states_f16_qe8498b5fb525",
            ),
        ] {
            let encoding = encoding(json);
            assert_eq!((encoding.to_string().as_str(), encoding.array_name().as_str()), (text, array));
            assert_eq!(encoding.is_quantized(), json.is_some());
        }
    }

    #[test]
    fn a_tensor_has_the_encoding_of_its_layer() {
        let encoding = encoding(Some(
            r#"{"bits":4,"group_size":64,"encoder.layers.3.attention.k_proj":{"bits":8,"group_size":32}}"#,
        ));
        for (name, expected) in [
            ("encoder.layers.3.attention.k_proj.weight", "8-bit g32"),
            ("encoder.layers.3.attention.q_proj.weight", "4-bit g64"),
            ("encoder.layers.3.attention.k_proj.bias", "f16"),
            ("encoder.layer_norm.weight", "f16"),
        ] {
            assert_eq!(encoding.of_tensor(name).to_string(), expected, "{name}");
        }
    }
}
