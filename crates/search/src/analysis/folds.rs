//! Folds whose members share no group, so that nothing is learned from an artist and judged on the same.

use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A division of items into folds that keeps groups together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folds {
    /// The number of folds.
    pub count: usize,
    /// The fold of each item.
    pub of_item: Vec<usize>,
}

impl Folds {
    /// Divides items of `groups` into `count` folds of sizes as equal as groups allow: the largest group goes to the
    /// smallest fold, groups of equal size in random order.
    pub fn new(groups: &[usize], count: usize, random: &mut ChaCha8Rng) -> Self {
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        groups.iter().for_each(|&group| *sizes.entry(group).or_default() += 1);
        let mut order: Vec<(usize, u64, usize)> =
            sizes.into_iter().map(|(group, size)| (size, random.random(), group)).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let mut filled = vec![0; count.max(1)];
        let mut of_group: BTreeMap<usize, usize> = BTreeMap::new();
        for (size, _, group) in order {
            let fold = (0..filled.len()).min_by_key(|&fold| filled[fold]).unwrap_or(0);
            filled[fold] += size;
            of_group.insert(group, fold);
        }
        Folds { count: filled.len(), of_item: groups.iter().map(|group| of_group[group]).collect() }
    }

    /// The items in a fold, and the others.
    pub fn split(&self, fold: usize) -> (Vec<usize>, Vec<usize>) {
        (0..self.of_item.len()).partition(|&item| self.of_item[item] == fold)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn no_group_is_on_both_sides_and_sizes_are_balanced() {
        let groups: Vec<usize> = (0..100).map(|item| item % 17).collect();
        let folds = Folds::new(&groups, 5, &mut ChaCha8Rng::seed_from_u64(1));
        for fold in 0..5 {
            let (inside, outside) = folds.split(fold);
            assert!(inside.iter().all(|&a| outside.iter().all(|&b| groups[a] != groups[b])));
            assert!((15..=25).contains(&inside.len()), "{}", inside.len());
        }
    }
}
