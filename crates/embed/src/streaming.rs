//! Embeddings of live sound: blocks of samples in, an embedding for each hop out.

use mert_audio::{AudioError, Resampler, Seconds};

use crate::embedder::Workspace;
use crate::{EmbedError, Embedder};

/// The options of a [`StreamingEmbedder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamingOptions {
    /// Samples per second of the blocks, in hertz. Another rate than the model's is resampled.
    pub input_rate: u32,
    /// The length of a window, of which each embedding is.
    pub window: Seconds,
    /// The time from the start of a window to the start of the next.
    pub hop: Seconds,
}

/// Embeds live sound: blocks of mono samples go in as they arrive, an embedding of the last
/// [`StreamingOptions::window`] comes out every [`StreamingOptions::hop`].
///
/// An embedding is computed within the [`StreamingEmbedder::push`] that completes its window, on all threads of the
/// rayon pool of the caller, and equals that of the same window of a file with the same sound. Its latency is
/// [`StreamingEmbedder::delay`] and one forward pass. An audio callback, which must not wait, passes blocks to a thread
/// that pushes them.
///
/// After the first embedding, nothing is allocated within `rayon::ThreadPool::install` on a CPU in f32; outside,
/// rayon's queue takes 1.5 kB for every 63 hidden states ([`mert_runtime::Workspace`] says more).
///
/// ```
/// use mert_embed::{Embedder, Pool, StreamingEmbedder, StreamingOptions};
/// use mert_runtime::{DeviceKind, Dtype, Model};
///
/// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/model.safetensors");
/// let model = Model::open(path.as_ref(), Dtype::F32, &DeviceKind::Cpu.open()?)?;
/// let embedder = Embedder::new(model, &"6".parse()?, Pool::Mean, Default::default())?;
/// let options = StreamingOptions { input_rate: 24_000, window: "500ms".parse()?, hop: "100ms".parse()? };
/// let mut stream = StreamingEmbedder::new(embedder, options)?;
///
/// let sound: Vec<f32> = (0..16_800).map(|i| (i as f32 * 0.05).sin()).collect();
/// let mut ends = Vec::new();
/// for block in sound.chunks(480) {
///     stream.push(block, |window| ends.push(window.end))?;
/// }
/// assert_eq!(ends, [0.5, 0.6, 0.7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamingEmbedder {
    embedder: Embedder,
    workspace: Workspace,
    resampler: Resampler,
    input_rate: u32,
    /// Samples received, at the input's rate.
    received: u64,
    windows: SlidingWindows,
    /// The samples of the window that is embedded.
    window: Vec<f32>,
    /// The embedding of that window.
    values: Vec<f32>,
}

/// The embedding of a window of live sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamedWindow<'a> {
    /// The number of the window, from 0.
    pub index: u64,
    /// The start of the window, in seconds from the first sample.
    pub start: f64,
    /// The end of the window, in seconds from the first sample.
    pub end: f64,
    /// The vectors `(rows, hidden states, dim)`; `None` for a silent window that cannot be normalised.
    pub values: Option<&'a [f32]>,
}

/// The last samples, from which a window is cut at each hop.
#[derive(Debug)]
struct SlidingWindows {
    /// The last samples, as many as a window has; `next` is the index of the oldest.
    ring: Vec<f32>,
    next: usize,
    received: u64,
    /// The number of samples at which the next window is complete.
    due: u64,
    hop: u64,
    index: u64,
}

impl StreamingEmbedder {
    /// A stream without samples.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] for an impossible rate, or a window shorter than what the model takes.
    pub fn new(embedder: Embedder, options: StreamingOptions) -> Result<Self, EmbedError> {
        let rate = embedder.sample_rate();
        let resampler = Resampler::new(options.input_rate, rate)?;
        let length = options.window.samples(rate);
        if length < embedder.min_samples() {
            let needed = embedder.min_samples();
            return Err(AudioError::TooShort { samples: length as u64, needed }.into());
        }
        let values = vec![0.0; embedder.rows(length) * embedder.layers().len() * embedder.dim()];
        let hop = options.hop.samples(rate) as u64;
        let ring = vec![0.0; length];
        Ok(StreamingEmbedder {
            workspace: embedder.workspace(),
            embedder,
            resampler,
            input_rate: options.input_rate,
            received: 0,
            windows: SlidingWindows { ring, next: 0, received: 0, due: length as u64, hop, index: 0 },
            window: vec![0.0; length],
            values,
        })
    }

    /// The longest time from the arrival of a sample to that at which it can be part of a window, in seconds: 0 if
    /// nothing is resampled, else one and a half of the resampler's blocks.
    pub fn delay(&self) -> f64 {
        self.resampler.latency() as f64 / f64::from(self.input_rate)
    }

    /// Receives samples, and passes the embedding of each window that they complete to `on_window`.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] for a sample that is not a finite number: the block is ignored. [`EmbedError::Model`] or
    /// [`EmbedError::NotFinite`] if the model cannot be run: the window is skipped.
    pub fn push(&mut self, block: &[f32], mut on_window: impl FnMut(StreamedWindow<'_>)) -> Result<(), EmbedError> {
        if let Some((index, &value)) = block.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            let index = self.received + index as u64;
            let seconds = index as f64 / f64::from(self.input_rate);
            return Err(AudioError::NotFinite { index, seconds, value }.into());
        }
        self.received += block.len() as u64;
        let StreamingEmbedder { embedder, workspace, resampler, windows, window, values, .. } = self;
        let rate = f64::from(embedder.sample_rate());
        let mut result = Ok(());
        resampler.push(block, |samples| {
            windows.push(samples, window, |index, end, window| {
                let embedded = match embedder.embed_into(workspace, window, values) {
                    Ok(()) => Some(&values[..]),
                    Err(EmbedError::Audio(AudioError::Silent { .. })) => None,
                    Err(error) => return result = Err(error),
                };
                let start = (end - window.len() as u64) as f64 / rate;
                on_window(StreamedWindow { index, start, end: end as f64 / rate, values: embedded });
            });
        });
        result
    }

    /// Discards all samples; the next one is the first of a new stream.
    pub fn reset(&mut self) {
        self.resampler.finish(|_| {});
        self.received = 0;
        self.windows.reset();
    }
}

impl SlidingWindows {
    /// Adds samples, and passes each window that is complete to `on_window`: its number, the number of samples up to
    /// its end, and its samples in `window`.
    fn push(&mut self, mut samples: &[f32], window: &mut [f32], mut on_window: impl FnMut(u64, u64, &mut [f32])) {
        while !samples.is_empty() {
            let until_due = usize::try_from(self.due - self.received).unwrap_or(usize::MAX);
            let (now, later) = samples.split_at(samples.len().min(until_due));
            self.store(now);
            samples = later;
            if self.received == self.due {
                let (newest, oldest) = self.ring.split_at(self.next);
                window[..oldest.len()].copy_from_slice(oldest);
                window[oldest.len()..].copy_from_slice(newest);
                on_window(self.index, self.due, window);
                self.index += 1;
                self.due += self.hop;
            }
        }
    }

    fn store(&mut self, mut samples: &[f32]) {
        self.received += samples.len() as u64;
        // If there are more samples than the ring holds, only the last are stored, where they would be if all had been.
        let length = self.ring.len();
        let skipped = samples.len().saturating_sub(length);
        self.next = (self.next + skipped % length) % length;
        samples = &samples[skipped..];
        let (to_end, from_start) = samples.split_at(samples.len().min(length - self.next));
        self.ring[self.next..][..to_end.len()].copy_from_slice(to_end);
        self.ring[..from_start.len()].copy_from_slice(from_start);
        self.next = (self.next + samples.len()) % length;
    }

    fn reset(&mut self) {
        (self.next, self.received, self.index) = (0, 0, 0);
        self.due = self.ring.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows of the samples 0, 1, 2, …, pushed in blocks of `block`.
    fn windows(length: usize, hop: u64, samples: usize, block: usize) -> Vec<(u64, Vec<f32>)> {
        let mut windows =
            SlidingWindows { ring: vec![0.0; length], next: 0, received: 0, due: length as u64, hop, index: 0 };
        let all: Vec<f32> = (0..samples).map(|i| i as f32).collect();
        let (mut window, mut found) = (vec![0.0; length], Vec::new());
        for block in all.chunks(block) {
            windows.push(block, &mut window, |index, end, window| {
                assert_eq!(index, found.len() as u64);
                found.push((end, window.to_vec()));
            });
        }
        found
    }

    #[test]
    fn windows_are_the_last_samples_at_each_hop() {
        for (length, hop) in [(10, 3), (10, 10), (10, 25), (1, 1), (7, 1)] {
            let expected: Vec<(u64, Vec<f32>)> = (length as u64..=100)
                .step_by(hop as usize)
                .map(|end| (end, (end - length as u64..end).map(|i| i as f32).collect()))
                .collect();
            for block in [1, 2, 9, 10, 11, 64, 100] {
                assert_eq!(windows(length, hop, 100, block), expected, "{length}/{hop} in blocks of {block}");
            }
        }
    }
}
