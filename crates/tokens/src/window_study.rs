//! How far a frame's token depends on its window: the same moments of music in windows of several lengths, with the moment
//! at the end or in the middle, and in windows that start half a hop later.

use std::path::PathBuf;

use mert_audio::{AudioFile, ReadOptions, Resampler, Source};
use mert_runtime::{Model, Workspace};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TokensError;
use crate::frames::{CutWindow, FrameEncoder, FrameGrid, Framing};
use crate::kmeans::{Centres, Frames, Lloyd, kmeans_plus_plus, lloyd};

/// The settings of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStudy {
    /// The lengths of windows in frames, ascending; the longest is the reference.
    pub windows: Vec<usize>,
    /// The frames of a hop, which are compared.
    pub hop: usize,
    /// The moments of each file.
    pub moments: usize,
    /// The number of tokens.
    pub k: usize,
    /// The seed of the moments and of k-means.
    pub seed: u64,
}

/// The figures of one length of windows with one kept part.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowResult {
    /// The windows and the kept part.
    pub framing: Framing,
    /// The share of tokens that equal those of the reference: the longest window, its middle kept.
    pub equal_to_reference: f64,
    /// The share of tokens that equal those of windows that start half a hop later.
    pub equal_when_shifted: f64,
    /// The mean cosine of frames with those of the reference.
    pub cosine_to_reference: f64,
    /// The mean cosine of frames with those of windows that start half a hop later.
    pub cosine_when_shifted: f64,
}

/// The kept frames of one moment: as they are, and of windows that start half a hop later.
struct Moment {
    frames: Vec<f32>,
    shifted: Vec<f32>,
}

impl WindowStudy {
    /// The framings that are compared: each length with the newest hop and, where that is another, the middle one.
    pub fn framings(&self) -> Vec<Framing> {
        let hop = self.hop;
        let framings = self.windows.iter().flat_map(|&window| {
            let middle = window.saturating_sub(hop) / 2;
            let lookaheads = if middle == 0 { vec![0] } else { vec![0, middle] };
            lookaheads.into_iter().map(move |lookahead| Framing { window, hop, lookahead })
        });
        framings.collect()
    }

    /// The frames before and after the start of a moment's hop that its windows reach.
    fn reach(&self) -> (usize, usize) {
        let framings = self.framings();
        let before = framings.iter().map(|framing| framing.kept().start).max().unwrap_or(0);
        let after = framings.iter().map(|framing| framing.window - framing.kept().start).max().unwrap_or(0);
        (before, after + self.hop / 2)
    }

    /// Compares the tokens of moments of the files at `paths` in hidden state `layer` of `model`. Files that are too short
    /// for the longest window are passed to `on_file` with an error, the others with the number of moments.
    ///
    /// # Errors
    /// [`TokensError::TooFewFrames`] if no file is long enough; those of the model.
    pub fn run(
        &self,
        paths: &[PathBuf],
        model: &Model,
        layer: usize,
        options: ReadOptions,
        on_file: &mut dyn FnMut(usize, Result<usize, TokensError>) -> bool,
    ) -> Result<Option<Vec<WindowResult>>, TokensError> {
        let framings = self.framings();
        let mut moments: Vec<Vec<Moment>> = framings.iter().map(|_| Vec::new()).collect();
        let mut workspace = Workspace::default();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        for (index, path) in paths.iter().enumerate() {
            let encoders: Vec<FrameEncoder> = framings
                .iter()
                .map(|&framing| FrameEncoder::new(model.clone(), layer, framing))
                .collect::<Result<_, _>>()?;
            let Some(grid) = encoders.first().map(FrameEncoder::grid) else { return Ok(None) };
            let found = self.moments_of(path, grid, options, &mut random);
            let go_on = match found {
                Err(error) => on_file(index, Err(error)),
                Ok((samples, starts)) => {
                    for &start in &starts {
                        for (encoder, moments) in encoders.iter().zip(&mut moments) {
                            let frames = kept(encoder, &mut workspace, &samples, start)?;
                            let shifted = kept(encoder, &mut workspace, &samples, start + self.hop / 2)?;
                            moments.push(Moment { frames, shifted });
                        }
                    }
                    on_file(index, Ok(starts.len()))
                }
            };
            if !go_on {
                return Ok(None);
            }
        }
        self.compare(&framings, &moments, model.config().hidden_size).map(Some)
    }

    /// The samples of a file at the model's rate, and the first frames of the hops that are compared.
    fn moments_of(
        &self,
        path: &std::path::Path,
        grid: FrameGrid,
        options: ReadOptions,
        random: &mut ChaCha8Rng,
    ) -> Result<(Vec<f32>, Vec<usize>), TokensError> {
        let mut file = AudioFile::open(path, options)?;
        let mut resampler = Resampler::new(file.sample_rate(), grid.rate)?;
        let mut samples = Vec::new();
        while let Some(block) = file.next_block()? {
            resampler.push(block, |block| samples.extend_from_slice(block));
        }
        resampler.finish(|block| samples.extend_from_slice(block));
        let (before, after) = self.reach();
        let frames = grid.frames(samples.len() as u64) as usize;
        let Some(last) = frames.checked_sub(after).filter(|&last| last > before) else {
            return Err(mert_audio::AudioError::TooShort {
                samples: samples.len() as u64,
                needed: grid.samples(before + after + 1),
            }
            .into());
        };
        let starts = (0..self.moments).map(|_| random.random_range(before..last)).collect();
        Ok((samples, starts))
    }

    /// Finds the centres of all frames together, and compares the tokens.
    fn compare(
        &self,
        framings: &[Framing],
        moments: &[Vec<Moment>],
        dim: usize,
    ) -> Result<Vec<WindowResult>, TokensError> {
        let pooled: Vec<f32> = moments.iter().flatten().flat_map(|moment| moment.frames.iter().copied()).collect();
        let too_few = || TokensError::TooFewFrames { frames: pooled.len() / dim.max(1), k: self.k };
        let frames = Frames::new(&pooled, dim).filter(|frames| frames.len() >= self.k).ok_or_else(too_few)?;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let start = kmeans_plus_plus(frames, self.k, &mut random, &|_| true).unwrap_or_default();
        let start = Centres::new(frames.copied(&start), dim).ok_or_else(too_few)?;
        let options = Lloyd { passes: 50, tolerance: 1e-4 };
        let centres = lloyd(frames, start, options, &|_| (), &mut |_, _| true);
        let tokens = |values: &[f32]| -> Vec<u32> {
            let frames = Frames::new(values, dim);
            let nearest = frames.map(|frames| centres.nearest(frames)).unwrap_or_default();
            nearest.iter().map(|found| found.centre).collect()
        };
        // The last framing is the middle of the longest window.
        let reference: Vec<&Moment> = moments.last().into_iter().flatten().collect();
        let results = framings.iter().zip(moments).map(|(&framing, moments)| {
            let (mut equal, mut equal_shifted, mut cosine, mut cosine_shifted) =
                (Mean::default(), Mean::default(), Mean::default(), Mean::default());
            let half = self.hop / 2;
            for (moment, reference) in moments.iter().zip(&reference) {
                let (found, expected) = (tokens(&moment.frames), tokens(&reference.frames));
                found.iter().zip(&expected).for_each(|(a, b)| equal.add(f64::from(u8::from(a == b))));
                // The frames that both have: the second half of one hop and the first of the other.
                let (late, early) = (&moment.frames[half * dim..], &moment.shifted[..(self.hop - half) * dim]);
                let (a, b) = (tokens(late), tokens(early));
                a.iter().zip(&b).for_each(|(a, b)| equal_shifted.add(f64::from(u8::from(a == b))));
                let pairs = |a: &[f32], b: &[f32], mean: &mut Mean| {
                    a.chunks_exact(dim).zip(b.chunks_exact(dim)).for_each(|(a, b)| mean.add(cosine_of(a, b)));
                };
                pairs(&moment.frames, &reference.frames, &mut cosine);
                pairs(late, early, &mut cosine_shifted);
            }
            WindowResult {
                framing,
                equal_to_reference: equal.value(),
                equal_when_shifted: equal_shifted.value(),
                cosine_to_reference: cosine.value(),
                cosine_when_shifted: cosine_shifted.value(),
            }
        });
        Ok(results.collect())
    }
}

/// The frames of the hop that starts with frame `start` of a recording, in the window that keeps it.
fn kept(
    encoder: &FrameEncoder,
    workspace: &mut Workspace,
    samples: &[f32],
    start: usize,
) -> Result<Vec<f32>, TokensError> {
    let (grid, kept) = (encoder.grid(), encoder.framing().kept());
    let first = start - kept.start;
    let window = &samples[first * grid.hop..][..grid.samples(encoder.framing().window)];
    let window = CutWindow { samples: window.to_vec(), first_frame: first as u64, kept };
    Ok(encoder.encode(workspace, window)?.values)
}

/// The mean of numbers.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

fn cosine_of(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}
