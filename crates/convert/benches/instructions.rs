//! Instructions that the conversion's kernels take, counted by callgrind: the same on an idle and on a busy
//! machine. `scripts/bench/instructions.sh` runs this and compares with `instructions.tsv`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;
use mert_convert::transform::{Cast, FuseWeightNorm, Span, Transpose, check_finite};

/// The shape of some output channels of MERT-v1-95M's positional convolution: (channels, 48, 128).
const SHAPE: [usize; 3] = [16, 48, 128];
const LEN: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];

/// Values of every magnitude that weights have; their order does not matter to the kernels.
fn values() -> Vec<f32> {
    (0..LEN).map(|i| ((i * 2_654_435_761 % 65_521) as f32 - 32_760.0) / 16_384.0).collect()
}

fn cast_setup(from: SourceDtype, to: Dtype) -> (Cast, Vec<f32>, Vec<u8>) {
    (Cast { from, to }, values(), Vec::with_capacity(LEN * 4))
}

#[library_benchmark]
#[bench::f16(cast_setup(SourceDtype::F32, Dtype::F16))]
#[bench::bf16(cast_setup(SourceDtype::F32, Dtype::Bf16))]
#[bench::f32(cast_setup(SourceDtype::F32, Dtype::F32))]
fn cast((cast, values, mut bytes): (Cast, Vec<f32>, Vec<u8>)) -> Vec<u8> {
    let span = Span { tensor: "t", shape: &SHAPE, start: 0 };
    cast.apply(span, black_box(&values), &mut bytes).unwrap();
    bytes
}

#[library_benchmark]
#[bench::finite(values())]
fn check(values: Vec<f32>) -> Vec<f32> {
    check_finite(Span { tensor: "t", shape: &SHAPE, start: 0 }, black_box(&values)).unwrap();
    values
}

fn transpose_setup(shape: [usize; 3]) -> ([usize; 3], Vec<f32>, Vec<f32>) {
    (shape, values(), Vec::with_capacity(LEN))
}

#[library_benchmark]
#[bench::positional(transpose_setup(SHAPE))]
#[bench::feature_extractor(transpose_setup([64, 512, 3]))]
fn transpose((shape, values, mut moved): ([usize; 3], Vec<f32>, Vec<f32>)) -> Vec<f32> {
    Transpose { axes: [0, 2, 1] }.apply(&shape, black_box(&values), &mut moved);
    moved
}

#[library_benchmark]
#[bench::positional(values())]
fn fuse_weight_norm(values: Vec<f32>) -> Vec<f32> {
    let fuse = FuseWeightNorm { dim: 2 };
    let mut squares = fuse.zeros(&SHAPE);
    fuse.add_squares(&SHAPE, 0, black_box(&values), &mut squares);
    let scales = fuse.scales("v", &[1.0; SHAPE[2]], &squares).unwrap();
    let mut weight = Vec::with_capacity(LEN);
    fuse.apply(&SHAPE, 0, &scales, &values, Dtype::F16, &mut weight);
    weight
}

library_benchmark_group!(name = kernels, benchmarks = [cast, check, transpose, fuse_weight_norm]);
main!(library_benchmark_groups = kernels);
