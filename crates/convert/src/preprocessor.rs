//! What happens to audio before it enters the model: where that is stated, and what to do where statements differ.

use std::fmt;
use std::path::{Path, PathBuf};

use mert_spec::{Config, KnownCheckpoint, Preprocessor, PreprocessorConfig};
use serde::{Serialize, Serializer};

use crate::source::read_text;
use crate::{ConfigOrigin, ConvertError, Result, Source};

/// What the user may decide about the preprocessor.
#[derive(Debug, Clone, Default)]
pub struct PreprocessorOptions {
    /// The `preprocessor_config.json` to use instead of the one found with the checkpoint.
    pub file: Option<PathBuf>,
    /// Samples per second of the audio that the model takes, in hertz, whatever files say.
    pub sampling_rate: Option<u32>,
    /// Whether windows are normalised, whatever files say.
    pub do_normalize: Option<bool>,
}

/// The preprocessor that goes with a checkpoint, and where each of its fields comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedPreprocessor {
    /// The preprocessor.
    #[serde(flatten)]
    pub preprocessor: Preprocessor,
    /// Where `sampling_rate` comes from.
    pub sampling_rate_origin: PreprocessorOrigin,
    /// Where `do_normalize` comes from.
    pub do_normalize_origin: PreprocessorOrigin,
}

/// Where a field of the preprocessor comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PreprocessorOrigin {
    /// The option of this name.
    Option(&'static str),
    /// A `preprocessor_config.json`, or `processor_config.json`.
    File(PathBuf),
    /// The `config.json` of the model.
    Config(PathBuf),
    /// What is known of the published checkpoint of this name.
    Known(&'static str),
    /// Nothing says it: an assumption, in a few words.
    Assumed(&'static str),
}

impl PreprocessorOrigin {
    /// As converted files record it, without the user's folders: the same input gives the same bytes anywhere.
    fn recorded(&self) -> String {
        match self {
            PreprocessorOrigin::File(path) | PreprocessorOrigin::Config(path) => {
                path.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            other => other.to_string(),
        }
    }

    /// Whether nothing says it.
    pub fn is_assumed(&self) -> bool {
        matches!(self, PreprocessorOrigin::Assumed(_))
    }
}

impl fmt::Display for PreprocessorOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PreprocessorOrigin::Option(name) => f.write_str(name),
            PreprocessorOrigin::File(path) | PreprocessorOrigin::Config(path) => write!(f, "{}", path.display()),
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

/// Statements about one field, each with its origin.
type Statements<T> = Vec<(T, PreprocessorOrigin)>;

impl PlannedPreprocessor {
    /// Finds out what goes with a checkpoint: an option decides; else files and what is known of published checkpoints
    /// must agree; else the usual is assumed.
    ///
    /// # Errors
    /// [`ConvertError::Contradiction`] for statements that differ; [`ConvertError::Config`] for a file that cannot be used.
    pub(crate) fn find(
        source: &Source,
        config: &Config,
        config_origin: &ConfigOrigin,
        options: &PreprocessorOptions,
    ) -> Result<Self> {
        let (mut rates, mut normalize) = (Statements::new(), Statements::new());
        let decided = options.sampling_rate.is_some() && options.do_normalize.is_some();
        if let Some(path) = options.file.as_ref().or(source.preprocessor_file.as_ref()).filter(|_| !decided) {
            let stated = read(path)?;
            let origin = || PreprocessorOrigin::File(path.clone());
            rates.extend(stated.sampling_rate.map(|rate| (rate, origin())));
            normalize.extend(stated.do_normalize.map(|normalize| (normalize, origin())));
        }
        if let (Some(rate), ConfigOrigin::File(path)) = (config.sample_rate, config_origin) {
            rates.push((rate, PreprocessorOrigin::Config(path.clone())));
        }
        // Which checkpoint it is takes half a conversion to find out: only where nothing else says what it takes.
        let unstated = !decided && (rates.is_empty() || normalize.is_empty());
        if let Some(known) = source.known(unstated) {
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
            .unwrap_or((true, assumed_normalize(config)));
        let preprocessor = Preprocessor { do_normalize, sampling_rate };
        Ok(PlannedPreprocessor { preprocessor, sampling_rate_origin, do_normalize_origin })
    }

    /// What a converted file says about the origin.
    pub(crate) fn recorded_origin(&self) -> String {
        let (rate, normalize) = (self.sampling_rate_origin.recorded(), self.do_normalize_origin.recorded());
        format!("sampling_rate: {rate}; do_normalize: {normalize}")
    }

    /// Refuses a preprocessor that a known checkpoint contradicts, once it is clear that the source is that checkpoint.
    pub(crate) fn check_known(&self, known: &KnownCheckpoint) -> Result<()> {
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

/// The value of statements that agree; `None` without any.
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

fn assumed_rate(config: &Config, config_origin: &ConfigOrigin) -> PreprocessorOrigin {
    PreprocessorOrigin::Assumed(match (config_origin, config.model_type.as_str()) {
        (ConfigOrigin::Inferred { .. }, _) => "HuBERT takes 16000 Hz; most MERT take 24000 Hz",
        (_, "mert_model") => "most MERT take 24000 Hz; MERT-v0 takes 16000 Hz",
        _ => "HuBERT takes 16000 Hz",
    })
}

fn assumed_normalize(config: &Config) -> PreprocessorOrigin {
    PreprocessorOrigin::Assumed(if config.feat_proj_layer_norm {
        "Wav2Vec2FeatureExtractor's default"
    } else {
        "Wav2Vec2FeatureExtractor's default; DistilHuBERT, which has this architecture, has false"
    })
}

fn read(path: &Path) -> Result<PreprocessorConfig> {
    let text = read_text(path)?;
    PreprocessorConfig::from_json(&text).map_err(|source| ConvertError::Config { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use mert_spec::KNOWN_CHECKPOINTS;

    use super::*;

    /// What is found out when all is written, as the digest takes as long.
    #[test]
    fn a_known_checkpoint_contradicts_what_files_say() {
        let [mert_v1, mert_v0] = KNOWN_CHECKPOINTS;
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
