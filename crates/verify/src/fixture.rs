//! The built-in fixture: a tiny model with sharp weights, and the hidden states that PyTorch returned for it. With it a
//! newcomer's first run and the check of a new machine need no files.

use std::path::PathBuf;

use mert_fs::{FsError, TemporaryFolder, temporary_folder};

use crate::Result;

const MODEL: &[u8] = include_bytes!("../../../fixtures/mert-tiny/model.safetensors");
const REFERENCE: &[u8] = include_bytes!("../../../fixtures/mert-tiny/reference.npz");

/// The built-in fixture in a temporary folder, which is removed when this is dropped, or by
/// [`mert_fs::remove_temporaries`].
pub struct Fixture {
    folder: TemporaryFolder,
}

impl Fixture {
    /// Writes the fixture to a temporary folder.
    ///
    /// # Errors
    /// [`VerifyError::Output`](crate::VerifyError::Output).
    pub fn unpack() -> Result<Self> {
        let fixture = Fixture { folder: temporary_folder("mert-verify-")? };
        for (path, bytes) in [(fixture.model(), MODEL), (fixture.reference(), REFERENCE)] {
            std::fs::write(&path, bytes).map_err(|source| FsError::write(&path, source))?;
        }
        Ok(fixture)
    }

    /// The path of the model: twelve layers of width 64 in float16, in MLX layout.
    pub fn model(&self) -> PathBuf {
        self.folder.path().join("mert-tiny.safetensors")
    }

    /// The path of the reference: one second of input and the 13 hidden states that transformers returned for it.
    pub fn reference(&self) -> PathBuf {
        self.folder.path().join("mert-tiny.npz")
    }
}
