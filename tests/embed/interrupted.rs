//! Runs of `mert-embed` that are interrupted, killed or started twice, and the runs that continue their journals.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mert_testkit::runner;
use tempfile::TempDir;

use crate::embeddings::{model, read, samples_of, track};

/// Rows of standard input in an earlier run are not those of this run.
#[test]
fn rows_of_standard_input_do_not_outlive_their_run() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.jsonl"));
    let (good, bad) = (track("f32-24k-mono.wav"), folder.path().join("bad.wav"));
    fs::write(&bad, "").unwrap();
    let start = |files: &[&Path], more: &[&str], stdin: Vec<u8>| {
        let mut command = runner::command("mert-embed");
        command.arg(&model).arg("-").args(files).args(["--input-rate", "24000", "--window", "whole", "--jobs", "1"]);
        command.arg("-o").arg(&output).args(more).write_stdin(stdin).output().unwrap().status.code()
    };
    let samples = samples_of("f32-24k-mono.wav");
    assert_eq!(start(&[&good, &bad], &["--strict"], samples), Some(2));
    assert_eq!(start(&[&good], &[], f32::NAN.to_le_bytes().to_vec()), Some(1));
    assert_eq!(read(&output).keys, [(good.to_str().unwrap().to_string(), 0, None)]);
}

/// An interrupt ends a run that waits for standard input.
#[test]
fn an_interrupt_does_not_wait_for_standard_input() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let mut stdin = None;
    let status = interrupted(&model, &output, |child| {
        let id = child.id().to_string();
        stdin = child.stdin.take();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    });
    assert_eq!(status.code(), Some(130));
    assert_eq!(whole_run(&model, &output, &[]).0, 0);
}

/// Starts a run that has embedded two files and waits for standard input; `stop` ends it.
fn interrupted(model: &Path, output: &Path, stop: impl FnOnce(&mut Child)) -> std::process::ExitStatus {
    let files = [track("16-24k-stereo.flac"), track("f32-24k-mono.wav")];
    let mut child = std::process::Command::new(runner::binary("mert-embed"))
        .args([model, &files[0], &files[1], Path::new("-"), Path::new("-o"), output])
        .args(["--jobs", "1", "--window", "whole", "--input-rate", "24000"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = PathBuf::from(format!("{}.journal", output.display()));
    let started = Instant::now();
    let finished = || {
        let bytes = fs::read(&journal).unwrap_or_default();
        bytes.windows(9).filter(|bytes| bytes == b"F{\"id\":1," || bytes == b"F{\"id\":2,").count() == 2
    };
    while !finished() {
        assert!(started.elapsed() < Duration::from_secs(60), "the second file is not reached");
        std::thread::sleep(Duration::from_millis(20));
    }
    stop(&mut child);
    child.wait().unwrap()
}

/// The same run to its end, with the samples on standard input that it was waiting for.
fn whole_run(model: &Path, output: &Path, more: &[&str]) -> (i32, String) {
    let stdin = samples_of("f32-24k-mono.wav");
    let result = runner::command("mert-embed")
        .args([
            model,
            &track("16-24k-stereo.flac"),
            &track("f32-24k-mono.wav"),
            Path::new("-"),
            Path::new("-o"),
            output,
        ])
        .args(["--jobs", "1", "--window", "whole", "--input-rate", "24000"])
        .args(more)
        .write_stdin(stdin)
        .output()
        .unwrap();
    (result.status.code().unwrap(), String::from_utf8_lossy(&result.stderr).into_owned())
}

#[test]
fn an_interrupted_run_continues_to_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    for format in ["npz", "parquet", "jsonl"] {
        let at = |name: &str| folder.path().join(format!("{name}.{format}"));
        assert_eq!(whole_run(&model, &at("whole"), &[]).0, 0);
        let kill = |child: &mut Child| child.kill().unwrap();
        assert_eq!(interrupted(&model, &at("killed"), kill).code(), None);
        assert!(!at("killed").exists());
        let journal = PathBuf::from(format!("{}.journal", at("killed").display()));
        // As if the machine had gone down while it wrote.
        let mut bytes = fs::read(&journal).unwrap();
        bytes.extend_from_slice(&[200, 0, 0, 0, 1, 2, 3]);
        fs::write(&journal, &bytes).unwrap();

        let (status, errors) = whole_run(&model, &at("killed"), &["--layers", "7"]);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains("hidden_states: now [7], then [6]") && errors.contains("--restart"), "{errors}");
        let (status, errors) = whole_run(&model, &at("killed"), &[]);
        assert_eq!(status, 0, "{errors}");
        assert_eq!(fs::read(at("killed")).unwrap(), fs::read(at("whole")).unwrap(), "{format}");
        assert!(!journal.exists());
    }
}

#[test]
fn files_that_are_done_are_not_read_again_unless_they_changed() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let (output, copy) = (folder.path().join("out.jsonl"), folder.path().join("copy.wav"));
    fs::copy(track("f32-24k-mono.wav"), &copy).unwrap();
    let start = |files: &[&Path]| {
        let mut command = runner::command("mert-embed");
        command.arg(&model).args(files).args(["-", "--input-rate", "24000", "--window", "whole", "--jobs", "1", "-o"]);
        command.arg(&output).args(["--strict"]);
        command
    };
    // Standard input that is not samples stops a strict run after the first file was done.
    let bad = start(&[&copy]).write_stdin("123").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
    // The file can no longer be read, but was embedded already.
    let modified = fs::metadata(&copy).unwrap().modified().unwrap();
    let good = fs::read(&copy).unwrap();
    fs::write(&copy, vec![b'x'; good.len()]).unwrap();
    fs::File::open(&copy).unwrap().set_modified(modified).unwrap();
    assert_eq!(start(&[&copy]).write_stdin("123").output().unwrap().status.code(), Some(2));
    let done = start(&[&copy]).write_stdin(samples_of("f32-24k-mono.wav")).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let rows = read(&output);
    assert_eq!(rows.keys[1].0, "-");
    assert_eq!(rows.values[0], rows.values[1], "raw samples and a file of them are the same");
    // A changed file is read again.
    fs::remove_file(&output).unwrap();
    fs::write(&copy, &good).unwrap();
    assert_eq!(start(&[&copy]).write_stdin("123").output().unwrap().status.code(), Some(2));
    fs::write(&copy, "changed").unwrap();
    let changed = start(&[&copy]).write_stdin(samples_of("f32-24k-mono.wav")).output().unwrap();
    assert_eq!(changed.status.code(), Some(2), "{}", String::from_utf8_lossy(&changed.stderr));
}

#[test]
fn an_interrupt_keeps_what_is_done() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let interrupt = |child: &mut Child| {
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        // It is waiting for samples, and sees the interrupt when they come.
        child.stdin.take().unwrap().write_all(&samples_of("f32-24k-mono.wav")).unwrap();
    };
    assert_eq!(interrupted(&model, &output, interrupt).code(), Some(130));
    assert!(!output.exists());
    assert!(Path::new(&format!("{}.journal", output.display())).exists());
    assert_eq!(whole_run(&model, &output, &[]).0, 0);
}

#[test]
fn two_runs_do_not_write_one_output() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    interrupted(&model, &output, |child| {
        let (status, errors) = whole_run(&model, &output, &[]);
        assert_eq!(status, 2);
        assert!(errors.contains("in use"), "{errors}");
        child.kill().unwrap();
    });
}
