//! The clips on which errors are measured: some to calibrate on, others that are held out from the choice.

use std::path::{Path, PathBuf};

use mert_arch::{Config, Preprocessor};
use mert_audio::{AudioError, Damage, Tail, Track, WindowPolicy, has_audio_extension, music_piece, normalize};
use mert_convert::Plan;
use mert_runtime::ConvertedFile;
use serde::Serialize;

use crate::{BudgetError, Result};

/// Where clips come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioSource {
    /// Generated pieces, which need no files.
    BuiltIn,
    /// A folder of audio files.
    Folder(PathBuf),
}

/// A clip as it enters the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The origin, for messages.
    pub name: String,
    /// The samples at the model's rate, normalised if the model requires it.
    pub input_values: Vec<f32>,
}

/// The clips of a budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// The clips on which the error of each layer is measured.
    pub calibration: Vec<Clip>,
    /// The clips on which an assembled mix is measured and by which it is repaired.
    pub held_out: Vec<Clip>,
    /// The sources of both, for reports.
    pub description: AudioDescription,
}

/// The sources of the clips, for reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AudioDescription {
    /// The names of the clips to calibrate on.
    pub calibration: Vec<String>,
    /// The names of the clips that are held out.
    pub held_out: Vec<String>,
    /// The length of a clip in seconds.
    pub seconds: f64,
    /// Files of the folder that could not be used, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// The length of a clip in seconds, as MERT's own training has it.
const SECONDS: f64 = 5.0;

/// The number of clips to calibrate on. Each costs a minute and a half on two processors for MERT-v1-95M.
const CALIBRATION_CLIPS: usize = 2;

/// The number of clips to hold out.
const HELD_OUT_CLIPS: usize = 6;

impl Audio {
    /// Loads the clips for the model of a plan, each of 5 s.
    ///
    /// Of the audio files of a folder and its subfolders, up to 8 are taken that are spread evenly over the list of paths: the
    /// first and the fourth to calibrate on, the others to hold out, 5 s from the middle of each. Of a single file, the
    /// beginning is calibrated on and the end held out.
    ///
    /// # Errors
    /// [`BudgetError::Folder`], [`BudgetError::Audio`] or [`BudgetError::TooFewClips`] for a folder.
    pub fn load(source: &AudioSource, plan: &Plan) -> Result<Self> {
        Audio::load_seconds(source, plan, SECONDS)
    }

    /// Loads clips of another length.
    ///
    /// # Errors
    /// Those of [`Audio::load`].
    pub fn load_seconds(source: &AudioSource, plan: &Plan, seconds: f64) -> Result<Self> {
        Audio::load_for(source, plan.preprocessor.preprocessor, &plan.config, seconds)
    }

    /// Loads the clips for a converted file.
    ///
    /// # Errors
    /// Those of [`Audio::load`].
    pub fn load_for_file(source: &AudioSource, file: &ConvertedFile) -> Result<Self> {
        Audio::load_for(source, file.metadata().preprocessor, &file.metadata().config, SECONDS)
    }

    fn load_for(source: &AudioSource, preprocessor: Preprocessor, config: &Config, seconds: f64) -> Result<Self> {
        match source {
            AudioSource::BuiltIn => Ok(Audio::built_in(preprocessor, seconds)),
            AudioSource::Folder(folder) => Audio::from_folder(folder, preprocessor, seconds, config.receptive_field()),
        }
    }

    fn built_in(preprocessor: Preprocessor, seconds: f64) -> Self {
        let samples = (seconds * f64::from(preprocessor.sampling_rate)) as usize;
        // Piece 0 is what mert-verify generates: it stays unseen.
        let clip = |piece: usize| Clip {
            name: format!("generated piece {piece}"),
            input_values: music_piece(piece as u32, samples, preprocessor.sampling_rate),
        };
        let calibration = (1..=CALIBRATION_CLIPS).map(clip).collect();
        let held_out = (CALIBRATION_CLIPS + 1..=CALIBRATION_CLIPS + HELD_OUT_CLIPS).map(clip).collect();
        Audio::new(calibration, held_out, seconds, Vec::new())
    }

    fn new(calibration: Vec<Clip>, held_out: Vec<Clip>, seconds: f64, left_out: Vec<String>) -> Self {
        let names = |clips: &[Clip]| clips.iter().map(|clip| clip.name.clone()).collect();
        let description =
            AudioDescription { calibration: names(&calibration), held_out: names(&held_out), seconds, left_out };
        Audio { calibration, held_out, description }
    }

    fn from_folder(folder: &Path, preprocessor: Preprocessor, seconds: f64, min_samples: usize) -> Result<Self> {
        let mut files = Vec::new();
        list(folder, &mut files).map_err(|source| BudgetError::Folder { path: folder.to_path_buf(), source })?;
        files.sort();
        let mut left_out = Vec::new();
        let (mut calibration, mut held_out) = (Vec::new(), Vec::new());
        if let [file] = &files[..] {
            let mut clips = cut(file, preprocessor, seconds, min_samples, true)?;
            let clip = |part: &str, input_values| Clip { name: format!("{}, {part}", file.display()), input_values };
            if let (Some(last), true) = (clips.pop(), !clips.is_empty()) {
                calibration.push(clip("the beginning", clips.swap_remove(0)));
                held_out.push(clip("the end", last));
            }
        }
        // Spread over the folder, because files that follow one another are often of one album.
        let wanted = CALIBRATION_CLIPS + HELD_OUT_CLIPS;
        for file in spread(&files, if files.len() > 1 { wanted } else { 0 }) {
            match cut(file, preprocessor, seconds, min_samples, false) {
                Ok(mut clips) => {
                    let Some(input_values) = clips.pop() else {
                        left_out.push(format!("{}: it is shorter than {seconds} s, or silent", file.display()));
                        continue;
                    };
                    let to_calibration =
                        calibration.len() < CALIBRATION_CLIPS && calibration.len() <= held_out.len() / 2;
                    let clip = Clip { name: file.display().to_string(), input_values };
                    if to_calibration { calibration.push(clip) } else { held_out.push(clip) }
                }
                Err(error) => left_out.push(error.to_string()),
            }
            if calibration.len() + held_out.len() == wanted {
                break;
            }
        }
        if calibration.is_empty() || held_out.is_empty() {
            let found = calibration.len() + held_out.len();
            return Err(BudgetError::TooFewClips { path: folder.to_path_buf(), found, seconds });
        }
        Ok(Audio::new(calibration, held_out, seconds, left_out))
    }
}

/// The audio files under a folder.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if has_audio_extension(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// All files, beginning with `count` that are spread evenly over the list.
fn spread(files: &[PathBuf], count: usize) -> Vec<&PathBuf> {
    if count == 0 {
        return Vec::new();
    }
    let mut first: Vec<usize> = (0..count.min(files.len())).map(|i| i * files.len() / count.min(files.len())).collect();
    let others: Vec<usize> = (0..files.len()).filter(|i| !first.contains(i)).collect();
    first.extend(others);
    first.into_iter().map(|i| &files[i]).collect()
}

/// The window from the middle of a file, or with `ends` its first and its last, as they enter the model; none if the file is
/// shorter than the windows, or silent.
fn cut(file: &Path, preprocessor: Preprocessor, seconds: f64, min_samples: usize, ends: bool) -> Result<Vec<Vec<f32>>> {
    let error = |source| BudgetError::Audio { path: file.to_path_buf(), source };
    let Preprocessor { do_normalize, sampling_rate } = preprocessor;
    let policy = match ends {
        true => format!("sliding:{seconds}s").parse(),
        false => WindowPolicy::middle(seconds),
    };
    let track = Track::open(file, sampling_rate, Damage::Refuse).map_err(error)?;
    let mut windows = track.windows(&policy.map_err(error)?, Tail::Drop, min_samples).map_err(error)?;
    let samples = (seconds * f64::from(sampling_rate)) as usize;
    let mut clips: Vec<Vec<f32>> = Vec::new();
    while let Some(mut window) = windows.next_window().map_err(error)? {
        match if do_normalize { normalize(&mut window.samples) } else { Ok(()) } {
            Ok(()) if window.samples.len() >= samples => {
                clips.truncate(1);
                clips.push(window.samples);
            }
            Ok(()) | Err(AudioError::Silent { .. }) => {}
            Err(source) => return Err(error(source)),
        }
    }
    Ok(clips)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREPROCESSOR: Preprocessor = Preprocessor { do_normalize: true, sampling_rate: 24_000 };

    #[test]
    fn no_clip_is_in_both_sets() {
        let audio = Audio::built_in(PREPROCESSOR, 0.1);
        assert_eq!((audio.calibration.len(), audio.held_out.len()), (2, 6));
        assert!(
            audio.calibration.iter().all(|clip| !audio.held_out.contains(clip) && clip.input_values.len() == 2_400)
        );

        let folder = mert_testkit::fixture("audio");
        let audio = Audio::from_folder(&folder, PREPROCESSOR, 0.5, 400).unwrap();
        assert_eq!(audio, Audio::from_folder(&folder, PREPROCESSOR, 0.5, 400).unwrap());
        let AudioDescription { calibration, held_out, .. } = &audio.description;
        assert_eq!((calibration.len(), held_out.len()), (2, 6));
        assert!(calibration.iter().all(|file| !held_out.contains(file)));
        assert!(audio.held_out.iter().all(|clip| clip.input_values.len() == 12_000));

        // Of a single file, two different parts.
        let folder = tempfile::tempdir().unwrap();
        let refused = Audio::from_folder(folder.path(), PREPROCESSOR, 0.5, 400).unwrap_err().to_string();
        assert!(refused.contains("has 0 clips of 0.5 s: expected at least 2"), "{refused}");
        let file = mert_testkit::fixture("audio/24k-mono.ogg");
        std::fs::copy(file, folder.path().join("one.ogg")).unwrap();
        let audio = Audio::from_folder(folder.path(), PREPROCESSOR, 0.5, 400).unwrap();
        assert_eq!((audio.calibration.len(), audio.held_out.len()), (1, 1));
        assert_ne!(audio.calibration[0].input_values, audio.held_out[0].input_values);
        let missing = Audio::from_folder(&folder.path().join("none"), PREPROCESSOR, 0.5, 400).unwrap_err();
        assert!(matches!(missing, BudgetError::Folder { .. }), "{missing}");
    }
}
