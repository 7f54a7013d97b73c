//! The windows of audio files as clips, decoded one after the other.

use std::path::{Path, PathBuf};

use mert_arch::Preprocessor;
use mert_audio::{AudioError, AudioFile, Damage, ReadOptions, Tail, Track, WindowPolicy, Windows, normalize};

use super::Tracks;
use crate::{Result, VerifyError};

/// The length in seconds of a clip for a model that accepts any length.
const DEFAULT_SECONDS: f64 = 30.0;

/// An iterator over the clips of tracks, which decodes them on demand.
pub(crate) struct Clips<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    options: ReadOptions,
    window: Option<WindowPolicy>,
    /// The length of the window from the middle of each track, if there is no other policy.
    seconds: f64,
    rate: u32,
    do_normalize: bool,
    min_samples: usize,
    current: Option<Current<'a>>,
}

/// The track that is being decoded.
struct Current<'a> {
    file: &'a Path,
    windows: Windows<AudioFile>,
    found: usize,
}

impl Tracks {
    /// Cuts the windows of all tracks as they enter the model: at its rate, and normalised if it requires this.
    /// `lengths` are the input lengths of a package.
    pub(crate) fn clips(&self, preprocessor: Preprocessor, min_samples: usize, lengths: Option<&[usize]>) -> Clips<'_> {
        let Preprocessor { do_normalize, sampling_rate: rate } = preprocessor;
        let longest = lengths.and_then(|lengths| lengths.iter().max());
        let seconds = longest.map_or(DEFAULT_SECONDS, |&samples| samples as f64 / f64::from(rate));
        let options = ReadOptions { damage: Damage::Refuse, ffmpeg: self.ffmpeg };
        let (files, window) = (self.files.iter(), self.window);
        Clips { files, options, window, seconds, rate, do_normalize, min_samples, current: None }
    }
}

impl Clips<'_> {
    fn next_clip(&mut self) -> Result<Option<(String, Vec<f32>)>> {
        loop {
            let Some(Current { file, windows, found }) = &mut self.current else {
                let Some(file) = self.files.next() else { return Ok(None) };
                let window =
                    self.window.map_or_else(|| WindowPolicy::middle(self.seconds), Ok).map_err(in_file(file))?;
                let track = Track::open(file, self.rate, self.options).map_err(in_file(file))?;
                // The last window is as long as the others, so that all clips are alike.
                let windows = track.windows(&window, Tail::Align, self.min_samples).map_err(in_file(file))?;
                self.current = Some(Current { file, windows, found: 0 });
                continue;
            };
            let Some(mut window) = windows.next_window().map_err(in_file(file))? else {
                if *found == 0 {
                    let cancel = windows.source().channels_cancel();
                    let error = if cancel { AudioError::ChannelsCancel } else { AudioError::Silent { value: 0.0 } };
                    return Err(in_file(file)(error));
                }
                self.current = None;
                continue;
            };
            let normalized = if self.do_normalize { normalize(&mut window.samples) } else { Ok(()) };
            match normalized {
                Ok(()) => {}
                // A silent window cannot be normalised.
                Err(AudioError::Silent { .. }) => continue,
                Err(error) => return Err(in_file(file)(error)),
            }
            *found += 1;
            let seconds = |samples: u64| samples as f64 / f64::from(self.rate);
            let (start, end) = (seconds(window.start), seconds(window.start + window.samples.len() as u64));
            return Ok(Some((format!("{} from {start:.2} to {end:.2} s", file.display()), window.samples)));
        }
    }
}

impl Iterator for Clips<'_> {
    type Item = Result<(String, Vec<f32>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_clip().transpose()
    }
}

fn in_file(file: &Path) -> impl Fn(AudioError) -> VerifyError + '_ {
    |source| VerifyError::Audio { path: file.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMALIZED: Preprocessor = Preprocessor { do_normalize: true, sampling_rate: 24_000 };

    #[test]
    fn windows_of_all_tracks_in_order() {
        let fixture = |name: &str| mert_testkit::fixture(&format!("audio/{name}"));
        let files = vec![fixture("f32-24k-mono.wav"), fixture("16-44k1-stereo.flac")];
        let window = Some("sliding:0.5s".parse().unwrap());
        let tracks = Tracks { files: files.clone(), window, ffmpeg: false };
        let clips: Vec<(String, Vec<f32>)> = tracks.clips(NORMALIZED, 400, None).map(Result::unwrap).collect();
        assert!(clips.len() >= 4);
        assert_eq!(clips[0].0, format!("{} from 0.00 to 0.50 s", files[0].display()));
        assert!(clips.iter().all(|(_, clip)| clip.len() == 12_000));
        for (name, clip) in &clips {
            let mean = clip.iter().map(|&x| f64::from(x)).sum::<f64>() / 12_000.0;
            let square = clip.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 12_000.0;
            assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-3, "{name}: {mean} {square}");
        }
        // The package determines the length.
        let tracks = Tracks { files, window: None, ffmpeg: false };
        assert!(tracks.clips(NORMALIZED, 400, Some(&[9_600])).all(|clip| clip.unwrap().1.len() == 9_600));
        // Without normalisation a window holds the decoded samples, including silence.
        let file = fixture("f32-24k-mono.wav");
        let tracks = Tracks { files: vec![file.clone()], window: Some("sliding:0.5s".parse().unwrap()), ffmpeg: false };
        let as_recorded = Preprocessor { do_normalize: false, ..NORMALIZED };
        let (_, clip) = tracks.clips(as_recorded, 400, None).next().unwrap().unwrap();
        let track = Track::open(&file, 24_000, Damage::Refuse).unwrap();
        let mut windows = track.windows(&"sliding:0.5s".parse().unwrap(), Tail::Align, 400).unwrap();
        assert_eq!(clip, windows.next_window().unwrap().unwrap().samples);
        // At the rate that the converted file records, whatever the model's type is.
        let file = fixture("extensible-s24-16k-mono.wav");
        let tracks = Tracks { files: vec![file.clone()], window: Some("sliding:0.5s".parse().unwrap()), ffmpeg: false };
        let at_16k = Preprocessor { do_normalize: false, sampling_rate: 16_000 };
        let (_, clip) = tracks.clips(at_16k, 400, None).next().unwrap().unwrap();
        let track = Track::open(&file, 16_000, Damage::Refuse).unwrap();
        let mut windows = track.windows(&"sliding:0.5s".parse().unwrap(), Tail::Align, 400).unwrap();
        assert_eq!((clip.len(), clip), (8_000, windows.next_window().unwrap().unwrap().samples));
        let missing = Tracks { files: vec![fixture("none.wav")], window: None, ffmpeg: false };
        assert!(matches!(missing.clips(NORMALIZED, 400, None).next(), Some(Err(VerifyError::Audio { .. }))));
    }
}
