//! Tests of the engine with an encoder whose tokens are known.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use mert_events::scale::FeatureScales;
use mert_events::{Event, FEATURES, Note};
use mert_oracle::{Matching, Material, OracleFile, Source, SuffixMethod, TokenMatch};
use mert_tokens::frames::{CutWindow, FrameGrid, Framing};

use super::*;
use crate::answer::AnswerMode;
use crate::encode::WindowTokens;
use crate::output::{Cause, MatchRule, TimedMidi};
use crate::sink::{MidiSink, Outlet};
use crate::{Ending, Session, ring};

const RATE: u32 = 8000;
const GRID: FrameGrid = FrameGrid { rate: RATE, hop: 80, length: 80 };

/// The token of a frame is 10 if it is louder than a tenth, else 3; windows are 100 ms.
struct Loudness {
    fails_at: Option<u64>,
}

impl WindowEncoder for Loudness {
    fn grid(&self) -> FrameGrid {
        GRID
    }

    fn framing(&self) -> Framing {
        Framing { window: 10, hop: 10, lookahead: 0 }
    }

    fn tokens(&mut self, window: CutWindow) -> Result<WindowTokens> {
        if self.fails_at.is_some_and(|frame| window.first_kept() >= frame) {
            panic!("a defect in the model");
        }
        let frames = window.samples.chunks(80).skip(window.kept.start).take(window.kept.len());
        let token = |frame: &[f32]| if frame.iter().any(|sample| sample.abs() > 0.1) { 10 } else { 3 };
        Ok(WindowTokens { first_frame: window.first_kept(), tokens: frames.map(token).collect(), silent: false })
    }
}

fn event(index: u32, token: u32, keys: &[u8]) -> Event {
    let (start, end) = (f64::from(index) * 0.25, f64::from(index) * 0.25 + 0.25);
    let notes = keys.iter().map(|&key| Note { key, velocity: 90, start, end: end - 0.05 }).collect();
    let mut features = [None; FEATURES.len()];
    features[0] = Some(f64::from(index) / 10.0);
    Event { source: 0, start, end, token, first_frame: 0, frames: 1, notes, features, rhythm_ratio: None }
}

fn oracle_of(events: Vec<Event>) -> Arc<OracleFile> {
    let matching = Matching::Events {
        token: TokenMatch::Same,
        compared: Vec::new(),
        scales: FeatureScales::of(&events, 0.0, 1.0).unwrap(),
        threshold: 0.1,
        suffix_method: SuffixMethod::Incremental,
    };
    let source = Source { name: "a".into(), sha256: None, duration: None, events: events.len() as u32 };
    Arc::new(OracleFile::build(matching, Material::Events(events), vec![source]).unwrap())
}

/// Ten events; those of token 10 are 2, 5 and 8, and what follows them plays keys 63, 66, 69.
fn oracle() -> Arc<OracleFile> {
    let token = |index: u32| if index % 3 == 2 { 10 } else { 3 };
    oracle_of((0..10).map(|index| event(index, token(index), &[60 + index as u8])).collect())
}

fn settings() -> EngineSettings {
    EngineSettings::new(RATE)
}

fn engine(settings: EngineSettings) -> Engine {
    engine_with(settings, Modes::default(), None)
}

fn engine_with(settings: EngineSettings, modes: Modes, selector: Option<Box<dyn ModeSelector>>) -> Engine {
    let encoder = Box::new(Loudness { fails_at: None });
    Engine::new(settings, encoder, oracle(), Centres::default(), modes, selector).unwrap()
}

/// Decaying tones of 220 Hz at the given seconds, over `seconds`.
fn plucks(seconds: f64, at: &[f64]) -> Vec<f32> {
    let mut samples = vec![0.0; (seconds * f64::from(RATE)) as usize];
    for start in at {
        let first = (start * f64::from(RATE)) as usize;
        for (n, sample) in samples[first..].iter_mut().enumerate() {
            let time = n as f32 / RATE as f32;
            *sample += 0.8 * (-4.0 * time).exp() * (220.0 * std::f32::consts::TAU * time).sin();
        }
    }
    samples
}

fn play(engine: &mut Engine, samples: &[f32], block: usize) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (index, part) in samples.chunks(block).enumerate() {
        outputs.extend(engine.push(part, (index * block) as u64).unwrap());
    }
    outputs.extend(engine.finish().unwrap());
    outputs
}

fn midi(outputs: &[Output]) -> Vec<TimedMidi> {
    let midi = |output: &Output| match output {
        Output::Midi(midi) => Some(midi.clone()),
        Output::Notice(_) => None,
    };
    outputs.iter().filter_map(midi).collect()
}

fn notices(outputs: &[Output]) -> Vec<String> {
    let notice = |output: &Output| match output {
        Output::Midi(_) => None,
        Output::Notice(notice) => Some(notice.clone()),
    };
    outputs.iter().filter_map(notice).collect()
}

fn starts(messages: &[TimedMidi]) -> Vec<&TimedMidi> {
    messages.iter().filter(|message| message.bytes[0] & 0xF0 == 0x90).collect()
}

/// Every start is followed by an end of its key before the next start of it, and nothing ends that does not sound.
fn check_pairs(messages: &[TimedMidi]) {
    let mut sounding = std::collections::BTreeSet::new();
    let mut before = 0;
    for message in messages {
        assert!(message.sample >= before, "{message:?} before {before}");
        before = message.sample;
        let [status, key, _] = message.bytes;
        match status & 0xF0 {
            0x90 => assert!(sounding.insert((status & 15, key)), "{message:?} sounds already"),
            0x80 => assert!(sounding.remove(&(status & 15, key)), "{message:?} does not sound"),
            _ => {}
        }
    }
    assert!(sounding.is_empty(), "{sounding:?} are left");
}

#[test]
fn onsets_are_answered_at_once_with_the_newest_token() {
    let samples = plucks(2.0, &[0.5, 1.0, 1.5]);
    let messages = midi(&play(&mut engine(settings()), &samples, 512));
    check_pairs(&messages);
    let starts = starts(&messages);
    assert_eq!(starts.len(), 3, "{starts:?}");
    for (start, onset) in starts.iter().zip([0.5, 1.0, 1.5]) {
        let late = start.time - onset;
        assert!((0.0..0.06).contains(&late), "{start:?}");
        let answer = start.answer.as_ref().unwrap();
        assert!((answer.onset.unwrap() - onset).abs() < 0.02, "{answer:?}");
        assert_eq!(start.answers_onset, Some((answer.onset.unwrap() * f64::from(RATE)).round() as u64));
    }
    // Silence before the first onset, plucks before the others. What is recognised has their token.
    let answers: Vec<_> = starts.iter().map(|start| start.answer.clone().unwrap()).collect();
    assert_eq!(answers.iter().map(|answer| answer.token).collect::<Vec<_>>(), [Some(3), Some(10), Some(10)]);
    assert_eq!((answers[0].token_from, answers[1].token_from), (Some(TokenFrom::Newest), Some(TokenFrom::Segment)));
    for answer in &answers {
        let matched = answer.matched.unwrap();
        assert_eq!(matched % 3 == 2, answer.token == Some(10), "{answer:?}");
        assert_eq!(answer.match_rule, MatchRule::Token);
    }
    // Notes last as long as in the memory.
    let end = messages.iter().find(|message| message.bytes[0] == 0x80 && message.bytes[1] == starts[0].bytes[1]);
    assert!((end.unwrap().time - starts[0].time - 0.2).abs() < 1e-3);
}

#[test]
fn blocks_of_any_size_give_the_same_messages() {
    let samples = plucks(3.0, &[0.3, 0.7, 1.2, 1.25, 2.0, 2.6]);
    let of = |mode, block| {
        let mut settings = settings();
        settings.answer.mode = mode;
        play(&mut engine(settings), &samples, block)
    };
    for mode in [AnswerMode::Onset, AnswerMode::Continuous] {
        let reference = of(mode, samples.len());
        assert!(midi(&reference).len() >= 8);
        for block in [1, 39, 40, 41, 257, 4096] {
            assert_eq!(of(mode, block), reference, "{block}");
        }
    }
}

#[test]
fn a_compute_delay_makes_tokens_later() {
    let samples = plucks(2.0, &[0.5, 1.0]);
    let first_token = |delay| {
        let messages = midi(&play(
            &mut engine(EngineSettings { pace: Pace::Samples { compute_delay: delay }, ..settings() }),
            &samples,
            99,
        ));
        starts(&messages).iter().map(|start| start.answer.as_ref().unwrap().token).collect::<Vec<_>>()
    };
    assert_eq!(first_token(0.0), [Some(3), Some(10)]);
    assert_eq!(first_token(0.42), [None, Some(3)]);
    assert_eq!(first_token(5.0), [None, None]);
}

#[test]
fn a_continuous_answer_goes_on_until_the_rest() {
    let samples = plucks(6.0, &[0.5]);
    let mut settings = settings();
    settings.answer = AnswerSettings { mode: AnswerMode::Continuous, rest: 2.0, ..AnswerSettings::default() };
    let mut engine = engine(settings);
    let messages = midi(&play(&mut engine, &samples, 300));
    check_pairs(&messages);
    let times: Vec<f64> = starts(&messages).iter().map(|start| start.time).collect();
    assert!((8..=9).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.25).abs() < 0.006), "{times:?}");
    assert!(times.last().unwrap() < &2.6);
    assert_eq!(engine.status().counts.answers, times.len() as u64);
}

#[test]
fn notes_are_moved_and_cut() {
    let events = (0..10).map(|index| event(index, 3, &[60, 64])).collect();
    let mut settings = settings();
    settings.answer.cut = true;
    settings.answer.midi.transpose = -12;
    settings.answer.midi.channel = 4;
    let encoder = Box::new(Loudness { fails_at: None });
    let mut engine =
        Engine::new(settings, encoder, oracle_of(events), Centres::default(), Modes::default(), None).unwrap();
    let messages = midi(&play(&mut engine, &plucks(1.2, &[0.5, 0.68]), 64));
    check_pairs(&messages);
    let bytes: Vec<[u8; 3]> = messages.iter().map(|message| message.bytes).collect();
    assert_eq!(bytes[..2], [[0x94, 48, 90], [0x94, 52, 90]]);
    assert_eq!(messages.iter().filter(|message| message.cause == Cause::Release).count(), 2, "{messages:?}");
}

#[test]
fn commands_change_the_request_and_unmet_conditions_are_named() {
    let samples = plucks(3.0, &[0.5, 1.0, 1.5, 2.0, 2.5]);
    let mut engine = engine(settings());
    engine.plan(1.25, "{\"index\": 7}".parse().unwrap());
    engine.plan(1.75, r#"[{"gesture_token": 10}, {"gesture_token": 777}]"#.parse().unwrap());
    engine.plan(2.25, Command::Panic);
    engine.plan(2.3, Command::Mode(Some("calm".to_string())));
    engine.plan(2.75, Command::Quit);
    let outputs = play(&mut engine, &samples, 100);
    let messages = midi(&outputs);
    check_pairs(&messages);
    let events: Vec<u32> = starts(&messages).iter().map(|start| start.answer.as_ref().unwrap().event).collect();
    assert_eq!(events[2], 7, "{events:?}");
    assert_eq!(events[3] % 3, 2, "{events:?}");
    let notices = notices(&outputs);
    assert!(notices.iter().any(|notice| notice.contains("`gesture_token == 777` is dropped")), "{notices:?}");
    assert!(notices.iter().any(|notice| notice.contains("unknown mode `calm`")), "{notices:?}");
    let panics = messages.iter().filter(|message| message.cause == Cause::Panic).count();
    assert_eq!((panics, engine.has_quit()), (32, true));
}

#[test]
fn modes_change_requests_and_transposition() {
    let modes = Modes::parse(
        "modes: [{name: loud, transpose: 12, request: {index: 5}, when: {level: {above: -20}}}, \
         {name: soft, transpose: -12, when: {level: {below: -30}}}]",
    )
    .unwrap();
    let rules = Box::new(crate::mode::Rules::new(&modes, 0.0));
    let mut engine = engine_with(settings(), modes, Some(rules));
    let outputs = play(&mut engine, &plucks(3.0, &[1.0, 1.2, 1.4, 1.6, 1.8, 2.0]), 100);
    let messages = midi(&outputs);
    check_pairs(&messages);
    let keys: Vec<u8> = starts(&messages).iter().map(|start| start.bytes[1]).collect();
    assert!(keys[0] < 60 && *keys.last().unwrap() == 77, "{keys:?}");
    assert_eq!(notices(&outputs), ["mode soft (by rule)", "mode loud (by rule)"]);
    assert_eq!(engine.status().mode.as_deref(), Some("loud"));
}

#[test]
fn gaps_are_silence_and_blocks_from_the_past_are_refused() {
    let samples = plucks(1.0, &[0.5]);
    let mut engine = engine(settings());
    let mut outputs = engine.push(&samples[..1000], 0).unwrap();
    assert!(matches!(engine.push(&samples[..9], 999), Err(LiveError::Order { found: 999, heard: 1000 })));
    outputs.extend(engine.push(&samples[3000..], 3000).unwrap());
    outputs.extend(engine.push(&[f32::NAN, f32::INFINITY], 8000).unwrap());
    outputs.extend(engine.finish().unwrap());
    assert_eq!(starts(&midi(&outputs)).len(), 1);
    let counts = engine.status().counts;
    assert_eq!((counts.lost_samples, counts.invalid_samples), (2000, 2));
}

#[test]
fn events_without_notes_are_passed_and_oracles_without_any_are_refused() {
    let notes = |index: u32| if index == 7 { vec![99] } else { Vec::new() };
    let oracle = oracle_of((0..10).map(|index| event(index, 3, &notes(index))).collect());
    let mut settings = settings();
    settings.answer.navigation.continuity = 1.0;
    settings.answer.navigation.taboo = 0;
    settings.answer.navigation.max_continuity = None;
    let encoder = || Box::new(Loudness { fails_at: None });
    let new = |oracle| Engine::new(settings.clone(), encoder(), oracle, Centres::default(), Modes::default(), None);
    let mut engine = new(oracle).unwrap();
    let messages = midi(&play(&mut engine, &plucks(1.0, &[0.5]), 80));
    let answer = starts(&messages)[0].answer.clone().unwrap();
    assert_eq!(answer.event, 7);
    assert!(answer.passed > 0);

    let silent = oracle_of((0..3).map(|index| event(index, 3, &[])).collect());
    assert!(matches!(new(silent), Err(LiveError::Oracle { .. })));
    let symbols = OracleFile::build(Matching::Symbols, Material::Symbols(vec![1, 2]), Vec::new()).unwrap();
    assert!(matches!(new(Arc::new(symbols)), Err(LiveError::Oracle { .. })));
}

#[test]
fn a_token_that_the_memory_lacks_is_its_nearest_centre() {
    let oracle = oracle_of((0..9).map(|index| event(index, index % 2, &[60 + index as u8])).collect());
    // Tokens 3 and 10 lie at token 1.
    let mut centres = Centres { values: vec![0.0; 22], dim: 2 };
    for token in [1, 3, 10] {
        centres.values[2 * token] = 1.0;
    }
    let encoder = || Box::new(Loudness { fails_at: None });
    let new =
        |centres| Engine::new(settings(), encoder(), Arc::clone(&oracle), centres, Modes::default(), None).unwrap();
    let samples = plucks(1.0, &[0.5]);
    let answer = |centres| starts(&midi(&play(&mut new(centres), &samples, 80)))[0].answer.clone().unwrap();
    let near = answer(centres);
    assert_eq!((near.match_rule, near.matched.unwrap() % 2), (MatchRule::NearestCentre, 1));
    let none = answer(Centres::default());
    assert_eq!((none.match_rule, none.matched), (MatchRule::None, None));
}

#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<TimedMidi>>>);

impl MidiSink for Recording {
    fn send(&mut self, message: &TimedMidi) -> Result<()> {
        self.0.lock().unwrap().push(message.clone());
        Ok(())
    }
}

/// A long note at 0.5 s that nothing but the end of the session ends.
fn session_with<'a>(
    recording: &Recording,
    fails_at: Option<u64>,
    pace: Pace,
    stop: &'a AtomicBool,
    report: &'a mut dyn FnMut(crate::Report<'_>),
) -> Session<'a> {
    let mut long = event(0, 3, &[60]);
    (long.end, long.notes[0].end) = (1000.0, 1000.0);
    let oracle = oracle_of(vec![long]);
    let encoder = Box::new(Loudness { fails_at });
    let settings = EngineSettings { pace, ..settings() };
    let engine = Engine::new(settings, encoder, oracle, Centres::default(), Modes::default(), None).unwrap();
    Session { engine, outlet: Outlet::new(vec![Box::new(recording.clone())]), stop, report }
}

#[test]
fn every_way_to_end_ends_the_notes() {
    let samples = plucks(1.5, &[0.5]);
    let pace = Pace::Samples { compute_delay: 0.0 };
    for way in ["input", "signal", "error", "panic"] {
        let (recording, stop) = (Recording::default(), AtomicBool::new(false));
        let mut report = |_: crate::Report<'_>| ();
        let fails_at = (way == "panic").then_some(100);
        let session = session_with(&recording, fails_at, pace, &stop, &mut report);
        let mut blocks = samples.chunks(800);
        let run = AssertUnwindSafe(|| {
            session.run(|| {
                let block = blocks.next().map(<[f32]>::to_vec);
                if blocks.len() == 2 && way == "signal" {
                    stop.store(true, Ordering::Relaxed);
                }
                match way == "error" && blocks.len() == 2 {
                    true => Err(LiveError::Thread { name: "the source" }),
                    false => Ok(block),
                }
            })
        });
        let result = std::panic::catch_unwind(run);
        let messages = recording.0.lock().unwrap();
        check_pairs(&messages);
        assert_eq!(starts(&messages).len(), 1, "{way}");
        let panics = messages.iter().filter(|message| message.cause == Cause::Panic).count();
        match way {
            "input" => assert!(panics == 0 && matches!(result, Ok(Ok(summary)) if summary.ending == Ending::Input)),
            "signal" => assert!(panics == 0 && matches!(result, Ok(Ok(summary)) if summary.ending == Ending::Stopped)),
            "error" => assert!(panics == 33 && matches!(result, Ok(Err(LiveError::Thread { .. })))),
            _ => assert!(panics == 33 && result.is_err()),
        }
    }
}

#[test]
fn by_the_clock_a_session_answers_and_ends() {
    let samples = plucks(1.5, &[0.5]);
    for way in ["input", "quit", "panic"] {
        let (recording, stop) = (Recording::default(), AtomicBool::new(false));
        let mut report = |_: crate::Report<'_>| ();
        let fails_at = (way == "panic").then_some(100);
        let session = session_with(&recording, fails_at, Pace::Clock, &stop, &mut report);
        let (mut writer, reader) = ring(RATE, 10.0);
        let (send, commands) = channel();
        let feeder = {
            let samples = samples.clone();
            std::thread::spawn(move || {
                for (index, block) in samples.chunks(400).enumerate() {
                    assert!(writer.push(block, 1));
                    // Slow enough that the thread of the model takes part.
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    if index == 25 && way == "quit" {
                        let _ = send.send(Command::Quit);
                    }
                }
            })
        };
        let result = session.run_by_clock(reader, &commands);
        feeder.join().unwrap();
        let messages = recording.0.lock().unwrap();
        check_pairs(&messages);
        assert_eq!(starts(&messages).len(), 1, "{way}");
        match (way, result) {
            ("panic", Err(LiveError::Thread { name: "the forward pass" })) => {}
            ("quit", Ok(summary)) => assert_eq!(summary.ending, Ending::Quit),
            ("input", Ok(summary)) => {
                assert_eq!((summary.ending, summary.latencies.count()), (Ending::Input, 1));
                let [median, _, worst] = summary.latencies.summary().unwrap();
                assert!(median > 0.0 && worst < 10.0);
            }
            (way, result) => panic!("{way}: {result:?}"),
        }
    }
}

#[test]
fn few_tokens_show_as_a_collapse() {
    let training = crate::TokenUse::of([1; 64]);
    let mut engine = engine(settings());
    play(&mut engine, &vec![0.0; 4 * RATE as usize], 4000);
    let status = engine.status();
    assert!(status.has_collapsed(&training), "{status:?}");
    assert!(!status.has_collapsed(&crate::TokenUse::of([9])));
}
