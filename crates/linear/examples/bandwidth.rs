//! Measures products with stored weights beside a plain read of as many bytes: `bandwidth [MEGABYTES [ROUNDS
//! [ENCODING…]]]`, such as `bandwidth 1600 5 4-bit f16`.
//!
//! Each shape has so many weights in a mapped file that none is read from a cache. Rounds are interleaved, so that a load
//! on the machine meets all columns of the table.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};
use mert_fs::MappedFile;
use mert_linear::{Bytes, Linear};
use mert_simd::Kernel;
use pulp::Simd;
use rayon::prelude::*;

const SHAPES: [(usize, usize); 3] = [(2048, 2048), (8192, 2048), (2048, 8192)];

/// Rows of a product of the second kind: five seconds of EnCodec's frames, and one more.
const MANY_ROWS: usize = 251;

fn main() {
    // As a program does that makes many products: a product outside the pool wakes its threads first.
    rayon::ThreadPoolBuilder::new().build().unwrap().install(run);
}

fn run() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |argument| argument.parse::<usize>().unwrap());
    let (bytes, rounds) = (number(1600) << 20, number(5));
    let wanted: Vec<String> = arguments.collect();
    let is_wanted =
        |encoding: &Encoding| wanted.is_empty() || wanted.iter().any(|name_part| name(*encoding).contains(name_part));
    println!("{}, {} threads, {} lanes", processor(), rayon::current_num_threads(), mert_linear::isa().lanes());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    write(&path, bytes);
    let file = Arc::new(MappedFile::open(&path).unwrap());
    let reads = Rates::new((0..5).map(|_| bytes as f64 / seconds(|| read(file.bytes())) / 1e9).collect());
    println!("plain read of {} MB: {reads:.1} GB/s", bytes >> 20);
    println!("medians over all weights, and after `·` the fastest tenth, where other programs did not interfere\n");
    println!(
        "| encoding | shape | plain read GB/s | 1 row GB/s | 2 rows GB/s | of the read | {MANY_ROWS} rows GFLOP/s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for encoding in encodings().into_iter().filter(is_wanted) {
        for (outputs, inputs) in SHAPES {
            let weights = weights(&file, encoding, outputs, inputs);
            let length = weights[0].byte_len();
            let x: Vec<f32> = (0..MANY_ROWS * inputs).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let mut y = vec![0.0; MANY_ROWS * outputs];
            let mut columns: [Vec<f64>; 4] = Default::default();
            for _ in 0..rounds {
                let parts = file.bytes()[..length * weights.len()].chunks_exact(length);
                columns[0].extend(parts.map(|bytes| length as f64 / seconds(|| read(bytes)) / 1e9));
                for rows in [1, 2] {
                    let rates = weights.iter().map(|weight| {
                        length as f64 / seconds(|| weight.forward(&x[..rows * inputs], &mut y[..rows * outputs])) / 1e9
                    });
                    columns[rows].extend(rates);
                }
                let flops = 2.0 * (MANY_ROWS * outputs * inputs) as f64;
                columns[3].extend((0..4).map(|i| flops / seconds(|| weights[i].forward(&x, &mut y)) / 1e9));
            }
            let [plain, one, two, many] = columns.map(Rates::new);
            println!(
                "| {} | ({outputs}, {inputs}) | {plain:.1} | {one:.1} | {two:.1} | {:.0} % · {:.0} % | {many:.0} |",
                name(encoding),
                100.0 * two.median / plain.median,
                100.0 * two.fast / plain.fast
            );
        }
    }
}

/// Rates of one column.
struct Rates {
    median: f64,
    /// The rate that a tenth of the measurements exceed.
    fast: f64,
}

impl Rates {
    fn new(mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        Rates { median: rates[rates.len() / 2], fast: rates[rates.len() * 9 / 10] }
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.median.fmt(f)?;
        f.write_str(" · ")?;
        self.fast.fmt(f)
    }
}

fn encodings() -> Vec<Encoding> {
    let affine = [4, 8, 3, 5, 6].map(|bits| Encoding::Quantized {
        quantization: Quantization::new(QuantizationMode::Affine, bits, 64).unwrap(),
        float: Dtype::F16,
    });
    affine.into_iter().chain([Dtype::F16, Dtype::Bf16, Dtype::F32].map(Encoding::Float)).collect()
}

fn name(encoding: Encoding) -> String {
    match encoding {
        Encoding::Float(dtype) => dtype.to_string(),
        Encoding::Quantized { quantization, .. } => quantization.to_string(),
    }
}

/// As many weights as the file has room for, one after another.
fn weights(file: &Arc<MappedFile>, encoding: Encoding, outputs: usize, inputs: usize) -> Vec<Linear> {
    let mut start = 0;
    let mut next = |length: usize| {
        let bytes = Bytes::mapped(file.clone(), start..start + length)?;
        start += length;
        Some(bytes)
    };
    let one = || {
        Some(match encoding {
            Encoding::Float(dtype) => {
                Linear::float(outputs, inputs, dtype, next(outputs * inputs * dtype.size())?).unwrap()
            }
            Encoding::Quantized { quantization, float } => {
                let weight = next(outputs * quantization.packed_columns(inputs) * 4)?;
                let groups = outputs * quantization.groups(inputs) * float.size();
                let (scales, biases) = (next(groups)?, next(groups)?);
                Linear::quantized(outputs, inputs, quantization, float, weight, scales, biases).unwrap()
            }
        })
    };
    std::iter::from_fn(one).collect()
}

/// Writes bytes that are ordinary floats in every type: the exponents of a pattern without infinities.
fn write(path: &std::path::Path, bytes: usize) {
    let pattern: Vec<u8> = (0..1 << 20)
        .map(|i: usize| if i % 2 == 1 { 0x30 | (i * 7919 % 251 % 8) as u8 } else { (i * 7919 % 251) as u8 })
        .collect();
    let mut file = std::fs::File::create(path).unwrap();
    for _ in 0..bytes >> 20 {
        std::io::Write::write_all(&mut file, &pattern).unwrap();
    }
}

/// Reads all bytes on all threads with the widest registers, in pieces of the size of a product's tasks.
fn read(bytes: &[u8]) {
    let sum =
        bytes.par_chunks(128 << 10).map(|bytes| mert_linear::isa().run_dots(Read(bytes))).reduce(|| 0, |a, b| a ^ b);
    std::hint::black_box(sum);
}

struct Read<'a>(&'a [u8]);

impl Kernel for Read<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> u32 {
        let (lines, _) = S::as_simd_u32s(bytemuck::cast_slice(self.0));
        let mut sums = [simd.splat_u32s(0); 4];
        for line in lines.as_chunks::<4>().0 {
            for (sum, &words) in sums.iter_mut().zip(line) {
                *sum = simd.xor_u32s(*sum, words);
            }
        }
        bytemuck::cast_slice::<_, u32>(&sums).iter().fold(0, |all, sum| all ^ sum)
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.to_string())
}
