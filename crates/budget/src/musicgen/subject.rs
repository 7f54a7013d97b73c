//! The model whose bits are chosen: the groups of its weights with the widths that they can have.

use std::collections::BTreeMap;

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};
use mert_convert::musicgen::{MusicgenConversion, MusicgenPlan};
use mert_convert::{QuantizeOptions, Step};

use super::cost::{self, MusicgenCost};
use super::goal::MusicgenGoal;
use crate::mix::mixed;
use crate::subject::Candidate;
use crate::{BudgetError, Result};

/// The widths of codes that are tried: fewer bits leave little of a language model, and `mert-generate` has kernels for all.
pub(super) const WIDTHS: [usize; 4] = [4, 5, 6, 8];

/// The part of the names of modules over the input's codes.
const MERGE: &str = "cp_transformer.merge_linear.";

/// The weights of a layer that have the same bits: those of one attention, of the feed-forward block, or `merge_linear`.
#[derive(Debug, Clone, PartialEq)]
pub struct MusicgenGroup {
    /// A pattern of its modules, such as `lm.layers.0.self_attn.*`.
    pub name: String,
    /// The paths of its modules in `MusicgenNames::Mlx`.
    pub modules: Vec<String>,
    /// The layer, from 0 on.
    pub layer: usize,
    /// The encodings that it can have, the smallest first and the float type last.
    pub candidates: Vec<Candidate>,
}

/// A planned conversion, and the groups of it whose bits are chosen.
pub struct MusicgenSubject<'a> {
    pub(super) conversion: &'a MusicgenConversion,
    quantize: QuantizeOptions,
    groups: Vec<MusicgenGroup>,
}

impl<'a> MusicgenSubject<'a> {
    /// The groups of the linear layers that `quantize`, with which the conversion was planned, selects, in groups of its size.
    ///
    /// # Errors
    /// [`BudgetError::NoLayers`] if there is none.
    pub fn new(conversion: &'a MusicgenConversion, quantize: &QuantizeOptions) -> Result<Self> {
        let group_size = quantize.default.group_size;
        let mut groups: BTreeMap<(usize, usize), MusicgenGroup> = BTreeMap::new();
        let plan = conversion.plan();
        for step in plan.parts.iter().filter(|part| part.folder.is_empty()).flat_map(|part| &part.steps) {
            let Encoding::Quantized { float, .. } = step.encoding() else { continue };
            let name = plan.names.to_mlx(&step.name).unwrap_or_else(|| step.name.clone());
            let Some(module) = name.strip_suffix(".weight") else { continue };
            let Some((layer, part, name)) = place(module) else { continue };
            let group = groups.entry((layer, part)).or_insert_with(|| MusicgenGroup {
                name,
                modules: Vec::new(),
                layer,
                candidates: Vec::new(),
            });
            group.modules.push(module.to_string());
            group.add(step, float, group_size);
        }
        match groups.is_empty() {
            true => Err(BudgetError::NoLayers { group_size }),
            false => {
                Ok(MusicgenSubject { conversion, quantize: quantize.clone(), groups: groups.into_values().collect() })
            }
        }
    }

    /// The groups, by layer.
    pub fn groups(&self) -> &[MusicgenGroup] {
        &self.groups
    }

    /// The conversion.
    pub fn conversion(&self) -> &MusicgenConversion {
        self.conversion
    }

    /// The plan of the conversion.
    pub fn plan(&self) -> &MusicgenPlan {
        self.conversion.plan()
    }

    /// The options of the conversion with the candidate `choice[i]` for each group i.
    pub fn quantize(&self, choice: &[usize]) -> QuantizeOptions {
        let groups = self.groups.iter().zip(choice);
        let modules = groups.flat_map(|(group, &i)| {
            group.modules.iter().map(move |module| (module.clone(), group.candidates[i].quantization))
        });
        mixed(&self.quantize, modules.collect())
    }

    /// The size in bytes of all files of weights of the bundle with the candidate `choice[i]` for each group i, headers included.
    pub fn disk_len(&self, choice: &[usize]) -> u64 {
        self.conversion.plan_with(Some(self.quantize(choice))).disk_len()
    }

    /// The choice of one candidate everywhere.
    pub(super) fn uniform(&self, candidate: usize) -> Vec<usize> {
        vec![candidate; self.groups.len()]
    }

    /// The choice of the float type everywhere.
    pub(super) fn float(&self) -> Vec<usize> {
        self.uniform(WIDTHS.len())
    }

    pub(super) fn group_bytes(&self, choice: &[usize]) -> usize {
        self.groups.iter().zip(choice).map(|(group, &i)| group.candidates[i].bytes).sum()
    }

    /// Refuses a goal that can be told to be out of reach before anything is measured.
    ///
    /// # Errors
    /// [`BudgetError::TooSmallBundle`] if the fewest bits take more bytes than allowed.
    pub fn check(&self, goal: MusicgenGoal) -> Result<()> {
        let MusicgenGoal::Size(size) = goal else { return Ok(()) };
        let smallest = self.disk_len(&self.uniform(0));
        if smallest > size.0 { Err(BudgetError::TooSmallBundle { size, smallest, bits: WIDTHS[0] }) } else { Ok(()) }
    }

    /// The expected cost of the measurements.
    pub fn cost(&self) -> MusicgenCost {
        cost::of(self)
    }
}

impl MusicgenGroup {
    /// Adds a weight to the candidates' sizes.
    fn add(&mut self, step: &Step, float: Dtype, group_size: usize) {
        let quantized = WIDTHS.iter().filter_map(|&bits| {
            let quantization = Quantization::new(QuantizationMode::Affine, bits, group_size).ok()?;
            let bytes = Encoding::Quantized { quantization, float }.byte_len(&step.shape);
            Some(Candidate { quantization: Some(quantization), bytes })
        });
        let float = Candidate { quantization: None, bytes: Encoding::Float(float).byte_len(&step.shape) };
        let weight: Vec<Candidate> = quantized.chain([float]).collect();
        match self.candidates.is_empty() {
            true => self.candidates = weight,
            false => self.candidates.iter_mut().zip(weight).for_each(|(all, weight)| all.bytes += weight.bytes),
        }
    }
}

/// The layer of a module, the number of its group there, and the group's name.
pub(super) fn place(module: &str) -> Option<(usize, usize, String)> {
    if let Some(layer) = module.strip_prefix(MERGE) {
        return Some((layer.parse().ok()?, 0, module.to_string()));
    }
    let (layer, rest) = module.strip_prefix("lm.layers.")?.split_once('.')?;
    let (part, pattern) = match rest.split('.').next()? {
        "self_attn" => (1, "self_attn.*"),
        "cross_attn" => (2, "cross_attn.*"),
        _ => (3, "linear*"),
    };
    Some((layer.parse().ok()?, part, format!("lm.layers.{layer}.{pattern}")))
}
