//! The plan of a conversion: the treatment of every tensor, decided before anything is written.

mod planner;

use std::collections::BTreeMap;
use std::path::PathBuf;

use mert_arch::{
    Config, ConfigField, Dtype, Inferred, Layout, Metadata, Role, infer_config, inventory, known_by_sha256,
    printable_line,
};
use serde::Serialize;

use self::planner::{Planner, is_dropped};
use crate::other_encoder::{is_inside, other_encoder};
use crate::preprocessor::{PlannedPreprocessor, PreprocessorOptions};
use crate::transform::{Cast, FuseWeightNorm, Transpose};
use mert_checkpoint::Source;
use mert_checkpoint::{Beside, CheckpointError, Listing, Prefix, changed, find_prefix, objects, read_given};

use crate::{ConvertError, GENERATOR, Problem, Result};

/// What the user may choose.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// How the output orders Conv1d weights.
    pub layout: Layout,
    /// The output's element type.
    pub dtype: Dtype,
    /// The `config.json` to use instead of the one found with the checkpoint.
    pub config_file: Option<PathBuf>,
    /// Configuration fields that override those of the file or those that would be assumed.
    pub config_set: Vec<ConfigField>,
    /// Overrides of the model's audio input, where files do not state it or are wrong.
    pub preprocessor: PreprocessorOptions,
    /// The key prefix to use where the checkpoint holds several models.
    pub prefix: Option<String>,
    /// Names of tensors to leave out; a trailing `*` matches any ending.
    pub drop: Vec<String>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        PlanOptions {
            layout: Layout::Mlx,
            dtype: Dtype::F16,
            config_file: None,
            config_set: Vec::new(),
            preprocessor: PreprocessorOptions::default(),
            prefix: None,
            drop: Vec::new(),
        }
    }
}

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOrigin {
    /// A `config.json`.
    File(PathBuf),
    /// The tensors' shapes, with what they do not tell assumed.
    Inferred {
        /// One sentence for each assumption.
        assumptions: Vec<String>,
    },
}

impl std::fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigOrigin::File(path) => write!(f, "{}", path.display()),
            ConfigOrigin::Inferred { .. } => f.write_str("worked out from the tensors' shapes"),
        }
    }
}

/// What a step reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepInput {
    /// One tensor, by its key in the checkpoint.
    Tensor(String),
    /// The two factors of a weight norm, by their keys.
    WeightNorm {
        /// The magnitude's key.
        g: String,
        /// The direction's key.
        v: String,
        /// How they become one weight.
        fuse: FuseWeightNorm,
    },
}

impl StepInput {
    /// The keys it reads.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            StepInput::Tensor(name) => vec![name],
            StepInput::WeightNorm { g, v, .. } => vec![g, v],
        }
    }
}

/// How one tensor of the output comes to be: read, fuse, transpose, cast, in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The output's name: the Hugging Face name without prefix.
    pub output: String,
    /// The output's shape, in the output's layout.
    pub shape: Vec<usize>,
    /// What the tensor is.
    pub role: Role,
    /// What is read.
    pub input: StepInput,
    /// The shape of what is read (of v, for a weight norm), in PyTorch's order.
    pub input_shape: Vec<usize>,
    /// Set where the layout orders this tensor differently from PyTorch.
    pub transpose: Option<Transpose>,
    /// The change of element type.
    pub cast: Cast,
}

impl Step {
    /// Bytes of the output.
    pub fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.cast.to.size()
    }
}

/// A tensor of the checkpoint that has no place in the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Its key in the checkpoint.
    pub name: String,
    /// Why it is left out.
    pub reason: String,
}

/// What becomes of every tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The architecture.
    pub config: Config,
    /// Where it comes from.
    pub config_origin: ConfigOrigin,
    /// Notes about files that were read without being named by the user, one sentence each.
    pub notes: Vec<String>,
    /// Configuration fields set by the user, such as `num_attention_heads=4`.
    pub config_set: Vec<String>,
    /// The preprocessing of the model's audio input.
    pub preprocessor: PlannedPreprocessor,
    /// The output's layout.
    pub layout: Layout,
    /// The output's element type.
    pub dtype: Dtype,
    /// The dictionary that holds the model; empty for the file's root.
    pub state_dict: String,
    /// What precedes the Hugging Face names in the keys.
    pub prefix: String,
    /// The file's contents outside the model's dictionary.
    pub beside: Vec<Beside>,
    /// Whether wrapper names (`_orig_mod.`) were removed from tensor names.
    pub unwrapped: bool,
    /// One for each tensor of the output, sorted by its name.
    pub steps: Vec<Step>,
    /// Everything else in the checkpoint, sorted by name.
    pub dropped: Vec<Dropped>,
}

impl Plan {
    /// Decides what becomes of each tensor, reading no weights.
    ///
    /// # Errors
    /// [`ConvertError::Mismatch`] with every tensor that is missing, unexpected or malformed; other
    /// variants if there is no usable model or configuration in the first place.
    pub fn new(source: &Source, options: &PlanOptions) -> Result<Plan> {
        let listing = source.listing();
        for pattern in &options.drop {
            if !listing.tensors.keys().any(|name| is_dropped(listing, pattern, name)) {
                return Err(ConvertError::UnusedDrop { pattern: pattern.clone() });
            }
        }
        let keys = listing.tensors.keys().chain(listing.foreign.keys()).map(String::as_str);
        let prefix = find_prefix(&source.path, keys, options.prefix.as_deref())?;
        let Prefix { chosen: prefix, others } = prefix;
        if let Some(reason) = changed(listing, &prefix) {
            return Err(CheckpointError::NotPlainWeights { path: source.path.clone(), reason }.into());
        }
        refuse_foreign(source, listing, &prefix)?;
        refuse_other_encoder(source, listing, &prefix, options)?;
        let (mut config, config_origin) = config(source, listing, &prefix, options)?;
        let preprocessor = PlannedPreprocessor::find(source, &config, &config_origin, &options.preprocessor)?;
        // The option takes precedence; the output must be consistent.
        config.sample_rate = config.sample_rate.map(|_| preprocessor.preprocessor.sampling_rate);

        let mut planner = Planner::new(listing, &prefix, &others, options);
        let mut steps: Vec<Step> = inventory(&config).iter().filter_map(|spec| planner.step(spec)).collect();
        steps.sort_by(|a, b| a.output.cmp(&b.output));
        let (dropped, problems) = planner.finish(&config);
        if !problems.is_empty() {
            return Err(ConvertError::Mismatch { config: config_origin.to_string(), problems });
        }
        let state_dict = listing.state_dict.clone();
        let PlanOptions { layout, dtype, .. } = *options;
        let (beside, unwrapped) = (listing.beside.clone(), !listing.wrapped.is_empty());
        let config_set = options.config_set.iter().map(ConfigField::to_string).collect();
        let notes = source.notes.clone();
        Ok(Plan {
            config,
            config_origin,
            notes,
            config_set,
            preprocessor,
            layout,
            dtype,
            state_dict,
            prefix,
            beside,
            unwrapped,
            steps,
            dropped,
        })
    }

    /// What the output will say about itself, given its source's SHA-256.
    pub fn metadata(&self, source_sha256: String) -> Metadata {
        Metadata {
            layout: self.layout,
            dtype: self.dtype,
            config: self.config.clone(),
            config_inferred: matches!(self.config_origin, ConfigOrigin::Inferred { .. }),
            config_set: self.config_set.clone(),
            preprocessor: self.preprocessor.preprocessor,
            preprocessor_origin: Some(self.preprocessor.recorded_origin()),
            license: known_by_sha256(&source_sha256).map(|known| known.license.to_string()),
            source_sha256,
            generator: GENERATOR.to_string(),
        }
    }

    /// Refuses a source that proves to be a published checkpoint with another preprocessor than the plan's.
    pub(crate) fn check_source(&self, source_sha256: &str) -> Result<()> {
        known_by_sha256(source_sha256).map_or(Ok(()), |known| self.preprocessor.check_known(known))
    }

    /// Bytes of all tensors of the output together.
    pub fn byte_len(&self) -> usize {
        self.steps.iter().map(Step::byte_len).sum()
    }
}

/// A dictionary of numpy arrays, say, has the right names and no tensors: said before the search for
/// a configuration stumbles over what is missing.
fn refuse_foreign(source: &Source, listing: &Listing, prefix: &str) -> Result<()> {
    let foreign = listing.foreign.iter().filter(|(name, _)| {
        let name = name.strip_prefix(prefix).unwrap_or_default();
        ["feature_extractor.", "feature_projection.", "encoder."].iter().any(|module| name.starts_with(module))
    });
    if let Some((name, _)) = foreign.clone().find(|(_, kind)| *kind == objects::NEGATED_VIEW) {
        return Err(ConvertError::NegatedView { path: source.path.clone(), name: name.clone() });
    }
    let problems: Vec<_> =
        foreign.map(|(name, kind)| Problem::Foreign { name: name.clone(), kind: kind.clone() }).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(ConvertError::NotTensors { problems })
}

/// Refuses foreign tensors inside the encoder's modules, and `--drop` patterns that match any tensor there.
fn refuse_other_encoder(source: &Source, listing: &Listing, prefix: &str, options: &PlanOptions) -> Result<()> {
    let names = || listing.tensors.keys().chain(listing.foreign.keys()).map(String::as_str);
    if let Some(reason) = other_encoder(names(), prefix) {
        return Err(ConvertError::OtherEncoder { path: source.path.clone(), reason });
    }
    for pattern in &options.drop {
        if let Some(name) = names().find(|name| is_dropped(listing, pattern, name) && is_inside(prefix, name)) {
            return Err(ConvertError::DropInside { pattern: pattern.clone(), name: printable_line(name) });
        }
    }
    Ok(())
}

fn config(source: &Source, listing: &Listing, prefix: &str, options: &PlanOptions) -> Result<(Config, ConfigOrigin)> {
    let fields = &options.config_set;
    match options.config_file.as_ref().or(source.config_file.as_ref()) {
        Some(path) => {
            let text = read_given(path, "config.json")?;
            let config = Config::from_json_with(&text, fields).map_err(|source| {
                let names_it = fields.iter().any(|field| source.field() == Some(&field.name));
                match names_it || !fields.is_empty() && Config::from_json(&text).is_ok() {
                    true => ConvertError::Set { source },
                    false => ConvertError::Config { path: path.clone(), source },
                }
            });
            Ok((config?, ConfigOrigin::File(path.clone())))
        }
        None => {
            let shapes: BTreeMap<String, Vec<usize>> = listing
                .tensors
                .iter()
                .filter_map(|(name, info)| Some((name.strip_prefix(prefix)?.to_string(), info.shape.clone())))
                .collect();
            let Inferred { config, assumptions } = infer_config(&shapes, fields)?;
            Ok((config, ConfigOrigin::Inferred { assumptions }))
        }
    }
}
