//! Embeddings of audio files with a converted MERT or HuBERT model.
//!
//! Data flows one way: [`inputs`] finds files, [`run`] decodes them on threads of their own while the [`Embedder`]s of
//! one or several [`Encoders`] run the models, a [`Journal`] keeps what is done, and [`write_output`] writes the table, or
//! [`write_output_folder`] a file for each input. [`Encoders::embed_file`] embeds one file on the calling thread.
//! [`StreamingEmbedder`] embeds live sound, block by block.
//!
//! ```
//! use mert_audio::{Damage, Tail, Track, WindowPolicy};
//! use mert_embed::{Embedder, Normalization, Pool};
//! use mert_runtime::{DeviceKind, Dtype, Model};
//!
//! let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");
//! let model = format!("{fixtures}/mert-tiny/model.safetensors");
//! let model = Model::open(model.as_ref(), Dtype::F32, &DeviceKind::Cpu.open()?)?;
//! let embedder = Embedder::new(model, &"6,12".parse()?, Pool::Mean, Normalization::L2)?;
//!
//! let track = format!("{fixtures}/audio/16-44k1-stereo.flac");
//! let track = Track::open(track.as_ref(), embedder.sample_rate(), Damage::Refuse)?;
//! let mut windows = track.windows(&WindowPolicy::Whole, Tail::Align, embedder.min_samples())?;
//! let mut workspace = embedder.workspace();
//! while let Some(mut window) = windows.next_window()? {
//!     let embedding = embedder.embed(&mut workspace, &mut window.samples, embedder.sample_rate())?;
//!     assert_eq!(embedding.values.len(), 2 * embedder.dim()); // two hidden states
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alignment;
mod config;
mod embedder;
mod encoders;
mod error;
pub mod failures;
pub mod inputs;
mod journal;
mod one_file;
mod output;
mod output_folder;
mod passage;
mod pipeline;
mod pooling;
mod reading;
mod settings;
mod streaming;
mod update;

pub use config::{EmbedConfig, EncoderChoice, EncoderConfig};
pub use embedder::{Embedder, Embedding, Workspace};
pub use encoders::{Encoder, Encoders, ModelFile};
pub use error::EmbedError;
pub use journal::Journal;
#[doc(hidden)]
pub use journal::parse_journal;
pub use mert_table::{FileVersion, Normalization, Pool, Projection, Provenance};
pub use one_file::{EmbeddedFile, EmbeddedWindow};
pub use output::write_output;
pub use output_folder::{files_in_folder, other_files, provenance_file, write_output_folder};
pub use pipeline::{Event, Summary, run};
pub use settings::{InputOptions, provenance};
pub use streaming::{StreamedWindow, StreamingEmbedder, StreamingOptions};
pub use update::Update;
