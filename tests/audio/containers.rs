//! Containers that are live, truncated or hold several tracks, unsupported kinds of WAV and AIFF-C, and files that are
//! not audio in spite of their first bytes.

use std::path::PathBuf;

use mert_audio::{AudioError, AudioFile, Damage, Source, identify};
use mert_testkit::fixture;
use tempfile::TempDir;

use crate::sound::{Decoded, Wav, decode_bytes, find, samples, track, whole};

fn path(name: &str) -> PathBuf {
    fixture("audio-formats").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Decodes `bytes` as a file called `name`.
fn read(name: &str, bytes: &[u8], damage: Damage) -> Decoded {
    let folder = TempDir::new().unwrap();
    decode_bytes(&folder.path().join(name), bytes, damage)
}

const SEGMENT: &[u8] = b"\x18\x53\x80\x67";
const CLUSTER: &[u8] = b"\x1f\x43\xb6\x75";

/// Sets the size of the element with a four-byte `id` to unknown, and returns the offset of its body.
fn make_unknown(bytes: &mut [u8], id: &[u8]) -> usize {
    let place = find(bytes, id) + 4;
    let length = bytes[place].leading_zeros() as usize + 1;
    bytes[place] = (0x1ff_u16 >> length) as u8;
    bytes[place + 1..place + length].fill(0xff);
    place + length
}

#[test]
fn matroska_of_unknown_size_is_truncated_only_within_an_element() {
    for name in ["flac.mka", "pcm-24.mka", "vorbis.webm"] {
        let (mut live, expected) = (bytes(name), samples(&path(name)));
        make_unknown(&mut live, SEGMENT);
        make_unknown(&mut live, CLUSTER);
        let found = read(name, &live, Damage::Refuse);
        assert!(found.error.is_none() && found.notes.is_empty(), "{name}: {:?}, {:?}", found.error, found.notes);
        assert!(found.samples == expected, "{name}");
        let cluster = find(&live, CLUSTER);
        // A cut within the first block.
        let cut = read(name, &live[..cluster + 60], Damage::Refuse);
        assert!(matches!(cut.error, Some(AudioError::Truncated { .. })), "{name}: {:?}", cut.error);
    }
}

#[test]
fn the_rest_of_a_truncated_container_is_decoded() {
    for name in ["flac.mka", "pcm-24.mka", "aac.mka", "vorbis.webm", "opus.webm", "pcm-24.caf", "mulaw.caf"] {
        let (whole, expected) = (bytes(name), samples(&path(name)));
        let cut = &whole[..whole.len() * 7 / 10];
        let refused = read(name, cut, Damage::Refuse);
        assert!(matches!(refused.error, Some(AudioError::Truncated { .. })), "{name}: {:?}", refused.error);
        let kept = read(name, cut, Damage::Keep);
        assert!(kept.error.is_none() && kept.notes.len() == 1, "{name}: {:?}, {:?}", kept.error, kept.notes);
        assert!(expected.starts_with(&kept.samples) && !kept.samples.is_empty(), "{name}: {}", kept.samples.len());
    }
    for (name, missing) in [("aac.mov", "moov"), ("pcm-24-big-endian.mov", "moov"), ("alac.caf", "pakt")] {
        let whole = bytes(name);
        for damage in [Damage::Refuse, Damage::Keep] {
            let error = read(name, &whole[..whole.len() / 2], damage).error.unwrap();
            assert!(matches!(error, AudioError::Incomplete { .. }), "{name}: {error}");
            assert!(error.to_string().contains(missing), "{name}: {error}");
        }
    }
}

/// The default track is decoded; the other track is a copy of its entry without packets.
#[test]
fn one_of_several_tracks_is_read_and_named() {
    let expected = samples(&path("flac.mka"));
    for (flag, decoded, number) in [(0, &expected[..], 2), (1, &[], 1)] {
        let mut file = bytes("flac.mka");
        make_unknown(&mut file, SEGMENT);
        // The first occurrence of the id is in the list of offsets.
        let tracks = file.windows(4).rposition(|id| id == b"\x16\x54\xae\x6b").unwrap();
        let entry = tracks + 4 + find(&file[tracks + 4..], b"\xae\x01\0\0");
        let size_length = file[entry + 1].leading_zeros() as usize + 1;
        let body = entry + 1 + size_length;
        let size = file[entry + 1..body].iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
        let end = body + (size & !(1 << (7 * size_length)));
        let mut copy = file[body..end].to_vec();
        let at = find(&copy, b"\xd7\x81\x01");
        copy[at + 2] = 2;
        let at = find(&copy, b"\x88\x81\0") + 2;
        copy[at] = flag;
        file[body + at] = 1;
        let sized = |id: &[u8], body: &[u8]| [id, &(body.len() as u32 | 1 << 28).to_be_bytes(), body].concat();
        let entries = [sized(b"\xae", &copy), file[entry..end].to_vec()].concat();
        let rest = [sized(b"\x16\x54\xae\x6b", &entries), file[end..].to_vec()].concat();
        let found = read("x.mka", &[&file[..tracks], &rest].concat(), Damage::Refuse);
        assert!(found.error.is_none() && found.samples == decoded, "{:?}, {}", found.error, found.samples.len());
        assert_eq!(found.notes, [format!("audio track {number} of 2 was read")]);
    }
}

/// A chunk of a WAV file.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&name[..], &(body.len() as u32).to_le_bytes(), body].concat()
}

/// A WAV file of `chunks`.
fn wav(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [&b"WAVE"[..], &chunks.concat()].concat();
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

#[test]
fn wav_with_many_channels_or_unusual_orders_of_chunks_is_read() {
    let integers: Vec<i16> = (0..3200).map(|i: i32| (i * 97 % 30_000) as i16).collect();
    let data: Vec<u8> = integers.iter().flat_map(|x| x.to_le_bytes()).collect();
    for channels in [1, 2, 26, 27, 32, 64] {
        let mean = |frame: &[i16]| frame.iter().map(|&x| f32::from(x) / 32_768.0).sum::<f32>() / channels as f32;
        let expected: Vec<f32> = integers.chunks_exact(channels).map(mean).collect();
        let file = Wav { channels: channels as u16, ..Wav::S16 }.with(&data);
        let found = read("x.wav", &file, Damage::Refuse);
        assert!(found.error.is_none() && found.samples == expected, "{channels}: {:?}", found.error);
        let (format, sound) = (chunk(b"fmt ", &file[20..36]), chunk(b"data", &data));
        let found = read("x.wav", &wav(&[sound.clone(), format.clone()]), Damage::Refuse);
        assert!(found.error.is_none() && found.notes.is_empty(), "{channels}: {:?}", found.error);
        assert!(found.samples == expected, "{channels} channels, the format after the samples");
        let found = read("x.wav", &wav(&[format, sound.clone(), chunk(b"LIST", b"INFO"), sound]), Damage::Refuse);
        assert!(found.error.is_none() && found.samples == expected, "{channels}: {:?}", found.error);
        assert!(found.notes.len() == 1 && found.notes[0].contains("more than one `data`"), "{:?}", found.notes);
    }
}

#[test]
fn unsupported_kinds_of_wav_and_aiff_are_named() {
    let half = Wav { format: 3, bits: 16, ..Wav::S16 }.with(&[0; 400]);
    let long = Wav { bits: 64, ..Wav::S16 }.with(&[0; 400]);
    let list = [b"wavl", &chunk(b"data", &[0; 400])[..]].concat();
    let list = wav(&[chunk(b"fmt ", &half[20..36]), chunk(b"LIST", &list)]);
    let common = [b"\0\x01\0\0\0\x08\0\x10\x40\x0e\xac\x44\0\0\0\0\0\0", &b"ima4\0\0"[..]].concat();
    let big = |name: &[u8], body: &[u8]| [name, &(body.len() as u32).to_be_bytes(), body].concat();
    let body = [b"AIFC", &big(b"COMM", &common)[..], &big(b"SSND", &[0; 42])].concat();
    for (file, name) in [
        (half, "WAV with floats of 16 bits"),
        (long, "WAV with integers of 64 bits"),
        (list, "WAV with a list of audio segments (LIST wavl)"),
        (big(b"FORM", &body), "AIFF-C with IMA4 ADPCM"),
    ] {
        let error = read("x", &file, Damage::Refuse).error.unwrap();
        assert!(matches!(&error, AudioError::Unsupported { what, .. } if what == name), "{name}: {error}");
    }
}

#[test]
fn frames_after_the_end_that_a_tag_states_are_noted() {
    for name in ["lame-32k-mono.mp3", "vbr-48k-stereo.mp3"] {
        let (single, expected) = (track(name), whole(name));
        let found = read(name, &single.repeat(2), Damage::Refuse);
        assert!(found.error.is_none() && found.samples == expected, "{name}: {:?}", found.error);
        assert!(found.notes.len() == 1 && found.notes[0].contains("frames after the end"), "{:?}", found.notes);
    }
}

/// Programs contain short runs of frames by chance, and texts begin like rare formats.
#[test]
fn programs_and_texts_are_not_audio() {
    let folder = TempDir::new().unwrap();
    let frames = track("no-xing-44k1-stereo.mp3");
    let utf16: Vec<u8> = "\u{feff}Lyrics of a song".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let program = |mark: &[u8]| [mark, &[0x90; 5000], &frames].concat();
    for (what, file) in [
        ("a program", program(b"\x7fELF\x02\x01\x01")),
        ("a Windows program", program(b"MZ\x90\0")),
        ("a macOS program", program(b"\xcf\xfa\xed\xfe")),
        ("a Java class", program(b"\xca\xfe\xba\xbe")),
        ("other data", program(b"\x01\x02\x03\x04")),
        ("text like APE", b"MAC addresses of our machines".to_vec()),
        ("text like Musepack", b"MP+ is a format, MPCK another".to_vec()),
        ("text like DSF", b"DSD is one bit wide and much faster".to_vec()),
        ("text like CAF", b"caffeine and other drugs of musicians".to_vec()),
        ("text in UTF-16", utf16),
    ] {
        for name in ["x", "x.so", "x.txt"] {
            let path = folder.path().join(name);
            std::fs::write(&path, &file).unwrap();
            assert!(identify(&path).unwrap().is_none_or(|format| !format.is_audio()), "{what}, {name}");
            let error = AudioFile::open(&path, Damage::Keep).unwrap_err();
            let is_right = matches!(error, AudioError::NotAudio { .. } | AudioError::UnknownFormat { .. });
            assert!(is_right, "{what}, {name}: {error}");
        }
    }
    for (name, file) in
        [("x", frames.clone()), ("x.part", [&[0; 300][..], &frames].concat()), ("x.mp3", program(b"junk"))]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, &file).unwrap();
        assert!(identify(&path).unwrap().unwrap().is_audio(), "{name}");
        assert!(AudioFile::open(&path, Damage::Refuse).is_ok(), "{name}");
    }
}

/// Sparse files: only their length is read.
#[test]
fn wav_files_of_more_than_4_gib_are_read_to_their_end() {
    const FRAME: u64 = 16;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wav");
    let data = (1 << 32) + 1000 * FRAME;
    for (size, notes) in [(u32::MAX, 0), (data as u32, 1)] {
        let header = Wav { format: 3, channels: 2, bits: 64, size, ..Wav::S16 }.header();
        std::fs::write(&path, &header).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(header.len() as u64 + data).unwrap();
        let mut file = AudioFile::open(&path, Damage::Refuse).unwrap();
        assert_eq!(file.info().frames, Some(data / FRAME));
        assert_eq!(file.notes().len(), notes, "{:?}", file.notes());
        if notes > 0 {
            continue;
        }
        let mut length = file.skip(data / FRAME - 5000).unwrap();
        while let Some(block) = file.next_block().unwrap() {
            length += block.len() as u64;
        }
        assert_eq!(length, data / FRAME);
    }
}
