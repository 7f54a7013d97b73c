//! Resampling of mono audio in blocks, with the cutoff of soxr's HQ preset. It knows nothing of where samples come
//! from.

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use crate::source::check_rate;
use crate::{AudioError, Result};

/// The filter's window and the shorter side of a block in samples, which sets how close to the Nyquist frequency the
/// filter cuts. These values give the shape of soxr's HQ preset (mean squared difference in the top eighth below the
/// Nyquist frequency: 1e-6), so that models tuned on samples from soxr get the same ones.
const LIKE_SOXR: (WindowFunction, u32) = (WindowFunction::Blackman2, 220);

/// The largest deviation from the length in [`LIKE_SOXR`]: rates with a small common divisor allow few lengths.
const NEAR: u32 = 2;

/// The filter for rates that allow no block length like [`LIKE_SOXR`]'s: 3 dB down at 0.95 of the Nyquist frequency like
/// soxr's HQ, but steeper. Measured by `scripts/check/resampler.py`.
const FALLBACK: (WindowFunction, u32) = (WindowFunction::BlackmanHarris2, 288);

/// The smallest ratio of rates that are resampled in two steps. For closer rates the fallback filter of one step would
/// cut into the passband of the other.
const MIN_TWO_STEP_RATIO: f64 = 1.08;

/// A resampler for mono audio that takes blocks of any length and has no delay: output sample k is at k / `to` seconds,
/// and n input samples become n · `to` / `from` output samples, rounded.
///
/// [rubato](https://docs.rs/rubato)'s synchronous resampler in f64 multiplies blocks of the signal by a windowed sinc
/// in the frequency domain. Rates that allow no block of the wanted length are resampled in two steps by way of twice
/// the lower rate, from or to which any length is possible. It allocates only when created. Equal rates pass samples
/// through unchanged.
pub struct Resampler {
    from: u32,
    to: u32,
    steps: Vec<Step>,
    /// The number of input samples so far.
    consumed: u64,
    /// The number of output samples so far.
    produced: u64,
}

/// A resampling step with one filter.
struct Step {
    block: Block,
    /// The number of input samples still to be dropped, so that the step starts at a block boundary.
    skip: u64,
}

/// The filter of a step, the input block that is being filled, and the last output block.
struct Block {
    fft: Fft<f64>,
    input: Vec<f64>,
    filled: usize,
    output: Vec<f64>,
    /// The number of output samples still to be dropped, because they precede the signal.
    delay: usize,
}

impl Resampler {
    /// A resampler from `from` to `to` hertz.
    ///
    /// # Errors
    /// [`AudioError::InvalidRate`] if a rate is outside the supported range.
    pub fn new(from: u32, to: u32) -> Result<Self> {
        check_rate(from)?;
        check_rate(to)?;
        let middle = 2 * from.min(to);
        let apart = f64::from(from.max(to)) / f64::from(from.min(to)) >= MIN_TWO_STEP_RATIO;
        let rates = match from == to {
            true => vec![],
            false if like_soxr(from, to).is_some() || !apart => vec![(from, to)],
            false => vec![(from, middle), (middle, to)],
        };
        let steps = rates.into_iter().map(|(from, to)| Ok(Step { block: Block::new(from, to)?, skip: 0 }));
        Ok(Resampler { from, to, steps: steps.collect::<Result<_>>()?, consumed: 0, produced: 0 })
    }

    /// The number of output samples for `samples` input samples.
    pub fn output_len(&self, samples: u64) -> u64 {
        let (from, to) = (u128::from(self.from), u128::from(self.to));
        ((u128::from(samples) * to + from / 2) / from).try_into().unwrap_or(u64::MAX)
    }

    /// The latency: the number of input samples before the first output sample.
    pub fn latency(&self) -> usize {
        self.steps.iter().rev().fold(0, |later, Step { block, .. }| {
            let (inputs, outputs) = (block.input.len(), block.output.len());
            inputs * 3 / 2 + (later * inputs).div_ceil(outputs)
        })
    }

    /// The number of input samples at the start that have no effect on the outputs from `output` on.
    pub(crate) fn lead_in(&self, output: u64) -> u64 {
        self.steps.iter().rev().fold(output, |output, step| step.block.lead_in(output))
    }

    /// Starts with input sample `input`, which [`Resampler::lead_in`] returned, and returns the index of the first
    /// output sample.
    pub(crate) fn start_at(&mut self, input: u64) -> u64 {
        self.consumed = input;
        self.produced = self.steps.iter_mut().fold(input, |first, step| {
            // A step starts at a block boundary.
            let start = first.next_multiple_of(step.block.input.len() as u64);
            step.skip = start - first;
            step.block.start_at(start)
        });
        self.produced
    }

    /// Consumes `samples` and passes the output that is ready to `sink`, in pieces.
    pub fn push(&mut self, samples: &[f32], mut sink: impl FnMut(&[f32])) {
        self.consumed += samples.len() as u64;
        let produced = &mut self.produced;
        push(&mut self.steps, samples, &mut |samples| {
            *produced += samples.len() as u64;
            sink(samples);
        });
    }

    /// Passes the rest of the output after the last input sample to `sink`, and resets the resampler.
    pub fn finish(&mut self, mut sink: impl FnMut(&[f32])) {
        let total = self.output_len(self.consumed);
        let silence = [0.0; 256];
        while self.produced < total && !self.steps.is_empty() {
            let produced = &mut self.produced;
            push(&mut self.steps, &silence, &mut |samples| {
                let left = usize::try_from(total - *produced).unwrap_or(usize::MAX).min(samples.len());
                *produced += left as u64;
                if left > 0 {
                    sink(&samples[..left]);
                }
            });
        }
        self.steps.iter_mut().for_each(Step::reset);
        (self.consumed, self.produced) = (0, 0);
    }
}

/// Passes samples through all steps.
fn push(steps: &mut [Step], mut samples: &[f32], sink: &mut dyn FnMut(&[f32])) {
    let Some((step, later)) = steps.split_first_mut() else { return sink(samples) };
    let skipped = usize::try_from(step.skip).unwrap_or(usize::MAX).min(samples.len());
    step.skip -= skipped as u64;
    samples = &samples[skipped..];
    while !samples.is_empty() {
        samples = &samples[step.block.fill(samples)..];
        if step.block.filled == step.block.input.len() {
            step.block.run(&mut |samples: &[f32]| push(later, samples, &mut *sink));
        }
    }
}

impl Step {
    fn reset(&mut self) {
        self.block.reset();
        self.skip = 0;
    }
}

/// The number of minimal blocks that gives the filter from `from` to `to` the shape of soxr's HQ preset, if there is
/// one.
fn like_soxr(from: u32, to: u32) -> Option<u32> {
    let smallest = from.min(to) / gcd(from, to);
    // Must be even: the filter's delay, half a block, is then whole on both sides.
    let nearest = (LIKE_SOXR.1 + smallest) / (2 * smallest) * 2;
    ((nearest * smallest).abs_diff(LIKE_SOXR.1) <= NEAR).then_some(nearest)
}

impl Block {
    fn new(from: u32, to: u32) -> Result<Self> {
        let step = gcd(from, to);
        let (window, blocks) = match like_soxr(from, to) {
            Some(blocks) => (LIKE_SOXR.0, blocks),
            None => (FALLBACK.0, FALLBACK.1.div_ceil(from.min(to) / step).next_multiple_of(2)),
        };
        let input = blocks as usize * (from / step) as usize;
        // Unreachable for rates that were checked.
        let fft = Fft::new_custom(from as usize, to as usize, input, 1, 1, window, FixedSync::Both)
            .map_err(|_| AudioError::InvalidRate { rate: from })?;
        let (input, output) = (vec![0.0; fft.input_frames_next()], vec![0.0; fft.output_frames_next()]);
        let delay = fft.output_delay();
        Ok(Block { fft, input, filled: 0, output, delay })
    }

    /// Copies as many samples as fit into the input block, and returns how many.
    fn fill(&mut self, samples: &[f32]) -> usize {
        let count = samples.len().min(self.input.len() - self.filled);
        let room = &mut self.input[self.filled..self.filled + count];
        room.iter_mut().zip(samples).for_each(|(to, &from)| *to = f64::from(from));
        self.filled += count;
        count
    }

    /// The lead-in of one step, see [`Resampler::lead_in`].
    fn lead_in(&self, output: u64) -> u64 {
        // A block of output depends on its block of input and the previous one.
        let blocks = (output + self.delay as u64) / self.output.len() as u64;
        blocks.saturating_sub(1) * self.input.len() as u64
    }

    /// Starts one step at `input`, the start of a block, see [`Resampler::start_at`].
    fn start_at(&mut self, input: u64) -> u64 {
        if input == 0 {
            return 0;
        }
        let (inputs, outputs) = (self.input.len() as u64, self.output.len());
        // The first block's output is wrong without the previous block's input, and is dropped.
        let first = (input / inputs + 1) * outputs as u64 - self.delay as u64;
        self.delay = outputs;
        first
    }

    /// Resamples the block and passes the output to `sink`.
    fn run(&mut self, sink: &mut dyn FnMut(&[f32])) {
        let (inputs, outputs) = (self.input.len(), self.output.len());
        let resampled = SequentialSlice::new(&self.input, 1, inputs)
            .ok()
            .zip(SequentialSlice::new_mut(&mut self.output, 1, outputs).ok())
            .is_some_and(|(input, mut output)| self.fft.process_into_buffer(&input, &mut output, None).is_ok());
        debug_assert!(resampled, "buffers have the sizes that rubato states");
        self.filled = 0;
        let skipped = self.delay.min(outputs);
        self.delay -= skipped;
        let ready = &self.output[skipped..];
        let mut piece = [0.0f32; 256];
        for samples in ready.chunks(piece.len()) {
            piece.iter_mut().zip(samples).for_each(|(to, &from)| *to = from as f32);
            sink(&piece[..samples.len()]);
        }
    }

    fn reset(&mut self) {
        self.fft.reset();
        self.filled = 0;
        self.delay = self.fft.output_delay();
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resample(resampler: &mut Resampler, input: &[f32], cut: usize) -> Vec<f32> {
        let mut output = Vec::new();
        let mut sink = |samples: &[f32]| output.extend_from_slice(samples);
        input.chunks(cut).for_each(|piece| resampler.push(piece, &mut sink));
        resampler.finish(&mut sink);
        output
    }

    fn tone(hertz: f64, rate: u32, samples: usize) -> Vec<f32> {
        let turn = std::f64::consts::TAU * hertz / f64::from(rate);
        (0..samples).map(|i| (0.5 * (turn * i as f64 + 0.3).sin()) as f32).collect()
    }

    const PAIRS: [(u32, u32); 10] = [
        (44_100, 24_000),
        (48_000, 24_000),
        (96_000, 24_000),
        (16_000, 24_000),
        (22_050, 24_000),
        (8_000, 24_000),
        (44_100, 16_000),
        (11_025, 24_000),
        (44_101, 24_000),
        (23_999, 24_000),
    ];

    #[test]
    fn a_tone_keeps_its_time_and_level() {
        for (from, to) in PAIRS {
            let mut resampler = Resampler::new(from, to).unwrap();
            let seconds = 3;
            for part in [0.01, 0.3, 0.6, 0.9] {
                let hertz = part * f64::from(from.min(to)) / 2.0;
                let found = resample(&mut resampler, &tone(hertz, from, seconds * from as usize), 1000);
                assert_eq!(found.len(), seconds * to as usize, "{from} to {to}");
                let expected = tone(hertz, to, found.len());
                // Away from the ends, where the signal is cut off.
                let inner = to as usize..2 * to as usize;
                let worst =
                    found[inner.clone()].iter().zip(&expected[inner]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // f32 rounding of the tone itself is 3e-8; the filter's ripple adds 4e-6 at most.
                assert!(worst <= 5e-6, "{hertz} Hz from {from} to {to}: off by {worst:e}");
            }
        }
    }

    #[test]
    fn frequencies_above_the_new_nyquist_frequency_are_removed() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| f64::from(*from) > 1.3 * f64::from(*to)) {
            for part in [1.05, 1.2] {
                let hertz = part * f64::from(to) / 2.0;
                let mut resampler = Resampler::new(from, to).unwrap();
                let found = resample(&mut resampler, &tone(hertz, from, 3 * from as usize), 4096);
                let loudest = found[to as usize..2 * to as usize].iter().fold(0.0f32, |max, x| max.max(x.abs()));
                assert!(loudest <= 5e-6, "{hertz} Hz from {from} to {to}: {loudest:e} (0.5 went in)");
            }
        }
    }

    #[test]
    fn block_lengths_and_earlier_input_do_not_matter() {
        for (from, to) in PAIRS {
            let input = tone(440.0, from, 20_011);
            let whole = resample(&mut Resampler::new(from, to).unwrap(), &input, input.len());
            let mut used = Resampler::new(from, to).unwrap();
            resample(&mut used, &tone(1000.0, from, 777), 100);
            assert_eq!(resample(&mut used, &input, 1), whole, "{from} to {to}");
            assert_eq!(whole.len() as u64, used.output_len(20_011));
        }
    }

    #[test]
    fn equal_rates_change_nothing_and_short_input_works() {
        let input = tone(440.0, 24_000, 1000);
        assert_eq!(resample(&mut Resampler::new(24_000, 24_000).unwrap(), &input, 7), input);
        for samples in [0, 1, 2, 3] {
            let found = resample(&mut Resampler::new(48_000, 24_000).unwrap(), &input[..samples], 1);
            assert_eq!(found.len(), samples.div_ceil(2));
        }
    }

    #[test]
    fn impossible_rates_are_refused() {
        for rate in [0, 999, 768_001, u32::MAX] {
            assert!(
                matches!(Resampler::new(rate, 24_000), Err(AudioError::InvalidRate { rate: found }) if found == rate)
            );
        }
    }
}
