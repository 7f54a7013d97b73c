//! The fields of transformers' `EncodecConfig`, and the checks that a mono codec without chunks is what they describe.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ConfigError;
use crate::config::{check_sample_rate, parse, value_from_json};

/// Limits far above every published codec, which keep products of sizes from overflowing.
const MAX_WIDTH: usize = 1 << 16;
const MAX_KERNEL: usize = 1 << 10;
const MAX_LAYERS: usize = 64;
const MAX_HOP: usize = 1 << 20;

/// The values around a signal that a convolution reads beyond its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadMode {
    /// The signal mirrored at its first and last sample, transformers' default.
    Reflect,
    /// Zeros, audiocraft's default.
    Constant,
}

impl PadMode {
    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            PadMode::Reflect => "reflect",
            PadMode::Constant => "constant",
        }
    }
}

/// The sizes of an EnCodec model: the fields of transformers'
/// [`EncodecConfig`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/encodec/configuration_encodec.py).
///
/// The [`Default`] is `facebook/encodec_32khz`, the codec of MusicGen. A `config.json` that lacks fields has those of
/// transformers' class ([`EncodecConfig::of_class`]), which is causal and of 24 kHz.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncodecConfig {
    /// Samples in a second.
    pub sampling_rate: u32,
    /// Channels of the audio. MusicGen's stereo models encode each channel with a mono codec.
    pub audio_channels: usize,
    /// Channels after the encoder's first convolution; they double with each ratio.
    pub num_filters: usize,
    /// Residual blocks beside each change of the rate.
    pub num_residual_layers: usize,
    /// Strides of the decoder's transposed convolutions; the encoder has them in reverse order.
    pub upsampling_ratios: Vec<usize>,
    /// Width of the first convolution's kernel in the encoder and in the decoder.
    pub kernel_size: usize,
    /// Width of the last convolution's kernel.
    pub last_kernel_size: usize,
    /// Width of the first kernel of a residual block; the second has 1.
    pub residual_kernel_size: usize,
    /// Dilation of a residual block by that of the block before.
    pub dilation_growth_rate: usize,
    /// Convolutions that read no later samples.
    pub use_causal_conv: bool,
    /// Padding of the convolutions.
    pub pad_mode: PadMode,
    /// Channels of a residual block by those within it.
    pub compress: usize,
    /// Layers of the LSTM in the encoder and in the decoder.
    pub num_lstm_layers: usize,
    /// Width of the vectors between encoder, quantizer and decoder.
    pub hidden_size: usize,
    /// Vectors in a codebook.
    pub codebook_size: usize,
    /// Width of a codebook's vectors; `hidden_size` if it is missing.
    pub codebook_dim: Option<usize>,
    /// `weight_norm` or `time_group_norm`.
    pub norm_type: String,
    /// Share of the samples cut at the end of a transposed convolution, if causal.
    pub trim_right_ratio: f64,
    /// A convolution instead of the identity beside each residual block.
    pub use_conv_shortcut: bool,
    /// Division of a clip by its loudness.
    pub normalize: bool,
    /// Seconds of the chunks that a clip is cut into; `None` for a clip as a whole.
    pub chunk_length_s: Option<f64>,
    /// Kilobits in a second, from which the number of codebooks follows.
    pub target_bandwidths: Vec<f64>,
}

impl Default for EncodecConfig {
    fn default() -> Self {
        EncodecConfig {
            sampling_rate: 32_000,
            num_filters: 64,
            upsampling_ratios: vec![8, 5, 4, 4],
            use_causal_conv: false,
            codebook_size: 2048,
            use_conv_shortcut: false,
            target_bandwidths: vec![2.2],
            ..EncodecConfig::of_class()
        }
    }
}

impl EncodecConfig {
    /// The configuration of transformers' `EncodecConfig()` without arguments.
    pub fn of_class() -> Self {
        EncodecConfig {
            sampling_rate: 24_000,
            audio_channels: 1,
            num_filters: 32,
            num_residual_layers: 1,
            upsampling_ratios: vec![8, 5, 4, 2],
            kernel_size: 7,
            last_kernel_size: 7,
            residual_kernel_size: 3,
            dilation_growth_rate: 2,
            use_causal_conv: true,
            pad_mode: PadMode::Reflect,
            compress: 2,
            num_lstm_layers: 2,
            hidden_size: 128,
            codebook_size: 1024,
            codebook_dim: None,
            norm_type: "weight_norm".into(),
            trim_right_ratio: 1.0,
            use_conv_shortcut: true,
            normalize: false,
            chunk_length_s: None,
            target_bandwidths: vec![1.5, 3.0, 6.0, 12.0, 24.0],
        }
    }

    /// Reads and validates the `config.json` of an EnCodec folder.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not the configuration of a codec that is computed here.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        EncodecConfig::from_value(&value_from_json(text)?)
    }

    /// Reads and validates parsed JSON, such as `audio_encoder` of MusicGen's `config.json`.
    ///
    /// # Errors
    /// Those of [`EncodecConfig::from_json`].
    pub fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let Some(fields) = value.as_object() else {
            return Err(ConfigError::Syntax("expected an object with the fields of EncodecConfig".into()));
        };
        match fields.get("model_type").map(|found| (found.as_str(), found)) {
            None | Some((Some("encodec"), _)) => {}
            Some((_, found)) => return Err(ConfigError::invalid("model_type", found, "`encodec`")),
        }
        // A struct of numbers, strings and lists with string keys always serialises.
        let mut all = serde_json::to_value(EncodecConfig::of_class()).unwrap_or_default();
        if let Some(all) = all.as_object_mut() {
            all.extend(fields.clone());
        }
        let config: EncodecConfig = parse(&all)?;
        config.validate()?;
        Ok(config)
    }

    /// The fields as a `config.json` of transformers has them, `model_type` among them.
    pub fn to_fields(&self) -> Map<String, Value> {
        let mut fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        fields.insert("model_type".into(), "encodec".into());
        fields.insert("codebook_dim".into(), self.codebook_dim().into());
        fields
    }

    /// Samples of a frame of codes: the product of the ratios.
    pub fn hop_length(&self) -> usize {
        self.upsampling_ratios.iter().fold(1, |hop, &ratio| hop.saturating_mul(ratio))
    }

    /// Frames of codes in a second, rounded up as in transformers.
    pub fn frame_rate(&self) -> usize {
        (self.sampling_rate as usize).div_ceil(self.hop_length().max(1))
    }

    /// Width of a codebook's vectors.
    pub fn codebook_dim(&self) -> usize {
        self.codebook_dim.unwrap_or(self.hidden_size)
    }

    /// Bits in a second of one codebook.
    fn bits_per_codebook(&self) -> usize {
        let bits = self.codebook_size.max(2).checked_next_power_of_two().map_or(usize::BITS, usize::ilog2);
        self.frame_rate() * bits as usize
    }

    /// Codebooks, as many as the largest of `target_bandwidths` has bits for.
    pub fn num_quantizers(&self) -> usize {
        let bits = self.bits_per_codebook() as f64;
        let most = 1000.0 * self.target_bandwidths.last().copied().unwrap_or_default();
        // As `//` of Python's floats: the remainder is exact, the quotient of the two is not.
        ((most - most % bits) / bits).round() as usize
    }

    /// Sets `target_bandwidths` to the one value that gives this number of codebooks.
    pub fn set_num_quantizers(&mut self, count: usize) {
        let kilobits = self.bits_per_codebook() as f64 * count as f64 / 1000.0;
        self.target_bandwidths = vec![kilobits];
        if self.num_quantizers() < count {
            // The quotient was rounded down.
            self.target_bandwidths = vec![kilobits.next_up()];
        }
    }

    /// Channels at the lowest rate, those of the LSTM.
    pub fn lstm_width(&self) -> usize {
        self.num_filters.saturating_mul(1 << self.upsampling_ratios.len().min(32))
    }

    /// Dilation of the first convolution of residual block `block`.
    pub fn dilation(&self, block: usize) -> usize {
        self.dilation_growth_rate.saturating_pow(block as u32)
    }

    /// Checks every field that the forward pass depends on.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is impossible or unsupported.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.refuse_unsupported()?;
        check_sample_rate("sampling_rate", self.sampling_rate)?;
        in_range("num_filters", self.num_filters, MAX_WIDTH)?;
        in_range("num_residual_layers", self.num_residual_layers, MAX_LAYERS)?;
        in_range("kernel_size", self.kernel_size, MAX_KERNEL)?;
        in_range("last_kernel_size", self.last_kernel_size, MAX_KERNEL)?;
        in_range("residual_kernel_size", self.residual_kernel_size, MAX_KERNEL)?;
        in_range("dilation_growth_rate", self.dilation_growth_rate, MAX_KERNEL)?;
        in_range("num_lstm_layers", self.num_lstm_layers, MAX_LAYERS)?;
        in_range("hidden_size", self.hidden_size, MAX_WIDTH)?;
        in_range("codebook_size", self.codebook_size, 1 << 20)?;
        in_range("upsampling_ratios (its length)", self.upsampling_ratios.len(), 16)?;
        for &ratio in &self.upsampling_ratios {
            in_range("upsampling_ratios", ratio, MAX_KERNEL)?;
        }
        let hop = self.upsampling_ratios.iter().try_fold(1usize, |hop, &ratio| hop.checked_mul(ratio));
        if hop.is_none_or(|hop| hop > MAX_HOP) {
            let found = format!("{:?}", self.upsampling_ratios);
            return Err(ConfigError::invalid("upsampling_ratios", found, "a product of at most 2^20 samples"));
        }
        let width = self.lstm_width();
        if width > MAX_WIDTH {
            let expected = format!("a number that is at most {MAX_WIDTH} once it has doubled for each ratio");
            return Err(ConfigError::invalid("num_filters", self.num_filters, expected));
        }
        in_range("compress", self.compress, self.num_filters)?;
        if self.dilation(self.num_residual_layers - 1).saturating_mul(self.residual_kernel_size) > MAX_WIDTH {
            let expected = format!("a number that gives kernels of at most {MAX_WIDTH} samples");
            return Err(ConfigError::invalid("dilation_growth_rate", self.dilation_growth_rate, expected));
        }
        if self.codebook_size < 2 || !self.codebook_size.is_power_of_two() {
            let expected = "a power of two, as transformers' EncodecModel requires";
            return Err(ConfigError::invalid("codebook_size", self.codebook_size, expected));
        }
        if self.codebook_dim() != self.hidden_size {
            let expected = format!("hidden_size ({}): there is no projection between them", self.hidden_size);
            return Err(ConfigError::invalid("codebook_dim", self.codebook_dim(), expected));
        }
        if self.target_bandwidths.iter().any(|rate| !rate.is_finite()) || !(1..=256).contains(&self.num_quantizers()) {
            let bits = self.bits_per_codebook();
            let expected = format!("kilobits per second for 1 to 256 codebooks of {bits} bits per second");
            return Err(ConfigError::invalid("target_bandwidths", format!("{:?}", self.target_bandwidths), expected));
        }
        Ok(())
    }

    fn refuse_unsupported(&self) -> Result<(), ConfigError> {
        let refuse = |right: bool, field, found: String, reason| match right {
            true => Ok(()),
            false => Err(ConfigError::unsupported(field, found, reason)),
        };
        refuse(
            !self.use_causal_conv,
            "use_causal_conv",
            "true".into(),
            "causal codecs such as encodec_24khz are not computed; give MusicGen's, encodec_32khz",
        )?;
        refuse(
            self.norm_type == "weight_norm",
            "norm_type",
            self.norm_type.clone(),
            "only `weight_norm` is computed; give MusicGen's codec, encodec_32khz",
        )?;
        refuse(!self.normalize, "normalize", "true".into(), "codes without a loudness are all that is computed")?;
        refuse(
            self.chunk_length_s.is_none(),
            "chunk_length_s",
            self.chunk_length_s.unwrap_or_default().to_string(),
            "a clip is encoded as a whole; set it to null",
        )?;
        refuse(
            self.audio_channels == 1,
            "audio_channels",
            self.audio_channels.to_string(),
            "codecs are mono; MusicGen's stereo models encode each channel with a mono codec",
        )?;
        refuse(
            self.trim_right_ratio == 1.0,
            "trim_right_ratio",
            self.trim_right_ratio.to_string(),
            "other values than 1 have a meaning in causal codecs only",
        )
    }
}

fn in_range(field: &'static str, value: usize, max: usize) -> Result<(), ConfigError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::invalid(field, value, format!("a number from 1 to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_encodec_32khz() {
        let config = EncodecConfig::default();
        config.validate().unwrap();
        assert_eq!((config.hop_length(), config.frame_rate(), config.num_quantizers()), (640, 50, 4));
        assert_eq!((config.lstm_width(), config.codebook_dim()), (1024, 128));
        let fields = Value::Object(config.to_fields());
        assert_eq!(fields["codebook_dim"], 128);
        let read = EncodecConfig::from_json(&fields.to_string()).unwrap();
        assert_eq!(read, EncodecConfig { codebook_dim: Some(128), ..config });
    }

    #[test]
    fn codebooks_are_counted_as_transformers_does() {
        // From EncodecConfig(codebook_size=…, target_bandwidths=[…], sampling_rate=32000, ratios 8·5·4·4).num_quantizers.
        for (codebook_size, bandwidth, expected) in [(2048, 2.2, 4), (64, 1.2, 4), (1024, 2.2, 4), (1024, 1.999, 3)] {
            let config =
                EncodecConfig { codebook_size, target_bandwidths: vec![0.5, bandwidth], ..EncodecConfig::default() };
            assert_eq!(config.num_quantizers(), expected);
        }
        for count in 1..=64 {
            for sampling_rate in [16_000, 22_050, 32_000, 44_100] {
                let mut config = EncodecConfig { sampling_rate, ..EncodecConfig::default() };
                config.set_num_quantizers(count);
                assert_eq!(config.num_quantizers(), count);
            }
        }
    }

    #[test]
    fn missing_fields_are_those_of_the_class() {
        let error = EncodecConfig::from_json("{}").unwrap_err().to_string();
        assert!(error.contains("`use_causal_conv` is true, which is not supported"), "{error}");
        let text = r#"{"use_causal_conv": false, "model_type": "encodec"}"#;
        let expected = EncodecConfig { use_causal_conv: false, ..EncodecConfig::of_class() };
        assert_eq!(EncodecConfig::from_json(text).unwrap(), expected);
        assert_eq!(expected.num_quantizers(), 32);
    }

    #[test]
    fn refusals_name_the_field() {
        let whole = EncodecConfig::default().to_fields();
        for (fields, words) in [
            (r#"{"model_type": "dac"}"#, "model_type"),
            (r#"{"use_causal_conv": true}"#, "encodec_32khz"),
            (r#"{"norm_type": "time_group_norm"}"#, "norm_type"),
            (r#"{"normalize": true}"#, "normalize"),
            (r#"{"chunk_length_s": 1.0}"#, "chunk_length_s"),
            (r#"{"audio_channels": 2}"#, "each channel"),
            (r#"{"trim_right_ratio": 0.5}"#, "trim_right_ratio"),
            (r#"{"pad_mode": "circular"}"#, "`pad_mode`: unknown variant `circular`"),
            (r#"{"num_filters": "64"}"#, "`num_filters`: invalid type"),
            (r#"{"num_filters": 0}"#, "num_filters"),
            (r#"{"num_filters": 8192}"#, "doubled"),
            (r#"{"upsampling_ratios": []}"#, "upsampling_ratios"),
            (r#"{"upsampling_ratios": [8, 0]}"#, "upsampling_ratios"),
            (r#"{"upsampling_ratios": [1000, 1000, 1000]}"#, "2^20"),
            (r#"{"codebook_size": 2000}"#, "a power of two"),
            (r#"{"codebook_dim": 64}"#, "`codebook_dim` is 64, expected hidden_size (128)"),
            (r#"{"target_bandwidths": []}"#, "target_bandwidths"),
            (r#"{"target_bandwidths": [0.1]}"#, "550 bits per second"),
            (r#"{"num_lstm_layers": 0}"#, "num_lstm_layers"),
            (r#"{"compress": 65}"#, "compress"),
            (r#"{"num_residual_layers": 40}"#, "dilation_growth_rate"),
            (r#"{"sampling_rate": 10}"#, "sampling_rate"),
        ] {
            let mut all = whole.clone();
            let fields: Value = serde_json::from_str(fields).unwrap();
            all.extend(fields.as_object().unwrap().clone());
            let error = EncodecConfig::from_value(&Value::Object(all)).unwrap_err().to_string();
            assert!(error.contains(words), "{fields}: {error}");
        }
        assert!(EncodecConfig::from_json("[]").is_err());
    }
}
