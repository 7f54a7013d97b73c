//! Truncated and changed files: they are detected where the format allows it, and never cause a panic.

use std::path::Path;
use std::time::{Duration, Instant};

use mert_audio::{AudioError, Damage, Tail, Track};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::sound::{TRACKS, WITHOUT_LENGTH, decode_bytes as read, find, first_window, is_lossless, track, whole};

/// The number of samples that a lossy file with a stated length may lack without an error.
const LOSSY_TOLERANCE: usize = 2304;

/// The tracks that cannot be decoded at all without their end: MP4 with `moov` last.
const NEEDS_ITS_END: [&str; 4] =
    ["aac-24k-stereo.m4a", "aac-44k1-stereo.m4a", "alac-16-22k05-stereo.m4a", "no-edit-list-44k1-mono.m4a"];

#[test]
fn a_truncated_file_is_an_error_if_its_format_can_tell() {
    let folder = TempDir::new().unwrap();
    for (name, _, codec, ..) in TRACKS {
        let (bytes, expected, path) = (track(name), whole(name), folder.path().join(name));
        let parts = [0.003, 0.1, 0.37, 0.5, 0.9, 0.99].map(|part| (bytes.len() as f64 * part) as usize);
        let few = [1, 2, 3, 5, 17, 100, 131, 500].map(|few| bytes.len() - few);
        for length in parts.into_iter().chain(few) {
            let refused = read(&path, &bytes[..length], Damage::Refuse);
            let found = refused.samples.len();
            assert!(expected.starts_with(&refused.samples), "{name}, {length} bytes: other samples");
            let missing = expected.len() - found;
            match refused.error {
                Some(AudioError::Truncated { found: seconds, .. }) => {
                    assert!(!NEEDS_ITS_END.contains(&name) && seconds >= 0.0, "{name}, {length} bytes");
                }
                Some(AudioError::UnknownFormat { .. } | AudioError::Incomplete { .. }) => assert_eq!(found, 0),
                Some(error) => panic!("{name}, {length} bytes: {error}"),
                None if is_lossless(codec) || codec == "vorbis" => assert_eq!(missing, 0, "{name}, {length} bytes"),
                None if WITHOUT_LENGTH.contains(&name) => {
                    assert!(name.ends_with(".mp3"), "{name}, {length} bytes: AAC frames state their sizes");
                }
                None => assert!(missing <= LOSSY_TOLERANCE, "{name}, {length} bytes: {missing} samples are missing"),
            }
        }
    }
}

#[test]
fn the_rest_of_a_truncated_file_is_decoded_with_a_note() {
    let folder = TempDir::new().unwrap();
    for (name, ..) in TRACKS {
        let (bytes, expected, path) = (track(name), whole(name), folder.path().join(name));
        for part in [0.1, 0.5, 0.9, 0.99] {
            let length = (bytes.len() as f64 * part) as usize;
            let (kept, refused) =
                (read(&path, &bytes[..length], Damage::Keep), read(&path, &bytes[..length], Damage::Refuse));
            if matches!(refused.error, Some(AudioError::UnknownFormat { .. } | AudioError::Incomplete { .. })) {
                let is_without_audio = name.ends_with(".ogg") && part <= 0.5 || name.starts_with("alac-24");
                assert!(NEEDS_ITS_END.contains(&name) || is_without_audio, "{name}, {part}");
                continue;
            }
            assert!(kept.error.is_none(), "{name}, {part}: {:?}", kept.error);
            assert!(expected.starts_with(&kept.samples), "{name}, {part}: other samples");
            assert_eq!(kept.notes.len(), usize::from(refused.error.is_some()), "{name}, {part}: {:?}", kept.notes);
            if name.ends_with(".ogg") || name.ends_with(".flac") {
                // A page or frame holds up to a second of these files.
                assert!(part < 0.5 || !kept.samples.is_empty(), "{name}, {part}");
                continue;
            }
            let left = kept.samples.len() as f64 / expected.len() as f64;
            assert!(left > part - 0.12 && left <= part + 0.12, "{name}, {part}: {left} is left");
        }
    }
}

/// Damaged frames of a FLAC file become silence, and the others keep their positions.
#[test]
fn only_damaged_frames_become_silence() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x");
    for (name, _, codec, ..) in TRACKS.into_iter().filter(|track| ["flac", "aac", "mp3"].contains(&track.2)) {
        let (bytes, expected) = (track(name), whole(name));
        let mut damaged_samples = 0;
        for (number, part) in [0.3, 0.4, 0.5, 0.6].into_iter().enumerate() {
            let mut changed = bytes.clone();
            let place = (bytes.len() as f64 * part) as usize;
            for byte in &mut changed[place..place + 3 * number] {
                *byte ^= 0x5a;
            }
            let kept = read(&path, &changed, Damage::Keep);
            assert!(kept.error.is_none(), "{name}: {:?}", kept.error);
            if codec != "flac" {
                // One or two packets, an MP3 frame without its header, and the data that its neighbours share with it.
                let off = expected.len().abs_diff(kept.samples.len());
                assert!(off <= 3 * 1152, "{name}, {part}: {off} samples more or fewer");
                assert!(kept.samples[..expected.len() / 5] == expected[..expected.len() / 5], "{name}, {part}");
                continue;
            }
            assert_eq!(kept.samples.len(), expected.len(), "{name}, {part}");
            let changes: Vec<usize> = (0..expected.len()).filter(|&i| kept.samples[i] != expected[i]).collect();
            assert_eq!(changes.is_empty(), kept.notes.is_empty(), "{name}, {part}");
            if let (Some(&first), Some(&last)) = (changes.first(), changes.last()) {
                assert!(last - first < 2 * 4608, "{name}, {part}: {first} to {last} differ");
                assert!(kept.samples[first..=last].iter().all(|&x| x == 0.0), "{name}, {part}");
                damaged_samples += last - first;
            }
        }
        assert!(codec != "flac" || damaged_samples > 0, "{name}");
    }
}

/// The middle of a truncated file is that of the rest, and the missing end is noted as well.
#[test]
fn the_middle_of_a_truncated_file_is_that_of_the_rest() {
    let folder = TempDir::new().unwrap();
    for name in
        ["s16-44k1-mono.wav", "16-44k1-stereo.flac", "cbr-44k1-stereo.mp3", "44k1-stereo.ogg", "f32-24k-mono.wav"]
    {
        let (bytes, path) = (track(name), folder.path().join(name));
        // The first audio page of this OGG file is half of it.
        for part in [0.35, 0.45, 0.55, 0.9].into_iter().filter(|&part| part > 0.5 || !name.ends_with(".ogg")) {
            std::fs::write(&path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
            let open = |policy: &str| {
                let track = Track::open(&path, 24_000, Damage::Keep).unwrap();
                let mut windows = track.windows(&policy.parse().unwrap(), Tail::Align, 400).unwrap();
                let window = windows.next_window().unwrap().unwrap();
                (window, windows.source().notes().to_vec())
            };
            let ((whole, notes), (middle, same_notes)) = (open("whole"), open("middle:0.2s"));
            let start = (whole.samples.len() - 4800) / 2;
            assert!(middle.start == start as u64 && middle.samples == whole.samples[start..start + 4800], "{name}");
            assert_eq!(same_notes, notes, "{name}");
            assert_eq!(notes.len(), 1, "{name}: {notes:?}");
            assert!(matches!(read_middle(&path, Damage::Refuse), Err(AudioError::Truncated { .. }) | Ok(_)), "{name}");
        }
    }
}

/// The decoder starts long before the middle, at a frame that claims to be mono: it must not refuse all others, which
/// are stereo.
#[test]
fn a_wrong_frame_before_the_middle_does_not_silence_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.mp3");
    let bytes = track("no-xing-44k1-stereo.mp3").repeat(12);
    std::fs::write(&path, &bytes).unwrap();
    let expected = read_middle(&path, Damage::Refuse).unwrap();
    // 128 kbit/s at 44.1 kHz, with and without a byte of padding.
    let is_frame = |i: &usize| bytes[*i..].starts_with(b"\xff\xfb") && bytes[i + 2] & !2 == 0x90;
    let frames: Vec<usize> = (0..bytes.len() - 4).filter(is_frame).collect();
    let start = frames.len() / 2 - 260;
    for &frame in &frames[start - 8..start + 8] {
        let mut changed = bytes.clone();
        changed[frame + 3] |= 0xc0;
        std::fs::write(&path, changed).unwrap();
        assert!(read_middle(&path, Damage::Keep).unwrap() == expected);
    }
}

/// The encoder's delay is trimmed from the first frames of MP3, and from the silence that replaces damaged ones.
#[test]
fn silence_for_the_first_frames_of_mp3_has_their_length() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.mp3");
    for (name, side_information) in [("cbr-44k1-stereo.mp3", 32), ("tagged-44k1-mono.mp3", 17)] {
        let (bytes, expected) = (track(name), whole(name));
        let tag = bytes.windows(4).position(|bytes| bytes == b"Info" || bytes == b"Xing").unwrap();
        let header = (tag..bytes.len()).find(|&i| bytes[i..].starts_with(b"\xff\xfb")).unwrap();
        let mut changed = bytes.clone();
        changed[header + 4..header + 4 + side_information].fill(0xff);
        let kept = read(&path, &changed, Damage::Keep);
        assert!(kept.error.is_none() && kept.notes.len() == 1, "{name}: {:?}, {:?}", kept.error, kept.notes);
        assert_eq!(kept.samples.len(), expected.len(), "{name}");
        assert!(kept.samples[24_000..] == expected[24_000..], "{name}");
    }
}

/// A Xing tag may state any number of frames: 2^32 - 1 would be years of silence.
#[test]
fn an_implausible_frame_count_is_not_filled_with_silence() {
    let (bytes, folder) = (track("vbr-48k-stereo.mp3"), TempDir::new().unwrap());
    let path = folder.path().join("claims.mp3");
    let tag = find(&bytes, b"Xing");
    let mut damaged = bytes.clone();
    damaged[tag + 8..tag + 12].fill(0xff);
    let middle = damaged.len() / 2;
    damaged[middle..middle + 2000].fill(0);
    let started = Instant::now();
    let kept = read(&path, &damaged, Damage::Keep);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let (found, whole) = (kept.samples.len(), whole("vbr-48k-stereo.mp3").len());
    assert!(found <= whole && found > whole / 2, "{found} of {whole} samples");
}

/// A file with a length of zero and without an MD5, as FLAC encoders write it to a pipe: only the frames have
/// checksums.
#[test]
fn a_flac_file_without_length_and_checksum_does_not_lose_a_frame_silently() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.flac");
    let name = "16-44k1-stereo.flac";
    let mut bytes = track(name);
    // The last bits of the length in STREAMINFO, and the MD5.
    bytes[8 + 13] &= 0xf0;
    bytes[8 + 14..8 + 34].fill(0);
    let expected = whole(name);
    assert!(read(&path, &bytes, Damage::Refuse).samples == expected);
    for part in [0.3, 0.5, 0.7] {
        let mut changed = bytes.clone();
        changed[(bytes.len() as f64 * part) as usize] ^= 1;
        let refused = read(&path, &changed, Damage::Refuse);
        assert!(matches!(refused.error, Some(AudioError::Damaged { .. })), "{part}: {:?}", refused.error);
        assert_eq!(read(&path, &changed, Damage::Keep).samples.len(), expected.len());
        // Without a stated length, a truncated file is only a shorter one.
        let cut = read(&path, &bytes[..(bytes.len() as f64 * part) as usize], Damage::Refuse);
        assert!(cut.error.is_none() && expected.starts_with(&cut.samples) && !cut.samples.is_empty());
    }
}

/// A track of each container and codec, and of each way to state a length.
const KINDS: [&str; 13] = [
    "s16-16k-stereo.wav",
    "f32-24k-mono.wav",
    "extensible-s16-8k-5.1.wav",
    "s16-32k-mono.aiff",
    "f32-8k-mono.aifc",
    "16-24k-stereo.flac",
    "24k-mono.ogg",
    "aac-24k-stereo.m4a",
    "aac-48k-mono.m4a",
    "alac-16-22k05-stereo.m4a",
    "adts-24k-mono.aac",
    "lame-32k-mono.mp3",
    "no-xing-44k1-stereo.mp3",
];

/// Changes some bytes, in half of the cases only in the header.
fn corrupt(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let range = if rng.random() { bytes.len() } else { bytes.len().min(600) };
    let changes = [1, 1, 3, 40][rng.random_range(0..4)];
    for _ in 0..changes {
        let place = rng.random_range(0..range);
        bytes[place] = match rng.random_range(0..4) {
            0 => rng.random(),
            1 => [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
            _ => bytes[place] ^ (1 << rng.random_range(0..8)),
        };
    }
    // In one of eight cases, a section is lost, doubled or moved.
    if rng.random_range(0..8) == 0 {
        let (from, to) = (rng.random_range(0..bytes.len()), rng.random_range(0..bytes.len()));
        let piece = bytes[from..(from + 1000).min(bytes.len())].to_vec();
        let replaced = to..(to + rng.random_range(0..1000)).min(bytes.len());
        bytes.splice(replaced, piece);
    }
}

/// The samples of a short window from the middle, before which most packets are skipped.
fn read_middle(path: &Path, damage: Damage) -> Result<Vec<f32>, AudioError> {
    first_window(path, "middle:20ms", damage)
}

#[test]
fn changed_bytes_never_cause_a_panic() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x");
    for name in KINDS {
        let (bytes, expected) = (track(name), whole(name));
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (mut refused, mut same, mut other) = (0, 0, 0);
        for variant in 0..200 {
            let mut changed = bytes.clone();
            corrupt(&mut changed, &mut rng);
            for damage in [Damage::Refuse, Damage::Keep] {
                let start = Instant::now();
                let found = read(&path, &changed, damage);
                assert!(start.elapsed() < Duration::from_secs(20), "{name}, variant {variant}: it hangs");
                let panicked = matches!(found.error, Some(AudioError::DecoderPanicked { .. }));
                assert!(!panicked, "{name}, variant {variant}: {:?}", found.error);
                assert!(found.samples.iter().all(|x| x.is_finite()), "{name}, variant {variant}");
                // Without checksums, a wrong number of channels or bits gives as many times more samples.
                assert!(found.samples.len() <= 8 * expected.len(), "{name}, variant {variant}: too many samples");
                match read_middle(&path, damage) {
                    Ok(samples) => assert!(samples.iter().all(|x| x.is_finite()), "{name}, variant {variant}"),
                    Err(AudioError::DecoderPanicked { reason }) => panic!("{name}, variant {variant}: {reason}"),
                    Err(_) => {}
                }
                if damage == Damage::Keep {
                    continue;
                }
                match found.error {
                    Some(_) => refused += 1,
                    None if found.samples == expected => same += 1,
                    None => other += 1,
                }
            }
        }
        println!("{name}: {refused} refused, {same} equal, {other} different");
        let has_checksums = name.ends_with(".flac") || name.ends_with(".ogg");
        assert!(!has_checksums || other == 0, "{name}: {other} changes were not detected");
        assert!(refused > 15, "{name}: {refused} refused");
    }
}

/// The loss of the first audio page is the hardest to detect, because a reader takes the length from it.
#[test]
fn a_missing_page_of_an_ogg_file_is_detected() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.ogg");
    for name in ["24k-mono.ogg", "44k1-stereo.ogg"] {
        let (bytes, expected) = (track(name), whole(name));
        let starts: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i..].starts_with(b"OggS\0")).collect();
        assert_eq!(starts.len(), 5, "{name}");
        for (number, &start) in starts.iter().enumerate() {
            let end = starts.get(number + 1).copied().unwrap_or(bytes.len());
            let without = [&bytes[..start], &bytes[end..]].concat();
            let mut changed = bytes.clone();
            changed[end - 10] ^= 1;
            for (what, file) in [("missing", without), ("changed", changed)] {
                let refused = read(&path, &file, Damage::Refuse);
                assert!(refused.error.is_some(), "{name}, page {number}");
                // The first two pages hold headers, and the reader fails on a third one that is damaged.
                let kept = read(&path, &file, Damage::Keep);
                if number > 2 || number == 2 && what == "missing" {
                    assert!(kept.error.is_none() && !kept.notes.is_empty(), "{name}, page {number}: {:?}", kept.error);
                    assert!(!kept.samples.is_empty() && kept.samples.len() < expected.len(), "{name}, page {number}");
                }
            }
        }
    }
}

/// A decoder reserves a packet of samples for each channel: 65535 of them are hundreds of megabytes.
#[test]
fn a_header_that_states_thousands_of_channels_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.au");
    for (channels, is_read) in [(1024u32, true), (1025, false), (65_535, false)] {
        let data = vec![3; 2 * channels as usize];
        // AU: the offset and size of the samples, 8-bit PCM, the rate and the number of channels.
        let numbers = [24, data.len() as u32, 2, 24_000, channels].map(u32::to_be_bytes).concat();
        let decoded = read(&path, &[b".snd", &numbers[..], &data].concat(), Damage::Keep);
        match decoded.error {
            None => assert!(is_read && decoded.samples.len() == 2, "{channels}: {} samples", decoded.samples.len()),
            Some(error) => {
                assert!(!is_read && error.to_string().contains(&format!("{channels} channels")), "{channels}: {error}")
            }
        }
    }
}
