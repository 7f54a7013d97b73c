//! Inputs that `mert-embed` leaves out, and commands that it refuses: bad files, wrong usage, outputs in the place of
//! other files.

use std::fs;
use std::io::Read;
use std::path::Path;

use mert_embed::{Normalization, Pool};
use mert_testkit::{fixture, runner};
use tempfile::TempDir;

use crate::embeddings::{embedder, model, read, run, samples_of, track};

#[test]
fn bad_files_are_reported_and_left_out() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.jsonl"));
    let bad = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let flac = fs::read(track("16-24k-stereo.flac")).unwrap();
    let mut wav = fs::read(track("f32-24k-mono.wav")).unwrap();
    let data = wav.len() - 24_000;
    wav[data..data + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let silent = [&fs::read(track("f32-24k-mono.wav")).unwrap()[..58], &[0; 96_000]].concat();
    let files = [
        bad("cut.flac", &flac[..flac.len() / 2]),
        bad("empty.wav", b""),
        bad("text.mp3", b"this is no music, and it is long enough to be looked at by every reader that there is"),
        bad("nan.wav", &wav),
        bad("silent.wav", &silent),
        bad("short.wav", &fs::read(track("f32-24k-mono.wav")).unwrap()[..58 + 4 * 399]),
        folder.path().join("gone.flac"),
    ];
    let good = track("16-24k-stereo.flac");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&model, &good, &"-o", &output];
    arguments.extend(files.iter().map(|file| file as &dyn AsRef<std::ffi::OsStr>));
    let (status, errors) = run(&arguments);
    assert_eq!(status, 1, "{errors}");
    for (name, what) in [
        ("cut.flac", "amaged"),
        ("empty.wav", "empty"),
        ("text.mp3", "not an audio file"),
        ("nan.wav", "NaN"),
        ("silent.wav", "silent"),
        ("gone.flac", "cannot read"),
    ] {
        let line = errors.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {errors}"));
        assert!(line.contains(what) || line.contains("truncated"), "{line}");
    }
    assert!(errors.contains("short.wav"), "{errors}");
    assert!(errors.contains("7 of 8 files were left out"), "{errors}");
    let rows = read(&output);
    assert_eq!(rows.keys, [(good.to_str().unwrap().to_string(), 0, None)]);
    assert!(!Path::new(&format!("{}.journal", output.display())).exists());

    // Damage can be kept, and is then reported.
    let kept = folder.path().join("kept.jsonl");
    let (status, errors) = run(&[&model, &files[0], &"-o", &kept, &"--damaged", &"keep"]);
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("cut.flac: "), "{errors}");
    assert!(read(&kept).times[0].1 < read(&output).times[0].1);

    let strict = folder.path().join("strict.jsonl");
    let (status, errors) = run(&[&model, &files[1], &good, &"-o", &strict, &"--strict"]);
    assert_eq!(status, 2, "{errors}");
    assert!(errors.contains("stopped"), "{errors}");
    assert!(!strict.exists());

    let nothing = folder.path().join("nothing.jsonl");
    let (status, errors) = run(&[&model, &files[1], &"-o", &nothing]);
    assert_eq!((status, nothing.exists()), (2, false), "{errors}");
    assert!(errors.contains("no file could be embedded"), "{errors}");
    assert!(!Path::new(&format!("{}.journal", nothing.display())).exists());
}

#[test]
fn wrong_usage_is_reported_before_anything_is_done() {
    let folder = TempDir::new().unwrap();
    let (model, file) = (model(&folder), track("f32-24k-mono.wav"));
    let output = folder.path().join("out.npz");
    let refused = |arguments: &[&dyn AsRef<std::ffi::OsStr>], what: &str| {
        let (status, errors) = run(arguments);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains(what), "`{what}` is not in: {errors}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left");
    };
    refused(&[&model, &file, &"-o", &folder.path().join("out.csv")], "out.csv: expected a name that ends in .npy");
    refused(&[&model, &"-o", &output], "no inputs: give files, folders or --list FILE");
    refused(&[], "--output <FILE>\n  <MODEL INPUT>...");
    let list = folder.path().join("list.txt");
    refused(&[&model, &"--list", &list, &"-o", &output], &format!("cannot read {}: ", list.display()));
    refused(&[&"--config", &list, &file, &"-o", &output], &format!("cannot read {}: ", list.display()));
    refused(&[&model, &file, &"-o", &output, &"--layers", &"13"], "hidden state 13 does not exist");
    refused(&[&model, &file, &"-o", &output, &"--pool", &"median"], "mean+std");
    refused(&[&model, &file, &"-o", &output, &"--window", &"sliding:0s/1s"], "sliding");
    refused(&[&model, &file, &"-o", &output, &"--device", &"tpu"], "cpu");
    refused(&[&model, &"-", &"-o", &output], "--input-rate");
    refused(&[&model, &"-", &"-o", &output, &"--input-rate", &"24000"], "middle");
    refused(&[&model, &file, &"-o", &output, &"--input-rate", &"24000"], "standard input");
    refused(
        &[&"mert", &file, &"-o", &output],
        "there is no file `mert`; give a converted .safetensors file, or a model",
    );
    refused(&[&fixture("mert-tiny/pytorch_model.bin"), &file, &"-o", &output], "pytorch_model.bin");
    // The words of mert_fs, before the model is opened.
    let (none, in_none) = (folder.path().join("none"), folder.path().join("none/out.npz"));
    let no_folder = format!("cannot write {}: there is no folder {}", in_none.display(), none.display());
    for model in [model.as_path(), "gone.safetensors".as_ref()] {
        refused(&[&model, &file, &"-o", &in_none], &no_folder);
        refused(&[&model, &file, &"-o", &output, &"--report", &in_none], &no_folder);
    }
    fs::write(&output, "mine").unwrap();
    let (status, errors) = run(&[&model, &file, &"-o", &output]);
    assert_eq!((status, fs::read_to_string(&output).unwrap().as_str()), (2, "mine"), "{errors}");
    assert!(errors.contains("--force"), "{errors}");
    assert_eq!(run(&[&model, &file, &"-o", &output, &"--force", &"-q"]), (0, String::new()));
}

/// mert-verify accepts such folders too.
#[test]
fn a_folder_is_the_converted_file_in_it() {
    let folder = TempDir::new().unwrap();
    let (model, file) = (model(&folder), track("f32-24k-mono.wav"));
    let at = |name: &str| folder.path().join(name);
    for (named, output) in [(model.as_path(), at("file.npz")), (folder.path(), at("folder.npz"))] {
        assert_eq!(run(&[&named, &file, &"-o", &output, &"-q"]), (0, String::new()));
    }
    assert_eq!(fs::read(at("file.npz")).unwrap(), fs::read(at("folder.npz")).unwrap());
    let (status, errors) = run(&[&folder.path(), &file, &"-o", &model, &"--force"]);
    assert!(status == 2 && errors.contains("is an input"), "{errors}");

    // A folder without a converted file, and one whose weights are those of transformers.
    fs::create_dir(at("original")).unwrap();
    fs::copy(fixture("mert-tiny/config.json"), at("original/config.json")).unwrap();
    for weights in ["pytorch_model.bin", "model.safetensors"] {
        let from =
            if weights == "model.safetensors" { "containers/plain.safetensors" } else { "mert-tiny/pytorch_model.bin" };
        fs::copy(fixture(from), at("original").join(weights)).unwrap();
        let (status, errors) = run(&[&at("original"), &file, &"-o", &at("none.npz")]);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains("holds no converted model.safetensors") && errors.contains("mert-convert"), "{errors}");
    }
}

#[test]
fn inputs_and_files_of_others_are_not_overwritten() {
    let folder = TempDir::new().unwrap();
    let (model, file) = (model(&folder), track("f32-24k-mono.wav"));
    let at = |name: &str| folder.path().join(name);
    let refused = |arguments: &[&dyn AsRef<std::ffi::OsStr>], what: &str| {
        let (status, errors) = run(arguments);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains(what), "`{what}` is not in: {errors}");
    };
    let before = fs::read(&model).unwrap();
    refused(&[&model, &file, &"-o", &model, &"--force"], "is an input");
    fs::write(at("list.jsonl"), file.to_str().unwrap()).unwrap();
    refused(&[&model, &"--list", &at("list.jsonl"), &"-o", &at("list.jsonl"), &"--force"], "is an input");
    fs::write(at("out.rows.jsonl"), "mine").unwrap();
    refused(&[&model, &file, &"-o", &at("out.npy")], "out.rows.jsonl exists");
    fs::write(at("out.npz.journal"), "mine").unwrap();
    refused(&[&model, &file, &"-o", &at("out.npz")], "not a journal");
    fs::create_dir(at("folder.npz")).unwrap();
    refused(&[&model, &file, &"-o", &at("folder.npz"), &"--force"], "folder.npz is not a regular file");
    refused(
        &[&model, &file, &"-o", &at("report.npz"), &"--report", &at("folder.npz")],
        "folder.npz is not a regular file",
    );
    refused(&[&model, &file, &"-o", &at("jobs.npz"), &"--jobs", &"4096"], "1024");
    refused(&[&model, &file, &"-o", &at("long.npz"), &"--window", &"middle:1800s"], "at most 600");
    for name in ["out.rows.jsonl", "out.npz.journal"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "mine");
    }
    assert_eq!(fs::read(&model).unwrap(), before);
}

/// Dangling links, link cycles and names that are not Unicode are files like others.
#[cfg(unix)]
#[test]
fn odd_names_and_links_do_not_end_a_run() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = TempDir::new().unwrap();
    let (model, music, output) = (model(&folder), folder.path().join("music"), folder.path().join("out.jsonl"));
    fs::create_dir_all(music.join("sub")).unwrap();
    let bytes = fs::read(track("f32-24k-mono.wav")).unwrap();
    fs::write(music.join(std::ffi::OsStr::from_bytes(b"a\xff.wav")), &bytes).unwrap();
    fs::write(music.join("b\n\x1b.wav"), &bytes).unwrap();
    symlink("/nonexistent", music.join("gone.wav")).unwrap();
    let forged = folder.path().join("none\nmert-embed: all done");
    let (status, errors) = run(&[&model, &forged, &"-o", &output]);
    assert_eq!(status, 2, "{errors}");
    assert!(errors.contains("none\\nmert-embed: all done: cannot read"), "{errors}");
    let (_, refusal) = run(&[&forged, &music, &"-o", &output]);
    for errors in [errors, refusal] {
        assert!(!errors.lines().any(|line| line.starts_with("mert-embed: all done")), "{errors}");
    }
    symlink("..", music.join("sub/up")).unwrap();
    let (status, errors) = run(&[&model, &music, &"-o", &output]);
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("gone.wav") && errors.contains("2 of 4 files were left out"), "{errors}");
    let rows = read(&output);
    assert_eq!(rows.keys.len(), 2);
    assert!(rows.keys[1].0.ends_with("b\n\x1b.wav") && rows.values[0] == rows.values[1]);
}

#[test]
fn raw_samples_of_another_type_are_reported() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let embed = |bytes: Vec<u8>, rate: &str| {
        let output = runner::command("mert-embed")
            .args([&model, Path::new("-"), Path::new("-o"), &output])
            .args(["--window", "whole", "--input-rate", rate])
            .write_stdin(bytes)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mut sixteen_bit = Vec::new();
    fs::File::open(track("s16-16k-stereo.wav")).unwrap().read_to_end(&mut sixteen_bit).unwrap();
    let (status, errors) = embed(sixteen_bit[44..].to_vec(), "16000");
    assert_eq!(status, 2);
    assert!(errors.contains("32-bit little-endian floats") || errors.contains("NaN"), "{errors}");
    let (status, errors) = embed(samples_of("f32-24k-mono.wav"), "0");
    assert_eq!(status, 2);
    assert!(errors.contains("sample rate 0 Hz"), "{errors}");
}

#[test]
fn samples_at_another_rate_than_the_models_are_refused() {
    let folder = TempDir::new().unwrap();
    let embedder = embedder(&model(&folder), "6", Pool::Mean, Normalization::None);
    let mut samples: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.1).sin()).collect();
    let error = embedder.embed(&mut embedder.workspace(), &mut samples, 16_000).unwrap_err().to_string();
    assert!(error.contains("16000 Hz") && error.contains("24000 Hz") && error.contains("resample"), "{error}");
    assert!(embedder.embed(&mut embedder.workspace(), &mut samples, 24_000).is_ok());
}
