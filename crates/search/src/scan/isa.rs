//! The instruction sets: found at run time, each with the tile that fits its registers.

use pulp::{Scalar128b, Simd, WithSimd};

/// The vector instructions that the processor has, found at run time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Isa {
    /// 16 floats in a register, 32 registers.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// AVX2 and FMA: 8 floats, 16 registers.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// 4 floats, 32 registers.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
    /// Groups of 4 floats, for which the compiler chooses the instructions.
    Portable,
}

/// Code that is compiled once for each instruction set and tile: `ROWS` rows of a matrix by `QUERIES` queries, so that
/// their sums, a register of each row and one of a query fit the register file.
pub(crate) trait Kernel {
    type Output;

    /// Runs the kernel. Implementations are `#[inline(always)]`, and so is all that they call: anything else is not
    /// compiled for the instruction set.
    fn run<S: Simd, const ROWS: usize, const QUERIES: usize>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// The widest instruction set that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V4::try_new() {
                return Isa::Avx512(simd);
            }
            if let Some(simd) = pulp::x86::V3::try_new() {
                return Isa::Avx2(simd);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(simd) = pulp::aarch64::Neon::try_new() {
            return Isa::Neon(simd);
        }
        Isa::Portable
    }

    /// Every instruction set that this processor has.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut all = vec![Isa::detect(), Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        if let (Isa::Avx512(_), Some(simd)) = (Isa::detect(), pulp::x86::V3::try_new()) {
            all.push(Isa::Avx2(simd));
        }
        all
    }

    /// The floats in a register.
    pub(crate) fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd, const ROWS: usize, const QUERIES: usize>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        self.run(Lanes)
    }

    /// Runs `kernel` with this instruction set and its tile.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(simd) => Simd::vectorize(simd, Tiled::<K, 4, 5>(kernel)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(simd) => Simd::vectorize(simd, Tiled::<K, 2, 5>(kernel)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(simd) => Simd::vectorize(simd, Tiled::<K, 4, 5>(kernel)),
            Isa::Portable => Simd::vectorize(Scalar128b, Tiled::<K, 2, 5>(kernel)),
        }
    }
}

struct Tiled<K, const ROWS: usize, const QUERIES: usize>(K);

impl<K: Kernel, const ROWS: usize, const QUERIES: usize> WithSimd for Tiled<K, ROWS, QUERIES> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> K::Output {
        self.0.run::<S, ROWS, QUERIES>(simd)
    }
}

/// `a·b + c`, rounded once where the processor has a fused operation: one in software would be a function call for each
/// element.
#[inline(always)]
pub(crate) fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if std::any::TypeId::of::<S>() == std::any::TypeId::of::<Scalar128b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}
