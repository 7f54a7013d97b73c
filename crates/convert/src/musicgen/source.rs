//! The files of a conversion of MusicGen: the model, its base, an adapter, T5 and the codec, opened and named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mert_arch::{CONFIG_FILE, printable_line};
use mert_checkpoint::{AdapterFile, Checkpoint, PlainCheckpoint, open_adapter, read_named_text};
use mert_fs::{MappedFile, sha256_mapped};
use rayon::prelude::*;
use serde::Serialize;

use super::error::MusicgenError;
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::options::MusicgenOptions;
use super::tensors::Found;
use crate::Result;

/// A file or folder of a conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedSource {
    /// The option that gave it, or `INPUT`.
    pub option: &'static str,
    /// Its path.
    pub path: PathBuf,
    /// The name that was given for it in place of the path, such as that of a model of the hub.
    pub name: Option<String>,
    /// Its kind in a few words.
    pub kind: &'static str,
    /// The size of its files of weights in bytes.
    pub bytes: u64,
}

/// The opened files, by number.
pub(super) struct Sources {
    /// The model that was named as the input.
    pub(super) main: RecognizedMusicgen,
    /// The files of options, in the order of their numbers, from 1.
    pub(super) base: Option<(usize, RecognizedMusicgen)>,
    pub(super) codec: Option<(usize, RecognizedMusicgen)>,
    pub(super) t5: Option<(usize, RecognizedMusicgen)>,
    pub(super) adapter: Option<(usize, AdapterFile)>,
    /// The names that messages and digests have for the sources, by number.
    labels: Vec<String>,
}

impl Sources {
    /// Opens the files that the options name.
    ///
    /// # Errors
    /// [`MusicgenError::OtherModel`] and [`MusicgenError::Pointer`] for files of another kind; errors of opening.
    pub(super) fn open(main: RecognizedMusicgen, options: &MusicgenOptions) -> Result<Self> {
        match main.kind {
            MusicgenKind::HuggingFace | MusicgenKind::Audiocraft | MusicgenKind::Instruct => {}
            MusicgenKind::Codec | MusicgenKind::T5 => {
                let found = format!("it is {}, a part of a MusicGen", main.kind.title());
                let advice = "give the language model as INPUT (audiocraft's state_dict.bin, Instruct-MusicGen's .ckpt, or a folder \
                              of transformers), and this with --codec or --t5";
                return Err(MusicgenError::OtherModel { option: "INPUT", path: main.path, found, advice }.into());
            }
        }
        let open = |path: &Option<PathBuf>, option, kinds: &[MusicgenKind], advice| {
            path.as_ref().map(|path| RecognizedMusicgen::open_as(path, option, kinds, advice)).transpose()
        };
        let base = [MusicgenKind::Audiocraft, MusicgenKind::HuggingFace];
        let base = open(&options.base, "--base", &base, "give audiocraft's state_dict.bin of the base model")?;
        let codec = [MusicgenKind::Codec, MusicgenKind::HuggingFace];
        let advice = "give facebook/encodec_32khz, a folder of it, or audiocraft's compression_state_dict.bin";
        let codec = open(&options.codec, "--codec", &codec, advice)?;
        let t5 = [MusicgenKind::T5, MusicgenKind::HuggingFace];
        let t5 = open(&options.t5, "--t5", &t5, "give google-t5/t5-base, or a folder of it")?;
        let adapter = options.adapter.as_ref().map(|path| open_adapter(path, options.lora_alpha)).transpose()?;
        let mut next = 0;
        let mut number = || {
            next += 1;
            next
        };
        let mut sources = Sources {
            main,
            base: base.map(|base| (number(), base)),
            codec: codec.map(|codec| (number(), codec)),
            t5: t5.map(|t5| (number(), t5)),
            adapter: adapter.map(|adapter| (number(), adapter)),
            labels: Vec::new(),
        };
        sources.labels = sources.labels(options);
        Ok(sources)
    }

    /// The files that hold a model, without the adapter.
    pub(super) fn recognized(&self) -> impl Iterator<Item = &RecognizedMusicgen> {
        let others = [&self.base, &self.codec, &self.t5].into_iter().flatten().map(|(_, source)| source);
        std::iter::once(&self.main).chain(others)
    }

    /// The option and path of each source, by number.
    fn named<'a>(&'a self, options: &'a MusicgenOptions) -> Vec<(&'static str, &'a Path, &'static str)> {
        let mut named = vec![("INPUT", self.main.path.as_path(), self.main.kind.title())];
        let of = |option, source: &'a Option<(usize, RecognizedMusicgen)>| {
            source.as_ref().map(|(_, source)| (option, source.path.as_path(), source.kind.title()))
        };
        named.extend(of("--base", &self.base));
        named.extend(of("--codec", &self.codec));
        named.extend(of("--t5", &self.t5));
        named.extend(options.adapter.as_deref().map(|path| ("--adapter", path, "an adapter (LoRA)")));
        named
    }

    /// The file name of each source, or its option before the name where two have the same.
    fn labels(&self, options: &MusicgenOptions) -> Vec<String> {
        let named = self.named(options);
        let name = |path: &Path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = options.source_names.get(path).cloned().or(name);
            printable_line(&name.unwrap_or_else(|| path.display().to_string()))
        };
        let label = |&(option, path, _): &(&str, &Path, _)| {
            let own = name(path);
            let is_unique = named.iter().filter(|(_, other, _)| name(other) == own).count() == 1;
            if is_unique { own } else { format!("{}/{own}", option.trim_start_matches('-').to_lowercase()) }
        };
        named.iter().map(label).collect()
    }

    /// The sources for a plan.
    pub(super) fn planned(&self, options: &MusicgenOptions) -> Vec<PlannedSource> {
        let bytes = |number| self.files(number).iter().map(|file| file.bytes().len() as u64).sum();
        let planned = |(number, (option, path, kind)): (usize, (&'static str, &Path, &'static str))| PlannedSource {
            option,
            path: path.to_path_buf(),
            name: options.source_names.get(path).cloned(),
            kind,
            bytes: bytes(number),
        };
        self.named(options).into_iter().enumerate().map(planned).collect()
    }

    /// The reader of a source.
    pub(super) fn checkpoint(&self, number: usize) -> Option<&dyn Checkpoint> {
        if number == 0 {
            return Some(self.main.checkpoint());
        }
        let found = [&self.base, &self.codec, &self.t5].into_iter().flatten().find(|(at, _)| *at == number);
        let adapter = || self.adapter.as_ref().filter(|(at, _)| *at == number);
        found.map(|(_, source)| source.checkpoint()).or_else(|| adapter().map(|(_, file)| file.checkpoint.as_ref()))
    }

    fn files(&self, number: usize) -> Vec<&MappedFile> {
        self.checkpoint(number).map(Checkpoint::files).unwrap_or_default()
    }

    /// The name of a tensor among those of all sources: the source, the key, and which third.
    pub(super) fn assembled_name(&self, found: &Found) -> String {
        let third = found.third.map(|third| format!(" (part {} of 3)", third + 1)).unwrap_or_default();
        self.key_name(found) + &third
    }

    /// The source and the key of a tensor.
    pub(super) fn key_name(&self, found: &Found) -> String {
        let label = self.labels.get(found.source).map_or("", String::as_str);
        printable_line(&format!("{label}:{}", found.key))
    }

    /// The readers of all sources in the order of their numbers, with the names for the digests of their files.
    pub(super) fn into_checkpoints(self) -> (Vec<Box<dyn Checkpoint>>, DigestNames) {
        let names = DigestNames::new(&self);
        let plain = |source: Option<(usize, RecognizedMusicgen)>| {
            source.map(|(_, RecognizedMusicgen { opened: PlainCheckpoint { checkpoint, .. }, .. })| checkpoint)
        };
        let mut checkpoints = vec![self.main.opened.checkpoint];
        checkpoints.extend(plain(self.base));
        checkpoints.extend(plain(self.codec));
        checkpoints.extend(plain(self.t5));
        checkpoints.extend(self.adapter.map(|(_, file)| file.checkpoint));
        (checkpoints, names)
    }
}

/// The names under which the digests of the sources' files are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DigestNames(Vec<String>);

impl DigestNames {
    fn new(sources: &Sources) -> Self {
        let file_name = |file: &MappedFile| {
            let name = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            printable_line(&name)
        };
        let mut names = Vec::new();
        for (number, label) in sources.labels.iter().enumerate() {
            for file in sources.files(number) {
                let name = file_name(file);
                // A folder's files are named after it, so that those of two folders differ.
                names.push(if name == *label || label.ends_with(&format!("/{name}")) {
                    label.clone()
                } else {
                    format!("{label}/{name}")
                });
            }
        }
        DigestNames(names)
    }

    /// The SHA-256 of every file by its name, as JSON; `None` if `cancelled` is set before all are known.
    pub(super) fn digests(&self, files: &[&MappedFile], cancelled: &AtomicBool) -> Option<String> {
        let digests: Option<Vec<String>> = files.par_iter().map(|file| sha256_mapped(file, cancelled)).collect();
        Some(self.to_json(digests?))
    }

    /// JSON of the same length as that of every digest.
    pub(super) fn placeholder(&self) -> String {
        self.to_json(vec!["0".repeat(64); self.0.len()])
    }

    fn to_json(&self, digests: Vec<String>) -> String {
        let map: BTreeMap<&String, String> = self.0.iter().zip(digests).collect();
        serde_json::to_string(&map).unwrap_or_default()
    }
}

impl RecognizedMusicgen {
    /// The JSON of the `config.json` beside the weights; `None` if there is none.
    ///
    /// # Errors
    /// Errors of reading it.
    pub(super) fn config_text(&self) -> Result<Option<(PathBuf, String)>> {
        self.text_beside(CONFIG_FILE)
    }

    /// The text of a file beside the weights; `None` if there is none.
    pub(super) fn text_beside(&self, name: &str) -> Result<Option<(PathBuf, String)>> {
        let path = self.opened.folder.join(name);
        match path.is_file() {
            true => {
                let text = read_named_text(&path, name)?;
                Ok(Some((path, text)))
            }
            false => Ok(None),
        }
    }
}
