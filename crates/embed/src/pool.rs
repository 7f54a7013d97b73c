use std::fmt;
use std::str::FromStr;

/// How the frames of a window become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pool {
    /// The mean over frames.
    #[default]
    Mean,
    /// The largest value of each dimension.
    Max,
    /// The mean, then the standard deviation (of the population: divided by the number of frames), twice as long.
    MeanStd,
    /// No pooling: every frame is a vector.
    None,
}

impl Pool {
    const NAMES: [(Pool, &'static str); 4] =
        [(Pool::Mean, "mean"), (Pool::Max, "max"), (Pool::MeanStd, "mean+std"), (Pool::None, "none")];

    /// The length of a vector where a frame has `width`.
    pub const fn dim(self, width: usize) -> usize {
        if matches!(self, Pool::MeanStd) { 2 * width } else { width }
    }

    /// Vectors that `frames` frames become.
    pub const fn rows(self, frames: usize) -> usize {
        if matches!(self, Pool::None) { frames } else { 1 }
    }

    /// Pools `frames`, a multiple of `width`, into `out`, [`Pool::rows`] times [`Pool::dim`] long. Sums are in f64.
    pub(crate) fn apply(self, frames: &[f32], width: usize, out: &mut [f32]) {
        let count = (frames.len() / width) as f64;
        let column = |i: usize| frames.iter().skip(i).step_by(width);
        let mean = |i: usize| column(i).map(|&x| f64::from(x)).sum::<f64>() / count;
        match self {
            Pool::None => out.copy_from_slice(frames),
            Pool::Mean => out.iter_mut().enumerate().for_each(|(i, out)| *out = mean(i) as f32),
            Pool::Max => out.iter_mut().enumerate().for_each(|(i, out)| {
                *out = column(i).copied().fold(f32::NEG_INFINITY, f32::max);
            }),
            Pool::MeanStd => {
                let (means, deviations) = out.split_at_mut(width);
                for (i, (m, deviation)) in means.iter_mut().zip(deviations).enumerate() {
                    let mean = mean(i);
                    let variance = column(i).map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
                    (*m, *deviation) = (mean as f32, variance.sqrt() as f32);
                }
            }
        }
    }
}

/// Scales `vector` to a Euclidean length of 1; zeros stay zeros.
pub(crate) fn normalize_l2(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Pool::NAMES.iter().find(|(pool, _)| pool == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Pool::NAMES.iter().find(|(_, name)| *name == text).map(|(pool, _)| *pool);
        found.ok_or_else(|| format!("`{text}` is no pooling: mean, max, mean+std or none"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [f32; 6] = [1.0, -10.0, 2.0, -30.0, 6.0, -20.0];

    fn pooled(pool: Pool) -> Vec<f32> {
        let mut out = vec![f32::NAN; pool.rows(3) * pool.dim(2)];
        pool.apply(&FRAMES, 2, &mut out);
        out
    }

    #[test]
    fn each_pooling_is_what_it_says() {
        assert_eq!(pooled(Pool::Mean), [3.0, -20.0]);
        assert_eq!(pooled(Pool::Max), [6.0, -10.0]);
        let deviations = [(14.0f64 / 3.0).sqrt() as f32, (200.0f64 / 3.0).sqrt() as f32];
        assert_eq!(pooled(Pool::MeanStd), [3.0, -20.0, deviations[0], deviations[1]]);
        assert_eq!(pooled(Pool::None), FRAMES);
    }

    #[test]
    fn names_are_read_back() {
        for (pool, name) in Pool::NAMES {
            assert_eq!(name.parse(), Ok(pool));
            assert_eq!(pool.to_string(), name);
        }
        assert!("median".parse::<Pool>().is_err());
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
