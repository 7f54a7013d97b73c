//! The ELU, with its exponential on vectors: candle computes one at a time on the CPU, which takes as long as the
//! convolutions.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use mert_simd::{Isa, Kernel, TileShape, at_least, mul_add};
use pulp::Simd;

use crate::Result;

/// x where it is positive, else eˣ − 1, as `torch.nn.ELU`.
pub(crate) fn elu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { Ok(x.contiguous()?.apply_op1_no_bwd(&Elu)?) } else { Ok(x.elu(1.0)?) }
}

/// The operation on the CPU.
struct Elu;

impl CustomOp1 for Elu {
    fn name(&self) -> &'static str {
        "elu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let values = storage.as_slice::<f32>()?;
        let values = match layout.contiguous_offsets() {
            Some((start, end)) => &values[start..end],
            None => candle_core::bail!("elu of a tensor that is not contiguous"),
        };
        let mut output = values.to_vec();
        Isa::detect().run(TileShape::Square, All(&mut output));
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

/// The kernel over a slice.
struct All<'a>(&'a mut [f32]);

impl Kernel for All<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let (vectors, rest) = S::as_mut_simd_f32s(self.0);
        for x in vectors {
            *x = vector(simd, *x);
        }
        if !rest.is_empty() {
            let x = vector(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, x);
        }
    }
}

/// max(x, 0) + (e^min(x, 0) − 1), with the difference as 2ⁿ·(2ᶠ − 1) + (2ⁿ − 1): near 0, where n is 0, nothing cancels.
///
/// 2ᶠ − 1 is the Taylor polynomial of degree 7 on ±½, whose remainder is below 2·10⁻⁹.
#[inline(always)]
fn vector<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const LN_2: f64 = std::f64::consts::LN_2;
    const P: [f32; 7] = [
        LN_2 as f32,
        (LN_2 * LN_2 / 2.0) as f32,
        (LN_2 * LN_2 * LN_2 / 6.0) as f32,
        (LN_2 * LN_2 * LN_2 * LN_2 / 24.0) as f32,
        (LN_2 * LN_2 * LN_2 * LN_2 * LN_2 / 120.0) as f32,
        (LN_2 * LN_2 * LN_2 * LN_2 * LN_2 * LN_2 / 720.0) as f32,
        (LN_2 * LN_2 * LN_2 * LN_2 * LN_2 * LN_2 * LN_2 / 5040.0) as f32,
    ];
    // Adding this puts the integer part of a small number into the low bits of the sum, and 127, the bias of the exponent,
    // with it.
    const SHIFT: f32 = 12_582_912.0 + 127.0;
    let zero = simd.splat_f32s(0.0);
    let one = simd.splat_f32s(1.0);
    let y = simd.mul_f32s(simd.min_f32s(zero, x), simd.splat_f32s(std::f32::consts::LOG2_E));
    let y = at_least(simd, simd.splat_f32s(-125.0), y);
    let shifted = simd.add_f32s(y, simd.splat_f32s(SHIFT));
    let f = simd.sub_f32s(y, simd.sub_f32s(shifted, simd.splat_f32s(SHIFT)));
    let mut p = simd.splat_f32s(P[6]);
    for i in (0..6).rev() {
        p = mul_add(simd, p, f, simd.splat_f32s(P[i]));
    }
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.transmute_f32s_u32s(power);
    let below = mul_add(simd, power, simd.mul_f32s(p, f), simd.sub_f32s(power, one));
    simd.add_f32s(at_least(simd, zero, x), below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_computes_the_elu() {
        let x: Vec<f32> = (-120_000..=8_003).map(|i| i as f32 / 1000.0).chain([-1e-6, -1e30, 1e30]).collect();
        for isa in Isa::available() {
            let mut y = x.clone();
            isa.run(TileShape::Square, All(&mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let expected = if x > 0.0 { f64::from(x) } else { f64::from(x).exp_m1() };
                // Relative near 0, where n is 0; below, two units in the last place of the terms, which are at most 1.
                let bound = if x.abs() < 0.3 || x > 0.0 { 3e-7 * expected.abs() } else { 1.2e-7 };
                assert!((f64::from(y) - expected).abs() <= bound, "{isa:?}: {x} gives {y}, expected {expected}");
            }
        }
    }
}
