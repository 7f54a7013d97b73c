//! The configuration of a release gate, `verify.yaml`: a list of checks. Its keys are listed once, with their types, in
//! `Entry`.

mod message;

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mert_arch::{ComputeType, LayerSelection, text_from_bytes};
use mert_audio::WindowPolicy;
use mert_runtime::DeviceKind;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::candidate::{ComputeOptions, ComputeUnits, Emulation, PackageEngine, PackageOptions};
use crate::check::{Check, Original};
use crate::gate::CompareOptions;
use crate::quantized::Codes;
use crate::tracks::Tracks;
use crate::{Result, Tolerances, VerifyError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GateFile {
    models: Vec<Entry>,
}

/// The keys of a model. They are flat in the file; [`Entry::into_check`] groups them by owner.
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
    #[serde(default, deserialize_with = "parsed")]
    window: Option<WindowPolicy>,
    #[serde(default)]
    ffmpeg: bool,
    #[serde(default, deserialize_with = "layers")]
    layers: LayerSelection,
    #[serde(default, deserialize_with = "parsed")]
    device: Option<DeviceKind>,
    dtype: Option<ComputeType>,
    #[serde(default, deserialize_with = "parsed")]
    engine: Option<PackageEngine>,
    #[serde(default, deserialize_with = "parsed")]
    compute_units: Option<ComputeUnits>,
    #[serde(default, deserialize_with = "parsed")]
    emulate: Option<Emulation>,
    #[serde(default)]
    isolate: bool,
    #[serde(default)]
    require_structure: bool,
    #[serde(default, deserialize_with = "parsed")]
    codes: Option<Codes>,
    #[serde(default)]
    tolerance: Tolerances,
}

/// Reads an optional text and parses it as the command line parses the option of the same name.
fn parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// Reads a selection of hidden states: `all`, a number, a list of numbers, or a text such as `0-12`.
fn layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LayerSelection, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`layers` must be `all`, a number, a list of numbers, or a text such as \"0-12\"")]
    enum Layers {
        One(i64),
        Several(Vec<i64>),
        Text(String),
    }

    match Option::deserialize(deserializer)? {
        None => Ok(LayerSelection::All),
        Some(Layers::One(layer)) => Ok(LayerSelection::Some([layer].into())),
        Some(Layers::Several(layers)) if layers.is_empty() => Err(D::Error::custom("`layers` is empty")),
        Some(Layers::Several(layers)) => Ok(LayerSelection::Some(layers.into_iter().collect())),
        Some(Layers::Text(text)) => text.parse().map_err(|e| D::Error::custom(format!("layers: {e}"))),
    }
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

/// Reads the checks of a `verify.yaml`. Paths in it are relative to its own folder; names on the hub (`hf://…`) are left
/// for the caller to resolve.
///
/// # Errors
/// [`VerifyError::GateFile`] for a file that is not a valid `verify.yaml`, with the position where known;
/// [`VerifyError::NothingToCompare`] for one without models.
pub fn read(path: &Path) -> Result<Vec<Check>> {
    let bytes = std::fs::read(path).map_err(|source| VerifyError::read(path, source))?;
    let text = text_from_bytes(&bytes).map_err(|reason| VerifyError::gate_file(path, reason))?;
    let file: GateFile = serde_yaml::from_str(&text).map_err(|e| VerifyError::gate_file(path, message::explain(&e)))?;
    if file.models.is_empty() {
        return Err(VerifyError::NothingToCompare(format!("{}: `models` is empty", path.display())));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let check = |(i, entry): (usize, Entry)| {
        entry.into_check(folder).map_err(|reason| VerifyError::gate_file(path, format!("models[{i}]: {reason}")))
    };
    file.models.into_iter().enumerate().map(check).collect()
}

/// A path relative to the file's folder, or a name on the hub as it is.
fn in_folder(folder: &Path, path: &Path) -> PathBuf {
    match path.starts_with("hf:") {
        true => path.to_path_buf(),
        false => folder.join(path),
    }
}

impl Entry {
    fn into_check(self, folder: &Path) -> Result<Check, String> {
        if self.references.is_empty() && self.checkpoint.is_none() {
            return Err("neither `references` nor `checkpoint` is given, so there is nothing to compare with".into());
        }
        let clips = !self.inputs.is_empty() || !self.audio.is_empty();
        if self.checkpoint.is_none() && (self.checkpoint_config.is_some() || clips) {
            return Err("`inputs`, `audio` and `checkpoint_config` require `checkpoint`".into());
        }
        if self.window.is_some() && self.audio.is_empty() {
            return Err("`window` requires `audio`".into());
        }
        if self.ffmpeg && self.audio.is_empty() {
            return Err("`ffmpeg` requires `audio`".into());
        }
        let package = PackageOptions { engine: self.engine, compute_units: self.compute_units, emulate: self.emulate };
        package.check()?;
        let relative = |paths: Vec<PathBuf>| paths.into_iter().map(|path| in_folder(folder, &path)).collect();
        Ok(Check {
            model: in_folder(folder, &self.model),
            references: relative(self.references),
            original: self.checkpoint.map(|path| Original {
                path: in_folder(folder, &path),
                config: self.checkpoint_config.map(|path| folder.join(path)),
                inputs: relative(self.inputs),
                tracks: Tracks { files: relative(self.audio), window: self.window, ffmpeg: self.ffmpeg },
            }),
            compare: CompareOptions {
                layers: self.layers,
                isolate: self.isolate,
                require_structure: self.require_structure,
                codes: self.codes,
                tolerances: self.tolerance,
                keep_frames: false,
            },
            compute: ComputeOptions { device: self.device.unwrap_or_default(), dtype: self.dtype },
            package,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(yaml: &str) -> Result<Vec<Check>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verify.yaml");
        std::fs::write(&path, yaml).unwrap();
        read(&path)
    }

    #[test]
    fn every_field() {
        let checks = checks(
            "models:\n  - model: a.safetensors\n    references: [r.npz, /abs]\n    layers: 0,6\n    device: metal\n    \
             dtype: f16\n    isolate: true\n    require_structure: true\n    codes: nearest\n    tolerance:\n      rounding: {nmse: 1e-6}\n  \
             - {model: b, checkpoint: c.bin, inputs: [x.npy], layers: 6}\n  \
             - {model: b, references: [r], layers: [1, 2]}\n",
        )
        .unwrap();
        assert_eq!(checks.len(), 3);
        assert!(checks[0].model.ends_with("a.safetensors") && checks[0].model.is_absolute());
        assert_eq!(checks[0].references[1], Path::new("/abs"));
        assert_eq!(checks[0].compare.layers.to_string(), "0,6");
        assert_eq!(checks[0].compute.device, DeviceKind::Metal);
        assert_eq!(checks[0].compute.dtype, Some(ComputeType::F16));
        assert!(checks[0].compare.isolate && checks[0].compare.require_structure);
        assert_eq!((checks[0].compare.codes, checks[1].compare.codes), (Some(Codes::Nearest), None));
        assert_ne!(checks[0].compare.tolerances, Tolerances::default());
        assert_eq!(checks[1].original.as_ref().unwrap().inputs.len(), 1);
        assert_eq!(checks[2].compare.layers.to_string(), "1,2");
    }

    #[test]
    fn one_path_is_a_list_of_one() {
        let references =
            |yaml: &str| checks(&format!("models:\n  - {{model: a, {yaml}}}")).unwrap().remove(0).references;
        let names =
            |paths: Vec<PathBuf>| -> Vec<_> { paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect() };
        assert_eq!(names(references("references: r.npz")), ["r.npz"]);
        assert_eq!(names(references("references: [2024, r.npz]")), ["2024", "r.npz"]);
        let checks = checks("models:\n  - {model: a, checkpoint: c, inputs: x.npy, audio: y.mp3}").unwrap();
        let original = checks[0].original.as_ref().unwrap();
        assert_eq!((original.inputs.len(), original.tracks.files.len()), (1, 1));
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
            (
                "models:\n  - {model: a, refrences: [r]}",
                "line 2 column 16: unknown field `refrences`: expected one of model",
            ),
            ("models:\n  - {model: a, refrences: [r]}", "; did you mean `references`?"),
            ("hello", "`key: value`"),
            ("", "begins with `models:`"),
        ] {
            let error = checks(yaml).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{yaml}: {error}");
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
            ("models:\n  - {model: a, references: [r], dtype: int4}", "int4"),
            ("modles: []", "modles"),
            ("", "unexpected end"),
        ] {
            let error = checks(yaml).unwrap_err().to_string();
            assert!(error.contains(word), "{yaml}: {error}");
        }
    }
}
