//! Tables that are joined by path: names of columns, encodings, rows and tracks that are left out, and errors.

use super::*;

#[test]
fn metadata_is_joined_by_path() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (catalogue, rows) = (at("catalogue"), at("rows.parquet"));
    table(&rows, 0..4, plain);
    search_ok(&[&"add", &catalogue, &rows]);
    fs::write(
        at("beets.csv"),
        "path,bpm,genres,initial_key,energy,note\n/music/0.flac,120,rock; folk,Am,0.5,\n/music/1.flac,0,jazz,,NaN,x\n\
         /music/7.flac,90,jazz,,,\n",
    )
    .unwrap();
    let run = search_ok(&[&"update", &catalogue, &"--metadata", &at("beets.csv")]);
    for text in [
        "2 of 3 rows are of 2 tracks; 2 tracks without a row",
        "no track /music/7.flac (line 4); the nearest name is /music/",
        "no row for /music/2.flac, /music/3.flac",
        "added: bpm, genre (from genres), key (from initial_key), energy, note",
    ] {
        assert!(run.stderr.contains(text), "{text}: {}", run.stderr);
    }
    let opened = Catalogue::open(&catalogue).unwrap();
    let [zero, one, two] = ["0", "1", "2"].map(|name| opened.find(format!("/music/{name}.flac").as_ref()).unwrap());
    let column = |name: &str| opened.column(name).unwrap();
    assert_eq!(
        (column("bpm").number(zero), column("bpm").number(one), column("bpm").kind()),
        (Some(120.0), None, ColumnKind::Number)
    );
    assert_eq!(column("genre").texts(zero).collect::<Vec<_>>(), ["rock", "folk"]);
    assert_eq!((column("energy").number(one), column("genre").is_known(two)), (None, false));

    // A later table overrides what it knows, and only that.
    fs::write(
        at("more.jsonl"),
        "{\"file\": \"/music/0.flac\", \"bpm\": 121}\n{\"file\": \"/music/2.flac\", \"mood\": [\"calm\", \"sad\"]}\n",
    )
    .unwrap();
    let run = search_ok(&[&"update", &catalogue, &"--metadata", &at("more.jsonl")]);
    assert!(run.stderr.contains("overridden where known: bpm") && run.stderr.contains("added: mood"), "{}", run.stderr);
    let opened = Catalogue::open(&catalogue).unwrap();
    assert_eq!(opened.column("bpm").unwrap().number(zero), Some(121.0));
    assert_eq!(opened.column("genre").unwrap().texts(zero).count(), 2);
    assert_eq!(opened.column("mood").unwrap().texts(two).collect::<Vec<_>>(), ["calm", "sad"]);
    let joined = content(&catalogue);

    // Relative paths start from the table's folder; compaction and later additions keep what was joined.
    fs::create_dir(at("lists")).unwrap();
    let up = format!("{}music/3.flac", "../".repeat(folder.path().components().count()));
    fs::write(at("lists/up.tsv"), format!("where\tplays\n{up}\t5\n")).unwrap();
    search_ok(&[&"update", &catalogue, &"--metadata", &at("lists/up.tsv"), &"--key", &"where"]);
    let with_plays = content(&catalogue);
    assert!(
        with_plays["/music/3.flac"].contains("plays=Some(5.0)"),
        "{:?}",
        with_plays["/music/3.flac"].split(';').next_back()
    );
    assert_ne!(joined, with_plays);
    search_ok(&[&"add", &catalogue, &rows]);
    assert_eq!(content(&catalogue), with_plays);
    search_ok(&[&"compact", &catalogue]);
    assert_eq!(content(&catalogue), with_plays);
    assert_whole(&catalogue);

    let refused = |text: &str, expected: &str| {
        fs::write(at("bad.csv"), text).unwrap();
        let run = search(&[&"update", &catalogue, &"--metadata", &at("bad.csv")]);
        assert!(run.code == 2 && run.stderr.contains(expected), "{expected}: {run:?}");
    };
    refused("path,note,Note\n/music/0.flac,1,2\n", "the column Note differs from the column note only in case");
    refused("path,duration\n/music/0.flac,1\n", "it has no column with values but the paths");
    refused("where,x\n/music/0.flac,1\n", "it has no column with paths: expected `path` or `file`");
    refused("path,x\n/music/9.flac,1\n", "its one row is of no track; the first is /music/9.flac");
    refused("path,x\n/music/0.flac,1,2\n", "bad.csv: line 2: expected 2 fields");
    assert_eq!(content(&catalogue), with_plays);

    // Names in another case and of other programs are the standard ones.
    fs::write(
        at("case.csv"),
        "sep=;\r\nPath;Tempo;Mood;DURATION\r\n/music/1.flac;98,5;calm;3\r\n/music/2.flac;n/a;;4\r\n",
    )
    .unwrap();
    let run = search_ok(&[&"update", &catalogue, &"--metadata", &at("case.csv")]);
    for text in [
        "the paths are those of the column Path",
        "left out: DURATION, because every track has its own",
        "Tempo: 1 value is no numbers and thus unknown; the first is `n/a` in line 4",
        "completed: bpm (from Tempo), mood (from Mood)",
    ] {
        assert!(run.stderr.contains(text), "{text}: {}", run.stderr);
    }
    let opened = Catalogue::open(&catalogue).unwrap();
    let one = opened.find("/music/1.flac".as_ref()).unwrap();
    assert_eq!(opened.column("bpm").unwrap().number(one), Some(98.5));
    assert_eq!(opened.column("mood").unwrap().text(one), Some("calm"));
}
