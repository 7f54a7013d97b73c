//! The model that a run uses: its name among the arguments, and its file with what that records.

use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_core::Device;
use mert_arch::Metadata;
use mert_embed::{EmbedConfig, EmbedError, ModelFile};
use mert_fs::sha256_file;
use mert_runtime::{ConvertedFile, DeviceKind, Dtype, Model};
use mert_table::printable_path;

use crate::args::Args;

/// The model as given, a path or a name on the hub, and the inputs.
pub(super) fn model_and_inputs(args: &Args, config: &EmbedConfig) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let named = args.model.clone().or_else(|| config.model_name.as_ref().map(PathBuf::from));
    let (model, inputs) = match (named, args.arguments.split_first()) {
        (Some(model), _) => (model, args.arguments.clone()),
        (None, Some((model, inputs))) => (model.clone(), inputs.to_vec()),
        (None, None) => {
            bail!("no model: give MODEL before the inputs, --model MODEL, or model_name in the configuration")
        }
    };
    Ok((model, inputs))
}

/// The device that the options or the configuration at `path` select.
pub(super) fn device_kind(args: &Args, config: &EmbedConfig, path: &Path) -> Result<DeviceKind, EmbedError> {
    match (args.device, &config.device) {
        (Some(kind), _) => Ok(kind),
        (None, Some(name)) => name.parse().map_err(|reason| EmbedError::config(path, format!("device: {reason}"))),
        (None, None) => Ok(DeviceKind::Cpu),
    }
}

/// The model, the provenance of its file, and a note on the assumptions about its audio that its file does not record.
pub(super) fn open_model(
    path: &Path,
    dtype: Dtype,
    device: &Device,
) -> anyhow::Result<(Model, ModelFile, Option<String>)> {
    let file = ConvertedFile::open(path)?;
    let Metadata { license, preprocessor, preprocessor_origin, .. } = file.metadata().clone();
    let note = preprocessor_origin.is_none().then(|| {
        format!(
            "{} does not record what audio the model takes: {} Hz and do_normalize {} are assumed. Convert the \
             checkpoint again to record it",
            printable_path(path),
            preprocessor.sampling_rate,
            preprocessor.do_normalize
        )
    });
    let (model, sha256) = rayon::join(
        || Model::from_file(&file, dtype, device),
        || sha256_file(path).map_err(|error| EmbedError::read(path, error)),
    );
    Ok((model?, ModelFile { sha256: sha256?, license }, note))
}
