//! Measures how long an embedding of live sound takes:
//! `cargo run --release -p mert-embed --example live -- MODEL [WINDOW] [HOP] [LAYER] [RATE] [DTYPE]`
//!
//! Pushes blocks of 10 ms as fast as they are processed, and prints the time of the pushes that completed a window: the
//! latency of an embedding beside the delay of the resampler.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use mert_embed::{Embedder, Normalization, Pool, StreamingEmbedder, StreamingOptions};
use mert_runtime::{ComputeType, DeviceKind, Model};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("live MODEL [WINDOW] [HOP] [LAYER] [RATE] [DTYPE]")?;
    let mut option = |default: &str| arguments.next().unwrap_or_else(|| default.to_string());
    let (window, hop, layer, rate) = (option("5s"), option("1s"), option("6"), option("24000"));
    let rate: u32 = rate.parse()?;
    let compute: ComputeType = option("f32").parse()?;

    let model = Model::open(model.as_ref(), compute, &DeviceKind::Cpu.open()?)?;
    let embedder = Embedder::new(model, &layer.parse()?, Pool::Mean, Normalization::None)?;
    let options = StreamingOptions { input_rate: rate, window: window.parse()?, hop: hop.parse()? };
    let mut stream = StreamingEmbedder::new(embedder, options)?;

    // The sound changes, so that no window is silent.
    let sample = |i: usize| ((i as f32 * 0.05).sin() + (i as f32 * 0.000_3).sin() * (i as f32 * 0.31).sin()) * 0.3;
    let block = (rate / 100) as usize;
    let (mut times, mut warm_up) = (Vec::new(), 3);
    for start in (0..).step_by(block) {
        let samples: Vec<f32> = (start..start + block).map(sample).collect();
        let started = Instant::now();
        let mut windows = 0;
        stream.push(&samples, |_| windows += 1)?;
        if windows > 0 {
            let seconds = started.elapsed().as_secs_f64();
            if warm_up > 0 { warm_up -= 1 } else { times.push(seconds) }
        }
        if times.len() == 30 {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{compute}, window {window}, hop {hop}, hidden state {layer}: {:.0} ms at the median of {} hops, {:.0} ms at most; the \
         resampler's delay is {:.1} ms",
        1e3 * median,
        times.len(),
        1e3 * worst,
        1e3 * stream.delay()
    );
    Ok(())
}
