//! The caller's side of a generation: progress, finished audio, and the end on request.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

/// The state of a generation after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The number of the window, from 0.
    pub window: usize,
    /// The number of windows.
    pub windows: usize,
    /// The number of completed calls of the language model, of all windows together.
    pub steps: usize,
    /// The number of calls in all.
    pub all_steps: usize,
    /// The time since the first call.
    pub elapsed: Duration,
    /// The seconds of new music that the completed steps are.
    pub music: f64,
}

impl Progress {
    /// The real-time factor: seconds of work for a second of music. NaN before the first step.
    pub fn rtf(&self) -> f64 {
        self.elapsed.as_secs_f64() / self.music
    }
}

/// A receiver of what a generation makes.
pub trait Listener {
    /// Is called after each step. `Break` ends the generation with
    /// [`MusicgenError::Stopped`](crate::MusicgenError::Stopped).
    fn progress(&mut self, _progress: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Is called with finished samples, channel by channel, in order.
    ///
    /// # Errors
    /// Those of writing, which end the generation.
    fn audio(&mut self, channels: &[Vec<f32>]) -> io::Result<()>;
}
