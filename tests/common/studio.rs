//! Generated music, a tiny model and `mert-tokens` on them, for the tests of its subcommands.

use std::fs;
use std::path::{Path, PathBuf};

use mert_testkit::runner;
use tempfile::TempDir;

use crate::embeddings;

pub(crate) const RATE: u32 = 24_000;

pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn tokens(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Run {
    run_with(arguments, &[])
}

pub(crate) fn run_with(arguments: &[&dyn AsRef<std::ffi::OsStr>], variables: &[(&str, &str)]) -> Run {
    let mut command = runner::command("mert-tokens");
    arguments.iter().for_each(|argument| {
        command.arg(argument.as_ref());
    });
    variables.iter().for_each(|(name, value)| {
        command.env(name, value);
    });
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn done(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Run {
    let run = tokens(arguments);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run
}

pub(crate) fn refused(arguments: &[&dyn AsRef<std::ffi::OsStr>], words: &[&str]) {
    let run = tokens(arguments);
    assert_eq!(run.code, 2, "{}", run.stderr);
    for word in words {
        assert!(run.stderr.contains(word), "{word} is not in: {}", run.stderr);
    }
}

/// A melody of decaying notes on a steady pulse, whose keys repeat a phrase.
pub(crate) fn melody(seconds: f64, seed: u64) -> Vec<f32> {
    let keys = [57u64, 60, 64, 69, 64, 60, 62, 65];
    (0..(seconds * f64::from(RATE)) as usize)
        .map(|sample| {
            let time = sample as f64 / f64::from(RATE);
            let note = (time / 0.25) as u64;
            let key = keys[((note + seed) % keys.len() as u64) as usize] as f64;
            let hertz = 440.0 * 2f64.powf((key - 69.0) / 12.0);
            let age = time - note as f64 * 0.25;
            let tone: f64 =
                (1..5).map(|n| (std::f64::consts::TAU * hertz * f64::from(n) * age).sin() / f64::from(n)).sum();
            (0.3 * tone * (-6.0 * age).exp()) as f32
        })
        .collect()
}

pub(crate) fn write_wav(path: &Path, samples: &[f32]) {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((data.len() as u32 + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    for number in [16u32, 0x1_0003, RATE, RATE * 4, 0x20_0004] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

/// A folder with music and a model.
pub(crate) struct Studio {
    pub(crate) folder: TempDir,
    pub(crate) model: PathBuf,
    pub(crate) music: PathBuf,
}

impl Studio {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let model = embeddings::model(&folder);
        let music = folder.path().join("music");
        fs::create_dir(&music).unwrap();
        for seed in 0..4 {
            write_wav(&music.join(format!("{seed}.wav")), &melody(12.0 + seed as f64, seed));
        }
        Studio { folder, model, music }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn vocabulary(&self) -> PathBuf {
        let output = self.at("vocabulary.safetensors");
        self.train(&output, &[], "--quiet");
        output
    }

    /// A training of 16 tokens of hidden state 6 on all frames of the music, with environment variables and one option more.
    pub(crate) fn train(&self, output: &Path, variables: &[(&str, &str)], option: &str) -> Run {
        let options = ["--k", "16", "--layer", "6", "--frames", "100000"];
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"train", &self.model, &self.music, &"-o", &output, &option];
        options.iter().for_each(|option| arguments.push(option));
        let run = run_with(&arguments, variables);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run
    }

    pub(crate) fn oracle(&self, vocabulary: &Path) -> PathBuf {
        let (events, oracle) = (self.at("events.jsonl"), self.at("oracle.json"));
        done(&[&"events", &self.model, &vocabulary, &self.music, &"-o", &events, &"--quiet"]);
        done(&[&"oracle", &events, &"-o", &oracle]);
        oracle
    }
}
