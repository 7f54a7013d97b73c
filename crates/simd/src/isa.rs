//! The instruction sets: found at run time, each with the tiles that fit its registers, and the kernels compiled for
//! it.

use std::env;
use std::sync::OnceLock;

use pulp::{Scalar128b, Simd, WithSimd};

use crate::tile::{Tile, TileShape};

/// The environment variable that names the instruction set to use: `avx512`, `avx2`, `neon` or `portable`.
pub const ISA_VARIABLE: &str = "MERT_ISA";

/// The vector instructions that the processor has, found at run time.
#[derive(Debug, Clone, Copy)]
pub enum Isa {
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

/// Code that is compiled once for each instruction set and tile: `ROWS` rows by `VECTORS` registers of columns, chosen
/// so that the accumulators, one row of the right operand and one element of the left fit the register file.
pub trait Kernel {
    /// The result of the kernel.
    type Output;

    /// Runs the kernel. Implementations are `#[inline(always)]`, and so is all that they call: anything else is not
    /// compiled for the instruction set.
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// The tile for a result of `columns` columns: the wide one if its columns divide them.
    pub fn tile_for(self, columns: usize) -> Tile {
        let wide = self.tile(TileShape::Wide);
        if columns.is_multiple_of(wide.columns) { wide } else { self.tile(TileShape::Square) }
    }

    /// The instruction set of the kernels: the widest that this processor has or, for tests and measurements, the one that the
    /// environment variable [`ISA_VARIABLE`] names. A name that [`Isa::check_environment`] refuses has no effect.
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| Isa::from_environment().ok().flatten().unwrap_or_else(Isa::widest))
    }

    /// True if the environment variable [`ISA_VARIABLE`] names the instruction set: then it is used alone, without tile registers.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_named() -> bool {
        static NAMED: OnceLock<bool> = OnceLock::new();
        *NAMED.get_or_init(|| matches!(Isa::from_environment(), Ok(Some(_))))
    }

    /// Checks that the environment variable [`ISA_VARIABLE`], if it is set, names an instruction set of this processor.
    ///
    /// # Errors
    /// A sentence about its value.
    pub fn check_environment() -> Result<(), String> {
        Isa::from_environment().map(|_| ())
    }

    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
            Isa::Portable => "portable",
        }
    }

    fn from_environment() -> Result<Option<Self>, String> {
        let Some(name) = env::var_os(ISA_VARIABLE).filter(|name| !name.is_empty()) else { return Ok(None) };
        let all = Isa::all();
        let names: Vec<&str> = all.iter().map(|isa| isa.name()).collect();
        match all.iter().find(|isa| name == isa.name()) {
            Some(isa) => Ok(Some(*isa)),
            None => {
                let names = names.join(", ");
                Err(format!("{ISA_VARIABLE} is {name:?}, and this processor has {names}: set one of them, or none"))
            }
        }
    }

    /// The widest instruction set that this processor has.
    fn widest() -> Self {
        Isa::all().first().copied().unwrap_or(Isa::Portable)
    }

    /// Every instruction set that this processor has, the widest first.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(pulp::x86::V4::try_new().map(Isa::Avx512));
            all.extend(pulp::x86::V3::try_new().map(Isa::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        all.extend(pulp::aarch64::Neon::try_new().map(Isa::Neon));
        all.push(Isa::Portable);
        all
    }

    /// [`Isa::detect`] and every narrower instruction set that this processor has, for tests that compare them.
    pub fn available() -> Vec<Self> {
        let detected = Isa::detect().name();
        Isa::all().into_iter().skip_while(|isa| isa.name() != detected).collect()
    }

    /// The tile of this shape.
    pub fn tile(self, shape: TileShape) -> Tile {
        struct Size;
        impl Kernel for Size {
            type Output = (usize, usize);
            #[inline(always)]
            fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) -> (usize, usize) {
                (ROWS, VECTORS * S::F32_LANES)
            }
        }
        let (rows, columns) = self.run(shape, Size);
        Tile { shape, rows, columns }
    }

    /// The floats in a register.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        self.run_dots(Lanes)
    }

    /// Runs `kernel` with this instruction set and the tile of dot products along rows: `ROWS` rows by `VECTORS` queries,
    /// so that their sums, a register of each row and one of a query fit the register file.
    pub fn run_dots<K: Kernel>(self, kernel: K) -> K::Output {
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

    /// Runs `kernel` with this instruction set and its tile of this shape.
    pub fn run<K: Kernel>(self, shape: TileShape, kernel: K) -> K::Output {
        match (self, shape) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512(simd), TileShape::Square) => Simd::vectorize(simd, Tiled::<K, 12, 2>(kernel)),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512(simd), TileShape::Wide) => Simd::vectorize(simd, Tiled::<K, 8, 3>(kernel)),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2(simd), _) => Simd::vectorize(simd, Tiled::<K, 6, 2>(kernel)),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon(simd), _) => Simd::vectorize(simd, Tiled::<K, 6, 4>(kernel)),
            (Isa::Portable, _) => Simd::vectorize(Scalar128b, Tiled::<K, 3, 4>(kernel)),
        }
    }
}

struct Tiled<K, const ROWS: usize, const VECTORS: usize>(K);

impl<K: Kernel, const ROWS: usize, const VECTORS: usize> WithSimd for Tiled<K, ROWS, VECTORS> {
    type Output = K::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> K::Output {
        self.0.run::<S, ROWS, VECTORS>(simd)
    }
}

/// `a·b + c`, rounded once where the processor has a fused operation: one in software would be a function call for each
/// element.
#[inline(always)]
pub fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if is_portable::<S>() { simd.add_f32s(simd.mul_f32s(a, b), c) } else { simd.mul_add_e_f32s(a, b, c) }
}

/// The larger of `low` and `x`; NaN where `x` is.
#[inline(always)]
pub fn at_least<S: Simd>(simd: S, low: S::f32s, x: S::f32s) -> S::f32s {
    if is_portable::<S>() {
        return simd.select_f32s(simd.less_than_f32s(x, low), low, x);
    }
    // x86 returns the second operand where either is NaN, ARM returns NaN.
    simd.max_f32s(low, x)
}

#[inline(always)]
fn is_portable<S: Simd>() -> bool {
    std::any::TypeId::of::<S>() == std::any::TypeId::of::<Scalar128b>()
}
