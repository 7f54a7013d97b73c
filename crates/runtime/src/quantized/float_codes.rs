//! The small floats of the microscaling formats, as MLX decodes them
//! ([`fp4.h`](https://github.com/ml-explore/mlx/blob/main/mlx/backend/metal/kernels/fp4.h),
//! [`fp8.h`](https://github.com/ml-explore/mlx/blob/main/mlx/backend/metal/kernels/fp8.h)).

/// The value of a code in E2M1: 0, ½, 1, 1½, 2, 3, 4 or 6, negative with bit 3.
pub(crate) fn e2m1(code: u8) -> f32 {
    const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let magnitude = MAGNITUDES[usize::from(code & 7)];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The value of a byte in E4M3: 4 bits of exponent with bias 7, 3 of fraction. MLX has no NaN in it: 0x7f, which it never
/// writes, is 480.
pub(crate) fn e4m3(code: u8) -> f32 {
    let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = if exponent == 0 { fraction / 512.0 } else { (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7) };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The power of two 2^(exponent − 127), which is subnormal for exponent 0; NaN for 255.
pub(crate) fn e8m0(exponent: u8) -> f32 {
    match exponent {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(exponent) << 23),
    }
}
