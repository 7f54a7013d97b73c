//! Containers and codecs beyond those of `tracks.rs`: their samples compared with FFmpeg and libopus, and the
//! handling of files that are truncated, changed, or of an unsupported format.

use std::path::PathBuf;

use mert_audio::{AudioError, AudioFile, Damage, ReadOptions, identify};
use mert_testkit::fixture;
use npyz::npz::NpzArchive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use crate::sound::{self, Decoded, decode, first_window, track};

/// The tolerance of exact samples.
const EXACT: f32 = 0.0;
/// The tolerance of f32 arithmetic in another order.
const ROUNDED: f32 = 3e-6;
/// The tolerance of a reference of 16 bits.
const BITS_16: f32 = 3.2e-5;

/// The supported files in `fixtures/audio-formats/`: name, container, codec, channels and tolerance.
const FILES: [(&str, &str, &str, usize, f32); 27] = [
    ("opus-stereo.opus", "ogg", "opus", 2, BITS_16),
    ("opus-silk-mono.opus", "ogg", "opus", 1, BITS_16),
    ("opus-5.1.opus", "ogg", "opus", 6, BITS_16),
    ("opus.webm", "matroska", "opus", 2, BITS_16),
    ("opus.mp4", "isomp4", "opus", 2, BITS_16),
    ("vorbis-5.1.ogg", "ogg", "vorbis", 6, ROUNDED),
    ("vorbis-5.1.webm", "matroska", "vorbis", 6, ROUNDED),
    ("vorbis.webm", "matroska", "vorbis", 2, ROUNDED),
    ("flac.oga", "ogg", "flac", 2, EXACT),
    ("flac.mka", "matroska", "flac", 2, EXACT),
    ("aac.mka", "matroska", "aac", 2, ROUNDED),
    ("mp3.mka", "matroska", "mp3", 2, ROUNDED),
    ("pcm-24.mka", "matroska", "pcm_s24le", 2, EXACT),
    ("alac.caf", "caf", "alac", 2, EXACT),
    ("pcm-24.caf", "caf", "pcm_s24be", 2, EXACT),
    ("mulaw.caf", "caf", "pcm_mulaw", 2, EXACT),
    ("pcm-16.au", "au", "pcm_s16be", 2, EXACT),
    ("float.au", "au", "pcm_f32be", 2, EXACT),
    ("alaw.au", "au", "pcm_alaw", 2, EXACT),
    ("mpeg-1.mp2", "mp2", "mp2", 2, BITS_16),
    ("adpcm-ms.wav", "wave", "adpcm_ms", 2, EXACT),
    ("adpcm-ima.wav", "wave", "adpcm_ima_wav", 2, EXACT),
    ("mp3.wav", "mp3", "mp3", 2, ROUNDED),
    ("aac.mov", "isomp4", "aac", 2, ROUNDED),
    ("pcm-24-big-endian.mov", "isomp4", "pcm_s24be", 2, EXACT),
    ("pcm-24-little-endian.mov", "isomp4", "pcm_s24le", 2, EXACT),
    ("float-big-endian.mov", "isomp4", "pcm_f32be", 2, EXACT),
];

/// The unsupported files in `fixtures/audio-formats/`, with the name in the error.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("unread-aac-5.1.m4a", "AAC with 6 channels"),
    ("unread-alac.mov", "ALAC in a QuickTime description"),
    ("unread-ima4.caf", "IMA4 ADPCM"),
    ("unread-wma.wma", "Windows Media Audio (WMA, ASF)"),
    ("unread-ac3.ac3", "Dolby Digital (AC-3 or E-AC-3)"),
    ("unread-tta.tta", "True Audio (TTA)"),
    ("unread-wavpack.wv", "WavPack"),
];

fn path(name: &str) -> PathBuf {
    fixture("audio-formats").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// The samples of a file in `fixtures/audio-formats/`, which decodes without an error or a note.
fn whole(name: &str) -> Vec<f32> {
    let Decoded { samples, notes, error } = decode(&path(name), Damage::Refuse);
    assert!(error.is_none() && notes.is_empty(), "{name}: {error:?}, {notes:?}");
    samples
}

/// The largest difference of two samples.
fn worst(found: &[f32], expected: &[f32]) -> f32 {
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn samples_are_those_of_ffmpeg_and_libopus() {
    let mut archive = NpzArchive::open(path("reference.npz")).unwrap();
    for (name, container, codec, channels, tolerance) in FILES {
        let mut expected: Vec<f32> = archive.by_name(name).unwrap().unwrap().into_vec().unwrap();
        // FFmpeg 5.1 ignores the end that the last page states.
        if name == "vorbis-5.1.ogg" {
            expected.truncate(8000);
        }
        let found = whole(name);
        assert_eq!(found.len(), expected.len(), "{name}");
        let worst = worst(&found, &expected);
        assert!(worst <= tolerance, "{name}: off by {worst:e}");
        assert!(found.iter().any(|x| x.abs() > 0.1), "{name}: silent");
        let file = AudioFile::open(&path(name), Damage::Refuse).unwrap();
        let info = file.info().clone();
        assert_eq!((info.container, info.codec, info.channels), (container, codec, channels), "{name}");
        assert!(info.frames.is_none_or(|frames| frames == found.len() as u64), "{name}: {:?}", info.frames);
        assert_eq!(file.count().unwrap(), found.len() as u64, "{name}");
    }
    let on_disk = std::fs::read_dir(fixture("audio-formats")).unwrap().count();
    assert_eq!(on_disk, FILES.len() + UNSUPPORTED.len() + 2, "every fixture is in a list");
}

#[test]
fn the_middle_equals_that_of_the_whole() {
    for (name, ..) in FILES {
        let whole = first_window(&path(name), "whole", Damage::Refuse).unwrap();
        for (length, samples) in [("20ms", 480), ("101ms", 2424)] {
            let found = first_window(&path(name), &format!("middle:{length}"), Damage::Refuse).unwrap();
            let start = (whole.len() - samples) / 2;
            assert!(found == whole[start..start + samples], "{name}, {length}");
        }
    }
}

#[test]
fn unsupported_formats_are_named_with_a_command_to_convert_them() {
    for (name, what) in UNSUPPORTED {
        for damage in [Damage::Refuse, Damage::Keep] {
            let error = AudioFile::open(&path(name), damage).unwrap_err();
            let AudioError::Unsupported { what: found, command, ffmpeg: true } = &error else {
                panic!("{name}: {error}")
            };
            assert_eq!(found, what);
            let stem = path(name).with_extension("flac");
            assert_eq!(command, &format!("ffmpeg -i {} -map 0:a:0 {}", path(name).display(), stem.display()));
            assert!(error.to_string().contains(command.as_str()) && error.to_string().contains("--ffmpeg"), "{error}");
        }
    }
    for (name, is_supported) in FILES.map(|file| (file.0, true)).into_iter().chain([("unread-wma.wma", false)]) {
        assert_eq!(identify(&path(name)).unwrap().unwrap().is_supported(), is_supported, "{name}");
    }
}

/// A header further inside belongs to embedded data.
#[test]
fn only_the_first_bytes_of_a_file_determine_its_format() {
    let folder = TempDir::new().unwrap();
    let (wav, flac) = (track("s16-16k-stereo.wav"), track("16-24k-stereo.flac"));
    for name in ["x.wav", "x.flac", "x.mp3", "x"] {
        let file = folder.path().join(name);
        for inside in [&wav, &flac] {
            for (mark, what) in
                [(&b"wvpk"[..], "WavPack"), (b"MAC \x96\x0f", "Monkey's Audio (APE)"), (b"OFR ", "OptimFROG")]
            {
                std::fs::write(&file, [mark, &[0x11; 60], inside].concat()).unwrap();
                for damage in [Damage::Refuse, Damage::Keep] {
                    let error = AudioFile::open(&file, damage).unwrap_err();
                    assert!(
                        matches!(&error, AudioError::Unsupported { what: found, .. } if found == what),
                        "{name}: {error}"
                    );
                }
            }
            std::fs::write(&file, [b"what nobody knows, ", &inside[..]].concat()).unwrap();
            let error = AudioFile::open(&file, Damage::Keep).unwrap_err();
            assert!(error.to_string().contains("`what nobody know`"), "{error}");
        }
    }
    for (content, what) in [
        ("<!DOCTYPE html><html><head><title>404 Not Found</title>", "HTML"),
        ("{\"error\": \"not found\"}", "JSON"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    ] {
        let file = folder.path().join("x.mp3");
        std::fs::write(&file, content).unwrap();
        let error = AudioFile::open(&file, ReadOptions { ffmpeg: true, ..ReadOptions::default() }).unwrap_err();
        assert!(matches!(&error, AudioError::NotAudio { what: found } if found.contains(what)), "{error}");
    }
}

/// Frames after junk are decoded, as by many players.
#[test]
fn frames_may_follow_junk() {
    let folder = TempDir::new().unwrap();
    for (name, extension) in [("no-xing-44k1-stereo.mp3", "mp3"), ("adts-24k-mono.aac", "aac")] {
        let file = folder.path().join("x").with_extension(extension);
        let (stream, expected) = (track(name), sound::whole(name));
        for junk in [&[0; 1000][..], b"some text that a program put there", &[0x55; 3000]] {
            std::fs::write(&file, [junk, &stream].concat()).unwrap();
            let found = decode(&file, Damage::Keep);
            assert!(found.error.is_none() && found.samples == expected, "{name}: {:?}", found.error);
        }
    }
}

/// The files that state neither their length nor their end.
const WITHOUT_END: [&str; 1] = ["mpeg-1.mp2"];

#[test]
fn a_truncated_file_is_an_error_or_noted() {
    let folder = TempDir::new().unwrap();
    for (name, ..) in FILES {
        let (content, expected, path) = (bytes(name), whole(name), folder.path().join(name));
        for part in [0.2, 0.5, 0.8, 0.97] {
            let length = (content.len() as f64 * part) as usize;
            std::fs::write(&path, &content[..length]).unwrap();
            let refused = decode(&path, Damage::Refuse);
            let is_silent = refused.error.is_none() && refused.samples.len() < expected.len();
            assert!(!is_silent || WITHOUT_END.contains(&name), "{name}, {part}: {} samples", refused.samples.len());
            let kept = decode(&path, Damage::Keep);
            if kept.error.is_none() && !WITHOUT_END.contains(&name) {
                assert!(!kept.notes.is_empty() && kept.samples.len() <= expected.len(), "{name}, {part}");
                let same = kept.samples.len().min(refused.samples.len());
                assert!(kept.samples[..same] == refused.samples[..same], "{name}, {part}");
            }
        }
    }
}

#[test]
fn changed_bytes_never_cause_a_panic() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x");
    for (name, ..) in FILES {
        let (content, expected) = (bytes(name), whole(name));
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut refused = 0;
        for variant in 0..120 {
            let mut changed = content.clone();
            let range = if rng.random() { changed.len() } else { changed.len().min(500) };
            for _ in 0..[1, 3, 30][rng.random_range(0..3)] {
                let place = rng.random_range(0..range);
                changed[place] =
                    if rng.random() { rng.random() } else { changed[place] ^ (1 << rng.random_range(0..8)) };
            }
            std::fs::write(&path, &changed).unwrap();
            for damage in [Damage::Refuse, Damage::Keep] {
                let found = decode(&path, damage);
                let panicked = matches!(found.error, Some(AudioError::DecoderPanicked { .. }));
                assert!(!panicked, "{name}, variant {variant}: {:?}", found.error);
                assert!(found.samples.iter().all(|x| x.is_finite()), "{name}, variant {variant}");
                assert!(found.samples.len() <= 40 * expected.len(), "{name}, variant {variant}: too many samples");
                refused += usize::from(found.error.is_some());
                let _ = first_window(&path, "middle:20ms", damage);
            }
        }
        println!("{name}: {refused} of 240 refused");
    }
}
