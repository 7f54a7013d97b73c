//! The meaning of a key in the checkpoints of audiocraft's MusicGen and of Instruct-MusicGen.
//!
//! Both have the same modules. Instruct-MusicGen's are inside a Lightning module (`model.peft_model.lm.`) and PEFT's wrapper
//! (`transformer.base_model.model.`), hold the factors of LoRA, and have q, k and v both stacked and apart: which of the two
//! the forward pass reads differs between self-attention and cross-attention.

use super::MusicgenNames;

/// The meaning of a key. Names are those of [`MusicgenNames::Mlx`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MusicgenKey {
    /// A tensor of the model as it is.
    Tensor(String),
    /// The q, k and v of a self-attention, stacked along the first axis: `in_proj_weight`, which the forward pass reads.
    SelfAttention([String; 3]),
    /// The q, k and v of a cross-attention, stacked. The forward pass of plain MusicGen reads it, that of Instruct-MusicGen
    /// reads the weights apart.
    CrossAttention([String; 3]),
    /// A q, k or v of a self-attention apart, which only Instruct-MusicGen has and no forward pass reads.
    UnusedProjection,
    /// A factor of the LoRA of a weight: A, `(rank, in)`.
    LoraA(String),
    /// A factor of the LoRA of a weight: B, `(out, rank)`.
    LoraB(String),
    /// A layer of the language model under the condition transformer, which shares its modules: the tensor there.
    Alias(Box<MusicgenKey>),
}

/// The modules at the root of the language model.
const ROOTS: [&str; 6] = ["cp_transformer.", "transformer.", "emb.", "linears.", "out_norm.", "condition_provider."];

/// The meaning of a checkpoint's key and what precedes the model's own name in it; `None` for a key that neither
/// implementation has.
///
/// ```
/// use mert_arch::naming::{MusicgenKey, musicgen_key};
///
/// let key = "model.peft_model.lm.transformer.base_model.model.layers.2.cross_attention.v_proj.base_layer.weight";
/// let name = "lm.layers.2.cross_attn.v_proj.weight".to_string();
/// assert_eq!(musicgen_key(key), Some(("model.peft_model.lm.", MusicgenKey::Tensor(name))));
/// ```
pub fn musicgen_key(key: &str) -> Option<(&str, MusicgenKey)> {
    let starts = std::iter::once(0).chain(key.match_indices('.').map(|(at, _)| at + 1));
    let start = starts.into_iter().find(|&start| ROOTS.iter().any(|root| key[start..].starts_with(root)))?;
    let (prefix, name) = key.split_at(start);
    if let Some(layer) = name.strip_prefix("cp_transformer.layers.") {
        let meant = meaning(&format!("transformer.layers.{}", plain(layer)))?;
        return Some((prefix, MusicgenKey::Alias(Box::new(meant))));
    }
    Some((prefix, meaning(&plain(name))?))
}

/// A name without PEFT's wrapper and the name of its adapter.
fn plain(name: &str) -> String {
    let name = name.replacen("transformer.base_model.model.", "transformer.", 1);
    name.replacen(".base_layer.", ".", 1).replacen(".default.", ".", 1)
}

/// The meaning of a name without prefixes.
fn meaning(name: &str) -> Option<MusicgenKey> {
    let upstream = |name: &str| MusicgenNames::Upstream.to_mlx(name);
    if let Some(attention) = name.strip_suffix(".in_proj_weight") {
        let [q, k, v] = ["q", "k", "v"].map(|part| upstream(&format!("{attention}.{part}_proj.weight")));
        let parts = [q?, k?, v?];
        return match attention.rsplit('.').next()? {
            "self_attn" => Some(MusicgenKey::SelfAttention(parts)),
            "cross_attention" => Some(MusicgenKey::CrossAttention(parts)),
            _ => None,
        };
    }
    for (end, factor) in
        [(".lora_A.weight", MusicgenKey::LoraA as fn(String) -> MusicgenKey), (".lora_B.weight", MusicgenKey::LoraB)]
    {
        if let Some(module) = name.strip_suffix(end) {
            return Some(factor(upstream(&format!("{module}.weight"))?));
        }
    }
    let is_apart = |part: &str| name.ends_with(&format!(".self_attn.{part}_proj.weight"));
    if ["q", "k", "v"].into_iter().any(is_apart) {
        return Some(MusicgenKey::UnusedProjection);
    }
    Some(MusicgenKey::Tensor(upstream(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str) -> String {
        format!("lm.layers.4.{name}.weight")
    }

    fn stacked(attention: &str) -> [String; 3] {
        ["q_proj", "k_proj", "v_proj"].map(|part| layer(&format!("{attention}.{part}")))
    }

    #[test]
    fn keys_of_both_implementations() {
        let peft = "model.peft_model.lm.transformer.base_model.model.layers.4.";
        let (lm, bare) = ("model.peft_model.lm.", "transformer.layers.4.");
        let alias = |meant: MusicgenKey| MusicgenKey::Alias(Box::new(meant));
        use MusicgenKey::*;
        for (key, prefix, meant) in [
            (format!("{lm}emb.0.weight"), lm, Tensor("lm.emb.0.weight".into())),
            ("emb.0.weight".into(), "", Tensor("lm.emb.0.weight".into())),
            (format!("{lm}out_norm.bias"), lm, Tensor("lm.out_norm.bias".into())),
            (format!("{bare}self_attn.in_proj_weight"), "", SelfAttention(stacked("self_attn"))),
            (format!("{peft}self_attn.in_proj_weight"), lm, SelfAttention(stacked("self_attn"))),
            (format!("{peft}self_attn.q_proj.weight"), lm, UnusedProjection),
            (format!("{peft}self_attn.out_proj.weight"), lm, Tensor(layer("self_attn.out_proj"))),
            (format!("{bare}cross_attention.in_proj_weight"), "", CrossAttention(stacked("cross_attn"))),
            (format!("{peft}cross_attention.q_proj.base_layer.weight"), lm, Tensor(layer("cross_attn.q_proj"))),
            (format!("{peft}cross_attention.k_proj.weight"), lm, Tensor(layer("cross_attn.k_proj"))),
            (format!("{peft}cross_attention.v_proj.lora_A.default.weight"), lm, LoraA(layer("cross_attn.v_proj"))),
            (format!("{peft}cross_attention.v_proj.lora_B.default.weight"), lm, LoraB(layer("cross_attn.v_proj"))),
            ("model.cp_transformer.pos_emb".into(), "model.", Tensor("cp_transformer.pos_emb".into())),
            (
                "model.cp_transformer.merge_linear.9.weight".into(),
                "model.",
                Tensor("cp_transformer.merge_linear.9.weight".into()),
            ),
            ("model.cp_transformer.layers.4.linear1.weight".into(), "model.", alias(Tensor(layer("linear1")))),
            (
                "model.cp_transformer.layers.4.self_attn.in_proj_weight".into(),
                "model.",
                alias(SelfAttention(stacked("self_attn"))),
            ),
            ("model.cp_transformer.layers.4.self_attn.k_proj.weight".into(), "model.", alias(UnusedProjection)),
        ] {
            assert_eq!(musicgen_key(&key), Some((prefix, meant)), "{key}");
        }
        for key in
            ["", "emb", "lm.layers.0.norm1.weight", "transformer.layers.0.attn.in_proj_weight", "decoder.fc1.weight"]
        {
            assert_eq!(musicgen_key(key), None, "{key}");
        }
    }
}
