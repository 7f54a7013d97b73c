//! Tests of the outputs: each form against its published layout, what it refuses, and what is read back.

use std::path::Path;

use super::*;
use crate::TokensError;

fn info(deduplicate: bool) -> OutputInfo {
    OutputInfo {
        k: 10,
        frame_hop: 320,
        sample_rate: 24_000,
        hidden_state: 12,
        model_sha256: "ab".repeat(32),
        vocabulary_sha256: "cd".repeat(32),
        generator: "test 1".into(),
        deduplicate,
    }
}

fn sequence(file: &str, tokens: &[u32]) -> TokenSequence {
    TokenSequence { file: file.into(), tokens: tokens.into(), ..TokenSequence::default() }
}

fn files() -> [TokenSequence; 3] {
    [sequence("music/a.flac", &[7, 7, 7, 2, 7]), sequence("music/b |x.flac", &[]), sequence("c.wav", &[0, 9])]
}

fn write(path: &Path, format: TokenFormat, deduplicate: bool, files: &[TokenSequence]) -> Result<(), TokensError> {
    let mut writer = TokenWriter::create(path, format, info(deduplicate), false)?;
    files.iter().try_for_each(|file| writer.push(file))?;
    writer.finish()
}

#[test]
fn runs_and_statistics() {
    assert_eq!(deduplicate(&[7, 7, 7, 2, 7]), (vec![7, 2, 7], vec![3, 1, 1]));
    assert_eq!(deduplicate(&[]), (vec![], vec![]));
    let mut statistics = Statistics::new(4);
    assert_eq!((statistics.median_run(), statistics.used()), (None, 0));
    statistics.add(&[0, 0, 1, 1]);
    assert_eq!((statistics.entropy(), statistics.median_run()), (1.0, Some(2.0)));
    statistics.add(&[2, 3, 2, 3]);
    assert_eq!((statistics.entropy(), statistics.median_run(), statistics.used()), (2.0, Some(1.0), 4));
    let mut two = Statistics::new(4);
    two.add(&[0, 0, 0, 1]);
    assert_eq!(two.median_run(), Some(2.0));
    // H(3/4, 1/4)
    assert!((two.entropy() - (2.0 - 0.75 * 3f64.log2())).abs() < 1e-12);
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for (name, format, deduplicate) in [
        ("plain.jsonl", TokenFormat::Jsonl, false),
        ("runs.jsonl", TokenFormat::Jsonl, true),
        ("textless.json", TokenFormat::Textless, true),
        ("km.km", TokenFormat::Km, false),
    ] {
        let path = folder.path().join(name);
        write(&path, format, deduplicate, &files()).unwrap();
        assert_eq!(read_tokens(&path).unwrap(), ReadTokens::Sequences(files().into()), "{name}");
        assert!(matches!(write(&path, format, deduplicate, &files()), Err(TokensError::Write(_))), "{name}");
    }
    let path = folder.path().join("all.npy");
    write(&path, TokenFormat::Npy, false, &files()).unwrap();
    let ReadTokens::Sequences(read) = read_tokens(&path).unwrap() else { panic!() };
    assert_eq!(read[0].tokens, [7, 7, 7, 2, 7, 0, 9]);
    assert_eq!(std::fs::read_to_string(folder.path().join("all.len")).unwrap(), "5\n0\n2\n");
}

#[test]
fn layouts_of_hubert_and_gslm() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    write(&folder.path().join("train.km"), TokenFormat::Km, false, &files()).unwrap();
    assert_eq!(text("train.km"), "7 7 7 2 7\n\n0 9\n");
    assert_eq!(text("train.tsv"), ".\nmusic/a.flac\t1600\nmusic/b |x.flac\t0\nc.wav\t640\n");
    assert_eq!(text("dict.km.txt"), (0..10).map(|token| format!("{token} 1\n")).collect::<String>());
    // A second split shares the dictionary.
    write(&folder.path().join("valid.km"), TokenFormat::Km, false, &files()).unwrap();

    let gslm = folder.path().join("units.txt");
    write(&gslm, TokenFormat::Gslm, true, &[sequence("music/a.flac", &[7, 7, 2]), sequence("c.wav", &[0])]).unwrap();
    assert_eq!(text("units.txt"), "a|7 2\nc|0\n");
    let ReadTokens::Sequences(read) = read_tokens(&gslm).unwrap() else { panic!() };
    assert_eq!((read[0].file.as_str(), &read[0].tokens[..]), ("a", &[7, 2][..]));
    let textless = folder.path().join("units.json");
    let dense = Some(Dense { dim: 2, values: vec![0.5, 1.0, 2.0, -1.0] });
    write(&textless, TokenFormat::Textless, false, &[TokenSequence { dense, ..sequence("a", &[7, 7]) }]).unwrap();
    let expected = r#"{"name":"a","units":[7,7],"durations":[1,1],"dense":[[0.5,1.0],[2.0,-1.0]]}"#;
    assert_eq!(text("units.json").trim_end(), expected);
}

#[test]
fn the_names_of_a_km_are_those_of_the_tsv_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (km, tsv) = (folder.path().join("a.km"), folder.path().join("a.tsv"));
    std::fs::write(&km, "\u{feff}1 2\n3\n").unwrap();
    let names = || match read_tokens(&km).unwrap() {
        ReadTokens::Sequences(read) => read.into_iter().map(|sequence| sequence.file).collect::<Vec<_>>(),
        ReadTokens::Vectors { .. } => panic!(),
    };
    assert_eq!(names(), ["a:1", "a:2"]);
    std::fs::write(&tsv, "music\nx.wav\t10\ny.wav\t20\n").unwrap();
    assert_eq!(names(), ["x.wav", "y.wav"]);
    for (text, words) in [
        ("music\nx.wav\t10\n", "it lists 1 files, and "),
        ("music\nx.wav\t10\ny.wav 20\n", "a.tsv: line 3: it has no tab"),
    ] {
        std::fs::write(&tsv, text).unwrap();
        let message = read_tokens(&km).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn names_that_would_be_misread_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for (format, name) in [
        (TokenFormat::Km, "a\tb.wav"),
        (TokenFormat::Km, "a\nb.wav"),
        (TokenFormat::Npy, "a\nb.wav"),
        (TokenFormat::Gslm, "a|b.wav"),
    ] {
        let error = write(&path, format, false, &[sequence(name, &[1])]).unwrap_err();
        assert!(matches!(error, TokensError::Name { .. }), "{error}");
        assert!(!path.exists());
    }
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (format, list) in [
        (TokenFormat::Km, &["a.wav", "a\tb.wav"][..]),
        (TokenFormat::Npy, &["a\nb.wav"]),
        (TokenFormat::Gslm, &["a|b.wav"]),
        (TokenFormat::Gslm, &["a/x.wav", "b/x.flac"]),
    ] {
        assert!(matches!(format.check_names(names(list)), Err(TokensError::Name { .. })), "{list:?}");
        assert!(TokenFormat::Jsonl.check_names(names(list)).is_ok());
    }
    let twice = [sequence("a/x.wav", &[1]), sequence("b/x.flac", &[2])];
    assert!(write(&path, TokenFormat::Gslm, false, &twice).unwrap_err().to_string().contains("b/x.flac"));
    // JSON escapes.
    write(&path, TokenFormat::Jsonl, false, &[sequence("a\n\t|.wav", &[1])]).unwrap();
    assert_eq!(read_tokens(&path).unwrap(), ReadTokens::Sequences(vec![sequence("a\n\t|.wav", &[1])]));
    let error = write(&folder.path().join("y"), TokenFormat::Jsonl, false, &[sequence("a", &[10])]).unwrap_err();
    assert!(error.to_string().contains("the token 10 is beyond the vocabulary of 10"), "{error}");
    for format in [TokenFormat::Km, TokenFormat::Npy] {
        assert!(write(&path, format, true, &files()).is_err());
    }
}

#[test]
fn lists_and_their_defects() {
    let parse = |text: &str| read::parse_tokens("x.json".as_ref(), text.as_bytes());
    assert_eq!(parse("[3, 1, 2]").unwrap(), ReadTokens::Sequences(vec![sequence("x", &[3, 1, 2])]));
    let vectors = ReadTokens::Vectors { dim: 2, values: vec![1.0, 2.0, 3.0, 4.5] };
    assert_eq!(parse("[[1, 2], [3, 4.5]]").unwrap(), vectors);
    for (text, words) in [
        ("", "empty"),
        ("[]", "the list is empty"),
        ("[1, -2]", "item 1: -2"),
        ("[1, 4294967296]", "item 1: 4294967296, expected a token: a whole number from 0 to 4294967295"),
        ("[1, 2.5]", "item 1: 2.5"),
        ("[1, [2]]", "item 1: [2]"),
        ("[[1, 2], [3]]", "item 1: [3], expected a list of 2 numbers"),
        ("[[1], [\"a\"]]", "item 1: its value 0 is \"a\""),
        ("[[]]", "expected a list of 1 numbers"),
        ("[1, 2", "line 1, column 5"),
        ("1 2\n3 x\n", "line 2, field 2: `x`"),
        ("1 -2\n", "line 1, field 2: `-2`"),
        ("{\"file\": \"a\"}", "line 1: expected either `tokens`"),
        ("{\"tokens\": [1]}", "no `file` or `name`"),
        ("{\"name\": \"a\", \"units\": [1], \"durations\": []}", "1 units and 0 durations"),
        ("{\"name\": \"a\", \"units\": [1], \"durations\": [0]}", "duration 0 is 0"),
        ("{\"name\": \"a\", \"units\": [1], \"durations\": [4294967295]}", "expected at most"),
        ("{\"file\": \"a\", \"tokens\": [1], \"frames\": 2}", "`frames` is 2"),
        ("{\"file\": \"a\", \"tokens\": [1]}\n{\"file\": \"b\", \"tokens\": [-1]}", "line 2: "),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with("x.json: ") && error.contains(words), "{error}");
    }
    let binary = read::parse_tokens("x".as_ref(), b"12 \xff").unwrap_err().to_string();
    assert!(binary.contains("byte 3"), "{binary}");
    let mut npy = crate::npy::header("<f4", &[2, 2]);
    npy.extend([1.0f32, 2.0, 3.0, 4.5].iter().flat_map(|value| value.to_le_bytes()));
    assert_eq!(read::parse_tokens("x".as_ref(), &npy).unwrap(), vectors);
    npy.pop();
    assert!(read::parse_tokens("x".as_ref(), &npy).is_err());
    let floats = crate::npy::header("<f4", &[0]);
    assert!(read::parse_tokens("x".as_ref(), &floats).unwrap_err().to_string().contains("one axis of integers"));
}
