//! Raw samples from a stream, such as standard input or a sound card. Separate from files, because a stream states
//! neither its rate nor its length.

use std::io::Read;

use crate::source::{Source, check_finite, check_rate};
use crate::{AudioError, Result};

/// A source of raw mono samples: 32-bit little-endian floats from any stream.
///
/// ```
/// use mert_audio::{RawPcm, Source};
///
/// let bytes: Vec<u8> = [0.0f32, 0.5, -0.5].into_iter().flat_map(f32::to_le_bytes).collect();
/// let mut source = RawPcm::new(&bytes[..], 24_000)?;
/// assert_eq!(source.next_block()?, Some(&[0.0, 0.5, -0.5][..]));
/// assert_eq!(source.next_block()?, None);
/// # Ok::<(), mert_audio::AudioError>(())
/// ```
pub struct RawPcm<R> {
    reader: R,
    rate: u32,
    bytes: Vec<u8>,
    /// The number of bytes at the start of `bytes` that belong to an incomplete sample.
    left_over: usize,
    block: Vec<f32>,
    position: u64,
}

/// The largest number of samples in a block.
const BLOCK: usize = 1 << 14;

/// The largest plausible sample. Music lies within ±1, with some headroom for mixes without a limiter; pairs of 16-bit
/// integers read as floats are almost all far above.
const LARGEST: f32 = 256.0;

impl<R: Read> RawPcm<R> {
    /// A source of samples at `rate` hertz that are read from `reader`.
    ///
    /// # Errors
    /// [`AudioError::InvalidRate`] if the rate is outside the supported range.
    pub fn new(reader: R, rate: u32) -> Result<Self> {
        check_rate(rate)?;
        Ok(RawPcm {
            reader,
            rate,
            bytes: vec![0; 4 * BLOCK],
            left_over: 0,
            block: Vec::with_capacity(BLOCK),
            position: 0,
        })
    }
}

impl<R: Read> Source for RawPcm<R> {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// The samples that are available without waiting for more.
    ///
    /// # Errors
    /// [`AudioError::NotFinite`], [`AudioError::NotFloatPcm`], [`AudioError::PartialSample`] or
    /// [`AudioError::Read`].
    fn next_block(&mut self) -> Result<Option<&[f32]>> {
        loop {
            let read = match self.reader.read(&mut self.bytes[self.left_over..]) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let have = self.left_over + read;
            if read == 0 {
                let bytes = 4 * self.position + have as u64;
                return if have == 0 { Ok(None) } else { Err(AudioError::PartialSample { bytes }) };
            }
            let (samples, rest) = self.bytes[..have].as_chunks::<4>();
            self.block.clear();
            self.block.extend(samples.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            let (consumed, rest) = (have - rest.len(), rest.len());
            self.bytes.copy_within(consumed..have, 0);
            self.left_over = rest;
            if self.block.is_empty() {
                continue;
            }
            // Checked before NaN: integers look like NaN too, but less often.
            if let Some((index, &value)) =
                self.block.iter().enumerate().find(|(_, x)| x.is_finite() && x.abs() > LARGEST)
            {
                return Err(AudioError::NotFloatPcm { index: self.position + index as u64, value });
            }
            check_finite(&self.block, self.position, self.rate)?;
            self.position += self.block.len() as u64;
            return Ok(Some(&self.block));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that returns one to three bytes at a time.
    struct Trickle(Vec<u8>, usize);

    impl Read for Trickle {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = (1 + self.1 % 3).min(into.len()).min(self.0.len() - self.1);
            into[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 += count;
            Ok(count)
        }
    }

    fn read(bytes: Vec<u8>) -> Result<Vec<f32>> {
        let mut pcm = RawPcm::new(Trickle(bytes, 0), 24_000)?;
        let mut all = Vec::new();
        while let Some(block) = pcm.next_block()? {
            all.extend_from_slice(block);
        }
        Ok(all)
    }

    #[test]
    fn samples_are_whole_however_the_bytes_are_split() {
        let samples: Vec<f32> = (0..1000).map(|i| (i as f32).sin()).collect();
        let bytes: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(read(bytes.clone()).unwrap(), samples);
        assert!(matches!(read(bytes[..3999].to_vec()), Err(AudioError::PartialSample { bytes: 3999 })));
    }

    #[test]
    fn integers_and_nan_are_refused() {
        let integers: Vec<u8> =
            (0..4000i16).flat_map(|i| ((f32::from(i) * 0.1).sin() * 20_000.0).to_le_bytes()).collect();
        assert!(matches!(read(integers), Err(AudioError::NotFloatPcm { .. })));
        let sixteen_bit: Vec<u8> =
            (0..4000).flat_map(|i| (((i as f32 * 0.1).sin() * 20_000.0) as i16).to_le_bytes()).collect();
        assert!(matches!(read(sixteen_bit), Err(AudioError::NotFloatPcm { .. } | AudioError::NotFinite { .. })));
        let nan = [0.5f32, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(matches!(read(nan), Err(AudioError::NotFinite { index: 1, .. })));
    }

    #[test]
    fn a_rate_of_zero_is_refused() {
        assert!(matches!(RawPcm::new(&[][..], 0), Err(AudioError::InvalidRate { rate: 0 })));
    }
}
