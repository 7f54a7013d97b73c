//! Samples in blocks of any size to the windows of a recording.

use std::ops::Range;

use super::framing::Framing;
use super::grid::FrameGrid;

/// A window of a recording, and which of its frames are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct CutWindow {
    /// The samples, not normalised.
    pub samples: Vec<f32>,
    /// The number of the window's first frame within the recording.
    pub first_frame: u64,
    /// The frames of the window that are kept.
    pub kept: Range<usize>,
}

impl CutWindow {
    /// The number of the first kept frame within the recording.
    pub fn first_kept(&self) -> u64 {
        self.first_frame + self.kept.start as u64
    }
}

/// Cuts the samples of a recording, at the model's rate, into windows that start on the grid of frames. Each frame of the
/// recording is kept in exactly one window.
#[derive(Debug, Clone)]
pub struct WindowCutter {
    grid: FrameGrid,
    framing: Framing,
    /// The last samples.
    samples: Vec<f32>,
    /// The number of samples so far.
    received: u64,
    /// The number of the next window's first frame.
    next_window: u64,
    /// The number of the first frame that no window has kept.
    next_frame: u64,
}

impl WindowCutter {
    /// A cutter before the first sample of a recording.
    pub fn new(grid: FrameGrid, framing: Framing) -> Self {
        WindowCutter { grid, framing, samples: Vec::new(), received: 0, next_window: 0, next_frame: 0 }
    }

    /// The number of samples so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Adds samples, and passes each window that they complete to `on_window`.
    pub fn push(&mut self, mut block: &[f32], mut on_window: impl FnMut(CutWindow)) {
        let (window, hop) = (self.framing.window as u64, self.framing.hop as u64);
        while !block.is_empty() {
            let due = self.position(self.next_window) + self.framing.window_samples(&self.grid) as u64;
            let missing = usize::try_from(due.saturating_sub(self.received)).unwrap_or(usize::MAX);
            let (now, later) = block.split_at(block.len().min(missing));
            self.samples.extend_from_slice(now);
            self.received += now.len() as u64;
            block = later;
            if self.received == due {
                let first = if self.next_window == 0 { 0 } else { self.next_frame - self.next_window };
                let kept = first as usize..self.framing.kept().end;
                if let Some(cut) = self.cut(self.next_window, window, kept) {
                    self.next_frame = cut.first_frame + cut.kept.end as u64;
                    on_window(cut);
                }
                self.next_window += hop;
            }
            self.forget();
        }
    }

    /// The window that keeps the frames which no window has kept: the last of the recording, as long as the others if the
    /// recording is, and on the same grid. `None` if nothing is left.
    ///
    /// The cutter is then before the first sample of another recording.
    pub fn finish(&mut self) -> Option<CutWindow> {
        let frames = self.grid.frames(self.received);
        let first = frames.saturating_sub(self.framing.window as u64);
        let last = match self.next_frame < frames {
            true => self.cut(first, frames - first, (self.next_frame - first) as usize..(frames - first) as usize),
            false => None,
        };
        *self = WindowCutter::new(self.grid, self.framing);
        last
    }

    /// The window of `frames` frames from frame `first` on.
    fn cut(&self, first: u64, frames: u64, kept: Range<usize>) -> Option<CutWindow> {
        let start = usize::try_from(self.position(first).checked_sub(self.oldest())?).ok()?;
        let samples = self.samples.get(start..start + self.grid.samples(frames as usize))?.to_vec();
        Some(CutWindow { samples, first_frame: first, kept })
    }

    /// The position of the first sample of frame `frame`.
    fn position(&self, frame: u64) -> u64 {
        frame * self.grid.hop as u64
    }

    /// The position of the first sample that is kept.
    fn oldest(&self) -> u64 {
        self.received - self.samples.len() as u64
    }

    /// Drops the samples that neither the next window nor the last can have, once they are as many as a window.
    fn forget(&mut self) {
        let window = self.framing.window_samples(&self.grid);
        let last = self.received.saturating_sub((window + self.grid.hop) as u64);
        let surplus = last.min(self.position(self.next_window)).saturating_sub(self.oldest()) as usize;
        if surplus >= window.min(self.samples.len()) {
            self.samples.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRID: FrameGrid = FrameGrid { rate: 100, hop: 4, length: 5 };

    /// The windows of the samples 0, 1, 2, …, pushed in blocks of `block`.
    fn windows(framing: Framing, samples: usize, block: usize) -> Vec<CutWindow> {
        let mut cutter = WindowCutter::new(GRID, framing);
        let all: Vec<f32> = (0..samples).map(|i| i as f32).collect();
        let mut windows = Vec::new();
        for block in all.chunks(block) {
            cutter.push(block, |window| windows.push(window));
        }
        windows.extend(cutter.finish());
        windows
    }

    #[test]
    fn the_newest_hop_of_each_window() {
        let framing = Framing { window: 6, hop: 2, lookahead: 0 };
        let found: Vec<_> = windows(framing, 48, 7).into_iter().map(|cut| (cut.first_frame, cut.kept)).collect();
        // 48 samples have 11 frames: windows end with frames 5, 7 and 9; the last ends with frame 10.
        assert_eq!(found, [(0, 0..6), (2, 4..6), (4, 4..6), (5, 5..6)]);
    }

    proptest! {
        #[test]
        fn each_frame_is_kept_once_and_in_order(
            before in 0usize..8, hop in 1usize..8, lookahead in 0usize..8, samples in 0usize..300, block in 1usize..50,
        ) {
            let window = before + hop + lookahead;
            let framing = Framing { window, hop, lookahead };
            let found = windows(framing, samples, block);
            let mut next = 0;
            for cut in &found {
                prop_assert_eq!(cut.first_kept(), next);
                prop_assert!(!cut.kept.is_empty() && cut.kept.end as u64 <= GRID.frames(cut.samples.len() as u64));
                next += cut.kept.len() as u64;
                let first = cut.first_frame as usize * GRID.hop;
                prop_assert!(cut.samples.iter().enumerate().all(|(i, &value)| value == (first + i) as f32));
                // All windows are as long as live ones, unless the recording is shorter than one.
                let frames = GRID.frames(samples as u64).min(window as u64) as usize;
                prop_assert_eq!(cut.samples.len(), GRID.samples(frames));
            }
            prop_assert_eq!(next, GRID.frames(samples as u64));
            // Blocks make no difference.
            prop_assert_eq!(found, windows(framing, samples, 1));
        }
    }
}
