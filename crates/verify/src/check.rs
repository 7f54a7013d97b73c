//! One check of the gate: a converted model, what to compare it with, and how.

use std::path::{Path, PathBuf};

use crate::candidate::{self, Candidate, ComputeOptions, PackageOptions};
use crate::gate::{CompareOptions, ModelVerdict, compare_model};
use crate::reference::reference_files;
use crate::tracks::Tracks;
use crate::{Reference, Result, VerifyError};

/// A converted model and what to compare it with.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// The converted file, a folder with a `model.safetensors`, or a Core ML package.
    pub model: PathBuf,
    /// References as `.npz` files, or folders of them.
    pub references: Vec<PathBuf>,
    /// The original checkpoint, from which libtorch computes further references.
    pub original: Option<Original>,
    /// The hidden states to compare, and how strictly.
    pub compare: CompareOptions,
    /// The device and arithmetic.
    pub compute: ComputeOptions,
    /// The options for a Core ML package.
    pub package: PackageOptions,
}

/// An original checkpoint, and the clips on which libtorch runs it.
#[derive(Debug, Clone, Default)]
pub struct Original {
    /// The checkpoint.
    pub path: PathBuf,
    /// The `config.json`; the one beside the checkpoint by default.
    pub config: Option<PathBuf>,
    /// Clips as `.npy` or `.npz` files. Without clips and tracks, five seconds of music-like input are generated.
    pub inputs: Vec<PathBuf>,
    /// Audio files, from which clips are cut.
    pub tracks: Tracks,
}

impl Check {
    /// Lists the files that the check reads.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let mut inputs = candidate::files(&self.model);
        // A folder that cannot be listed is an error of the run, not of this list.
        inputs.extend(self.references.iter().flat_map(|path| reference_files(path).unwrap_or_default()));
        if let Some(original) = &self.original {
            inputs.push(original.path.clone());
            inputs.extend(original.config.clone());
            inputs.extend(original.inputs.iter().chain(&original.tracks.files).cloned());
        }
        inputs
    }

    /// Runs the check.
    ///
    /// # Errors
    /// [`VerifyError`] if nothing could be compared. If only parts could not be compared, their errors are in
    /// [`ModelVerdict::errors`].
    pub fn run(&self) -> Result<ModelVerdict> {
        if crate::musicgen::is_bundle(&self.model) {
            let reason = "it is a MusicGen bundle, which is verified by `mert-verify BUNDLE --reference FILE.npz`, not among the \
                          encoders of a verify.yaml";
            return Err(VerifyError::options(&self.model, reason));
        }
        let candidate = candidate::open(&self.model, self.compute, self.package)?;
        let files: Vec<Result<PathBuf>> = self.references.iter().flat_map(|path| each_reference_file(path)).collect();
        let none = files.is_empty();
        let saved = files.into_iter().map(|file| Reference::read(&file?));
        let mut verdict = match &self.original {
            None if none => Err(VerifyError::NothingToCompare(format!(
                "{}: there is nothing to compare it with; give --reference FILE.npz, or --checkpoint ORIGINAL",
                self.model.display()
            ))),
            None => compare_model(candidate.as_ref(), saved, &self.compare),
            Some(original) => self.compare_with_original(candidate.as_ref(), saved, original),
        }?;
        verdict.failures.extend(candidate::folder_files::contradictions(&self.model, candidate.metadata()));
        if let Some(adapter) = &candidate.metadata().adapter {
            verdict.notes.push(format!(
                "an adapter was merged into the converted file ({}): it differs from a model without it",
                mert_arch::printable_line(adapter)
            ));
        }
        Ok(verdict)
    }

    #[cfg(not(feature = "tch"))]
    fn compare_with_original(
        &self,
        _: &dyn Candidate,
        _: impl Iterator<Item = Result<Reference>>,
        _: &Original,
    ) -> Result<ModelVerdict> {
        Err(VerifyError::NoLibtorch("--checkpoint"))
    }

    #[cfg(feature = "tch")]
    fn compare_with_original(
        &self,
        candidate: &dyn Candidate,
        saved: impl Iterator<Item = Result<Reference>>,
        original: &Original,
    ) -> Result<ModelVerdict> {
        use mert_arch::Dtype;

        use crate::ModelEncoding;
        use crate::reference::libtorch::Libtorch;
        use crate::reference::original_weights::{compare_weights, decompressed_weights};
        use crate::reference::stated_audio;

        let libtorch = Libtorch::open(&original.path, original.config.as_deref())?;
        let (config, lengths) = (libtorch.config(), candidate.clip_lengths());
        // The converted file's own record decides, because applications prepare their input by it.
        let preprocessor = candidate.metadata().preprocessor;
        let rate = preprocessor.sampling_rate;
        let clips = original.clips(rate, lengths.as_deref()).into_iter();
        let tracks = original.tracks.clips(preprocessor, config.receptive_field(), lengths.as_deref());
        let encoding = ModelEncoding::of(candidate.metadata());
        let (weights, decoded) = compare_weights(candidate, &libtorch, self.compare.codes_of(candidate.metadata()))?;
        let decompressed = decompressed_weights(candidate)?;
        let quantized = match (&decompressed, candidate.compression()) {
            (Some(weights), Some(compressed)) => {
                Some((libtorch.encoded(&encoding, Some(weights))?, compressed.array_name(encoding.float())))
            }
            _ if encoding.is_quantized() => {
                Some((libtorch.encoded(&encoding, decoded.as_ref())?, encoding.array_name()))
            }
            _ => None,
        };
        // Rounded but unquantized weights answer no question about a model with quantized ones.
        let rounded: Vec<Dtype> = quantized.is_none().then(|| encoding.float()).into_iter().collect();
        let computed = clips.chain(tracks).map(|clip| {
            let (name, clip) = clip?;
            let name = format!("libtorch on {}, {name}", original.path.display());
            let mut reference = libtorch.reference(&name, &clip, &rounded)?;
            if let Some((quantized, array_name)) = &quantized {
                quantized.add_to(&mut reference, array_name.clone())?;
            }
            Ok(reference)
        });
        let mut verdict = compare_model(candidate, saved.chain(computed), &self.compare)?;
        if let Some(weights) = weights {
            verdict.add_weights(weights);
        }
        if decompressed.is_some() {
            verdict.notes.push(
                "structure was judged with the values that the package's own codes stand for: only the rounding question \
                 compares these codes with the original"
                    .into(),
            );
        }
        match stated_audio::contradictions(&original.path, preprocessor) {
            Ok(contradictions) => verdict.failures.extend(contradictions),
            Err(error) => verdict.errors.push(error.to_string()),
        }
        match original.other_source(&verdict.source_sha256) {
            Ok(note) => verdict.notes.extend(note),
            Err(error) => verdict.errors.push(error.to_string()),
        }
        if let (Some(assumed), false) = (candidate.metadata().assumed_preprocessor(), original.tracks.files.is_empty())
        {
            verdict
                .notes
                .push(format!("no file of the model states what audio it takes; assumed for the clips: {assumed}"));
        }
        if *libtorch.config() != candidate.metadata().config {
            verdict.notes.push(format!(
                "the converted file's configuration is not the checkpoint's: {} instead of {}",
                candidate.metadata().config.to_json(),
                libtorch.config().to_json()
            ));
        }
        Ok(verdict)
    }
}

/// The reference files that an argument names, or the error of listing them.
fn each_reference_file(path: &Path) -> Vec<Result<PathBuf>> {
    match reference_files(path) {
        Ok(files) => files.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }
}

#[cfg(feature = "tch")]
impl Original {
    /// A note if, according to its metadata, the converted file was made from another checkpoint. The digest of a folder
    /// depends on which of its files were used, so only files are compared.
    fn other_source(&self, source_sha256: &str) -> Result<Option<String>> {
        // A model that MLX saved does not say.
        if !self.path.is_file() || source_sha256.is_empty() {
            return Ok(None);
        }
        let found = mert_fs::sha256_file(&self.path).map_err(|source| VerifyError::read(&self.path, source))?;
        Ok((found != source_sha256).then(|| {
            format!(
                "the converted file says that it was made from a checkpoint with sha256 {source_sha256}, but that of {} \
                 is {found}",
                self.path.display()
            )
        }))
    }

    /// Reads the clips or, without clips and tracks, generates one for each length.
    fn clips(&self, rate: u32, lengths: Option<&[usize]>) -> Vec<Result<(String, Vec<f32>)>> {
        /// The duration of a generated clip where the model accepts any length.
        const GENERATED_SECONDS: usize = 5;

        if self.inputs.is_empty() && self.tracks.files.is_empty() {
            let lengths = lengths.map_or_else(|| vec![GENERATED_SECONDS * rate as usize], <[usize]>::to_vec);
            let clip = |samples: usize| {
                let seconds = samples as f64 / f64::from(rate);
                Ok((format!("{seconds} s of generated input"), mert_audio::music_like(samples, rate)))
            };
            return lengths.into_iter().map(clip).collect();
        }
        let read = |path: &PathBuf| Ok((path.display().to_string(), crate::npz::read_input_values(path)?));
        self.inputs.iter().map(read).collect()
    }
}
