//! The plan of a bundle: every tensor of every file with its treatment, and what the files say about the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use mert_arch::naming::MusicgenNames;
use mert_arch::{Dtype, Encoding, MusicgenConfig, QuantizationConfig, QuantizationMode};
use mert_checkpoint::{Assembled, Checkpoint, OtherObject};
use serde::{Serialize, Serializer};

use super::base;
use super::beside::other_parts;
use super::config::{self, FoundConfig, names};
use super::error::MusicgenError;
use super::fingerprint::{PositionRows, RandomProjections};
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::language_model::{self, LanguageModel, check_program};
use super::lora::{self, PlannedLora};
use super::options::MusicgenOptions;
use super::part::{LICENSE, MusicgenPart};
use super::pool::{Pool, unexpected};
use super::source::{DigestNames, PlannedSource, Sources};
use super::steps::Reads;
use super::tensors::{Found, Tensors, Unexpected, collect};
use crate::plan::{Dropped, Step, matches_drop_pattern};
use crate::write::ByteSize;
use crate::{ConvertError, Result};

/// The treatment of every tensor of the files of a MusicGen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MusicgenPlan {
    /// The kind of the input.
    pub kind: MusicgenKind,
    /// The files, the input first.
    pub sources: Vec<PlannedSource>,
    /// The sizes of the model.
    #[serde(serialize_with = "config_fields")]
    pub config: MusicgenConfig,
    /// The origin of the sizes.
    pub config_origin: String,
    /// What was assumed about the sizes, a sentence each.
    pub assumptions: Vec<String>,
    /// Notes about the files and the output, a sentence each.
    pub notes: Vec<String>,
    /// The names of the language model's tensors in the output.
    pub names: MusicgenNames,
    /// Whether the output is for the class of mlx-examples.
    pub for_mlx_examples: bool,
    /// The element type of what is not quantized in the language model.
    pub dtype: Dtype,
    /// The quantization of the language model; `None` if nothing is quantized.
    #[serde(serialize_with = "quantization_value")]
    pub quantization: Option<QuantizationConfig>,
    /// The LoRA between the checkpoint's weights, or the adapter, that is merged.
    pub lora: Option<PlannedLora>,
    /// The adapter's file that is merged beside it.
    pub adapter: Option<PlannedLora>,
    /// The smallest part of a change that each layer of the output must have.
    pub min_delta_kept: Option<f64>,
    /// Whether the frozen projections of the cross-attention are an initialisation; `None` for plain MusicGen.
    pub random: Option<RandomProjections>,
    /// The rows of the position table; `None` for plain MusicGen.
    pub positions: Option<PositionRows>,
    /// The folders of the output, the language model's first.
    pub parts: Vec<MusicgenPart>,
    /// The tensors that are left out, sorted by name.
    pub dropped: Vec<Dropped>,
    /// The objects outside the model's dictionary.
    pub other_objects: Vec<OtherObject>,
    /// The size of each file of weights in bytes, by its path in the output.
    pub files: BTreeMap<String, u64>,
}

fn config_fields<S: Serializer>(config: &MusicgenConfig, serializer: S) -> Result<S::Ok, S::Error> {
    config.to_fields().serialize(serializer)
}

fn quantization_value<S: Serializer>(
    quantization: &Option<QuantizationConfig>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    quantization.as_ref().map(QuantizationConfig::to_value).serialize(serializer)
}

/// What a plan is executed on.
pub(super) struct Planned {
    pub(super) plan: MusicgenPlan,
    pub(super) checkpoint: Arc<Assembled>,
    pub(super) digest_names: DigestNames,
}

impl MusicgenPlan {
    /// The number of bytes of all tensors of the output.
    pub fn byte_len(&self) -> usize {
        self.parts.iter().map(MusicgenPart::byte_len).sum()
    }

    /// The number of tensors that are stored.
    pub fn tensor_count(&self) -> usize {
        self.parts.iter().flat_map(|part| &part.steps).map(|step| step.outputs.len()).sum()
    }

    /// The disk space that the output needs in bytes: the files of weights, with their headers.
    pub fn disk_len(&self) -> u64 {
        self.files.values().sum()
    }

    /// The number of tensors and of their bytes by folder and encoding.
    pub fn encodings(&self) -> BTreeMap<(&'static str, String), (usize, usize)> {
        let mut rows: BTreeMap<(&'static str, String), (usize, usize)> = BTreeMap::new();
        for (folder, step) in self.parts.iter().flat_map(|part| part.steps.iter().map(|step| (part.folder, step))) {
            let encoding = match step.encoding() {
                Encoding::Float(dtype) => dtype.to_string(),
                Encoding::Quantized { quantization, float } => format!("{quantization}, scales in {float}"),
            };
            let (count, bytes) = rows.entry((folder, encoding)).or_default();
            *count += 1;
            *bytes += step.byte_len();
        }
        rows
    }

    /// The largest number of frames whose rows of the position table were trained, as far as the values show; `None` for plain
    /// MusicGen.
    pub fn trained_frames(&self) -> Option<usize> {
        let rows = self.positions?;
        let longest = self.config.cp_transformer?.max_frames.saturating_sub(1);
        Some(if rows.second_half_is_untrained() { rows.half.saturating_sub(1) } else { longest })
    }

    /// The size of each file of weights in bytes, by its path in the output.
    pub(super) fn file_sizes(&self, most: ByteSize, digest_names: &DigestNames) -> BTreeMap<String, u64> {
        let placeholder = digest_names.placeholder();
        let files = self.parts.iter().flat_map(|part| part.file_sizes(most, &self.metadata(part, &placeholder)));
        files.collect()
    }

    /// The entries of the `__metadata__` of a part's files of weights.
    pub(super) fn metadata(&self, part: &MusicgenPart, digests: &str) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::from([
            ("format".to_string(), "mlx".to_string()),
            ("generator".to_string(), crate::GENERATOR.to_string()),
            ("license".to_string(), part.license.to_string()),
            ("sources".to_string(), digests.to_string()),
        ]);
        if part.folder.is_empty() {
            entries.insert("model_type".into(), self.config.model_type().into());
            entries.insert("names".into(), self.names.name().into());
            if let Some(quantization) = &self.quantization {
                entries.insert("quantization".into(), quantization.to_json());
            }
        }
        entries
    }

    /// The steps of all parts.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parts.iter().flat_map(|part| &part.steps)
    }
}

impl Planned {
    /// Plans the conversion of an input without writing anything.
    ///
    /// # Errors
    /// [`MusicgenError::Mismatch`] with every tensor that is missing, unexpected or malformed; other variants for files of
    /// other kinds and configurations that cannot be used.
    pub(super) fn new(main: RecognizedMusicgen, options: &MusicgenOptions) -> Result<Self> {
        check_quantization(options)?;
        let sources = Sources::open(main, options)?;
        check_drop(&sources, options)?;
        let mut tensors = collect(&sources.main, 0, &options.drop)?;
        let mut notes: Vec<String> = sources.main.opened.note.iter().cloned().collect();
        add_base(&sources, &mut tensors, options)?;
        let (mut changes, lora) =
            lora::of_checkpoint(std::mem::take(&mut tensors.lora), options.lora_alpha, &mut tensors.problems);
        let adapter = sources.adapter.as_ref();
        let adapter = adapter.and_then(|(number, file)| lora::of_adapter(file, *number, &mut tensors, &mut changes));
        check_lora_options(options, lora.is_some(), adapter.is_some())?;

        let FoundConfig { mut config, origin, assumptions } = config::find(&sources, &tensors.model, options)?;
        check_program(&config, options)?;
        let scheme = match sources.main.kind {
            MusicgenKind::HuggingFace => MusicgenNames::HuggingFace,
            _ => MusicgenNames::Upstream,
        };
        let shown = |name: &str| scheme.from_mlx(name).unwrap_or_else(|| name.to_string());
        let mut reads = Reads::new();
        let model = tensors.model.clone();
        let LanguageModel { steps, quantization, pool } = language_model::plan(
            &config,
            std::mem::take(&mut tensors.model),
            changes,
            &shown,
            options,
            &sources,
            &mut reads,
        )?;
        let (mut dropped, mut problems) = (tensors.dropped, tensors.problems);
        let mut absorb = |pool: Pool| {
            dropped.extend(pool.dropped);
            problems.extend(pool.problems);
        };
        absorb(pool);
        let mut parts = vec![MusicgenPart::new("", LICENSE, steps, Vec::new())];
        for (part, pool) in other_parts(
            &sources,
            tensors.text_encoder,
            tensors.audio_encoder,
            &mut config,
            options,
            &mut reads,
            &mut notes,
        )? {
            parts.extend(part);
            absorb(pool);
        }
        let expected: Vec<String> = config.inventory().iter().map(|spec| shown(&spec.name)).collect();
        let of = |found: &Unexpected| unexpected(&found.key, &found.name, &found.shape, &expected);
        problems.extend(tensors.unexpected.iter().map(of));
        if !problems.is_empty() {
            return Err(MusicgenError::Mismatch { path: sources.main.path.clone(), config: origin, problems }.into());
        }
        dropped.sort_by(|a, b| (&a.name, &a.reason).cmp(&(&b.name, &b.reason)));
        // Thirds of one tensor.
        dropped.dedup();
        let (random, positions) = fingerprints(&sources, &model, &config)?;
        let mut plan = MusicgenPlan {
            kind: sources.main.kind,
            sources: sources.planned(options),
            config,
            config_origin: origin,
            assumptions,
            notes,
            names: names(options),
            for_mlx_examples: options.for_mlx_examples,
            dtype: options.dtype,
            quantization,
            lora,
            adapter,
            min_delta_kept: options.min_delta_kept,
            random,
            positions,
            parts,
            dropped,
            other_objects: sources.main.listing().other_objects.clone(),
            files: BTreeMap::new(),
        };
        let (checkpoints, digest_names) = sources.into_checkpoints();
        let mut checkpoint = Assembled::new(checkpoints);
        for (name, Found { source, key, third, .. }) in &reads {
            checkpoint.add(name, *source, key, *third)?;
        }
        plan.files = plan.file_sizes(options.max_shard_size, &digest_names);
        Ok(Planned { plan, checkpoint: Arc::new(checkpoint), digest_names })
    }
}

/// Adds the tensors that the input lacks from the base model.
fn add_base(sources: &Sources, tensors: &mut Tensors, options: &MusicgenOptions) -> Result<()> {
    let is_instruct = sources.main.kind == MusicgenKind::Instruct;
    let Some((number, base)) = &sources.base else {
        if is_instruct && !tensors.model.contains_key("lm.emb.0.weight") {
            let reason =
                "is needed: the .ckpt holds the adapter without the base model; give audiocraft's state_dict.bin";
            return Err(MusicgenError::Option { option: "--base", reason: reason.into() }.into());
        }
        return Ok(());
    };
    if !is_instruct {
        let reason = format!(
            "is for Instruct-MusicGen's checkpoint, and the input is {}; leave it out",
            sources.main.kind.title()
        );
        return Err(MusicgenError::Option { option: "--base", reason }.into());
    }
    let mut other = collect(base, *number, &options.drop)?;
    base::check(&sources.main, base, &tensors.model, &other.model)?;
    tensors.problems.append(&mut other.problems);
    tensors.dropped.append(&mut other.dropped);
    tensors.unexpected.append(&mut other.unexpected);
    let own: Vec<String> = tensors.model.keys().cloned().collect();
    for (name, found) in other.model {
        let drop = |reason: &str| Dropped { name: sources.key_name(&found), reason: reason.to_string() };
        if own.binary_search(&name).is_ok() {
            tensors.dropped.push(drop("in the .ckpt, too, which is taken"));
        } else if name.contains(".cross_attn.") && !name.contains(".out_proj.") {
            tensors.dropped.push(drop("unused by the model: its cross-attention has its own frozen q, k and v"));
        } else {
            tensors.model.insert(name, found);
        }
    }
    for found in other.text_encoder.values().chain(other.audio_encoder.values()) {
        let (name, reason) = (sources.key_name(found), "of the base model's T5 or codec; see --t5 and --codec");
        tensors.dropped.push(Dropped { name, reason: reason.into() });
    }
    Ok(())
}

/// Refuses modes of quantization that no bundle has.
fn check_quantization(options: &MusicgenOptions) -> Result<()> {
    let mode = options.quantize.as_ref().map_or(QuantizationMode::Affine, |quantize| quantize.default.mode);
    if mode == QuantizationMode::Affine {
        return Ok(());
    }
    let reason = format!(
        "{} is for encoders: mert-generate and mert-verify compute a MusicGen with affine codes only; leave it out",
        mode.name()
    );
    Err(MusicgenError::Option { option: "--q-mode", reason }.into())
}

/// Refuses patterns of `--drop` that match no tensor of any file.
fn check_drop(sources: &Sources, options: &MusicgenOptions) -> Result<()> {
    let matches = |pattern: &str| {
        let mut keys = sources.recognized().flat_map(|source| source.listing().tensors.keys());
        keys.any(|key| matches_drop_pattern(pattern, key))
    };
    match options.drop.iter().find(|pattern| !matches(pattern)) {
        Some(pattern) => Err(ConvertError::UnusedDrop { pattern: pattern.clone() }),
        None => Ok(()),
    }
}

/// Refuses options about a LoRA where there is none.
fn check_lora_options(options: &MusicgenOptions, has_lora: bool, has_adapter: bool) -> Result<()> {
    if has_lora || has_adapter {
        return Ok(());
    }
    let given =
        [("--lora-alpha", options.lora_alpha.is_some()), ("--min-delta-kept", options.min_delta_kept.is_some())];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(ConvertError::NoAdapter { option }),
        None => Ok(()),
    }
}

/// What the values say about the training of a condition transformer.
fn fingerprints(
    sources: &Sources,
    model: &BTreeMap<String, Found>,
    config: &MusicgenConfig,
) -> Result<(Option<RandomProjections>, Option<PositionRows>)> {
    if config.cp_transformer.is_none() {
        return Ok((None, None));
    }
    let random = RandomProjections::find(model, config.decoder.num_hidden_layers, sources)?;
    let table = model.get("cp_transformer.pos_emb");
    let rows = table.and_then(|found| Some((sources.checkpoint(found.source)?, found)));
    let positions = rows.map(|(checkpoint, found): (&dyn Checkpoint, &Found)| {
        PositionRows::find(checkpoint, &found.key, &found.info.shape)
    });
    Ok((random, positions.transpose()?.flatten()))
}
