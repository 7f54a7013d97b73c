//! Embeddings of live audio: blocks of samples in, an embedding per hop out.

use mert_audio::{AudioError, Resampler, Seconds};
use mert_runtime::Workspace;

use crate::{EmbedError, Embedder};

/// How live sound is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Samples per second of the blocks, in hertz. Another rate than the model's is resampled.
    pub input_rate: u32,
    /// How much sound each embedding is of.
    pub window: Seconds,
    /// How far apart embeddings are.
    pub hop: Seconds,
}

/// Embeds live sound: blocks of mono samples go in as they arrive, an embedding of the last
/// [`EncoderOptions::window`] comes out every [`EncoderOptions::hop`].
///
/// An embedding is computed within the [`Encoder::push`] that completes its window, on all threads of rayon's pool
/// that the caller runs in, and is the one that a file with the same sound gives for the same window. What is late is
/// therefore known: [`Encoder::delay`], plus one forward pass. An audio callback, which must not wait, hands blocks
/// to a thread of its own that pushes them.
///
/// Once the first embedding is out, nothing is allocated within `rayon::ThreadPool::install` on a CPU in f32; outside,
/// rayon's queue takes 1.5 kB for every 63 hidden states ([`Workspace`] says more).
///
/// ```no_run
/// use mert_embed::{Embedder, Encoder, EncoderOptions, Pool};
/// use mert_runtime::{Dtype, DeviceKind, Model};
///
/// let model = Model::open("model.safetensors".as_ref(), Dtype::F32, &DeviceKind::Cpu.open()?)?;
/// let embedder = Embedder::new(model, &"6".parse()?, Pool::Mean, true)?;
/// let options = EncoderOptions { input_rate: 48_000, window: "5s".parse()?, hop: "1s".parse()? };
/// let mut encoder = Encoder::new(embedder, options)?;
/// # let blocks: Vec<Vec<f32>> = Vec::new();
/// for block in blocks {
///     encoder.push(&block, |hop| println!("{:.1} s: {:?}", hop.end, hop.values))?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoder {
    embedder: Embedder,
    workspace: Workspace,
    resampler: Resampler,
    input_rate: u32,
    /// Samples taken in, at the input's rate.
    taken: u64,
    cut: Cut,
    /// The window that is embedded, and its embedding.
    window: Vec<f32>,
    values: Vec<f32>,
}

/// An embedding of live sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hop<'a> {
    /// The number of the window, from 0.
    pub index: u64,
    /// Where the window starts, in seconds from the first sample.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// `(rows, hidden states, dim)`; `None` for a silent window that cannot be normalised.
    pub values: Option<&'a [f32]>,
}

/// The last samples, and when a window is due.
#[derive(Debug)]
struct Cut {
    /// As long as a window; `next` is the place of the oldest sample.
    ring: Vec<f32>,
    next: usize,
    received: u64,
    /// How many samples there are when the next window is complete.
    due: u64,
    hop: u64,
    index: u64,
}

impl Encoder {
    /// An encoder that nothing has been pushed to.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] for an impossible rate, or a window shorter than what the model takes.
    pub fn new(embedder: Embedder, options: EncoderOptions) -> Result<Self, EmbedError> {
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
        Ok(Encoder {
            workspace: embedder.workspace(),
            embedder,
            resampler,
            input_rate: options.input_rate,
            taken: 0,
            cut: Cut { ring, next: 0, received: 0, due: length as u64, hop, index: 0 },
            window: vec![0.0; length],
            values,
        })
    }

    /// How long a sample may wait before it can be part of a window, in seconds: none if nothing is resampled, else
    /// one and a half of the resampler's blocks.
    pub fn delay(&self) -> f64 {
        self.resampler.latency() as f64 / f64::from(self.input_rate)
    }

    /// Takes samples in, and shows each embedding that they complete.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] for a sample that is no number, and then none of the block is taken;
    /// [`EmbedError::Model`] or [`EmbedError::NotFinite`] if the model cannot be run, and then the window is passed over.
    pub fn push(&mut self, block: &[f32], mut show: impl FnMut(Hop<'_>)) -> Result<(), EmbedError> {
        if let Some((index, &value)) = block.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            let index = self.taken + index as u64;
            let seconds = index as f64 / f64::from(self.input_rate);
            return Err(AudioError::NotFinite { index, seconds, value }.into());
        }
        self.taken += block.len() as u64;
        let Encoder { embedder, workspace, resampler, cut, window, values, .. } = self;
        let rate = f64::from(embedder.sample_rate());
        let mut result = Ok(());
        resampler.push(block, |samples| {
            cut.push(samples, window, |index, end, window| {
                let embedded = match embedder.embed_into(workspace, window, values) {
                    Ok(()) => Some(&values[..]),
                    Err(EmbedError::Audio(AudioError::Silent { .. })) => None,
                    Err(error) => return result = Err(error),
                };
                let start = (end - window.len() as u64) as f64 / rate;
                show(Hop { index, start, end: end as f64 / rate, values: embedded });
            });
        });
        result
    }

    /// Forgets all sound, as if nothing had been pushed.
    pub fn reset(&mut self) {
        self.resampler.finish(|_| {});
        self.taken = 0;
        self.cut.reset();
    }
}

impl Cut {
    /// Adds samples, and shows each window that is complete: its number, where it ends, and its samples in `window`.
    fn push(&mut self, mut samples: &[f32], window: &mut [f32], mut show: impl FnMut(u64, u64, &mut [f32])) {
        while !samples.is_empty() {
            let until_due = usize::try_from(self.due - self.received).unwrap_or(usize::MAX);
            let (now, later) = samples.split_at(samples.len().min(until_due));
            self.store(now);
            samples = later;
            if self.received == self.due {
                let (newest, oldest) = self.ring.split_at(self.next);
                window[..oldest.len()].copy_from_slice(oldest);
                window[oldest.len()..].copy_from_slice(newest);
                show(self.index, self.due, window);
                self.index += 1;
                self.due += self.hop;
            }
        }
    }

    fn store(&mut self, mut samples: &[f32]) {
        self.received += samples.len() as u64;
        // Of more than the ring holds, only the last matter; those before move the place along.
        let length = self.ring.len();
        let passed = samples.len().saturating_sub(length);
        self.next = (self.next + passed % length) % length;
        samples = &samples[passed..];
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

    /// The windows of 0, 1, 2, … cut in blocks of `block`.
    fn windows(length: usize, hop: u64, samples: usize, block: usize) -> Vec<(u64, Vec<f32>)> {
        let mut cut = Cut { ring: vec![0.0; length], next: 0, received: 0, due: length as u64, hop, index: 0 };
        let all: Vec<f32> = (0..samples).map(|i| i as f32).collect();
        let (mut window, mut found) = (vec![0.0; length], Vec::new());
        for block in all.chunks(block) {
            cut.push(block, &mut window, |index, end, window| {
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
