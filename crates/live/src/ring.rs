//! Blocks of samples between the callback of a sound card and the session: the callback neither waits nor allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};

/// The blocks that fit a ring, beside the samples.
const BLOCKS: usize = 1 << 12;

/// A block of samples in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The number of its first sample. A block that was dropped has its place, too.
    pub at: u64,
    /// The samples.
    pub samples: usize,
    /// The time at which the block was handed over, right after its last sample.
    pub arrived: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: AtomicU64,
    has_ended: AtomicBool,
}

/// The end of a ring that a callback writes.
#[derive(Debug)]
pub struct RingWriter {
    samples: Producer<f32>,
    blocks: Producer<Block>,
    shared: Arc<Shared>,
    at: u64,
}

/// The end of a ring that a session reads.
#[derive(Debug)]
pub struct RingReader {
    samples: Consumer<f32>,
    blocks: Consumer<Block>,
    shared: Arc<Shared>,
}

/// A ring for `seconds` of samples at `rate`.
pub fn ring(rate: u32, seconds: f64) -> (RingWriter, RingReader) {
    let (producer, consumer) = RingBuffer::new((f64::from(rate) * seconds).ceil().max(1.0) as usize);
    let (headers, read_headers) = RingBuffer::new(BLOCKS);
    let shared = Arc::new(Shared::default());
    let writer = RingWriter { samples: producer, blocks: headers, shared: Arc::clone(&shared), at: 0 };
    (writer, RingReader { samples: consumer, blocks: read_headers, shared })
}

impl RingWriter {
    /// Adds a block of interleaved samples as the mean of its channels. A block that does not fit is dropped as a whole and
    /// counted; false then.
    pub fn push(&mut self, interleaved: &[f32], channels: usize) -> bool {
        let channels = channels.max(1);
        let frames = interleaved.len() / channels;
        let at = self.at;
        self.at += frames as u64;
        if self.blocks.slots() > 0
            && let Ok(chunk) = self.samples.write_chunk_uninit(frames)
        {
            let scale = 1.0 / channels as f32;
            chunk.fill_from_iter(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * scale));
            // There is room: it was asked for, and only this end fills it.
            let _ = self.blocks.push(Block { at, samples: frames, arrived: Instant::now() });
            return true;
        }
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// The samples that fit at the moment.
    pub fn room(&self) -> usize {
        if self.blocks.slots() == 0 { 0 } else { self.samples.slots() }
    }

    /// Says that no more blocks come.
    pub fn end(&self) {
        self.shared.has_ended.store(true, Ordering::Release);
    }
}

impl Drop for RingWriter {
    fn drop(&mut self) {
        self.end();
    }
}

impl RingReader {
    /// The next block, into `samples`.
    pub fn next(&mut self, samples: &mut Vec<f32>) -> Option<Block> {
        let block = self.blocks.pop().ok()?;
        samples.clear();
        if let Ok(chunk) = self.samples.read_chunk(block.samples) {
            samples.extend(chunk);
        }
        Some(block)
    }

    /// True once the writer has ended and all blocks are read.
    pub fn has_ended(&self) -> bool {
        self.shared.has_ended.load(Ordering::Acquire) && self.blocks.is_empty()
    }

    /// The blocks that were dropped.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_mixed_and_dropped_blocks_leave_a_gap() {
        let (mut writer, mut reader) = ring(4, 1.0);
        assert!(writer.push(&[1.0, 0.0, 0.5, 0.5, -1.0, 1.0], 2));
        assert!(!writer.push(&[0.0; 4], 2));
        let mut samples = Vec::new();
        let block = reader.next(&mut samples).unwrap();
        assert_eq!((block.at, &samples[..]), (0, &[0.5, 0.5, 0.0][..]));
        assert!(writer.push(&[0.25], 1));
        assert_eq!(reader.next(&mut samples).unwrap().at, 5);
        assert_eq!((samples, reader.dropped()), (vec![0.25], 1));
        assert!(!reader.has_ended());
        drop(writer);
        assert!(reader.has_ended());
    }
}
