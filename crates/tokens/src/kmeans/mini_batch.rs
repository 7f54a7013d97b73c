//! k-means on batches of frames, for corpora that take too long, or too much memory, as a whole.

use rand::{Rng, RngCore};

use super::{Centres, Frames};

/// The options of [`mini_batch`], named as in scikit-learn's `MiniBatchKMeans`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MiniBatch {
    /// The frames of a batch.
    pub batch: usize,
    /// The most frames that are drawn, as a multiple of all frames.
    pub passes: usize,
    /// The batches without a lower smoothed inertia after which it ends.
    pub patience: usize,
    /// The share of the largest cluster's frames below which a centre is replaced by a random frame.
    pub reassignment: f64,
}

/// The figures of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The number of the batch, from 1.
    pub number: usize,
    /// The squared distance of a frame of the batch from its nearest centre, on average.
    pub inertia: f64,
    /// The same, smoothed over the last batches, as many as two passes over all frames have.
    pub smoothed: f64,
    /// Centres that were replaced by random frames.
    pub replaced: usize,
    /// True if the batches end here, because the smoothed inertia does not become lower.
    pub converged: bool,
}

/// Moves `centres` by batches that are drawn from `frames`: each centre is the mean of all frames that were ever assigned
/// to it ([Sculley (2010)](https://doi.org/10.1145/1772690.1772862)). `on_batch` gets each batch and returns whether to
/// go on. Returns the centres.
pub fn mini_batch(
    frames: Frames<'_>,
    centres: Centres,
    options: MiniBatch,
    random: &mut impl RngCore,
    on_batch: &mut dyn FnMut(&Batch) -> bool,
) -> Centres {
    let (k, dim, total) = (centres.k(), centres.dim(), frames.len());
    let size = options.batch.clamp(1, total.max(1));
    let batches = (options.passes * total).div_ceil(size);
    let weight = (2.0 * size as f64 / (total as f64 + 1.0)).min(1.0);
    // Every 10 · k frames, as in scikit-learn.
    let between = (10 * k).div_ceil(size);
    let mut means: Vec<f64> = centres.values().iter().map(|&value| f64::from(value)).collect();
    let mut counts = vec![0u64; k];
    let mut centres = centres;
    let (mut smoothed, mut lowest, mut without_gain) = (None, f64::INFINITY, 0);
    for number in 1..=batches {
        let rows = draw_rows(total, size, random);
        let values = frames.copied(&rows);
        let Some(batch) = Frames::new(&values, dim) else { return centres };
        let nearest = centres.nearest(batch);
        let inertia = nearest.iter().map(|found| found.distance).sum::<f64>() / rows.len() as f64;
        for (row, found) in nearest.iter().enumerate() {
            let cluster = found.centre as usize;
            counts[cluster] += 1;
            let rate = 1.0 / counts[cluster] as f64;
            for (mean, &value) in means[cluster * dim..][..dim].iter_mut().zip(batch.row(row)) {
                *mean += (f64::from(value) - *mean) * rate;
            }
        }
        let due = number % between == 0 || counts.contains(&0);
        let replaced = match options.reassignment > 0.0 && due {
            true => replace(&mut means, &mut counts, batch, options.reassignment, random),
            false => 0,
        };
        let next = Centres::new(means.iter().map(|&mean| mean as f32).collect(), dim);
        let Some(next) = next else { return centres };
        centres = next;
        // The first batch only shows how good the start is.
        let mut ewa = inertia;
        if number > 1 {
            ewa = smoothed.map_or(inertia, |smoothed: f64| smoothed * (1.0 - weight) + inertia * weight);
            smoothed = Some(ewa);
            if ewa < lowest {
                (lowest, without_gain) = (ewa, 0);
            } else {
                without_gain += 1;
            }
        }
        let converged = options.patience > 0 && without_gain >= options.patience;
        if !on_batch(&Batch { number, inertia, smoothed: ewa, replaced, converged }) || converged {
            break;
        }
    }
    centres
}

/// `count` of `total` rows, drawn with replacement, ascending: a mapped file is then read in one direction.
fn draw_rows(total: usize, count: usize, random: &mut impl RngCore) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..count).map(|_| random.random_range(0..total)).collect();
    rows.sort_unstable();
    rows
}

/// Replaces centres with few frames by frames of the batch, at most half as many as it has, and gives them the count of the
/// smallest other cluster.
fn replace(means: &mut [f64], counts: &mut [u64], batch: Frames<'_>, share: f64, random: &mut impl RngCore) -> usize {
    let limit = counts.iter().copied().max().unwrap_or(0) as f64 * share;
    let mut few: Vec<usize> = (0..counts.len()).filter(|&cluster| (counts[cluster] as f64) < limit).collect();
    few.sort_by_key(|&cluster| counts[cluster]);
    few.truncate(batch.len() / 2);
    if few.is_empty() {
        return 0;
    }
    let others = (0..counts.len()).filter(|cluster| !few.contains(cluster)).map(|cluster| counts[cluster]);
    let count = others.min().unwrap_or(1).max(1);
    let mut rows: Vec<usize> = (0..batch.len()).collect();
    for (place, &cluster) in few.iter().enumerate() {
        let other = random.random_range(place..rows.len());
        rows.swap(place, other);
        let frame = batch.row(rows[place]);
        let mean = &mut means[cluster * batch.dim()..][..batch.dim()];
        mean.iter_mut().zip(frame).for_each(|(mean, &value)| *mean = f64::from(value));
        counts[cluster] = count;
    }
    few.len()
}
