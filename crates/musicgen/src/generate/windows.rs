//! The division of music that is longer than the model's window.

/// A window in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first frame.
    pub start: usize,
    /// Its number of frames.
    pub frames: usize,
    /// The number of its first frames that the window before has generated, too.
    pub shared: usize,
}

impl Window {
    /// The frame after its last one.
    pub fn end(&self) -> usize {
        self.start + self.frames
    }
}

/// Divides `total` frames into windows of at most `length` frames that share at least `overlap` frames with the one before.
/// All have the same length, so that the last one shares more. `overlap` must be below `length`.
pub fn windows(total: usize, length: usize, overlap: usize) -> Vec<Window> {
    let length = length.max(1);
    if total <= length {
        return vec![Window { start: 0, frames: total, shared: 0 }];
    }
    let hop = length.saturating_sub(overlap).max(1);
    let mut windows = vec![Window { start: 0, frames: length, shared: 0 }];
    while let Some(last) = windows.last().copied().filter(|last| last.end() < total) {
        let start = (last.start + hop).min(total - length);
        windows.push(Window { start, frames: length, shared: last.end() - start });
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_everything_once() {
        for total in 1..200 {
            for (length, overlap) in [(50, 10), (20, 0), (7, 6), (1, 0)] {
                let found = windows(total, length, overlap);
                assert_eq!((found[0].start, found[0].shared, found.last().unwrap().end()), (0, 0, total));
                for pair in found.windows(2) {
                    assert_eq!(pair[1].start + pair[1].shared, pair[0].end());
                    assert!(pair[1].shared >= overlap && pair[1].shared < length, "{total} {length} {overlap}");
                    assert_eq!(pair[1].frames, length);
                }
            }
        }
    }
}
