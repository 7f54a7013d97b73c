//! From frames to centres: the start, the passes or batches, and the figures of the result.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::TokensError;
use crate::kmeans::{
    Batch, Centres, Frames, Lloyd, MiniBatch, Pass, Quality, kmeans_plus_plus, lloyd, mini_batch, quality,
};

/// The fewest frames for each centre from which k-means++ chooses.
const START_FRAMES: usize = 10;

/// The values that k-means++ may read in all: it passes over its frames once for each centre, which takes some ten seconds.
const START_VALUES: usize = 1 << 35;

/// The algorithm that moves the centres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Algorithm {
    /// Passes over all frames.
    Lloyd(Lloyd),
    /// Batches of frames.
    MiniBatch(MiniBatch),
}

/// The options of k-means.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// The number of centres.
    pub k: usize,
    /// The seed of all that is drawn.
    pub seed: u64,
    /// The algorithm that moves the centres.
    pub algorithm: Algorithm,
}

/// An event of [`train_centres`].
#[derive(Debug)]
pub enum TrainEvent<'a> {
    /// Centres to start from were chosen, this many so far.
    Start(usize),
    /// This many frames were assigned.
    Frames(usize),
    /// A pass over all frames, and the centres after it; pass 0 is the start.
    Pass(Option<&'a Pass>, &'a Centres),
    /// A batch.
    Batch(&'a Batch),
}

/// The result of k-means.
#[derive(Debug)]
pub struct Trained {
    /// The centres.
    pub centres: Centres,
    /// The frames of each centre.
    pub counts: Vec<u64>,
    /// The figures on the frames that the centres were found from.
    pub training: Quality,
    /// The passes or batches, those of an interrupted run included.
    pub passes: usize,
    /// True if the centres stopped moving before the last pass.
    pub converged: bool,
}

/// Finds centres of `frames`. `resume` holds the passes that are done and the centres after them; `ends` the rows at which
/// files end. `on_event` returns whether to go on; if it does not, the result is `None`.
///
/// # Errors
/// [`TokensError::TooFewFrames`] for fewer frames than centres.
pub fn train_centres(
    frames: Frames<'_>,
    options: &KMeans,
    resume: Option<(usize, Centres)>,
    ends: &[usize],
    on_event: &(dyn Fn(TrainEvent<'_>) -> bool + Sync),
) -> Result<Option<Trained>, TokensError> {
    let KMeans { k, seed, algorithm } = *options;
    if frames.len() < k || k == 0 {
        return Err(TokensError::TooFewFrames { frames: frames.len(), k });
    }
    let (done, start) = match resume {
        Some(resume) => resume,
        None => match start(frames, k, seed, on_event)? {
            Some(start) => (0, start),
            None => return Ok(None),
        },
    };
    if done == 0 && !on_event(TrainEvent::Pass(None, &start)) {
        return Ok(None);
    }
    let (mut passes, mut converged, mut stopped) = (done, false, false);
    let centres = match algorithm {
        Algorithm::Lloyd(options) => {
            let options = Lloyd { passes: options.passes.saturating_sub(done), ..options };

            lloyd(frames, start, options, &|frames| count(on_event, frames), &mut |pass, centres| {
                passes = done + pass.number;
                converged = pass.converged;
                stopped = !on_event(TrainEvent::Pass(Some(&Pass { number: passes, ..pass.clone() }), centres));
                !stopped
            })
        }
        Algorithm::MiniBatch(options) => {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(1);
            mini_batch(frames, start, options, &mut random, &mut |batch| {
                passes = batch.number;
                converged = batch.converged;
                stopped = !on_event(TrainEvent::Batch(batch));
                !stopped
            })
        }
    };
    if stopped && !converged {
        return Ok(None);
    }
    let (nearest, training) = judge(frames, &centres, ends, on_event);
    let mut counts = vec![0; k];
    nearest.iter().for_each(|found| counts[found.centre as usize] += 1);
    Ok(Some(Trained { centres, counts, training, passes, converged }))
}

/// Reports that `frames` frames were assigned. The end of the pass is where training can be stopped.
fn count(on_event: &dyn Fn(TrainEvent<'_>) -> bool, frames: usize) {
    let _ = on_event(TrainEvent::Frames(frames));
}

/// The nearest centres of `frames`, and their figures. `ends` are the rows at which files end; `on_event` gets the frames that
/// were assigned.
pub fn judge(
    frames: Frames<'_>,
    centres: &Centres,
    ends: &[usize],
    on_event: &dyn Fn(TrainEvent<'_>) -> bool,
) -> (Vec<crate::kmeans::Nearest>, Quality) {
    let nearest = centres.nearest_in_blocks(frames, &|frames| count(on_event, frames));
    let quality = quality(&nearest, centres.k(), ends);
    (nearest, quality)
}

/// The centres to start from: k-means++ on a sample of the frames.
fn start(
    frames: Frames<'_>,
    k: usize,
    seed: u64,
    on_event: &dyn Fn(TrainEvent<'_>) -> bool,
) -> Result<Option<Centres>, TokensError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let affordable = START_VALUES / frames.dim().saturating_mul(k).max(1);
    let count = k.saturating_mul(START_FRAMES).max(affordable).min(frames.len());
    let mut rows = index::sample(&mut random, frames.len(), count).into_vec();
    rows.sort_unstable();
    let sample = frames.copied(&rows);
    let too_few = TokensError::TooFewFrames { frames: frames.len(), k };
    let Some(sample) = Frames::new(&sample, frames.dim()) else { return Err(too_few) };
    let chosen = kmeans_plus_plus(sample, k, &mut random, &|count| on_event(TrainEvent::Start(count)));
    let Some(chosen) = chosen else { return Ok(None) };
    let values = sample.copied(&chosen);
    Centres::new(values, frames.dim()).map(Some).ok_or(too_few)
}
