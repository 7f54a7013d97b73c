//! Decodes a file, mixes it to mono, resamples it, and writes raw little-endian f32 samples:
//! `cargo run --release -p mert-audio --example decode -- FILE RATE OUT.f32`
#![allow(clippy::print_stderr)]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use mert_audio::{AudioFile, Damage, Resampler, Source};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, rate, output] = arguments.as_slice() else { return Err("decode FILE RATE OUT.f32".into()) };
    let mut file = AudioFile::open(input.as_ref(), Damage::Refuse)?;
    eprintln!("{:?}", file.info());
    let mut resampler = Resampler::new(file.sample_rate(), rate.parse()?)?;
    let mut output = BufWriter::new(File::create(output)?);
    let mut ready: Vec<u8> = Vec::new();
    while let Some(block) = file.next_block()? {
        resampler.push(block, |samples| ready.extend(samples.iter().flat_map(|x| x.to_le_bytes())));
        output.write_all(&ready)?;
        ready.clear();
    }
    resampler.finish(|samples| ready.extend(samples.iter().flat_map(|x| x.to_le_bytes())));
    output.write_all(&ready)?;
    Ok(output.flush()?)
}
