//! Pictures of tokens and oracles: data in, the text of an SVG out, the same bytes for the same data.
//!
//! A picture is a struct of plain data with a method `svg`: [`TokensPicture`], [`OraclePicture`], [`EntropyPicture`],
//! [`ThresholdPicture`], [`RanksPicture`]. Nothing here reads files, decodes audio or knows an oracle's file. The size of a
//! picture is bounded whatever the length of the data; what is merged or left out for that is counted in its caption. Pages that
//! draw their own plots take the parts: a [`Spectrogram`] and other images as `data:` URIs, and round ticks.
//!
//! ```
//! use mert_plots::{ThresholdPicture, ThresholdPoint};
//!
//! let point = |threshold, information_rate, clusters| ThresholdPoint { threshold, information_rate, clusters };
//! let curve = [point(0.0, 0.0, 9), point(0.5, 12.0, 4), point(1.0, 3.0, 1)];
//! let svg = ThresholdPicture { title: "a loop".into(), best: curve[1], curve: curve.to_vec() }.svg()?;
//! assert!(svg.contains("θ = 0.5"));
//! # Ok::<(), mert_plots::PlotsError>(())
//! ```

mod axis;
mod canvas;
mod entropy;
mod error;
mod image;
mod oracle;
mod palette;
mod ranks;
mod runs;
mod sources;
mod spectrogram;
mod spectrogram_image;
mod strip;
mod text;
mod thinning;
mod threshold;
mod tokens;

pub use axis::{linear_ticks, logarithmic_ticks, number};
pub use entropy::EntropyPicture;
pub use error::PlotsError;
pub use image::png_data_uri;
pub use oracle::{MAX_ARCS, OraclePicture, SuffixLink};
pub use ranks::RanksPicture;
pub use runs::Run;
pub use sources::SourceSpan;
pub use spectrogram::{Spectrogram, SpectrogramBuilder};
pub use threshold::{ThresholdPicture, ThresholdPoint};
pub use tokens::TokensPicture;

pub(crate) type Result<T, E = PlotsError> = std::result::Result<T, E>;

#[cfg(test)]
mod testing;
