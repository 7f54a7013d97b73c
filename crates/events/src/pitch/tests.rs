//! Pitches of generated sound over the whole range, beside their known frequencies.

use std::f64::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const RATE: u32 = 24_000;

fn sound(length: usize, value: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..length).map(|n| value(n as f64 / f64::from(RATE)) as f32).collect()
}

fn cents(found: f64, expected: f64) -> f64 {
    1200.0 * (found / expected).log2()
}

/// The largest error in cents from 42 Hz to 1.9 kHz, in steps of 70 cents, of a wave of partials with these amplitudes.
fn worst(amplitude: impl Fn(u32) -> f64) -> f64 {
    let mut tracker = PitchTracker::new(RATE, PitchSettings::default()).unwrap();
    let (mut hertz, mut worst) = (42.0, 0.0f64);
    while hertz < 1900.0 {
        // Partials above the highest frequency that the rate can hold are not there.
        let highest = (11_000.0 / hertz) as u32;
        let frame = sound(tracker.frame(), |t| {
            0.2 * (1..=highest.min(40))
                .map(|k| amplitude(k) * (TAU * f64::from(k) * (hertz * t + 0.1)).sin())
                .sum::<f64>()
        });
        let pitch = tracker.pitch(&frame).unwrap_or_else(|| panic!("no pitch at {hertz} Hz"));
        worst = worst.max(cents(pitch.hertz, hertz).abs());
        hertz *= 2f64.powf(70.0 / 1200.0);
    }
    worst
}

#[test]
fn pitches_are_within_cents_over_the_whole_range() {
    let sine = worst(|k| f64::from(u8::from(k == 1)));
    let sawtooth = worst(|k| 1.0 / f64::from(k));
    let square = worst(|k| if k % 2 == 1 { 1.0 / f64::from(k) } else { 0.0 });
    // The fundamental is not there; the ear, and YIN, hear it.
    let missing = worst(|k| if (2..=9).contains(&k) { 1.0 / f64::from(k) } else { 0.0 });
    println!(
        "largest error in cents: sine {sine:.2}, sawtooth {sawtooth:.2}, square {square:.2}, without fundamental {missing:.2}"
    );
    // Five cents are what a musician may hear; none is near an octave, 1200.
    for error in [sine, sawtooth, square, missing] {
        assert!(error < 5.0, "{sine} {sawtooth} {square} {missing}");
    }
}

#[test]
fn silence_noise_and_bad_frames_have_no_pitch() {
    let mut tracker = PitchTracker::new(RATE, PitchSettings::default()).unwrap();
    let length = tracker.frame();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    assert_eq!(tracker.pitch(&vec![0.0; length]), None);
    assert_eq!(tracker.pitch(&vec![0.7; length]), None, "a constant");
    assert_eq!(tracker.pitch(&sound(length, |t| 1e-4 * (TAU * 440.0 * t).sin())), None, "below the silence");
    let mut noisy = 0;
    for _ in 0..200 {
        let noise: Vec<f32> = (0..length).map(|_| random.random_range(-0.5f32..0.5)).collect();
        noisy += u32::from(tracker.pitch(&noise).is_some());
    }
    assert_eq!(noisy, 0, "of 200 frames of noise");
    let mut bad = sound(length, |t| (TAU * 440.0 * t).sin());
    assert!(tracker.pitch(&bad).is_some());
    assert_eq!(tracker.pitch(&bad[1..]), None);
    bad[7] = f32::NAN;
    assert_eq!(tracker.pitch(&bad), None);
    assert_eq!(tracker.pitch(&sound(length, |t| 0.3 * (TAU * 3500.0 * t).sin())), None, "above the range");
}

#[test]
fn noise_under_a_note_does_not_move_it() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut tracker = PitchTracker::new(RATE, PitchSettings::default()).unwrap();
    for hertz in [55.0, 196.0, 880.0] {
        // 20 dB below the note.
        let mut frame =
            sound(tracker.frame(), |t| 0.3 * ((TAU * hertz * t).sin() + 0.5 * (TAU * 2.0 * hertz * t).sin()));
        frame.iter_mut().for_each(|sample| *sample += random.random_range(-0.04f32..0.04));
        let found = tracker.pitch(&frame).unwrap();
        assert!(cents(found.hertz, hertz).abs() < 25.0, "{hertz}: {}", found.hertz);
    }
}

#[test]
fn settings_outside_their_range_are_refused() {
    let default = PitchSettings::default();
    for settings in [
        PitchSettings { lowest: 0.0, ..default },
        PitchSettings { highest: 41.0, ..default },
        PitchSettings { highest: 5000.0, ..default },
        PitchSettings { threshold: f64::NAN, ..default },
        PitchSettings { silence: 3.0, ..default },
    ] {
        assert!(PitchTracker::new(RATE, settings).is_err(), "{settings:?}");
    }
}

#[test]
fn the_note_of_a_segment_has_its_key_velocity_and_times() {
    let mut tracker = PitchTracker::new(RATE, PitchSettings::default()).unwrap();
    let samples = sound(48_000, |t| {
        let hertz = if t < 1.0 { 440.0 } else { 523.25 };
        0.5 * (TAU * hertz * t).sin() * if (0.5..1.0).contains(&t) { 0.0 } else { 1.0 }
    });
    let note = note_of(&mut tracker, &samples, 0, 12_000, RATE).unwrap();
    assert_eq!((note.key, note.start, note.end), (69, 0.0, 0.5));
    // An RMS of −9.03 dBFS.
    assert_eq!(note.velocity, 118);
    assert_eq!(note_of(&mut tracker, &samples, 12_000, 24_000, RATE), None);
    assert_eq!(note_of(&mut tracker, &samples, 24_000, 48_000, RATE).unwrap().key, 72);
    // Short segments, an empty one and one beyond the end.
    assert_eq!(note_of(&mut tracker, &samples, 0, 100, RATE).unwrap().key, 69);
    assert_eq!(note_of(&mut tracker, &samples, 47_990, 48_000, RATE), None);
    assert_eq!(note_of(&mut tracker, &samples, 60_000, 70_000, RATE), None);
    assert_eq!([key_of(8.0), key_of(440.0), key_of(20_000.0), key_of(f64::NAN)], [Some(0), Some(69), None, None]);
    assert_eq!([velocity_of(0.0), velocity_of(1.0)], [1, 127]);
}
