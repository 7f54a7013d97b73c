//! Opening of a vocabulary in any format, which the first bytes of the file show.

use std::path::Path;

use mert_checkpoint::estimator::{PickledObjects, decompress};
use mert_fs::MappedFile;

use super::Vocabulary;
use super::foreign::{Foreign, faiss, numpy, pickled};
use crate::{Result, TokensError};

/// The format of a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocabularyFormat {
    /// This project's `.safetensors`.
    Safetensors,
    /// numpy's `.npy`.
    Npy,
    /// A faiss index.
    Faiss,
    /// A pickle of scikit-learn or numpy, by `joblib.dump` or `pickle.dump`.
    Pickle,
}

/// A vocabulary with what a user should know about its reading.
#[derive(Debug)]
pub struct OpenedVocabulary {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// The format of the file.
    pub format: VocabularyFormat,
    /// Sentences about what was rounded, assumed or left out.
    pub notes: Vec<String>,
}

impl OpenedVocabulary {
    /// Opens a vocabulary. Nothing in a pickle is executed.
    ///
    /// # Errors
    /// [`TokensError::Read`]; [`TokensError::NotAVocabulary`] for other formats and damaged files; [`TokensError::Field`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = MappedFile::open(path).map_err(|source| TokensError::read(path, source))?;
        Self::from_bytes(path, file.bytes())
    }

    /// The vocabulary in the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    /// Those of [`OpenedVocabulary::open`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: String| TokensError::not_a_vocabulary(path, reason);
        let (format, foreign) = match bytes {
            [] => return Err(refuse("it is empty".into())),
            _ if looks_like_safetensors(bytes) => {
                let vocabulary = Vocabulary::from_bytes(path, bytes)?;
                return Ok(OpenedVocabulary { vocabulary, format: VocabularyFormat::Safetensors, notes: Vec::new() });
            }
            [b'P', b'K', 3 | 5, ..] => {
                return Err(refuse(
                    "it is a zip archive, such as numpy's .npz or a file of torch.save; write the centres alone in Python: \
                     numpy.save(\"centres.npy\", centres)"
                        .into(),
                ));
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => (VocabularyFormat::Npy, numpy::read(bytes)),
            [b'I', ..] if faiss::is_index(bytes) => (VocabularyFormat::Faiss, faiss::read(bytes)),
            _ => (VocabularyFormat::Pickle, unpickle(path, bytes)),
        };
        let Foreign { vocabulary, mut notes } = foreign.map_err(refuse)?;
        notes.push(
            "the file does not record its model, hidden state, window, hop or rate, so that a use with another model cannot \
             be detected"
                .into(),
        );
        Ok(OpenedVocabulary { vocabulary, format, notes })
    }
}

/// The vocabulary in a pickle, which joblib may have compressed.
fn unpickle(path: &Path, bytes: &[u8]) -> Result<Foreign, String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pickle = decompress(bytes, &name).map_err(|error| error.to_string())?;
    let objects = PickledObjects::parse(&pickle).map_err(|error| {
        format!(
            "{error}; expected a .safetensors of `mert-tokens train`, a .npy, a joblib or pickle file, or a faiss index"
        )
    })?;
    pickled::read(objects.root())
}

/// True for a file that begins as safetensors: a little-endian u64 header length, then JSON.
fn looks_like_safetensors(bytes: &[u8]) -> bool {
    bytes
        .split_first_chunk::<8>()
        .is_some_and(|(length, rest)| u64::from_le_bytes(*length) <= 100_000_000 && rest.first() == Some(&b'{'))
}
