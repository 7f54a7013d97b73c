//! The hub names among the inputs of `mert-verify`, resolved to files of the hub's cache before the library opens them. No
//! code of the converter is involved: a model of the hub is verified as it is there.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_cli::hub::{Hub, Messages};
use mert_hub::{HubError, HubFile, HubName};
use mert_verify::Check;

/// The file under which a hub's model holds its converted weights.
const CONVERTED_FILE: &str = "model.safetensors";

/// Resolves the hub names in the checks. `bare_names` says whether `owner/name` may name a model: on a command line, but not
/// in a file, where a path that is missing must not become a download.
///
/// # Errors
/// If a model or a file is not available.
pub(crate) fn resolve(checks: &mut [Check], bare_names: bool, messages: Messages) -> anyhow::Result<()> {
    let is_name = |path: &Path| bare_names || path.starts_with("hf:");
    for check in checks {
        if is_name(&check.model) {
            check.model = converted(&check.model, messages)?;
        }
        for reference in &mut check.references {
            *reference = file(reference, messages)?;
        }
        if let Some(source) = check.original.as_mut().filter(|original| is_name(&original.path)) {
            source.path = original(&source.path, messages)?;
        }
    }
    Ok(())
}

/// The converted file that `model` names: a path as it is, or `model.safetensors` of a model of the hub.
///
/// # Errors
/// If the model or that file is not available.
pub(crate) fn converted(model: &Path, messages: Messages) -> anyhow::Result<PathBuf> {
    let Some(name) = HubName::of_input(model)? else { return Ok(model.to_path_buf()) };
    let file = HubFile { model: name.clone(), path: CONVERTED_FILE.into() };
    match Hub::from_env(messages)?.file(&file) {
        Err(HubError::NoFile { repo, revision, file }) => bail!(
            "`{repo}` at {revision} has no {file}, so it is not a converted model: convert it with `mert-convert {name} \
             {file}`, and verify that file with --checkpoint {name}"
        ),
        found => Ok(found?),
    }
}

/// The original checkpoint that `checkpoint` names: a path as it is, or the weights of a model of the hub.
///
/// # Errors
/// If the model is not available.
pub(crate) fn original(checkpoint: &Path, messages: Messages) -> anyhow::Result<PathBuf> {
    // Without libtorch the run will refuse the checkpoint: it need not be downloaded.
    let name = if cfg!(feature = "tch") { HubName::of_input(checkpoint)? } else { None };
    match name {
        Some(name) => Ok(Hub::from_env(messages)?.model(&name)?.weights),
        None => Ok(checkpoint.to_path_buf()),
    }
}

/// The file that `path` names: a path as it is, or `hf://owner/name/FILE`.
///
/// # Errors
/// If the file is not available.
pub(crate) fn file(path: &Path, messages: Messages) -> anyhow::Result<PathBuf> {
    match HubFile::of_input(path)? {
        Some(file) => Ok(Hub::from_env(messages)?.file(&file)?),
        None => Ok(path.to_path_buf()),
    }
}
