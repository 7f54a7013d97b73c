//! The preprocessing of sound: the fields of transformers' `ClapFeatureExtractor` that affect the model's input.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::parse;
use crate::{ClapError, Result};

/// The largest window in samples that is accepted: 10 minutes of 48 kHz.
const MAX_SAMPLES: usize = 600 * 48_000;

/// The settings of the log-mel spectrogram, with the values of `laion/clap-htsat-unfused` as defaults.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Preprocessor {
    /// The number of mel bands.
    pub feature_size: usize,
    /// The sample rate in hertz.
    pub sampling_rate: u32,
    /// The samples between two frames.
    pub hop_length: usize,
    /// The length of the model's window in seconds.
    pub max_length_s: usize,
    /// The length of a frame in samples, which is that of the Fourier transform.
    pub fft_window_size: usize,
    /// The lower edge of the lowest mel band in hertz.
    pub frequency_min: f64,
    /// The upper edge of the highest mel band in hertz.
    pub frequency_max: f64,
    pub(crate) truncation: String,
    pub(crate) padding: String,
    pub(crate) feature_extractor_type: String,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Preprocessor {
            feature_size: 64,
            sampling_rate: 48_000,
            hop_length: 480,
            max_length_s: 10,
            fft_window_size: 1024,
            frequency_min: 50.0,
            frequency_max: 14_000.0,
            truncation: "rand_trunc".into(),
            padding: "repeatpad".into(),
            feature_extractor_type: "ClapFeatureExtractor".into(),
        }
    }
}

/// A `processor_config.json`, in which transformers 5 nests the feature extractor.
#[derive(Deserialize)]
struct Nested {
    feature_extractor: Option<Preprocessor>,
}

impl Preprocessor {
    /// Reads the first of the files that has the settings; `None` if none has.
    ///
    /// # Errors
    /// [`ClapError::Json`] and [`ClapError::Field`] if a file asks for something else than is computed here.
    pub fn read(files: &[PathBuf]) -> Result<Option<Self>> {
        for path in files {
            if let Some(found) = Self::read_file(path)? {
                found.check()?;
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn read_file(path: &Path) -> Result<Option<Self>> {
        let text = std::fs::read_to_string(path).map_err(|source| ClapError::Read { path: path.into(), source })?;
        if path.file_name().is_some_and(|name| name == "processor_config.json") {
            return Ok(parse::<Nested>(path, &text)?.feature_extractor);
        }
        Ok(Some(parse(path, &text)?))
    }

    /// The length of the model's window in samples.
    pub fn max_samples(&self) -> usize {
        self.max_length_s * self.sampling_rate as usize
    }

    /// The number of frames of the model's window.
    pub fn frames(&self) -> usize {
        self.max_samples() / self.hop_length + 1
    }

    fn check(&self) -> Result<()> {
        let expect = |right: bool, field, found: String, expected: &str| {
            if right {
                return Ok(());
            }
            Err(ClapError::Field { file: "preprocessor_config.json", field, found, expected: expected.into() })
        };
        let kind = &self.feature_extractor_type;
        expect(kind == "ClapFeatureExtractor", "feature_extractor_type", kind.clone(), "ClapFeatureExtractor")?;
        expect(
            self.truncation == "rand_trunc",
            "truncation",
            self.truncation.clone(),
            "rand_trunc: give an unfused checkpoint, such as laion/clap-htsat-unfused",
        )?;
        expect(self.padding == "repeatpad", "padding", self.padding.clone(), "repeatpad")?;
        let rate = self.sampling_rate;
        expect((8000..=192_000).contains(&rate), "sampling_rate", rate.to_string(), "a rate from 8000 to 192000")?;
        let (fft, hop) = (self.fft_window_size, self.hop_length);
        expect(
            (16..=1 << 16).contains(&fft) && fft % 2 == 0,
            "fft_window_size",
            fft.to_string(),
            "an even number from 16 to 65536",
        )?;
        expect((1..=fft).contains(&hop), "hop_length", hop.to_string(), "a number up to fft_window_size")?;
        let samples = self.max_length_s.checked_mul(rate as usize);
        expect(
            samples.is_some_and(|samples| (fft..=MAX_SAMPLES).contains(&samples)),
            "max_length_s",
            self.max_length_s.to_string(),
            "a window of at least one frame, and at most 10 minutes",
        )?;
        let bands = self.feature_size;
        expect((1..=1024).contains(&bands), "feature_size", bands.to_string(), "a number from 1 to 1024")?;
        let (low, high) = (self.frequency_min, self.frequency_max);
        expect(
            low >= 0.0 && low < high && high <= f64::from(rate) / 2.0,
            "frequency_max",
            format!("{high} with frequency_min {low}"),
            "frequencies in ascending order, up to half the sample rate",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Option<Preprocessor>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Preprocessor::read(&[path])
    }

    #[test]
    fn both_files_and_none() {
        let flat = read("preprocessor_config.json", r#"{"hop_length": 240, "top_db": null}"#).unwrap().unwrap();
        assert_eq!((flat.hop_length, flat.frames()), (240, 2001));
        let nested = r#"{"feature_extractor": {"frequency_min": 0}, "processor_class": "ClapProcessor"}"#;
        assert_eq!(read("processor_config.json", nested).unwrap().unwrap().frequency_min, 0.0);
        assert_eq!(read("processor_config.json", "{}").unwrap(), None);
        assert_eq!(Preprocessor::read(&[]).unwrap(), None);
        assert_eq!(Preprocessor::default().frames(), 1001);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_its_field() {
        for (field, words) in [
            (r#""truncation": "fusion""#, "truncation is fusion, expected rand_trunc"),
            (r#""padding": "repeat""#, "padding is repeat, expected repeatpad"),
            (r#""feature_extractor_type": "WhisperFeatureExtractor""#, "feature_extractor_type"),
            (r#""hop_length": 0"#, "hop_length"),
            (r#""fft_window_size": 7"#, "fft_window_size"),
            (r#""max_length_s": 0"#, "max_length_s"),
            (r#""max_length_s": 18446744073709551615"#, "max_length_s"),
            (r#""sampling_rate": 0"#, "sampling_rate"),
            (r#""frequency_max": 48000"#, "frequency_max"),
            (r#""feature_size": 0"#, "feature_size"),
            (r#""feature_size": "x""#, "feature_size: invalid type"),
        ] {
            let error = read("preprocessor_config.json", &format!("{{{field}}}")).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
