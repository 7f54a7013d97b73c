//! The low-rank changes of a conversion: those between the weights of Instruct-MusicGen's checkpoint, and those of an adapter's
//! file.

use std::collections::BTreeMap;
use std::path::Path;

use mert_arch::naming::MusicgenNames;
use mert_arch::printable_line;
use mert_checkpoint::{AdapterFile, AdapterOrigin, AdapterTensor, LoraLayer};
use serde::Serialize;

use super::error::MusicgenProblem;
use super::tensors::{Factors, Found, Tensors};
use crate::transform::MergeLora;

/// The change of one weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) merge: MergeLora,
    /// A, B, and for DoRA the norms.
    pub(super) factors: Vec<Found>,
}

/// The changes, by the names of the weights in [`MusicgenNames::Mlx`].
pub(super) type Changes = BTreeMap<String, Change>;

/// The LoRA that a plan merges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLora {
    /// The file, or where in the checkpoint it is.
    pub origin: String,
    /// The number of weights that it changes.
    pub layers: usize,
    /// The smallest and the largest rank.
    pub ranks: [usize; 2],
    /// The smallest and the largest factor of B · A.
    pub scales: [f64; 2],
    /// What states the factor.
    pub scale_origin: String,
    /// Whether nothing states the factor, so that it is the published training's.
    pub is_scale_assumed: bool,
}

impl PlannedLora {
    fn new(origin: String, (scale_origin, is_scale_assumed): (String, bool), changes: &Changes) -> Option<Self> {
        let merges = || changes.values().map(|change| change.merge);
        let ranks = [merges().map(|merge| merge.rank).min()?, merges().map(|merge| merge.rank).max()?];
        let scales = merges().map(|merge| merge.scale);
        let scales = scales.fold([f64::INFINITY, 0.0], |[low, high], scale| [scale.min(low), scale.max(high)]);
        Some(PlannedLora { origin, layers: changes.len(), ranks, scales, scale_origin, is_scale_assumed })
    }
}

/// The factor of B · A in Instruct-MusicGen's published training: alpha 64 at rank 32.
const PUBLISHED_SCALE: f64 = 2.0;

/// The changes between the weights of a checkpoint, whose alpha is in hyper-parameters that are not read: `alpha` is the
/// user's.
pub(super) fn of_checkpoint(
    lora: BTreeMap<String, Factors>,
    alpha: Option<f64>,
    problems: &mut Vec<MusicgenProblem>,
) -> (Changes, Option<PlannedLora>) {
    let mut changes = Changes::new();
    for (name, factors) in lora {
        match change(&factors, alpha) {
            Ok(change) => drop(changes.insert(name, change)),
            Err((name, reason)) => problems.push(MusicgenProblem::Lora { name, reason }),
        }
    }
    let scale_origin = match alpha {
        Some(alpha) => format!("--lora-alpha {alpha}"),
        None => "alpha is twice the rank, as in the published training (64 at rank 32); --lora-alpha changes it".into(),
    };
    let planned = PlannedLora::new("in the checkpoint".into(), (scale_origin, alpha.is_none()), &changes);
    (changes, planned)
}

/// The change that two factors make, or the key of one and what is wrong.
fn change(factors: &Factors, alpha: Option<f64>) -> Result<Change, (String, String)> {
    let (a, b) = match (&factors.a, &factors.b) {
        (Some(a), Some(b)) => (a, b),
        (Some(one), None) => return Err((one.key.clone(), "there is no lora_B beside it".into())),
        (None, Some(one)) => return Err((one.key.clone(), "there is no lora_A beside it".into())),
        (None, None) => return Err((String::new(), "there are no factors".into())),
    };
    let (&[rank, _], &[_, columns]) = (&a.info.shape[..], &b.info.shape[..]) else {
        return Err((a.key.clone(), format!("shape {:?}, expected (rank, in)", a.info.shape)));
    };
    if rank == 0 || rank != columns {
        let reason = format!("shape {:?}, expected (out, rank) with the rank {rank} of lora_A", b.info.shape);
        return Err((b.key.clone(), reason));
    }
    let scale = alpha.map_or(PUBLISHED_SCALE, |alpha| alpha / rank as f64);
    let merge = MergeLora { rank, scale, is_transposed: false, has_magnitude: false };
    Ok(Change { merge, factors: vec![a.clone(), b.clone()] })
}

/// Adds the changes of an adapter's file, which is the source with number `source`, and replaces the tensors that it has whole.
pub(super) fn of_adapter(
    file: &AdapterFile,
    source: usize,
    tensors: &mut Tensors,
    changes: &mut Changes,
) -> Option<PlannedLora> {
    let found = |tensor: &AdapterTensor| {
        let key = tensor.key.strip_prefix(&file.key_start).unwrap_or(&tensor.key).to_string();
        Found { source, key, third: None, info: tensor.info.clone() }
    };
    let mut own = Changes::new();
    for (module, layer) in &file.adapter.layers {
        let key = || found(&layer.a).key;
        let problem = |reason: String| MusicgenProblem::Lora { name: key(), reason };
        let Some(name) = model_name(&format!("{module}.weight")) else {
            let reason = format!("it changes `{}`, which MusicGen does not have", printable_line(module));
            tensors.problems.push(problem(reason));
            continue;
        };
        if layer.bias.is_some() {
            tensors.problems.push(problem("it changes a bias, and MusicGen's layers have none".into()));
        }
        if changes.contains_key(&name) {
            let reason = format!("the checkpoint has a LoRA of `{name}` already; give an adapter of the merged model");
            tensors.problems.push(problem(reason));
            continue;
        }
        let LoraLayer { a, b, magnitude, is_transposed, rank, scale, .. } = layer;
        let merge =
            MergeLora { rank: *rank, scale: *scale, is_transposed: *is_transposed, has_magnitude: magnitude.is_some() };
        let factors = [Some(a), Some(b), magnitude.as_ref()].into_iter().flatten().map(found).collect();
        own.insert(name, Change { merge, factors });
    }
    for (name, tensor) in &file.adapter.replaced {
        match model_name(name) {
            Some(name) => drop(tensors.model.insert(name, found(tensor))),
            None => {
                let reason = "it replaces a tensor that MusicGen does not have".to_string();
                tensors.problems.push(MusicgenProblem::Lora { name: found(tensor).key, reason });
            }
        }
    }
    let origin = match &file.adapter.origin {
        AdapterOrigin::Peft(path) => format!("PEFT {}", file_name(path)),
        AdapterOrigin::MlxLm(path) => format!("mlx-lm {}", file_name(path)),
        AdapterOrigin::Embedded(name) => name.clone(),
    };
    let planned = PlannedLora::new(origin, ("stated by the adapter".into(), false), &own);
    changes.append(&mut own);
    planned
}

/// The name in [`MusicgenNames::Mlx`] of a tensor that an adapter names, in whatever scheme and below whatever modules.
fn model_name(name: &str) -> Option<String> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    starts.into_iter().find_map(|start| MusicgenNames::ALL.iter().find_map(|names| names.to_mlx(&name[start..])))
}

fn file_name(path: &Path) -> String {
    printable_line(&path.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use mert_checkpoint::{SourceDtype, TensorInfo};

    use super::*;

    fn factor(key: &str, shape: &[usize]) -> Option<Found> {
        let info = TensorInfo { dtype: SourceDtype::F32, shape: shape.to_vec() };
        Some(Found { source: 0, key: key.into(), third: None, info })
    }

    #[test]
    fn scales_are_the_published_one_or_the_user_s() {
        let factors = Factors { a: factor("a", &[32, 64]), b: factor("b", &[64, 32]) };
        assert_eq!(change(&factors, None).unwrap().merge.scale, 2.0);
        assert_eq!(change(&factors, Some(64.0)).unwrap().merge.scale, 2.0);
        assert_eq!(change(&factors, Some(16.0)).unwrap().merge.scale, 0.5);
        let lora = BTreeMap::from([("w".to_string(), factors)]);
        let (_, planned) = of_checkpoint(lora, None, &mut Vec::new());
        assert!(planned.unwrap().is_scale_assumed);
    }

    #[test]
    fn factors_that_do_not_fit_are_problems() {
        for (factors, key, words) in [
            (Factors { a: factor("a", &[4, 8]), b: None }, "a", "lora_B"),
            (Factors { a: None, b: factor("b", &[4, 8]) }, "b", "lora_A"),
            (Factors { a: factor("a", &[4, 8]), b: factor("b", &[8, 5]) }, "b", "rank 4"),
            (Factors { a: factor("a", &[4]), b: factor("b", &[8, 4]) }, "a", "(rank, in)"),
        ] {
            let (found, reason) = change(&factors, None).unwrap_err();
            assert_eq!(found, key);
            assert!(reason.contains(words), "{reason}");
        }
    }

    #[test]
    fn adapters_name_modules_in_every_scheme() {
        let expected = Some("lm.layers.3.cross_attn.q_proj.weight".to_string());
        for name in [
            "decoder.model.decoder.layers.3.encoder_attn.q_proj.weight",
            "layers.3.cross_attn.q_proj.weight",
            "lm.layers.3.cross_attn.q_proj.weight",
            "model.lm.transformer.layers.3.cross_attention.q_proj.weight",
        ] {
            assert_eq!(model_name(name), expected, "{name}");
        }
        assert_eq!(model_name("encoder.block.0.layer.0.SelfAttention.q.weight"), None);
    }
}
