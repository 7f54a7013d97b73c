//! Files for tools that must not lose any: outputs that appear whole or not at all, SHA-256 digests, and mapped files.
//!
//! ```
//! use std::io::Write;
//!
//! use mert_fs::{AtomicFile, sha256_file};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("out.txt");
//! let mut output = AtomicFile::create(&path, false)?; // refused if it exists, without `force`
//! output.file_mut().write_all(b"abc")?;
//! assert!(!path.exists());
//! output.commit()?;
//! assert_eq!(sha256_file(&path)?[..8], *"ba7816bf");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic_file;
mod atomic_folder;
mod digest;
mod error;
mod mapped;
mod npy;
mod output;
mod positional;
mod temporary;
mod writeback;

pub use atomic_file::{AtomicFile, replace_file};
pub use atomic_folder::{AtomicFolder, check_folder_output};
pub use digest::{combine_sha256, hex, is_sha256, sha256_bytes, sha256_file, sha256_mapped, sha256_output};
pub use error::FsError;
pub use mapped::{MappedBytes, MappedFile};
pub use npy::{check_npy_header, npy_reader};
pub use output::{is_same_file, parent_folder, resolved};
pub use positional::write_all_at;
pub use temporary::{
    TemporaryFolder, remove_stale_temporaries, remove_temporaries, temporary_folder, temporary_folder_beside,
};
pub use writeback::Writeback;

pub(crate) type Result<T, E = FsError> = std::result::Result<T, E>;
