//! Tables of embeddings: their schema and provenance, and writers and readers of five formats.
//!
//! A row is a window of a file, or without pooling a frame of a window, and has one vector for each hidden state, of one
//! encoder or of several. Rows
//! come to [`write()`] through a [`RowSource`] and leave a [`TableReader`] one at a time, so that memory does not grow
//! with the vectors of a table.
//!
//! ```
//! use std::time::Duration;
//!
//! use mert_arch::ComputeType;
//! use mert_table::{
//!     Arithmetic, Damage, Device, FileVersion, MemoryRows, Normalization, Pool, Position, Provenance, Settings,
//!     SourceFile, TableError, TableReader, Tail, WindowPolicy, write,
//! };
//!
//! let provenance = Provenance {
//!     generator: "example 1.0".into(),
//!     model_sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
//!     license: None,
//!     hidden_states: vec![6],
//!     projection: None,
//!     pool: Pool::Mean,
//!     normalize: Normalization::None,
//!     window: WindowPolicy::Sliding { length: Duration::from_secs(5), hop: Duration::from_secs(5) },
//!     tail: Tail::Drop,
//!     damaged: Damage::Refuse,
//!     ffmpeg: None,
//!     sample_rate: 24_000,
//!     do_normalize: true,
//!     assumed: None,
//!     dim: 3,
//!     frame_hop: 320,
//!     frame_length: 400,
//!     arithmetic: Arithmetic { dtype: ComputeType::F32, device: Device::Cpu },
//!     hybrid: None,
//! };
//!
//! let mut rows = MemoryRows::default();
//! rows.files.push(SourceFile::new("a.wav".as_ref(), Some(FileVersion { size: 480_044, modified: 0 })));
//! rows.push(Position { file: 0, window: 0, frame: None, start: 0.0, end: 5.0 }, &[0.1, 0.2, 0.3]);
//! rows.push(Position { file: 0, window: 1, frame: None, start: 5.0, end: 10.0 }, &[0.4, 0.5, 0.6]);
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("table.parquet"); // or .npy, .npz, .safetensors, .jsonl
//! write(&path, &provenance, &mut rows)?;
//!
//! let mut table = TableReader::open(&path)?;
//! assert_eq!(table.hidden_states(), Some(&[6][..]));
//! assert_eq!(table.settings(), Some(&Settings::Full(Box::new(provenance))));
//! let mut ends = Vec::new();
//! table.for_each_row(|row| {
//!     assert_eq!((row.file, row.values.len()), ("a.wav", 3));
//!     ends.push(row.end);
//!     Ok::<(), TableError>(())
//! })?;
//! assert_eq!(ends, [5.0, 10.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checked_rows;
mod error;
mod file_name;
mod format;
mod formats;
mod provenance;
mod read_rows;
mod reader;
mod row;
mod source;
mod writer;

pub use error::TableError;
pub use file_name::{escape, printable_path, unescape};
pub use format::{Format, files_of, rows_file};
pub use provenance::{
    Alignment, Arithmetic, Damage, Device, Hybrid, Normalization, OtherEncoder, Pool, Projection, Provenance, Tail,
    Vector, WindowPolicy,
};
pub use read_rows::Settings;
pub use reader::TableReader;
pub use row::{FileVersion, Position, Row, SourceFile};
pub use source::{MemoryRows, RowSource};
pub use writer::{write, write_array};

/// The result of writing or reading a table.
pub(crate) type Result<T, E = TableError> = std::result::Result<T, E>;
