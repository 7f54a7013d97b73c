//! `verify.yaml`: the jobs of a release gate.

mod message;

use std::fmt;
use std::path::{Path, PathBuf};

use mert_arch::{Dtype, LayerSelection, text_from_bytes};
use mert_runtime::DeviceKind;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::candidate::PackageEngine;
use crate::job::{CheckpointJob, Job};
use crate::tracks::Tracks;
use crate::{Options, Result, Tolerances, VerifyError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    models: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: PathBuf,
    #[serde(default, deserialize_with = "paths")]
    references: Vec<PathBuf>,
    checkpoint: Option<PathBuf>,
    checkpoint_config: Option<PathBuf>,
    #[serde(default, deserialize_with = "paths")]
    inputs: Vec<PathBuf>,
    #[serde(default, deserialize_with = "paths")]
    audio: Vec<PathBuf>,
    window: Option<String>,
    #[serde(default)]
    ffmpeg: bool,
    layers: Option<Layers>,
    device: Option<String>,
    dtype: Option<Dtype>,
    engine: Option<String>,
    compute_units: Option<String>,
    emulate: Option<String>,
    #[serde(default)]
    isolate: bool,
    #[serde(default)]
    require_structure: bool,
    #[serde(default)]
    tolerance: Tolerances,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`layers` must be `all`, a number, a list of numbers, or a text such as \"0-12\"")]
enum Layers {
    One(i64),
    Several(Vec<i64>),
    Text(String),
}

/// Reads a list of paths, or one path as a list of one.
fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    struct Paths;

    impl<'de> Visitor<'de> for Paths {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of paths, such as [a.npz]")
        }

        fn visit_str<E>(self, path: &str) -> Result<Self::Value, E> {
            Ok(vec![path.into()])
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(Paths)
}

/// Reads a `verify.yaml`: the jobs of a release gate. Paths in it are relative to its own folder; names on the hub
/// (`hf://…`) are left for the caller to resolve.
///
/// # Errors
/// [`VerifyError::Suite`] for a file that is not one, with the place where known;
/// [`VerifyError::NothingToCompare`] for one without models.
pub fn read_suite(path: &Path) -> Result<Vec<Job>> {
    let bytes = std::fs::read(path).map_err(|source| VerifyError::Open { path: path.to_path_buf(), source })?;
    let wrong = |reason: String| VerifyError::Suite { path: path.to_path_buf(), reason };
    let text = text_from_bytes(&bytes).map_err(wrong)?;
    let suite: Suite = serde_yaml::from_str(&text).map_err(|e| wrong(message::explain(&e)))?;
    if suite.models.is_empty() {
        return Err(VerifyError::NothingToCompare(format!("{}: `models` is empty", path.display())));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let job =
        |(i, entry): (usize, Entry)| entry.into_job(folder).map_err(|reason| wrong(format!("models[{i}]: {reason}")));
    suite.models.into_iter().enumerate().map(job).collect()
}

/// A path relative to the suite's folder, or a name on the hub as it is.
fn in_folder(folder: &Path, path: &Path) -> PathBuf {
    match path.starts_with("hf:") {
        true => path.to_path_buf(),
        false => folder.join(path),
    }
}

impl Entry {
    fn into_job(self, folder: &Path) -> Result<Job, String> {
        if self.references.is_empty() && self.checkpoint.is_none() {
            return Err("neither `references` nor `checkpoint` is given, so there is nothing to compare with".into());
        }
        let clips = !self.inputs.is_empty() || !self.audio.is_empty();
        if self.checkpoint.is_none() && (self.checkpoint_config.is_some() || clips) {
            return Err("`inputs`, `audio` and `checkpoint_config` go with `checkpoint`".into());
        }
        if self.window.is_some() && self.audio.is_empty() {
            return Err("`window` goes with `audio`".into());
        }
        if self.ffmpeg && self.audio.is_empty() {
            return Err("`ffmpeg` goes with `audio`".into());
        }
        let window = self.window.map(|window| window.parse()).transpose();
        let window = window.map_err(|error: mert_audio::AudioError| error.to_string())?;
        let layers = match self.layers {
            None => LayerSelection::All,
            Some(Layers::One(layer)) => LayerSelection::Some([layer].into()),
            Some(Layers::Several(layers)) if layers.is_empty() => return Err("`layers` is empty".into()),
            Some(Layers::Several(layers)) => LayerSelection::Some(layers.into_iter().collect()),
            Some(Layers::Text(text)) => text.parse().map_err(|e| format!("layers: {e}"))?,
        };
        let device: DeviceKind = match self.device {
            None => DeviceKind::Cpu,
            Some(name) => name.parse()?,
        };
        let units = self.compute_units.map(|units| units.parse()).transpose()?;
        let engine = PackageEngine::chosen(self.engine.as_deref(), units)?;
        let emulate = self.emulate.map(|emulate| emulate.parse()).transpose()?;
        let relative = |paths: Vec<PathBuf>| paths.into_iter().map(|path| in_folder(folder, &path)).collect();
        Ok(Job {
            model: in_folder(folder, &self.model),
            references: relative(self.references),
            checkpoint: self.checkpoint.map(|path| CheckpointJob {
                path: in_folder(folder, &path),
                config: self.checkpoint_config.map(|path| folder.join(path)),
                inputs: relative(self.inputs),
                tracks: Tracks { files: relative(self.audio), window, ffmpeg: self.ffmpeg },
            }),
            options: Options {
                layers,
                device,
                compute: self.dtype,
                engine,
                emulate,
                isolate: self.isolate,
                require_structure: self.require_structure,
                tolerances: self.tolerance,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Vec<Job>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verify.yaml");
        std::fs::write(&path, yaml).unwrap();
        read_suite(&path)
    }

    #[test]
    fn every_field() {
        let jobs = read(
            "models:\n  - model: a.safetensors\n    references: [r.npz, /abs]\n    layers: 0,6\n    device: metal\n    \
             dtype: f16\n    isolate: true\n    require_structure: true\n    tolerance:\n      rounding: {nmse: 1e-6}\n  \
             - {model: b, checkpoint: c.bin, inputs: [x.npy], layers: 6}\n  \
             - {model: b, references: [r], layers: [1, 2]}\n",
        )
        .unwrap();
        assert_eq!(jobs.len(), 3);
        assert!(jobs[0].model.ends_with("a.safetensors") && jobs[0].model.is_absolute());
        assert_eq!(jobs[0].references[1], Path::new("/abs"));
        assert_eq!(jobs[0].options.layers.to_string(), "0,6");
        assert_eq!(jobs[0].options.device, DeviceKind::Metal);
        assert_eq!(jobs[0].options.compute, Some(Dtype::F16));
        assert!(jobs[0].options.isolate && jobs[0].options.require_structure);
        assert_ne!(jobs[0].options.tolerances, Tolerances::default());
        assert_eq!(jobs[1].checkpoint.as_ref().unwrap().inputs.len(), 1);
        assert_eq!(jobs[2].options.layers.to_string(), "1,2");
    }

    #[test]
    fn one_path_is_a_list_of_one() {
        let references = |yaml: &str| read(&format!("models:\n  - {{model: a, {yaml}}}")).unwrap().remove(0).references;
        let names =
            |paths: Vec<PathBuf>| -> Vec<_> { paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect() };
        assert_eq!(names(references("references: r.npz")), ["r.npz"]);
        assert_eq!(names(references("references: [2024, r.npz]")), ["2024", "r.npz"]);
        let jobs = read("models:\n  - {model: a, checkpoint: c, inputs: x.npy, audio: y.mp3}").unwrap();
        let checkpoint = jobs[0].checkpoint.as_ref().unwrap();
        assert_eq!((checkpoint.inputs.len(), checkpoint.tracks.files.len()), (1, 1));
    }

    #[test]
    fn messages_say_what_to_change_in_the_file() {
        let entry = "models:\n  - {model: a, references: [r]}\n";
        for (yaml, words) in [
            ("models:\n  - {model: a, model: b, references: [r]}", "line 2 column 16: a second `model:`"),
            (&format!("{entry}{entry}"), "a second `models:`"),
            ("models:\n  - {model: a, references: [r], layers: 1, layers: 2}", "a second `layers:`"),
            (&format!("{entry}---\n{entry}"), "remove the line `---`"),
            ("models: 3", "expected a list"),
            ("models:\n  - {model: a, references: {a: b}}", "expected a list of paths, such as [a.npz]"),
            ("models:\n  - {model: a, references: 3}", "expected a list of paths, such as [a.npz]"),
            ("models:\n  - {model: [a], references: [r]}", "expected one text"),
            ("models:\n  - {model: , references: [r]}", "the value is missing"),
            ("models:\n  - {model: a, references: [r], tolerance: 3}", "`key: value`"),
            ("models:\n  - {model: a, references: [r], isolate: maybe}", "expected true or false"),
            ("models:\n  - {model: a, references: [r], tolerance: {structure: {nmse: low}}}", "such as 1e-6"),
            ("models:\n  - {model: *a, references: [r]}", "quote it"),
            ("hello", "`key: value`"),
            ("", "begins with `models:`"),
        ] {
            let error = read(yaml).unwrap_err().to_string();
            assert!(error.contains(words), "{yaml}: {error}");
            for internal in ["Options", "from_str", "sequence start", "mapping start", "scalar", "null"] {
                assert!(!error.contains(internal), "{yaml}: {error}");
            }
        }
    }

    #[test]
    fn a_gate_that_could_not_fail_is_refused() {
        for (yaml, word) in [
            ("models: []", "empty"),
            ("models:\n  - model: a", "nothing to compare"),
            ("models:\n  - {model: a, references: []}", "nothing to compare"),
            ("models:\n  - {model: a, references: [r], layers: []}", "empty"),
            ("models:\n  - {model: a, references: [r], layers: none}", "none"),
            ("models:\n  - {model: a, references: [r], layer: all}", "layer"),
            ("models:\n  - {model: a, references: [r], inputs: [x.npy]}", "checkpoint"),
            ("models:\n  - {model: a, references: [r], audio: [x.mp3]}", "checkpoint"),
            ("models:\n  - {model: a, checkpoint: c, window: whole}", "audio"),
            ("models:\n  - {model: a, checkpoint: c, audio: [x.mp3], window: 5s}", "5s"),
            ("models:\n  - {model: a, references: [r], device: tpu}", "tpu"),
            ("models:\n  - {model: a, references: [r], dtype: int8}", "int8"),
            ("modles: []", "modles"),
            ("", "unexpected end"),
        ] {
            let error = read(yaml).unwrap_err().to_string();
            assert!(error.contains(word), "{yaml}: {error}");
        }
    }
}
