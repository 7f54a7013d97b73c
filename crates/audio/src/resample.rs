use std::ops::RangeInclusive;

use audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use crate::{AudioError, Result};

/// Sample rates that are taken, in hertz. Above, the filter's block grows out of proportion.
pub(crate) const RATES: RangeInclusive<u32> = 1_000..=768_000;

/// The shorter side of a block: its length sets how close to the Nyquist frequency the filter cuts. With this one it
/// is 3 dB down at 0.95 of it, where soxr's HQ is, too: what was tuned on samples from there finds the same ones here.
/// `scripts/check-resampler.py` measures it.
const SHORTER_SIDE: u32 = 288;

/// Refuses a rate that no music has.
pub(crate) fn check_rate(rate: u32) -> Result<()> {
    if RATES.contains(&rate) { Ok(()) } else { Err(AudioError::Rate { rate }) }
}

/// Resamples mono audio in blocks of any length, without a delay: output sample k is at the time of
/// k / `to` seconds, and n samples become the nearest whole number to n · `to` / `from`.
///
/// rubato's synchronous resampler in f64 does the work: blocks of the signal are multiplied by a windowed
/// sinc in the frequency domain. Nothing is allocated once made. Equal rates pass samples through
/// unchanged.
pub struct Resampler {
    from: u32,
    to: u32,
    fft: Option<Block>,
    /// Samples taken in and given out so far.
    taken: u64,
    given: u64,
}

/// The block that is being filled, and the one that came out.
struct Block {
    fft: Fft<f64>,
    input: Vec<f64>,
    filled: usize,
    output: Vec<f64>,
    /// Output samples before the first of the signal that have yet to be left out.
    delay: usize,
}

impl Resampler {
    /// From `from` to `to` hertz.
    ///
    /// # Errors
    /// [`AudioError::Rate`] for a rate that no music has.
    pub fn new(from: u32, to: u32) -> Result<Self> {
        check_rate(from)?;
        check_rate(to)?;
        let fft = if from == to { None } else { Some(Block::new(from, to)?) };
        Ok(Resampler { from, to, fft, taken: 0, given: 0 })
    }

    /// How many samples come of `samples`.
    pub fn output_len(&self, samples: u64) -> u64 {
        let (from, to) = (u128::from(self.from), u128::from(self.to));
        ((u128::from(samples) * to + from / 2) / from).try_into().unwrap_or(u64::MAX)
    }

    /// How many samples must be taken in before the first comes out: the latency, at the input's rate.
    pub fn latency(&self) -> usize {
        self.fft.as_ref().map_or(0, |block| block.input.len() * 3 / 2)
    }

    /// How many input samples need not be there for all outputs from `output` on to be what they are.
    pub(crate) fn needless_before(&self, output: u64) -> u64 {
        let Some(block) = &self.fft else { return output };
        // A block of outputs comes of its block of inputs and the one before.
        let blocks = (output + block.delay as u64) / block.output.len() as u64;
        blocks.saturating_sub(1) * block.input.len() as u64
    }

    /// Begins with input sample `input`, a number that [`Resampler::needless_before`] told, and says which output
    /// sample is the first to come.
    pub(crate) fn begin_at(&mut self, input: u64) -> u64 {
        (self.taken, self.given) = (input, input);
        let Some(block) = self.fft.as_mut().filter(|_| input > 0) else { return input };
        let (inputs, outputs) = (block.input.len() as u64, block.output.len());
        // What comes of the first block lacks the block before.
        self.given = (input / inputs + 1) * outputs as u64 - block.delay as u64;
        block.delay = outputs;
        self.given
    }

    /// Takes in `samples` and gives what is ready to `sink`, in pieces.
    pub fn push(&mut self, mut samples: &[f32], mut sink: impl FnMut(&[f32])) {
        self.taken += samples.len() as u64;
        let Some(block) = &mut self.fft else {
            self.given += samples.len() as u64;
            return sink(samples);
        };
        while !samples.is_empty() {
            samples = &samples[block.fill(samples)..];
            if block.filled == block.input.len() {
                self.given += block.run(u64::MAX, &mut sink);
            }
        }
    }

    /// Gives what is left after the last sample, and starts anew.
    pub fn finish(&mut self, mut sink: impl FnMut(&[f32])) {
        let total = self.output_len(self.taken);
        if let Some(block) = &mut self.fft {
            while self.given < total {
                block.input[block.filled..].fill(0.0);
                self.given += block.run(total - self.given, &mut sink);
            }
            block.reset();
        }
        (self.taken, self.given) = (0, 0);
    }
}

impl Block {
    fn new(from: u32, to: u32) -> Result<Self> {
        let step = gcd(from, to);
        // An even number of the smallest blocks: half a block, the filter's delay, is then whole on both sides.
        let blocks = SHORTER_SIDE.div_ceil(from.min(to) / step).next_multiple_of(2);
        let input = blocks as usize * (from / step) as usize;
        // Not reached by rates that were checked.
        let fft = Fft::new(from as usize, to as usize, input, 1, FixedSync::Both)
            .map_err(|_| AudioError::Rate { rate: from })?;
        let (input, output) = (vec![0.0; fft.input_frames_next()], vec![0.0; fft.output_frames_next()]);
        let delay = fft.output_delay();
        Ok(Block { fft, input, filled: 0, output, delay })
    }

    /// Takes as many samples as fit, and says how many.
    fn fill(&mut self, samples: &[f32]) -> usize {
        let count = samples.len().min(self.input.len() - self.filled);
        let room = &mut self.input[self.filled..self.filled + count];
        room.iter_mut().zip(samples).for_each(|(to, &from)| *to = f64::from(from));
        self.filled += count;
        count
    }

    /// Resamples the block, and gives at most `most` samples of it to `sink`. Says how many.
    fn run(&mut self, most: u64, sink: &mut impl FnMut(&[f32])) -> u64 {
        let (inputs, outputs) = (self.input.len(), self.output.len());
        let resampled = SequentialSlice::new(&self.input, 1, inputs)
            .ok()
            .zip(SequentialSlice::new_mut(&mut self.output, 1, outputs).ok())
            .is_some_and(|(input, mut output)| self.fft.process_into_buffer(&input, &mut output, None).is_ok());
        debug_assert!(resampled, "buffers have the sizes that were asked for");
        self.filled = 0;
        let skipped = self.delay.min(outputs);
        self.delay -= skipped;
        let ready = &self.output[skipped..];
        let ready = &ready[..ready.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
        let mut piece = [0.0f32; 256];
        for samples in ready.chunks(piece.len()) {
            piece.iter_mut().zip(samples).for_each(|(to, &from)| *to = from as f32);
            sink(&piece[..samples.len()]);
        }
        ready.len() as u64
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
    fn a_tone_stays_where_it_is_in_time_and_level() {
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
    fn what_the_new_rate_cannot_hold_is_gone() {
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
    fn the_cut_of_the_input_and_earlier_input_do_not_matter() {
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
    fn equal_rates_change_nothing_and_short_input_is_no_special_case() {
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
            assert!(matches!(Resampler::new(rate, 24_000), Err(AudioError::Rate { rate: found }) if found == rate));
        }
    }
}
