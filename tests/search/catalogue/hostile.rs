//! What users mistake, and what others leave in the way: pipes, folders of music, interrupted commands.

use super::*;

/// Sends the signal `name` to `child`, and returns its exit status.
fn end_by(child: &mut std::process::Child, name: &str) -> Option<i32> {
    Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    child.wait().unwrap().code()
}

#[test]
fn a_folder_of_something_else_does_not_become_a_catalogue() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let rows = at("rows.parquet");
    table(&rows, 0..2, plain);
    fs::create_dir(at("music")).unwrap();
    fs::write(at("music/1.mp3"), "x").unwrap();
    for inputs in [at("music"), rows.clone()] {
        let run = search(&[&"add", &at("music"), &inputs]);
        assert!(
            run.code == 2 && run.stderr.contains("it has no catalogue.json, and other files, such as 1.mp3"),
            "{run:?}"
        );
        assert_eq!(fs::read_dir(at("music")).unwrap().count(), 1);
    }
    let run = search(&[&"add", &rows, &rows]);
    assert!(run.code == 2 && run.stderr.contains("is not a catalogue: it is a file"), "{run:?}");
    // An empty folder does, and one that an interrupted addition has left.
    fs::create_dir_all(at("new/parts/.000001-x.partial")).unwrap();
    fs::write(at("new/lock"), "").unwrap();
    search_ok(&[&"add", &at("new"), &rows]);
    assert_eq!(content(&at("new")).len(), 2);
    assert_eq!(fs::read_dir(at("new/parts")).unwrap().count(), 1);
}

#[test]
fn pipes_and_folders_are_refused_before_the_lock_is_taken() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (catalogue, rows) = (at("catalogue"), at("rows.parquet"));
    table(&rows, 0..3, plain);
    search_ok(&[&"add", &catalogue, &rows]);
    for name in ["pipe.csv", "pipe.parquet", "pipe.ogg"] {
        assert!(Command::new("mkfifo").arg(at(name)).status().unwrap().success());
    }
    fs::create_dir(at("folder.csv")).unwrap();
    fs::write(at("beets.db"), b"SQLite format 3\0 and pages").unwrap();
    fs::copy(track("tagged-44k1-mono.mp3"), at("song.csv")).unwrap();
    fs::write(at("binary.csv"), b"\x01\x02\0\x03, and so on\n").unwrap();
    let _writer = mert_search::Writer::open(&catalogue).unwrap();
    let run = search(&[&"update", &catalogue, &"--metadata", &at("pipe.csv")]);
    assert!(run.code == 2 && run.stderr.contains("pipe.csv is a pipe: expected a file"), "{run:?}");
    let run = search(&[&"add", &catalogue, &at("pipe.parquet")]);
    assert!(run.code == 2 && run.stderr.contains("pipe.parquet is a pipe: expected a file"), "{run:?}");
    let run = search(&[&"add", &catalogue, &at("pipe.ogg")]);
    assert!(run.code == 2 && run.stderr.contains("pipe.ogg is a pipe: expected a file"), "{run:?}");
    let run = search(&[&"add", &catalogue, &"-"]);
    assert!(run.code == 2 && run.stderr.contains("standard input cannot be in a catalogue"), "{run:?}");
    let run = search(&[&"update", &catalogue, &"--metadata", &at("folder.csv")]);
    assert!(run.code == 2 && run.stderr.contains("folder.csv is a folder: expected a file"), "{run:?}");
    let run = search(&[&"update", &catalogue, &"--metadata", &at("beets.db")]);
    assert!(run.code == 2 && run.stderr.contains("beet -l LIBRARY export"), "{run:?}");
    for (name, expected) in [("song.csv", "song.csv: it is audio (M"), ("binary.csv", "its byte 2 is zero")] {
        let run = search(&[&"update", &catalogue, &"--metadata", &at(name)]);
        assert!(run.code == 2 && run.stderr.contains(expected), "{run:?}");
    }
}

/// What a folder of music holds beside audio is named and left out, and the rest is added.
#[test]
fn links_to_folders_above_do_not_stop_an_addition() {
    use std::os::unix::fs::symlink;

    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, catalogue) = (model(&folder), at("catalogue"));
    fs::create_dir_all(at("music/sub/folder.mp3")).unwrap();
    fs::copy(track("f32-24k-mono.wav"), at("music/1.wav")).unwrap();
    symlink(".", at("music/loop")).unwrap();
    symlink("..", at("music/sub/up")).unwrap();
    symlink("nowhere", at("music/broken.mp3")).unwrap();
    assert!(Command::new("mkfifo").arg(at("music/pipe.mp3")).status().unwrap().success());
    let arguments: [&dyn AsRef<OsStr>; 6] =
        [&"add", &catalogue, &at("music"), &"--model", &model, &"--window=sliding:1s/1s"];
    let run = search(&arguments);
    assert_eq!(run.code, 1, "{run:?}");
    for expected in [
        "added 1 track with",
        "music/loop: cannot read",
        "music/broken.mp3: cannot read",
        "1 name leads to files that are named already",
        "2 of 3 files were left out: 1 not found, 1 unreadable",
    ] {
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    }
    // Again, and the same files.
    assert!(search(&arguments).stderr.contains("2 new, 0 changed, 1 unchanged"));
    assert_eq!(content(&catalogue).len(), 1);
    assert_whole(&catalogue);

    let run = search(&[&"remove", &catalogue]);
    assert!(run.code == 2, "{run:?}");
    for expected in ["PATH", "--missing", "--where"] {
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    }
    search_ok(&[&"remove", &catalogue, &"--where", &"duration > 0"]);
    let run = search_ok(&[&"info", &catalogue]);
    assert!(run.stdout.contains("0, 0 s") && run.stdout.contains(" kB, 0 parts, 0 removed tracks"), "{run:?}");
}

/// Commands that are interrupted end at once, and leave the state before or after them, and the lock free. What they did not get
/// to delete the next change deletes.
#[test]
fn interrupted_changes_leave_the_catalogue_as_it_was() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (base, first, second) = (at("base"), at("first.parquet"), at("second.parquet"));
    table(&first, 0..300, plain);
    table(&second, 200..600, plain);
    search_ok(&[&"add", &base, &first]);
    search_ok(&[&"remove", &base, &"/music/7.flac"]);
    let lines: Vec<String> = (0..300).map(|track| format!("/music/{track}.flac,{track}")).collect();
    fs::write(at("metadata.csv"), format!("path,plays\n{}\n", lines.join("\n"))).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_string();
    let commands = [
        vec!["add".into(), text(&at("copy")), text(&second)],
        vec!["update".into(), text(&at("copy")), "--metadata".into(), text(&at("metadata.csv"))],
        vec!["compact".into(), text(&at("copy"))],
    ];
    let before = content(&base);
    for (command, signal) in commands.iter().zip(["INT", "TERM", "INT"]) {
        let start = || {
            let _ = fs::remove_dir_all(at("copy"));
            copy_folder(&base, &at("copy"));
            let mut command_line = Command::new(binary("mert-search"));
            command_line.args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let started = Instant::now();
        assert!(start().wait().unwrap().success());
        let (after, duration) = (content(&at("copy")), started.elapsed());
        for share in [0.3, 0.5, 0.7, 0.8, 0.9] {
            let mut child = start();
            std::thread::sleep(duration.mul_f64(share));
            let code = end_by(&mut child, signal);
            let found = content(&at("copy"));
            // A signal that comes before the handler is set ends the process without a status.
            assert!(matches!(code, Some(0 | 130) | None), "{command:?}: {code:?}");
            assert!(found == before || found == after, "{command:?}: {} tracks", found.len());
            let partial = || -> Vec<String> {
                let folders = [at("copy"), at("copy/parts")];
                let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                names.filter(|name| name.ends_with(".partial")).collect()
            };
            // The deletion of a part that the catalogue no longer has may be what was interrupted.
            assert!(
                code != Some(130) || partial().iter().all(|name| name.ends_with("-removed.partial")),
                "{:?}",
                partial()
            );
            assert_whole(&at("copy"));
            drop(mert_search::Writer::open(&at("copy")).unwrap());
            assert!(partial().is_empty(), "{:?}", partial());
        }
    }
}

/// Statistics are compared also after changes that keep them, and what nobody names is found, said and removed.
#[test]
fn verify_compares_all_and_says_what() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (catalogue, first, second) = (at("catalogue"), at("first.parquet"), at("second.parquet"));
    table(&first, 0..40, plain);
    table(&second, 40..41, plain);
    search_ok(&[&"add", &catalogue, &first]);
    fs::write(at("x.csv"), "path,x\n/music/0.flac,1\n").unwrap();
    search_ok(&[&"update", &catalogue, &"--metadata", &at("x.csv")]);
    let compared = |expected: &str| {
        let run = search_ok(&[&"verify", &catalogue]);
        assert!(run.stdout.contains(expected), "{expected}: {run:?}");
        run.stderr
    };
    compared(
        "3 files by digest, 6 files of caches value by value, with 40 tracks and 120 segments; the statistics of 120",
    );
    search_ok(&[&"remove", &catalogue, &"/music/3.flac"]);
    search_ok(&[&"add", &catalogue, &second]);
    compared("with 41 tracks and 123 segments; the statistics of 120 segments computed again");

    // Statistics of other vectors, with a digest that fits.
    let manifest = catalogue.join("catalogue.json");
    let whole = fs::read_to_string(&manifest).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let path = catalogue.join(json["statistics"]["path"].as_str().unwrap());
    let stored = fs::read(&path).unwrap();
    let mut other = stored.clone();
    // The number of segments comes last, and the mean of the last group before it.
    let at_mean = other.len() - 8 - 2;
    other[at_mean] ^= 0x40;
    fs::write(&path, &other).unwrap();
    json["statistics"]["sha256"] = mert_fs::sha256_bytes(&other).into();
    fs::write(&manifest, json.to_string()).unwrap();
    let run = search(&[&"verify", &catalogue]);
    assert!(run.code == 1 && run.stderr.contains("statistics-000001.safetensors: hidden_state_"), "{run:?}");
    fs::write(&path, stored).unwrap();
    fs::write(&manifest, whole).unwrap();

    let orphan = catalogue.join("parts/000777");
    fs::create_dir(&orphan).unwrap();
    fs::write(orphan.join("rows.parquet"), vec![0; 2_000_000]).unwrap();
    assert!(compared("whole").contains("1 file of 2.0 MB that the catalogue does not name"));
    let run = search_ok(&[&"verify", &catalogue, &"--repair"]);
    assert!(run.stderr.contains("1 file of 2.0 MB that the catalogue does not name: removed"), "{run:?}");
    assert!(!orphan.exists());
    // A cache that is written again is said by whatever opens the catalogue, beside JSON as well.
    fs::remove_file(catalogue.join("parts/000001/index/segments.times.npy")).unwrap();
    let run = search_ok(&[&"query", &catalogue, &"/music/1.flac", &"--json"]);
    assert!(run.stderr.contains("its cache is written again: index/segments.times.npy"), "{run:?}");
    assert!(serde_json::from_str::<serde_json::Value>(&run.stdout).is_ok(), "{run:?}");
}
