//! Figures of one ranking, with binary relevance: Manning, Raghavan and Schütze, "Introduction to information retrieval",
//! chapter 8. nDCG is Järvelin and Kekäläinen's with the discount `log2(1 + rank)`.

use serde::Serialize;

/// Figures of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures<T> {
    /// P@k: the share of the first k that is relevant.
    pub precision: T,
    /// The mean of the precision at each relevant track, over the whole ranking (average precision).
    pub map: T,
    /// nDCG@k: relevant tracks of the first k, discounted by rank, over the most that is possible.
    pub ndcg: T,
    /// R@k: the share of relevant tracks among the first k.
    pub recall: T,
    /// The inverse of the rank of the first relevant track.
    pub mrr: T,
}

impl<T: Copy> Figures<T> {
    /// The figures in order.
    pub fn to_array(self) -> [T; 5] {
        [self.precision, self.map, self.ndcg, self.recall, self.mrr]
    }

    /// Figures from their order.
    pub fn from_array([precision, map, ndcg, recall, mrr]: [T; 5]) -> Self {
        Figures { precision, map, ndcg, recall, mrr }
    }

    /// The results of `join` for each figure.
    pub(super) fn zip<U: Copy, V: Copy>(self, other: Figures<U>, join: impl Fn(T, U) -> V) -> Figures<V> {
        let (a, b) = (self.to_array(), other.to_array());
        Figures::from_array(std::array::from_fn(|index| join(a[index], b[index])))
    }
}

fn discount(rank: usize) -> f64 {
    1.0 / ((1 + rank) as f64).log2()
}

/// The figures of a ranking, given the relevance of each track, best first; at least one is relevant.
pub(super) fn judge(ranking: &[bool], k: usize) -> Figures<f64> {
    let relevant = ranking.iter().filter(|&&is_relevant| is_relevant).count();
    let mut figures = Figures::default();
    let (mut found, mut gain) = (0.0, 0.0);
    for (rank, _) in (1..).zip(ranking).filter(|(_, is_relevant)| **is_relevant) {
        found += 1.0;
        figures.map += found / rank as f64;
        if found == 1.0 {
            figures.mrr = 1.0 / rank as f64;
        }
        if rank <= k {
            figures.precision += 1.0 / k as f64;
            figures.recall += 1.0 / relevant as f64;
            gain += discount(rank);
        }
    }
    figures.map /= relevant as f64;
    figures.ndcg = gain / (1..=k.min(relevant)).map(discount).sum::<f64>();
    figures
}

/// The expected figures of a random order of `candidates` tracks of which `relevant`, at least one, are relevant.
///
/// A rank is relevant with probability R/N; given that, each other rank is with (R − 1)/(N − 1), from which the expected
/// precision follows. The first relevant rank is r with probability `Π_{i<r} (N − R − i + 1)/(N − i + 1) · R/(N − r + 1)`.
pub(super) fn chance(candidates: usize, relevant: usize, k: usize) -> Figures<f64> {
    let (n, r) = (candidates as f64, relevant as f64);
    let share = r / n;
    let others = if candidates > 1 { (r - 1.0) / (n - 1.0) } else { 0.0 };
    let (mut map, mut mrr, mut none_before) = (0.0, 0.0, 1.0);
    for rank in 1..=candidates {
        let i = rank as f64;
        map += (1.0 + (i - 1.0) * others) / i / n;
        let left = n - i + 1.0;
        mrr += none_before * (r / left).min(1.0) / i;
        none_before *= ((left - r) / left).max(0.0);
    }
    let ideal: f64 = (1..=k.min(relevant)).map(discount).sum();
    Figures {
        precision: share * k.min(candidates) as f64 / k as f64,
        map,
        ndcg: share * (1..=k.min(candidates)).map(discount).sum::<f64>() / ideal,
        recall: k.min(candidates) as f64 / n,
        mrr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Figures<f64>, b: [f64; 5], tolerance: f64) {
        assert!(a.to_array().iter().zip(b).all(|(a, b)| (a - b).abs() < tolerance), "{a:?} {b:?}");
    }

    #[test]
    fn figures_are_those_of_scikit_learn() {
        // scikit-learn 1.9.1: average_precision_score(relevance, −rank), ndcg_score([relevance], [−rank], k=4); the others by
        // hand.
        let ranking = [false, true, true, false, false, true, false];
        close(judge(&ranking, 4), [0.5, 5.0 / 9.0, 0.530_721_273_977_243_4, 2.0 / 3.0, 0.5], 1e-12);
        // A list that is shorter than k has empty places.
        close(judge(&[true, true], 4), [0.5, 1.0, 1.0, 1.0, 1.0], 1e-12);
        // Off by one: the third rank belongs to the first three.
        assert_eq!(judge(&[false, false, true], 2).precision, 0.0);
        assert!((judge(&[false, false, true], 3).precision - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn chance_is_the_mean_over_all_orders() {
        for (candidates, relevant, k) in [(6, 2, 3), (7, 5, 2), (5, 1, 9), (4, 4, 3), (1, 1, 1)] {
            let (mut sums, mut orders) = ([0.0; 5], 0.0);
            for bits in 0..1u32 << candidates {
                if bits.count_ones() as usize == relevant {
                    let ranking: Vec<bool> = (0..candidates).map(|bit| bits >> bit & 1 == 1).collect();
                    let figures = judge(&ranking, k).to_array();
                    sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
                    orders += 1.0;
                }
            }
            close(chance(candidates, relevant, k), sums.map(|sum| sum / orders), 1e-12);
        }
    }
}
