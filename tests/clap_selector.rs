//! CLAP as a choice of a mode in live use: when it listens, what it hears, and what it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use mert_clap::{ClapAudio, ClapError, ClapSelector, Listening, Modes, Settings};
use mert_live::LiveError;
use mert_live::mode::{ModeChoice, ModeInput, ModeSelector, RunningStatistics};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/clap-tiny")
}

fn selector(settings: Settings) -> ClapSelector {
    let modes = Modes::read(&fixture().join("modes.json")).unwrap();
    let listening = Listening { seconds: 1.0, interval: 2.0 };
    ClapSelector::new(ClapAudio::open(&fixture()).unwrap(), modes, settings, listening).unwrap()
}

fn select(selector: &mut ClapSelector, samples: &[f32], rate: u32, time: f64) -> Option<ModeChoice> {
    let statistics = RunningStatistics { onset_rate: 0.0, level: -20.0, entropy: None, used_tokens: 0 };
    selector.select(&ModeInput { samples, rate, time, statistics }).unwrap()
}

fn tone(rate: u32, hertz: f64) -> Vec<f32> {
    let turn = std::f64::consts::TAU * hertz / f64::from(rate);
    (0..rate).map(|i| (0.3 * (turn * f64::from(i)).sin()) as f32).collect()
}

/// Takes every mode, however low its score.
const ANY: Settings = Settings { threshold: -1.0, margin: 0.0, min_stay: 0.0 };

#[test]
fn it_listens_when_a_choice_is_due() {
    let mut selector = selector(ANY);
    assert_eq!((selector.name(), selector.seconds(), selector.interval()), ("clap", 1.0, 2.0));
    let sound = tone(48_000, 440.0);
    // Too short, and silence.
    assert_eq!(select(&mut selector, &sound[1000..], 48_000, 0.9), None);
    assert_eq!(select(&mut selector, &vec![5e-5; 48_000], 48_000, 1.0), None);
    assert!(selector.decision().is_none());
    let first = select(&mut selector, &sound, 48_000, 1.5).unwrap();
    let decision = selector.decision().unwrap().clone();
    assert_eq!(decision.mode.as_ref(), Some(&first.mode));
    assert_eq!(first.score, Some(f64::from(decision.score)));
    // Not due before 3.5 s; then it listens again.
    let other = tone(48_000, 5000.0);
    assert_eq!(select(&mut selector, &other, 48_000, 3.4), Some(first));
    assert_eq!(selector.decision(), Some(&decision));
    select(&mut selector, &other, 48_000, 3.5).unwrap();
    assert_ne!(selector.decision(), Some(&decision));
}

/// The same tone at another rate is the same sound: scores differ by the resampler's ends only. Without resampling it would be
/// a tone of another pitch.
#[test]
fn sound_is_resampled_to_the_models_rate() {
    let scores = |rate: u32, claimed: u32| {
        let mut selector = selector(ANY);
        let sound = tone(rate, 997.0);
        select(&mut selector, &sound, claimed, 1.0).unwrap();
        selector.decision().unwrap().scores.clone()
    };
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let right = scores(48_000, 48_000);
    let resampled = apart(&right, &scores(44_100, 44_100));
    let wrong = apart(&right, &scores(48_000, 40_000));
    assert!(resampled * 3.0 < wrong, "{resampled} and {wrong}");
}

#[test]
fn below_the_threshold_there_is_no_mode() {
    let mut selector = selector(Settings { threshold: 1.0, ..ANY });
    assert_eq!(select(&mut selector, &tone(48_000, 440.0), 48_000, 1.0), None);
    assert!(selector.decision().is_some());
}

#[test]
fn modes_and_texts_of_another_session_are_refused() {
    let selector = selector(ANY);
    let session = |text: &str| mert_live::mode::Modes::parse(text).unwrap();
    selector.check_session(&session("modes: [{name: bright}, {name: dark}, {name: still}, {name: more}]")).unwrap();
    let text = "modes: [{name: bright}, {name: dark, text: 'tokens [0, 20, 11, 2]'}, {name: still}]";
    selector.check_session(&session(text)).unwrap();
    let missing = selector.check_session(&session("modes: [{name: bright}, {name: dark}]")).unwrap_err();
    assert!(matches!(&missing, LiveError::UnknownMode { name, .. } if name == "still"), "{missing}");
    let edited = selector.check_session(&session(&text.replace("20", "21"))).unwrap_err().to_string();
    assert!(edited.contains("mode `dark`: its text `tokens [0, 21, 11, 2]` has no vector"), "{edited}");
}

#[test]
fn listening_outside_the_models_window_is_refused() {
    for listening in [
        Listening { seconds: 1.5, interval: 1.0 },
        Listening { seconds: f64::NAN, interval: 1.0 },
        Listening { seconds: 1.0, interval: 0.0 },
    ] {
        let modes = Modes::read(&fixture().join("modes.json")).unwrap();
        let clap = ClapAudio::open(&fixture()).unwrap();
        assert!(matches!(ClapSelector::new(clap, modes, ANY, listening), Err(ClapError::Setting { .. })));
    }
}
