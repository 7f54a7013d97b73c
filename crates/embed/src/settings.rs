//! The options for reading inputs, and the provenance that outputs and journals record.

use std::time::Duration;

use mert_audio::{Damage, ReadOptions, Seconds, Tail, WindowPolicy};
use mert_runtime::DeviceKind;
use mert_table as table;
use mert_table::{Alignment, Arithmetic, Device, Hybrid, OtherEncoder, Provenance};

use crate::encoders::{Encoder, Encoders};

/// The options for decoding inputs and cutting them into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputOptions {
    /// The parts of a track that are embedded.
    pub window: WindowPolicy,
    /// The treatment of the remainder that sliding windows do not cover.
    pub tail: Tail,
    /// The treatment of damaged files.
    pub damage: Damage,
    /// The version of the installed ffmpeg, if it decodes files that cannot be read otherwise.
    pub ffmpeg: Option<&'static str>,
    /// The sample rate of raw samples on standard input, in hertz.
    pub input_rate: Option<u32>,
}

impl InputOptions {
    /// The options for decoding a file.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions { damage: self.damage, ffmpeg: self.ffmpeg.is_some() }
    }
}

/// The provenance of what `encoders` compute from inputs read with `options`.
pub fn provenance(encoders: &Encoders, options: &InputOptions) -> Provenance {
    let Encoder { embedder, file, .. } = encoders.first();
    let config = embedder.config();
    Provenance {
        generator: concat!("mert-embed ", env!("CARGO_PKG_VERSION")).to_string(),
        model_sha256: file.sha256.clone(),
        license: file.license.clone(),
        hidden_states: embedder.layers().to_vec(),
        projection: embedder.projection(),
        pool: embedder.pool(),
        normalize: embedder.normalization(),
        window: recorded_window(&options.window),
        tail: match options.tail {
            Tail::Align => table::Tail::Align,
            Tail::Keep => table::Tail::Keep,
            Tail::Drop => table::Tail::Drop,
        },
        damaged: match options.damage {
            Damage::Refuse => table::Damage::Refuse,
            Damage::Keep => table::Damage::Keep,
        },
        ffmpeg: options.ffmpeg.map(ToString::to_string),
        sample_rate: embedder.sample_rate(),
        do_normalize: embedder.normalizes(),
        assumed: file.assumed.clone(),
        dim: embedder.dim(),
        frame_hop: config.hop(),
        frame_length: config.receptive_field(),
        arithmetic: arithmetic(encoders.first()),
        hybrid: hybrid(encoders),
    }
}

/// The encoders after the first, if there are any.
fn hybrid(encoders: &Encoders) -> Option<Hybrid> {
    let others: Vec<OtherEncoder> = encoders.others().iter().map(other).collect();
    let Encoder { name, embedder, .. } = encoders.first();
    let alignment = if embedder.pool().has_frames() { Alignment::NearestFrame } else { Alignment::Window };
    (!others.is_empty()).then(|| Hybrid { first: name.clone(), alignment, others })
}

fn other(encoder: &Encoder) -> OtherEncoder {
    let Encoder { name, embedder, file, .. } = encoder;
    let config = embedder.config();
    OtherEncoder {
        name: name.clone(),
        model_sha256: file.sha256.clone(),
        license: file.license.clone(),
        hidden_states: embedder.layers().to_vec(),
        pool: embedder.pool(),
        sample_rate: embedder.sample_rate(),
        do_normalize: embedder.normalizes(),
        assumed: file.assumed.clone(),
        dim: embedder.dim(),
        frame_hop: config.hop(),
        frame_length: config.receptive_field(),
        arithmetic: arithmetic(encoder),
    }
}

fn arithmetic(encoder: &Encoder) -> Arithmetic {
    let device = match encoder.device {
        DeviceKind::Cpu => Device::Cpu,
        DeviceKind::Metal => Device::Metal,
        DeviceKind::Cuda => Device::Cuda,
    };
    Arithmetic { dtype: encoder.dtype, device }
}

/// A window policy in the words of the table's schema.
fn recorded_window(policy: &WindowPolicy) -> table::WindowPolicy {
    let duration = |seconds: Seconds| Duration::from_micros((seconds.get() * 1e6).round() as u64);
    match *policy {
        WindowPolicy::Whole => table::WindowPolicy::Whole,
        WindowPolicy::Middle(length) => table::WindowPolicy::Middle(duration(length)),
        WindowPolicy::Sliding { length, hop } => {
            table::WindowPolicy::Sliding { length: duration(length), hop: duration(hop) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Old tables hold the text of the audio crate's policies.
        #[test]
        fn windows_are_recorded_as_the_command_line_prints_them(length in 1u64..600_000_000, hop in 1u64..86_400_000_000) {
            let seconds = |micros: u64| Seconds::new(micros as f64 / 1e6).unwrap();
            let (length, hop) = (seconds(length), seconds(hop));
            for policy in [WindowPolicy::Whole, WindowPolicy::Middle(length), WindowPolicy::Sliding { length, hop }] {
                prop_assert_eq!(recorded_window(&policy).to_string(), policy.to_string());
            }
        }
    }
}
