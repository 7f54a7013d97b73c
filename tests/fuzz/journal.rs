//! The journal of `mert-embed`, which an interrupted run leaves and the next one continues.

use std::path::Path;

use mert_embed::{Journal, parse_journal};
use mert_testkit::fuzz::{Seed, Target};
use mert_testkit::{fixture, runner};

use super::{bounded, folder};

/// The journal of a run over three files that was stopped by a fourth, which cannot be read.
fn interrupted(folder: &Path) -> Vec<u8> {
    let audio = |name: &str| fixture("audio").join(name);
    std::fs::write(folder.join("broken.wav"), b"RIFF").unwrap();
    let output = folder.join("out.npy");
    let run = runner::run(
        "mert-embed",
        [
            fixture("mert-tiny/model.safetensors"),
            audio("f32-24k-mono.wav"),
            audio("s16-16k-stereo.wav"),
            audio("24k-mono.ogg"),
            folder.join("broken.wav"),
            "-o".into(),
            output.clone(),
            "--strict".into(),
            "--jobs=1".into(),
        ],
    );
    assert_eq!(run.code, 2, "{}", run.stderr);
    std::fs::read(Journal::path_for(&output)).unwrap()
}

/// A record's header: the length and the CRC-32 of its content, both u32. The content begins with a byte for its kind.
const HEADER: usize = 8;

#[test]
fn journal() {
    let _alone = super::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = folder();
    let bytes = interrupted(folder.path());
    let run = |input: &Seed| {
        bounded(input.bytes.len(), || {
            parse_journal(&input.bytes);
            Ok(())
        })
    };
    let corpus = vec![Seed { name: "out.npy.journal".into(), bytes }];
    Target { name: "journal", corpus, repair: Some(correct_checksums), run: &run }.fuzz();
}

/// Corrects the checksums of the records, as far as their lengths lead.
fn correct_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = bytes.get(at..at + HEADER) {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let end = at + HEADER + length;
        let Some(content) = bytes.get(at + HEADER..end) else { return };
        let checksum = crc32fast::hash(content);
        bytes[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
}

#[test]
fn corrected_checksums_are_those_of_the_file() {
    let folder = folder();
    let bytes = interrupted(folder.path());
    let mut corrected = bytes.clone();
    correct_checksums(&mut corrected);
    assert!(corrected == bytes);
}
