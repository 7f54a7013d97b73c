//! MusicGen's files on the hub: which files of a model an argument needs, what they will take before they are downloaded, and
//! the codec that a file only points to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use mert_arch::{CONFIG_FILE, MusicgenConfig, json_from_text, text_from_bytes};
use mert_cli::hub::{Hub, Messages};
use mert_convert::musicgen::{MusicgenOptions, RecognizedMusicgen};
use mert_hub::{HubError, HubFile, HubFileInfo, HubFiles, HubName};
use serde_json::{Value, json};

use crate::args::Args;
use crate::musicgen_args::ForProgram;

/// audiocraft's language model.
const STATE_DICT: &str = "state_dict.bin";

/// audiocraft's codec.
const COMPRESSION: &str = "compression_state_dict.bin";

/// The tokenizer of T5.
const TOKENIZER: &str = "tokenizer.json";

/// An input of `mert-convert` on the hub that is a MusicGen.
pub(super) enum HubInput {
    /// A model at a commit.
    Model(HubName),
    /// A file of a model.
    File(HubFile),
}

/// The argument that names a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Input,
    Base,
    Codec,
    T5,
}

/// The files of a conversion that were downloaded.
#[derive(Default)]
pub(super) struct Downloaded {
    /// The names of the models, by the path to open.
    names: BTreeMap<PathBuf, String>,
    /// The models and their commits, for reports.
    models: Vec<Value>,
}

/// Whether a model of the hub is a MusicGen, by its `config.json` or the names of its files, and its name pinned to its commit.
///
/// # Errors
/// If there is no such model, or it is a MusicGen of a kind that is not supported.
pub(super) fn look_up(args: &Args, name: &HubName) -> anyhow::Result<(bool, HubName)> {
    let (config, has_state_dict, revision) = hub(args)?.with_files(name, |files| {
        let config = files.file(CONFIG_FILE)?;
        let has_state_dict = config.is_none() && files.info(STATE_DICT)?.is_some();
        Ok((config, has_state_dict, files.commit().to_string()))
    })?;
    let kind = config.as_deref().and_then(model_type);
    let is_musicgen = kind.map_or(has_state_dict, |kind| kind.starts_with("musicgen"));
    if is_musicgen {
        check_model(Argument::Input, name, config.as_deref())?;
    }
    Ok((is_musicgen, HubName { revision: Some(revision), ..name.clone() }))
}

/// The hub with the messages of this command.
pub(super) fn hub(args: &Args) -> Result<Hub, HubError> {
    Hub::from_env(Messages { command: "mert-convert", notes: !args.quiet, bar: !args.quiet && !args.json })
}

/// Downloads an input that [`look_up`] recognized, or a file, and opens it.
pub(super) fn open_input(
    args: &Args,
    input: &HubInput,
    options: &mut MusicgenOptions,
    downloaded: &mut Downloaded,
) -> anyhow::Result<RecognizedMusicgen> {
    let (path, name) = match input {
        HubInput::Model(name) => {
            let path = fetch(args, name, Argument::Input, downloaded)?;
            let needs_codec = options.codec.is_none() && args.program != Some(ForProgram::MlxExamples);
            if path.ends_with(STATE_DICT) && needs_codec {
                options.codec = codec_beside(args, name, downloaded)?;
            }
            (path, name.to_string())
        }
        HubInput::File(file) => {
            (fetch_file(args, file, Argument::Input, downloaded)?, format!("{}/{}", file.model, file.path))
        }
    };
    RecognizedMusicgen::open(&path).with_context(|| {
        format!(
            "{name} is no MusicGen that can be read; the model of an encoder is given as owner/name, without a file"
        )
    })
}

/// Replaces the models of the hub among the values of options by paths.
pub(super) fn resolve_options(
    args: &Args,
    options: &mut MusicgenOptions,
    downloaded: &mut Downloaded,
) -> anyhow::Result<()> {
    let MusicgenOptions { base, codec, t5, .. } = options;
    for (argument, value) in [(Argument::Base, base), (Argument::Codec, codec), (Argument::T5, t5)] {
        let Some(given) = value else { continue };
        let path = match (file_of_model(given)?, HubName::of_input(given)) {
            (Some(file), _) => fetch_file(args, &file, argument, downloaded)?,
            (None, name) => match name? {
                Some(name) => fetch(args, &name, argument, downloaded)?,
                None => continue,
            },
        };
        *value = Some(follow(args, argument, path, downloaded)?);
    }
    Ok(())
}

impl Downloaded {
    /// The names of the models and files, by the path to open.
    pub(super) fn names(&self) -> BTreeMap<PathBuf, String> {
        self.names.clone()
    }

    /// The models and their commits as JSON; `None` if nothing is of the hub.
    pub(super) fn to_json(&self) -> Option<Value> {
        (!self.models.is_empty()).then(|| json!(self.models))
    }

    fn add(&mut self, repo: &str, commit: &str, file: Option<&str>, path: &Path) {
        let name = file.map_or(repo.to_string(), |file| format!("{repo}/{file}"));
        self.models.push(json!({ "model": repo, "revision": commit, "path": path }));
        self.names.insert(path.to_path_buf(), name);
    }
}

/// The file of a model that a value names: `hf://owner/name/FILE`. With fewer parts it is a model, and so is one whose revision has
/// slashes, unless it ends as a checkpoint does.
pub(super) fn file_of_model(value: &Path) -> Result<Option<HubFile>, HubError> {
    let Some(rest) = value.to_str().and_then(|text| text.strip_prefix("hf://")) else { return Ok(None) };
    let extension = value.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_file = ["bin", "ckpt", "pt", "pth", "safetensors"].contains(&extension);
    match rest.split('/').count() {
        3.. if is_file || !rest.contains('@') => HubFile::of_input(value),
        _ => Ok(None),
    }
}

/// Downloads a file of a model, and the configuration that may belong to it.
fn fetch_file(args: &Args, file: &HubFile, argument: Argument, downloaded: &mut Downloaded) -> anyhow::Result<PathBuf> {
    let hub = hub(args)?;
    let config = hub.with_files(&file.model, |files| files.file(CONFIG_FILE))?;
    check_model(argument, &file.model, config.as_deref())?;
    let (path, repo, commit) = hub.with_files(&file.model, |files| {
        announce(&hub, files, &files.info(&file.path)?.into_iter().collect::<Vec<_>>());
        Ok((files.required(&file.path)?, files.repo().to_string(), files.commit().to_string()))
    })?;
    downloaded.add(&repo, &commit, Some(&file.path), &path);
    Ok(path)
}

/// Downloads what an argument needs of a model, and returns the path to open.
fn fetch(args: &Args, name: &HubName, argument: Argument, downloaded: &mut Downloaded) -> anyhow::Result<PathBuf> {
    let hub = hub(args)?;
    // What is no such model is refused before its weights are downloaded.
    let config = hub.with_files(name, |files| files.file(CONFIG_FILE))?;
    check_model(argument, name, config.as_deref())?;
    let kind = config.as_deref().and_then(model_type);
    let (path, repo, commit, file) = hub.with_files(name, |files| {
        let (weights, file) = weights(files, argument, kind.as_deref())?;
        let mut needed = weights.clone();
        if matches!(argument, Argument::Input | Argument::T5) && file.is_none() {
            needed.extend(files.info(TOKENIZER)?);
        }
        announce(&hub, files, &needed);
        let mut paths = Vec::new();
        for needed in &needed {
            paths.push(files.required(&needed.path)?);
        }
        let path = paths.into_iter().next().unwrap_or_default();
        Ok((path, files.repo().to_string(), files.commit().to_string(), file))
    })?;
    downloaded.add(&repo, &commit, file, &path);
    Ok(path)
}

/// The files with the weights, of which the first is opened, and its name if it stands alone.
fn weights(
    files: &HubFiles<'_>,
    argument: Argument,
    kind: Option<&str>,
) -> Result<(Vec<HubFileInfo>, Option<&'static str>), HubError> {
    // audiocraft's files hold one part of the model each, transformers' all of them.
    let alone = match (argument, kind) {
        (Argument::Input, Some(_)) | (Argument::T5, _) | (Argument::Codec, Some("encodec")) => None,
        (Argument::Input | Argument::Base, _) => Some(STATE_DICT),
        (Argument::Codec, _) => Some(COMPRESSION),
    };
    match alone {
        Some(alone) => match files.info(alone)? {
            Some(found) => Ok((vec![found], Some(alone))),
            None => Ok((files.weights()?, None)),
        },
        None => Ok((files.weights()?, None)),
    }
}

/// The codec beside audiocraft's language model in the same model of the hub, if there is one.
fn codec_beside(args: &Args, name: &HubName, downloaded: &mut Downloaded) -> anyhow::Result<Option<PathBuf>> {
    let hub = hub(args)?;
    let found = hub.with_files(name, |files| {
        let Some(found) = files.info(COMPRESSION)? else { return Ok(None) };
        announce(&hub, files, &[found]);
        Ok(Some((files.required(COMPRESSION)?, files.repo().to_string(), files.commit().to_string())))
    })?;
    let Some((path, repo, commit)) = found else { return Ok(None) };
    downloaded.add(&repo, &commit, Some(COMPRESSION), &path);
    follow(args, Argument::Codec, path, downloaded).map(Some)
}

/// The file that a codec's file points to, which is downloaded, or the file itself.
fn follow(args: &Args, argument: Argument, path: PathBuf, downloaded: &mut Downloaded) -> anyhow::Result<PathBuf> {
    if argument != Argument::Codec {
        return Ok(path);
    }
    let Some(pointed) = RecognizedMusicgen::pointed_model(&path) else { return Ok(path) };
    let Ok(name) = HubName::parse(&pointed) else { return Ok(path) };
    let from = downloaded.names.get(&path).cloned().unwrap_or_default();
    hub(args)?.note(&format!("{from} holds no weights and names {name}, which is taken"));
    fetch(args, &name, argument, downloaded)
}

/// Says what is about to be downloaded, and its size.
fn announce(hub: &Hub, files: &HubFiles<'_>, needed: &[HubFileInfo]) {
    let missing: Vec<&HubFileInfo> = needed.iter().filter(|file| !file.is_cached).collect();
    if missing.is_empty() {
        return;
    }
    let sizes: Option<Vec<u64>> = missing.iter().map(|file| file.size).collect();
    let total = sizes.map_or("files of unknown size".to_string(), |sizes| size(sizes.iter().sum()));
    let list: Vec<String> = missing
        .iter()
        .map(|file| file.size.map_or(file.path.clone(), |bytes| format!("{} {}", file.path, size(bytes))))
        .collect();
    hub.note(&format!("downloading {total} of {}: {}", files.repo(), list.join(", ")));
}

/// A number of bytes in decimal units.
fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.2} GB", bytes as f64 / 1e9),
        1_000_000.. => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.0} kB", (bytes as f64 / 1e3).ceil()),
    }
}

/// The `model_type` of a configuration; `None` if it has none or is no JSON.
fn model_type(config: &Path) -> Option<String> {
    let value = read_config(config)?;
    value.get("model_type").and_then(Value::as_str).map(str::to_string)
}

fn read_config(config: &Path) -> Option<Value> {
    let text = text_from_bytes(&std::fs::read(config).ok()?).ok()?;
    json_from_text(&text).ok()
}

/// Refuses a model whose configuration is that of another one.
fn check_model(argument: Argument, name: &HubName, config: Option<&Path>) -> anyhow::Result<()> {
    let Some(value) = config.and_then(read_config) else { return Ok(()) };
    let found = value.get("model_type").and_then(Value::as_str).unwrap_or("nothing");
    let (option, kinds, advice): (_, &[&str], _) = match argument {
        Argument::Input | Argument::Base => {
            // Its own message says why, such as for MusicGen-melody.
            if let Err(error) = MusicgenConfig::from_value(&value) {
                let option = if argument == Argument::Base { "--base " } else { "" };
                bail!("{option}{name}: config.json: {error}");
            }
            return Ok(());
        }
        Argument::Codec => ("--codec", &["encodec", "musicgen", "musicgen_melody"], "facebook/encodec_32khz"),
        Argument::T5 => ("--t5", &["t5", "musicgen"], "google-t5/t5-base"),
    };
    if !kinds.contains(&found) {
        bail!("{option} {name}: its config.json describes `{found}`, expected {}; give {advice}", kinds.join(" or "));
    }
    Ok(())
}
