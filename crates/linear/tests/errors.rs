//! Tensors that do not fit the shape they are said to have.

use mert_arch::{Dtype, Quantization, QuantizationMode};
use mert_linear::{Bytes, Linear, LinearError};

fn bytes(count: usize) -> Bytes {
    vec![0; count].into()
}

#[test]
fn messages_name_the_tensor_and_what_was_expected() {
    let q4 = Quantization::new(QuantizationMode::Affine, 4, 64).unwrap();
    let mxfp4 = QuantizationMode::Mxfp4.default_quantization();
    let quantized = |inputs, q, w, s, b| Linear::quantized(2, inputs, q, Dtype::F16, bytes(w), bytes(s), bytes(b));
    let cases: [(Result<Linear, LinearError>, &str); 9] = [
        (Linear::float(2, 3, Dtype::F16, bytes(11)), "`weight` has 11 bytes, expected 12 for (2, 3) in f16"),
        (Linear::float(0, 3, Dtype::F16, bytes(0)), "shape (0, 3)"),
        (Linear::float(usize::MAX, 3, Dtype::F16, bytes(0)), "not supported"),
        (quantized(128, q4, 127, 8, 8), "`weight` has 127 bytes, expected 128 for (2, 16) in u32, 4-bit g64"),
        (quantized(128, q4, 128, 16, 8), "`scales` has 16 bytes, expected 8 for (2, 2) in f16"),
        (quantized(128, q4, 128, 8, 4), "`biases` has 4 bytes"),
        (quantized(96, q4, 96, 8, 8), "not a multiple of the group size 64"),
        (quantized(64, mxfp4, 64, 4, 4), "mxfp4 g32, expected mode affine"),
        (Linear::float(2, 3, Dtype::F32, bytes(24)).unwrap().with_bias(vec![0.0]), "1 values, expected 2"),
    ];
    for (result, words) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
