//! The encoders of a run: one, or several whose embeddings of the same window are concatenated.

use mert_audio::{AudioError, Window, WindowPolicy};
use mert_runtime::{ComputeType, DeviceKind};

use crate::EmbedError;
use crate::alignment::FrameGrid;
use crate::embedder::{Embedder, Embedding, Workspace};

/// An encoder of a run, with what outputs record about it.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// The name, such as `mert`, by which outputs tell its vectors from those of other encoders.
    pub name: String,
    /// The model with its hidden states and their pooling.
    pub embedder: Embedder,
    /// The model's file.
    pub file: ModelFile,
    /// The element type of the arithmetic.
    pub dtype: ComputeType,
    /// The device.
    pub device: DeviceKind,
}

/// The provenance of a model's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// The checkpoint's licence, where it is known.
    pub license: Option<String>,
    /// What of the model's audio input no file of the model states, so that it is an assumption, and why.
    pub assumed: Option<String>,
}

/// The encoders of a run. The rows of the output are windows or frames of the first; vectors of the others follow its own.
///
/// Each encoder gets the windows that it would get alone, at its own rate and normalised as it requires. Windows with the
/// same number are the same stretch of time; without pooling, each frame of the first encoder is joined by the frame of
/// each other encoder whose centre in the window is nearest in time.
#[derive(Debug, Clone)]
pub struct Encoders {
    list: Vec<Encoder>,
}

impl Encoders {
    /// The encoders of a run whose windows are cut by `policy`.
    ///
    /// # Errors
    /// [`EmbedError::Hybrid`] for no encoder, two of one name, some pooled and some not, or a hop of `policy` that is not
    /// the same time at the rates of all encoders.
    pub fn new(list: Vec<Encoder>, policy: &WindowPolicy) -> Result<Self, EmbedError> {
        let refuse = |reason: String| Err(EmbedError::Hybrid { reason });
        let Some((first, others)) = list.split_first() else { return refuse("there is no encoder".into()) };
        for (index, other) in others.iter().enumerate() {
            if list[..=index].iter().any(|earlier| earlier.name == other.name) {
                return refuse(format!("two encoders are named `{}`", other.name));
            }
            if first.embedder.pool().has_frames() != other.embedder.pool().has_frames() {
                return refuse(format!(
                    "{} is pooled by {} and {} by {}: rows are frames or windows, for both",
                    first.name,
                    first.embedder.pool(),
                    other.name,
                    other.embedder.pool()
                ));
            }
            if let WindowPolicy::Sliding { hop, .. } = policy {
                let [a, b] = [first, other].map(|encoder| encoder.embedder.sample_rate());
                // Otherwise the windows of the two would drift apart.
                if hop.samples(a) as u128 * u128::from(b) != hop.samples(b) as u128 * u128::from(a) {
                    let step = 1e3 / f64::from(greatest_common_divisor(a, b));
                    return refuse(format!(
                        "a hop of {hop} is not a whole number of samples at both {a} and {b} Hz: give a multiple of {step} \
                         ms"
                    ));
                }
            }
        }
        Ok(Encoders { list })
    }

    /// The encoders in order.
    pub fn iter(&self) -> impl Iterator<Item = &Encoder> {
        self.list.iter()
    }

    /// The first encoder, whose windows or frames are the rows.
    pub(crate) fn first(&self) -> &Encoder {
        // `new` refuses an empty list.
        &self.list[0]
    }

    /// The encoders after the first.
    pub(crate) fn others(&self) -> &[Encoder] {
        &self.list[1..]
    }

    /// The rate in hertz and the smallest input of each encoder.
    pub(crate) fn inputs(&self) -> Vec<(u32, usize)> {
        self.iter().map(|encoder| (encoder.embedder.sample_rate(), encoder.embedder.min_samples())).collect()
    }

    /// The memory of a forward pass of each encoder, to be kept between files.
    pub fn workspaces(&self) -> Vec<Workspace> {
        self.iter().map(|encoder| encoder.embedder.workspace()).collect()
    }

    /// Embeds one window, which `windows` has at the rate of each encoder. A row of the result has the vectors of all
    /// encoders, one after the other.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`] for any of the encoders.
    pub(crate) fn embed(&self, workspaces: &mut [Workspace], windows: &mut [Window]) -> Result<Embedding, EmbedError> {
        let mut embeddings = Vec::with_capacity(self.list.len());
        for ((encoder, workspace), window) in self.iter().zip(workspaces).zip(windows) {
            let rate = encoder.embedder.sample_rate();
            embeddings.push(encoder.embedder.embed(workspace, &mut window.samples, rate)?);
        }
        match <[Embedding; 1]>::try_from(embeddings) {
            Ok([embedding]) => Ok(embedding),
            Err(embeddings) => self.join(&embeddings),
        }
    }

    /// The rows of the first of `embeddings`, each with the rows of the others that belong to it.
    fn join(&self, embeddings: &[Embedding]) -> Result<Embedding, EmbedError> {
        let Some((first, others)) = embeddings.split_first() else { return Err(EmbedError::NothingEmbedded) };
        if others.iter().any(|other| other.rows == 0) {
            let needed = self.first().embedder.min_samples();
            return Err(AudioError::TooShort { samples: 0, needed }.into());
        }
        let has_frames = self.first().embedder.pool().has_frames();
        let grid = self.first().embedder.frame_grid();
        let mut values = Vec::new();
        for row in 0..first.rows {
            values.extend_from_slice(first.row(row));
            for (encoder, other) in self.others().iter().zip(others) {
                let beside = match has_frames {
                    true => encoder.embedder.frame_grid().nearest(&grid, row, other.rows),
                    false => row,
                };
                values.extend_from_slice(other.row(beside));
            }
        }
        Ok(Embedding { rows: first.rows, values })
    }
}

impl Embedder {
    /// The frames of a window.
    fn frame_grid(&self) -> FrameGrid {
        let config = self.config();
        FrameGrid {
            rate: self.sample_rate(),
            hop: config.conv_stride.iter().product(),
            length: config.receptive_field(),
        }
    }
}

impl Embedding {
    /// The values of one row.
    fn row(&self, index: usize) -> &[f32] {
        let width = self.values.len() / self.rows.max(1);
        &self.values[index * width..][..width]
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
