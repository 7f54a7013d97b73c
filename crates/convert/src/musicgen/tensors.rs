//! The tensors of a file by what they are in the model: weights, thirds of stacked weights, factors of LoRA, and those that
//! are left out for a reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mert_arch::naming::{MusicgenKey, MusicgenNames, musicgen_key};
use mert_arch::printable_line;
use mert_checkpoint::TensorInfo;

use super::error::{MusicgenError, MusicgenProblem};
use super::kind::{MusicgenKind, RecognizedMusicgen};
use crate::plan::{Dropped, matches_drop_pattern};
use crate::{Problem, Result};

/// The reason for a tensor that a pattern of `--drop` matches.
pub(super) const LEFT_OUT: &str = "left out with --drop";

/// A tensor of a file that the model has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The number of the file among the sources.
    pub(super) source: usize,
    /// The key in the file.
    pub(super) key: String,
    /// The third of the file's tensor along the first axis.
    pub(super) third: Option<usize>,
    /// The element type and the shape, of the third if it is one.
    pub(super) info: TensorInfo,
}

/// The factors of the LoRA of one weight.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Factors {
    /// A, `(rank, in)`.
    pub(super) a: Option<Found>,
    /// B, `(out, rank)`.
    pub(super) b: Option<Found>,
}

/// A tensor that the model does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unexpected {
    pub(super) key: String,
    /// The key without what precedes the model's own names in this file.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
}

/// The tensors of a file.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    /// The tensors of the language model and the condition transformer, by their names in [`MusicgenNames::Mlx`].
    pub(super) model: BTreeMap<String, Found>,
    /// The LoRA of weights, by the weights' names.
    pub(super) lora: BTreeMap<String, Factors>,
    /// The tensors of T5 in a MusicGen of transformers, by their names without `text_encoder.`.
    pub(super) text_encoder: BTreeMap<String, Found>,
    /// The tensors of EnCodec in a MusicGen of transformers, by their names without `audio_encoder.`.
    pub(super) audio_encoder: BTreeMap<String, Found>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) problems: Vec<MusicgenProblem>,
    /// The tensors that the model does not have.
    pub(super) unexpected: Vec<Unexpected>,
}

/// Sorts the tensors of a file. `drop` has the patterns of tensors that the user leaves out.
///
/// # Errors
/// [`MusicgenError::DropInModel`], and errors of reading tensors that must be equal.
pub(super) fn collect(recognized: &RecognizedMusicgen, source: usize, drop: &[String]) -> Result<Tensors> {
    let mut collector =
        Collector { recognized, source, tensors: Tensors::default(), aliases: Vec::new(), prefixes: BTreeSet::new() };
    let listing = recognized.listing();
    for (name, kind) in &listing.non_tensors {
        let reason = format!("a pickled `{kind}`, not a tensor");
        collector.drop(&listing.name_in_file(name), &reason);
    }
    let mut meanings = HashMap::new();
    for (key, info) in &listing.tensors {
        if let Some(pattern) = drop.iter().find(|pattern| matches_drop_pattern(pattern, key)) {
            if collector.is_of_model(key) {
                let (pattern, name) = (pattern.clone(), printable_line(key));
                return Err(MusicgenError::DropInModel { pattern, name }.into());
            }
            collector.drop(key, LEFT_OUT);
            continue;
        }
        match recognized.kind {
            MusicgenKind::HuggingFace => collector.hugging_face(key, info),
            _ => collector.upstream(key, info, &mut meanings),
        }
    }
    collector.resolve_aliases(&meanings)?;
    let Collector { mut tensors, prefixes, .. } = collector;
    for unexpected in &mut tensors.unexpected {
        // Of nested prefixes, the longest that fits.
        if let Some(name) = prefixes.iter().rev().find_map(|prefix| unexpected.key.strip_prefix(prefix.as_str())) {
            unexpected.name = name.to_string();
        }
    }
    Ok(tensors)
}

/// The work of sorting one file.
struct Collector<'s> {
    recognized: &'s RecognizedMusicgen,
    source: usize,
    tensors: Tensors,
    /// The layers under the condition transformer: the key, and what it means in the language model.
    aliases: Vec<(String, MusicgenKey)>,
    /// What precedes the model's own names in keys.
    prefixes: BTreeSet<String>,
}

impl Collector<'_> {
    fn drop(&mut self, key: &str, reason: &str) {
        self.tensors.dropped.push(Dropped { name: printable_line(key), reason: reason.to_string() });
    }

    /// Whether a tensor takes part in what the language model or the condition transformer computes.
    fn is_of_model(&self, key: &str) -> bool {
        match self.recognized.kind {
            MusicgenKind::HuggingFace => MusicgenNames::HuggingFace.to_mlx(key).is_some(),
            _ => musicgen_key(key).is_some_and(|(_, meaning)| meaning != MusicgenKey::UnusedProjection),
        }
    }

    fn found(&self, key: &str, info: &TensorInfo) -> Found {
        Found { source: self.source, key: key.to_string(), third: None, info: info.clone() }
    }

    fn unexpected(&mut self, key: &str, info: &TensorInfo) {
        let (key, shape) = (key.to_string(), info.shape.clone());
        self.tensors.unexpected.push(Unexpected { name: key.clone(), key, shape });
    }

    fn add(&mut self, name: String, found: Found) {
        let second = found.key.clone();
        if let Some(first) = self.tensors.model.insert(name, found) {
            self.tensors.problems.push(MusicgenProblem::Twice { first: first.key, second });
        }
    }

    /// A tensor of transformers' `MusicgenForConditionalGeneration`.
    fn hugging_face(&mut self, key: &str, info: &TensorInfo) {
        let found = self.found(key, info);
        if let Some(name) = MusicgenNames::HuggingFace.to_mlx(key) {
            self.add(name, found);
        } else if let Some(name) = key.strip_prefix("text_encoder.") {
            self.tensors.text_encoder.insert(name.to_string(), found);
        } else if let Some(name) = key.strip_prefix("audio_encoder.") {
            self.tensors.audio_encoder.insert(name.to_string(), found);
        } else if key == "decoder.model.decoder.embed_positions.weights" {
            self.drop(key, "a table of sinusoids, which are computed");
        } else {
            self.unexpected(key, info);
        }
    }

    /// A tensor of audiocraft or Instruct-MusicGen.
    fn upstream(&mut self, key: &str, info: &TensorInfo, meanings: &mut HashMap<MusicgenKey, String>) {
        let Some((prefix, meaning)) = musicgen_key(key) else {
            match key.split('.').any(|part| part == "compression_model") {
                true => self.drop(key, "of the codec, which is given with --codec"),
                false => self.unexpected(key, info),
            }
            return;
        };
        if !self.prefixes.contains(prefix) {
            self.prefixes.insert(prefix.to_string());
        }
        if let MusicgenKey::Alias(meant) = meaning {
            return self.aliases.push((key.to_string(), *meant));
        }
        if meaning != MusicgenKey::UnusedProjection
            && let Some(first) = meanings.insert(meaning.clone(), key.to_string())
        {
            return self.tensors.problems.push(MusicgenProblem::Twice { first, second: key.to_string() });
        }
        self.place(key, info, meaning);
    }

    /// Puts a tensor where its meaning belongs.
    fn place(&mut self, key: &str, info: &TensorInfo, meaning: MusicgenKey) {
        let is_instruct = self.recognized.kind == MusicgenKind::Instruct;
        match meaning {
            MusicgenKey::Tensor(name) => self.add(name, self.found(key, info)),
            MusicgenKey::SelfAttention(names) => self.stacked(key, info, names),
            MusicgenKey::CrossAttention(_) if is_instruct => {
                self.drop(key, "unused by the model: its cross-attention reads q, k and v apart");
            }
            MusicgenKey::CrossAttention(names) => self.stacked(key, info, names),
            MusicgenKey::UnusedProjection => {
                self.drop(key, "unused by the model: its self-attention reads in_proj_weight");
            }
            MusicgenKey::LoraA(name) => {
                self.tensors.lora.entry(name).or_default().a =
                    Some(Found { source: self.source, key: key.to_string(), third: None, info: info.clone() });
            }
            MusicgenKey::LoraB(name) => {
                self.tensors.lora.entry(name).or_default().b =
                    Some(Found { source: self.source, key: key.to_string(), third: None, info: info.clone() });
            }
            MusicgenKey::Alias(_) => {}
        }
    }

    /// Takes q, k and v from a weight in which they are stacked in this order.
    fn stacked(&mut self, key: &str, info: &TensorInfo, names: [String; 3]) {
        let &[rows, columns] = &info.shape[..] else {
            return self.not_stacked(key, info, 0);
        };
        if rows != 3 * columns {
            return self.not_stacked(key, info, columns);
        }
        for (third, name) in names.into_iter().enumerate() {
            let info = TensorInfo { dtype: info.dtype.clone(), shape: vec![columns, columns] };
            self.add(name, Found { source: self.source, key: key.to_string(), third: Some(third), info });
        }
    }

    fn not_stacked(&mut self, key: &str, info: &TensorInfo, columns: usize) {
        let (name, found, expected) = (key.to_string(), info.shape.clone(), vec![3 * columns, columns]);
        let hint = " (q, k and v, one above the other)";
        self.tensors.problems.push(Problem::Shape { name, found, expected, hint }.into());
    }

    /// Leaves out the layers under the condition transformer, after checking that they are the language model's. One that the
    /// language model does not have takes its place.
    fn resolve_aliases(&mut self, meanings: &HashMap<MusicgenKey, String>) -> Result<()> {
        for (alias, meaning) in std::mem::take(&mut self.aliases) {
            if meaning == MusicgenKey::UnusedProjection {
                self.drop(&alias, "unused by the model: its self-attention reads in_proj_weight");
                continue;
            }
            let Some(name) = meanings.get(&meaning) else {
                let info = self.recognized.listing().tensors[&alias].clone();
                self.place(&alias, &info, meaning);
                continue;
            };
            match self.is_equal(&alias, name)? {
                true => self.drop(&alias, "the language model's layer under another name"),
                false => {
                    let name = name.clone();
                    self.tensors.problems.push(MusicgenProblem::AliasDiffers { alias, name });
                }
            }
        }
        Ok(())
    }

    /// Whether two tensors of the file have the same shape, type and bytes.
    fn is_equal(&self, first: &str, second: &str) -> Result<bool> {
        let checkpoint = self.recognized.checkpoint();
        if checkpoint.is_same(first, second) {
            return Ok(true);
        }
        let tensors = &checkpoint.listing().tensors;
        Ok(tensors.get(first) == tensors.get(second) && checkpoint.read(first)?[..] == checkpoint.read(second)?[..])
    }
}
