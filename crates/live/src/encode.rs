//! From a window of sound to its tokens.

use std::time::{Duration, Instant};

use mert_runtime::Workspace;
use mert_tokens::Tokenizer;
use mert_tokens::frames::{CutWindow, FrameEncoder, FrameGrid, Framing};

use crate::Result;
use crate::work::Job;

/// The tokens of the kept frames of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowTokens {
    /// The number of the first of them within the session.
    pub first_frame: u64,
    /// The tokens.
    pub tokens: Vec<u32>,
    /// True for a silent window.
    pub silent: bool,
}

/// The interface of a model that gives the frames of a window their tokens.
pub trait WindowEncoder: Send + 'static {
    /// The grid of frames.
    fn grid(&self) -> FrameGrid;

    /// The windows, and the frames of each that are kept.
    fn framing(&self) -> Framing;

    /// The tokens of a window.
    ///
    /// # Errors
    /// If the model cannot be run.
    fn tokens(&mut self, window: CutWindow) -> Result<WindowTokens>;
}

/// A model and a vocabulary.
#[derive(Debug)]
pub struct ModelEncoder {
    encoder: FrameEncoder,
    tokenizer: Tokenizer,
    workspace: Workspace,
}

impl ModelEncoder {
    /// An encoder of frames with the vocabulary that was trained on them.
    pub fn new(encoder: FrameEncoder, tokenizer: Tokenizer) -> Self {
        ModelEncoder { encoder, tokenizer, workspace: Workspace::default() }
    }
}

impl WindowEncoder for ModelEncoder {
    fn grid(&self) -> FrameGrid {
        self.encoder.grid()
    }

    fn framing(&self) -> Framing {
        self.encoder.framing()
    }

    fn tokens(&mut self, window: CutWindow) -> Result<WindowTokens> {
        let frames = self.encoder.encode(&mut self.workspace, window)?;
        let tokens = self.tokenizer.tokens(&frames.values)?;
        Ok(WindowTokens { first_frame: frames.first_frame, tokens, silent: frames.silent })
    }
}

/// The encoding of windows as work, with the time that it takes.
pub(crate) struct EncodeJob(pub(crate) Box<dyn WindowEncoder>);

impl Job for EncodeJob {
    type Input = CutWindow;
    type Output = (Result<WindowTokens>, Duration);

    fn run(&mut self, window: CutWindow) -> Self::Output {
        let start = Instant::now();
        (self.0.tokens(window), start.elapsed())
    }
}
