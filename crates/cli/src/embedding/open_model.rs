//! A converted model that is opened for embedding, with what outputs record of its file.

use std::path::Path;

use anyhow::bail;
use candle_core::Device;
use mert_embed::{EmbedError, Embedder, Encoder, ModelFile};
use mert_fs::{combine_sha256, sha256_file};
use mert_runtime::{ComputeType, ConvertedFile, DeviceKind, Model};
use mert_table::printable_path;

use super::fast::{self, ArithmeticChoice};

/// A converted model that is opened for embedding.
pub struct OpenModel {
    /// The model.
    pub model: Model,
    /// Digest, licence and assumptions of the model's file.
    pub file: ModelFile,
    /// The element type of the arithmetic.
    pub dtype: ComputeType,
    /// The device.
    pub kind: DeviceKind,
    /// Notes on what is assumed about the model's audio input, and on the arithmetic that was chosen for it.
    pub notes: Vec<String>,
}

impl OpenModel {
    /// Opens the converted file at `path` on `device`, which is of the kind `kind`.
    ///
    /// # Errors
    /// If it is not a converted model, or cannot be read; if the CPU's fastest arithmetic is wanted on another device.
    pub fn open(path: &Path, arithmetic: ArithmeticChoice, kind: DeviceKind, device: &Device) -> anyhow::Result<Self> {
        if arithmetic == ArithmeticChoice::Fastest && kind != DeviceKind::Cpu {
            bail!("--fast chooses the arithmetic of the CPU; leave it out, or --device {kind}");
        }
        let file = ConvertedFile::open(path)?;
        let metadata = file.metadata();
        let assumed = metadata.assumed_preprocessor();
        let note = assumed.as_ref().map(|assumed| {
            let advice = match metadata.source_sha256.as_str() {
                "" => "put a preprocessor_config.json with sampling_rate and do_normalize beside it",
                _ => "convert the checkpoint again with --sampling-rate and --do-normalize",
            };
            format!(
                "{}: no file of the model states what audio it takes; assumed: {assumed}. A wrong value gives wrong \
                 embeddings: if you know better, {advice}",
                printable_path(path),
            )
        });
        let (license, int8) = (metadata.license.clone(), metadata.int8_note());
        let (dtype, model, sha256, choice) = match arithmetic {
            ArithmeticChoice::As(dtype) => {
                let (model, sha256) = rayon::join(|| Model::from_file(&file, dtype, device), || sha256_of(&file));
                (dtype, model?, sha256?, None)
            }
            ArithmeticChoice::Fastest => {
                let sha256 = sha256_of(&file)?;
                let (dtype, choice) = fast::fastest(&file, &sha256)?;
                (dtype, Model::from_file(&file, dtype, device)?, sha256, Some(choice))
            }
        };
        let file = ModelFile { sha256, license, assumed };
        let int8 = (dtype == ComputeType::Int8).then_some(int8);
        Ok(OpenModel { model, file, dtype, kind, notes: note.into_iter().chain(choice).chain(int8).collect() })
    }

    /// The encoder of the name `name` with the embedder that `embedder` makes of the model.
    ///
    /// # Errors
    /// Those of `embedder`.
    pub fn encoder(
        self,
        name: &str,
        embedder: impl FnOnce(Model) -> Result<Embedder, EmbedError>,
    ) -> Result<Encoder, EmbedError> {
        let OpenModel { model, file, dtype, kind, .. } = self;
        Ok(Encoder { name: name.to_string(), embedder: embedder(model)?, file, dtype, device: kind })
    }
}

/// The SHA-256 of a model: that of its file, or one over those of all files that it is read from. The encoding of the weights
/// is part of it, as it is in the file or in the `config.json` beside it.
///
/// # Errors
/// [`EmbedError::Read`].
pub fn sha256_of(file: &ConvertedFile) -> Result<String, EmbedError> {
    let digest = |path: &Path| sha256_file(path).map_err(|error| EmbedError::read(path, error));
    Ok(combine_sha256(file.files().into_iter().map(digest).collect::<Result<_, _>>()?))
}
