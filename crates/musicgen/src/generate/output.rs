//! The samples of windows, cross-faded where they overlap.

/// Finished samples of windows in order. The part that the next window shares is held back until that window is there.
pub(super) struct Output {
    /// The samples after the last finished one, channel by channel.
    held: Vec<Vec<f32>>,
    /// The position of the first held sample.
    start: usize,
    /// The number of samples to write in all.
    total: usize,
}

impl Output {
    pub(super) fn new(channels: usize, total: usize) -> Self {
        Output { held: vec![Vec::new(); channels], start: 0, total }
    }

    /// Adds a window that starts at sample `start`, of which all before `next` are final, and returns the samples that are
    /// finished, channel by channel.
    ///
    /// Both windows begin with the same codes in the part that they share, so that they sound alike: a linear fade keeps the
    /// level.
    pub(super) fn add(&mut self, start: usize, window: &[Vec<f32>], next: usize) -> Vec<Vec<f32>> {
        for (held, window) in self.held.iter_mut().zip(window) {
            let at = start - self.start;
            let shared = held.len().saturating_sub(at);
            for (i, (old, new)) in held[at..].iter_mut().zip(window).enumerate() {
                let fade = (i as f32 + 0.5) / shared as f32;
                *old += (new - *old) * fade;
            }
            held.extend_from_slice(window.get(shared..).unwrap_or_default());
        }
        let end = next.min(self.total);
        let count = end.saturating_sub(self.start);
        self.start += count;
        self.held.iter_mut().map(|held| held.drain(..count.min(held.len())).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_agree_are_joined_without_a_trace() {
        let signal: Vec<f32> = (0..100).map(|i| (i as f32 * 0.3).sin()).collect();
        let mut output = Output::new(1, 95);
        let mut joined = Vec::new();
        for (start, end, next) in [(0, 40, 30), (30, 70, 60), (60, 100, 100)] {
            joined.extend(output.add(start, &[signal[start..end].to_vec()], next).remove(0));
        }
        assert_eq!(joined, signal[..95]);
    }

    #[test]
    fn the_fade_is_linear() {
        let mut output = Output::new(1, 6);
        assert_eq!(output.add(0, &[vec![0.0; 4]], 2), [vec![0.0; 2]]);
        assert_eq!(output.add(2, &[vec![1.0; 4]], 6), [vec![0.25, 0.75, 1.0, 1.0]]);
    }
}
