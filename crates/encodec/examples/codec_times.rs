//! The seconds that a codec takes to encode and to decode a clip of noise, for `scripts/bench/encodec.py`:
//! `codec_times FOLDER SECONDS RUNS`.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Instant;

use candle_core::Device;
use mert_encodec::Encodec;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, seconds, runs] = arguments.as_slice() else {
        return Err("usage: codec_times FOLDER SECONDS RUNS".into());
    };
    let codec = Encodec::open(folder.as_ref(), &Device::Cpu)?;
    let count = (seconds.parse::<f64>()? * f64::from(codec.sampling_rate())) as u32;
    let samples: Vec<f32> = (0..count).map(|i| i.wrapping_mul(2_654_435_769) as f32 / u32::MAX as f32 - 0.5).collect();
    for _ in 0..runs.parse()? {
        let start = Instant::now();
        let codes = codec.encode(&samples)?;
        let encoded = start.elapsed().as_secs_f64();
        let wave = codec.decode(&codes)?;
        let decoded = start.elapsed().as_secs_f64() - encoded;
        println!("{encoded:.4}\t{decoded:.4}\t{}", wave.len());
    }
    Ok(())
}
