//! One job of the gate: a converted model and what to compare it with.

use std::path::{Path, PathBuf};

use mert_runtime::ConvertedFile;

use crate::reference::reference_files;
use crate::report::ModelReport;
use crate::{Options, Reference, Result, VerifyError, verify_model};

/// A converted model and what to compare it with.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// The converted file, or a folder with a `model.safetensors`.
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
    /// `.npy` or `.npz` clips; five seconds of generated music-like input if there are none.
    pub inputs: Vec<PathBuf>,
}

/// Seconds of generated input where no clip is given.
#[cfg(feature = "tch")]
const GENERATED_SECONDS: usize = 5;

impl Job {
    /// The files that the job reads.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let mut inputs = vec![model_file(&self.model)];
        // A folder that cannot be listed is an error of the run, not of this.
        inputs.extend(self.references.iter().flat_map(|path| reference_files(path).unwrap_or_default()));
        if let Some(checkpoint) = &self.checkpoint {
            inputs.push(checkpoint.path.clone());
            inputs.extend(checkpoint.config.clone());
            inputs.extend(checkpoint.inputs.iter().cloned());
        }
        inputs
    }

    /// Runs the job.
    ///
    /// # Errors
    /// [`VerifyError`] if something could not be compared.
    pub fn run(&self) -> Result<ModelReport> {
        let file = ConvertedFile::open(&model_file(&self.model))?;
        let mut files = Vec::new();
        for path in &self.references {
            files.extend(reference_files(path)?);
        }
        let saved = files.iter().map(|file| Reference::read(file));
        match &self.checkpoint {
            None if files.is_empty() => Err(VerifyError::NothingToCompare(format!(
                "{}: there is nothing to compare it with; give --reference FILE.npz, or --checkpoint ORIGINAL",
                self.model.display()
            ))),
            None => verify_model(&file, saved, &self.options),
            Some(checkpoint) => self.run_with_checkpoint(&file, saved, checkpoint),
        }
    }

    #[cfg(not(feature = "tch"))]
    fn run_with_checkpoint(
        &self,
        _: &ConvertedFile,
        _: impl Iterator<Item = Result<Reference>>,
        _: &CheckpointJob,
    ) -> Result<ModelReport> {
        Err(VerifyError::NoLibtorch("--checkpoint"))
    }

    #[cfg(feature = "tch")]
    fn run_with_checkpoint(
        &self,
        file: &ConvertedFile,
        saved: impl Iterator<Item = Result<Reference>>,
        checkpoint: &CheckpointJob,
    ) -> Result<ModelReport> {
        use crate::reference::libtorch::Libtorch;

        let libtorch = Libtorch::open(&checkpoint.path, checkpoint.config.as_deref())?;
        let clips = checkpoint.clips(libtorch.config().input_sample_rate())?;
        let rounded = [file.metadata().dtype];
        let computed = clips.iter().map(|(name, clip)| {
            let name = format!("libtorch on {}, {name}", checkpoint.path.display());
            libtorch.reference(&name, clip, &rounded)
        });
        let mut report = verify_model(file, saved.chain(computed), &self.options)?;
        report.notes.extend(checkpoint.other_source(&report.source_sha256)?);
        if *libtorch.config() != file.metadata().config {
            report.notes.push(format!(
                "the converted file's configuration is not the checkpoint's: {} instead of {}",
                file.metadata().config.to_json(),
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

    fn clips(&self, sample_rate: u32) -> Result<Vec<(String, Vec<f32>)>> {
        if self.inputs.is_empty() {
            let rate = sample_rate;
            let clip = crate::signal::music_like(GENERATED_SECONDS * rate as usize, rate);
            return Ok(vec![(format!("{GENERATED_SECONDS} s of generated input"), clip)]);
        }
        let read = |path: &PathBuf| Ok((path.display().to_string(), crate::npz::read_input_values(path)?));
        self.inputs.iter().map(read).collect()
    }
}

/// The file that a model argument names: itself, or `model.safetensors` in a folder.
pub fn model_file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.safetensors") } else { path.to_path_buf() }
}
