//! Classifier-free guidance.

/// Logits that are moved away from those without the text: `null + scale · (text − null)`, as in transformers and audiocraft.
///
/// The rows are `[text, null]`, of equal lengths.
pub fn guided(rows: &[f32], scale: f32) -> Vec<f32> {
    let (text, null) = rows.split_at(rows.len() / 2);
    text.iter().zip(null).map(|(text, null)| null + (text - null) * scale).collect()
}
