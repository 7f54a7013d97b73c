//! Another quantization in a plan that is made: planning again would read tensors of the files once more.

use std::collections::BTreeMap;

use mert_arch::Encoding;

use super::config::names;
use super::language_model::{encoding, is_module, module, quantization};
use super::options::MusicgenOptions;
use super::plan::{MusicgenPlan, Planned};
use crate::plan::Choice;
use crate::transform::{Quantize, Transform};

impl Planned {
    /// The plan with the encodings of `options`, which differ from those of the plan in the quantization alone.
    pub(super) fn requantized(&self, options: &MusicgenOptions) -> MusicgenPlan {
        let mut plan = self.plan.clone();
        let (mut choices, mut layers) = (BTreeMap::new(), BTreeMap::new());
        for spec in plan.config.inventory() {
            let choice = encoding(&spec, options);
            let name = names(options).from_mlx(&spec.name).unwrap_or_else(|| spec.name.clone());
            if is_module(&spec) {
                layers.insert(module(&name).to_string(), choice.quantization());
            }
            choices.insert(name, choice);
        }
        for step in plan.parts.iter_mut().filter(|part| part.folder.is_empty()).flat_map(|part| &mut part.steps) {
            let Some(Choice { encoding, left_unquantized }) = choices.remove(&step.name) else { continue };
            step.chain.retain(|transform| !matches!(transform, Transform::Quantize(_)));
            if let Encoding::Quantized { quantization, float } = encoding {
                step.chain.push(Transform::Quantize(Quantize { quantization, float }));
            }
            step.outputs = encoding.stored_tensors(&step.name, &step.shape);
            step.left_unquantized = left_unquantized;
        }
        plan.quantization = options.quantize.as_ref().and_then(|options| quantization(layers, options));
        plan.files = plan.file_sizes(options.max_shard_size, &self.digest_names);
        plan
    }
}
