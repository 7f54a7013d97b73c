//! A vocabulary: the centres of a k-means, what is done to a frame before the nearest one is sought, and the record of the
//! model and the windows that it was trained on.
//!
//! - `projection.rs`: scaling, PCA and linear maps in front of the centres.
//! - `record.rs`, `check.rs`: the model and the windows of the training, and the check of those of a use.
//! - `file.rs`, `metadata.rs`: the file of this project, a `.safetensors`.
//! - `open.rs`, `foreign/`: any file, by its first bytes: numpy, scikit-learn and joblib, faiss.

mod check;
mod file;
mod foreign;
mod metadata;
mod open;
mod projection;
mod record;
#[cfg(test)]
mod tests;

pub use self::check::Expected;
pub use self::file::write_npy;
pub use self::open::{OpenedVocabulary, VocabularyFormat};
pub use self::projection::{Normalize, Projection, Step};
pub use self::record::{Record, Training};
use crate::{Result, TokensError};

/// The centres of a k-means and what leads to them. Token `i` is row `i` of the centres.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    centroids: Vec<f32>,
    dim: usize,
    /// The training frames of each centre.
    pub counts: Option<Vec<u64>>,
    /// The normalisation of a frame, before the projection.
    pub normalize: Normalize,
    /// The maps between a frame and the centres' space.
    pub projection: Option<Projection>,
    /// The model and the windows that it was trained on; `None` in a file of another program.
    pub record: Option<Record>,
}

impl Vocabulary {
    /// A vocabulary of centres alone, `(k, dim)` in row-major order.
    ///
    /// # Errors
    /// [`TokensError::Invalid`]: no centres, values that do not fill rows of `dim`, or one that is not finite.
    pub fn new(centroids: Vec<f32>, dim: usize) -> Result<Self> {
        if dim == 0 || centroids.is_empty() || !centroids.len().is_multiple_of(dim) {
            return Err(TokensError::Invalid(format!(
                "{} values are not centres of {dim} values each",
                centroids.len()
            )));
        }
        if u32::try_from(centroids.len() / dim).is_err() {
            return Err(TokensError::Invalid(format!(
                "{} centres are more than a token counts",
                centroids.len() / dim
            )));
        }
        if let Some(at) = centroids.iter().position(|value| !value.is_finite()) {
            return Err(TokensError::Invalid(format!(
                "value {} of centre {} is {}, expected finite numbers: the k-means did not converge, or the file is damaged",
                at % dim,
                at / dim,
                centroids[at]
            )));
        }
        Ok(Vocabulary { centroids, dim, counts: None, normalize: Normalize::None, projection: None, record: None })
    }

    /// The number of centres, and of tokens.
    pub fn k(&self) -> usize {
        self.centroids.len() / self.dim
    }

    /// The width of a centre.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The width of a frame: that of a centre, unless a projection is in front.
    pub fn input_dim(&self) -> usize {
        self.projection.as_ref().map_or(self.dim, Projection::input_dim)
    }

    /// The centres, `(k, dim)` in row-major order.
    pub fn centroids(&self) -> &[f32] {
        &self.centroids
    }

    /// The centre of a token; `None` beyond the vocabulary.
    pub fn centroid(&self, token: u32) -> Option<&[f32]> {
        let start = usize::try_from(token).ok()?.checked_mul(self.dim)?;
        self.centroids.get(start..start.checked_add(self.dim)?)
    }

    /// True if a frame is compared with the centres as it is.
    pub fn is_plain(&self) -> bool {
        self.normalize == Normalize::None && self.projection.is_none()
    }

    /// A frame of [`Vocabulary::input_dim`] values as it is compared with the centres: normalised and projected, in f64, then
    /// rounded to f32. `prepared` is overwritten.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] for a frame of another width.
    pub fn prepare(&self, frame: &[f32], prepared: &mut Vec<f32>) -> Result<()> {
        if frame.len() != self.input_dim() {
            return Err(TokensError::Invalid(format!(
                "a frame has {} values, and the vocabulary takes {}",
                frame.len(),
                self.input_dim()
            )));
        }
        prepared.clear();
        if self.is_plain() {
            prepared.extend_from_slice(frame);
            return Ok(());
        }
        let mut values: Vec<f64> = frame.iter().map(|&value| f64::from(value)).collect();
        if self.normalize == Normalize::L2 {
            projection::unit(&mut values);
        }
        if let Some(projection) = &self.projection {
            values = projection.apply(values);
        }
        prepared.extend(values.iter().map(|&value| value as f32));
        Ok(())
    }

    /// The token whose centre is nearest to a frame that [`Vocabulary::prepare`] made, and the squared distance, in f64; the
    /// lowest token of those that are equally near. One frame at a time: to check a faster search.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] for a frame of another width, or one that is not finite.
    pub fn nearest(&self, prepared: &[f32]) -> Result<(u32, f64)> {
        let distance = |centroid: &[f32]| -> f64 {
            centroid.iter().zip(prepared).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
        };
        let mut best = (0, f64::INFINITY);
        for (token, centroid) in (0..).zip(self.centroids.chunks_exact(self.dim)) {
            let distance = distance(centroid);
            if distance < best.1 {
                best = (token, distance);
            }
        }
        match prepared.len() == self.dim && best.1.is_finite() {
            true => Ok(best),
            false => Err(TokensError::Invalid(format!(
                "a frame has {} values, of which {} are not finite; expected {} finite values",
                prepared.len(),
                prepared.iter().filter(|value| !value.is_finite()).count(),
                self.dim
            ))),
        }
    }

    /// Sets the projection, whose output must have the centres' width.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] for another width.
    pub fn set_projection(&mut self, projection: Projection) -> Result<()> {
        if projection.output_dim() != self.dim {
            return Err(TokensError::Invalid(format!(
                "the steps in front of the centres give {} values, and a centre has {}",
                projection.output_dim(),
                self.dim
            )));
        }
        self.projection = Some(projection);
        Ok(())
    }

    /// The same with the record that the user states for a file of another program.
    ///
    /// # Errors
    /// [`TokensError::Invalid`] if the file has a record, or the given one is not consistent.
    pub fn with_stated_record(mut self, record: Record) -> Result<Self> {
        if self.record.is_some() {
            return Err(TokensError::Invalid(
                "the vocabulary has a record of its model and window, which cannot be replaced; leave the values out"
                    .into(),
            ));
        }
        record.validate().map_err(TokensError::Invalid)?;
        self.record = Some(record);
        Ok(self)
    }
}
