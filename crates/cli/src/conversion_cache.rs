//! The toolkit's cache of conversions: the models of the hub that a command has converted by itself, each once, with
//! the defaults of `mert-convert`. A file is named by the digest of all that decides its bytes.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use mert_arch::Metadata;
use mert_checkpoint::AdapterOptions;
use mert_convert::{ConvertError, Plan, PlanOptions, PlannedPreprocessor, Step, write};
use mert_fs::{FsError, hex, remove_stale_temporaries};
use mert_hub::HubModel;
use mert_runtime::ConvertedFile;
use sha2::{Digest, Sha256};

use crate::hub::{Messages, open_source};
use crate::terminal::{progress_bar, say};

/// The folder with converted models.
pub struct ConversionCache {
    folder: PathBuf,
}

impl ConversionCache {
    /// The folder `converted` in `MERT_CACHE`, or else in `mert-toolkit` in the user's cache folder: `XDG_CACHE_HOME`, or
    /// the platform's.
    ///
    /// # Errors
    /// If there is neither such a variable nor a home folder.
    pub fn from_env() -> anyhow::Result<ConversionCache> {
        Ok(ConversionCache { folder: cache_folder()?.join("converted") })
    }

    /// The conversion of a model, made now unless the cache has it. Its bytes are those that `mert-convert` writes for the
    /// same model without options.
    ///
    /// # Errors
    /// If the model cannot be converted without options, or the cache cannot be written. No part of a file is left.
    pub fn converted(&self, model: &HubModel, messages: Messages) -> anyhow::Result<PathBuf> {
        self.convert(model, messages).map_err(|error| match error {
            ConvertError::Output(_) => anyhow!("{error}. Set MERT_CACHE to another folder for converted models"),
            _ => anyhow!(
                "{repo} cannot be converted without options: {error}. Convert it with `mert-convert {repo}@{commit} \
                 model.safetensors` and the options that it needs, and give model.safetensors",
                repo = model.repo,
                commit = model.commit
            ),
        })
    }

    fn convert(&self, model: &HubModel, messages: Messages) -> Result<PathBuf, ConvertError> {
        let note = |text: String| {
            if messages.notes {
                say(&format!("{}: {text}", messages.command));
            }
        };
        let mut source = open_source(model, None, &AdapterOptions::default())?;
        let plan = Plan::new(&source, &PlanOptions::default())?;
        // Never cancelled, so the digest is always there.
        let sha256 = source.sha256(&AtomicBool::new(false)).unwrap_or_default();
        source.trust_sha256(&sha256)?;
        let metadata = plan.metadata(sha256);
        let path = self.folder.join(format!("{}.safetensors", key(&metadata)));
        let subject = format!("{} at {} to {}: {}", model.repo, model.commit, plan.dtype, path.display());
        let _lock = if is_conversion(&path, &metadata) {
            None
        } else {
            Some(lock(&self.folder, || note("waiting for another conversion".into()))?)
        };
        if is_conversion(&path, &metadata) {
            note(format!("using the conversion of {subject}"));
            return Ok(path);
        }
        note(format!("converting {subject}"));
        assumptions(&plan).into_iter().for_each(note);
        let template = "{bar:32} {bytes}/{total_bytes}  {wide_msg}";
        let bar = progress_bar(Some(plan.byte_len() as u64), template, !messages.bar);
        let progress = |step: &Step| {
            bar.set_message(step.name.clone());
            bar.inc(step.byte_len() as u64);
        };
        // A file that is there is not the conversion: it is damaged.
        let written = write::safetensors(&plan, &source, &path, path.exists(), &progress);
        bar.finish_and_clear();
        match written {
            // Where files cannot be locked, another process may have been faster.
            Err(ConvertError::Output(FsError::OutputExists { .. })) if is_conversion(&path, &metadata) => Ok(path),
            Err(error) => Err(error),
            Ok(_) => Ok(path),
        }
    }
}

/// The toolkit's cache: the folder that `MERT_CACHE` names, or else `mert-toolkit` in the user's cache folder: `XDG_CACHE_HOME`,
/// or the platform's.
///
/// # Errors
/// If there is neither such a variable nor a home folder.
pub(crate) fn cache_folder() -> anyhow::Result<PathBuf> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user_caches = || {
        // A relative path is invalid: https://specifications.freedesktop.org/basedir/latest/
        let xdg = variable("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
        let home = |folder: &str| Some(env::home_dir()?.join(folder));
        xdg.or_else(|| match env::consts::OS {
            "windows" => variable("LOCALAPPDATA"),
            "macos" => home("Library/Caches"),
            _ => home(".cache"),
        })
    };
    let folder = variable("MERT_CACHE").or_else(|| Some(user_caches()?.join("mert-toolkit")));
    let folder = folder.context("there is no home folder for converted models; set MERT_CACHE to a folder")?;
    Ok(std::path::absolute(folder)?)
}

/// The digest of a converted file's metadata. It holds the source's SHA-256, the configuration, the preprocessor, layout,
/// dtype and the program's version, on which all bytes of the file depend.
fn key(metadata: &Metadata) -> String {
    let mut digest = Sha256::new();
    for (key, value) in metadata.to_map() {
        // The lengths keep entries apart.
        digest.update(format!("{} {}\n{key}{value}", key.len(), value.len()));
    }
    hex(digest.finalize())
}

/// Whether `path` is a converted file with this metadata.
fn is_conversion(path: &Path, metadata: &Metadata) -> bool {
    ConvertedFile::open(path).is_ok_and(|file| file.metadata() == metadata)
}

/// Locks the folder until the returned file is dropped, and removes what killed conversions have left in it. `on_wait` is
/// called if another process holds the lock.
fn lock(folder: &Path, on_wait: impl FnOnce()) -> Result<File, ConvertError> {
    let path = folder.join(".lock");
    let lock = || {
        fs::create_dir_all(folder)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        if file.try_lock().is_err() {
            on_wait();
            match file.lock() {
                // Some network filesystems have no locks. Two processes then write the same bytes, each to a file of its own.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
                locked => locked?,
            }
        }
        remove_stale_temporaries(folder)?;
        Ok(file)
    };
    lock().map_err(|source| FsError::write(&path, source).into())
}

/// The assumptions of a conversion about the architecture and the audio input, a sentence each.
pub fn assumptions(plan: &Plan) -> Vec<String> {
    let PlannedPreprocessor { preprocessor, sampling_rate_origin, do_normalize_origin } = &plan.preprocessor;
    let audio = [
        (sampling_rate_origin, format!("sampling_rate {}", preprocessor.sampling_rate)),
        (do_normalize_origin, format!("do_normalize {}", preprocessor.do_normalize)),
    ];
    let audio = audio.into_iter().filter(|(origin, _)| origin.is_assumed());
    assumed_config(plan).into_iter().chain(audio.map(|(origin, value)| format!("{value} is {origin}"))).collect()
}

/// The assumptions about the architecture in one sentence, if there is no `config.json`.
fn assumed_config(plan: &Plan) -> Option<String> {
    let assumptions = plan.config_origin.assumptions().join(", ");
    (!assumptions.is_empty()).then(|| format!("there is no config.json; assumed: {assumptions}"))
}
