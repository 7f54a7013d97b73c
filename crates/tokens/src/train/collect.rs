//! The frames of a training: which files and windows they come from, and their way into the store.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mert_audio::{AudioError, AudioFile, ReadOptions, Resampler, Source};
use rayon::prelude::*;

use super::copies::copies;
use super::share::{Share, WindowChoice, held_out, shares};
use super::store::{Part, Store, StoredFile};
use crate::TokensError;
use crate::frames::{FileEvent, FrameEncoder, FrameGrid, Framing, encode_files};

/// The number of frames that a training takes, and the share of files that it holds out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The most frames to find centres from.
    pub frames: u64,
    /// The share of the files that are held out, of which this share of `frames` is taken.
    pub held_out: f64,
    /// The seed of the choice.
    pub seed: u64,
}

/// A file of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFile {
    /// The file.
    pub path: PathBuf,
    /// The set that its frames belong to.
    pub part: Part,
    /// The frames that the whole file has, as far as its header says.
    pub frames: u64,
    /// The windows that are taken.
    pub share: Share,
}

/// The files of a training, and the ones whose length cannot be found.
#[derive(Debug)]
pub struct CollectionPlan {
    /// The files, by their index among the inputs.
    pub files: Vec<(usize, PlannedFile)>,
    /// The inputs that cannot be read.
    pub failed: Vec<(usize, AudioError)>,
    /// The inputs that have the same bytes as another one, which is taken in their place.
    pub copies: Vec<(usize, usize)>,
}

/// An event of [`collect_frames`].
#[derive(Debug)]
pub enum CollectEvent {
    /// Frames of a window were added, or it was silent.
    Window,
    /// A file is done, with notes on what was skipped or assumed.
    Done(Vec<String>),
    /// A file cannot be read, or not to its end: none of its frames are used.
    Failed(TokensError),
}

impl CollectionPlan {
    /// Plans the training on `paths` with windows of `framing`. The headers of all files are read; the length of a file
    /// that does not state it is found by decoding. Copies of a file are left out.
    pub fn new(
        paths: &[PathBuf],
        grid: FrameGrid,
        framing: Framing,
        sampling: &Sampling,
        options: ReadOptions,
    ) -> Self {
        let originals = copies(paths);
        let lengths: Vec<Option<Result<u64, AudioError>>> = (paths.par_iter().zip(&originals))
            .map(|(path, original)| original.is_none().then(|| frames_of_file(path, grid, options)))
            .collect();
        let (mut failed, mut known) = (Vec::new(), Vec::new());
        for (index, length) in lengths.into_iter().enumerate() {
            match length {
                Some(Ok(frames)) => known.push((index, frames)),
                Some(Err(error)) => failed.push((index, error)),
                None => {}
            }
        }
        let copies = (originals.iter().enumerate()).filter_map(|(index, &original)| Some((index, original?))).collect();
        let held = held_out(known.len(), sampling.held_out, sampling.seed);
        let mut files = Vec::with_capacity(known.len());
        for part in [Part::Training, Part::HeldOut] {
            let of_part = known.iter().zip(&held).filter(|&(_, &held)| held == (part == Part::HeldOut));
            let of_part: Vec<(usize, u64)> = of_part.map(|(&file, _)| file).collect();
            let most = match part {
                Part::Training => sampling.frames,
                Part::HeldOut => (sampling.frames as f64 * sampling.held_out).ceil() as u64,
            };
            let frames: Vec<u64> = of_part.iter().map(|&(_, frames)| frames).collect();
            for (&(index, frames), taken) in of_part.iter().zip(shares(&frames, most)) {
                let share = window_share(framing, frames, taken);
                files.push((index, PlannedFile { path: paths[index].clone(), part, frames, share }));
            }
        }
        files.sort_by_key(|&(index, _)| index);
        CollectionPlan { files, failed, copies }
    }

    /// The windows that are taken.
    pub fn windows(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.share.taken).sum()
    }
}

/// Encodes the chosen windows of the files of `plan` that `store` does not hold yet. `prepare` changes the frames of a
/// window in place before they are stored. Silent windows are left out, and counted in the store.
///
/// # Errors
/// Those of the store, which end the run. A file that cannot be read does not.
#[allow(clippy::too_many_arguments)]
pub fn collect_frames(
    plan: &CollectionPlan,
    encoder: &FrameEncoder,
    options: ReadOptions,
    jobs: NonZero<usize>,
    seed: u64,
    store: &mut Store,
    prepare: &dyn Fn(&mut [f32]),
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(usize, &PlannedFile, CollectEvent),
) -> Result<(), TokensError> {
    let done: std::collections::HashSet<usize> = store.files().iter().map(|file| file.index).collect();
    let pending: Vec<&(usize, PlannedFile)> = plan.files.iter().filter(|(index, _)| !done.contains(index)).collect();
    let paths: Vec<&Path> = pending.iter().map(|(_, file)| file.path.as_path()).collect();
    let choices: Vec<WindowChoice> =
        pending.iter().map(|(index, file)| WindowChoice::new(file.share, seed, *index as u64)).collect();
    let select = |file: usize, number: u64| choices[file].takes(number);
    let (mut frames, mut silent) = (0, 0);
    encode_files(&paths, encoder, options, jobs, &select, stop, |file, event| {
        let (index, planned) = pending[file];
        let event = match event {
            FileEvent::Frames(kept) => {
                if kept.silent {
                    silent += 1;
                } else {
                    let mut values = kept.values;
                    prepare(&mut values);
                    store.add(planned.part, &values)?;
                    frames += (values.len() / encoder.dim()) as u64;
                }
                CollectEvent::Window
            }
            FileEvent::Done(end) => {
                let file = StoredFile { index: *index, part: planned.part, frames, silent };
                (frames, silent) = (0, 0);
                store.finish(file)?;
                CollectEvent::Done(end.notes)
            }
            FileEvent::Failed(error) => {
                (frames, silent) = (0, 0);
                store.forget(planned.part)?;
                CollectEvent::Failed(error)
            }
        };
        on_event(*index, planned, event);
        Ok(())
    })
}

/// The frames of a file at the model's rate, by its header, or else by decoding it.
fn frames_of_file(path: &Path, grid: FrameGrid, options: ReadOptions) -> Result<u64, AudioError> {
    let file = AudioFile::open(path, options)?;
    let resampler = Resampler::new(file.sample_rate(), grid.rate)?;
    let samples = match file.info().frames {
        Some(samples) => samples,
        None => file.count()?,
    };
    Ok(grid.frames(resampler.output_len(samples)))
}

/// The windows of a file of `frames` frames, and how many of them have `taken` frames.
fn window_share(framing: Framing, frames: u64, taken: u64) -> Share {
    let (hop, first) = (framing.hop as u64, framing.kept().end as u64);
    let windows = 1 + frames.saturating_sub(first).div_ceil(hop);
    match taken >= frames {
        true => Share { windows, taken: windows },
        false => Share { windows, taken: taken.div_ceil(hop).min(windows) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_have_the_frames() {
        let framing = Framing { window: 10, hop: 4, lookahead: 2 };
        // The first window keeps 8 frames, each other one 4.
        let share = |frames, taken| {
            let Share { windows, taken } = window_share(framing, frames, taken);
            (windows, taken)
        };
        assert_eq!(share(8, 8), (1, 1));
        assert_eq!(share(9, 9), (2, 2));
        assert_eq!(share(100, 100), (24, 24));
        assert_eq!(share(100, 10), (24, 3));
        assert_eq!(share(100, 0), (24, 0));
        assert_eq!(share(3, 3), (1, 1));
    }
}
