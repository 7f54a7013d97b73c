//! Scores of many rows: the best of them exactly, some of them exactly, or all of them approximately.

use fixedbitset::FixedBitSet;
use rayon::prelude::*;

use super::half::halves;
use super::norms::norms;
use super::placement::{dot, norm, normalize};
use super::{Query, Scored, Space, sum};
use crate::scan::{Isa, Rows, Scan, ScanGroup, error_factor};
use crate::vectors::{Derived, Halves, Level, Vectors};

/// The pairs of a query and a row that one task scores in f64, at least.
const TASK: usize = 16;

impl Space<'_> {
    /// For each query the `top` best of `rows`, best first, rows of equal score in ascending order. With CSLS the scores are
    /// corrected for hubs.
    ///
    /// All queries share one pass over the vectors in f32, which leaves the rows that can be among the best; they are
    /// scored in f64.
    pub fn scan(&self, level: Level, queries: &[Query], rows: &FixedBitSet, top: usize) -> Vec<Vec<Scored>> {
        self.scan_counted(level, queries, rows, top).0
    }

    /// [`Space::scan`], and the number of rows that it left out because their scores are no numbers: those of a damaged file.
    pub(super) fn scan_counted(
        &self,
        level: Level,
        queries: &[Query],
        rows: &FixedBitSet,
        top: usize,
    ) -> (Vec<Vec<Scored>>, usize) {
        let count = rows.count_ones(..);
        if top == 0 || count == 0 || queries.is_empty() {
            return (vec![Vec::new(); queries.len()], 0);
        }
        let candidates: Vec<Vec<usize>> = if top >= count {
            vec![rows.ones().collect(); queries.len()]
        } else {
            let found = self.approximate(level, queries, |scan| {
                let densities = self.geometry.csls.then(|| self.densities(level));
                Scan { densities: densities.as_deref(), ..scan }.candidates(rows, top)
            });
            found.into_iter().map(|found| found.into_iter().map(|estimate| estimate.row).collect()).collect()
        };
        self.rank(level, queries, &candidates, top)
    }

    /// The scores of `rows`, in their order, without a correction for hubs.
    pub fn score_rows(&self, level: Level, query: &Query, rows: &[usize]) -> Vec<f64> {
        let pairs: Vec<(usize, usize)> = rows.iter().map(|&row| (0, row)).collect();
        self.score_pairs(level, std::slice::from_ref(query), &pairs)
    }

    /// For each query the score of every row that is among `rows`, and 0 for others, without a correction for hubs. They are
    /// computed in f32, for histograms and percentiles: within 10⁻⁴ of the score unless rows lie closer to each other than to
    /// the mean.
    pub fn scores(&self, level: Level, queries: &[Query], rows: &FixedBitSet) -> Vec<Vec<f32>> {
        self.approximate(level, queries, |scan| scan.scores(rows))
    }

    /// For each query the `top` best of its candidates by their scores in f64, best first, and the number of candidates whose
    /// scores are no numbers, which are left out.
    pub(super) fn rank(
        &self,
        level: Level,
        queries: &[Query],
        candidates: &[Vec<usize>],
        top: usize,
    ) -> (Vec<Vec<Scored>>, usize) {
        let of_query = |(query, rows): (usize, &Vec<usize>)| rows.iter().map(|&row| (query, row)).collect::<Vec<_>>();
        let pairs: Vec<(usize, usize)> = candidates.iter().enumerate().flat_map(of_query).collect();
        let mut scored = vec![Vec::new(); queries.len()];
        for (&(query, row), score) in pairs.iter().zip(self.score_pairs(level, queries, &pairs)) {
            scored[query].push(Scored { row, score });
        }
        if self.geometry.csls {
            let densities = self.densities(level);
            for (query, scored) in queries.iter().zip(&mut scored) {
                let own = self.density(query);
                scored.iter_mut().for_each(|hit| hit.score = 2.0 * hit.score - own - densities[hit.row]);
            }
        }
        let mut damaged = 0;
        for scored in &mut scored {
            let all = scored.len();
            scored.retain(|hit| hit.score.is_finite());
            damaged += all - scored.len();
            scored.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            scored.truncate(top);
        }
        (scored, damaged)
    }

    /// The scores of pairs of a query and a row.
    fn score_pairs(&self, level: Level, queries: &[Query], pairs: &[(usize, usize)]) -> Vec<f64> {
        if self.geometry.metric.is_some() {
            let score = |&(query, row): &(usize, usize)| self.score(&queries[query], &self.point(level, row));
            return pairs.par_iter().with_min_len(TASK).map(score).collect();
        }
        let vectors = self.vectors(level);
        let score = |buffer: &mut Vec<f64>, &(query, row): &(usize, usize)| {
            let mut sum = 0.0;
            for (group, vectors) in vectors.iter().enumerate() {
                self.placements[group].center_row(vectors.row(row), buffer);
                normalize(buffer);
                sum += self.geometry.weights[group].1 * dot(&queries[query].groups[group], buffer);
            }
            sum
        };
        pairs.par_iter().with_min_len(TASK).map_init(Vec::new, score).collect()
    }

    /// The vectors of each weighted group.
    fn vectors(&self, level: Level) -> Vec<&Vectors> {
        self.geometry.weights.iter().map(|&(group, _)| self.catalogue.vectors(level, group)).collect()
    }

    /// What `run` makes of a scan of the rows of `level`, without a correction for hubs.
    pub(super) fn approximate<T>(&self, level: Level, queries: &[Query], run: impl FnOnce(Scan<'_>) -> T) -> T {
        let isa = Isa::detect();
        let vectors = self.vectors(level);
        let mut starts: Vec<usize> = vectors[0].parts().map(|(start, _)| start).collect();
        starts.push(vectors[0].rows());
        let scan = |groups| Scan { isa, groups, starts, queries: queries.len(), densities: None };
        if self.geometry.metric.is_some() {
            let mapped = self.mapped_rows(level);
            let dim = self.mapped_dim();
            // Of length 1, as far as their rounding, which counts as that of an inverse, goes.
            let norms: Vec<Vec<[f32; 2]>> =
                mapped.iter().map(|part| vec![[1.0, 1.0]; part.values().len() / dim.max(1)]).collect();
            return run(scan(vec![ScanGroup {
                parts: mapped.iter().map(|part| Rows::Single(part.values(), dim)).collect(),
                norms: norms.iter().map(Vec::as_slice).collect(),
                dim,
                queries: queries.iter().flat_map(|query| sum(&query.groups)).map(|value| value as f32).collect(),
                offsets: vec![vec![0.0; queries.len()]; mapped.len()],
                residuals: vec![0.0; mapped.len()],
                weight: 1.0,
                error: error_factor(isa, dim, queries.first().map_or(0, |query| query.groups.len())),
            }]));
        }
        let pairs = self.geometry.weights.iter().zip(&self.placements);
        let norms: Vec<Derived> =
            pairs.map(|(&(group, _), placement)| norms(self.catalogue, level, group, placement, &self.key)).collect();
        let halves: Vec<Halves> =
            self.geometry.weights.iter().map(|&(group, _)| halves(self.catalogue, level, group)).collect();
        let mut groups = Vec::with_capacity(vectors.len());
        for (index, (vectors, norms)) in vectors.iter().zip(&norms).enumerate() {
            let placement = &self.placements[index];
            let dim = vectors.dim();
            let error = error_factor(isa, dim, placement.components.len());
            // Rounding may have moved a query out of the range of the projection.
            let projected = |query: &Query| {
                let mut vector = query.groups[index].clone();
                placement.project(&mut vector);
                vector
            };
            let projected: Vec<Vec<f64>> = queries.iter().map(projected).collect();
            let (mut parts, mut offsets, mut residuals) = (Vec::new(), Vec::new(), Vec::new());
            for ((_, matrix), half) in vectors.parts().zip(halves[index].iter()) {
                let mut own: Vec<f64> = projected.iter().map(|query| dot(query, &placement.mean)).collect();
                match half {
                    Some(half) => {
                        own.iter_mut().zip(&projected).for_each(|(own, query)| *own -= dot(query, &half.reference));
                        parts.push(Rows::Half(half, dim));
                        residuals.push(half.residual + error * norm(&half.reference));
                    }
                    None => {
                        parts.push(Rows::from(&**matrix));
                        residuals.push(0.0);
                    }
                }
                offsets.push(own);
            }
            groups.push(ScanGroup {
                parts,
                norms: norms.iter().map(|part| part.pairs()).collect(),
                dim,
                queries: projected.iter().flatten().map(|&value| value as f32).collect(),
                offsets,
                residuals,
                weight: self.geometry.weights[index].1,
                error,
            });
        }
        run(scan(groups))
    }
}

#[cfg(test)]
mod tests;
