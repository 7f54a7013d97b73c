//! The tokens of frames: a vocabulary packed for the exact search of the nearest centre.

use rayon::prelude::*;

use crate::kmeans::{Centres, Frames, Nearest};
use crate::vocabulary::Vocabulary;
use crate::{Result, TokensError};

/// Names the nearest centre of each frame.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    centres: Centres,
}

impl Tokenizer {
    /// A tokenizer with the centres of `vocabulary`.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] for a vocabulary without centres.
    pub fn new(vocabulary: Vocabulary) -> Result<Self> {
        let centres = Centres::new(vocabulary.centroids().to_vec(), vocabulary.dim());
        let centres = centres.ok_or_else(|| TokensError::Invalid("the vocabulary has no centres".into()))?;
        Ok(Tokenizer { vocabulary, centres })
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The nearest centre of each frame of `values` `(frames, width)`, normalised and projected as the vocabulary says.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] for frames of another width, or values that are not finite.
    pub fn nearest(&self, values: &[f32]) -> Result<Vec<Nearest>> {
        let width = self.vocabulary.input_dim();
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(TokensError::Invalid(format!("{} values are not frames of {width} values", values.len())));
        }
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(TokensError::Invalid(format!("a frame has the value {value}, expected finite values")));
        }
        let prepared: Vec<f32>;
        let values = match self.vocabulary.is_plain() {
            true => values,
            false => {
                let prepare = |frame: &[f32]| {
                    let mut prepared = Vec::new();
                    self.vocabulary.prepare(frame, &mut prepared).map(|()| prepared)
                };
                prepared = values.par_chunks_exact(width).map(prepare).collect::<Result<Vec<_>>>()?.concat();
                &prepared
            }
        };
        let frames = Frames::new(values, self.vocabulary.dim());
        Ok(frames.map(|frames| self.centres.nearest(frames)).unwrap_or_default())
    }

    /// The token of each frame of `values` `(frames, width)`.
    ///
    /// # Errors
    /// Those of [`Tokenizer::nearest`].
    pub fn tokens(&self, values: &[f32]) -> Result<Vec<u32>> {
        Ok(self.nearest(values)?.iter().map(|found| found.centre).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Normalize;

    #[test]
    fn tokens_are_those_of_the_plain_search() {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
        let mut vocabulary = Vocabulary::new((0..50 * 24).map(value).collect(), 24).unwrap();
        let frames: Vec<f32> = (0..200 * 24).map(|i| value(i + 333) * 3.0).collect();
        for normalize in [Normalize::None, Normalize::L2] {
            vocabulary.normalize = normalize;
            let tokens = Tokenizer::new(vocabulary.clone()).unwrap().tokens(&frames).unwrap();
            for (frame, token) in frames.chunks(24).zip(tokens) {
                let mut prepared = Vec::new();
                vocabulary.prepare(frame, &mut prepared).unwrap();
                assert_eq!(token, vocabulary.nearest(&prepared).unwrap().0);
            }
        }
        let tokenizer = Tokenizer::new(vocabulary).unwrap();
        assert!(tokenizer.tokens(&frames[..25]).is_err());
        assert!(tokenizer.tokens(&[f32::NAN; 24]).is_err());
    }
}
