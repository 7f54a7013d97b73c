//! The codes of a quantized bundle beside the floats of another bundle of the same model, of which each weight must hold what
//! `mx.quantize` makes, or beside the codes of one with the same quantization, which must be equal.

use std::collections::BTreeMap;

use mert_arch::{Encoding, Quantization, printable_line};
use mert_musicgen::bundle::BundleConfig;

use super::tensors::{StoredTensor, float, widened};
use super::verdict::{Figure, PartVerdict};
use crate::quantized::{PackedWeight, check_weight, decode};

/// The verdict on the codes of all weights that are quantized in `ours`, and what cannot be compared.
pub(super) fn compare(
    ours: (&BTreeMap<String, StoredTensor<'_>>, &BundleConfig),
    theirs: (&BTreeMap<String, StoredTensor<'_>>, &BundleConfig),
) -> (Option<PartVerdict>, Vec<String>) {
    let ((ours, config), (theirs, other)) = (ours, theirs);
    let mut seen = Seen::default();
    let mut other_bits = 0usize;
    let modules = |tensors: &BTreeMap<String, StoredTensor<'_>>| -> Vec<String> {
        tensors.keys().filter_map(|name| name.strip_suffix(".scales")).map(String::from).collect()
    };
    for module in modules(ours) {
        let quantization = quantization_of(config, &module);
        if of(theirs, &module, "scales").is_some() {
            if quantization.is_some() && quantization == quantization_of(other, &module) {
                let differs = |part: &&str| match (of(ours, &module, part), of(theirs, &module, part)) {
                    (Some(found), Some(expected)) => (found.dtype, found.bytes) != (expected.dtype, expected.bytes),
                    _ => true,
                };
                let parts = ["weight", "scales", "biases"];
                let values = of(ours, &module, "weight").map_or(0, |weight| weight.bytes.len() / size_of::<u32>());
                seen.weight(&module, values, parts.iter().filter(|part| differs(part)).count());
            } else {
                other_bits += 1;
            }
            continue;
        }
        match against_floats(&module, ours, theirs, quantization) {
            Ok((values, different)) => seen.weight(&module, values, different),
            Err(reason) => {
                return (
                    Some(PartVerdict::fault("codes", format!("`{}`: {reason}", printable_line(&module)))),
                    Vec::new(),
                );
            }
        }
    }
    let floats_here = modules(theirs).iter().filter(|module| of(ours, module, "scales").is_none()).count();
    let notes = [
        (other_bits, "weights are quantized in both with other bits or groups: the divergence alone judges them"),
        (floats_here, "weights are quantized in the other bundle only: the divergence alone judges them"),
    ];
    let notes = notes.into_iter().filter(|(count, _)| *count > 0);
    (seen.verdict(), notes.map(|(count, note)| format!("codes: {count} {note}")).collect())
}

/// A part of a module's quantized weight.
fn of<'t>(tensors: &BTreeMap<String, StoredTensor<'t>>, module: &str, part: &str) -> Option<StoredTensor<'t>> {
    tensors.get(&format!("{module}.{part}")).copied()
}

/// The weights that have been compared.
#[derive(Default)]
struct Seen {
    weights: usize,
    values: usize,
    different: usize,
    first: Option<String>,
}

impl Seen {
    fn weight(&mut self, module: &str, values: usize, different: usize) {
        self.weights += 1;
        self.values += values;
        self.different += different;
        if different > 0 && self.first.is_none() {
            self.first = Some(printable_line(module));
        }
    }

    fn verdict(self) -> Option<PartVerdict> {
        let part = self.first.map_or("codes".to_string(), |first| format!("codes, first in {first}"));
        let figures = vec![
            Figure { name: "differing values", value: self.different as f64, limit: Some(0.0) },
            Figure { name: "of", value: self.values as f64, limit: None },
            Figure { name: "weights", value: self.weights as f64, limit: None },
        ];
        (self.weights > 0).then_some(PartVerdict { part, figures, fault: None })
    }
}

/// The number of values of a quantized weight, and of those that are not what `mx.quantize` makes of the floats.
fn against_floats(
    module: &str,
    ours: &BTreeMap<String, StoredTensor<'_>>,
    theirs: &BTreeMap<String, StoredTensor<'_>>,
    quantization: Option<Quantization>,
) -> Result<(usize, usize), String> {
    let quantization = quantization.ok_or("config.json states no quantization of it")?;
    let parts = ["weight", "scales", "biases"].map(|part| of(ours, module, part));
    let [Some(codes), Some(scales), Some(biases)] = parts else {
        return Err("it has no weight, scales or biases".into());
    };
    let float = float(biases.dtype).ok_or("its biases are no floats")?;
    let expected = of(theirs, module, "weight").ok_or("the other bundle has no such weight")?;
    let expected = widened(expected).ok_or("the other bundle's weight is neither floats nor quantized")?;
    let packed = PackedWeight { codes: codes.bytes, scales: scales.bytes, biases: biases.bytes, float };
    let found = decode(packed, quantization).filter(|found| found.len() == expected.len());
    let found =
        found.ok_or_else(|| format!("its codes, scales and biases do not belong together at {quantization}"))?;
    let verdict = check_weight(&expected, &found, Encoding::Quantized { quantization, float });
    Ok((verdict.values, verdict.different))
}

/// The quantization of a module, which `config.json` states by the bundle's own names.
fn quantization_of(config: &BundleConfig, module: &str) -> Option<Quantization> {
    let scales = format!("{module}.scales");
    let own = config.names.from_mlx(&scales).unwrap_or(scales);
    config.quantization.as_ref()?.layer(own.strip_suffix(".scales").unwrap_or(module))
}
