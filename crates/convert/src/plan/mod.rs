//! The plan of a conversion: the treatment of every tensor, as data that can be printed before anything is written.
//!
//! - this file: the plan and its checks; `options.rs`: the user's choices; `step.rs`: the steps.
//! - `planner.rs`: the match of a checkpoint's tensors with the model's; `drop_pattern.rs`: the patterns of `--drop`.
//! - `adapter.rs`: the match of an adapter's layers with the tensors.
//! - `config.rs`, `preprocessor.rs`: the configuration and the audio input, each with its origin.
//! - `head.rs`: the head that is kept on request; `positional_weight.rs`: the weight under weight norm.
//! - `recognized.rs`: how the family was recognized; `layer_cut.rs`: the cut of a ContentVec before its conditional layers.
//! - `quantization.rs`: the encoding of each tensor; `compression.rs`: that of the weights of a Core ML package.
//! - `for_program.rs`: the checks and additions of a plan for another program.
//! - `other_encoder.rs`: tensors inside the encoder that show another architecture.

mod adapter;
mod compression;
mod config;
mod drop_pattern;
mod for_program;
mod head;
mod layer_cut;
mod options;
mod other_encoder;
mod planner;
mod positional_weight;
mod preprocessor;
mod quantization;
mod recognized;
mod step;

use std::collections::BTreeMap;

use mert_arch::{
    Config, ConfigField, Dtype, Int8Exceptions, KnownCheckpoint, Layout, Metadata, QuantizationConfig, TARGET_KEY,
    final_proj_inventory, inventory, known_by_sha256, printable_line,
};
use mert_checkpoint::{
    CheckpointError, Listing, NEGATED_VIEW, OtherObject, Prefix, Source, TensorOrigin, find_prefix, is_in_encoder,
    modified_weights,
};
use serde::{Serialize, Serializer};

pub use self::adapter::PlannedAdapter;
pub use self::compression::{Compression, CompressionScheme};
pub use self::config::ConfigOrigin;
use self::config::{FoundConfig, find_config};
use self::drop_pattern::is_dropped;
pub(crate) use self::drop_pattern::matches as matches_drop_pattern;
use self::head::FinalProj;
pub use self::layer_cut::LayerCut;
pub use self::options::{PlanOptions, PreprocessorOptions, QuantizeOptions};
use self::other_encoder::other_encoder;
use self::planner::Planner;
pub use self::preprocessor::{PlannedPreprocessor, PreprocessorOrigin};
pub(crate) use self::quantization::{Choice, choose as choose_encoding};
pub use self::recognized::{Evidence, Recognized};
use self::recognized::{ambiguity, known};
pub use self::step::{Dropped, Step, StepInput};
use crate::programs::Program;
use crate::{ConvertError, GENERATOR, Problem, Result};

/// The treatment of every tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The family and the evidence for it.
    pub recognized: Recognized,
    /// The published checkpoint that the input is, as far as its digest was needed for the plan.
    pub known: Option<&'static KnownCheckpoint>,
    /// The layers that the model is cut to, if it has speaker-conditional ones.
    pub cut: Option<LayerCut>,
    /// The architecture.
    pub config: Config,
    /// The origin of the configuration.
    pub config_origin: ConfigOrigin,
    /// Notes about files that were read without being named by the user, and about what the program needs, one sentence each.
    pub notes: Vec<String>,
    /// The program that the output is for; `None` for a file of this toolkit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// Configuration fields set by the user, such as `num_attention_heads=4`.
    pub config_set: Vec<String>,
    /// The adapter that is merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PlannedAdapter>,
    /// The smallest part of an adapter's change that each layer of the output must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_delta_kept: Option<f64>,
    /// The preprocessing of the model's audio input.
    pub preprocessor: PlannedPreprocessor,
    /// The number of outputs of the head `final_proj`, if it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_proj: Option<usize>,
    /// The output's layout.
    pub layout: Layout,
    /// The element type of what is not quantized, and of the scales and biases of what is.
    pub dtype: Dtype,
    /// The quantization of the linear layers; `None` if none is quantized.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "quantization_value")]
    pub quantization: Option<QuantizationConfig>,
    /// The compression of the weights of a Core ML package; `None` if they are floats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// The modules that keep floats where a forward pass computes in 8-bit integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_exceptions: Option<Int8Exceptions>,
    /// The dictionary that holds the model; empty for the file's root.
    pub state_dict: String,
    /// The prefix of the Hugging Face names in the keys.
    pub prefix: String,
    /// The objects outside the model's dictionary.
    #[serde(rename = "beside")]
    pub other_objects: Vec<OtherObject>,
    /// Whether wrapper names (`_orig_mod.`) were removed from tensor names.
    pub unwrapped: bool,
    /// The steps, one for each tensor of the output, sorted by its name.
    pub steps: Vec<Step>,
    /// The names of the program's 64-bit integers, which are written as zero.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<String>,
    /// The other tensors of the checkpoint, sorted by name.
    pub dropped: Vec<Dropped>,
}

impl Plan {
    /// Decides the treatment of each tensor without reading weights.
    ///
    /// # Errors
    /// [`ConvertError::Mismatch`] with every tensor that is missing, unexpected or malformed; other
    /// variants if there is no usable model or configuration.
    pub fn new(source: &Source, options: &PlanOptions) -> Result<Plan> {
        let listing = source.listing();
        if options.compress.is_some() {
            compression::check_dtype(options.dtype)?;
        }
        for pattern in &options.drop {
            let in_adapter = |key: &String| adapter::is_dropped(pattern, key);
            if !listing.tensors.keys().any(|name| is_dropped(listing, pattern, name))
                && !listing.adapter_tensors.keys().any(in_adapter)
            {
                return Err(ConvertError::UnusedDrop { pattern: pattern.clone() });
            }
        }
        let keys = listing.tensors.keys().chain(listing.non_tensors.keys()).map(String::as_str);
        let prefix = find_prefix(&source.path, keys, options.prefix.as_deref())?;
        let Prefix { chosen: prefix, others } = prefix;
        if let Some(reason) = modified_weights(listing, &prefix) {
            return Err(CheckpointError::NotPlainWeights { path: source.path.clone(), reason }.into());
        }
        refuse_non_tensors(source, listing, &prefix)?;
        refuse_other_encoder(source, listing, &prefix, options)?;
        let cut = LayerCut::find(listing, &prefix);
        let FoundConfig { mut config, origin: config_origin, training, notes } =
            find_config(source, listing, &prefix, cut, options)?;
        if let Some(cut) = cut.filter(|_| config.do_stable_layer_norm) {
            return Err(ConvertError::ConditionalNorm { path: source.path.clone(), kept: cut.kept });
        }
        let preprocessor = PlannedPreprocessor::find(
            source,
            &config,
            &config_origin,
            training.as_ref().map(|training| &training.task),
            listing.naming.get(&prefix).copied().unwrap_or_default(),
            &options.preprocessor,
        )?;
        let known = known(source, listing);
        // The option takes precedence; the output must be consistent.
        config.sample_rate = config.sample_rate.map(|_| preprocessor.preprocessor.sampling_rate);

        let layout = for_program::layout(&config, &preprocessor, options)?;

        let mut planner =
            Planner::new((listing, source.adapter.as_ref()), &prefix, &others, cut, &config, options, layout);
        let mut steps: Vec<Step> = inventory(&config).iter().flat_map(|spec| planner.steps(spec)).collect();
        steps.extend(for_program::optional_tensors(&config, options).iter().filter_map(|spec| planner.optional(spec)));
        let final_proj = match options.keep_final_proj {
            true => Some(head::find(listing, &prefix).map_err(|reason| ConvertError::Keep { reason })?),
            false => None,
        };
        if let Some(FinalProj { prefix, size }) = &final_proj {
            steps.extend(final_proj_inventory(&config, *size).iter().filter_map(|spec| planner.head(prefix, spec)));
        }
        let final_proj = final_proj.map(|head| head.size);
        if options.min_delta_kept.is_some() && source.adapter.is_none() {
            return Err(ConvertError::NoAdapter { option: "--min-delta-kept" });
        }
        if let Some(quantize) = &options.quantize {
            let specs: Vec<_> = steps.iter().map(|step: &Step| step.spec()).collect();
            if let Some((option, pattern)) = quantize.unused(&specs) {
                return Err(ConvertError::UnusedPattern { option, pattern });
            }
        }
        steps.sort_by(|a, b| a.name.cmp(&b.name));
        let (dropped, problems) = planner.finish(&config);
        if !problems.is_empty() {
            return Err(ConvertError::Mismatch { config: config_origin.to_string(), problems });
        }
        let state_dict = listing.state_dict.clone();
        let PlanOptions { program, dtype, .. } = *options;
        let quantization = options.quantize.as_ref().and_then(|options| quantization::config(&steps, options));
        let (other_objects, unwrapped) = (listing.other_objects.clone(), !listing.wrapped.is_empty());
        let config_set = options.config_set.iter().map(ConfigField::to_string).collect();
        let identity = identity_note(listing, &prefix);
        let ambiguity = ambiguity(&config, &config_origin, known);
        let notes = source.notes.iter().cloned().chain(notes).chain(identity).chain(ambiguity).collect();
        let counters = program.map(|program| program.class().counters(&config)).unwrap_or_default();
        let mut plan = Plan {
            recognized: Recognized::new(&config, &config_origin, listing, &prefix),
            known,
            cut,
            config,
            config_origin,
            notes,
            program,
            config_set,
            adapter: PlannedAdapter::new(source),
            min_delta_kept: options.min_delta_kept,
            preprocessor,
            final_proj,
            layout,
            dtype,
            quantization,
            compression: options.compress,
            int8_exceptions: options.int8_exceptions.clone(),
            state_dict,
            prefix,
            other_objects,
            unwrapped,
            steps,
            counters,
            dropped,
        };
        plan.notes.extend(plan.program_notes());
        Ok(plan)
    }

    /// The metadata of the output, given its source's SHA-256.
    pub fn metadata(&self, source_sha256: String) -> Metadata {
        Metadata {
            layout: self.layout,
            dtype: self.dtype,
            quantization: self.quantization.clone(),
            int8_exceptions: self.int8_exceptions.clone(),
            config: self.config.clone(),
            config_inferred: matches!(self.config_origin, ConfigOrigin::Inferred { .. }),
            config_set: self.config_set.clone(),
            preprocessor: self.preprocessor.preprocessor,
            preprocessor_origin: Some(self.preprocessor.recorded_origin()),
            final_proj: self.final_proj,
            license: known_by_sha256(&source_sha256).map(|known| known.license.to_string()),
            source_sha256,
            adapter: self.adapter.as_ref().map(|adapter| adapter.name.clone()),
            adapter_sha256: self.adapter.as_ref().and_then(|adapter| adapter.sha256.clone()),
            generator: GENERATOR.to_string(),
        }
    }

    /// Refuses a source that its digest identifies as a published checkpoint with another preprocessor than the plan's.
    pub(crate) fn check_source(&self, source_sha256: &str) -> Result<()> {
        known_by_sha256(source_sha256).map_or(Ok(()), |known| self.preprocessor.check_known(known))
    }

    /// The entries of the output's `__metadata__`, given its source's SHA-256.
    pub(crate) fn metadata_entries(&self, source_sha256: String) -> BTreeMap<String, String> {
        let mut entries = self.metadata(source_sha256).to_map();
        if let Some(program) = self.program {
            entries.insert(TARGET_KEY.into(), program.name().into());
            if program == Program::HuggingFace {
                // By a layout a converted file is known; what transformers reads is a checkpoint like any other.
                entries.remove("layout");
            }
        }
        entries
    }

    /// The number of bytes of all tensors of the output that are made from the checkpoint's.
    pub fn byte_len(&self) -> usize {
        self.steps.iter().map(Step::byte_len).sum()
    }
}

fn quantization_value<S: Serializer>(config: &Option<QuantizationConfig>, serializer: S) -> Result<S::Ok, S::Error> {
    config.as_ref().map(QuantizationConfig::to_value).serialize(serializer)
}

/// A note that a layer was filled in, which the model of the file does not have.
fn identity_note(listing: &Listing, prefix: &str) -> Option<String> {
    let is_identity =
        |(name, origin): (&String, &TensorOrigin)| name.starts_with(prefix) && *origin == TensorOrigin::Identity;
    listing.renamed.iter().any(is_identity).then(|| {
        "the model has no `post_extract_proj`, as the features are as wide as the hidden states: its place takes a projection \
         that changes nothing, an identity matrix and a bias of zeros"
            .to_string()
    })
}

/// Refuses entries of the encoder that are not tensors, such as numpy arrays. This precedes the search for a configuration,
/// whose error would be about missing tensors.
fn refuse_non_tensors(source: &Source, listing: &Listing, prefix: &str) -> Result<()> {
    let non_tensors = listing.non_tensors.iter().filter(|(name, _)| is_in_encoder(prefix, name));
    if let Some((name, _)) = non_tensors.clone().find(|(_, kind)| *kind == NEGATED_VIEW) {
        return Err(ConvertError::NegatedView { path: source.path.clone(), name: name.clone() });
    }
    let problems: Vec<_> =
        non_tensors.map(|(name, kind)| Problem::NotATensor { name: name.clone(), kind: kind.clone() }).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(ConvertError::NotTensors { problems })
}

/// Refuses tensors of other architectures inside the encoder's modules, and `--drop` patterns that match any tensor there.
fn refuse_other_encoder(source: &Source, listing: &Listing, prefix: &str, options: &PlanOptions) -> Result<()> {
    let names = || listing.tensors.keys().chain(listing.non_tensors.keys()).map(String::as_str);
    if let Some(reason) = other_encoder(names(), prefix, |name| listing.name_in_file(name)) {
        return Err(ConvertError::OtherEncoder { path: source.path.clone(), reason });
    }
    for pattern in &options.drop {
        if let Some(name) = names().find(|name| is_dropped(listing, pattern, name) && is_in_encoder(prefix, name)) {
            let name = printable_line(&listing.name_in_file(name));
            return Err(ConvertError::DropInEncoder { pattern: pattern.clone(), name });
        }
    }
    Ok(())
}
