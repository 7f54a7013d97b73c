//! How recordings are cut into windows, and which frames of a window are kept.

use std::fmt;
use std::str::FromStr;

use mert_audio::Seconds;

use super::grid::FrameGrid;
use crate::TokensError;

/// The windows of a recording in frames, and the frames of each that are kept: the `hop` frames that end `lookahead` frames
/// before the window does. The first window also keeps all frames before those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// The frames of a window.
    pub window: usize,
    /// The frames from the start of a window to the start of the next.
    pub hop: usize,
    /// The frames after the kept ones. Live sound has to wait for them.
    pub lookahead: usize,
}

/// The part of a window that is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Keep {
    /// The last hop: live sound waits for nothing.
    Newest,
    /// The hop in the middle of the window, with as much sound before it as after it.
    Middle,
    /// The hop that ends this long before the window does.
    Before(Seconds),
}

impl Framing {
    /// Windows of about `window` that start about `hop` apart, and notes on what was rounded to whole frames.
    ///
    /// # Errors
    /// [`TokensError::Framing`] if a hop and what follows it do not fit the window.
    pub fn new(
        grid: &FrameGrid,
        window: Seconds,
        hop: Seconds,
        keep: Keep,
    ) -> Result<(Self, Vec<String>), TokensError> {
        let mut notes = Vec::new();
        let mut whole = |name: &str, seconds: Seconds| {
            let (frames, exact) = grid.whole_frames(seconds);
            if !exact {
                let rounded = frames as f64 / grid.frame_rate();
                notes.push(format!(
                    "--{name} {seconds} is not a whole number of frames of {} samples: {frames} frames, {:.2} ms, are used",
                    grid.hop,
                    rounded * 1e3
                ));
            }
            frames
        };
        let (window, hop) = (whole("window", window), whole("hop", hop));
        let lookahead = match keep {
            Keep::Newest => 0,
            Keep::Middle => window.saturating_sub(hop) / 2,
            Keep::Before(seconds) => whole("keep", seconds),
        };
        Framing { window, hop, lookahead }.checked().map(|framing| (framing, notes))
    }

    /// The same framing, if its parts fit.
    ///
    /// # Errors
    /// [`TokensError::Framing`] if a hop and what follows it do not fit the window.
    pub fn checked(self) -> Result<Self, TokensError> {
        let Framing { window, hop, lookahead } = self;
        match hop > 0 && hop.checked_add(lookahead).is_some_and(|kept| kept <= window) {
            true => Ok(self),
            false => Err(TokensError::Framing { window, hop, lookahead }),
        }
    }

    /// The frames of a window that are kept, if it is not the first of a recording.
    pub fn kept(&self) -> std::ops::Range<usize> {
        let end = self.window - self.lookahead;
        end - self.hop..end
    }

    /// The samples of a window.
    pub fn window_samples(&self, grid: &FrameGrid) -> usize {
        grid.samples(self.window)
    }

    /// The longest time from a sound to the end of the window that keeps its frame, in seconds.
    pub fn longest_wait(&self, grid: &FrameGrid) -> f64 {
        ((self.hop + self.lookahead) * grid.hop) as f64 / f64::from(grid.rate)
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "newest" => Ok(Keep::Newest),
            "middle" => Ok(Keep::Middle),
            _ => match text.parse() {
                Ok(seconds) => Ok(Keep::Before(seconds)),
                Err(_) => {
                    Err("expected newest, middle, or the time between the kept frames and the end of the window, \
                               such as 400ms"
                        .to_string())
                }
            },
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Newest => f.write_str("newest"),
            Keep::Middle => f.write_str("middle"),
            Keep::Before(seconds) => seconds.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MERT: FrameGrid = FrameGrid { rate: 24_000, hop: 320, length: 400 };

    fn framing(window: &str, hop: &str, keep: &str) -> Result<(Framing, Vec<String>), TokensError> {
        Framing::new(&MERT, window.parse().unwrap(), hop.parse().unwrap(), keep.parse().unwrap())
    }

    #[test]
    fn kept_frames() {
        let (newest, notes) = framing("1s", "1s", "newest").unwrap();
        assert_eq!((newest, notes.len()), (Framing { window: 75, hop: 75, lookahead: 0 }, 0));
        assert_eq!(newest.kept(), 0..75);
        let (middle, _) = framing("5s", "1s", "middle").unwrap();
        assert_eq!(middle, Framing { window: 375, hop: 75, lookahead: 150 });
        assert_eq!(middle.kept(), 150..225);
        assert_eq!(middle.longest_wait(&MERT), 3.0);
        let (before, _) = framing("2s", "1s", "400ms").unwrap();
        assert_eq!(before, Framing { window: 150, hop: 75, lookahead: 30 });
    }

    #[test]
    fn off_the_grid_and_too_long() {
        let (rounded, notes) = framing("1s", "100ms", "newest").unwrap();
        assert_eq!(rounded.hop, 8);
        assert!(notes[0].contains("8 frames, 106.67 ms"), "{notes:?}");
        for (window, hop, keep) in [("1s", "2s", "newest"), ("1s", "1s", "400ms")] {
            assert!(matches!(framing(window, hop, keep), Err(TokensError::Framing { .. })));
        }
        assert!("oldest".parse::<Keep>().unwrap_err().contains("newest"));
    }
}
