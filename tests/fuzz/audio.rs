//! Audio files: every container that is read, with and without damage kept.

use std::path::{Path, PathBuf};

use mert_audio::{AudioFile, Damage};
use mert_testkit::{fixture, fuzz::Seed};

use super::fuzz_file;

/// The fixtures with one of these extensions; large ones would only make the runs slow.
fn corpus(extensions: &[&str]) -> Vec<Seed> {
    let mut files: Vec<PathBuf> = ["audio", "audio-formats"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(fixture(folder)).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|found| extensions.iter().any(|known| found == *known)))
        .collect();
    files.sort();
    let seeds: Vec<Seed> = files
        .iter()
        .map(|path| {
            let folder = path.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
            Seed::fixture(&format!("{folder}/{}", path.file_name().unwrap().to_string_lossy()))
        })
        .filter(|seed| seed.bytes.len() < 200_000)
        .collect();
    assert!(!seeds.is_empty(), "no fixture ends in {extensions:?}");
    seeds
}

/// Decodes a file to its end, in both ways of treating damage.
fn decode(path: PathBuf) -> Result<(), String> {
    for damage in [Damage::Refuse, Damage::Keep] {
        if let Err(error) = AudioFile::open(&path, damage).and_then(AudioFile::count)
            && error.to_string().trim().is_empty()
        {
            return Err("an error without a message".into());
        }
    }
    Ok(())
}

#[test]
fn ogg() {
    fuzz_file("ogg", corpus(&["ogg", "oga", "opus"]), Some(correct_page_checksums), decode);
}

#[test]
fn mp4() {
    fuzz_file("mp4", corpus(&["m4a", "mp4", "mov"]), None, decode);
}

#[test]
fn matroska() {
    fuzz_file("matroska", corpus(&["mka", "webm"]), None, decode);
}

#[test]
fn pcm_headers() {
    fuzz_file("pcm", corpus(&["wav", "aiff", "aifc", "caf", "au"]), None, decode);
}

#[test]
fn frames() {
    fuzz_file("frames", corpus(&["mp2", "mp3", "aac", "flac"]), None, decode);
}

/// Corrects the checksums of Ogg pages, so that a changed page is not skipped as damaged (RFC 3533, section 6).
fn correct_page_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(4).position(|window| window == b"OggS")) {
        let start = at + found;
        let Some(segments) = bytes.get(start + 26).copied().map(usize::from) else { return };
        let Some(table) = bytes.get(start + 27..start + 27 + segments) else { return };
        let end = start + 27 + segments + table.iter().map(|&length| usize::from(length)).sum::<usize>();
        if end > bytes.len() {
            return;
        }
        bytes[start + 22..start + 26].fill(0);
        let checksum = bytes[start..end].iter().fold(0u32, |crc, &byte| {
            (0..8)
                .fold(crc ^ (u32::from(byte) << 24), |crc, _| (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
        });
        bytes[start + 22..start + 26].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
}

/// Without a right checksum the repaired inputs would test nothing that the others do not.
#[test]
fn corrected_checksums_are_those_of_the_file() {
    for seed in corpus(&["ogg", "opus"]) {
        let mut corrected = seed.bytes.clone();
        correct_page_checksums(&mut corrected);
        assert!(corrected == seed.bytes, "{}", seed.name);
    }
}
