//! Decoding, windows and normalisation of the tracks in `fixtures/audio/`, compared with other programs.

use std::collections::HashMap;
use std::path::PathBuf;

use mert_audio::{AudioError, AudioFile, Damage, Resampler, Seconds, Tail, Track, Window, WindowPolicy, normalize};
use mert_testkit::fixture;
use npyz::npz::NpzArchive;
use tempfile::TempDir;

use crate::sound::{TRACKS, WITHOUT_LENGTH, Wav, decode, decode_bytes, find, noise, samples, track};

fn path(name: &str) -> PathBuf {
    fixture("audio").join(name)
}

/// The arrays of an archive that hold numbers of type `T`.
fn numbers<T: npyz::Deserialize>(archive: &str) -> HashMap<String, Vec<T>> {
    let mut archive = NpzArchive::open(path(archive)).unwrap();
    let names: Vec<String> = archive.array_names().map(ToString::to_string).collect();
    let mut read = |name: &str| archive.by_name(name).unwrap().unwrap().into_vec::<T>().ok();
    names.into_iter().filter_map(|name| read(&name).map(|values| (name, values))).collect()
}

/// The windows of a file at 24 kHz, not normalised.
fn windows(path: &std::path::Path, policy: &str, tail: Tail) -> Result<Vec<Window>, AudioError> {
    let mut windows = Track::open(path, 24_000, Damage::Refuse)?.windows(&policy.parse()?, tail, 400)?;
    std::iter::from_fn(|| windows.next_window().transpose()).collect()
}

#[test]
fn every_track_has_the_format_and_length_that_other_decoders_find() {
    let reference = numbers::<i64>("reference.npz");
    let mut seen = 0;
    for (name, container, codec, rate, channels, frames) in TRACKS {
        let file = AudioFile::open(&path(name), Damage::Refuse).unwrap();
        let info = file.info().clone();
        assert_eq!((info.container, info.codec, info.sample_rate, info.channels), (container, codec, rate, channels));
        assert_eq!(info.frames, (!WITHOUT_LENGTH.contains(&name)).then_some(frames), "{name}");
        assert_eq!(file.count().unwrap(), frames, "{name}");

        let whole = windows(&path(name), "whole", Tail::Align).unwrap();
        let [Window { index: 0, start: 0, samples: whole }] = &whole[..] else { panic!("{name}: not one window") };
        let expected = reference[&format!("{name}/samples")][0];
        assert_eq!(whole.len() as i64, expected, "{name} at 24 kHz");
        assert_eq!(Resampler::new(rate, 24_000).unwrap().output_len(frames) as i64, expected, "{name}");
        // Each voice reaches 0.4 to 0.75; a few at once are fainter in the mean.
        let loudest = whole.iter().fold(0f32, |max, x| max.max(x.abs()));
        let level = if name.contains("quiet") { 1e-3 } else { 1.0 };
        assert!(loudest > 0.1 * level && loudest < level, "{name}: {loudest}");
        seen += 1;
    }
    let on_disk = std::fs::read_dir(fixture("audio")).unwrap().count();
    // The folder also holds the two archives.
    assert_eq!(seen + 2, on_disk, "every fixture is in the list");
}

/// The samples of an uncompressed file, read independently of the code under test: it finds the chunk of samples and
/// converts its bytes.
fn uncompressed(name: &str) -> Vec<f32> {
    let bytes = track(name);
    let is_aiff = !name.ends_with(".wav");
    let size_at = |place: usize| {
        let size = bytes[place..place + 4].try_into().unwrap();
        if is_aiff { u32::from_be_bytes(size) as usize } else { u32::from_le_bytes(size) as usize }
    };
    let mut place = 12;
    while ![&b"data"[..], b"SSND"].contains(&&bytes[place..place + 4]) {
        place += 8 + size_at(place + 4).next_multiple_of(2);
    }
    // In AIFF an offset and a block size come first.
    let (start, end) = (place + if is_aiff { 16 } else { 8 }, place + 8 + size_at(place + 4));
    let data = &bytes[start..end];
    let (_, _, codec, _, channels, _) = *TRACKS.iter().find(|track| track.0 == name).unwrap();
    let integer = |bytes: &[u8]| {
        let mut wide = [0; 4];
        wide[4 - bytes.len()..].copy_from_slice(bytes);
        (f64::from(i32::from_le_bytes(wide)) / 2f64.powi(31)) as f32
    };
    let values: Vec<f32> = match codec {
        "pcm_u8" => data.iter().map(|&x| (f32::from(x) - 128.0) / 128.0).collect(),
        "pcm_s16le" => data.chunks(2).map(integer).collect(),
        "pcm_s16be" => data.chunks(2).map(|x| integer(&[x[1], x[0]])).collect(),
        "pcm_s24le" => data.chunks(3).map(integer).collect(),
        "pcm_s32le" => data.chunks(4).map(integer).collect(),
        "pcm_f32le" => data.chunks(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect(),
        "pcm_f32be" => data.chunks(4).map(|x| f32::from_be_bytes(x.try_into().unwrap())).collect(),
        "pcm_f64le" => data.chunks(8).map(|x| f64::from_le_bytes(x.try_into().unwrap()) as f32).collect(),
        other => panic!("{other}"),
    };
    let mean = |frame: &[f32]| (frame.iter().map(|&x| f64::from(x)).sum::<f64>() / channels as f64) as f32;
    values.chunks(channels).map(mean).collect()
}

#[test]
fn uncompressed_samples_are_exact_and_channels_are_averaged() {
    for (name, _, codec, _, channels, _) in TRACKS.into_iter().filter(|track| track.2.starts_with("pcm")) {
        let (found, expected) = (samples(&path(name)), uncompressed(name));
        assert_eq!(found.len(), expected.len(), "{name}");
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // The mean of several channels is computed in f32.
        let allowed = if channels == 1 { 0.0 } else { 1e-7 };
        assert!(worst <= allowed, "{name} ({codec}): off by {worst:e}");
    }
}

#[test]
fn a_wrong_checksum_of_a_flac_file_is_detected() {
    let folder = TempDir::new().unwrap();
    for (name, ..) in TRACKS.into_iter().filter(|track| track.1 == "flac") {
        let mut bytes = track(name);
        // The last 16 bytes of STREAMINFO, which has 34, are the MD5 of all samples.
        bytes[4 + 4 + 18 + 3] ^= 1;
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let found = decode(&file, Damage::Refuse);
        assert!(matches!(&found.error, Some(AudioError::Damaged { reason, .. }) if reason.contains("checksum")));
        let kept = decode(&file, Damage::Keep);
        assert!(kept.error.is_none() && kept.notes.len() == 1 && kept.samples == samples(&path(name)), "{name}");
    }
}

#[test]
fn normalisation_is_that_of_transformers() {
    let arrays = numbers::<f32>("normalize.npz");
    let names: Vec<&str> = arrays.keys().filter_map(|name| name.strip_suffix("/input")).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let (mut window, expected) = (arrays[&format!("{name}/input")].clone(), &arrays[&format!("{name}/output")]);
        assert!(window.len() == expected.len() && window.len() >= 400);
        // transformers returns zeros or rounding noise, the same for every such window.
        if ["constant", "silence"].contains(&name) {
            let before = window.clone();
            let error = normalize(&mut window).unwrap_err();
            assert!(matches!(error, AudioError::Silent { value } if value == before[0]), "{name}");
            assert_eq!(window, before, "{name}");
            continue;
        }
        normalize(&mut window).unwrap();
        let worst = window.iter().zip(expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
        assert!(worst <= 1e-6, "{name}: off by {worst:e}");
    }
}

/// The middle of a file is found from the stated length, or else by decoding the file twice.
#[test]
fn the_middle_is_the_same_with_and_without_a_stated_length() {
    for (name, ..) in TRACKS {
        let whole = windows(&path(name), "whole", Tail::Align).unwrap().remove(0).samples;
        // Windows that start at sample 11, and within the packets of the encoder delay.
        let from_11 = format!("{:.6}s", (whole.len() - 22) as f64 / 24_000.0);
        let from_600 = format!("{:.6}s", (whole.len() - 1200) as f64 / 24_000.0);
        for length in ["20ms", "500ms", "0.7s", "60s", &from_11, &from_600] {
            let samples = length.parse::<Seconds>().unwrap().samples(24_000).min(whole.len());
            let start = (whole.len() - samples) / 2;
            let found = windows(&path(name), &format!("middle:{length}"), Tail::Drop).unwrap();
            let expected = Window { index: 0, start: start as u64, samples: whole[start..start + samples].to_vec() };
            assert!(found == [expected], "{name}, {length}");
        }
    }
}

/// Packets before the middle are not decoded, as far as the codec allows: an MP3 decoder that has not decoded enough of
/// them would return other samples.
#[test]
fn the_middle_of_a_long_track_equals_that_of_the_whole() {
    let folder = TempDir::new().unwrap();
    let long = folder.path().join("long.mp3");
    for name in ["no-xing-44k1-stereo.mp3", "mpeg2-22k05-mono.mp3", "cbr-44k1-stereo.mp3"] {
        let mut frames = track(name);
        // The frame with the tag states a length that is wrong for the longer file.
        for tag in [b"Xing", b"Info"] {
            if let Some(at) = frames.windows(4).position(|bytes| bytes == tag) {
                frames[at..at + 4].fill(0);
            }
        }
        std::fs::write(&long, frames.repeat(12)).unwrap();
        let whole = windows(&long, "whole", Tail::Align).unwrap().remove(0).samples;
        let seconds = whole.len() as f64 / 24_000.0;
        assert!(seconds > 18.0, "{name}: {seconds} s");
        for length in ["20ms", "30ms", "40ms", "1s", "2s", "3s"] {
            let samples = length.parse::<Seconds>().unwrap().samples(24_000);
            let start = (whole.len() - samples) / 2;
            let found = windows(&long, &format!("middle:{length}"), Tail::Drop).unwrap().remove(0);
            assert!(found.samples == whole[start..start + samples], "{name}, {length}");
        }
    }
}

/// The reader estimates the length of such a file from its first frames, and would drop the rest.
#[test]
fn an_mp3_without_a_tag_is_decoded_to_its_end() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("x.mp3");
    let whole = samples(&path("vbr-48k-stereo.mp3"));
    let bytes = track("vbr-48k-stereo.mp3");
    let tag = find(&bytes, b"Xing");
    let first = (tag..bytes.len()).find(|&i| bytes[i..].starts_with(b"\xff\xfb")).unwrap();
    let frames = &bytes[first..];
    // Frames of silence, which are small, in front: a stream of variable bit rate.
    for (name, quiet) in [("as it is", 0), ("after silence", 40)] {
        // 32 kbit/s, 48 kHz, stereo: only a header and zeros.
        let silence = [&[0xff, 0xfb, 0x14, 0x00][..], &[0; 92]].concat();
        std::fs::write(&file, [silence.repeat(quiet), frames.to_vec()].concat()).unwrap();
        let found = samples(&file);
        assert_eq!(found.len() % 1152, 0, "{name}");
        // The encoder's delay and padding, which only the tag states, stay.
        let start = quiet * 1152 + 1105;
        assert!(found.len() >= start + whole.len() && found[start..][..whole.len()] == whole, "{name}");
        assert_eq!(AudioFile::open(&file, Damage::Refuse).unwrap().count().unwrap(), found.len() as u64, "{name}");
    }
}

/// Tags before and after the audio: with large pictures, several of them, invalid ones.
#[test]
fn tags_around_a_file_are_skipped() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("x.mp3");
    for name in ["tagged-44k1-mono.mp3", "no-xing-44k1-stereo.mp3", "adts-24k-mono.aac", "16-44k1-stereo.flac"] {
        let (expected, mut bytes) = (samples(&path(name)), track(name));
        if bytes.starts_with(b"ID3") {
            let size = bytes[6..10].iter().fold(0, |size, &byte| (size << 7) | usize::from(byte));
            bytes.drain(..10 + size);
        }
        // A picture full of bytes that look like frame headers (ID3v2.3, 4.15).
        let picture = [&b"\0image/jpeg\0\x03\0"[..], &b"\xff\xfb\x90\x00\xff\xd8\xff\xe0".repeat(300_000)].concat();
        let frame = [&b"APIC"[..], &(picture.len() as u32).to_be_bytes(), &[0, 0], &picture].concat();
        let size = [21, 14, 7, 0].map(|shift| (frame.len() >> shift) as u8 & 127);
        let id3v2 = [&b"ID3\x03\0\0"[..], &size, &frame].concat();
        let id3v1 = [&b"TAG"[..], &[b' '; 125]].concat();
        let small = |version: u8, flags: u8, content: &[u8]| {
            [&[b'I', b'D', b'3', version, 0, flags, 0, 0, 0, content.len() as u8][..], content].concat()
        };
        for (what, before, after) in [
            ("ID3v2", id3v2.clone(), &[][..]),
            ("both", id3v2, &id3v1),
            ("ID3v1", Vec::new(), &id3v1),
            ("two", [small(4, 0, &[0; 20]), small(3, 0, &[0; 20])].concat(), &[]),
            ("a footer", [small(4, 0x10, &[0; 20]), b"3DI\x04\0\x10\0\0\0\x14".to_vec()].concat(), &[]),
            ("an invalid extended header", small(4, 0x40, &[0xff; 100]), &[]),
            ("an unknown version", small(9, 0, &[0xff; 100]), &[]),
        ] {
            // After a raw stream of AAC, anything is a truncated frame.
            let after = if name.ends_with(".aac") { &[] } else { after };
            std::fs::write(&file, [&before[..], &bytes, after].concat()).unwrap();
            assert!(samples(&file) == expected, "{name}, {what}");
        }
    }
}

/// Formats that must be read twice cannot come from a pipe; the others can.
#[cfg(unix)]
#[test]
fn files_on_pipes_are_decoded_or_refused() {
    use std::os::fd::AsRawFd;
    let read = |name: &str, policy: &str| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let bytes = track(name);
        // The reader may close the pipe before the end.
        let writing = std::thread::spawn(move || drop(std::io::Write::write_all(&mut writer, &bytes)));
        let found = windows(format!("/dev/fd/{}", reader.as_raw_fd()).as_ref(), policy, Tail::Align);
        drop(reader);
        writing.join().unwrap();
        found
    };
    for name in ["no-xing-44k1-stereo.mp3", "s16-44k1-mono.wav", "16-44k1-stereo.flac", "adts-24k-mono.aac"] {
        let expected = windows(&path(name), "whole", Tail::Align).unwrap();
        assert!(read(name, "whole").unwrap() == expected, "{name}");
    }
    for name in ["no-xing-44k1-stereo.mp3", "adts-24k-mono.aac"] {
        assert!(matches!(read(name, "middle:1s"), Err(AudioError::InvalidWindow { .. })), "{name}");
    }
    for name in ["44k1-stereo.ogg", "aac-44k1-stereo.m4a"] {
        let error = read(name, "whole").unwrap_err();
        assert!(matches!(error, AudioError::NotSeekable { .. } | AudioError::UnknownFormat { .. }), "{name}: {error}");
    }
}

#[test]
fn files_that_are_not_audio_are_identified() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let open = |path: &std::path::Path| AudioFile::open(path, Damage::Keep).unwrap_err();
    assert!(matches!(open(&write("empty.wav", b"")), AudioError::EmptyFile));
    assert!(matches!(open(&folder.path().join("missing.wav")), AudioError::Open { source, .. }
        if source.kind() == std::io::ErrorKind::NotFound));
    assert!(matches!(open(folder.path()), AudioError::Open { source, .. }
        if source.kind() == std::io::ErrorKind::IsADirectory));
    let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &[0; 500]].concat();
    let jpeg = [&b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"[..], &[0x55; 5000], b"\xff\xd9"].concat();
    let text = "It was a dark and stormy night; the rain fell in torrents. ".repeat(100);
    let byte: &[u8] = b"R";
    for name in ["x.mp3", "x.wav", "x.flac", "x.ogg", "x.m4a", "x.aac", "x.aiff", "x"] {
        for bytes in [byte, b"RIFF", b"fLaC", b"OggS", b"\0\0\0\x08ftyp", &png, &jpeg, text.as_bytes(), &[0; 4096]] {
            let error = open(&write(name, bytes));
            let start = &bytes[..bytes.len().min(8)];
            let is_known = bytes == png || bytes == jpeg || bytes == [0; 4096];
            let is_right = match error {
                AudioError::NotAudio { .. } => is_known,
                AudioError::UnknownFormat { .. } => !is_known,
                _ => false,
            };
            assert!(is_right, "{name}, {start:?}: {error}");
        }
    }
}

#[test]
fn invalid_wav_headers_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wav");
    let error = |bytes: &[u8]| {
        let found = decode_bytes(&path, bytes, Damage::Refuse);
        assert!(found.samples.len() <= bytes.len());
        found.error.expect("an error")
    };
    let data = [1u8; 4000];
    for rate in [1, 999, 768_001, 4_000_000_000, u32::MAX] {
        let error = error(&Wav { rate, ..Wav::S16 }.with(&data));
        assert!(matches!(error, AudioError::InvalidRate { rate: found } if found == rate), "{rate}: {error}");
    }
    error(&Wav { rate: 0, ..Wav::S16 }.with(&data));
    for channels in [0, 65_535] {
        let error = error(&Wav { channels, ..Wav::S16 }.with(&data));
        assert!(!matches!(error, AudioError::DecoderPanicked { .. }) || cfg!(debug_assertions), "{channels}: {error}");
    }
    for (format, bits) in [(1, 0), (1, 7), (1, 64), (3, 16), (0, 16), (0xFFFF, 16), (0x55, 16)] {
        error(&Wav { format, bits, ..Wav::S16 }.with(&data));
    }
    // Without samples, and without a format.
    error(&Wav::S16.header()[..36]);
    let header = Wav::S16.with(&data);
    error(&[&header[..12], &header[36..]].concat());
}

#[test]
fn the_size_of_a_wav_file_may_be_unknown_but_not_wrong() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wav");
    let expected = noise(30_000);
    let data: Vec<u8> = expected.iter().flat_map(|x| x.to_le_bytes()).collect();
    let read = |bytes: Vec<u8>, damage| decode_bytes(&path, &bytes, damage);
    // Programs that write to a pipe do not know the size.
    for data in [&data[..], &[&data[..], b"\x01\x02\x03"].concat()] {
        let found = read(Wav::F32.with_size(u32::MAX, data), Damage::Refuse);
        assert!(found.error.is_none() && found.samples == expected, "{:?}", found.error);
        let middle = windows(&path, "middle:1s", Tail::Align).unwrap();
        assert!(middle[0].start == 3000 && middle[0].samples == expected[3000..27_000]);
    }
    let size = data.len() as u32;
    for more in [4, 400, 1_000_000_000] {
        let found = read(Wav::F32.with_size(size + more, &data), Damage::Refuse);
        let announced = (30_000.0 + f64::from(more) / 4.0) / 24_000.0;
        assert!(
            matches!(found.error, Some(AudioError::Truncated { found, announced: Some(a) })
                if found == 1.25 && (a - announced).abs() < 1e-9),
            "{more}: {:?}",
            found.error
        );
        let kept = read(Wav::F32.with_size(size + more, &data), Damage::Keep);
        assert!(kept.error.is_none() && kept.notes.len() == 1 && kept.samples == expected, "{more}");
    }
    // Other chunks after the samples, and incomplete frames.
    for (size, data) in [
        (size, [&data[..], b"LIST\x04\0\0\0INFO"].concat()),
        (size + 3, [&data[..], b"\x01\x02\x03"].concat()),
        (size, [&data[..], b"\x01"].concat()),
    ] {
        let found = read(Wav::F32.with_size(size, &data), Damage::Refuse);
        assert!(found.error.is_none() && found.samples == expected, "{:?}", found.error);
    }
    // A header that was never updated, and an empty file, alone and before other chunks.
    let found = read(Wav::F32.with_size(0, &data), Damage::Refuse);
    assert!(found.error.is_none() && found.samples == expected && found.notes.len() == 1, "{:?}", found.error);
    for data in [&b""[..], b"LIST\x04\0\0\0INFO"] {
        read(Wav::F32.with_size(0, data), Damage::Refuse);
        for policy in ["whole", "middle:1s", "sliding:1s"] {
            let error = windows(&path, policy, Tail::Align).unwrap_err();
            assert!(matches!(error, AudioError::TooShort { samples: 0, needed: 400 }), "{policy}: {error}");
        }
    }
}

#[test]
fn nan_and_infinity_are_refused_at_any_position() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wav");
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e31] {
        for index in [0, 1, 1151, 1152, 12_345, 29_999] {
            let mut signal = noise(30_000);
            signal[index] = value;
            let data: Vec<u8> = signal.iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(&path, Wav::F32.with(&data)).unwrap();
            for damage in [Damage::Refuse, Damage::Keep] {
                let found = decode(&path, damage);
                let Some(AudioError::NotFinite { index: at, seconds, value: was }) = found.error else {
                    panic!("{value} at {index}: {:?}", found.error)
                };
                assert_eq!((at, was.to_bits()), (index as u64, value.to_bits()));
                assert!((seconds - index as f64 / 24_000.0).abs() < 1e-9);
                assert!(found.samples.len() <= index && found.samples.iter().all(|x| x.is_finite()));
            }
        }
    }
    // Floats at the scale of 16-bit integers, which some programs write, are accepted, and the filter stays finite.
    for scale in [32_768.0f32, 1e30] {
        let data: Vec<u8> = noise(30_000).iter().flat_map(|x| (x.signum() * scale).to_le_bytes()).collect();
        std::fs::write(&path, Wav { rate: 44_100, ..Wav::F32 }.with(&data)).unwrap();
        let mut window = windows(&path, "whole", Tail::Align).unwrap().remove(0).samples;
        normalize(&mut window).unwrap();
        assert!(window.iter().all(|x| x.abs() < 10.0), "{scale}");
    }
}

#[test]
fn constant_samples_are_decoded_but_not_normalised() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.wav");
    for (value, rate) in [(0i16, 24_000), (0, 44_100), (8192, 24_000)] {
        std::fs::write(&path, Wav { rate, ..Wav::S16 }.with(&value.to_le_bytes().repeat(rate as usize))).unwrap();
        let mut found = windows(&path, "sliding:500ms", Tail::Align).unwrap();
        assert_eq!(found.len(), 2);
        for window in &mut found {
            let level = f32::from(value) / 32_768.0;
            assert!(window.samples.len() == 12_000 && window.samples.iter().all(|&x| x == level));
            assert!(matches!(normalize(&mut window.samples), Err(AudioError::Silent { value }) if value == level));
        }
    }
}

/// Refused, because half of the music is worse than none, and the next stream may have another rate.
#[test]
fn chained_ogg_streams_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.ogg");
    let (first, second) = (track("44k1-stereo.ogg"), track("24k-mono.ogg"));
    for chain in [[&first, &second], [&first, &first], [&second, &first]] {
        std::fs::write(&path, [&chain[0][..], chain[1]].concat()).unwrap();
        for policy in ["whole", "middle:1s", "sliding:1s/0.5s"] {
            let error = windows(&path, policy, Tail::Align).unwrap_err();
            assert!(matches!(error, AudioError::StreamChanged { .. }), "{policy}: {error}");
        }
        let seconds = if std::ptr::eq(chain[0], &first) { 2.5 } else { 2.3 };
        let kept = decode(&path, Damage::Keep);
        assert!(
            matches!(kept.error, Some(AudioError::StreamChanged { seconds: at, .. }) if at == seconds),
            "{:?}",
            kept.error
        );
    }
}

/// A box of an MP4 file.
fn atom(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

/// The boxes of an MP4 file, each with its type and content.
fn atoms(mut bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 8 {
        let size = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        found.push((bytes[4..8].try_into().unwrap(), &bytes[8..size]));
        bytes = &bytes[size..];
    }
    found
}

/// Replaces the content of every box of type `kind` in `bytes`, or removes the box.
fn change(bytes: &[u8], kind: &[u8; 4], with: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let inside = |name: &[u8; 4]| [*b"moov", *b"trak", *b"mdia", *b"edts"].contains(name);
    let rebuild = |(name, content): ([u8; 4], &[u8])| match () {
        () if name == *kind => with(content).map_or(Vec::new(), |content| atom(&name, &content)),
        () if inside(&name) => atom(&name, &change(content, kind, with)),
        () => atom(&name, content),
    };
    atoms(bytes).into_iter().flat_map(rebuild).collect()
}

/// The fixture has `moov` last: the sample table holds offsets in the file, so that changed boxes must come after them.
#[test]
fn an_mp4_edit_list_is_applied() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.m4a");
    let name = "aac-44k1-stereo.m4a";
    // With a time scale of 1/1000 s for the list, as in most files.
    let bytes =
        change(&track(name), b"mvhd", &|header| Some([&header[..12], &1000u32.to_be_bytes(), &header[16..]].concat()));
    let expected = samples(&self::path(name));
    let read = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        samples(&path)
    };
    // Without the list, the encoder's delay comes first, and the media's duration bounds the last packet.
    let without = read(change(&bytes, b"edts", &|_| None));
    let delay = without.len() - expected.len();
    assert_eq!(delay, 1024);
    assert!(without[delay..] == expected);
    // An entry has a duration in the movie's 1/1000 s, a start in the media's 1/44100 s, and a rate.
    let entries = |version: u8, entries: &[(u64, i64)]| {
        let mut list = vec![version, 0, 0, 0, 0, 0, 0, entries.len() as u8];
        for &(duration, start) in entries {
            match version {
                0 => list.extend([duration as u32, start as u32].iter().flat_map(|x| x.to_be_bytes())),
                _ => list.extend([duration, start as u64].iter().flat_map(|x| x.to_be_bytes())),
            }
            list.extend([0, 1, 0, 0]);
        }
        read(change(&bytes, b"elst", &|_| Some(list.clone())))
    };
    let entry = |version: u8, duration: u64, start: i64| entries(version, &[(duration, start)]);
    for version in [0, 1] {
        assert!(entry(version, 2000, 1024) == expected, "version {version}");
        assert!(entry(version, 1000, 1024) == expected[..44_100]);
        assert!(entry(version, 1000, 1024 + 777) == expected[777..777 + 44_100]);
        // A duration above that of the media, and an unknown one.
        assert!(entry(version, 60_000, 1024) == expected);
        assert!(entry(version, 0, 1024) == expected);
        // An empty edit, alone and before the music.
        assert!(entry(version, 2000, -1) == without);
        assert!(entries(version, &[(1500, -1), (1000, 1024)]) == expected[..44_100]);
        assert!(entries(version, &[(1500, -1), (1000, -1)]) == without);
        assert!(entries(version, &[(1500, 1024), (1000, 1024)]) == without, "two parts");
        assert!(entry(version, 2000, i64::from(u32::MAX) - 1).is_empty(), "a start after the end");
    }
    assert!(entry(1, u64::MAX, i64::MIN).is_empty(), "a start after the end of time");
    // Several entries and a truncated list are ignored.
    for list in [
        &b"\0\0\0\0\0\0\0\x02\0\0\x07\xd0\0\0\x04\0\0\x01\0\0\0\0\x07\xd0\0\0\x04\0\0\x01\0\0"[..],
        b"\0\0\0\0\0\0\0\x01",
    ] {
        let file = change(&bytes, b"elst", &|_| Some(list.to_vec()));
        std::fs::write(&path, file).unwrap();
        let found = decode(&path, Damage::Refuse);
        assert!(found.error.is_some() || found.samples == without, "{:?}", found.error);
    }
}

/// A file without an audio track, and one with an unknown codec.
#[test]
fn an_mp4_file_without_audio_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.m4a");
    let bytes = track("aac-44k1-stereo.m4a");
    let without = change(&bytes, b"trak", &|_| None);
    let codec = bytes.windows(4).rposition(|bytes| bytes == b"mp4a").unwrap();
    let mut unknown = bytes.clone();
    unknown[codec..][..4].copy_from_slice(b"zzzz");
    for file in [without, unknown] {
        std::fs::write(&path, file).unwrap();
        let error = AudioFile::open(&path, Damage::Refuse).unwrap_err();
        assert!(matches!(error, AudioError::Unsupported { .. } | AudioError::UnknownFormat { .. }), "{error}");
    }
}

#[test]
fn policies_are_read_back_as_they_are_written() {
    for (text, policy) in [
        ("whole", WindowPolicy::Whole),
        ("middle:30s", WindowPolicy::Middle(Seconds::new(30.0).unwrap())),
        ("middle:0.25s", WindowPolicy::Middle(Seconds::new(0.25).unwrap())),
        (
            "sliding:5s/2.5s",
            WindowPolicy::Sliding { length: Seconds::new(5.0).unwrap(), hop: Seconds::new(2.5).unwrap() },
        ),
    ] {
        assert_eq!(text.parse::<WindowPolicy>().unwrap(), policy);
        assert_eq!(policy.to_string(), text);
    }
    for (text, same) in [
        ("middle:250ms", "middle:0.25s"),
        ("middle:30", "middle:30s"),
        ("sliding:5s", "sliding:5s/5s"),
        ("sliding:5/500ms", "sliding:5s/0.5s"),
        ("sliding:1s/5s", "sliding:1s/5s"),
        ("middle:600000ms", "middle:600s"),
        ("middle:0.001ms", "middle:0.000001s"),
    ] {
        assert_eq!(text.parse::<WindowPolicy>().unwrap().to_string(), same);
    }
    for text in [
        "",
        "Whole",
        "whole ",
        "whole:",
        "whole:5s",
        "middle",
        "middle:",
        "middle:0s",
        "middle:-1s",
        "middle:NaN",
        "middle:inf",
        "middle:86400.1s",
        "middle:0.0001ms",
        "middle:5m",
        "middle:5s/2s",
        "sliding",
        "sliding:",
        "sliding:/",
        "sliding:5s/",
        "sliding:/5s",
        "sliding:5s/0s",
        "sliding:5s/-1s",
        "sliding:5s/2s/1s",
        "sliding:5s:2s",
        "other:5s",
        ":5s",
        "middle: 5s",
    ] {
        let error = text.parse::<WindowPolicy>().unwrap_err();
        assert!(matches!(&error, AudioError::InvalidWindow { found, .. } if found == text), "{text}: {error}");
    }
    // The constructor has the limits of the parser.
    assert_eq!(WindowPolicy::middle(0.4).unwrap(), "middle:0.4s".parse().unwrap());
    for (seconds, text) in
        [(0.0, "middle:0s"), (-1.0, "middle:-1s"), (f64::NAN, "middle:NaNs"), (600.5, "middle:600.5s")]
    {
        let error = WindowPolicy::middle(seconds).unwrap_err();
        assert!(matches!(&error, AudioError::InvalidWindow { found, .. } if found == text), "{seconds}: {error}");
    }
    for tail in [Tail::Align, Tail::Keep, Tail::Drop] {
        assert_eq!(tail.to_string().parse::<Tail>(), Ok(tail));
    }
    for text in ["", "Align", "keep ", "dropped"] {
        assert!(text.parse::<Tail>().is_err(), "{text}");
    }
}

#[test]
fn durations_are_read_back_as_they_are_written() {
    let micros = [1, 2, 999, 1000, 1001, 999_999, 1_000_000, 12_345_678, 86_399_999_999, 86_400_000_000u64];
    for micros in micros.into_iter().chain((1..1000).map(|i| i * 86_399_999)) {
        let seconds = Seconds::new(micros as f64 / 1e6).unwrap();
        assert_eq!(seconds.to_string().parse::<Seconds>(), Ok(seconds), "{micros} µs");
        assert_eq!(seconds.samples(1_000_000) as u64, micros);
    }
}

/// Some programs append the tags of MP3 files to FLAC files.
#[test]
fn tags_after_a_flac_file_are_not_damage() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.flac");
    let flac = track("16-24k-stereo.flac");
    let id3v1 = [&b"TAG"[..], &[b'x'; 125]].concat();
    let part = |flags: u32| {
        let sizes = [2000u32, 32 + 50, 1, flags].map(u32::to_le_bytes).concat();
        [&b"APETAGEX"[..], &sizes, &[0; 8]].concat()
    };
    let plain_ape = [&[b'i'; 50][..], &part(0)].concat();
    let ape = [part(0xa000_0000), vec![b'i'; 50], part(0x8000_0000)].concat();
    let count = |tags: &[&[u8]]| {
        std::fs::write(&path, [&flac[..], &tags.concat()].concat()).unwrap();
        AudioFile::open(&path, Damage::Refuse).unwrap().count().unwrap()
    };
    let expected = count(&[]);
    for tags in [&[&id3v1[..]][..], &[&ape], &[&plain_ape], &[&ape, &id3v1]] {
        assert_eq!(count(tags), expected);
    }
}
