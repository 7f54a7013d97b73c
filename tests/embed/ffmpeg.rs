//! `mert-embed --ffmpeg`, with a script in place of ffmpeg.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mert_testkit::{fixture, runner};
use serde_json::Value;
use tempfile::TempDir;

use crate::embeddings::model;

/// Writes `folder/bin/ffmpeg`, a script that prints a version, records its arguments and then runs `what`.
fn ffmpeg(folder: &Path, what: &str) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let log = folder.join("arguments");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = -version ]; then echo 'ffmpeg version 7.7-test Copyright'; exit; fi\n\
         for a in \"$@\"; do echo \"$a\"; done > {}\n{what}\n",
        log.display()
    );
    fs::write(bin.join("ffmpeg"), script).unwrap();
    fs::set_permissions(bin.join("ffmpeg"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn ffmpeg_decodes_what_is_not_read_and_what_it_says_counts() {
    let folder = TempDir::new().unwrap();
    let (model, work) = (model(&folder), folder.path());
    let strange = work.join("-y http:x.wma");
    fs::copy(fixture("audio-formats/unread-wma.wma"), &strange).unwrap();
    let wav = fixture("audio/f32-24k-mono.wav");
    let run = |more: &[&str], name: &str| {
        let mut command = runner::command("mert-embed");
        command.env("PATH", format!("{}:/usr/bin:/bin", work.join("bin").display())).current_dir(work);
        let output = command.arg(&model).args(["-o", name, "--window", "whole"]).args(more).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let row = |name: &str| -> Value {
        serde_json::from_str(fs::read_to_string(work.join(name)).unwrap().lines().next().unwrap()).unwrap()
    };
    // Sizes are unknown, as when ffmpeg writes to a pipe.
    let mut stream = fs::read(&wav).unwrap();
    let data = stream.windows(4).position(|bytes| bytes == b"data").unwrap();
    stream[4..8].fill(0xff);
    stream[data + 4..data + 8].fill(0xff);
    fs::write(work.join("stream.wav"), stream).unwrap();
    let give = format!("cat {}", work.join("stream.wav").display());
    ffmpeg(work, &give);
    let input = "./-y http:x.wma";

    let (status, errors) = run(&[input], "without.jsonl");
    assert!(status == Some(2) && errors.contains("Windows Media Audio (WMA, ASF) is not supported"), "{errors}");
    assert!(errors.contains("--ffmpeg") && !work.join("arguments").exists(), "{errors}");

    let (status, errors) = run(&["--ffmpeg", input], "with.jsonl");
    assert!(status == Some(0) && errors.contains("decoded by ffmpeg 7.7-test"), "{errors}");
    let arguments = fs::read_to_string(work.join("arguments")).unwrap();
    assert!(arguments.contains("\nfile:./-y http:x.wma\n") && arguments.contains("-xerror\n"), "{arguments}");
    run(&[wav.to_str().unwrap()], "plain.jsonl");
    let states = row("with.jsonl")["hidden_states"].clone();
    assert!(states.is_object() && states == row("plain.jsonl")["hidden_states"]);
    run(&["--ffmpeg", input], "with.safetensors");
    let header = String::from_utf8_lossy(&fs::read(work.join("with.safetensors")).unwrap()).into_owned();
    assert!(header.contains("\"ffmpeg\":\"7.7-test\""), "the output says so");

    // Messages of ffmpeg are an error or a note; a failure is an error.
    ffmpeg(work, &format!("{give}; echo 'Invalid data found' >&2"));
    let (status, errors) = run(&["--ffmpeg", input], "complains.jsonl");
    assert!(status == Some(2) && errors.contains("Invalid data found"), "{errors}");
    let (status, errors) = run(&["--ffmpeg", "--damaged", "keep", input], "kept.jsonl");
    assert!(status == Some(0) && errors.contains("ffmpeg: Invalid data found"), "{errors}");
    ffmpeg(work, &format!("{give}; echo 'no such codec' >&2; exit 3"));
    let (status, errors) = run(&["--ffmpeg", "--damaged", "keep", input], "fails.jsonl");
    assert!(status == Some(2) && errors.contains("no such codec") && errors.contains("3"), "{errors}");

    fs::remove_file(work.join("bin/ffmpeg")).unwrap();
    let mut command = runner::command("mert-embed");
    let output = command.env("PATH", work.join("bin")).arg(&model).arg(&wav).args(["--ffmpeg", "-o"]);
    let output = output.arg(work.join("none.jsonl")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ffmpeg: cannot be run"));
}
