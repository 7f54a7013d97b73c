//! The built-in fixture: a tiny model with sharp weights, and the hidden states that PyTorch returned for it. With it a
//! newcomer's first run and the check of a new machine need no files.

use std::path::PathBuf;

use mert_fs::{FsError, TemporaryFolder, temporary_folder};

use crate::Result;

// Copies of files of the repository's fixtures/mert-tiny/: a published crate holds only what is in its own folder. They are
// not links, because a checkout on Windows turns links into text files.
const MODEL: &[u8] = include_bytes!("fixture/mert-tiny.safetensors");
const REFERENCE: &[u8] = include_bytes!("fixture/mert-tiny.npz");

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_built_in_files_are_those_of_the_fixtures() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/mert-tiny");
        let copies =
            [("model.safetensors", MODEL, "mert-tiny.safetensors"), ("reference.npz", REFERENCE, "mert-tiny.npz")];
        for (name, bytes, copy) in copies {
            let original = std::fs::read(folder.join(name)).unwrap();
            assert!(original == bytes, "copy fixtures/mert-tiny/{name} to crates/verify/src/fixture/{copy}");
        }
    }
}
