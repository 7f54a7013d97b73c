//! The configuration in an audiocraft file: its `xp.cfg`, a YAML text in which Hydra has left references such as
//! `${sample_rate}`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::config::{EncodecConfig, PadMode};
use crate::ConfigError;
use crate::config::parse;

/// References that lead from one to the next before a circle is assumed.
const MAX_REFERENCES: usize = 16;

/// The keyword arguments of audiocraft's
/// [`SEANetEncoder` and `SEANetDecoder`](https://github.com/facebookresearch/audiocraft/blob/main/audiocraft/modules/seanet.py)
/// that a configuration may leave out, with the values of `config/model/encodec/default.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct SeaNet {
    n_filters: usize,
    ratios: Vec<usize>,
    #[serde(default = "one")]
    channels: usize,
    #[serde(default = "dimension")]
    dimension: usize,
    #[serde(default = "one")]
    n_residual_layers: usize,
    #[serde(default = "elu")]
    activation: String,
    #[serde(default)]
    activation_params: Map<String, Value>,
    #[serde(default = "weight_norm")]
    norm: String,
    #[serde(default = "seven")]
    kernel_size: usize,
    #[serde(default = "three")]
    residual_kernel_size: usize,
    #[serde(default = "seven")]
    last_kernel_size: usize,
    #[serde(default = "two")]
    dilation_base: usize,
    #[serde(default)]
    causal: bool,
    #[serde(default = "constant")]
    pad_mode: PadMode,
    #[serde(default = "yes")]
    true_skip: bool,
    #[serde(default = "two")]
    compress: usize,
    #[serde(default = "two")]
    lstm: usize,
}

/// The fields that only the decoder has.
#[derive(Deserialize)]
struct DecoderOnly {
    #[serde(default = "whole")]
    trim_right_ratio: f64,
    #[serde(default)]
    final_activation: Option<String>,
}

const fn one() -> usize {
    1
}

const fn two() -> usize {
    2
}

const fn three() -> usize {
    3
}

const fn seven() -> usize {
    7
}

const fn dimension() -> usize {
    128
}

const fn yes() -> bool {
    true
}

const fn constant() -> PadMode {
    PadMode::Constant
}

const fn whole() -> f64 {
    1.0
}

fn elu() -> String {
    "ELU".into()
}

fn weight_norm() -> String {
    "weight_norm".into()
}

impl EncodecConfig {
    /// The configuration in the parsed YAML of a codec's `xp.cfg`. `pad_mode` is the one there, `constant` if there is none;
    /// `target_bandwidths` is the one that gives `rvq.n_q` codebooks.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is missing, impossible or asks for what is not computed here.
    pub fn from_audiocraft(xp_cfg: &Value) -> Result<Self, ConfigError> {
        let cfg = XpCfg(xp_cfg);
        cfg.expect("compression_model", "encodec")?;
        cfg.expect("encodec.autoencoder", "seanet")?;
        cfg.expect("encodec.quantizer", "rvq")?;
        let Some(Value::Object(mut seanet)) = cfg.resolved("seanet")? else {
            return Err(type_error("seanet", "is missing: the file is not that of a codec"));
        };
        let (encoder, decoder) = (seanet.remove("encoder"), seanet.remove("decoder"));
        let encoder = overridden(&seanet, encoder, "seanet.encoder")?;
        let decoder = overridden(&seanet, decoder, "seanet.decoder")?;
        let network: SeaNet = parse_at("seanet", &encoder)?;
        let other: SeaNet = parse_at("seanet", &decoder)?;
        let only: DecoderOnly = parse_at("seanet.decoder", &decoder)?;
        if network != other {
            let reason = "differs from seanet.encoder, which transformers' and MLX's EnCodec have no fields for";
            return Err(type_error("seanet.decoder", reason));
        }
        if let Some(activation) = only.final_activation {
            return Err(type_error("seanet.decoder.final_activation", &format!("is {activation}, expected null")));
        }
        if network.activation != "ELU" {
            return Err(type_error("seanet.activation", &format!("is {}, expected ELU", network.activation)));
        }
        if let Some(alpha) = network.activation_params.get("alpha").filter(|alpha| alpha.as_f64() != Some(1.0)) {
            return Err(type_error("seanet.activation_params.alpha", &format!("is {alpha}, expected 1")));
        }
        let mut config = EncodecConfig {
            sampling_rate: match cfg.optional("encodec.sample_rate")? {
                Some(rate) => rate,
                None => cfg.required("sample_rate")?,
            },
            audio_channels: cfg.optional("encodec.channels")?.unwrap_or(network.channels),
            num_filters: network.n_filters,
            num_residual_layers: network.n_residual_layers,
            upsampling_ratios: network.ratios,
            kernel_size: network.kernel_size,
            last_kernel_size: network.last_kernel_size,
            residual_kernel_size: network.residual_kernel_size,
            dilation_growth_rate: network.dilation_base,
            use_causal_conv: network.causal,
            pad_mode: network.pad_mode,
            compress: network.compress,
            num_lstm_layers: network.lstm,
            hidden_size: network.dimension,
            codebook_size: cfg.required("rvq.bins")?,
            codebook_dim: Some(network.dimension),
            norm_type: network.norm,
            trim_right_ratio: only.trim_right_ratio,
            use_conv_shortcut: !network.true_skip,
            normalize: cfg.optional("encodec.renormalize")?.unwrap_or(false),
            chunk_length_s: None,
            target_bandwidths: Vec::new(),
        };
        let codebooks = cfg.required("rvq.n_q")?;
        if !(1..=256).contains(&codebooks) {
            return Err(type_error("rvq.n_q", &format!("is {codebooks}, expected a number from 1 to 256")));
        }
        config.set_num_quantizers(codebooks);
        config.validate()?;
        Ok(config)
    }
}

/// The arguments of one side: those of both with its own.
fn overridden(both: &Map<String, Value>, own: Option<Value>, path: &str) -> Result<Value, ConfigError> {
    let mut all = both.clone();
    match own {
        None | Some(Value::Null) => {}
        Some(Value::Object(own)) => all.extend(own),
        Some(other) => return Err(type_error(path, &format!("is {other}, expected fields"))),
    }
    Ok(Value::Object(all))
}

fn type_error(path: &str, reason: &str) -> ConfigError {
    ConfigError::Type { path: path.into(), reason: reason.into() }
}

/// Parses a value that lies at `path`; errors name the whole path.
fn parse_at<T: DeserializeOwned>(path: &str, value: &Value) -> Result<T, ConfigError> {
    parse(value).map_err(|error| match error {
        ConfigError::Type { path: within, reason } if within == "." => type_error(path, &reason),
        ConfigError::Type { path: within, reason } => type_error(&format!("{path}.{within}"), &reason),
        other => other,
    })
}

/// A configuration of Hydra, whose values may be references to others.
struct XpCfg<'v>(&'v Value);

impl XpCfg<'_> {
    /// The value at a path of names between dots, with its references followed; `None` if there is none or it is null.
    fn resolved(&self, path: &str) -> Result<Option<Value>, ConfigError> {
        self.lookup(path, MAX_REFERENCES)
    }

    fn lookup(&self, path: &str, depth: usize) -> Result<Option<Value>, ConfigError> {
        let found = path.split('.').try_fold(self.0, |value, name| value.get(name));
        let value = found.map(|value| self.follow(path, value, depth)).transpose()?;
        Ok(value.filter(|value| !value.is_null()))
    }

    /// A value with the references in it replaced by what they refer to.
    fn follow(&self, path: &str, value: &Value, depth: usize) -> Result<Value, ConfigError> {
        Ok(match value {
            Value::String(text) if text.contains("${") => {
                let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
                // Names between dots only: no environment variables, no functions, no relative references.
                let is_name = |name: &&str| {
                    !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
                };
                let Some(name) = name.filter(is_name) else {
                    let reason = format!("is {text}, expected a value or a reference such as ${{sample_rate}}");
                    return Err(type_error(path, &reason));
                };
                if depth == 0 {
                    return Err(type_error(path, &format!("is {text}, which leads back to itself")));
                }
                let target = self.lookup(name, depth - 1)?;
                target.ok_or_else(|| type_error(path, &format!("is {text}, which is missing")))?
            }
            Value::Object(fields) => {
                let follow = |(name, value): (&String, &Value)| {
                    Ok((name.clone(), self.follow(&format!("{path}.{name}"), value, depth)?))
                };
                Value::Object(fields.iter().map(follow).collect::<Result<_, ConfigError>>()?)
            }
            other => other.clone(),
        })
    }

    fn optional<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ConfigError> {
        self.resolved(path)?.map(|value| parse_at(path, &value)).transpose()
    }

    fn required<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConfigError> {
        self.optional(path)?.ok_or_else(|| type_error(path, "is missing: the file is not that of a codec"))
    }

    /// Checks a name that may be missing.
    fn expect(&self, path: &str, expected: &str) -> Result<(), ConfigError> {
        match self.optional::<String>(path)? {
            Some(found) if found != expected => {
                Err(type_error(path, &format!("is {found}, expected {expected}: other codecs are not computed")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `config/model/encodec/default.yaml` with `encodec_large_nq4_s640.yaml`, as audiocraft's `export_encodec` leaves it.
    fn xp_cfg() -> Value {
        json!({
            "sample_rate": 32000, "channels": 1, "compression_model": "encodec", "device": "cuda",
            "encodec": {
                "autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}", "channels": "${channels}",
                "causal": false, "renormalize": false,
            },
            "seanet": {
                "dimension": 128, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 64,
                "n_residual_layers": 1, "ratios": [8, 5, 4, 4], "activation": "ELU", "activation_params": {"alpha": 1.0},
                "norm": "weight_norm", "norm_params": {}, "kernel_size": 7, "residual_kernel_size": 3,
                "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant", "true_skip": true, "compress": 2,
                "lstm": 2, "disable_norm_outer_blocks": 0, "encoder": {},
                "decoder": {"trim_right_ratio": 1.0, "final_activation": null, "final_activation_params": null},
            },
            "rvq": {"n_q": 4, "q_dropout": false, "bins": 2048, "decay": 0.99},
        })
    }

    #[test]
    fn the_codec_of_musicgen_is_encodec_32khz_with_zeros_around_it() {
        let config = EncodecConfig::from_audiocraft(&xp_cfg()).unwrap();
        let expected =
            EncodecConfig { pad_mode: PadMode::Constant, codebook_dim: Some(128), ..EncodecConfig::default() };
        assert_eq!(config, expected);
        assert_eq!(config.target_bandwidths, [2.2]);
    }

    #[test]
    fn pad_mode_is_taken_from_the_file() {
        let mut cfg = xp_cfg();
        cfg["seanet"]["pad_mode"] = "reflect".into();
        assert_eq!(EncodecConfig::from_audiocraft(&cfg).unwrap().pad_mode, PadMode::Reflect);
        cfg["seanet"].as_object_mut().unwrap().remove("pad_mode");
        assert_eq!(EncodecConfig::from_audiocraft(&cfg).unwrap().pad_mode, PadMode::Constant);
    }

    #[test]
    fn refusals_name_the_field() {
        for (path, value, words) in [
            ("/compression_model", json!("dac"), "`compression_model`: is dac"),
            ("/encodec/quantizer", json!("no_quant"), "encodec.quantizer"),
            ("/encodec/renormalize", json!(true), "normalize"),
            ("/encodec/causal", json!(true), "use_causal_conv"),
            ("/encodec/sample_rate", json!("${rate}"), "`encodec.sample_rate`: is ${rate}, which is missing"),
            ("/encodec/sample_rate", json!("${oc.env:HOME}"), "a reference such as ${sample_rate}"),
            ("/channels", json!("${encodec.channels}"), "leads back to itself"),
            ("/seanet/n_filters", json!("many"), "`seanet.n_filters`: invalid type"),
            ("/seanet/activation", json!("ReLU"), "seanet.activation"),
            ("/seanet/activation_params/alpha", json!(0.5), "alpha"),
            ("/seanet/pad_mode", json!("circular"), "pad_mode"),
            ("/seanet/norm", json!("time_group_norm"), "norm_type"),
            ("/seanet/encoder", json!({"n_filters": 32}), "seanet.decoder"),
            ("/seanet/decoder", json!({"final_activation": "Tanh"}), "final_activation"),
            ("/seanet/decoder", json!(3), "seanet.decoder"),
            ("/seanet/ratios", json!([0]), "upsampling_ratios"),
            ("/seanet", json!(null), "`seanet`: is missing"),
            ("/rvq/n_q", json!(0), "rvq.n_q"),
            ("/rvq/bins", json!(0), "codebook_size"),
            ("/rvq", json!({"n_q": 4}), "`rvq.bins`: is missing"),
        ] {
            let mut cfg = xp_cfg();
            *cfg.pointer_mut(path).unwrap() = value;
            let error = EncodecConfig::from_audiocraft(&cfg).unwrap_err().to_string();
            assert!(error.contains(words), "{path}: {error}");
        }
        for value in [json!(null), json!([]), json!({}), json!("text")] {
            assert!(EncodecConfig::from_audiocraft(&value).is_err(), "{value}");
        }
    }
}
