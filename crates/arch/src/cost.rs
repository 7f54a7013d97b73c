//! The arithmetic cost of a forward pass, by which benchmarks report their speed.

use crate::Config;

/// Number of floating-point operations (a multiply and an add are two) of the matrix products in one forward pass over
/// `samples` input samples, up to and including hidden state `last`.
///
/// Norms, activations and softmax are left out: they are below one percent, and their count would depend on the
/// implementation. Returns 0 for an input shorter than the receptive field.
pub fn forward_flops(config: &Config, samples: usize, last: usize) -> f64 {
    let Some(frames) = config.frames(samples) else { return 0.0 };
    let mut macs = 0.0;
    let (mut length, mut input) = (samples, 1);
    for ((&output, &kernel), &stride) in config.conv_dim.iter().zip(&config.conv_kernel).zip(&config.conv_stride) {
        length = (length - kernel) / stride + 1;
        macs += length as f64 * (output * input * kernel) as f64;
        input = output;
    }
    let (t, width) = (frames as f64, config.hidden_size as f64);
    let layers = last.min(config.num_hidden_layers) as f64;
    macs += t * config.feature_size() as f64 * width;
    let positional = config.positional_conv();
    let taps = (positional.layers() * positional.kernel()) as f64;
    macs += t * width * width / positional.groups() as f64 * taps;
    macs += layers * t * (4.0 * width * width + 2.0 * width * config.intermediate_size as f64);
    2.0 * macs + attention_flops(config, samples, last)
}

/// The share of [`forward_flops`] that grows with the square of the length: every frame's query against every
/// frame's key, and the weighted sum of the values.
pub fn attention_flops(config: &Config, samples: usize, last: usize) -> f64 {
    let frames = config.frames(samples).unwrap_or(0) as f64;
    let layers = last.min(config.num_hidden_layers) as f64;
    2.0 * layers * 2.0 * frames * frames * config.hidden_size as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_and_thirty_seconds_of_the_published_model() {
        let config = Config::mert_v1_95m();
        // Summed by hand from the shapes: about 110 GFLOP at 5 s and 810 GFLOP at 30 s.
        assert!((forward_flops(&config, 120_000, 12) / 1e9 - 110.0).abs() < 5.0);
        assert!((forward_flops(&config, 720_000, 12) / 1e9 - 810.0).abs() < 15.0);
        assert_eq!(forward_flops(&config, 399, 12), 0.0);
        assert_eq!(attention_flops(&config, 399, 12), 0.0);
        // 12 layers · 2 products · 2 operations · 2249² · 768
        assert_eq!(attention_flops(&config, 720_000, 12), 12.0 * 4.0 * 2249.0 * 2249.0 * 768.0);
        assert_eq!(attention_flops(&config, 720_000, 0), 0.0);
    }
}
