//! Scores of many rows: the best of them exactly, some of them exactly, or all of them approximately.

use fixedbitset::FixedBitSet;
use rayon::prelude::*;

use super::norms::norms;
use super::placement::{dot, normalize};
use super::{Query, Scored, Space, sum};
use crate::scan::{Isa, Scan, ScanGroup, error_factor};
use crate::vectors::{Derived, Level, Rows, Vectors};

/// The pairs of a query and a row that one task scores in f64, at least.
const TASK: usize = 16;

impl Space<'_> {
    /// For each query the `top` best of `rows`, best first, rows of equal score in ascending order. With CSLS the scores are
    /// corrected for hubs.
    ///
    /// All queries share one pass over the vectors in f32, which leaves the rows that can be among the best; they are
    /// scored in f64.
    pub fn scan(&self, level: Level, queries: &[Query], rows: &FixedBitSet, top: usize) -> Vec<Vec<Scored>> {
        let count = rows.count_ones(..);
        if top == 0 || count == 0 || queries.is_empty() {
            return vec![Vec::new(); queries.len()];
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

    /// For each query the `top` best of its candidates by their scores in f64, best first.
    pub(super) fn rank(
        &self,
        level: Level,
        queries: &[Query],
        candidates: &[Vec<usize>],
        top: usize,
    ) -> Vec<Vec<Scored>> {
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
        for scored in &mut scored {
            scored.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            scored.truncate(top);
        }
        scored
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
                parts: mapped.iter().map(|part| Rows::new(part.values(), dim)).collect(),
                norms: norms.iter().map(Vec::as_slice).collect(),
                dim,
                queries: queries.iter().flat_map(|query| sum(&query.groups)).map(|value| value as f32).collect(),
                offsets: vec![0.0; queries.len()],
                weight: 1.0,
                error: error_factor(isa, dim, queries.first().map_or(0, |query| query.groups.len())),
            }]));
        }
        let pairs = self.geometry.weights.iter().zip(&self.placements);
        let norms: Vec<Derived> =
            pairs.map(|(&(group, _), placement)| norms(self.catalogue, level, group, placement, &self.key)).collect();
        let mut groups = Vec::with_capacity(vectors.len());
        for (index, (vectors, norms)) in vectors.iter().zip(&norms).enumerate() {
            let placement = &self.placements[index];
            let dim = vectors.dim();
            let mut own = Vec::with_capacity(queries.len() * dim);
            let mut offsets = Vec::with_capacity(queries.len());
            for query in queries {
                // Rounding may have moved a query out of the range of the projection.
                let mut vector = query.groups[index].clone();
                placement.project(&mut vector);
                own.extend(vector.iter().map(|&value| value as f32));
                offsets.push(dot(&vector, &placement.mean));
            }
            groups.push(ScanGroup {
                parts: vectors.parts().map(|(_, matrix)| Rows::from(&**matrix)).collect(),
                norms: norms.iter().map(|part| part.pairs()).collect(),
                dim,
                queries: own,
                offsets,
                weight: self.geometry.weights[index].1,
                error: error_factor(isa, dim, placement.components.len()),
            });
        }
        run(scan(groups))
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::space::{Affine, Geometry, Metric, MetricGroup, MetricOrigin, Transform};
    use crate::{Catalogue, testing};

    /// The best rows by their scores in f64, all of them scored and sorted: what a scan has to return.
    fn brute_force(space: &Space, query: &Query, rows: &FixedBitSet, top: usize) -> Vec<Scored> {
        let score = |row| Scored { row, score: space.score(query, &space.point(Level::Tracks, row)) };
        let mut scored: Vec<Scored> = rows.ones().map(score).collect();
        scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        scored.truncate(top);
        scored
    }

    /// The scores of a row by their definition, without the code of a space.
    fn defined(catalogue: &Catalogue, geometry: &Geometry, a: usize, b: usize) -> f64 {
        let score = |&(group, weight): &(usize, f64)| {
            let placed = |row| {
                let values = catalogue.vectors(Level::Tracks, group).row(row);
                let mean = &catalogue.statistics().means[group];
                let center = if geometry.center { 1.0 } else { 0.0 };
                let mut placed: Vec<f64> = values.iter().zip(mean).map(|(&x, m)| f64::from(x) - center * m).collect();
                let components = &catalogue.statistics().components[group][..geometry.drop_components];
                let shares: Vec<f64> =
                    components.iter().map(|c| c.iter().zip(&placed).map(|(c, x)| c * x).sum()).collect();
                for (component, share) in components.iter().zip(shares) {
                    placed.iter_mut().zip(component).for_each(|(x, c)| *x -= share * c);
                }
                placed
            };
            let (a, b) = (placed(a), placed(b));
            let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            weight * product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
        };
        geometry.weights.iter().map(score).sum()
    }

    /// Rows that are hard for an approximation: nearly the same direction for all, copies, and rows far shorter and
    /// longer than others.
    fn adversarial(rows: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut vector =
            |scale: f32| -> Vec<f32> { (0..dim).map(|_| scale * random.random_range(-1.0..1.0f32)).collect() };
        let common = vector(1.0);
        let mut all: Vec<Vec<f32>> = Vec::new();
        for row in 0..rows {
            let scale = [0.1, 0.1, 0.1, 1e-6, 1e-7][row % 5];
            let near: Vec<f32> = common.iter().zip(vector(scale)).map(|(mean, noise)| mean + noise).collect();
            all.push(match row % 11 {
                3 if row > 20 => all[row - 17].clone(),
                7 => near.iter().map(|value| value * 1e-42).collect(),
                8 => near.iter().map(|value| value * 1e-30).collect(),
                9 => near.iter().map(|value| value * 3e37).collect(),
                _ => near,
            });
        }
        all
    }

    #[test]
    fn the_best_rows_are_those_of_brute_force_in_f64_on_adversarial_rows() {
        let folder = tempfile::tempdir().unwrap();
        // Statistics of rows that differ by 80 orders of magnitude would be those of the longest alone.
        for (name, dim, huge) in [("a", 24, false), ("b", 37, true)] {
            let mut vectors = adversarial(1000, 2 * dim);
            if !huge {
                vectors.retain(|vector| vector.iter().all(|value| value.abs() < 1e9));
            }
            let catalogue = testing::catalogue_of(&folder.path().join(name), 2, dim, &vectors);
            let all = catalogue.live().clone();
            let mut few = FixedBitSet::with_capacity(catalogue.tracks());
            (0..catalogue.tracks()).filter(|row| row % 13 == 5).for_each(|row| few.insert(row));
            for (center, drop_components) in [(true, 0), (false, 0), (true, 3), (true, 16)] {
                let geometry =
                    Geometry { center, drop_components, weights: vec![(1, 0.3), (0, 0.7)], ..Geometry::of(&catalogue) };
                let space = Space::new(&catalogue, geometry).unwrap();
                let mut queries: Vec<Query> = (0..9).map(|row| space.point(Level::Tracks, 37 * row)).collect();
                queries.push(space.combine(&[(queries[0].clone(), 1.0), (queries[1].clone(), -0.5)]));
                queries.push(space.place(vec![vec![0.0; dim]; 2]));
                for (rows, top) in [(&all, 1), (&all, 10), (&few, 10), (&all, 400), (&few, 5000), (&all, 0)] {
                    let found = space.scan(Level::Tracks, &queries, rows, top);
                    for (query, found) in queries.iter().zip(&found) {
                        assert_eq!(
                            *found,
                            brute_force(&space, query, rows, top),
                            "{name} {center} {drop_components} {top}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn few_rows_of_ordinary_data_are_scored_twice_and_their_scores_are_as_defined() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let mut vector =
            |scale: f32| -> Vec<f32> { (0..128).map(|_| scale * random.random_range(-1.0..1.0f32)).collect() };
        let mean = vector(3.0);
        let vectors: Vec<Vec<f32>> =
            (0..2000).map(|_| mean.iter().zip(vector(1.0)).map(|(mean, noise)| mean + noise).collect()).collect();
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue_of(folder.path(), 2, 64, &vectors);
        for (center, drop_components) in [(true, 0), (false, 0), (true, 2)] {
            let geometry = Geometry { center, drop_components, ..Geometry::of(&catalogue) };
            let space = Space::new(&catalogue, geometry.clone()).unwrap();
            let queries: Vec<Query> = (0..20).map(|row| space.point(Level::Tracks, row)).collect();
            let candidates = space.approximate(Level::Tracks, &queries, |scan| scan.candidates(catalogue.live(), 10));
            assert!(candidates.iter().all(|found| (10..13).contains(&found.len())), "{candidates:?}");
            let approximate = space.scores(Level::Tracks, &queries, catalogue.live());
            for (query, found) in space.scan(Level::Tracks, &queries, catalogue.live(), 10).iter().enumerate() {
                for hit in found {
                    let expected = defined(&catalogue, &geometry, query, hit.row);
                    assert!((hit.score - expected).abs() < 1e-12, "{hit:?} {expected}");
                    assert!((f64::from(approximate[query][hit.row]) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn the_best_rows_of_a_metric_are_those_of_brute_force_and_its_rows_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 300);
        let weight: Vec<f64> = (0..6 * 32).map(|index| f64::from(index * 37 % 101) / 50.0 - 1.0).collect();
        let groups = [("2", 0.4), ("1", 0.6)].map(|(name, weight)| MetricGroup { name: name.into(), weight });
        let origin = MetricOrigin {
            settings: None,
            groups: groups.into(),
            center: true,
            drop_components: 1,
            learned: serde_json::json!({}),
        };
        let layer =
            |weight: &[f64], inputs| Affine { weight: weight.to_vec(), bias: vec![0.3; weight.len() / inputs], inputs };
        let transforms = [
            Transform::Diagonal(weight[..32].to_vec()),
            Transform::Linear(Affine { bias: Vec::new(), ..layer(&weight, 32) }),
            Transform::Head { first: layer(&weight, 32), second: layer(&weight[..24], 6) },
        ];
        for transform in transforms {
            let metric = Metric::new(transform, origin.clone()).unwrap();
            let geometry = metric.geometry(&catalogue).unwrap();
            let space = Space::new(&catalogue, Geometry { metric: Some(metric.into()), ..geometry }).unwrap();
            let queries: Vec<Query> = (0..3).map(|row| space.point(Level::Tracks, 50 * row)).collect();
            let candidates = space.approximate(Level::Tracks, &queries, |scan| scan.candidates(catalogue.live(), 10));
            assert!(candidates.iter().all(|found| found.len() < 60), "{:?}", candidates[0].len());
            for (query, found) in queries.iter().zip(space.scan(Level::Tracks, &queries, catalogue.live(), 10)) {
                assert_eq!(found, brute_force(&space, query, catalogue.live(), 10));
            }
        }
        let kept = std::fs::read_dir(catalogue.folder().join("cache")).unwrap().count();
        assert_eq!(kept, 3);
    }

    #[test]
    fn lengths_are_kept_and_computed_again_when_they_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 40);
        let search = |catalogue: &Catalogue| {
            let space = Space::new(catalogue, Geometry::of(catalogue)).unwrap();
            space.scan(Level::Tracks, &[space.point(Level::Tracks, 3)], catalogue.live(), 5)
        };
        let expected = search(&catalogue);
        let index = catalogue.folder().join("parts/000001/index");
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(&index)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.starts_with("norms."))
                .collect();
            names.sort();
            names
        };
        let written = names();
        assert_eq!(written.len(), 2, "{written:?}");
        assert!(written[0].starts_with("norms.tracks.hidden_state_1."), "{written:?}");
        let old = index.join("norms.tracks.hidden_state_1.0123456789abcdef-centered.npy");
        std::fs::rename(index.join(&written[0]), &old).unwrap();
        std::fs::write(index.join(&written[1]), "half").unwrap();
        assert_eq!(search(&Catalogue::open(catalogue.folder()).unwrap()), expected);
        assert_eq!(names(), written);
    }
}
