//! Lloyd's algorithm: frames to their nearest centres, centres to the means of their frames, until nothing moves.

use rayon::prelude::*;

use super::sums::Sums;
use super::{BLOCK, Centres, Frames, Nearest};

/// The options of [`lloyd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lloyd {
    /// The most passes over the frames.
    pub passes: usize,
    /// The sum of the squared movements of all centres at which it ends, as a share of the mean variance of a value: the
    /// `tol` of scikit-learn.
    pub tolerance: f64,
}

/// The figures of a pass over the frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// The number of the pass, from 1.
    pub number: usize,
    /// The sum of the squared distances of frames from the centres that the pass began with.
    pub inertia: f64,
    /// The sum of the squared movements of all centres.
    pub movement: f64,
    /// The frames whose cluster changed.
    pub changed: usize,
    /// Centres without frames, which were moved to the frames farthest from theirs.
    pub relocated: usize,
    /// True if the passes end here, because the centres moved by less than the tolerance or no frame changed its cluster.
    pub converged: bool,
}

/// Moves `centres` to the means of the nearest of `frames` until they move by less than the tolerance, no frame changes
/// its cluster, or the passes are over. `on_pass` gets each pass and the centres after it, and returns whether to go on;
/// `on_frames` the number of frames of each block that was assigned.
///
/// A centre without frames is moved to the frame that is farthest from its own, which leaves its cluster, as in
/// scikit-learn's `KMeans`; the k-th empty centre to the k-th farthest.
pub fn lloyd(
    frames: Frames<'_>,
    mut centres: Centres,
    options: Lloyd,
    on_frames: &dyn Fn(usize),
    on_pass: &mut dyn FnMut(&Pass, &Centres) -> bool,
) -> Centres {
    let (k, dim) = (centres.k(), centres.dim());
    let limit = options.tolerance * mean_variance(frames);
    let mut labels = vec![u32::MAX; frames.len()];
    for number in 1..=options.passes {
        let mut sums = Sums::new(k, dim);
        let (mut inertia, mut changed, mut farthest) = (0.0, 0, Farthest::new(k));
        for (block, frames) in frames.blocks(BLOCK).enumerate() {
            let nearest = centres.nearest(*frames);
            sums.add(*frames, &nearest);
            for (row, (found, label)) in nearest.iter().zip(&mut labels[block * BLOCK..]).enumerate() {
                inertia += found.distance;
                changed += usize::from(found.centre != *label);
                *label = found.centre;
                farthest.offer(block * BLOCK + row, found);
            }
            on_frames(frames.len());
        }
        let relocated = relocate(&mut sums, frames, farthest);
        let (values, movement) = moved(&centres, &sums);
        let Some(next) = Centres::new(values, dim) else { return centres };
        let converged = changed == 0 || movement <= limit;
        // scikit-learn keeps the centres of a pass that changed no label, which are these.
        centres = next;
        let pass = Pass { number, inertia, movement, changed, relocated, converged };
        if !on_pass(&pass, &centres) || converged {
            break;
        }
    }
    centres
}

/// The means of the clusters in f32, and the sum of their squared movements. A centre without frames stays.
fn moved(centres: &Centres, sums: &Sums) -> (Vec<f32>, f64) {
    let mut values = centres.values().to_vec();
    let dim = centres.dim();
    let movements = values.par_chunks_exact_mut(dim).enumerate().map(|(cluster, centre)| {
        if sums.counts[cluster] == 0 {
            return 0.0;
        }
        let mut movement = 0.0;
        for (value, mean) in centre.iter_mut().zip(sums.mean(cluster)) {
            let (before, after) = (f64::from(*value), mean as f32);
            movement += (f64::from(after) - before).powi(2);
            *value = after;
        }
        movement
    });
    let movements: Vec<f64> = movements.collect();
    (values, movements.iter().sum())
}

/// The frames farthest from their centres, as many as there are centres.
struct Farthest {
    /// Distance, row and centre, in a heap whose root is the least far.
    heap: std::collections::BinaryHeap<std::cmp::Reverse<(OrderedDistance, std::cmp::Reverse<usize>, u32)>>,
    most: usize,
}

/// A distance, ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OrderedDistance(f64);

impl Eq for OrderedDistance {}

impl PartialOrd for OrderedDistance {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedDistance {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Farthest {
    fn new(most: usize) -> Self {
        Farthest { heap: Default::default(), most }
    }

    fn offer(&mut self, row: usize, found: &Nearest) {
        let entry = std::cmp::Reverse((OrderedDistance(found.distance), std::cmp::Reverse(row), found.centre));
        if self.heap.len() < self.most {
            self.heap.push(entry);
        } else if let Some(mut least) = self.heap.peek_mut()
            && entry < *least
        {
            *least = entry;
        }
    }

    /// The rows and centres, the farthest first; of equally far ones the lowest row.
    fn sorted(self) -> impl Iterator<Item = (usize, usize)> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|std::cmp::Reverse((_, std::cmp::Reverse(row), centre))| (row, centre as usize))
    }
}

/// Gives each centre without frames the farthest frame that is left. The number of centres that got one.
fn relocate(sums: &mut Sums, frames: Frames<'_>, farthest: Farthest) -> usize {
    let empty: Vec<usize> = (0..sums.counts.len()).filter(|&cluster| sums.counts[cluster] == 0).collect();
    if empty.is_empty() {
        return 0;
    }
    let mut moved = 0;
    let mut farthest = farthest.sorted();
    for cluster in empty {
        // A cluster of one frame would be empty without it.
        let Some((row, from)) = farthest.find(|&(_, from)| sums.counts[from] > 1) else { break };
        sums.relocate(frames.row(row), from, cluster);
        moved += 1;
    }
    moved
}

/// The mean over the values of a frame of their variance over the frames.
pub(super) fn mean_variance(frames: Frames<'_>) -> f64 {
    let (dim, count) = (frames.dim(), frames.len().max(1) as f64);
    // Shifted by the first frame, so that large means cost no digits.
    let shift = if frames.is_empty() { vec![0.0; dim] } else { frames.row(0).to_vec() };
    let part = |values: &[f32]| {
        let (mut sums, mut squares) = (vec![0.0; dim], vec![0.0; dim]);
        for frame in values.chunks_exact(dim) {
            for (index, &value) in frame.iter().enumerate() {
                let value = f64::from(value) - f64::from(shift[index]);
                sums[index] += value;
                squares[index] += value * value;
            }
        }
        (sums, squares)
    };
    let blocks = frames.blocks(BLOCK);
    let blocks: Vec<(Vec<f64>, Vec<f64>)> =
        blocks.flat_map(|block| block.values().par_chunks(dim << 12).map(part).collect::<Vec<_>>()).collect();
    let total = (0..dim).map(|index| {
        let sum: f64 = blocks.iter().map(|(sums, _)| sums[index]).sum();
        let squares: f64 = blocks.iter().map(|(_, squares)| squares[index]).sum();
        (squares / count - (sum / count).powi(2)).max(0.0)
    });
    total.sum::<f64>() / dim.max(1) as f64
}
