//! The plan of a GGUF file: quantized linear layers as blocks of ggml.

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode, StoredDtype, StoredTensor};

use crate::plan::{Plan, Step};
use crate::transform::{GgmlBlocks, Transform};
use crate::{ConvertError, Result};

/// Turns quantized linear layers into blocks of ggml.
///
/// MLX's affine 4-bit codes in groups of 32 and 64 with f16 scales become `Q4_1`, which holds the same values. Layers of 8 bits
/// are quantized by ggml's own rule for `Q8_0`, from the checkpoint's values: MLX's 8 bits with a bias fit no type of ggml.
///
/// # Errors
/// [`ConvertError::Gguf`] for any other quantization, and for both kinds in one model.
pub(super) fn refine(mut plan: Plan) -> Result<Plan> {
    let mut types: Vec<GgmlBlocks> = Vec::new();
    for step in &mut plan.steps {
        let Encoding::Quantized { quantization, float } = step.encoding() else { continue };
        let blocks = of(quantization, float)?;
        pack(step, blocks);
        types.push(blocks);
    }
    if types.contains(&GgmlBlocks::Q8_0) {
        if types.contains(&GgmlBlocks::Q4_1) {
            return Err(ConvertError::gguf("some layers have 4 bits and some 8; give all of them the same"));
        }
        // What the metadata calls a quantization is one of MLX's.
        plan.quantization = None;
        plan.notes.push(
            "Q8_0 is ggml's own rule, applied to the checkpoint's values; it is not MLX's 8-bit quantization, whose groups have a \
             bias"
                .to_string(),
        );
    }
    Ok(plan)
}

/// The type of ggml that holds a quantization with scales in `float`.
///
/// # Errors
/// [`ConvertError::Gguf`] with the reason why there is none, and what to do.
pub(super) fn of(quantization: Quantization, float: Dtype) -> Result<GgmlBlocks> {
    const ADVICE: &str = "give --q-bits 4 with --q-group-size 32 or 64 (Q4_1), or --q-bits 8 (Q8_0)";
    let Quantization { mode, bits, group_size } = quantization;
    let reason = match (mode, bits, group_size) {
        (QuantizationMode::Affine, 4, 32 | 64) if float == Dtype::F16 => return Ok(GgmlBlocks::Q4_1),
        (QuantizationMode::Affine, 8, GgmlBlocks::LEN) => return Ok(GgmlBlocks::Q8_0),
        (QuantizationMode::Affine, 4, 32 | 64) => {
            format!("the scales of Q4_1 are f16, not {float}; leave --dtype out, or give --dtype f16")
        }
        (QuantizationMode::Affine, 8, _) => {
            format!("the blocks of Q8_0 are 32 values, not {group_size}; leave --q-group-size out")
        }
        _ => format!("no type of ggml holds {quantization} without rounding it again; {ADVICE}"),
    };
    Err(ConvertError::gguf(reason))
}

/// Ends a step in blocks of ggml.
fn pack(step: &mut Step, blocks: GgmlBlocks) {
    if blocks == GgmlBlocks::Q8_0 {
        step.chain.retain(|transform| !matches!(transform, Transform::Quantize(_)));
        for transform in &mut step.chain {
            if let Transform::Cast(cast) = transform {
                cast.to = Dtype::F32;
            }
        }
    }
    step.chain.push(Transform::GgmlBlocks(blocks));
    let mut shape = step.shape.clone();
    if let Some(columns) = shape.last_mut() {
        *columns = *columns / GgmlBlocks::LEN * blocks.byte_len();
    }
    step.outputs = vec![StoredTensor { name: step.name.clone(), shape, dtype: StoredDtype::U8 }];
}
