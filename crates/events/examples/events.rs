//! A program around the library for `scripts/check/events.py`: onsets, pitches and notes as lines of text, and rendered files.
//!
//! ```text
//! events onsets RATE SENSITIVITY FILE.f32   onset and report, in samples
//! events pitch RATE FILE.f32                hertz of each frame, or 0
//! events notes FILE.mid                     key, velocity, start and end
//! events values KEYS                        consonance, harmonicity and root of keys with commas
//! events barlow P Q                         ξ of both, |h|
//! events render OUT.mid OUT.wav OUT16.wav   chosen events of a generated recording
//! ```

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::f64::consts::TAU;
use std::fs::{self, File};

use mert_events::barlow::{harmonicity, indigestibility};
use mert_events::consonance::consonance;
use mert_events::midi::read_midi;
use mert_events::onset::{OnsetDetector, OnsetSettings};
use mert_events::pitch::{PitchSettings, PitchTracker};
use mert_events::render::{MidiOptions, Segment, WavFormat, end_to_end, join_segments, midi_file, write_wav};
use mert_events::{Event, Note};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["onsets", rate, sensitivity, file] => {
            let settings = OnsetSettings { sensitivity: sensitivity.parse()?, ..OnsetSettings::default() };
            let mut detector = OnsetDetector::new(rate.parse()?, settings)?;
            // In blocks, as live.
            for block in samples(file)?.chunks(500) {
                for onset in detector.push(block) {
                    println!("{} {}", onset.sample, onset.detected_at);
                }
            }
        }
        ["pitch", rate, file] => {
            let mut tracker = PitchTracker::new(rate.parse()?, PitchSettings::default())?;
            let (samples, frame) = (samples(file)?, tracker.frame());
            for start in (0..samples.len().saturating_sub(frame)).step_by(frame / 4) {
                let hertz = tracker.pitch(&samples[start..start + frame]).map_or(0.0, |pitch| pitch.hertz);
                println!("{} {hertz}", start + frame / 2);
            }
        }
        ["notes", file] => {
            let read = read_midi(&fs::read(file)?)?;
            for Note { key, velocity, start, end } in read.notes {
                println!("{key} {velocity} {start} {end}");
            }
        }
        ["values", keys] => {
            let keys = keys.split(',').map(str::parse).collect::<Result<Vec<u8>, _>>()?;
            println!("{:?}", consonance(&keys, None));
        }
        ["barlow", p, q] => {
            let (p, q) = (p.parse()?, q.parse()?);
            println!("{} {} {}", indigestibility(p), indigestibility(q), harmonicity(p, q).unwrap_or(0.0));
        }
        ["render", midi, float, integers] => render(midi, float, integers)?,
        _ => return Err("expected one of the commands at the top of this file".into()),
    }
    Ok(())
}

fn samples(file: &str) -> Result<Vec<f32>, Box<dyn Error>> {
    Ok(fs::read(file)?
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect())
}

/// A recording of 16 notes of 0.25 s, of which some are chosen: 0 1 2, 5 5, 9 10 and 15.
fn render(midi: &str, float: &str, integers: &str) -> Result<(), Box<dyn Error>> {
    const RATE: u32 = 24_000;
    let key = |index: usize| [60u8, 62, 64, 65, 67, 69, 71, 72][index % 8] - 12 * (index / 8) as u8;
    let recording: Vec<f32> = (0..16 * 6000)
        .map(|n| {
            let hertz = 440.0 * 2f64.powf((f64::from(key(n / 6000)) - 69.0) / 12.0);
            (0.6 * (TAU * hertz * n as f64 / f64::from(RATE)).sin()) as f32
        })
        .collect();
    let events: Vec<Event> = (0..16)
        .map(|index| {
            let (start, end) = (index as f64 * 0.25, (index + 1) as f64 * 0.25);
            Event {
                source: 0,
                start,
                end,
                token: 0,
                first_frame: 0,
                frames: 0,
                notes: vec![Note { key: key(index), velocity: 90, start, end }],
                features: [None; 14],
                rhythm_ratio: None,
            }
        })
        .collect();
    let chosen: Vec<&Event> = [0, 1, 2, 5, 5, 9, 10, 15].iter().map(|&index: &usize| &events[index]).collect();
    let (bytes, report) = midi_file(&end_to_end(chosen.iter().copied()), &MidiOptions::default())?;
    fs::write(midi, bytes)?;
    let sample = |time: f64| (time * f64::from(RATE)).round() as usize;
    let segments: Vec<Segment<'_>> = chosen
        .iter()
        .map(|event| Segment { recording: &recording, start: sample(event.start), end: sample(event.end) })
        .collect();
    let rendered = join_segments(&segments, 240)?;
    write_wav(File::create(float)?, &rendered.samples, RATE, WavFormat::Float32)?;
    write_wav(File::create(integers)?, &rendered.samples, RATE, WavFormat::Int16)?;
    println!(
        "{} notes, {} joins continued, {} faded, gain {}",
        report.notes, rendered.continued, rendered.faded, rendered.gain
    );
    Ok(())
}
