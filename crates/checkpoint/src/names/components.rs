//! The match of a name's dot-separated components with patterns.

/// Whether one of a name's dot-separated components equals one of `patterns`, or begins or ends as a pattern with a
/// trailing or leading `*`.
pub fn has_component(name: &str, patterns: &[&str]) -> bool {
    name.split('.').any(|component| patterns.iter().any(|pattern| matches(pattern, component)))
}

fn matches(pattern: &str, component: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(beginning), _) => component.starts_with(beginning),
        (_, Some(ending)) => component.ends_with(ending),
        _ => component == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_match_as_a_whole_or_by_an_end() {
        assert!(has_component("a.lora_A.weight", &["x", "lora_*"]));
        assert!(has_component("a.weight_ema", &["*_ema"]));
        assert!(has_component("a.scale.b", &["scale"]));
        for name in ["a.scales", "explora_A.weight", "a.ema_weight", ""] {
            assert!(!has_component(name, &["scale", "lora_*", "*_ema"]), "{name}");
        }
    }
}
