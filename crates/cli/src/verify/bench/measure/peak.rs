//! The arithmetic peak of the processor, measured with fused multiply-adds. All unsafe code of the benchmark is here.

use std::hint::black_box;
use std::time::Instant;

use mert_arch::{ComputeType, Dtype};
use mert_runtime::{fast_compute_types, uses_tile_registers};
use rayon::ThreadPool;
use serde::Serialize;

/// The highest measured rate of an arithmetic: multiply-adds on registers only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct FmaPeak {
    /// The rate in 10⁹ operations per second; a multiply-add is two.
    pub(crate) gflops: f64,
    /// The instructions that reached the rate.
    pub(crate) instructions: &'static str,
}

/// The length of a burst: long enough that starting the threads does not count, short enough to fall between
/// interruptions.
const BURST_SECONDS: f64 = 0.01;
const BURSTS: usize = 50;

impl FmaPeak {
    /// Measures the peak of `compute` on all threads of `pool` at once: the best of several short bursts, with every kind of
    /// instruction that the processor has for it, or for f32 if it has none. Returns `None` for a pool whose threads did nothing, and
    /// for instructions that have no kernel here: those of tile registers, of AVX2 for integers, and of ARM for bf16 and integers.
    pub(crate) fn measure(pool: &ThreadPool, compute: ComputeType) -> Option<Self> {
        if uses_tile_registers(compute) {
            return None;
        }
        let peaks = kernels(compute).into_iter().filter_map(|kernel| {
            let gflops = (0..BURSTS).map(|_| kernel.burst(pool)).max_by(f64::total_cmp)?;
            (gflops > 0.0).then_some(FmaPeak { gflops, instructions: kernel.instructions })
        });
        peaks.max_by(|a, b| a.gflops.total_cmp(&b.gflops))
    }
}

/// A loop of independent chains of FMAs: enough chains to hide the latency of each, few enough to stay in registers.
struct Kernel {
    instructions: &'static str,
    /// Runs a number of rounds and returns the sum of the results.
    run: fn(rounds: u64) -> f32,
    chains: usize,
    lanes: usize,
}

impl Kernel {
    /// Measures one burst, in 10⁹ operations per second over all threads, from before the first starts until the last
    /// has ended.
    fn burst(&self, pool: &ThreadPool) -> f64 {
        // The number of rounds is found by running, because clocks differ by more than a factor of three.
        let mut rounds = 1 << 14;
        loop {
            let started = Instant::now();
            pool.broadcast(|_| black_box((self.run)(black_box(rounds))));
            let seconds = started.elapsed().as_secs_f64();
            if seconds >= BURST_SECONDS {
                let fmas = rounds as f64 * (self.chains * self.lanes * pool.current_num_threads()) as f64;
                return 2.0 * fmas / seconds / 1e9;
            }
            rounds *= 2;
        }
    }
}

/// The factor and term of each step of a chain: its value tends to 1 and never becomes subnormal.
const FACTOR: f32 = 0.5;
const TERM: f32 = 0.5;

/// Defines a kernel of `$chains` registers, each a `$splat` value, that computes `$fma(value, factor, term)`.
macro_rules! kernel {
    ($(#[$attribute:meta])* $name:ident, $chains:expr, $splat:expr, $fma:expr, $sum:expr) => {
        $(#[$attribute])*
        fn $name(rounds: u64) -> f32 {
            let (factor, term) = ($splat(black_box(FACTOR)), $splat(black_box(TERM)));
            let mut chains = [$splat(black_box(2.0)); $chains];
            for _ in 0..rounds {
                for chain in &mut chains {
                    *chain = $fma(*chain, factor, term);
                }
            }
            chains.into_iter().map($sum).sum()
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::*;

    /// The number of chains. AVX2 has 16 registers. Two pipes with a latency of 4 are busy with 8; with 24 of AVX-512's
    /// 32 registers LLVM spills.
    const CHAINS: usize = 12;

    kernel!(
        #[target_feature(enable = "avx2,fma")]
        avx2,
        CHAINS,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        |v| _mm256_cvtss_f32(v)
    );
    kernel!(
        #[target_feature(enable = "avx512f")]
        avx512,
        CHAINS,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        |v| _mm512_cvtss_f32(v)
    );

    /// Adds two products of bf16 numbers to each lane, or four of 8-bit integers, of which `dot` makes the next sum.
    macro_rules! dots {
        ($name:ident, $features:literal, $zero:expr, $ones:expr, $dot:expr, $sum:expr) => {
            #[target_feature(enable = $features)]
            fn $name(rounds: u64) -> f32 {
                // Small numbers, so that the sums stay exact: 1 in bf16 twice, or 1 in bytes four times.
                let ones = black_box($ones);
                let mut chains = [$zero; CHAINS];
                for _ in 0..rounds {
                    for chain in &mut chains {
                        *chain = $dot(*chain, ones, ones);
                    }
                }
                chains.into_iter().map($sum).sum()
            }
        };
    }

    dots!(
        bf16,
        "avx512f,avx512bf16",
        _mm512_setzero_ps(),
        _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0), _mm512_set1_ps(1.0)),
        _mm512_dpbf16_ps,
        |v| _mm512_cvtss_f32(v)
    );
    dots!(int8, "avx512f,avx512vnni", _mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_dpbusd_epi32, |v| {
        _mm512_cvtsi512_si32(v) as f32
    });

    #[allow(unsafe_code)]
    pub(super) fn dot_kernels(compute: ComputeType) -> Vec<Kernel> {
        match compute {
            ComputeType::Float(Dtype::Bf16) if is_x86_feature_detected!("avx512bf16") => {
                // SAFETY: the processor has what the function is compiled for.
                let run = |n| unsafe { bf16(n) };
                vec![Kernel { instructions: "vdpbf16ps, bf16", run, chains: CHAINS, lanes: 32 }]
            }
            ComputeType::Int8 if is_x86_feature_detected!("avx512vnni") => {
                // SAFETY: as above.
                let run = |n| unsafe { int8(n) };
                vec![Kernel { instructions: "vpdpbusd, int8", run, chains: CHAINS, lanes: 64 }]
            }
            _ => Vec::new(),
        }
    }

    #[allow(unsafe_code)]
    pub(super) fn kernels() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has what the function is compiled for.
            kernels.push(Kernel { instructions: "AVX2 FMA", run: |n| unsafe { avx2(n) }, chains: CHAINS, lanes: 8 });
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: as above.
            kernels.push(Kernel {
                instructions: "AVX-512 FMA",
                run: |n| unsafe { avx512(n) },
                chains: CHAINS,
                lanes: 16,
            });
        }
        kernels
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::*;

    /// The number of chains. Four pipes with a latency of 4, as Apple's processors have, are busy with 16.
    const CHAINS: usize = 16;

    kernel!(
        #[target_feature(enable = "neon")]
        neon,
        CHAINS,
        |x| vdupq_n_f32(x),
        |v, a, b| vfmaq_f32(b, v, a),
        |v| vgetq_lane_f32::<0>(v)
    );

    #[allow(unsafe_code)]
    pub(super) fn kernels() -> Vec<Kernel> {
        if !std::arch::is_aarch64_feature_detected!("neon") {
            return Vec::new();
        }
        // SAFETY: the processor has what the function is compiled for.
        vec![Kernel { instructions: "NEON FMA", run: |n| unsafe { neon(n) }, chains: CHAINS, lanes: 4 }]
    }
}

const PORTABLE_CHAINS: usize = 32;

kernel!(portable, PORTABLE_CHAINS, |x: f32| x, |v: f32, a: f32, b: f32| v * a + b, |v| v);

/// The kernels of an arithmetic; those of f32 where the processor has no instructions for it.
fn kernels(compute: ComputeType) -> Vec<Kernel> {
    #[cfg(target_arch = "x86_64")]
    {
        let dots = x86::dot_kernels(compute);
        if !dots.is_empty() {
            return dots;
        }
    }
    if compute != ComputeType::F32 && fast_compute_types().contains(&compute) {
        return Vec::new();
    }
    let mut kernels =
        vec![Kernel { instructions: "portable multiply and add", run: portable, chains: PORTABLE_CHAINS, lanes: 1 }];
    #[cfg(target_arch = "x86_64")]
    kernels.extend(x86::kernels());
    #[cfg(target_arch = "aarch64")]
    kernels.extend(neon::kernels());
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_runs_its_chains() {
        // x ← x/2 + 1/2 from 2: 1 + 2⁻ⁿ after n rounds, exact in f32. Each kernel sums one lane of each chain.
        for kernel in kernels(ComputeType::F32) {
            for (rounds, expected) in [(0, 2.0), (1, 1.5), (3, 1.125), (200, 1.0)] {
                assert_eq!((kernel.run)(rounds), kernel.chains as f32 * expected, "{} {rounds}", kernel.instructions);
            }
        }
    }

    #[test]
    fn one_kernel_is_the_fastest() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for compute in [ComputeType::F32, ComputeType::BF16, ComputeType::Int8] {
            let Some(peak) = FmaPeak::measure(&pool, compute) else {
                assert!(uses_tile_registers(compute) || fast_compute_types().contains(&compute), "{compute}");
                continue;
            };
            assert!(peak.gflops.is_finite() && peak.gflops > 0.0, "{peak:?}");
        }
    }

    /// Each chain of dot products sums as many ones as a lane has products.
    #[test]
    fn every_dot_product_is_counted() {
        for (compute, products) in [(ComputeType::BF16, 2), (ComputeType::Int8, 4)] {
            for kernel in kernels(compute).iter().filter(|kernel| kernel.lanes > 16) {
                assert_eq!(kernel.lanes, 16 * products);
                assert_eq!((kernel.run)(100), (kernel.chains * 100 * products) as f32, "{}", kernel.instructions);
            }
        }
    }
}
