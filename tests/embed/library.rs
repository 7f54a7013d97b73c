//! `mert-embed` on music libraries: new files, files left out with reasons, file names and lists of other programs.

use std::fs;
use std::path::{Path, PathBuf};

use mert_testkit::runner;
use serde_json::Value;
use tempfile::TempDir;

use crate::embeddings::{FORMATS, model, read, run, track};

/// A music folder with `names`, each a copy of another track, with modification times that do not depend on the clock.
fn library(folder: &Path, names: &[&str]) -> PathBuf {
    let music = folder.join("music");
    fs::create_dir_all(&music).unwrap();
    let tracks = ["f32-24k-mono.wav", "s24-24k-mono-quiet.wav", "16-24k-stereo.flac"];
    for (name, source) in names.iter().zip(tracks.iter().cycle()) {
        copy(source, &music.join(name), 1);
    }
    music
}

/// Copies a fixture track and sets its modification time to `days` after 1970.
fn copy(source: &str, to: &Path, days: u64) {
    fs::copy(track(source), to).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(days * 86_400);
    fs::File::options().write(true).open(to).unwrap().set_modified(time).unwrap();
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An update writes the same bytes as a run over all files, in every format, pooled and with frames.
#[test]
fn an_update_comes_to_what_a_whole_run_writes() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    for (format, pool, window) in
        FORMATS.iter().flat_map(|format| [(format, "mean", "sliding:0.4s/0.3s"), (format, "none", "sliding:0.5s")])
    {
        let place = TempDir::new().unwrap();
        let music = library(place.path(), &["1.wav", "3.wav", "5.wav"]);
        let options: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"--layers", &"0,-1", &"--pool", &pool, &"--window", &window];
        let embed = |output: &Path, more: &[&str]| {
            let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&model, &music, &"-o", &output];
            arguments.extend(options);
            arguments.extend(more.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
            run(&arguments)
        };
        let output = place.path().join(format!("out.{format}"));
        // Without an output, an update is an ordinary run.
        let (status, errors) = embed(&output, &["--update"]);
        assert_eq!(status, 0, "{errors}");
        copy("s16-44k1-mono.wav", &music.join("2.wav"), 2);
        copy("s16-44k1-mono.wav", &music.join("3.wav"), 2);
        // Kept rows are not recomputed: this file could not be embedded.
        let kept = fs::metadata(music.join("1.wav")).unwrap();
        fs::write(music.join("1.wav"), vec![b'x'; kept.len() as usize]).unwrap();
        fs::File::options()
            .write(true)
            .open(music.join("1.wav"))
            .unwrap()
            .set_modified(kept.modified().unwrap())
            .unwrap();
        let (status, errors) = embed(&output, &["--update"]);
        assert_eq!(status, 0, "{format}: {errors}");
        assert!(errors.contains("1 new, 1 changed, 2 unchanged"), "{errors}");
        copy("f32-24k-mono.wav", &music.join("1.wav"), 1);
        let whole = place.path().join(format!("whole.{format}"));
        assert_eq!(embed(&whole, &[]).0, 0);
        assert_eq!(read(&output), read(&whole), "{format} {pool}");
        assert!(fs::read(&output).unwrap() == fs::read(&whole).unwrap(), "{format} {pool}: other bytes");
        if *format == "npy" {
            let rows = |path: &Path| fs::read(path.with_extension("rows.jsonl")).unwrap();
            assert!(rows(&output) == rows(&whole), "{pool}: other bytes");
        }
        assert!(!Path::new(&format!("{}.journal", output.display())).exists());
    }
}

#[test]
fn an_update_keeps_other_files_and_drops_what_no_longer_can_be_embedded() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.parquet"));
    let music = library(folder.path(), &["1.wav", "2.wav", "3.flac"]);
    let at = |name: &str| music.join(name);
    assert_eq!(run(&[&model, &music, &"-o", &output]).0, 0);
    let before = fs::read(&output).unwrap();

    // Without changes, also under other spellings of the paths, the output is not touched.
    let spelled = music.join("..").join("music");
    let (status, errors) = run(&[&model, &spelled, &"-o", &output, &"--update"]);
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("0 new, 0 changed, 3 unchanged; it is up to date"), "{errors}");
    assert!(fs::read(&output).unwrap() == before);

    // A changed file that is now broken loses its rows; a file that is not listed keeps them, whether it exists or not.
    fs::write(at("2.wav"), "broken").unwrap();
    fs::remove_file(at("3.flac")).unwrap();
    let (status, errors) = run(&[&model, &at("2.wav"), &"-o", &output, &"--update"]);
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("the rows of 2 other files stay (1 of these files no longer exist)"), "{errors}");
    let files: Vec<String> = read(&output).keys.into_iter().map(|(file, ..)| file).collect();
    assert_eq!(files, ["1.wav", "3.flac"].map(|name| at(name).to_str().unwrap().to_string()));

    // Other settings, another model, and outputs of other programs.
    for (options, what) in [
        (vec!["--layers", "3"], "hidden_states: now [3], then [6]"),
        (vec!["--normalize", "l2"], "normalize: now \"l2\", then \"none\""),
        (vec!["--window", "whole"], "window: now \"whole\""),
    ] {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&model, &music, &"-o", &output, &"--update"];
        arguments.extend(options.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
        let (status, errors) = run(&arguments);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains(what) && errors.contains("--force"), "{errors}");
    }
    for format in FORMATS {
        let other = folder.path().join(format!("mine.{format}"));
        fs::write(&other, "mine").unwrap();
        fs::write(other.with_extension("rows.jsonl"), "mine").unwrap();
        let (status, errors) = run(&[&model, &music, &"-o", &other, &"--update"]);
        assert_eq!((status, fs::read_to_string(&other).unwrap().as_str()), (2, "mine"), "{errors}");
        assert!(errors.contains(&format!("cannot update {}", other.display())), "{errors}");
        let lines = folder.path().join(format!("lines.{format}"));
        assert_eq!(run(&[&model, &at("1.wav"), &"-o", &lines, &"-q"]).0, 0);
        let (status, errors) = run(&[&model, &at("1.wav"), &"-o", &lines, &"--update", &"--layers", &"3"]);
        assert_eq!(status, 2, "{format}: {errors}");
        assert!(errors.contains("other settings"), "{format}: {errors}");
    }
    let (status, errors) = run(&[&model, &music, &"-o", &output, &"--update", &"--force"]);
    assert_eq!(status, 2, "{errors}");
}

/// A drive that is not mounted does not cost its rows; a file that is broken stays out without touching the output.
#[test]
fn an_update_keeps_the_rows_of_missing_files() {
    let folder = TempDir::new().unwrap();
    let (model, list) = (model(&folder), folder.path().join("list.txt"));
    for format in FORMATS {
        let place = TempDir::new().unwrap();
        let output = place.path().join(format!("out.{format}"));
        let music = library(place.path(), &["1.wav", "2.wav"]);
        let names = ["1.wav", "2.wav", "3.wav"].map(|name| music.join(name).display().to_string());
        fs::write(&list, names[..2].join("\n")).unwrap();
        assert_eq!(run(&[&model, &"--list", &list, &"-o", &output]).0, 0);
        let before = read(&output);
        fs::rename(&music, place.path().join("unmounted")).unwrap();
        let (status, errors) = run(&[&model, &"--list", &list, &"-o", &output, &"--update"]);
        assert_eq!((status, read(&output)), (1, before), "{errors}");
        assert!(errors.contains("2 missing, whose rows stay") && errors.contains("2 not found"), "{errors}");
        fs::create_dir(&music).unwrap();
        copy("s16-44k1-mono.wav", &music.join("3.wav"), 1);
        fs::write(&list, names.join("\n")).unwrap();
        let (status, errors) = run(&[&model, &"--list", &list, &"-o", &output, &"--update"]);
        assert_eq!(status, 1, "{errors}");
        let files: Vec<String> = read(&output).keys.into_iter().map(|(file, ..)| file).collect();
        assert_eq!(files, names, "{format}");
        let before = (fs::read(&output).unwrap(), fs::metadata(&output).unwrap().modified().unwrap());
        fs::write(music.join("4.wav"), "broken").unwrap();
        let (status, errors) = run(&[&model, &music, &"-o", &output, &"--update"]);
        assert_eq!(status, 1, "{errors}");
        assert!(before == (fs::read(&output).unwrap(), fs::metadata(&output).unwrap().modified().unwrap()), "{errors}");
        assert!(!Path::new(&format!("{}.journal", output.display())).exists());
    }
}

/// The rows of one run beside the array of another, as a crash between the two leaves them.
#[test]
fn an_update_notices_half_of_an_output() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npy"));
    let music = library(folder.path(), &["1.wav"]);
    assert_eq!(run(&[&model, &music, &"-o", &output]).0, 0);
    let old = fs::read(&output).unwrap();
    copy("s16-44k1-mono.wav", &music.join("2.wav"), 1);
    assert_eq!(run(&[&model, &music, &"-o", &output, &"--update"]).0, 0);
    fs::write(&output, old).unwrap();
    let (status, errors) = run(&[&model, &music, &"-o", &output, &"--update"]);
    assert_eq!(status, 2, "{errors}");
    assert!(errors.contains("it has 1 rows") && errors.contains("lists 2"), "{errors}");
    fs::remove_file(output.with_extension("rows.jsonl")).unwrap();
    let (status, errors) = run(&[&model, &music, &"-o", &output, &"--update"]);
    assert!(status == 2 && errors.contains("out.rows.jsonl, is missing"), "{errors}");
}

#[test]
fn nothing_is_written_over_something_else_that_is_written() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let file = track("f32-24k-mono.wav");
    let at = |name: &str| folder.path().join(name);
    for (output, report) in
        [("a.jsonl", "a.jsonl"), ("a.npy", "a.rows.jsonl"), ("a.npz", "a.npz.journal"), ("a.npz", "none/report.jsonl")]
    {
        let (status, errors) = run(&[&model, &file, &"-o", &at(output), &"--report", &at(report)]);
        assert_eq!(status, 2, "{output} {report}: {errors}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{output} {report}: {errors}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(at("real.npz"), at("link.npz")).unwrap();
        fs::write(at("real.npz"), "old").unwrap();
        assert_eq!(run(&[&model, &file, &"-o", &at("link.npz"), &"--force"]).0, 0);
        assert!(at("link.npz").is_symlink());
        assert_eq!(read(&at("real.npz")).keys.len(), 1);
    }
}

#[test]
fn a_dry_run_lists_formats_and_lengths_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let music = library(folder.path(), &["1.wav", "2.wav", "3.flac"]);
    copy("no-xing-44k1-stereo.mp3", &music.join("4.mp3"), 1);
    fs::write(music.join("5.wav"), "broken").unwrap();
    let dry_run = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let mut command = runner::command("mert-embed");
        command.arg(&model).arg(&music).arg("--dry-run");
        more.iter().for_each(|argument| {
            command.arg(argument.as_ref());
        });
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let report = folder.path().join("failures.jsonl");
    let (status, listing, errors) = dry_run(&[&"--report", &report]);
    assert_eq!(status, Some(1), "{listing}{errors}");
    let line = |name: &str| listing.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{listing}"));
    for (name, words) in [
        ("1.wav", vec!["embed", "0:01.0", "pcm_f32le in wave, 24000 Hz, mono"]),
        ("3.flac", vec!["embed", "0:01.3", "flac, 24000 Hz, 2 channels"]),
        ("4.mp3", vec!["embed", "?", "mp3, 44100 Hz, 2 channels"]),
        ("5.wav", vec!["cannot read", "not an audio file"]),
        ("5 files", vec!["4 to embed", "and 1 of a length", "1 cannot be read (1 unknown format)"]),
    ] {
        assert!(words.iter().all(|word| line(name).contains(word)), "{}: {words:?}", line(name));
    }
    assert_eq!(lines(&report).len(), 1);
    assert!(!output.exists());
    // With --update, the listing marks files that the output already holds.
    fs::remove_file(music.join("5.wav")).unwrap();
    assert_eq!(run(&[&model, &music.join("1.wav"), &"-o", &output]).0, 0);
    let before = fs::read(&output).unwrap();
    let (status, listing, errors) = dry_run(&[&"-o", &output, &"--update"]);
    assert_eq!(status, Some(0), "{listing}{errors}");
    assert!(listing.lines().next().unwrap().starts_with("done "), "{listing}");
    assert!(listing.contains("3 to embed") && listing.contains("1 done already"), "{listing}");
    assert!(fs::read(&output).unwrap() == before);
    let names = |folder: &TempDir| fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names(&folder), 4, "model, music, report, output");
}

#[test]
fn failures_are_counted_by_reason_and_reported() {
    let folder = TempDir::new().unwrap();
    let (model, output, report) = (model(&folder), folder.path().join("out.npz"), folder.path().join("failures.jsonl"));
    let music = library(folder.path(), &["1.wav"]);
    let wav = fs::read(track("f32-24k-mono.wav")).unwrap();
    let flac = fs::read(track("16-24k-stereo.flac")).unwrap();
    for (name, bytes) in [
        ("empty.wav", Vec::new()),
        ("silent.wav", [&wav[..58], &[0; 96_000]].concat()),
        ("cut-1.flac", flac[..flac.len() / 2].to_vec()),
        ("cut-2.flac", flac[..flac.len() / 2].to_vec()),
    ] {
        fs::write(music.join(name), bytes).unwrap();
    }
    let (status, errors) = run(&[&model, &music, &"-o", &output, &"--report", &report]);
    assert_eq!(status, 1, "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(last.starts_with("4 of 5 files were left out: 2 "), "{last}");
    assert!(last.contains("1 empty") && last.contains("1 silent"), "{last}");
    let reported = lines(&report);
    assert_eq!(reported.len(), 4);
    let of = |name: &str| reported.iter().find(|line| line["file"].as_str().unwrap().ends_with(name)).unwrap();
    assert_eq!(of("empty.wav")["reason"], "empty");
    assert!(of("silent.wav")["message"].as_str().unwrap().contains("silent"));
    // A run without failures, or with only failures, replaces the report, but not another program's file.
    for name in ["empty.wav", "silent.wav", "cut-1.flac", "cut-2.flac"] {
        fs::remove_file(music.join(name)).unwrap();
    }
    assert_eq!(run(&[&model, &music, &"-o", &output, &"--report", &report, &"--force"]).0, 0);
    assert_eq!(fs::read_to_string(&report).unwrap(), "");
    fs::write(music.join("1.wav"), "broken").unwrap();
    let nothing = folder.path().join("nothing.npz");
    let (status, errors) = run(&[&model, &music, &"-o", &nothing, &"--report", &report]);
    assert_eq!((status, lines(&report).len()), (2, 1), "{errors}");
    fs::write(&report, "mine\n").unwrap();
    let (status, errors) = run(&[&model, &music, &"-o", &nothing, &"--report", &report]);
    assert_eq!((status, fs::read_to_string(&report).unwrap().as_str()), (2, "mine\n"), "{errors}");
    let (status, errors) = run(&[&model, &music, &"-o", &nothing, &"--report", &music.join("1.wav"), &"--force"]);
    assert_eq!((status, fs::read_to_string(music.join("1.wav")).unwrap().as_str()), (2, "broken"), "{errors}");
}

/// Names that are not Unicode stay distinct, and map back to their files.
#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_unicode_are_escaped() {
    use std::os::unix::ffi::OsStrExt;

    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let music = library(folder.path(), &[]);
    let names: [&[u8]; 3] = [b"caf\xe9.wav", b"caf\xea.wav", br"caf\xe9.wav"];
    for (name, source) in names.iter().zip(["f32-24k-mono.wav", "s24-24k-mono-quiet.wav", "s16-44k1-mono.wav"]) {
        copy(source, &music.join(std::ffi::OsStr::from_bytes(name)), 1);
    }
    for format in FORMATS {
        let output = folder.path().join(format!("out.{format}"));
        assert_eq!(run(&[&model, &music, &"-o", &output, &"-q"]).0, 0);
        let rows = read(&output);
        let mut found: Vec<Vec<u8>> = rows
            .keys
            .iter()
            .map(|(file, ..)| mert_table::unescape(file).file_name().unwrap().as_bytes().to_vec())
            .collect();
        found.sort();
        let mut expected = names.map(<[u8]>::to_vec);
        expected.sort();
        assert_eq!(found, expected, "{format}");
        let (status, errors) = run(&[&model, &music, &"-o", &output, &"--update"]);
        assert!(status == 0 && errors.contains("3 unchanged"), "{format}: {errors}");
    }
}

#[test]
fn playlists_of_other_programs_are_read() {
    let folder = TempDir::new().unwrap();
    let (model, output, list) = (model(&folder), folder.path().join("out.jsonl"), folder.path().join("music/list.m3u"));
    let music = library(folder.path(), &["café.wav", "my song.wav"]);
    let address = format!("file://{}", music.join("my%20song.wav").display());
    let entries = [
        b"#EXTM3U\r\ncaf\xe9.wav\r\n".as_slice(),
        address.as_bytes(),
        b"\r\nhttp://127.0.0.1:1/radio.mp3\r\nmy song.wav\r\n",
    ];
    fs::write(&list, entries.concat()).unwrap();
    let (status, errors) = run(&[&model, &"--list", &list, &"-o", &output]);
    assert_eq!(status, 1, "{errors}");
    for words in ["Windows-1252", "network addresses are not read", "1 of 3 files was left out: 1 network address"] {
        assert!(errors.contains(words), "{errors}");
    }
    let files: Vec<String> = read(&output).keys.into_iter().map(|(file, ..)| file).collect();
    assert_eq!(files, ["café.wav", "my song.wav"].map(|name| music.join(name).to_str().unwrap().to_string()));
}

/// Unsupported formats are counted by name and make the exit status 1.
#[test]
fn folders_name_what_they_leave_out() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let music = library(folder.path(), &["1.wav", "2.wav"]);
    let asf = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c".repeat(20);
    for (name, bytes) in
        [("3.wma", asf.as_slice()), ("4.wma", &asf), ("5", &asf), ("6.ape", &b"MAC \x96\x0f\0\0".repeat(50))]
    {
        fs::write(music.join(name), bytes).unwrap();
    }
    fs::write(music.join("cover.jpg"), b"\xff\xd8\xff\xe0 an image").unwrap();
    let (status, errors) = run(&[&model, &music, &"-o", &output]);
    assert_eq!(status, 1, "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(last.starts_with("4 of 6 files were left out: 3 Windows Media"), "{last}");
    assert!(last.contains("1 Monkey's Audio"), "{last}");
    assert!(errors.contains("ffmpeg -i"), "{errors}");
    assert_eq!(read(&output).keys.len(), 2);
}
