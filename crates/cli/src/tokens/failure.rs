//! Files that were left out, in the words that all commands have for their reasons.

use mert_embed::EmbedError;
use mert_embed::failures::Failure;
use mert_embed::inputs::Input;
use mert_table::escape;
use mert_tokens::TokensError;

/// The failure of `input` with `error`.
pub(crate) fn failure(input: &Input, error: TokensError) -> Failure {
    match error {
        TokensError::Audio(error) => Failure::new(input, &EmbedError::Audio(error)),
        TokensError::Model(error) => Failure::new(input, &EmbedError::Model(error)),
        TokensError::NotFinite { layer, value } => Failure::new(input, &EmbedError::NotFinite { layer, value }),
        other => Failure { file: escape(&input.path), reason: "other".to_string(), message: other.to_string() },
    }
}
