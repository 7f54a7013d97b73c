//! Residual vector quantization: each codebook codes what those before it have left.

use candle_core::{D, Tensor};

use crate::Result;

/// The codebooks.
pub(crate) struct Quantizer {
    codebooks: Vec<Codebook>,
}

/// The vectors of a codebook.
struct Codebook {
    /// The vectors, `(size, width)`.
    embed: Tensor,
    /// Half of their squared lengths, `(size,)`.
    half_squares: Tensor,
}

impl Quantizer {
    pub(crate) fn new(codebooks: Vec<Tensor>) -> Result<Self> {
        let codebook = |embed: Tensor| {
            let half_squares = (embed.sqr()?.sum(D::Minus1)? * 0.5)?;
            Ok(Codebook { embed, half_squares })
        };
        Ok(Quantizer { codebooks: codebooks.into_iter().map(codebook).collect::<Result<_>>()? })
    }

    /// The codes of vectors `(frames, width)`, for each codebook. Of equal distances the first vector is taken.
    pub(crate) fn encode(&self, vectors: &Tensor) -> Result<Vec<Vec<u32>>> {
        let mut residual = vectors.clone();
        let mut codes = Vec::with_capacity(self.codebooks.len());
        for codebook in &self.codebooks {
            // ‖x − e‖² = ‖x‖² − 2·(x·e − ½‖e‖²), of which the vector itself decides nothing.
            let nearness = residual.matmul(&codebook.embed.t()?)?.broadcast_sub(&codebook.half_squares)?;
            let nearest = nearness.argmax(D::Minus1)?;
            residual = (residual - codebook.embed.index_select(&nearest, 0)?)?;
            codes.push(nearest.to_vec1()?);
        }
        Ok(codes)
    }

    /// The sums of the codes' vectors, `(frames, width)`; there may be fewer lists of codes than codebooks.
    pub(crate) fn decode(&self, codes: &[Vec<u32>]) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for (codebook, codes) in self.codebooks.iter().zip(codes) {
            let indices = Tensor::from_slice(codes, codes.len(), codebook.embed.device())?;
            let vectors = codebook.embed.index_select(&indices, 0)?;
            sum = Some(match sum {
                Some(sum) => (sum + vectors)?,
                None => vectors,
            });
        }
        sum.ok_or(crate::EncodecError::Codebooks { found: 0, expected: self.codebooks.len() })
    }
}
