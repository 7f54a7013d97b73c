//! The preprocessor of a checkpoint: the sources of its fields, and the resolution of conflicts between them.

use std::fmt;
use std::path::{Path, PathBuf};

use mert_arch::fairseq::FairseqTask;
use mert_arch::naming::NamingScheme;
use mert_arch::{
    Config, FeatureExtractorNorm, KnownCheckpoint, ModelConfig, PREPROCESSOR_FILES, Preprocessor, PreprocessorConfig,
};
use mert_checkpoint::{Source, read_named_text};
use serde::{Serialize, Serializer};

use super::config::ConfigOrigin;
use super::options::PreprocessorOptions;
use crate::{ConvertError, Result};

/// The preprocessor of a checkpoint, and the origin of each field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedPreprocessor {
    /// The preprocessor.
    #[serde(flatten)]
    pub preprocessor: Preprocessor,
    /// The origin of `sampling_rate`.
    pub sampling_rate_origin: PreprocessorOrigin,
    /// The origin of `do_normalize`.
    pub do_normalize_origin: PreprocessorOrigin,
}

/// The origin of a preprocessor field.
#[derive(Debug, Clone, PartialEq)]
pub enum PreprocessorOrigin {
    /// A command-line option, by name.
    Option(&'static str),
    /// A `preprocessor_config.json` or `processor_config.json`.
    File(PathBuf),
    /// The model's `config.json`.
    Config(PathBuf),
    /// The training configuration in the checkpoint (fairseq's `cfg`).
    Cfg,
    /// A published checkpoint, by name.
    Known(&'static str),
    /// An assumption, with its reason in a few words.
    Assumed(&'static str),
}

impl PreprocessorOrigin {
    /// The origin as converted files record it, without folders, so that the same input gives the same bytes anywhere.
    fn recorded(&self) -> String {
        match self {
            PreprocessorOrigin::File(path) | PreprocessorOrigin::Config(path) => {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            other => other.to_string(),
        }
    }

    /// Whether the value is an assumption.
    pub fn is_assumed(&self) -> bool {
        matches!(self, PreprocessorOrigin::Assumed(_))
    }
}

impl fmt::Display for PreprocessorOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PreprocessorOrigin::Option(name) => f.write_str(name),
            PreprocessorOrigin::File(path) | PreprocessorOrigin::Config(path) => write!(f, "{}", path.display()),
            PreprocessorOrigin::Cfg => f.write_str("cfg in the checkpoint"),
            PreprocessorOrigin::Known(name) => write!(f, "known of {name}"),
            PreprocessorOrigin::Assumed(why) => write!(f, "assumed: {why}"),
        }
    }
}

impl Serialize for PreprocessorOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The stated values of a field, each with its origin.
type Statements<T> = Vec<(T, PreprocessorOrigin)>;

impl PlannedPreprocessor {
    /// Refuses an audio input that no file states, for an output that states it. `output` names it in the message.
    ///
    /// # Errors
    /// [`ConvertError::UnknownInput`].
    pub(super) fn check_stated(&self, output: &str) -> Result<()> {
        let inputs = [
            ("sampling_rate", "--sampling-rate HZ", &self.sampling_rate_origin),
            ("do_normalize", "--do-normalize true|false", &self.do_normalize_origin),
        ];
        let (fields, options): (Vec<_>, Vec<_>) = inputs
            .into_iter()
            .filter(|(_, _, origin)| origin.is_assumed())
            .map(|(field, option, _)| (format!("`{field}`"), option))
            .unzip();
        if fields.is_empty() {
            return Ok(());
        }
        let (fields, options) = (fields.join(" and "), options.join(" "));
        Err(ConvertError::UnknownInput { output: output.into(), fields, options })
    }

    /// Determines the preprocessor of a checkpoint. An option takes precedence; files and published checkpoints must agree;
    /// without either, the default is assumed.
    ///
    /// # Errors
    /// [`ConvertError::Contradiction`] for conflicting values; [`ConvertError::Config`] for an invalid file.
    pub(super) fn find(
        source: &Source,
        config: &Config,
        config_origin: &ConfigOrigin,
        task: Option<&FairseqTask>,
        naming: NamingScheme,
        options: &PreprocessorOptions,
    ) -> Result<Self> {
        let (mut rates, mut normalize) = (Statements::new(), Statements::new());
        let decided = options.sampling_rate.is_some() && options.do_normalize.is_some();
        let files = match &options.file {
            Some(file) => std::slice::from_ref(file),
            None if decided => &[],
            None => &source.preprocessor_files,
        };
        for path in files {
            let stated = read(path)?;
            let origin = || PreprocessorOrigin::File(path.clone());
            rates.extend(stated.sampling_rate.map(|rate| (rate, origin())));
            normalize.extend(stated.do_normalize.map(|normalize| (normalize, origin())));
        }
        if let (Some(rate), ConfigOrigin::File(path)) = (config.sample_rate, config_origin) {
            rates.push((rate, PreprocessorOrigin::Config(path.clone())));
        }
        if let Some(task) = task {
            let normalize_error = task.normalize_error.as_ref().filter(|_| options.do_normalize.is_none());
            let rate_error = task.sample_rate_error.as_ref().filter(|_| options.sampling_rate.is_none());
            if let Some(error) = normalize_error.or(rate_error) {
                return Err(ConvertError::cfg(source, error.clone()));
            }
            rates.extend(task.sample_rate.map(|rate| (rate, PreprocessorOrigin::Cfg)));
            normalize.extend(task.normalize.map(|normalize| (normalize, PreprocessorOrigin::Cfg)));
        }
        // Identifying a published checkpoint takes half as long as a conversion: only if nothing else states its input.
        let is_unstated = !decided && (rates.is_empty() || normalize.is_empty());
        if let Some(known) = source.known(is_unstated) {
            rates.push((known.sampling_rate, PreprocessorOrigin::Known(known.name)));
            normalize.push((known.do_normalize, PreprocessorOrigin::Known(known.name)));
        }
        if let Some(rate) = options.sampling_rate {
            rates = vec![(rate, PreprocessorOrigin::Option("--sampling-rate"))];
        }
        if let Some(given) = options.do_normalize {
            normalize = vec![(given, PreprocessorOrigin::Option("--do-normalize"))];
        }
        let (sampling_rate, sampling_rate_origin) = agreed(rates, "sampling_rate", "--sampling-rate HZ")?
            .unwrap_or_else(|| (Preprocessor::assumed(config).sampling_rate, assumed_rate(config, config_origin)));
        let (do_normalize, do_normalize_origin) = agreed(normalize, "do_normalize", "--do-normalize true|false")?
            .unwrap_or_else(|| match task {
                Some(_) => {
                    (false, PreprocessorOrigin::Assumed("fairseq's default, as the checkpoint's cfg does not state it"))
                }
                None => assumed_normalize(config, naming),
            });
        let preprocessor = Preprocessor { do_normalize, sampling_rate };
        Ok(PlannedPreprocessor { preprocessor, sampling_rate_origin, do_normalize_origin })
    }

    /// The origins in the form that a converted file records.
    pub(super) fn recorded_origin(&self) -> String {
        let (rate, normalize) = (self.sampling_rate_origin.recorded(), self.do_normalize_origin.recorded());
        format!("sampling_rate: {rate}; do_normalize: {normalize}")
    }

    /// Refuses a preprocessor that contradicts `known`, once the source is identified as that checkpoint.
    pub(super) fn check_known(&self, known: &KnownCheckpoint) -> Result<()> {
        let known_origin = || PreprocessorOrigin::Known(known.name);
        let Preprocessor { do_normalize, sampling_rate } = self.preprocessor;
        if !matches!(self.sampling_rate_origin, PreprocessorOrigin::Option(_)) {
            let statements =
                vec![(sampling_rate, self.sampling_rate_origin.clone()), (known.sampling_rate, known_origin())];
            agreed(statements, "sampling_rate", "--sampling-rate HZ")?;
        }
        if !matches!(self.do_normalize_origin, PreprocessorOrigin::Option(_)) {
            let statements =
                vec![(do_normalize, self.do_normalize_origin.clone()), (known.do_normalize, known_origin())];
            agreed(statements, "do_normalize", "--do-normalize true|false")?;
        }
        Ok(())
    }
}

/// The value on which all statements agree; `None` without statements.
fn agreed<T: PartialEq + Copy + fmt::Display>(
    statements: Statements<T>,
    field: &'static str,
    option: &'static str,
) -> Result<Option<(T, PreprocessorOrigin)>> {
    let Some(first) = statements.first().cloned() else { return Ok(None) };
    if statements.iter().all(|(value, _)| *value == first.0) {
        return Ok(Some(first));
    }
    let statements = statements.iter().map(|(value, origin)| format!("{value} ({origin})")).collect();
    Err(ConvertError::Contradiction { field, statements, option })
}

/// The reason for an assumed sampling rate.
fn assumed_rate(config: &Config, config_origin: &ConfigOrigin) -> PreprocessorOrigin {
    PreprocessorOrigin::Assumed(match (config_origin, config.model) {
        (_, ModelConfig::Mert) => "most MERT take 24000 Hz; MERT-v0 takes 16000 Hz",
        (ConfigOrigin::Inferred { .. }, ModelConfig::Hubert(_)) => "HuBERT takes 16000 Hz; most MERT take 24000 Hz",
        (_, ModelConfig::Hubert(_)) => "HuBERT takes 16000 Hz",
        _ => "the published models of this family take 16000 Hz",
    })
}

/// The assumed normalisation, and the reason for it.
fn assumed_normalize(config: &Config, naming: NamingScheme) -> (bool, PreprocessorOrigin) {
    let has_group_norm = config.feat_extract_norm == FeatureExtractorNorm::Group;
    let (do_normalize, why) = match (config.model, naming, has_group_norm) {
        (ModelConfig::WavLm(_), _, true) => (false, "WavLM base and base+, which have this norm, have false"),
        (ModelConfig::WavLm(_), _, false) => (true, "WavLM large, which has these norms, has true"),
        (_, NamingScheme::HuggingFace, _) if !config.feat_proj_layer_norm => {
            (true, "Wav2Vec2FeatureExtractor's default; DistilHuBERT, which has this architecture, has false")
        }
        (ModelConfig::Hubert(_), NamingScheme::HuggingFace, true) => {
            (true, "Wav2Vec2FeatureExtractor's default; ContentVec, which has this architecture, takes false")
        }
        (_, NamingScheme::HuggingFace, _) => (true, "Wav2Vec2FeatureExtractor's default"),
        (_, _, true) => (false, "the published models of fairseq and torchaudio with a group norm have false"),
        (_, _, false) => (true, "the published models of fairseq and torchaudio with layer norms have true"),
    };
    (do_normalize, PreprocessorOrigin::Assumed(why))
}

/// Reads a preprocessor's file.
fn read(path: &Path) -> Result<PreprocessorConfig> {
    let text = read_named_text(path, PREPROCESSOR_FILES[0])?;
    PreprocessorConfig::from_json(&text).map_err(|source| ConvertError::config(path, source))
}

#[cfg(test)]
mod tests {
    use mert_arch::KNOWN_CHECKPOINTS;

    use super::*;

    /// The digest is known only after everything is written, because it takes as long.
    #[test]
    fn a_known_checkpoint_contradicts_what_files_say() {
        let [mert_v1, mert_v0, ..] = KNOWN_CHECKPOINTS;
        let planned = |rate_origin, normalize_origin| PlannedPreprocessor {
            preprocessor: mert_v1.preprocessor(),
            sampling_rate_origin: rate_origin,
            do_normalize_origin: normalize_origin,
        };
        let file = || PreprocessorOrigin::File("preprocessor_config.json".into());
        let option = || PreprocessorOrigin::Option("--x");
        planned(file(), file()).check_known(&mert_v1).unwrap();
        planned(option(), option()).check_known(&mert_v0).unwrap();
        for (planned, field) in [
            (planned(file(), file()), "sampling_rate"),
            (planned(file(), option()), "sampling_rate"),
            (planned(option(), file()), "do_normalize"),
        ] {
            let error = planned.check_known(&mert_v0).unwrap_err().to_string();
            assert!(error.contains(field) && error.contains("MERT-v0-public"), "{error}");
        }
    }
}
