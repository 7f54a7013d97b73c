//! A mix of encodings as options of a conversion.

use std::collections::BTreeMap;

use mert_arch::Quantization;
use mert_convert::QuantizeOptions;

/// The options that give each module its encoding, `None` for the float type; patterns are those of `options`.
pub(crate) fn mixed(options: &QuantizeOptions, modules: Vec<(String, Option<Quantization>)>) -> QuantizeOptions {
    // The most frequent is the default, so that a config.json lists as few layers as possible.
    let mut counts: BTreeMap<Quantization, usize> = BTreeMap::new();
    modules.iter().filter_map(|(_, own)| *own).for_each(|own| *counts.entry(own).or_default() += 1);
    let default = counts.iter().max_by_key(|(quantization, count)| (**count, std::cmp::Reverse(**quantization)));
    let default = default.map_or(options.default, |(quantization, _)| *quantization);
    let layers = modules.into_iter().filter(|(_, own)| *own != Some(default)).collect();
    QuantizeOptions { default, layers, ..options.clone() }
}
