//! The keys of an adapter's tensors: the module that a tensor changes, and its part in the change.

/// A part of a low-rank change of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The factor on the input's side: `(rank, in)`, or `(in, rank)` in mlx-lm's files.
    A,
    /// The factor on the output's side: `(out, rank)`, or `(rank, out)` in mlx-lm's files.
    B,
    /// DoRA's magnitude of each output row, `(out,)`.
    Magnitude,
    /// The bias of the factor B, `(out,)`.
    Bias,
}

/// The meaning of a key that has a component `lora_…`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AdapterKey<'k> {
    /// The path of the changed module.
    pub(super) module: &'k str,
    /// The part; `None` for one of another method than LoRA and DoRA of linear layers.
    pub(super) part: Option<Part>,
    /// The adapter's name, which PEFT has in a model's keys and leaves out of an adapter's file.
    pub(super) adapter: Option<&'k str>,
    /// Whether it is a key of mlx-lm, whose factors are transposed.
    pub(super) is_transposed: bool,
}

/// The components of PEFT's and loralib's keys, and of mlx-lm's.
const PARTS: [(&str, Part); 5] = [
    ("lora_A", Part::A),
    ("lora_B", Part::B),
    ("lora_magnitude_vector", Part::Magnitude),
    ("lora_a", Part::A),
    ("lora_b", Part::B),
];

/// Parses a key such as `layers.0.q_proj.lora_A.default.weight`, `layers.0.q_proj.lora_B.bias` or `layers.0.q_proj.lora_a`;
/// `None` if it has no component `lora` or `lora_…`.
pub(super) fn parse(key: &str) -> Option<AdapterKey<'_>> {
    let starts = std::iter::once(0).chain(key.match_indices('.').map(|(at, _)| at + 1));
    let is_lora = |component: &str| component == "lora" || component.starts_with("lora_");
    let component = |start: usize| key[start..].split('.').next().unwrap_or_default().to_ascii_lowercase();
    let start = starts.into_iter().find(|&start| is_lora(&component(start)))?;
    let module = key[..start].trim_end_matches('.');
    let mut components = key[start..].split('.');
    let component = components.next().unwrap_or_default();
    let tail: Vec<&str> = components.collect();
    let part = PARTS.iter().find(|(name, _)| *name == component).map(|(_, part)| *part);
    let (part, adapter) = match (part, &tail[..]) {
        (Some(Part::B), ["bias"]) => (Some(Part::Bias), None),
        (Some(Part::B), [adapter, "bias"]) => (Some(Part::Bias), Some(*adapter)),
        (part, [] | ["weight"]) => (part, None),
        (Some(Part::Magnitude), [adapter]) => (Some(Part::Magnitude), Some(*adapter)),
        (Some(part), [adapter, "weight"]) => (Some(part), Some(*adapter)),
        _ => (None, None),
    };
    Some(AdapterKey { module, part, adapter, is_transposed: matches!(component, "lora_a" | "lora_b") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_files_and_of_models() {
        for (key, part, adapter) in [
            ("a.q.lora_A.weight", Some(Part::A), None),
            ("a.q.lora_A.default.weight", Some(Part::A), Some("default")),
            ("a.q.lora_A", Some(Part::A), None),
            ("a.q.lora_a", Some(Part::A), None),
            ("a.q.lora_B.weight", Some(Part::B), None),
            ("a.q.lora_b", Some(Part::B), None),
            ("a.q.lora_B.bias", Some(Part::Bias), None),
            ("a.q.lora_B.second.bias", Some(Part::Bias), Some("second")),
            ("a.q.lora_magnitude_vector", Some(Part::Magnitude), None),
            ("a.q.lora_magnitude_vector.weight", Some(Part::Magnitude), None),
            ("a.q.lora_magnitude_vector.default", Some(Part::Magnitude), Some("default")),
            ("a.q.lora_magnitude_vector.default.weight", Some(Part::Magnitude), Some("default")),
            ("a.q.lora_embedding_A", None, None),
            ("a.q.lora_E.default", None, None),
            ("a.q.lora.down.weight", None, None),
            ("a.q.LoRA_down", None, None),
            ("a.q.lora_A.default.0.weight", None, None),
        ] {
            let is_transposed = key.contains(".lora_a") || key.contains(".lora_b");
            assert_eq!(parse(key), Some(AdapterKey { module: "a.q", part, adapter, is_transposed }), "{key}");
        }
        assert_eq!(parse("lora_A.weight").unwrap().module, "");
        for key in ["a.q.weight", "a.explora_A.weight", ""] {
            assert_eq!(parse(key), None, "{key}");
        }
    }
}
