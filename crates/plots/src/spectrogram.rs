//! A spectrogram of a bounded number of cells, computed block by block: memory does not grow with the recording.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::{PlotsError, Result};

/// The most columns, and the rows.
const COLUMNS: usize = 1000;
const ROWS: usize = 120;

/// The range of frequencies in hertz, of which the upper end is at most half the rate.
const LOWEST: f64 = 40.0;
const HIGHEST: f64 = 12_000.0;

/// The length of a frame in seconds, rounded to a power of two in samples.
const FRAME: f64 = 0.085;

/// Sound by time and frequency: cells whose rows are equally high on a logarithmic axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrogram {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    /// The mean power of each cell, by row from the lowest frequency; a sine of full scale has 1.
    pub(crate) power: Vec<f64>,
    /// The seconds that a column has.
    pub(crate) resolution: f64,
}

/// A spectrogram that grows with the samples.
pub struct SpectrogramBuilder {
    rate: f64,
    start: u64,
    end: u64,
    /// The samples seen, from the start of the recording.
    seen: u64,
    hop: usize,
    frames: usize,
    done: usize,
    columns: usize,
    window: Vec<f32>,
    buffer: Vec<f32>,
    windowed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    fft: Arc<dyn RealToComplex<f32>>,
    scale: f64,
    bands: Vec<Band>,
    power: Vec<f64>,
    highest: f64,
}

/// The bins of a row: a range, of which the loudest counts, or a place between two bins.
#[derive(Debug, Clone, Copy)]
enum Band {
    Bins(usize, usize),
    Between(usize, f64),
}

impl SpectrogramBuilder {
    /// A spectrogram from `start` to `end`, in seconds of the recording, of mono samples at `rate` hertz.
    ///
    /// # Errors
    /// [`PlotsError::Value`] for a rate below 1 kHz or above 1 MHz, and for a range that is empty or longer than 1,000 hours.
    pub fn new(rate: u32, start: f64, end: f64) -> Result<Self> {
        if !(1_000..=1_000_000).contains(&rate) {
            return Err(PlotsError::value("rate", rate, "1,000 to 1,000,000 hertz"));
        }
        if !(start >= 0.0 && end > start && end <= 3.6e6) {
            return Err(PlotsError::value("range", format!("{start} to {end} s"), "a start from 0 and a later end"));
        }
        let rate = f64::from(rate);
        let sample = |time: f64| (time * rate).round() as u64;
        let (start, end) = (sample(start), sample(end).max(sample(start) + 1));
        let length = 1usize << (rate * FRAME).log2().round() as u32;
        let samples = (end - start) as usize;
        let hop = (samples / COLUMNS).clamp(length / 32, length / 4);
        let frames = samples.div_ceil(hop);
        let columns = frames.min(COLUMNS);
        let fft = RealFftPlanner::new().plan_fft_forward(length);
        let window: Vec<f32> =
            (0..length).map(|n| (0.5 - 0.5 * (TAU * (n as f64 + 0.5) / length as f64).cos()) as f32).collect();
        let highest = HIGHEST.min(rate / 2.0);
        Ok(SpectrogramBuilder {
            rate,
            start,
            end,
            seen: 0,
            hop,
            frames,
            done: 0,
            columns,
            buffer: vec![0.0; length / 2],
            windowed: vec![0.0; length],
            spectrum: fft.make_output_vec(),
            scale: (2.0 / window.iter().map(|&weight| f64::from(weight)).sum::<f64>()).powi(2),
            bands: bands(rate / length as f64, length / 2, highest),
            power: vec![0.0; columns * ROWS],
            highest,
            window,
            fft,
        })
    }

    /// True once all samples of the range were pushed.
    pub fn is_complete(&self) -> bool {
        self.seen >= self.end
    }

    /// Adds the next samples of the recording, from its start; those outside the range are left out.
    pub fn push(&mut self, samples: &[f32]) {
        let before = self.seen;
        self.seen += samples.len() as u64;
        let cut = |place: u64| (place.clamp(before, self.seen) - before) as usize;
        self.buffer.extend_from_slice(&samples[cut(self.start)..cut(self.end)]);
        self.process();
    }

    /// The spectrogram; what is missing of the range is silence.
    pub fn finish(mut self) -> Spectrogram {
        while self.done < self.frames {
            self.buffer.resize(self.buffer.len() + self.hop.max(self.window.len()), 0.0);
            self.process();
        }
        let counts: Vec<f64> =
            (0..self.columns).map(|column| self.first_of(column + 1) - self.first_of(column)).collect();
        for row in self.power.chunks_exact_mut(self.columns) {
            row.iter_mut().zip(&counts).for_each(|(power, count)| *power /= count);
        }
        let (start, end) = (self.start as f64 / self.rate, self.end as f64 / self.rate);
        Spectrogram {
            start,
            end,
            lowest: LOWEST,
            highest: self.highest,
            columns: self.columns,
            rows: ROWS,
            power: self.power,
            resolution: (end - start) / self.columns as f64,
        }
    }

    /// The first frame of a column.
    fn first_of(&self, column: usize) -> f64 {
        (column * self.frames).div_ceil(self.columns) as f64
    }

    fn process(&mut self) {
        let length = self.window.len();
        let mut from = 0;
        while self.done < self.frames && self.buffer.len() >= from + length {
            self.frame(from);
            self.done += 1;
            from += self.hop;
        }
        self.buffer.drain(..from.min(self.buffer.len()));
    }

    /// Adds the frame at a place of the buffer.
    fn frame(&mut self, from: usize) {
        let samples = &self.buffer[from..from + self.window.len()];
        for ((windowed, &sample), &weight) in self.windowed.iter_mut().zip(samples).zip(&self.window) {
            *windowed = if sample.is_finite() { sample * weight } else { 0.0 };
        }
        // The lengths are the plan's own; a frame of another length would be an error, and counts as silence.
        if self.fft.process(&mut self.windowed, &mut self.spectrum).is_err() {
            return;
        }
        let column = self.done * self.columns / self.frames;
        let power = |bin: usize| f64::from(self.spectrum[bin].norm_sqr()) * self.scale;
        for (row, band) in self.bands.iter().enumerate() {
            self.power[row * self.columns + column] += match *band {
                Band::Bins(first, end) => (first..end).map(power).fold(0.0, f64::max),
                Band::Between(bin, part) => power(bin) * (1.0 - part) + power(bin + 1) * part,
            };
        }
    }
}

/// The bins of the rows, whose borders are equally far apart on a logarithmic axis; `bin` is a bin's width in hertz.
fn bands(bin: f64, last: usize, highest: f64) -> Vec<Band> {
    let border = |row: f64| LOWEST * (highest / LOWEST).powf(row / ROWS as f64) / bin;
    (0..ROWS)
        .map(|row| {
            let (from, to) = (border(row as f64), border(row as f64 + 1.0));
            let (first, end) = (from.ceil() as usize, (to.ceil() as usize).min(last + 1));
            if first < end {
                return Band::Bins(first, end);
            }
            let middle = border(row as f64 + 0.5).min(last as f64 - 1e-9);
            Band::Between(middle as usize, middle.fract())
        })
        .collect()
}

impl fmt::Debug for SpectrogramBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpectrogramBuilder")
            .field("frames", &self.frames)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(frequency: f64, seconds: f64, amplitude: f64) -> Vec<f32> {
        (0..(seconds * 24_000.0) as usize)
            .map(|n| (amplitude * (TAU * frequency * n as f64 / 24_000.0).sin()) as f32)
            .collect()
    }

    fn of(samples: &[f32], start: f64, end: f64, block: usize) -> Spectrogram {
        let mut builder = SpectrogramBuilder::new(24_000, start, end).unwrap();
        samples.chunks(block).for_each(|block| builder.push(block));
        builder.finish()
    }

    #[test]
    fn a_sine_of_full_scale_is_0_db_in_its_row() {
        for frequency in [110.0, 440.0, 1000.0, 5000.0] {
            let spectrogram = of(&sine(frequency, 2.0, 1.0), 0.0, 2.0, 1000);
            let column = spectrogram.columns / 2;
            let at = |row: usize| spectrogram.power[row * spectrogram.columns + column];
            let loudest = (0..ROWS).max_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap();
            let expected = (frequency / LOWEST).ln() / (spectrogram.highest / LOWEST).ln() * ROWS as f64;
            // Half a bin (5.9 Hz) at 110 Hz is more than a row.
            assert!(
                (loudest as f64 + 0.5 - expected).abs() < 1.7,
                "{frequency} Hz: row {loudest}, expected {expected}"
            );
            // A Hann window loses at most 1.42 dB between two bins.
            assert!((-1.5..0.1).contains(&(10.0 * at(loudest).log10())), "{frequency} Hz: {}", at(loudest));
        }
    }

    #[test]
    fn a_click_is_in_the_column_of_its_time() {
        let mut samples = vec![0.0; 240_000];
        samples[168_000] = 1.0; // 7 s
        let spectrogram = of(&samples, 2.0, 10.0, 4096);
        let loudness =
            |column: usize| (0..ROWS).map(|row| spectrogram.power[row * spectrogram.columns + column]).sum::<f64>();
        let loudest = (0..spectrogram.columns).max_by(|a, b| loudness(*a).total_cmp(&loudness(*b))).unwrap();
        let time = 2.0 + (loudest as f64 + 0.5) * spectrogram.resolution;
        assert!((time - 7.0).abs() < 0.02, "{time}");
    }

    #[test]
    fn blocks_and_lengths_do_not_matter() {
        let samples = sine(300.0, 3.0, 0.5);
        assert_eq!(of(&samples, 0.5, 2.5, 1), of(&samples, 0.5, 2.5, 100_000));
        assert_eq!(of(&samples[..10], 0.0, 0.0001, 10).columns, 1);
        let long = of(&samples, 0.0, 100.0, 4096);
        assert_eq!((long.columns, long.power.len()), (COLUMNS, COLUMNS * ROWS));
        assert!(long.power.iter().all(|power| power.is_finite()));
        assert_eq!(long.power[COLUMNS - 1], 0.0);
    }

    #[test]
    fn ranges_and_rates_are_checked() {
        assert!(SpectrogramBuilder::new(24_000, 2.0, 2.0).is_err());
        assert!(SpectrogramBuilder::new(24_000, f64::NAN, 2.0).is_err());
        assert!(SpectrogramBuilder::new(24_000, 0.0, f64::INFINITY).is_err());
        assert!(SpectrogramBuilder::new(10, 0.0, 1.0).is_err());
    }
}
