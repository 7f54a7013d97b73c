//! WAV files of rendered sound.

use std::io::{Seek, Write};

use hound::{SampleFormat, WavSpec, WavWriter};

use crate::{EventsError, Result};

/// The format of the samples of a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WavFormat {
    /// Floats of 32 bits, as they are.
    Float32,
    /// Integers of 16 bits: rounded, not dithered, so that the same samples give the same bytes.
    Int16,
}

/// Writes a mono WAV file. Returns the number of samples that were clipped, which are those beyond ±1 as integers.
///
/// # Errors
/// [`EventsError::Setting`] for a rate below 4,000 or a sample that is not finite, and [`EventsError::Wav`], also for more
/// than the 4 GiB that a WAV file holds.
pub fn write_wav(output: impl Write + Seek, samples: &[f32], rate: u32, format: WavFormat) -> Result<u64> {
    EventsError::check_rate(rate)?;
    if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
        let expected = "finite samples".to_string();
        return Err(EventsError::Setting { name: "sample", found: format!("{} at {index}", samples[index]), expected });
    }
    let (bits_per_sample, sample_format) = match format {
        WavFormat::Float32 => (32, SampleFormat::Float),
        WavFormat::Int16 => (16, SampleFormat::Int),
    };
    let mut writer =
        WavWriter::new(output, WavSpec { channels: 1, sample_rate: rate, bits_per_sample, sample_format })?;
    let mut clipped = 0;
    for &sample in samples {
        match format {
            WavFormat::Float32 => writer.write_sample(sample)?,
            WavFormat::Int16 => {
                clipped += u64::from(sample.abs() > 1.0);
                writer.write_sample((f64::from(sample) * 32_767.0).round().clamp(-32_767.0, 32_767.0) as i16)?;
            }
        }
    }
    writer.finalize()?;
    Ok(clipped)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn samples_come_back_as_floats_and_as_integers() {
        let samples = [0.0, 0.5, -1.0, 1.0, 1.25, -3.0];
        let mut float = Cursor::new(Vec::new());
        assert_eq!(write_wav(&mut float, &samples, 24_000, WavFormat::Float32).unwrap(), 0);
        let mut reader = hound::WavReader::new(Cursor::new(float.into_inner())).unwrap();
        assert_eq!(reader.samples::<f32>().map(Result::unwrap).collect::<Vec<_>>(), samples);
        let mut integers = Cursor::new(Vec::new());
        assert_eq!(write_wav(&mut integers, &samples, 48_000, WavFormat::Int16).unwrap(), 2);
        let mut reader = hound::WavReader::new(Cursor::new(integers.into_inner())).unwrap();
        assert_eq!(reader.spec().sample_rate, 48_000);
        let read: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(read, [0, 16_384, -32_767, 32_767, 32_767, -32_767]);
    }

    #[test]
    fn what_a_file_cannot_hold_is_refused() {
        let write = |samples: &[f32], rate| write_wav(Cursor::new(Vec::new()), samples, rate, WavFormat::Float32);
        assert!(write(&[0.0], 0).is_err());
        assert!(write(&[0.0, f32::NAN], 24_000).unwrap_err().to_string().contains("NaN at 1"));
    }
}
