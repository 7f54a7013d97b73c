//! Helpers for tests of audio: decoding files, and writing WAV files with any header. Each test program uses a part of
//! them.
#![allow(dead_code)]

use std::path::Path;

use mert_audio::{AudioError, AudioFile, Damage, Source, Tail, Track};
use mert_testkit::fixture;

/// Every track in `fixtures/audio/` that can be decoded: name, container, codec, rate, channels and length.
pub(crate) const TRACKS: [(&str, &str, &str, u32, usize, u64); 34] = [
    ("16-16k-5.1.flac", "flac", "flac", 16_000, 6, 16_000),
    ("16-24k-stereo.flac", "flac", "flac", 24_000, 2, 31_200),
    ("16-44k1-stereo.flac", "flac", "flac", 44_100, 2, 44_100),
    ("16-88k2-mono.flac", "flac", "flac", 88_200, 1, 88_200),
    ("24-96k-mono.flac", "flac", "flac", 96_000, 1, 96_000),
    ("24k-mono.ogg", "ogg", "vorbis", 24_000, 1, 55_200),
    ("44k1-stereo.ogg", "ogg", "vorbis", 44_100, 2, 110_250),
    ("48k-5.1.ogg", "ogg", "vorbis", 48_000, 6, 57_600),
    ("aac-24k-stereo.m4a", "isomp4", "aac", 24_000, 2, 38_400),
    ("aac-44k1-stereo.m4a", "isomp4", "aac", 44_100, 2, 88_200),
    ("aac-48k-mono.m4a", "isomp4", "aac", 48_000, 1, 86_400),
    ("adts-24k-mono.aac", "aac", "aac", 24_000, 1, 34_816),
    ("adts-44k1-stereo.aac", "aac", "aac", 44_100, 2, 84_992),
    ("alac-16-22k05-stereo.m4a", "isomp4", "alac", 22_050, 2, 22_050),
    ("alac-24-48k-mono.m4a", "isomp4", "alac", 48_000, 1, 48_000),
    ("cbr-44k1-stereo.mp3", "mp3", "mp3", 44_100, 2, 88_200),
    ("extensible-s16-8k-5.1.wav", "wave", "pcm_s16le", 8_000, 6, 8_000),
    ("extensible-s24-16k-mono.wav", "wave", "pcm_s24le", 16_000, 1, 16_000),
    ("f32-24k-mono.wav", "wave", "pcm_f32le", 24_000, 1, 24_000),
    ("f32-8k-mono.aifc", "aiff", "pcm_f32be", 8_000, 1, 8_000),
    ("f64-8k-mono.wav", "wave", "pcm_f64le", 8_000, 1, 8_000),
    ("lame-32k-mono.mp3", "mp3", "mp3", 32_000, 1, 54_400),
    ("mpeg2-22k05-mono.mp3", "mp3", "mp3", 22_050, 1, 44_100),
    ("mpeg2-24k-stereo.mp3", "mp3", "mp3", 24_000, 2, 45_600),
    ("no-edit-list-44k1-mono.m4a", "isomp4", "aac", 44_100, 1, 67_174),
    ("no-xing-44k1-stereo.mp3", "mp3", "mp3", 44_100, 2, 99_072),
    ("s16-16k-stereo.wav", "wave", "pcm_s16le", 16_000, 2, 16_000),
    ("s16-32k-mono.aiff", "aiff", "pcm_s16be", 32_000, 1, 32_000),
    ("s16-44k1-mono.wav", "wave", "pcm_s16le", 44_100, 1, 44_100),
    ("s24-24k-mono-quiet.wav", "wave", "pcm_s24le", 24_000, 1, 24_000),
    ("s32-22k05-mono.wav", "wave", "pcm_s32le", 22_050, 1, 22_050),
    ("tagged-44k1-mono.mp3", "mp3", "mp3", 44_100, 1, 66_150),
    ("u8-8k-mono.wav", "wave", "pcm_u8", 8_000, 1, 12_800),
    ("vbr-48k-stereo.mp3", "mp3", "mp3", 48_000, 2, 100_800),
];

/// The tracks that do not state their length: when truncated, they are only shorter files.
pub(crate) const WITHOUT_LENGTH: [&str; 3] = ["adts-24k-mono.aac", "adts-44k1-stereo.aac", "no-xing-44k1-stereo.mp3"];

/// Whether a codec reproduces samples exactly.
pub(crate) fn is_lossless(codec: &str) -> bool {
    codec.starts_with("pcm") || ["flac", "alac"].contains(&codec)
}

/// The bytes of a track in `fixtures/audio/`.
pub(crate) fn track(name: &str) -> Vec<u8> {
    std::fs::read(fixture("audio").join(name)).unwrap()
}

/// The result of decoding a file up to its end or an error.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) samples: Vec<f32>,
    pub(crate) notes: Vec<String>,
    pub(crate) error: Option<AudioError>,
}

/// Decodes the file at `path`.
pub(crate) fn decode(path: &Path, damage: Damage) -> Decoded {
    let mut found = Decoded::default();
    let mut file = match AudioFile::open(path, damage) {
        Ok(file) => file,
        Err(error) => return Decoded { error: Some(error), ..found },
    };
    loop {
        match file.next_block() {
            Ok(Some(block)) => {
                assert!(!block.is_empty());
                found.samples.extend_from_slice(block);
            }
            Ok(None) => break,
            Err(error) => {
                found.error = Some(error);
                break;
            }
        }
    }
    found.notes = file.notes().to_vec();
    found
}

/// Writes `bytes` to the file at `path`, and decodes it.
pub(crate) fn decode_bytes(path: &Path, bytes: &[u8], damage: Damage) -> Decoded {
    std::fs::write(path, bytes).unwrap();
    decode(path, damage)
}

/// The samples of a file that decodes without an error or a note.
pub(crate) fn samples(path: &Path) -> Vec<f32> {
    let found = decode(path, Damage::Refuse);
    assert!(found.error.is_none() && found.notes.is_empty(), "{path:?}: {:?}, {:?}", found.error, found.notes);
    found.samples
}

/// The samples of a track in `fixtures/audio/`.
pub(crate) fn whole(name: &str) -> Vec<f32> {
    samples(&fixture("audio").join(name))
}

/// The samples of the first window of a file at 24 kHz, not normalised.
pub(crate) fn first_window(path: &Path, policy: &str, damage: Damage) -> Result<Vec<f32>, AudioError> {
    let mut windows = Track::open(path, 24_000, damage)?.windows(&policy.parse()?, Tail::Align, 400)?;
    Ok(windows.next_window()?.map_or(Vec::new(), |window| window.samples))
}

/// The offset of the first occurrence of `pattern` in `bytes`.
pub(crate) fn find(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).position(|found| found == pattern).unwrap()
}

/// The header of a WAV file: format tag, channels, rate, bits per sample, and the size of the samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wav {
    pub(crate) format: u16,
    pub(crate) channels: u16,
    pub(crate) rate: u32,
    pub(crate) bits: u16,
    pub(crate) size: u32,
}

impl Wav {
    pub(crate) const F32: Wav = Wav { format: 3, channels: 1, rate: 24_000, bits: 32, size: 0 };
    pub(crate) const S16: Wav = Wav { format: 1, channels: 1, rate: 24_000, bits: 16, size: 0 };

    /// The bytes of the header.
    pub(crate) fn header(self) -> Vec<u8> {
        let frame = self.channels.wrapping_mul(self.bits / 8);
        let mut bytes = b"RIFF".to_vec();
        bytes.extend(self.size.saturating_add(36).to_le_bytes());
        bytes.extend(b"WAVEfmt \x10\0\0\0");
        bytes.extend(self.format.to_le_bytes());
        bytes.extend(self.channels.to_le_bytes());
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend(self.rate.wrapping_mul(u32::from(frame)).to_le_bytes());
        bytes.extend(frame.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(self.size.to_le_bytes());
        bytes
    }

    /// The file with `data` and its size.
    pub(crate) fn with(self, data: &[u8]) -> Vec<u8> {
        [Wav { size: data.len() as u32, ..self }.header(), data.to_vec()].concat()
    }

    /// The file with `data` and another size.
    pub(crate) fn with_size(self, size: u32, data: &[u8]) -> Vec<u8> {
        [Wav { size, ..self }.header(), data.to_vec()].concat()
    }
}

/// A pseudorandom signal, in which no two sections are equal.
pub(crate) fn noise(samples: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state) / 2f64.powi(32) - 0.5
    };
    (0..samples).map(|_| next() as f32).collect()
}
