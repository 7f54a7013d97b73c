//! `mert-tokens live` through the binary: a tiny model, a vocabulary trained on generated music, an oracle of its tokens.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use mert_events::scale::FeatureScales;
use mert_events::{Event, FEATURES, Note};
use mert_oracle::{Matching, Material, OracleFile, Source, SuffixMethod, TokenMatch};
use mert_testkit::fixture;
use mert_testkit::runner::{self, Run};
use tempfile::TempDir;

const RATE: u32 = 24_000;
const K: u32 = 12;

/// What all tests of this file share.
struct Shared {
    folder: TempDir,
    model: PathBuf,
    vocabulary: PathBuf,
    oracle: PathBuf,
    /// The samples of the sound, and the same as a file.
    samples: Vec<f32>,
    sound: PathBuf,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let model = fixture("mert-tiny/model.safetensors");
        std::fs::create_dir(at("music")).unwrap();
        for piece in 0..4 {
            let samples = mert_audio::music_piece(piece, 4 * RATE as usize, RATE);
            write_wav(&at(&format!("music/{piece}.wav")), &samples);
        }
        let vocabulary = at("vocabulary.safetensors");
        train(&model, &at("music"), &vocabulary, 0);
        let oracle = at("oracle.json");
        write_oracle(&oracle, Some(mert_fs::sha256_file(&vocabulary).unwrap()), &model);
        let samples: Vec<f32> =
            mert_audio::music_piece(7, 6 * RATE as usize, RATE).iter().map(|sample| 0.2 * sample).collect();
        let sound = at("sound.wav");
        write_wav(&sound, &samples);
        Shared { folder, model, vocabulary, oracle, samples, sound }
    })
}

fn train(model: &Path, music: &Path, vocabulary: &Path, seed: u32) {
    let run = runner::run(
        "mert-tokens",
        ["train", text(model), text(music), "-o", text(vocabulary), "--k", &K.to_string(), "--seed", &seed.to_string()]
            .into_iter()
            .chain(["--window", "400ms", "--hop", "200ms", "--passes", "3"]),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
}

/// An oracle of 60 events: tokens 0 to 11 over and over, a note each.
fn write_oracle(path: &Path, vocabulary: Option<String>, model: &Path) {
    let event = |index: u32| {
        let (start, end) = (f64::from(index) * 0.2, f64::from(index) * 0.2 + 0.2);
        let mut features = [None; FEATURES.len()];
        features[0] = Some(f64::from(index % 7) / 7.0);
        Event {
            source: 0,
            start,
            end,
            token: index % K,
            first_frame: u64::from(index) * 15,
            frames: 15,
            notes: vec![Note { key: 40 + index as u8, velocity: 80, start, end }],
            features,
            rhythm_ratio: Some([1 + index % 2, 1]),
        }
    };
    let events: Vec<Event> = (0..60).map(event).collect();
    let matching = Matching::Events {
        token: TokenMatch::Same,
        compared: Vec::new(),
        scales: FeatureScales::of(&events, 0.0, 1.0).unwrap(),
        threshold: 0.1,
        suffix_method: SuffixMethod::Incremental,
    };
    let source = Source { name: "memory".into(), sha256: None, duration: Some(12.0), events: 60 };
    let file = OracleFile::build(matching, Material::Events(events), vec![source]).unwrap();
    let file = file.with_digests(vocabulary, Some(mert_fs::sha256_file(model).unwrap())).unwrap();
    file.write_json(std::fs::File::create(path).unwrap()).unwrap();
}

/// A WAV file of mono 32-bit floats.
fn write_wav(path: &Path, samples: &[f32]) {
    let data = 4 * samples.len() as u32;
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + data).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend(3u16.to_le_bytes());
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((4 * RATE).to_le_bytes());
    bytes.extend(4u16.to_le_bytes());
    bytes.extend(32u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(data.to_le_bytes());
    bytes.extend(raw(samples));
    std::fs::write(path, bytes).unwrap();
}

fn raw(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `mert-tokens live` on the shared sound.
fn live(options: &[&str]) -> Run {
    let shared = shared();
    let files = [&shared.model, &shared.vocabulary, &shared.oracle, &shared.sound].map(|path| text(path));
    runner::run("mert-tokens", ["live"].into_iter().chain(files).chain(options.iter().copied()))
}

/// Runs `mert-tokens live` on samples that are written to its standard input in pieces of so many bytes.
fn piped(samples: &[f32], piece: usize, options: &[&str]) -> Run {
    let shared = shared();
    let mut child = Command::new(runner::binary("mert-tokens"))
        .arg("live")
        .args([&shared.model, &shared.vocabulary, &shared.oracle])
        .args(["-", "--input-rate", "24000"])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), raw(samples));
    let writer = std::thread::spawn(move || {
        // A session that ends early closes the pipe.
        let _ = bytes.chunks(piece.min(bytes.len())).try_for_each(|part| stdin.write_all(part));
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn lines(run: &Run) -> Vec<serde_json::Value> {
    run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(line: &serde_json::Value) -> [u64; 3] {
    [0, 1, 2].map(|index| line["bytes"][index].as_u64().unwrap())
}

/// Checks that every note ends once, and returns the events of the notes that start.
fn check_notes(lines: &[serde_json::Value]) -> Vec<u64> {
    let (mut sounding, mut events, mut before) = (BTreeSet::new(), Vec::new(), 0.0);
    for line in lines {
        let time = line["time"].as_f64().unwrap();
        assert!(time >= before, "{line}");
        before = time;
        let [status, key, _] = bytes(line);
        match status & 0xF0 {
            0x90 => {
                assert!(sounding.insert((status & 15, key)), "{line}");
                events.push(line["event"].as_u64().unwrap());
            }
            0x80 => assert!(sounding.remove(&(status & 15, key)), "{line}"),
            _ => {}
        }
    }
    assert!(sounding.is_empty(), "{sounding:?}");
    events
}

#[test]
fn the_same_sound_gives_the_same_notes_from_a_file_and_from_standard_input() {
    let shared = shared();
    let first = live(&["--seed", "3"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let messages = lines(&first);
    let events = check_notes(&messages);
    assert!(events.len() >= 4, "{}", first.stderr);
    // The oracle's notes: key 40 + the event.
    let starts = messages.iter().filter(|line| bytes(line)[0] == 0x90);
    for line in starts {
        assert_eq!(bytes(line)[1], 40 + line["event"].as_u64().unwrap());
        assert!(line["rule"].is_string() && line["match"].is_string(), "{line}");
    }
    let with_token: Vec<_> = messages.iter().filter(|line| line["match"] == "token").collect();
    assert!(!with_token.is_empty());
    assert!(
        with_token.iter().all(|line| line["matched"].as_u64().unwrap() % u64::from(K) == line["token"]),
        "{with_token:?}"
    );
    for part in ["latency of", "forward passes", "entropy", "too soon after another"] {
        assert!(first.stderr.contains(part), "{part}: {}", first.stderr);
    }

    assert_eq!(live(&["--seed", "3"]).stdout, first.stdout);
    for piece in [4099, 77_777, usize::MAX] {
        let piped = piped(&shared.samples, piece, &["--seed", "3"]);
        assert_eq!((piped.code, piped.stdout), (0, first.stdout.clone()), "{}", piped.stderr);
    }
}

#[test]
fn a_midi_file_has_the_same_notes() {
    let output = shared().folder.path().join("out.mid");
    let run = live(&["-o", text(&output), "--lines", "--answer", "continuous", "--transpose", "-12", "--channel", "3"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let messages = lines(&run);
    let events = check_notes(&messages);
    assert!(events.len() > 10);
    assert!(messages.iter().all(|line| [0x92, 0x82].contains(&bytes(line)[0])));
    let notes = mert_events::midi::read_midi(&std::fs::read(&output).unwrap()).unwrap();
    assert_eq!((notes.notes.len(), notes.unended, notes.stray_ends), (events.len(), 0, 0));
    let starts = messages.iter().filter(|line| bytes(line)[0] == 0x92);
    let mut expected: Vec<(u64, f64)> = starts.map(|line| (bytes(line)[1], line["time"].as_f64().unwrap())).collect();
    expected.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    for (note, (key, time)) in notes.notes.iter().zip(expected) {
        // A tick is 1/1920 s.
        assert!(u64::from(note.key) == key && (note.start - time).abs() < 3e-4, "{note:?}");
    }

    let refused = live(&["-o", text(&output)]);
    assert!(refused.code == 2 && refused.stderr.contains("exists"), "{}", refused.stderr);
}

#[test]
fn requests_and_modes_decide_and_what_is_dropped_is_named() {
    let run = live(&["--request", r#"[{"gesture_token": 5}, {"gesture_token": 999}]"#]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("`gesture_token == 999` is dropped"), "{}", run.stderr);
    assert!(check_notes(&lines(&run)).iter().all(|event| event % u64::from(K) == 5));

    let folder = shared().folder.path();
    let (modes, script) = (folder.join("modes.yaml"), folder.join("script.txt"));
    std::fs::write(
        &modes,
        "modes: [{name: five, request: {gesture_token: 5}}, {name: six, request: {gesture_token: 6}}]",
    )
    .unwrap();
    std::fs::write(&script, "# later\n3 mode six\n").unwrap();
    let run = live(&["--modes", text(&modes), "--script", text(&script), "--taboo", "0"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("mode six (by command)"), "{}", run.stderr);
    let late: Vec<u64> = lines(&run)
        .iter()
        .filter(|line| bytes(line)[0] == 0x90 && line["time"].as_f64().unwrap() > 3.1)
        .map(|line| line["event"].as_u64().unwrap())
        .collect();
    assert!(!late.is_empty() && late.iter().all(|event| event % u64::from(K) == 6), "{late:?}");

    let (wrong, steep, late) = (folder.join("wrong.txt"), folder.join("steep.yaml"), folder.join("late.yaml"));
    std::fs::write(&steep, "modes: [{name: a, options: {continuity: 3}, request: {gesture_token: 3}}]").unwrap();
    std::fs::write(&late, "modes: [{name: a}, {name: b, options: {start: 60}}]").unwrap();
    std::fs::write(&wrong, "1 mode five\n2 mode seven\n").unwrap();
    for (options, part) in [
        (&["--request", r#"{"gesture_tokn": 5}"#][..], "gesture_token"),
        (
            &["--modes", text(&modes), "--script", text(&wrong)],
            "wrong.txt line 2: unknown mode `seven`: expected one of five, six",
        ),
        (
            &["--script", text(&wrong)],
            "line 1: unknown mode `five`: the session has no modes; give a file of them with --modes",
        ),
        (&["--modes", text(&modes), "--mode-hold", "1s"], "--mode-hold is for"),
        (&["--modes", text(&steep), "--mode", "a", "-q"], "mode `a`: "),
        (&["--modes", text(&late), "-q"], "mode `b`: "),
        (&["--rest", "1s"], "--rest is for --answer continuous"),
        (&["--modes", text(&modes), "--mode", "seven"], "five, six"),
        (&["--mode", "five"], "--modes"),
        (&["--continuity", "2"], "continuity"),
        (&["--range", "60:62"], "an octave apart"),
        (&["--input-rate", "24000"], "--input-rate"),
    ] {
        let run = live(options);
        assert!(run.code == 2 && run.stderr.contains(part) && run.stdout.is_empty(), "{options:?}: {}", run.stderr);
    }
}

#[test]
fn clap_chooses_a_mode_by_the_sound() {
    let modes = shared().folder.path().join("clap-modes.yaml");
    std::fs::write(&modes, "modes: [{name: bright}, {name: dark}, {name: still}]").unwrap();
    let (checkpoint, texts) = (fixture("clap-tiny"), fixture("clap-tiny/modes.json"));
    let by_text = |options: &[&str]| {
        let mut all = vec!["--modes", text(&modes), "--mode-by", "text", "--clap", text(&checkpoint)];
        all.extend(["--clap-modes", text(&texts)]);
        all.extend(options);
        live(&all)
    };
    let run =
        by_text(&["--clap-seconds", "500ms", "--clap-interval", "1s", "--clap-threshold", "-1", "--clap-margin", "0"]);
    assert!(run.code == 0 && run.stderr.contains(" (by clap, "), "{}", run.stderr);
    // A threshold that nothing reaches leaves the session without a mode.
    let run = by_text(&["--clap-seconds", "500ms", "--clap-threshold", "1"]);
    assert!(run.code == 0 && !run.stderr.contains("mode "), "{}", run.stderr);
    // The tiny model hears a second.
    let run = by_text(&[]);
    assert!(run.code == 2 && run.stderr.contains("invalid length of sound 3"), "{}", run.stderr);
    let run = live(&["--modes", text(&modes), "--clap", text(&checkpoint), "--clap-modes", text(&texts)]);
    assert!(run.code == 2 && run.stderr.contains("--clap is for --mode-by text"), "{}", run.stderr);
}

#[test]
fn an_oracle_or_a_vocabulary_of_another_kind_is_refused() {
    let shared = shared();
    let at = |name: &str| shared.folder.path().join(name);
    let run = |model: &Path, vocabulary: &Path, oracle: &Path| {
        runner::run("mert-tokens", ["live", text(model), text(vocabulary), text(oracle), text(&shared.sound)])
    };
    let other = at("other.safetensors");
    train(&shared.model, &at("music"), &other, 1);
    let refused = run(&shared.model, &other, &shared.oracle);
    assert!(refused.code == 2 && refused.stderr.contains("is for the vocabulary"), "{}", refused.stderr);

    let other_model = at("other-model.safetensors");
    let checkpoint = fixture("stable-layer-norm/pytorch_model.bin");
    assert_eq!(runner::run("mert-convert", [text(&checkpoint), text(&other_model)]).code, 0);
    let refused = run(&other_model, &shared.vocabulary, &shared.oracle);
    assert!(refused.code == 2 && refused.stdout.is_empty(), "{}", refused.stderr);

    let foreign = at("foreign.json");
    write_oracle(&foreign, Some(mert_fs::sha256_file(&shared.vocabulary).unwrap()), &other_model);
    let refused = run(&shared.model, &shared.vocabulary, &foreign);
    assert!(refused.code == 2 && refused.stderr.contains("is for the model"), "{}", refused.stderr);

    write_oracle(&at("unknown.json"), None, &shared.model);
    let said = run(&shared.model, &shared.vocabulary, &at("unknown.json"));
    assert!(said.code == 0 && said.stderr.contains("does not record its vocabulary"), "{}", said.stderr);

    std::fs::write(at("damaged.json"), "{}").unwrap();
    let refused = run(&shared.model, &shared.vocabulary, &at("damaged.json"));
    assert!(refused.code == 2 && refused.stderr.contains("damaged.json"), "{}", refused.stderr);
}

#[test]
fn damaged_sound_ends_with_an_error_and_without_hanging_notes() {
    let shared = shared();
    let mut samples = shared.samples.clone();
    samples[5 * RATE as usize] = f32::NAN;
    let run = piped(&samples, usize::MAX, &["--answer", "continuous"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    let lines = lines(&run);
    assert!(check_notes(&lines).len() > 4);
    assert_eq!(lines.iter().filter(|line| line["cause"] == "panic" && bytes(line)[0] & 0xF0 == 0xB0).count(), 32);
}

/// A signal in real time: the sound has no end, so that only the signal ends the session.
#[cfg(unix)]
#[test]
fn a_signal_ends_the_notes() {
    use std::time::{Duration, Instant};

    let shared = shared();
    for (signal, options) in [("INT", &["--realtime"][..]), ("TERM", &[])] {
        let mut child = Command::new(runner::binary("mert-tokens"))
            .arg("live")
            .args([&shared.model, &shared.vocabulary, &shared.oracle])
            .args(["-", "--input-rate", "24000", "--answer", "continuous", "--rest", "1000s"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&raw(&shared.samples)).unwrap();
        stdin.flush().unwrap();
        // The input stays open. One note is enough to know that the session runs.
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut first).unwrap();
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let start = Instant::now();
        let code = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status.code(),
                None if start.elapsed() > Duration::from_secs(30) => {
                    let _ = child.kill();
                    panic!("still running after {signal}");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
        let all = first + &rest;
        let lines: Vec<serde_json::Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(code, Some(130), "{signal}");
        assert!(!check_notes(&lines).is_empty(), "{signal}");
    }
}
