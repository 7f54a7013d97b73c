//! What `verify --repair` and readers write again: statistics that are lost or damaged, and the files of a cache.

use super::*;

fn manifest(catalogue: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(catalogue.join("catalogue.json")).unwrap()).unwrap()
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// The mean of the segments of `tracks`, of the first group of vectors.
fn mean(catalogue: &Catalogue, tracks: impl Iterator<Item = usize>) -> Vec<f64> {
    let (mut sum, mut count) = (vec![0.0; DIM], 0.0);
    for segment in tracks.flat_map(|track| catalogue.track(track).segments) {
        let row = catalogue.vectors(Level::Segments, 0).row(segment);
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        count += 1.0;
    }
    sum.iter().map(|sum| sum / count).collect()
}

#[test]
fn statistics_that_are_lost_or_damaged_are_written_again() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (whole, copy) = (at("whole"), at("copy"));
    table(&at("first.parquet"), 0..40, plain);
    table(&at("second.parquet"), 40..41, plain);
    search_ok(&[&"add", &whole, &at("first.parquet")]);
    search_ok(&[&"add", &whole, &at("second.parquet")]);
    let name = "statistics-000001.safetensors";
    let expected = content(&whole);
    let bytes = fs::read(whole.join(name)).unwrap();
    let copied = |from: &Path| {
        let _ = fs::remove_dir_all(&copy);
        copy_folder(from, &copy);
        copy.join(name)
    };
    // Values, the header, the length, all of it, the file, and a folder in its place.
    let damages: [&dyn Fn(&Path); 6] = [
        &|path| flip(path, 0.9),
        &|path| flip(path, 0.001),
        &|path| cut(path, 100),
        &|path| cut(path, 0),
        &|path| fs::remove_file(path).unwrap(),
        &|path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for (index, damage) in damages.iter().enumerate() {
        let path = copied(&whole);
        damage(&path);
        for arguments in [&["info"][..], &["verify"], &["compact"], &["remove", "/music/1.flac"]] {
            let mut command: Vec<&dyn AsRef<OsStr>> = vec![&arguments[0], &copy];
            command.extend(arguments[1..].iter().map(|argument| argument as &dyn AsRef<OsStr>));
            let run = search(&command);
            let code = if arguments[0] == "verify" { 1 } else { 2 };
            assert!(run.code == code && run.stderr.contains(&format!("{name} is damaged")), "{index}: {run:?}");
            assert!(run.stderr.contains("`mert-search verify --repair` writes it again"), "{index}: {run:?}");
        }
        let is_folder = path.is_dir();
        let run = search_ok(&[&"verify", &copy, &"--repair"]);
        assert_eq!(content(&copy), expected);
        assert_whole(&copy);
        if is_folder {
            assert!(run.stderr.contains("statistics-000003.safetensors is written in place of"), "{run:?}");
            assert!(!path.exists());
            continue;
        }
        assert!(run.stderr.contains(&format!("{name} is written again, with the same bytes")), "{index}: {run:?}");
        assert!(run.stdout.contains("the statistics of 120 segments computed again"), "{index}: {run:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{index}");
    }

    // Of a state that nothing records any more: those of all segments, as a change of its own.
    search_ok(&[&"remove", &whole, &"/music/3.flac"]);
    let path = copied(&whole);
    fs::remove_file(&path).unwrap();
    let run = search_ok(&[&"verify", &copy, &"--repair"]);
    assert!(run.stderr.contains("statistics-000004.safetensors is written in place of statistics-000001"), "{run:?}");
    assert_eq!(manifest(&copy)["statistics"]["path"], "statistics-000004.safetensors");
    let opened = Catalogue::open(&copy).unwrap();
    assert_eq!(opened.statistics().segments, 120);
    let (found, wanted) = (&opened.statistics().means[0], mean(&opened, opened.live().ones()));
    assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} {wanted:?}");
    assert_whole(&copy);
    search_ok(&[&"remove", &copy, &"/music/4.flac"]);

    // Not of vectors that are damaged, and not while another process changes the catalogue.
    let path = copied(&whole);
    fs::remove_file(&path).unwrap();
    let lock = fs::File::open(copy.join("lock")).unwrap();
    lock.lock().unwrap();
    let run = search(&[&"verify", &copy, &"--repair"]);
    assert!(run.code == 1 && run.stderr.contains("is being changed by another process"), "{run:?}");
    lock.unlock().unwrap();
    flip(&copy.join("parts/000001/rows.parquet"), 0.5);
    let run = search(&[&"verify", &copy, &"--repair"]);
    assert!(run.code == 1 && run.stderr.contains(name) && !run.stderr.contains("written"), "{run:?}");
    assert!(!path.exists());
}

/// A flipped bit in tags or times, which nothing else would show, is found by whoever opens the catalogue.
#[test]
fn times_and_tags_are_compared_with_their_checksums() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (whole, copy) = (at("whole"), at("copy"));
    table(&at("rows.parquet"), 0..20, plain);
    search_ok(&[&"add", &whole, &at("rows.parquet")]);
    let tags: Vec<String> = (0..20).map(|track| format!("/music/{track}.flac,{track},rock {track}")).collect();
    fs::write(at("tags.csv"), format!("path,bpm,genre\n{}\n", tags.join("\n"))).unwrap();
    search_ok(&[&"update", &whole, &"--metadata", &at("tags.csv")]);
    let expected = content(&whole);
    for name in ["tracks-000002.safetensors", "segments.times.npy"] {
        for share in [0.3, 0.6, 0.8, 0.999] {
            let _ = fs::remove_dir_all(&copy);
            copy_folder(&whole, &copy);
            let path = copy.join("parts/000001/index").join(name);
            let bytes = fs::read(&path).unwrap();
            flip(&path, share);
            let run = search_ok(&[&"info", &copy]);
            let note = format!("its cache is written again: index/{name} has another checksum");
            assert!(run.stderr.contains(&note), "{name} {share}: {run:?}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "{name} {share}");
            assert_eq!(search_ok(&[&"info", &copy]).stderr, "");
            assert_eq!(content(&copy), expected, "{name} {share}");
        }
    }
    assert_whole(&copy);
}

#[test]
fn damage_is_named_and_caches_are_written_again() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (whole, rows) = (at("whole"), at("rows.parquet"));
    table(&rows, 0..20, plain);
    search_ok(&[&"add", &whole, &rows]);
    let expected = content(&whole);
    let part = "parts/000001";
    let damaged = |name: &str, damage: &dyn Fn(&Path)| {
        let copy = at("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&whole, &copy);
        damage(&copy.join(name));
        copy
    };
    // In the truth: named, whether a reader notices it or only `verify`.
    let truth = [format!("{part}/rows.parquet"), format!("{part}/tracks.parquet")];
    for name in truth.iter().map(String::as_str).chain(["statistics-000001.safetensors"]) {
        for share in [0.1, 0.5, 0.9] {
            let copy = damaged(name, &|path| flip(path, share));
            let run = search(&[&"verify", &copy]);
            assert!(run.code == 1 && run.stderr.contains(name) && run.stderr.contains("SHA-256"), "{name}: {run:?}");
        }
        let copy = damaged(name, &|path| fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap());
        let run = search(&[&"info", &copy]);
        assert!(run.code == 2 && run.stderr.contains(name), "{name}: {run:?}");
        assert_eq!(search(&[&"verify", &copy]).code, 1);
    }
    for text in ["", "{", "{\"format\": \"x\"}"] {
        let copy = damaged("catalogue.json", &|path| fs::write(path, text).unwrap());
        let run = search(&[&"info", &copy]);
        assert!(run.code == 2 && run.stderr.contains("catalogue.json is damaged"), "{run:?}");
    }
    // In a cache: a bit is found by `verify` and repaired, anything else by every reader.
    let caches: Vec<String> = fs::read_dir(whole.join(part).join("index"))
        .unwrap()
        .map(|entry| format!("{part}/index/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    assert_eq!(caches.len(), 7, "{caches:?}");
    for name in caches.iter().filter(|name| !name.ends_with(".json")) {
        let copy = damaged(name, &|path| flip(path, 0.9));
        let run = search(&[&"verify", &copy]);
        assert!(run.code == 1 && run.stderr.contains("its cache is damaged"), "{name}: {run:?}");
        let run = search_ok(&[&"verify", &copy, &"--repair"]);
        assert!(run.stderr.contains("its cache is written again"), "{run:?}");
        assert!(run.stdout.contains("with 20 tracks and 60 segments; the statistics of 60 segments"), "{run:?}");
        search_ok(&[&"verify", &copy]);
        assert_eq!(content(&copy), expected, "{name}");
    }
    for name in &caches {
        let cut: &dyn Fn(&Path) = &|path| fs::File::options().write(true).open(path).unwrap().set_len(64).unwrap();
        let remove: &dyn Fn(&Path) = &|path| fs::remove_file(path).unwrap();
        for damage in [cut, remove] {
            let copy = damaged(name, damage);
            let run = search_ok(&[&"info", &copy]);
            assert!(run.stderr.contains("its cache is written again"), "{name}: {run:?}");
            assert!(!search_ok(&[&"info", &copy]).stderr.contains("written again"));
            assert_eq!(content(&copy), expected, "{name}");
            assert_whole(&copy);
        }
    }
    // A cache of another table.
    let copy = damaged(&format!("{part}/index/index.json"), &|path| {
        let text = fs::read_to_string(path).unwrap();
        let source = text.split("\"source\": \"").nth(1).unwrap().split('"').next().unwrap().to_string();
        fs::write(path, text.replace(&source, &"0".repeat(64))).unwrap();
    });
    assert!(search_ok(&[&"info", &copy]).stderr.contains("was made of another table"));
    // Two readers that write the same cache at once.
    let copy = damaged(&format!("{part}/index/index.json"), &|path| fs::remove_file(path).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(content(&copy), expected));
        }
    });
    assert_whole(&copy);
}
