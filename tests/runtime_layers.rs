//! The runtime computes only the layers up to the highest requested one.
//!
//! The test is alone in its program: it counts tracing spans, and tracing caches for the whole process whether a span
//! is enabled, so that the threads of other tests would race with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use mert_runtime::{Dtype, Model};
use mert_testkit::fixture;

/// Counts the spans that the encoder opens for each layer it runs.
struct LayerCounter(AtomicUsize);

impl tracing::Subscriber for &'static LayerCounter {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.name() == "encoder_layer"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.0.fetch_add(1, Ordering::Relaxed);
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn layers_above_the_highest_requested_one_are_not_run() {
    static COUNTER: LayerCounter = LayerCounter(AtomicUsize::new(0));
    tracing::subscriber::set_global_default(&COUNTER).unwrap();
    let model = Model::open(&fixture("mert-tiny/model.safetensors"), Dtype::F32, &Device::Cpu).unwrap();
    let samples: Vec<f32> = (0..800).map(|i| (i % 7) as f32 - 3.0).collect();
    for (wanted, expected) in [(&[6][..], 6), (&[0], 0), (&[12, 3], 12), (&[1, 2], 2)] {
        COUNTER.0.store(0, Ordering::Relaxed);
        model.hidden_states(&samples, wanted).unwrap();
        assert_eq!(COUNTER.0.load(Ordering::Relaxed), expected, "{wanted:?}");
    }
}
