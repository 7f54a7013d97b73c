//! The metadata of a converted file: its layout, dtype, configuration, preprocessor and origin.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::config::check_sample_rate;
use crate::{
    Config, ConfigError, Dtype, Encoding, FINAL_PROJ, Int8Exceptions, Layout, Preprocessor, QuantizationConfig, Role,
    TensorSpec, final_proj_inventory, inventory,
};

/// The key of the entry that names the program for which a file was written; a file of this toolkit has no such entry.
pub const TARGET_KEY: &str = "target";

/// The key of the entry that describes quantized weights, as the field of a `config.json` does.
const QUANTIZATION: &str = "quantization";

/// The key of the entry with the modules that keep floats in a forward pass in 8-bit integers.
const INT8_EXCEPTIONS: &str = "int8_exceptions";

/// The metadata of a converted file, in the string-to-string `__metadata__` of
/// [safetensors](https://github.com/huggingface/safetensors#format).
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The order of Conv1d weights.
    pub layout: Layout,
    /// The element type of every tensor that is not quantized, and of the scales and biases of those that are.
    pub dtype: Dtype,
    /// The quantization of the linear layers; `None` if none is quantized.
    pub quantization: Option<QuantizationConfig>,
    /// The modules that keep floats in a forward pass in 8-bit integers; `None` if nobody measured which should.
    pub int8_exceptions: Option<Int8Exceptions>,
    /// The architecture.
    pub config: Config,
    /// Whether the architecture was inferred from the tensors' shapes, with assumptions, because there was no
    /// `config.json`.
    pub config_inferred: bool,
    /// Configuration fields set by the user, such as `num_attention_heads=4`.
    pub config_set: Vec<String>,
    /// The preprocessing of audio before it enters the model.
    pub preprocessor: Preprocessor,
    /// The origin of each preprocessor field, in a few words. `None` in files whose writer did not record it; their
    /// preprocessor is [`Preprocessor::assumed`].
    pub preprocessor_origin: Option<String>,
    /// The number of outputs of the head `final_proj`, if the file keeps it beside the encoder.
    pub final_proj: Option<usize>,
    /// The SHA-256 of the checkpoint in hexadecimal. That of a sharded checkpoint is the SHA-256 of its files' digests
    /// in order. Empty for a model that MLX saved, which does not record it.
    pub source_sha256: String,
    /// The kind and name of the adapter that was merged into the checkpoint's weights.
    pub adapter: Option<String>,
    /// The SHA-256 of the adapter's file in hexadecimal; `None` for an adapter that was in the checkpoint.
    pub adapter_sha256: Option<String>,
    /// The licence of the checkpoint, if it is known.
    pub license: Option<String>,
    /// The name and version of the program that wrote the file.
    pub generator: String,
}

/// An error of metadata that cannot be used.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The file was not written by mert-convert.
    #[error(
        "the file's metadata has no `{0}`, so it was not written by mert-convert; convert the original checkpoint first"
    )]
    Missing(&'static str),
    /// The file was written for another program.
    #[error(
        "the file was written for another program (mert-convert --for {target}) and has its names and layout; for this \
         toolkit, convert the checkpoint with `mert-convert INPUT NAME.safetensors`{}", hint(.target)
    )]
    OtherProgram {
        /// The value of `--for`.
        target: String,
    },
    /// An entry has a value that mert-convert does not write.
    #[error("the file's metadata entry `{key}` is invalid: {reason}")]
    Invalid {
        /// The key of the entry.
        key: &'static str,
        /// The defect of the value.
        reason: String,
    },
    /// The embedded configuration cannot be used.
    #[error("the file's embedded configuration: {0}")]
    Config(#[from] ConfigError),
}

/// The addition for an output that is a checkpoint itself.
fn hint(target: &str) -> &'static str {
    if target == "hf" { ", where INPUT may be this folder" } else { "" }
}

impl MetadataError {
    fn invalid(key: &'static str, reason: impl Into<String>) -> Self {
        MetadataError::Invalid { key, reason: reason.into() }
    }
}

impl Metadata {
    /// The tensors of the file, in PyTorch's order: those of the encoder, then those of the head that it keeps.
    pub fn inventory(&self) -> Vec<TensorSpec> {
        let head = self.final_proj.map(|size| final_proj_inventory(&self.config, size));
        inventory(&self.config).into_iter().chain(head.into_iter().flatten()).collect()
    }

    /// The form in which the file stores a tensor of [`Metadata::inventory`]. Only weights of linear layers are quantized.
    pub fn encoding(&self, spec: &TensorSpec) -> Encoding {
        let module = || spec.name.strip_suffix(".weight").filter(|_| spec.role == Role::Linear);
        match self.quantization.as_ref().and_then(|config| config.layer(module()?)) {
            Some(quantization) => Encoding::Quantized { quantization, float: self.dtype },
            None => Encoding::Float(self.dtype),
        }
    }

    /// A sentence on the modules that multiply 8-bit integers in a forward pass in int8, and on those that keep floats.
    pub fn int8_note(&self) -> String {
        match &self.int8_exceptions {
            None => "int8: in every module, which the file has no measurement of; `mert-convert --int8-budget` chooses those that \
                     keep floats"
                .into(),
            Some(exceptions) if exceptions.is_empty() => "int8: in every module, as the file says".into(),
            Some(exceptions) => format!("int8: {exceptions} keep floats, as the file says"),
        }
    }

    /// What of the preprocessor no file of the model states, so that it is an assumption, and why; `None` if all is stated.
    ///
    /// [`Metadata::preprocessor_origin`] is `sampling_rate: ORIGIN; do_normalize: ORIGIN`, where the origin of an assumption
    /// begins with `assumed: `.
    pub fn assumed_preprocessor(&self) -> Option<String> {
        let Preprocessor { do_normalize, sampling_rate } = self.preprocessor;
        let (rate, normalize) = (format!("sampling_rate {sampling_rate}"), format!("do_normalize {do_normalize}"));
        let Some(origin) = &self.preprocessor_origin else {
            return Some(format!("{rate} and {normalize} (the converted file does not record them)"));
        };
        let (rate_origin, normalize_origin) = origin.split_once("; do_normalize: ")?;
        let rate_origin = rate_origin.strip_prefix("sampling_rate: ")?;
        let assumed: Vec<String> = [(rate, rate_origin), (normalize, normalize_origin)]
            .into_iter()
            .filter_map(|(value, origin)| Some(format!("{value} ({})", origin.strip_prefix("assumed: ")?)))
            .collect();
        (!assumed.is_empty()).then(|| assumed.join(" and "))
    }

    /// Returns the entries, sorted by key.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::from([
            ("format".into(), self.layout.format().into()),
            ("layout".into(), self.layout.name().into()),
            ("dtype".into(), self.dtype.name().into()),
            ("config".into(), self.config.to_json()),
            ("source_sha256".into(), self.source_sha256.clone()),
            ("generator".into(), self.generator.clone()),
        ]);
        if let Some(quantization) = &self.quantization {
            map.insert(QUANTIZATION.into(), quantization.to_json());
        }
        if let Some(exceptions) = &self.int8_exceptions {
            map.insert(INT8_EXCEPTIONS.into(), exceptions.to_json());
        }
        if self.config_inferred {
            map.insert("config_inferred".into(), "true".into());
        }
        if !self.config_set.is_empty() {
            map.insert("config_set".into(), self.config_set.join(" "));
        }
        if let Some(origin) = &self.preprocessor_origin {
            map.insert("do_normalize".into(), self.preprocessor.do_normalize.to_string());
            map.insert("sampling_rate".into(), self.preprocessor.sampling_rate.to_string());
            map.insert("preprocessor_origin".into(), origin.clone());
        }
        if let Some(size) = self.final_proj {
            map.insert(FINAL_PROJ.into(), size.to_string());
        }
        if let Some(adapter) = &self.adapter {
            map.insert("adapter".into(), adapter.clone());
        }
        if let Some(sha256) = &self.adapter_sha256 {
            map.insert("adapter_sha256".into(), sha256.clone());
        }
        if let Some(license) = &self.license {
            map.insert("license".into(), license.clone());
        }
        map
    }

    /// Reads the entries of a converted file; `get` looks one up by key.
    ///
    /// # Errors
    /// [`MetadataError`] if the file is not a converted one or its entries contradict each other.
    pub fn from_lookup<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, MetadataError> {
        let entry = |key: &'static str| get(key).ok_or(MetadataError::Missing(key));
        if let Some(target) = get(TARGET_KEY) {
            return Err(MetadataError::OtherProgram { target: crate::printable_line(target) });
        }
        let layout: Layout =
            entry("layout")?.parse().map_err(|reason: String| MetadataError::invalid("layout", reason))?;
        let dtype = entry("dtype")?.parse().map_err(|reason: String| MetadataError::invalid("dtype", reason))?;
        if let Some(format) = get("format").filter(|&format| format != layout.format()) {
            let reason = format!("`{format}` contradicts layout `{layout}`, whose format is `{}`", layout.format());
            return Err(MetadataError::invalid("format", reason));
        }
        let config = Config::from_json(entry("config")?)?;
        let (preprocessor, preprocessor_origin) = preprocessor(&config, &get)?;
        let exceptions = get(INT8_EXCEPTIONS).map(|text| Int8Exceptions::from_json(text, &config));
        let metadata = Metadata {
            layout,
            dtype,
            quantization: get(QUANTIZATION)
                .map(QuantizationConfig::from_json)
                .transpose()
                .map_err(|reason| MetadataError::invalid(QUANTIZATION, reason))?,
            int8_exceptions: exceptions
                .transpose()
                .map_err(|reason| MetadataError::invalid(INT8_EXCEPTIONS, reason))?,
            config,
            config_inferred: get("config_inferred").is_some(),
            config_set: get("config_set").map(|set| set.split(' ').map(str::to_string).collect()).unwrap_or_default(),
            preprocessor,
            preprocessor_origin,
            final_proj: get(FINAL_PROJ).map(outputs).transpose()?,
            source_sha256: sha256("source_sha256", entry("source_sha256")?)?,
            adapter: get("adapter").map(str::to_string),
            adapter_sha256: get("adapter_sha256").map(|text| sha256("adapter_sha256", text)).transpose()?,
            license: get("license").map(str::to_string),
            generator: entry("generator")?.to_string(),
        };
        metadata.check_quantization()?;
        Ok(metadata)
    }

    /// Checks that the quantization names linear layers of the model, and that their rows are whole groups.
    ///
    /// # Errors
    /// [`MetadataError::Invalid`] naming the layer.
    pub fn check_quantization(&self) -> Result<(), MetadataError> {
        let Some(config) = &self.quantization else { return Ok(()) };
        let invalid = |reason| MetadataError::invalid(QUANTIZATION, reason);
        let mut unknown: BTreeSet<&str> = config.layers.keys().map(String::as_str).collect();
        for spec in self.inventory() {
            let Some(module) = spec.name.strip_suffix(".weight").filter(|_| spec.role == Role::Linear) else {
                continue;
            };
            unknown.remove(module);
            let Some(quantization) = config.layer(module) else { continue };
            let inputs = spec.shape.last().copied().unwrap_or_default();
            let check = quantization.check_inputs(inputs);
            check.map_err(|reason| invalid(format!("`{}` cannot be {quantization}: {reason}", spec.name)))?;
        }
        match unknown.first() {
            Some(name) => Err(invalid(format!("`{}` is not a linear layer of the model", crate::printable_line(name)))),
            None => Ok(()),
        }
    }
}

/// Parses `sampling_rate` and `do_normalize`. A file has both or, if written by an older converter, neither.
fn preprocessor<'a>(
    config: &Config,
    get: &impl Fn(&str) -> Option<&'a str>,
) -> Result<(Preprocessor, Option<String>), MetadataError> {
    let (rate, normalize) = match (get("sampling_rate"), get("do_normalize")) {
        (None, None) => return Ok((Preprocessor::assumed(config), None)),
        (Some(rate), Some(normalize)) => (rate, normalize),
        (Some(_), None) => return Err(MetadataError::Missing("do_normalize")),
        (None, Some(_)) => return Err(MetadataError::Missing("sampling_rate")),
    };
    let sampling_rate = rate
        .parse()
        .map_err(|_| MetadataError::invalid("sampling_rate", format!("`{rate}` is not a rate in hertz")))?;
    check_sample_rate("sampling_rate", sampling_rate)?;
    if let Some(stated) = config.sample_rate.filter(|&stated| stated != sampling_rate) {
        let reason = format!("{sampling_rate} Hz, but `sample_rate` of the embedded configuration is {stated}");
        return Err(MetadataError::invalid("sampling_rate", reason));
    }
    let do_normalize = normalize
        .parse()
        .map_err(|_| MetadataError::invalid("do_normalize", format!("found `{normalize}`, expected true or false")))?;
    let origin = get("preprocessor_origin").unwrap_or("not recorded").to_string();
    Ok((Preprocessor { do_normalize, sampling_rate }, Some(origin)))
}

/// Parses the number of outputs of `final_proj`.
fn outputs(text: &str) -> Result<usize, MetadataError> {
    /// Far above the 1024 of the largest published model, and small enough that sizes do not overflow.
    const MOST: usize = 1 << 20;
    let size = text.parse().ok().filter(|size| (1..=MOST).contains(size));
    size.ok_or_else(|| MetadataError::invalid(FINAL_PROJ, format!("`{text}` is not a number of outputs")))
}

/// Checks that the text is a SHA-256 in hexadecimal.
fn sha256(key: &'static str, text: &str) -> Result<String, MetadataError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_string());
    }
    Err(MetadataError::invalid(key, format!("`{text}` is not 64 hexadecimal digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Metadata {
        Metadata {
            layout: Layout::Mlx,
            dtype: Dtype::F16,
            quantization: None,
            int8_exceptions: Some(Int8Exceptions::new([("encoder.pos_conv_embed".to_string(), Dtype::Bf16)])),
            config: Config::mert_v1_95m(),
            config_inferred: true,
            config_set: vec!["num_attention_heads=12".into(), "conv_stride=[5,2,2,2,2,2,2]".into()],
            preprocessor: Preprocessor { do_normalize: false, sampling_rate: 24_000 },
            preprocessor_origin: Some("sampling_rate: config.json; do_normalize: --do-normalize".into()),
            final_proj: Some(256),
            source_sha256: "ab".repeat(32),
            adapter: Some("PEFT adapter_model.safetensors".into()),
            adapter_sha256: Some("cd".repeat(32)),
            license: Some("CC-BY-NC-4.0".into()),
            generator: "mert-convert 0.1.0".into(),
        }
    }

    #[test]
    fn round_trip() {
        let map = example().to_map();
        let read = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap();
        assert_eq!(read, example());
    }

    #[test]
    fn a_head_adds_its_tensors() {
        let file = example();
        let specs = file.inventory();
        let encoder = Metadata { final_proj: None, ..file.clone() }.inventory();
        assert_eq!(encoder, inventory(&file.config));
        let head: Vec<_> = specs[encoder.len()..].iter().map(|spec| (spec.name.as_str(), &spec.shape[..])).collect();
        assert_eq!(head, [("final_proj.weight", &[256, 768][..]), ("final_proj.bias", &[256][..])]);
        for wrong in ["0", "-1", "256.0", "99999999999"] {
            let mut map = file.to_map();
            map.insert("final_proj".into(), wrong.into());
            let error = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn quantized_layers_are_linear_layers_with_whole_groups() {
        let read = |json: &str| {
            let mut map = example().to_map();
            map.insert("quantization".into(), json.into());
            let read = Metadata::from_lookup(|key| map.get(key).map(String::as_str));
            read.inspect(|read| {
                assert_eq!(read.to_map()["quantization"], read.quantization.as_ref().unwrap().to_json())
            })
        };
        let file = read(r#"{"bits":4,"group_size":64,"final_proj":false,"encoder.layers.1.feed_forward.output_dense":{"bits":8,"group_size":128}}"#).unwrap();
        let encodings: BTreeMap<_, _> =
            file.inventory().iter().map(|spec| (spec.name.clone(), file.encoding(spec).to_string())).collect();
        for (name, encoding) in [
            ("encoder.layers.0.attention.q_proj.weight", "4-bit g64"),
            ("encoder.layers.1.feed_forward.output_dense.weight", "8-bit g128"),
            ("encoder.layers.0.attention.q_proj.bias", "f16"),
            ("encoder.pos_conv_embed.conv.weight", "f16"),
            ("final_proj.weight", "f16"),
        ] {
            assert_eq!(encodings[name], encoding, "{name}");
        }
        for (json, words) in [
            (r#"{"bits":4,"group_size":64,"encoder.layers.12.attention.q_proj":false}"#, "not a linear layer"),
            (r#"{"bits":4,"group_size":64,"encoder.layer_norm":false}"#, "not a linear layer"),
            (r#"{"bits":4}"#, "no `group_size`"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("`quantization`"), "{json}: {error}");
        }
        let config = Config { intermediate_size: 3000, ..Config::mert_v1_95m() };
        let mut map = Metadata { config, ..example() }.to_map();
        map.insert("quantization".into(), r#"{"bits":4,"group_size":64}"#.into());
        let error = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap_err().to_string();
        assert!(error.contains("output_dense.weight` cannot be 4-bit g64: its last axis, 3000"), "{error}");
    }

    #[test]
    fn assumptions_are_told_from_statements() {
        let assumed = |origin: Option<&str>| {
            Metadata { preprocessor_origin: origin.map(str::to_string), ..example() }.assumed_preprocessor()
        };
        assert_eq!(assumed(Some("sampling_rate: config.json; do_normalize: --do-normalize")), None);
        let half = assumed(Some("sampling_rate: assumed: HuBERT; most MERT; do_normalize: config.json")).unwrap();
        assert_eq!(half, "sampling_rate 24000 (HuBERT; most MERT)");
        let both = assumed(Some("sampling_rate: assumed: a; do_normalize: assumed: b; c")).unwrap();
        assert_eq!(both, "sampling_rate 24000 (a) and do_normalize false (b; c)");
        assert!(assumed(None).unwrap().contains("does not record"));
    }

    #[test]
    fn without_a_preprocessor_it_is_assumed() {
        let mut map = example().to_map();
        for key in ["sampling_rate", "do_normalize", "preprocessor_origin"] {
            map.remove(key);
        }
        let read = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap();
        assert_eq!(read.preprocessor, Preprocessor { do_normalize: true, sampling_rate: 24_000 });
        assert_eq!(read.preprocessor_origin, None);
        assert_eq!(read.to_map(), map);
    }

    #[test]
    fn an_incomplete_or_invalid_preprocessor_is_refused() {
        for (key, value, word) in [
            ("sampling_rate", None, "sampling_rate"),
            ("do_normalize", None, "do_normalize"),
            ("sampling_rate", Some("16000"), "sample_rate"),
            ("sampling_rate", Some("24 kHz"), "hertz"),
            ("sampling_rate", Some("10"), "384000"),
            ("do_normalize", Some("True"), "true"),
        ] {
            let mut map = example().to_map();
            match value {
                Some(value) => map.insert(key.into(), value.into()),
                None => map.remove(key),
            };
            let error = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap_err().to_string();
            assert!(error.contains(word), "{key} {value:?}: {error}");
        }
    }

    #[test]
    fn a_file_for_another_program_is_named() {
        let mut map = example().to_map();
        map.insert(TARGET_KEY.into(), "mlx-hubert".into());
        let error = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap_err();
        assert!(error.to_string().contains("--for mlx-hubert"), "{error}");
    }

    #[test]
    fn a_contradiction_is_refused() {
        let mut map = example().to_map();
        map.insert("layout".into(), "candle".into());
        let error = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap_err();
        assert!(error.to_string().contains("format"), "{error}");
    }
}
