//! `--fast`: the fastest arithmetic of the CPU that keeps a model's embeddings, measured once and remembered.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use mert_arch::ComputeType;
use mert_audio::music_like;
use mert_fs::{AtomicFile, hex};
use mert_runtime::{ConvertedFile, Model, Workspace, fast_compute_types, instruction_set};
use mert_verify::ArithmeticVerdict;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::conversion_cache::cache_folder;

/// Seconds of the clip on which a model is measured: the chords of some bars.
const SECONDS: usize = 5;

/// Timed passes of each arithmetic, after one that is not timed.
const PASSES: usize = 3;

/// The arithmetic of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithmeticChoice {
    /// The one that was asked for.
    As(ComputeType),
    /// The fastest one of the CPU that keeps the embeddings.
    Fastest,
}

/// One arithmetic of a model, measured beside f32 on the clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    compute: ComputeType,
    /// Times f32's speed.
    speed: f64,
    pooled_cosine: f64,
    frame_cosine: f64,
    passed: bool,
}

/// The measurements of a model on a processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measurements {
    /// The digest of the model, the instructions and the version, on which the measurements depend.
    of: String,
    arithmetics: Vec<Measured>,
}

/// Chooses the arithmetic of the model in `file`, whose digest is `sha256`, and a note that says why. The measurements are
/// remembered in the toolkit's cache, by the digest, the instructions and the program's version; without a cache they are made
/// each time.
///
/// # Errors
/// If the model cannot be loaded, or run.
pub(super) fn fastest(file: &ConvertedFile, sha256: &str) -> anyhow::Result<(ComputeType, String)> {
    let of = format!("{sha256} {} {}", instruction_set(), env!("CARGO_PKG_VERSION"));
    let path = cache_folder().ok().map(|folder| path_in(&folder, &of));
    let remembered = path.as_deref().and_then(|path| read(path, &of));
    let was_remembered = remembered.is_some();
    let measurements = match remembered {
        Some(measurements) => measurements,
        None => {
            let measurements = Measurements { of, arithmetics: measure(file)? };
            if let Some(path) = &path {
                // Without it, the next run measures again.
                let _ = write(path, &measurements);
            }
            measurements
        }
    };
    let when = if was_remembered { "measured in an earlier run" } else { "measured now" };
    Ok(measurements.choose(when))
}

impl Measurements {
    /// The fastest arithmetic that passed, and the note on it. One that is less exact must be clearly faster, since times vary from
    /// run to run and the choice should not.
    fn choose(&self, when: &str) -> (ComputeType, String) {
        /// The speed beside that of the more exact one.
        const CLEARLY_FASTER: f64 = 1.1;
        let mut best: Option<&Measured> = None;
        for measured in self.arithmetics.iter().filter(|measured| measured.passed) {
            if measured.speed > CLEARLY_FASTER * best.map_or(1.0, |best| best.speed) {
                best = Some(measured);
            }
        }
        let failed: Vec<String> = self.arithmetics.iter().filter(|m| !m.passed).map(Measured::describe).collect();
        let failed = match failed.is_empty() {
            true => String::new(),
            false => format!("; left out: {}", failed.join(", ")),
        };
        match best {
            Some(best) => {
                (best.compute, format!("--fast computes in {} ({when} on a generated clip){failed}", best.describe()))
            }
            None => {
                (ComputeType::F32, format!("--fast computes in f32: nothing clearly faster passed ({when}){failed}"))
            }
        }
    }
}

impl Measured {
    fn describe(&self) -> String {
        let Measured { compute, speed, pooled_cosine, frame_cosine, .. } = self;
        format!(
            "{compute}, {speed:.1} times as fast as f32, pooled cosine {pooled_cosine:.5}, worst frame {frame_cosine:.4}"
        )
    }
}

fn measure(file: &ConvertedFile) -> anyhow::Result<Vec<Measured>> {
    let reference = Model::from_file(file, ComputeType::F32, &Device::Cpu)?;
    let rate = reference.preprocessor().sampling_rate;
    let clip = music_like(SECONDS * rate as usize, rate);
    let mut measured = Vec::new();
    for compute in fast_compute_types() {
        let model = match Model::from_file(file, compute, &Device::Cpu) {
            // The engine does not support the model's convolutions.
            Err(mert_runtime::Error::ComputeType { .. }) => continue,
            model => model?,
        };
        let verdict = ArithmeticVerdict::for_embeddings(&model, &reference, &clip)?;
        measured.push(Measured {
            compute,
            speed: speed(&model, &reference, &clip)?,
            pooled_cosine: verdict.pooled_cosine(),
            frame_cosine: verdict.frame_cosine(),
            passed: verdict.passed(),
        });
    }
    Ok(measured)
}

/// The median of the ratios of both models' times, in turns.
fn speed(model: &Model, reference: &Model, clip: &[f32]) -> anyhow::Result<f64> {
    let last = [model.config().num_hidden_layers];
    let mut workspaces = [Workspace::default(), Workspace::default()];
    let mut ratios = Vec::new();
    for pass in 0..=PASSES {
        let mut seconds = [0.0; 2];
        for ((model, workspace), seconds) in [reference, model].into_iter().zip(&mut workspaces).zip(&mut seconds) {
            let started = Instant::now();
            model.hidden_states_in(workspace, clip, &last, |_, _| ())?;
            *seconds = started.elapsed().as_secs_f64();
        }
        if pass > 0 {
            ratios.push(seconds[0] / seconds[1]);
        }
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[PASSES / 2])
}

fn path_in(folder: &Path, of: &str) -> PathBuf {
    folder.join("arithmetic").join(format!("{}.json", hex(Sha256::digest(of))))
}

/// The measurements in a file; none if it is not of them, or damaged.
fn read(path: &Path, of: &str) -> Option<Measurements> {
    let measurements: Measurements = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (measurements.of == of).then_some(measurements)
}

fn write(path: &Path, measurements: &Measurements) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = AtomicFile::create(path, true)?;
    file.file_mut().write_all(&serde_json::to_vec_pretty(measurements)?)?;
    Ok(file.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(compute: ComputeType, speed: f64, passed: bool) -> Measured {
        Measured { compute, speed, pooled_cosine: 0.9995, frame_cosine: 0.995, passed }
    }

    #[test]
    fn the_fastest_that_passed_and_is_faster_than_f32_is_chosen() {
        let choose =
            |arithmetics: Vec<Measured>| Measurements { of: String::new(), arithmetics }.choose("measured now");
        let (int8, bf16) = (ComputeType::Int8, ComputeType::BF16);
        assert_eq!(choose(vec![measured(bf16, 1.8, true), measured(int8, 2.9, true)]).0, int8);
        let (chosen, note) = choose(vec![measured(bf16, 1.8, true), measured(int8, 2.9, false)]);
        assert_eq!(chosen, bf16);
        assert!(note.contains("left out: int8"), "{note}");
        // A little faster is not enough, beside f32 or beside bf16.
        assert_eq!(choose(vec![measured(bf16, 1.08, true)]).0, ComputeType::F32);
        assert_eq!(choose(vec![measured(bf16, 1.8, true), measured(int8, 1.9, true)]).0, bf16);
        assert_eq!(choose(vec![measured(bf16, 0.9, true), measured(int8, 2.9, false)]).0, ComputeType::F32);
        assert_eq!(choose(Vec::new()).0, ComputeType::F32);
    }

    #[test]
    fn measurements_are_read_back_for_the_same_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let measurements = Measurements { of: "a".into(), arithmetics: vec![measured(ComputeType::Int8, 2.5, true)] };
        let path = path_in(folder.path(), "a");
        assert_eq!(read(&path, "a"), None);
        write(&path, &measurements).unwrap();
        assert_eq!(read(&path, "a"), Some(measurements));
        assert_eq!(read(&path, "b"), None);
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path, "a"), None);
    }
}
