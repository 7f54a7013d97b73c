//! Generated checkpoints whose weights make every defect visible in the outputs.

use mert_arch::{Config, Role, inventory, weight_norm};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::Tensor;

/// A checkpoint for `config` with the published names (weight norm unfused, with `masked_spec_embed`), in forward order. The
/// same arguments give the same values on every machine.
///
/// The weights are sharp: every bias, gain and norm differs from its default and attention is far from uniform, so that a
/// defect changes the outputs. A default initialisation hides many defects: a missing bias of zero, a missing gain of one.
pub fn sharp_checkpoint(config: &Config, seed: u64) -> Vec<(String, Tensor)> {
    let width = config.hidden_size;
    let named = |name: &str, shape: &[usize]| (name.to_string(), sharp_tensor(name, shape, width, seed));
    let mut tensors = vec![named("masked_spec_embed", &[width])];
    for spec in inventory(config) {
        match spec.role {
            Role::PositionalConv => {
                let [g, v] = [weight_norm::SPELLINGS[0].g, weight_norm::SPELLINGS[0].v];
                tensors.push(named(g, &[1, 1, config.positional_conv().kernel()]));
                tensors.push(named(v, &spec.shape));
            }
            _ => tensors.push(named(&spec.name, &spec.shape)),
        }
    }
    tensors
}

/// One tensor of a model whose hidden size is `width`.
fn sharp_tensor(name: &str, shape: &[usize], width: usize, seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
    let fan_in = shape.iter().skip(1).product::<usize>().max(1) as f64;
    let kind = Kind::of(name);
    let count = shape.iter().product();
    let values = (0..count).map(|_| kind.value(rng.sample(StandardNormal), fan_in, shape, width) as f32);
    Tensor { shape: shape.to_vec(), values: values.collect() }
}

/// The kind of a tensor, which decides the distribution of its values. The gains keep activations near unit size through a
/// dozen layers; larger value projections or biases would make all frames equal, and attention uniform.
enum Kind {
    Magnitude,
    Direction,
    NormGain,
    QueryKeyWeight,
    QueryKeyBias,
    ValueOutWeight,
    FeedForwardWeight,
    PositionBias,
    PositionGateFactor,
    PositionGateBias,
    BatchNormGain,
    BatchNormMean,
    BatchNormVariance,
    LayerBias,
    Bias,
    Weight,
}

impl Kind {
    fn of(name: &str) -> Kind {
        let in_layers = name.starts_with("encoder.layers.");
        let is = |module: &str| name.contains(module);
        match name.rsplit('.').next().unwrap_or(name) {
            "weight_g" => Kind::Magnitude,
            "weight_v" => Kind::Direction,
            "gru_rel_pos_const" => Kind::PositionGateFactor,
            "running_mean" => Kind::BatchNormMean,
            "running_var" => Kind::BatchNormVariance,
            "weight" if is("layer_norm") => Kind::NormGain,
            "weight" if is("batch_norm") => Kind::BatchNormGain,
            "weight" if is("rel_attn_embed") => Kind::PositionBias,
            "bias" if is("gru_rel_pos_linear") => Kind::PositionGateBias,
            "weight" if is("q_proj") || is("k_proj") => Kind::QueryKeyWeight,
            "bias" if is("q_proj") || is("k_proj") => Kind::QueryKeyBias,
            "weight" if is("v_proj") || is("out_proj") => Kind::ValueOutWeight,
            "weight" if is("_dense") => Kind::FeedForwardWeight,
            "bias" if in_layers => Kind::LayerBias,
            "bias" => Kind::Bias,
            _ => Kind::Weight,
        }
    }

    fn value(&self, normal: f64, fan_in: f64, shape: &[usize], width: usize) -> f64 {
        match self {
            // Log-normal, so that all taps differ. The factor √(width / taps) keeps the size of the convolution's input.
            Kind::Magnitude => {
                (width as f64 / shape.last().map_or(1.0, |&taps| taps as f64)).sqrt() * (0.5 * normal).exp()
            }
            Kind::Direction => normal,
            Kind::NormGain => (0.3 * normal).exp(),
            Kind::QueryKeyWeight => normal * 2.1 / fan_in.sqrt(),
            Kind::QueryKeyBias => 0.5 * normal,
            Kind::ValueOutWeight => normal * 0.55 / fan_in.sqrt(),
            Kind::FeedForwardWeight => normal * 0.8 / fan_in.sqrt(),
            // Away from its initial value of 1 and well above 0, or the gate would be nearly constant.
            Kind::PositionGateFactor => 1.5 * (0.5 * normal).exp(),
            Kind::PositionGateBias => 0.5 * normal,
            Kind::PositionBias => 1.5 * normal,
            // A variance near the epsilon of 1e-5, which is to show, and a gain that returns the result to unit size.
            Kind::BatchNormGain => 0.1 * (0.3 * normal).exp(),
            Kind::BatchNormMean => 0.8 * normal,
            Kind::BatchNormVariance => 0.01 * normal.exp(),
            Kind::LayerBias => 0.1 * normal,
            Kind::Bias => 0.3 * normal,
            Kind::Weight => normal * 1.5 / fan_in.sqrt(),
        }
    }
}

/// FNV-1a, 64 bits: a stable hash, unlike the standard library's.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_names_shapes_and_count() {
        let config = Config { num_hidden_layers: 1, ..Config::mert_v1_95m() };
        let tensors = sharp_checkpoint(&config, 1);
        // One layer: 211 − 11 · 16.
        assert_eq!(tensors.len(), 35);
        assert_eq!(tensors, sharp_checkpoint(&config, 1));
        assert_ne!(tensors[1], sharp_checkpoint(&config, 2)[1]);
        for (name, tensor) in &tensors {
            assert!(tensor.values.iter().all(|v| v.is_finite()), "{name}");
            let at_default = |v: &&f32| **v == 0.0 || **v == 1.0;
            assert!(tensor.values.iter().filter(at_default).count() * 1000 <= tensor.values.len(), "{name}");
        }
    }
}
