//! k-means beside plain loops in f64.

use mert_simd::Isa;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// `rows` frames around `clusters` points, far from the origin, where products in f32 lose digits.
fn frames(rows: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    let points: Vec<f32> = (0..clusters * dim).map(|_| 3.0 + random.random::<f32>()).collect();
    let mut values = Vec::with_capacity(rows * dim);
    for _ in 0..rows {
        let point = random.random_range(0..clusters) * dim;
        values.extend(points[point..][..dim].iter().map(|&value| value + 0.1 * (random.random::<f32>() - 0.5)));
    }
    values
}

/// The nearest centre of a frame by a plain loop in f64.
fn plain_nearest(frame: &[f32], centres: &[f32]) -> (u32, f64) {
    let distances = centres.chunks_exact(frame.len()).map(|centre| {
        let terms = frame.iter().zip(centre).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        terms.sum::<f64>()
    });
    let mut lowest = (0, f64::INFINITY);
    for (index, distance) in distances.enumerate() {
        if distance < lowest.1 * (1.0 - 1e-13) {
            lowest = (index as u32, distance);
        }
    }
    lowest
}

#[test]
fn labels_are_those_of_f64_on_every_instruction_set() {
    for (rows, dim, k) in [(1, 1, 1), (7, 3, 5), (97, 16, 40), (300, 768, 130), (70, 1024, 33), (260, 100, 64)] {
        let values = frames(rows, dim, 20, 1);
        let mut centres = frames(k, dim, 20, 2);
        // Pairs of centres that differ in the last digit, and equal ones, of which the lower counts.
        for index in (1..k).step_by(3) {
            let (before, after) = centres.split_at_mut(index * dim);
            after[..dim].copy_from_slice(&before[(index - 1) * dim..]);
            if index % 2 == 1 {
                after[dim / 2] = after[dim / 2].next_up();
            }
        }
        for isa in Isa::available() {
            let packed = Centres::on(isa, centres.clone(), dim).unwrap();
            let found = packed.nearest(Frames::new(&values, dim).unwrap());
            for (frame, found) in values.chunks(dim).zip(found) {
                let (centre, distance) = plain_nearest(frame, &centres);
                assert_eq!(found.centre, centre, "{isa:?} {rows} x {dim}, {k}");
                assert!((found.distance - distance).abs() <= 1e-12 * distance.max(1e-12));
            }
        }
    }
}

/// A product in f32 alone names another centre, so that the test above could fail.
#[test]
fn f32_alone_is_not_enough() {
    let values = frames(300, 768, 20, 1);
    let mut centres = frames(130, 768, 20, 2);
    for index in (1..130).step_by(3) {
        let copy = centres[(index - 1) * 768..index * 768].to_vec();
        centres[index * 768..][..768].copy_from_slice(&copy);
        centres[index * 768 + 384] = centres[index * 768 + 384].next_up();
    }
    let f32_nearest = |frame: &[f32]| {
        let score = |centre: &[f32]| {
            let half = centre.iter().map(|c| c * c).sum::<f32>() / 2.0;
            half - frame.iter().zip(centre).map(|(x, c)| x * c).sum::<f32>()
        };
        let scores: Vec<f32> = centres.chunks_exact(768).map(score).collect();
        (0..scores.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap()
    };
    let wrong = values.chunks(768).filter(|frame| f32_nearest(frame) != plain_nearest(frame, &centres).0 as usize);
    assert!(wrong.count() > 10);
}

#[test]
fn values_that_overflow_products_are_compared_in_f64() {
    let values = [1e30f32, 2e30, -3e30, 1e-30];
    let centres = Centres::new(vec![2e30, 2e30, -3e30, 0.0], 2).unwrap();
    let found = centres.nearest(Frames::new(&values, 2).unwrap());
    assert_eq!(found.iter().map(|found| found.centre).collect::<Vec<_>>(), [0, 1]);
}

/// Lloyd's algorithm in f64, with centres rounded to f32 after each pass.
fn plain_lloyd(values: &[f32], start: &[f32], dim: usize, passes: usize) -> Vec<f32> {
    let mut centres = start.to_vec();
    for _ in 0..passes {
        let k = centres.len() / dim;
        let (mut sums, mut counts) = (vec![0.0f64; centres.len()], vec![0usize; k]);
        for frame in values.chunks_exact(dim) {
            let cluster = plain_nearest(frame, &centres).0 as usize;
            counts[cluster] += 1;
            sums[cluster * dim..][..dim].iter_mut().zip(frame).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        for cluster in (0..k).filter(|&cluster| counts[cluster] > 0) {
            for index in cluster * dim..(cluster + 1) * dim {
                centres[index] = (sums[index] / counts[cluster] as f64) as f32;
            }
        }
    }
    centres
}

fn run(values: &[f32], start: &[f32], dim: usize, passes: usize) -> Centres {
    let options = Lloyd { passes, tolerance: 0.0 };
    let start = Centres::new(start.to_vec(), dim).unwrap();
    lloyd(Frames::new(values, dim).unwrap(), start, options, &|_| (), &mut |_, _| true)
}

#[test]
fn lloyd_agrees_with_plain_loops_and_on_any_number_of_threads() {
    let (dim, k) = (20, 12);
    let values = frames(2000, dim, 30, 3);
    let start = values[..k * dim].to_vec();
    let expected = plain_lloyd(&values, &start, dim, 10);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let found = one.install(|| run(&values, &start, dim, 10));
    assert_eq!(found.values(), three.install(|| run(&values, &start, dim, 10)).values());
    for (found, expected) in found.values().iter().zip(&expected) {
        // Sums of other order differ in the last digit of f64, a digit of f32 at most.
        assert!((found - expected).abs() <= 4.0 * f32::EPSILON, "{found} {expected}");
    }
}

#[test]
fn an_empty_centre_gets_the_farthest_frame() {
    // Frames at 0, 1 and 10; the last two centres are far from all of them.
    let values = [0.0f32, 0.0, 1.0, 1.0, 10.0];
    let mut passes = Vec::new();
    let start = Centres::new(vec![0.5, 1000.0, 2000.0], 1).unwrap();
    let frames = Frames::new(&values, 1).unwrap();
    let options = Lloyd { passes: 9, tolerance: 0.0 };
    let centres = lloyd(frames, start, options, &|_| (), &mut |pass, _| {
        passes.push((pass.relocated, pass.changed));
        true
    });
    // 10 is the farthest, then, of four as far, the first 0.
    assert_eq!(passes[0].0, 2);
    let mut values = centres.values().to_vec();
    values.sort_by(f32::total_cmp);
    assert_eq!(values, [0.0, 1.0, 10.0]);
    assert_eq!(passes.last(), Some(&(0, 0)));
}

#[test]
fn the_start_spreads_and_repeats() {
    let values = frames(3000, 24, 8, 5);
    let all = Frames::new(&values, 24).unwrap();
    let start = |seed| kmeans_plus_plus(all, 8, &mut random(seed), &|_| true).unwrap();
    assert_eq!(start(1), start(1));
    for seed in 0..5 {
        // Frames lie within 0.05 of eight points in each value: one centre in each.
        let rows = start(seed);
        for (place, &a) in rows.iter().enumerate() {
            for &b in &rows[..place] {
                assert!(squared_distance(all.row(a), all.row(b)) > 24.0 * 0.1f64.powi(2), "seed {seed}");
            }
        }
    }
    // Equal frames are no reason to stop.
    let equal = vec![1.0f32; 40];
    let found = kmeans_plus_plus(Frames::new(&equal, 2).unwrap(), 5, &mut random(1), &|_| true).unwrap();
    let mut distinct = found.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
}

#[test]
fn batches_come_near_what_all_frames_give() {
    let values = frames(4000, 16, 10, 7);
    let all = Frames::new(&values, 16).unwrap();
    let rows = kmeans_plus_plus(all, 10, &mut random(1), &|_| true).unwrap();
    let start = || Centres::new(rows.iter().flat_map(|&row| all.row(row)).copied().collect(), 16).unwrap();
    let options = MiniBatch { batch: 256, passes: 20, patience: 30, reassignment: 0.01 };
    let found = mini_batch(all, start(), options, &mut random(2), &mut |_| true);
    let again = mini_batch(all, start(), options, &mut random(2), &mut |_| true);
    assert_eq!(found.values(), again.values());
    let inertia = |centres: &Centres| centres.nearest(all).iter().map(|found| found.distance).sum::<f64>();
    let full = lloyd(all, start(), Lloyd { passes: 50, tolerance: 0.0 }, &|_| (), &mut |_, _| true);
    assert!(inertia(&found) <= 1.05 * inertia(&full));
    // Without a step nothing changes: the comparison can fail.
    let far = Centres::new(vec![0.0; 160], 16).unwrap();
    assert!(inertia(&far) > 2.0 * inertia(&full));
}

#[test]
fn figures_of_labels() {
    let nearest = |centre| Nearest { centre, distance: 2.0 };
    let labels = [0, 0, 1, 1, 1, 2, 0, 0].map(nearest);
    let found = quality(&labels, 5, &[6]);
    assert_eq!((found.frames, found.used, found.dead, found.inertia), (8, 3, 2, 2.0));
    // Shares 1/2, 3/8 and 1/8.
    let expected = 0.5 + 0.375 * (8.0f64 / 3.0).log2() + 0.125 * 3.0;
    assert!((found.entropy - expected).abs() < 1e-12);
    // Runs of 2, 3, 1 and 2.
    assert_eq!(found.median_run, 2.0);
    // A file that ends within a run divides it: 1, 1, 3, 1 and 2.
    assert_eq!(quality(&labels, 5, &[1, 6]).median_run, 1.0);
    let centres = Centres::new(vec![0.0, 0.1, 5.0, 9.0], 1).unwrap();
    assert_eq!(near_doubles(&centres, 1.0, 0.2), 2);
}
