//! A passage as a WAV file of 16-bit mono samples, whose length is known before it is decoded, and whose bytes are made
//! from any of them on.

use mert_audio::{AudioError, AudioFile, Source};

/// The length of the header in bytes.
const HEADER: u64 = 44;

/// The bytes that are sent at once.
const BLOCK: usize = 1 << 16;

/// The form of a WAV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wav {
    /// The sample rate in hertz.
    pub(super) rate: u32,
    /// The first sample of the source.
    pub(super) first: u64,
    /// The number of samples.
    pub(super) samples: u32,
}

impl Wav {
    /// The largest number of samples: sizes in the header have 32 bits.
    pub(super) const MAX_SAMPLES: u64 = (u32::MAX as u64 - HEADER) / 2;

    /// The length of the file in bytes.
    pub(super) fn length(self) -> u64 {
        HEADER + 2 * u64::from(self.samples)
    }

    /// The header, as in Microsoft's "Multimedia Programming Interface and Data Specifications 1.0", chapter 3.
    fn header(self) -> [u8; HEADER as usize] {
        let data = 2 * self.samples;
        let mut header = [0; HEADER as usize];
        let fields: [(usize, &[u8]); 13] = [
            (0, b"RIFF"),
            (4, &(data + 36).to_le_bytes()),
            (8, b"WAVE"),
            (12, b"fmt "),
            (16, &16u32.to_le_bytes()),
            (20, &1u16.to_le_bytes()), // PCM
            (22, &1u16.to_le_bytes()), // channels
            (24, &self.rate.to_le_bytes()),
            (28, &(2 * self.rate).to_le_bytes()),
            (32, &2u16.to_le_bytes()),  // bytes of a sample in all channels
            (34, &16u16.to_le_bytes()), // bits of a sample
            (36, b"data"),
            (40, &data.to_le_bytes()),
        ];
        for (offset, bytes) in fields {
            header[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        header
    }

    /// Sends the bytes from `first` to `last`, both included, in blocks. A source that ends early is followed by silence.
    /// `send` returns whether more is wanted.
    ///
    /// # Errors
    /// Those of decoding `source`, which is at its first sample.
    pub(super) fn write(
        self,
        mut source: AudioFile,
        (first, last): (u64, u64),
        mut send: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), AudioError> {
        let mut rest = last.saturating_sub(first) + 1;
        let mut block: Vec<u8> = Vec::with_capacity(BLOCK);
        if first < HEADER {
            block.extend(self.header().iter().skip(first as usize).take(rest.min(HEADER) as usize));
            rest -= block.len() as u64;
        }
        let offset = first.saturating_sub(HEADER);
        // A range may begin with the second byte of a sample.
        let mut odd = offset % 2 == 1;
        let start = self.first + offset / 2;
        let mut position = source.skip(start)?;
        let mut ended = false;
        while rest > 0 {
            let samples = match if ended { None } else { source.next_block()? } {
                Some(samples) => {
                    let before = start.saturating_sub(position).min(samples.len() as u64);
                    position += samples.len() as u64;
                    &samples[before as usize..]
                }
                None => {
                    ended = true;
                    &[0.0; 4096][..]
                }
            };
            for &sample in samples {
                let value = (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16;
                let bytes = &value.to_le_bytes()[usize::from(odd)..];
                let bytes = &bytes[..bytes.len().min(rest as usize)];
                odd = false;
                block.extend_from_slice(bytes);
                rest -= bytes.len() as u64;
                if rest == 0 {
                    break;
                }
            }
            if (block.len() >= BLOCK || rest == 0) && !send(std::mem::replace(&mut block, Vec::with_capacity(BLOCK))) {
                return Ok(());
            }
        }
        if !block.is_empty() {
            send(block);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mert_audio::Damage;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/audio")).join(name)
    }

    fn bytes(wav: Wav, name: &str, range: (u64, u64)) -> Vec<u8> {
        let source = AudioFile::open(&fixture(name), Damage::Keep).unwrap();
        let mut all = Vec::new();
        wav.write(source, range, |block| {
            all.extend(block);
            true
        })
        .unwrap();
        all
    }

    /// The passage of a 16-bit file has the bytes of that file; any range has the bytes of the whole.
    #[test]
    fn a_passage_has_the_samples_of_the_file_in_any_range() {
        let name = "s16-44k1-mono.wav";
        let original = std::fs::read(fixture(name)).unwrap();
        let data = original.windows(4).position(|window| window == b"data").unwrap() + 8;
        let wav = Wav { rate: 44_100, first: 1000, samples: 20_000 };
        let whole = bytes(wav, name, (0, wav.length() - 1));
        assert_eq!(whole.len() as u64, wav.length());
        assert_eq!(whole[44..], original[data + 2000..][..40_000]);
        for range in [(0, 0), (10, 50), (43, 44), (44, 47), (45, 46), (101, 40_043), (40_043, 40_043)] {
            let (first, last) = range;
            assert_eq!(bytes(wav, name, range), whole[first as usize..=last as usize], "{range:?}");
        }
    }

    #[test]
    fn what_a_file_lacks_is_silence() {
        let name = "16-24k-stereo.flac"; // 31,200 samples
        let wav = Wav { rate: 24_000, first: 31_100, samples: 10_000 };
        let whole = bytes(wav, name, (0, wav.length() - 1));
        assert_eq!(whole.len() as u64, wav.length());
        assert!(whole[44 + 200..].iter().all(|&byte| byte == 0));
        // The header can be read by what reads every other file.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passage.wav");
        std::fs::write(&path, &whole).unwrap();
        let read = AudioFile::open(&path, Damage::Refuse).unwrap();
        assert_eq!((read.info().sample_rate, read.info().frames), (24_000, Some(10_000)));
    }
}
