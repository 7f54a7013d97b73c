//! The built-in fixture: a tiny model with sharp weights and what PyTorch returned for it, so that a
//! newcomer's first run, and a check of a new machine, need no files.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::ioutil::write_atomically;
use crate::{Result, VerifyError};

const MODEL: &[u8] = include_bytes!("../../../fixtures/mert-tiny/model.safetensors");
const REFERENCE: &[u8] = include_bytes!("../../../fixtures/mert-tiny/reference.npz");

/// The built-in fixture, written to a temporary folder that lives as long as this.
pub struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// Writes the fixture out.
    ///
    /// # Errors
    /// [`VerifyError::Write`].
    pub fn unpack() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mert-verify-")
            .tempdir()
            .map_err(|source| VerifyError::Write { path: std::env::temp_dir(), source })?;
        let fixture = Fixture { folder };
        write_atomically(&fixture.model(), MODEL)?;
        write_atomically(&fixture.reference(), REFERENCE)?;
        Ok(fixture)
    }

    /// The model: twelve layers, 64 wide, float16, MLX layout.
    pub fn model(&self) -> PathBuf {
        self.folder.path().join("mert-tiny.safetensors")
    }

    /// One second of input, and the 13 hidden states that transformers returned.
    pub fn reference(&self) -> PathBuf {
        self.folder.path().join("mert-tiny.npz")
    }
}
