//! Allocations of live sound after its first embeddings: only those of rayon's queue.
//!
//! Alone in its program, whose allocator counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "common/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::allocated;
use mert_embed::{Embedder, Normalization, Pool, StreamingEmbedder, StreamingOptions};
use mert_runtime::{DeviceKind, Dtype, Model};
use mert_testkit::fixture;

/// Hops whose allocations are counted, after ten others.
const HOPS: usize = 60;

#[test]
fn a_hop_like_one_before_allocates_nothing() {
    let model = Model::open(&fixture("mert-tiny/model.safetensors"), Dtype::F32, &DeviceKind::Cpu.open().unwrap());
    let model = model.unwrap();
    for (layers, pooling, rate) in
        [("6", Pool::Mean, 24_000), ("all", Pool::MeanStd, 44_100), ("0,12", Pool::None, 8_000)]
    {
        let embedder = Embedder::new(model.clone(), &layers.parse().unwrap(), pooling, Normalization::L2).unwrap();
        let options =
            StreamingOptions { input_rate: rate, window: "500ms".parse().unwrap(), hop: "100ms".parse().unwrap() };
        let block: Vec<f32> = (0..rate / 100).map(|i| (i as f32 * 0.37).sin()).collect();
        let states = embedder.layers().len();
        let count = |embedder: &Embedder| {
            let mut stream = StreamingEmbedder::new(embedder.clone(), options).unwrap();
            let mut hops = 0;
            let mut push_until = |target: usize| {
                while hops < target {
                    stream.push(&block, |window| hops += usize::from(window.values.is_some())).unwrap();
                }
            };
            push_until(10);
            let before = allocated();
            push_until(10 + HOPS);
            allocated() - before
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let inside = pool.install(|| count(&embedder));
        let outside = count(&embedder);
        println!("{layers}, {pooling}, {rate} Hz: {inside} allocations in {HOPS} hops in a pool, {outside} outside");
        assert_eq!(inside, 0);
        // From outside each hidden state is a job for rayon's queue, which takes a block of memory for every 63.
        assert!(outside <= (HOPS * states).div_ceil(63), "{outside} allocations");
    }
}
