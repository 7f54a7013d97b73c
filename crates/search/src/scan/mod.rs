//! The scan: scores of all wanted rows in f32, each with a bound of its error, in one pass over memory for all queries.
//!
//! A query `q` is in the range of the projection `P`, so `q · P(x − μ) = q · x − q · μ`: the rows are scanned as they are
//! stored, whatever the geometry, and scaled by `1 / |P(x − μ)|` afterwards. The bound decides which rows are scored again
//! in f64; it is derived in `bound.rs`.

mod bound;
mod dots;
mod rows;
mod select;

use fixedbitset::FixedBitSet;
use rayon::prelude::*;

pub(crate) use self::bound::{error_factor, is_regular};
use self::dots::{BLOCK, Dots};
pub(crate) use self::rows::Rows;
use self::select::{Candidates, Threshold, prune};
pub(crate) use self::select::{Estimate, candidates_of};
pub(crate) use mert_simd::Isa;

/// The rows that one task scans, at most.
const TASK: usize = 64 * BLOCK;

/// The vectors of one group, as a scan reads them.
#[derive(Debug)]
pub(crate) struct ScanGroup<'a> {
    /// The matrix of each part.
    pub(crate) parts: Vec<Rows<'a>>,
    /// For each part and row `1 / |P(x − μ)|` and how many times the error of one rounding counts: `norms.rs`.
    pub(crate) norms: Vec<&'a [[f32; 2]]>,
    /// The number of values in a row.
    pub(crate) dim: usize,
    /// The queries, `dim` values each, one after the other.
    pub(crate) queries: Vec<f32>,
    /// For each part and query what is subtracted from its dot product with a row as it is stored.
    pub(crate) offsets: Vec<Vec<f64>>,
    /// For each part how far a row can be from what is stored of it, rounding of the scan included.
    pub(crate) residuals: Vec<f64>,
    /// The weight of the group in the score.
    pub(crate) weight: f64,
    /// What [`error_factor`] returns.
    pub(crate) error: f64,
}

/// A scan of the rows of one level.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) isa: Isa,
    /// The weighted groups, all with the same rows in the same parts.
    pub(crate) groups: Vec<ScanGroup<'a>>,
    /// The first row of each part, and the number of rows of all.
    pub(crate) starts: Vec<usize>,
    /// The number of queries.
    pub(crate) queries: usize,
    /// What is subtracted from twice the score of each row, for CSLS.
    pub(crate) densities: Option<&'a [f64]>,
}

/// Rows of one part, numbered through all parts.
#[derive(Debug, Clone, Copy)]
struct Task {
    part: usize,
    start: usize,
    end: usize,
}

impl Scan<'_> {
    /// For each query the rows among `rows` that can be among the `top` best.
    pub(crate) fn candidates(&self, rows: &FixedBitSet, top: usize) -> Vec<Vec<Estimate>> {
        let thresholds: Vec<Threshold> = (0..self.queries).map(|_| Threshold::new()).collect();
        let scan = |task: &Task| {
            let mut candidates: Vec<Candidates> =
                thresholds.iter().map(|threshold| Candidates::new(top, threshold)).collect();
            self.blocks(*task, rows, |rows, scores, errors| {
                for (candidates, scores) in candidates.iter_mut().zip(scores.chunks_exact(BLOCK)) {
                    candidates.extend(rows, &scores[..rows.len()], errors);
                }
            });
            candidates.into_iter().map(Candidates::finish).collect::<Vec<_>>()
        };
        let mut found: Vec<Vec<Estimate>> = vec![Vec::new(); self.queries];
        for task in self.tasks().par_iter().map(scan).collect::<Vec<_>>() {
            found.iter_mut().zip(task).for_each(|(found, estimates)| found.extend(estimates));
        }
        found.iter_mut().zip(&thresholds).for_each(|(found, threshold)| prune(found, top, threshold));
        found
    }

    /// For each query the approximate score of each row among `rows`; 0 for others.
    pub(crate) fn scores(&self, rows: &FixedBitSet) -> Vec<Vec<f32>> {
        let scan = |task: &Task| {
            let mut scored = vec![vec![0.0; task.end - task.start]; self.queries];
            self.blocks(*task, rows, |rows, scores, _| {
                for (scored, scores) in scored.iter_mut().zip(scores.chunks_exact(BLOCK)) {
                    rows.iter().zip(scores).for_each(|(row, &score)| scored[row - task.start] = score as f32);
                }
            });
            scored
        };
        let mut all = vec![Vec::with_capacity(self.starts.last().copied().unwrap_or(0)); self.queries];
        for task in self.tasks().par_iter().map(scan).collect::<Vec<_>>() {
            all.iter_mut().zip(task).for_each(|(all, scores)| all.extend(scores));
        }
        all
    }

    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (part, range) in self.starts.windows(2).enumerate() {
            for start in (range[0]..range[1]).step_by(TASK) {
                tasks.push(Task { part, start, end: range[1].min(start + TASK) });
            }
        }
        tasks
    }

    /// Calls `sink(rows, scores, errors)` for each block of a task's rows that are among `rows`, with [`BLOCK`] scores for
    /// each query.
    fn blocks(&self, task: Task, rows: &FixedBitSet, mut sink: impl FnMut(&[usize], &[f64], &[f64])) {
        let first = self.starts[task.part];
        let mut wanted = ones_in(rows, task.start, task.end);
        let mut block: Vec<usize> = Vec::with_capacity(BLOCK);
        let mut widened: Vec<f32> = Vec::new();
        let mut products = vec![0.0f32; self.queries * BLOCK];
        let mut scores = vec![0.0f64; self.queries * BLOCK];
        let mut errors = [0.0f64; BLOCK];
        let mut inverses = [0.0f64; BLOCK];
        loop {
            block.clear();
            block.extend(wanted.by_ref().take(BLOCK));
            if block.is_empty() {
                return;
            }
            let count = block.len();
            scores.fill(0.0);
            errors.fill(0.0);
            for group in &self.groups {
                let part = &group.parts[task.part];
                part.for_each_tile(self.isa, &block, first, &mut widened, |start, rows| {
                    let output = &mut products[start..];
                    self.isa.run_dots(Dots { rows, queries: &group.queries, dim: group.dim, output });
                });
                let (norms, residual) = (group.norms[task.part], group.residuals[task.part]);
                for ((inverse, error), &row) in inverses.iter_mut().zip(&mut errors).zip(&block) {
                    let [stored, spread] = norms[row - first];
                    *inverse = group.weight * f64::from(stored);
                    *error += group.weight * (f64::from(spread) * group.error + bound::INVERSE) + *inverse * residual;
                }
                let results = products.chunks_exact(BLOCK).zip(scores.chunks_exact_mut(BLOCK));
                for ((products, scores), &offset) in results.zip(&group.offsets[task.part]) {
                    for ((score, &product), &inverse) in scores[..count].iter_mut().zip(products).zip(&inverses) {
                        *score += (f64::from(product) - offset) * inverse;
                    }
                }
            }
            for scores in scores.chunks_exact_mut(BLOCK) {
                // A row that the bound does not hold for may have a product beyond the range of f32.
                for (score, error) in scores[..count].iter_mut().zip(&errors) {
                    *score = if error.is_finite() { *score } else { 0.0 };
                }
                if let Some(densities) = self.densities {
                    scores.iter_mut().zip(&block).for_each(|(score, &row)| *score = 2.0 * *score - densities[row]);
                }
            }
            if self.densities.is_some() {
                errors.iter_mut().for_each(|error| *error *= 2.0);
            }
            sink(&block, &scores, &errors[..count]);
        }
    }

    /// For each row of a level what `of_row` makes of it: the approximate scores of all queries, and how far they are off.
    pub(crate) fn map_rows<T: Send>(&self, of_row: impl Fn(usize, &[f64], f64) -> T + Sync) -> Vec<T> {
        let all = self.starts.last().copied().unwrap_or(0);
        let mut rows = FixedBitSet::with_capacity(all);
        rows.insert_range(..);
        let scan = |task: &Task| {
            let mut mapped = Vec::with_capacity(task.end - task.start);
            let mut row_scores = vec![0.0; self.queries];
            self.blocks(*task, &rows, |rows, scores, errors| {
                for (index, (&row, &error)) in rows.iter().zip(errors).enumerate() {
                    row_scores.iter_mut().zip(scores.chunks_exact(BLOCK)).for_each(|(own, all)| *own = all[index]);
                    mapped.push(of_row(row, &row_scores, error));
                }
            });
            mapped
        };
        self.tasks().par_iter().map(scan).collect::<Vec<_>>().into_iter().flatten().collect()
    }
}

/// The rows of a set in a range, in order.
fn ones_in(rows: &FixedBitSet, start: usize, end: usize) -> impl Iterator<Item = usize> {
    const BITS: usize = usize::BITS as usize;
    let words = rows.as_slice();
    (start / BITS..end.div_ceil(BITS).min(words.len())).flat_map(move |index| {
        let first = index * BITS;
        let mut word = words[index];
        if first < start {
            word &= usize::MAX << (start - first);
        }
        if first + BITS > end {
            word &= usize::MAX >> (first + BITS - end);
        }
        std::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            (word != 0).then(|| {
                word &= word - 1;
                first + bit
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_range_are_those_of_the_set() {
        let mut rows = FixedBitSet::with_capacity(300);
        (0..300).filter(|row| row % 7 < 3).for_each(|row| rows.insert(row));
        for (start, end) in [(0, 300), (0, 64), (63, 65), (64, 128), (100, 101), (5, 5), (290, 400), (320, 500)] {
            let expected: Vec<usize> = rows.ones().filter(|row| (start..end).contains(row)).collect();
            assert_eq!(ones_in(&rows, start, end).collect::<Vec<_>>(), expected, "{start}..{end}");
        }
    }
}
