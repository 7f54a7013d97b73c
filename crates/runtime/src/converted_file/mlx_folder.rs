//! Folders that MLX saved: weights without this toolkit's metadata, and the files beside them that describe the model.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use mert_arch::{
    CONFIG_FILE, Config, Dtype, Layout, Metadata, PREPROCESSOR_FILES, Preprocessor, PreprocessorConfig,
    QuantizationConfig, Role,
};
use safetensors::Dtype as SafetensorsDtype;

use super::files::{ModelFiles, read_json, read_text};
use super::safetensors_file::StoredInfo;
use crate::Error;

/// A folder that MLX saved, and the files that describe its model.
pub(super) struct MlxFolder {
    pub(super) metadata: Metadata,
    /// The files beside the weights that were read.
    pub(super) described_by: Vec<PathBuf>,
}

impl MlxFolder {
    /// Describes the model of weights without this toolkit's metadata, from the files beside them; `None` if MLX did not save
    /// them: the weights have this toolkit's metadata, there is no `config.json`, or neither the `config.json` has a
    /// `quantization` nor the weights the metadata `{"format": "mlx"}` that mlx-lm writes. Then only the names would tell
    /// the order of a convolution's axes.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::ModelFile`] or [`Error::Metadata`] naming the file that cannot be used.
    pub(super) fn describe(files: &ModelFiles) -> Result<Option<Self>, Error> {
        let folder = files.path.parent().unwrap_or(Path::new(""));
        let path = folder.join(CONFIG_FILE);
        if files.are_converted() || !path.is_file() {
            return Ok(None);
        }
        let value = read_json(&path)?;
        let stated = ["quantization", "quantization_config"].into_iter().find_map(|key| value.get(key));
        let is_mlx = |format: &String| format == "mlx";
        if stated.is_none() && !files.files.iter().any(|file| file.metadata.get("format").is_some_and(is_mlx)) {
            return Ok(None);
        }
        let invalid = |reason: String| Error::model_file(&path, reason);
        let config = Config::from_json(&read_text(&path)?).map_err(|error| invalid(error.to_string()))?;
        let stored = files.tensors();
        let (preprocessor, origin, mut described_by) = preprocessor(&config, folder)?;
        described_by.insert(0, path.clone());
        let quantization = stated.map(QuantizationConfig::from_value).transpose().map_err(invalid)?;
        let mut metadata = Metadata {
            layout: Layout::Mlx,
            dtype: coarsest_float(&stored),
            quantization: None,
            int8_exceptions: None,
            config,
            config_inferred: false,
            config_set: Vec::new(),
            preprocessor,
            preprocessor_origin: Some(origin),
            final_proj: stored.get("final_proj.bias").and_then(|(_, info)| info.shape.first().copied()),
            source_sha256: String::new(),
            adapter: None,
            adapter_sha256: None,
            license: None,
            generator: "MLX".into(),
        };
        metadata.quantization =
            quantization.map(|stated| of_each_layer(stated, &metadata, &stored)).transpose().map_err(invalid)?;
        metadata.check_quantization().map_err(|source| Error::metadata(&path, source))?;
        Ok(Some(MlxFolder { metadata, described_by }))
    }
}

/// The quantization with an entry for each linear layer that differs from the default. As in mlx-lm, a layer that the field
/// does not name is quantized if the weights have its scales.
fn of_each_layer(
    mut stated: QuantizationConfig,
    metadata: &Metadata,
    stored: &HashMap<&str, (usize, &StoredInfo)>,
) -> Result<QuantizationConfig, String> {
    let mut unquantized = BTreeMap::new();
    for spec in metadata.inventory() {
        let Some(module) = spec.name.strip_suffix(".weight").filter(|_| spec.role == Role::Linear) else { continue };
        let has_scales = stored.contains_key(format!("{module}.scales").as_str());
        match (stated.layers.get(module), has_scales) {
            (Some(None), true) => {
                return Err(format!("`quantization.{module}` is false, but the weights have `{module}.scales`"));
            }
            (Some(Some(quantization)), false) => {
                return Err(format!(
                    "`quantization.{module}` is {quantization}, but the weights lack `{module}.scales`"
                ));
            }
            (None, false) => {
                unquantized.insert(module.to_string(), None);
            }
            _ => {}
        }
    }
    stated.layers.extend(unquantized);
    Ok(stated)
}

/// The type of floats with the fewest bits of significand among the tensors: the one that decides what to expect of the
/// model.
fn coarsest_float(stored: &HashMap<&str, (usize, &StoredInfo)>) -> Dtype {
    let has = |dtype| stored.values().any(|(_, info)| info.dtype == dtype);
    match (has(SafetensorsDtype::BF16), has(SafetensorsDtype::F16)) {
        (true, _) => Dtype::Bf16,
        (false, true) => Dtype::F16,
        (false, false) => Dtype::F32,
    }
}

/// The preprocessor, the origin of its fields as converted files record it, and the file that states them.
fn preprocessor(config: &Config, folder: &Path) -> Result<(Preprocessor, String, Vec<PathBuf>), Error> {
    let file = PREPROCESSOR_FILES.into_iter().find(|name| folder.join(name).is_file());
    let path = file.map(|name| folder.join(name));
    let stated = match &path {
        Some(path) => PreprocessorConfig::from_json(&read_text(path)?)
            .map_err(|error| Error::model_file(path, error.to_string()))?,
        None => PreprocessorConfig::default(),
    };
    if let (Some(rate), Some(other), Some(path)) = (stated.sampling_rate, config.sample_rate, &path)
        && rate != other
    {
        let reason = format!("`sampling_rate` is {rate}, but `sample_rate` of {CONFIG_FILE} is {other}");
        return Err(Error::model_file(path, reason));
    }
    let assumed = Preprocessor::assumed(config);
    let file = file.unwrap_or_default();
    let rate_origin = match (stated.sampling_rate, config.sample_rate) {
        (Some(_), _) => file,
        (None, Some(_)) => CONFIG_FILE,
        (None, None) => "assumed: the rate of most published models of this type",
    };
    let normalize_origin = if stated.do_normalize.is_some() { file } else { "assumed: transformers' default" };
    let origin = format!("sampling_rate: {rate_origin}; do_normalize: {normalize_origin}");
    let preprocessor = Preprocessor {
        do_normalize: stated.do_normalize.unwrap_or(assumed.do_normalize),
        sampling_rate: stated.sampling_rate.unwrap_or(assumed.sampling_rate),
    };
    Ok((preprocessor, origin, path.into_iter().collect()))
}
