//! One job of the gate: a converted model and what to compare it with.

use std::path::{Path, PathBuf};

use crate::candidate::{self, Candidate, Package, SafetensorsFile, is_package};
use crate::reference::reference_files;
use crate::report::ModelReport;
use crate::tracks::Tracks;
use crate::{Options, Reference, Result, VerifyError, verify_model};

/// A converted model and what to compare it with.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The converted file, a folder with a `model.safetensors`, or a Core ML package.
    pub model: PathBuf,
    /// `.npz` references, or folders of them.
    pub references: Vec<PathBuf>,
    /// The original checkpoint, from which libtorch computes references.
    pub checkpoint: Option<CheckpointJob>,
    /// How to compare.
    pub options: Options,
}

/// References to be computed from an original checkpoint.
#[derive(Debug, Clone, Default)]
pub struct CheckpointJob {
    /// The checkpoint.
    pub path: PathBuf,
    /// Its `config.json`, where that is not beside it.
    pub config: Option<PathBuf>,
    /// `.npy` or `.npz` clips; five seconds of generated music-like input if there are none, and no tracks.
    pub inputs: Vec<PathBuf>,
    /// Music files.
    pub tracks: Tracks,
}

/// Seconds of generated input where no clip is given.
#[cfg(feature = "tch")]
const GENERATED_SECONDS: usize = 5;

impl Job {
    /// The files that the job reads.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let mut inputs = model_files(&self.model);
        // A folder that cannot be listed is an error of the run, not of this.
        inputs.extend(self.references.iter().flat_map(|path| reference_files(path).unwrap_or_default()));
        if let Some(checkpoint) = &self.checkpoint {
            inputs.push(checkpoint.path.clone());
            inputs.extend(checkpoint.config.clone());
            inputs.extend(checkpoint.inputs.iter().chain(&checkpoint.tracks.files).cloned());
        }
        inputs
    }

    /// Runs the job.
    ///
    /// # Errors
    /// [`VerifyError`] if nothing could be compared. What could not be compared beside what was is in
    /// [`ModelReport::errors`].
    pub fn run(&self) -> Result<ModelReport> {
        let candidate = candidate::open(&self.model, &self.options)?;
        let mut files: Vec<Result<PathBuf>> = Vec::new();
        for path in &self.references {
            match reference_files(path) {
                Ok(found) => files.extend(found.into_iter().map(Ok)),
                Err(error) => files.push(Err(error)),
            }
        }
        let nothing = files.is_empty();
        let saved = files.into_iter().map(|file| Reference::read(&file?));
        match &self.checkpoint {
            None if nothing => Err(VerifyError::NothingToCompare(format!(
                "{}: there is nothing to compare it with; give --reference FILE.npz, or --checkpoint ORIGINAL",
                self.model.display()
            ))),
            None => verify_model(candidate.as_ref(), saved, &self.options),
            Some(checkpoint) => self.run_with_checkpoint(candidate.as_ref(), saved, checkpoint),
        }
    }

    #[cfg(not(feature = "tch"))]
    fn run_with_checkpoint(
        &self,
        _: &dyn Candidate,
        _: impl Iterator<Item = Result<Reference>>,
        _: &CheckpointJob,
    ) -> Result<ModelReport> {
        Err(VerifyError::NoLibtorch("--checkpoint"))
    }

    #[cfg(feature = "tch")]
    fn run_with_checkpoint(
        &self,
        candidate: &dyn Candidate,
        saved: impl Iterator<Item = Result<Reference>>,
        checkpoint: &CheckpointJob,
    ) -> Result<ModelReport> {
        use crate::reference::libtorch::Libtorch;

        let libtorch = Libtorch::open(&checkpoint.path, checkpoint.config.as_deref())?;
        let (config, lengths) = (libtorch.config(), candidate.clip_lengths());
        // The converted file's own record decides: programs prepare their input by it.
        let preprocessor = candidate.metadata().preprocessor;
        let rate = preprocessor.sampling_rate;
        let clips = checkpoint.clips(rate, lengths.as_deref()).into_iter();
        let tracks = checkpoint.tracks.clips(preprocessor, config.receptive_field(), lengths.as_deref());
        let rounded = [candidate.metadata().dtype];
        let computed = clips.chain(tracks).map(|clip| {
            let (name, clip) = clip?;
            let name = format!("libtorch on {}, {name}", checkpoint.path.display());
            libtorch.reference(&name, &clip, &rounded)
        });
        let mut report = verify_model(candidate, saved.chain(computed), &self.options)?;
        match checkpoint.other_source(&report.source_sha256) {
            Ok(note) => report.notes.extend(note),
            Err(error) => report.errors.push(error.to_string()),
        }
        if *libtorch.config() != candidate.metadata().config {
            report.notes.push(format!(
                "the converted file's configuration is not the checkpoint's: {} instead of {}",
                candidate.metadata().config.to_json(),
                libtorch.config().to_json()
            ));
        }
        Ok(report)
    }
}

#[cfg(feature = "tch")]
impl CheckpointJob {
    /// A note if the converted file says that it was made from another file than this one. A folder's
    /// digest depends on which of its files were used, so only files are looked at.
    fn other_source(&self, source_sha256: &str) -> Result<Option<String>> {
        use sha2::{Digest, Sha256};

        if !self.path.is_file() {
            return Ok(None);
        }
        let failed = |source| VerifyError::Open { path: self.path.clone(), source };
        let mut hasher = Sha256::new();
        let mut file = std::fs::File::open(&self.path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match std::io::Read::read(&mut file, &mut buffer).map_err(failed)? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            }
        }
        let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((found != source_sha256).then(|| {
            format!(
                "the converted file says that it was made from a checkpoint with sha256 {source_sha256}, but that of {} \
                 is {found}",
                self.path.display()
            )
        }))
    }

    /// The clips given, or else, without tracks, generated ones, one for each length.
    fn clips(&self, rate: u32, lengths: Option<&[usize]>) -> Vec<Result<(String, Vec<f32>)>> {
        if self.inputs.is_empty() && self.tracks.files.is_empty() {
            let lengths = lengths.map_or_else(|| vec![GENERATED_SECONDS * rate as usize], <[usize]>::to_vec);
            let clip = |samples: usize| {
                let seconds = samples as f64 / f64::from(rate);
                Ok((format!("{seconds} s of generated input"), crate::signal::music_like(samples, rate)))
            };
            return lengths.into_iter().map(clip).collect();
        }
        let read = |path: &PathBuf| Ok((path.display().to_string(), crate::npz::read_input_values(path)?));
        self.inputs.iter().map(read).collect()
    }
}

/// The files that a model consists of.
fn model_files(path: &Path) -> Vec<PathBuf> {
    if is_package(path) {
        return Package::files(path);
    }
    SafetensorsFile::path_of(path).into_iter().collect()
}
