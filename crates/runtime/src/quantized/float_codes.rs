//! The small floats of the microscaling formats, as MLX decodes them
//! ([`fp4.h`](https://github.com/ml-explore/mlx/blob/main/mlx/backend/metal/kernels/fp4.h),
//! [`fp8.h`](https://github.com/ml-explore/mlx/blob/main/mlx/backend/metal/kernels/fp8.h)).

/// The value of a code in E2M1: 0, ½, 1, 1½, 2, 3, 4 or 6, negative with bit 3.
pub(crate) fn e2m1(code: u8) -> f32 {
    const MAGNITUDES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let magnitude = MAGNITUDES[usize::from(code & 7)];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The value of a byte in E4M3: 4 bits of exponent with bias 7, 3 of fraction; NaN for 0x7f and 0xff.
pub(crate) fn e4m3(code: u8) -> f32 {
    let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = match code & 0x7f {
        0x7f => f32::NAN,
        0..8 => fraction / 512.0,
        _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The power of two 2^(exponent − 127): subnormal for exponent 0, infinite for 255.
pub(crate) fn e8m0(exponent: u8) -> f32 {
    f32::from_bits(if exponent == 0 { 1 << 22 } else { u32::from(exponent) << 23 })
}
