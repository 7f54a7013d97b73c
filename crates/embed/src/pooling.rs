//! The arithmetic of pooling: frames to one vector, and vectors to unit length. Sums are in f64.

use mert_table::Pool;

/// Pools `frames`, a multiple of `width`, into one vector of [`Pool::dim`]; without pooling, into all of them.
pub(crate) fn pool(kind: Pool, frames: &[f32], width: usize, out: &mut [f32]) {
    if kind == Pool::None {
        return out.copy_from_slice(frames);
    }
    let count = (frames.len() / width) as f64;
    let (first, second) = out.split_at_mut(width);
    for (block, first) in first.chunks_mut(BLOCK).enumerate() {
        let start = block * BLOCK;
        let columns = start..start + first.len();
        let rows = || frames.chunks_exact(width).map(|frame| &frame[columns.clone()]);
        if kind == Pool::Max {
            first.fill(f32::NEG_INFINITY);
            rows().for_each(|row| first.iter_mut().zip(row).for_each(|(max, &x)| *max = max.max(x)));
            continue;
        }
        let mut means = [0.0f64; BLOCK];
        rows().for_each(|row| means.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x)));
        means.iter_mut().for_each(|sum| *sum /= count);
        if kind == Pool::MeanStd {
            let mut squares = [0.0f64; BLOCK];
            for row in rows() {
                let deviations = row.iter().zip(&means).map(|(&x, mean)| f64::from(x) - mean);
                squares.iter_mut().zip(deviations).for_each(|(sum, deviation)| *sum += deviation * deviation);
            }
            let deviations = second[start..].iter_mut().zip(squares).take(first.len());
            deviations.for_each(|(out, sum)| *out = (sum / count).sqrt() as f32);
        }
        first.iter_mut().zip(means).for_each(|(out, mean)| *out = mean as f32);
    }
}

/// Columns that are summed together: a cache line of each frame.
const BLOCK: usize = 16;

/// Scales `vector` to a Euclidean length of 1; zeros stay zeros.
pub(crate) fn normalize_l2(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [f32; 6] = [1.0, -10.0, 2.0, -30.0, 6.0, -20.0];

    fn pooled(kind: Pool) -> Vec<f32> {
        let mut out = vec![f32::NAN; kind.rows(3) * kind.dim(2)];
        pool(kind, &FRAMES, 2, &mut out);
        out
    }

    #[test]
    fn each_pooling_matches_its_definition() {
        assert_eq!(pooled(Pool::Mean), [3.0, -20.0]);
        assert_eq!(pooled(Pool::Max), [6.0, -10.0]);
        let deviations = [(14.0f64 / 3.0).sqrt() as f32, (200.0f64 / 3.0).sqrt() as f32];
        assert_eq!(pooled(Pool::MeanStd), [3.0, -20.0, deviations[0], deviations[1]]);
        assert_eq!(pooled(Pool::None), FRAMES);
    }

    #[test]
    fn columns_beyond_a_block_are_pooled_alike() {
        let (width, frames) = (BLOCK * 2 + 3, 5);
        let value = |i: usize| ((i * 7919) % 1009) as f32 / 100.0 - 5.0;
        let values: Vec<f32> = (0..frames * width).map(value).collect();
        for kind in [Pool::Mean, Pool::Max, Pool::MeanStd] {
            let mut out = vec![f32::NAN; kind.dim(width)];
            pool(kind, &values, width, &mut out);
            for column in 0..width {
                let one: Vec<f32> = (0..frames).map(|frame| values[frame * width + column]).collect();
                let mut expected = vec![f32::NAN; kind.dim(1)];
                pool(kind, &one, 1, &mut expected);
                let found: Vec<f32> = out.iter().skip(column).step_by(width).copied().collect();
                assert_eq!(found, expected, "{kind}, column {column}");
            }
        }
    }

    #[test]
    fn unit_length() {
        let mut vector = [3.0, 4.0];
        normalize_l2(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zeros = [0.0; 3];
        normalize_l2(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }
}
