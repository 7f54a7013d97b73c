//! Options in advice, quoted so that they can be pasted into a shell.

use std::collections::BTreeMap;

use mert_checkpoint::shell_option;

/// Options that drop tensors outside the encoder: by name, or by module where one holds many.
pub(super) fn drop_options(names: &[(&str, Option<&str>)]) -> String {
    const ONE_BY_ONE: usize = 3;
    let mut modules: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    names.iter().for_each(|(name, module)| modules.entry(*module).or_default().push(name));
    let options = modules.iter().flat_map(|(module, names)| match module {
        Some(module) if names.len() > ONE_BY_ONE => vec![shell_option("--drop", &format!("{module}*"))],
        _ => names.iter().map(|name| shell_option("--drop", name)).collect(),
    });
    let (paste, other): (Vec<_>, Vec<_>) = options.partition(Option::is_some);
    let mut advice: Vec<String> = Vec::new();
    if !paste.is_empty() {
        advice.push(paste.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    if !other.is_empty() {
        advice.push(DROP_PATTERN.into());
    }
    advice.join(" and ")
}

/// The advice for a name that cannot be pasted into a terminal.
pub(super) const DROP_PATTERN: &str = "a --drop pattern that ends in * before the control character";

/// `--drop` with a tensor's name, or advice on a pattern for it.
pub(super) fn drop_option(name: &str) -> String {
    shell_option("--drop", name).unwrap_or_else(|| DROP_PATTERN.into())
}

/// `--prefix` with its value, or without it if that cannot be pasted.
pub(super) fn prefix_option(prefix: &str) -> String {
    shell_option("--prefix", prefix).unwrap_or_else(|| "--prefix".into())
}
