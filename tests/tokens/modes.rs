//! `mert-tokens modes` on generated sound and the tiny model of `fixtures/clap-tiny`.

use std::path::{Path, PathBuf};

use mert_testkit::{fixture, runner};
use serde_json::Value;

/// Three seconds of 16-bit sound at 44.1 kHz: a tone, silence, noise from whole numbers.
fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("take.wav");
    let samples = (0..3 * 44_100i64).map(|i| match i / 44_100 {
        0 => ((i as f64 * 0.06).sin() * 12_000.0) as i16,
        1 => 0,
        _ => ((i * i * 7919 + i * 104_729) % 20_011 - 10_005) as i16,
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend([44_100u32, 88_200].map(u32::to_le_bytes).concat());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    let length = (wav.len() as u32 - 8).to_le_bytes();
    wav[4..8].copy_from_slice(&length);
    std::fs::write(&path, wav).unwrap();
    path
}

/// The exit status, the lines and the messages of the command.
fn modes(modes: &Path, input: &Path, options: &[&str]) -> (i32, Vec<Value>, String) {
    let mut command = runner::command("mert-tokens");
    command.arg("modes").arg(fixture("clap-tiny")).arg(modes).arg(input).args(options);
    let output = command.output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap_or(-1), lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_line_for_each_choice() {
    let folder = tempfile::tempdir().unwrap();
    let (file, take) = (fixture("clap-tiny/modes.json"), recording(folder.path()));
    let options = ["--seconds", "0.5", "--interval", "0.5", "--threshold", "-1", "--margin", "0", "--min-stay", "0"];
    let (code, lines, messages) = modes(&file, &take, &options);
    assert_eq!((code, lines.len(), messages.as_str()), (0, 6, ""));
    for (line, time) in lines.iter().zip([0.5, 1.0, 1.5, 2.0, 2.5, 3.0]) {
        assert_eq!(line["time"], time);
        let is_silent = time == 1.5 || time == 2.0;
        assert_eq!(line["reason"] == "silence", is_silent && line["scores"].is_null(), "{line}");
        if let Some(scores) = line["scores"].as_object() {
            assert_eq!(scores.keys().collect::<Vec<_>>(), ["bright", "dark", "still"]);
            let score = |name: &str| scores[name].as_f64().unwrap();
            let best = scores.keys().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
            assert_eq!(line["mode"], **best);
        }
    }
    // The tone and the noise are not the same sound.
    assert_ne!(lines[0]["scores"], lines[5]["scores"]);
    assert_eq!(modes(&file, &take, &options).1, lines);
    // A threshold that nothing reaches.
    let (_, lines, _) = modes(&file, &take, &["--seconds", "1", "--interval", "1", "--threshold", "1"]);
    assert!(lines.len() == 3 && lines.iter().all(|line| line["mode"].is_null()), "{lines:?}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, take) = (fixture("clap-tiny/modes.json"), recording(folder.path()));
    let refused = |(code, lines, message): (i32, Vec<Value>, String), words: &str| {
        assert!(code == 2 && lines.is_empty() && message.contains(words), "{words}: {code} {message}");
    };
    let other = folder.path().join("other.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let digest = &text[text.find(": \"").unwrap() + 3..][..64];
    std::fs::write(&other, text.replace(digest, &"0".repeat(64))).unwrap();
    refused(modes(&other, &take, &["--seconds", "1"]), "write the modes file again from this checkpoint");
    refused(modes(&file, &take, &["--seconds", "3"]), "invalid length of sound 3");
    refused(modes(&file, &take, &["--seconds", "1", "--threshold", "2"]), "invalid threshold 2");
    refused(modes(&take, &take, &["--seconds", "1"]), "take.wav");
    refused(modes(&file, &file, &["--seconds", "1"]), "not an audio file");
}
