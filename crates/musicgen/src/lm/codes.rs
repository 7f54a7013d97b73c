//! EnCodec's codes, by codebook and frame.

/// Codes `(codebooks, frames)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    codebooks: Vec<Vec<u32>>,
}

impl Codes {
    /// Codes of each codebook; `None` if there is no codebook, or their lengths differ.
    pub fn new(codebooks: Vec<Vec<u32>>) -> Option<Self> {
        let frames = codebooks.first()?.len();
        codebooks.iter().all(|codes| codes.len() == frames).then_some(Codes { codebooks })
    }

    /// `frames` frames of one code.
    pub(crate) fn filled(codebooks: usize, frames: usize, code: u32) -> Self {
        Codes { codebooks: vec![vec![code; frames]; codebooks] }
    }

    /// The number of codebooks.
    pub fn codebooks(&self) -> usize {
        self.codebooks.len()
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.codebooks.first().map_or(0, Vec::len)
    }

    /// The code of a codebook in a frame.
    pub fn get(&self, codebook: usize, frame: usize) -> u32 {
        self.codebooks[codebook][frame]
    }

    pub(crate) fn set(&mut self, codebook: usize, frame: usize, code: u32) {
        self.codebooks[codebook][frame] = code;
    }

    /// The codes of each codebook.
    pub fn rows(&self) -> &[Vec<u32>] {
        &self.codebooks
    }

    /// Some frames, which end at the last one.
    pub fn slice(&self, frames: std::ops::Range<usize>) -> Codes {
        let end = frames.end.min(self.frames());
        let range = frames.start.min(end)..end;
        Codes { codebooks: self.codebooks.iter().map(|codes| codes[range.clone()].to_vec()).collect() }
    }

    /// Appends the frames of `other`, of as many codebooks.
    pub(crate) fn append(&mut self, other: &Codes) {
        for (codes, more) in self.codebooks.iter_mut().zip(&other.codebooks) {
            codes.extend_from_slice(more);
        }
    }

    /// The codebooks of one of `channels` channels: stereo models have those of the channels in turn.
    pub fn channel(&self, channel: usize, channels: usize) -> Codes {
        Codes { codebooks: self.codebooks.iter().skip(channel).step_by(channels).cloned().collect() }
    }
}
