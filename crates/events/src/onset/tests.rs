//! Onsets of generated sound at known times, at several rates and in blocks of any size.

use std::f64::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Notes with harmonics that start at the times, decay and are released before the next one.
fn notes(rate: u32, times: &[f64], hertz: impl Fn(usize) -> f64, attack: f64, seconds: f64) -> Vec<f32> {
    let rate = f64::from(rate);
    let mut samples = vec![0.0f64; (seconds * rate) as usize];
    for (index, &start) in times.iter().enumerate() {
        let end = times.get(index + 1).copied().unwrap_or(seconds).min(start + 0.6);
        let first = (start * rate).round() as usize;
        for (n, sample) in samples[first..((end * rate) as usize).min((seconds * rate) as usize)].iter_mut().enumerate()
        {
            let t = n as f64 / rate;
            // Released over 20 ms: a tone that is cut off is a click.
            let envelope = (t / attack).min(1.0) * (-3.0 * t).exp() * ((end - start - t) / 0.02).min(1.0);
            let partial = |k: f64| (TAU * k * hertz(index) * t).sin() / k;
            *sample += 0.3 * envelope * (1..=6).map(|k| partial(f64::from(k))).sum::<f64>();
        }
    }
    samples.iter().map(|&sample| sample as f32).collect()
}

/// Random times with gaps from 0.12 s to 0.8 s.
fn times(random: &mut ChaCha8Rng, seconds: f64) -> Vec<f64> {
    let mut times = vec![random.random_range(0.0..0.3)];
    while times[times.len() - 1] < seconds - 1.0 {
        times.push(times[times.len() - 1] + random.random_range(0.12..0.8));
    }
    times
}

/// Hits within 20 ms, false onsets and missed ones.
fn judge(found: &[Onset], rate: u32, times: &[f64]) -> (usize, usize, usize) {
    let mut open: Vec<f64> = times.to_vec();
    let mut wrong = 0;
    for onset in found {
        let time = onset.sample as f64 / f64::from(rate);
        match open.iter().position(|expected| (expected - time).abs() <= 0.02) {
            Some(index) => drop(open.remove(index)),
            None => wrong += 1,
        }
    }
    (times.len() - open.len(), wrong, open.len())
}

fn white(random: &mut ChaCha8Rng, length: usize, amplitude: f32) -> Vec<f32> {
    (0..length).map(|_| amplitude * random.random_range(-1.0f32..1.0)).collect()
}

#[test]
fn clicks_and_notes_are_found_within_20_ms_at_every_rate() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for rate in [16_000, 24_000, 44_100, 48_000] {
        let times = times(&mut random, 12.0);
        let mut clicks = white(&mut random, 12 * rate as usize, 2e-4);
        for time in &times {
            let first = (time * f64::from(rate)).round() as usize;
            for (n, sample) in clicks[first..first + 40].iter_mut().enumerate() {
                *sample += if n % 2 == 0 { 0.5 } else { -0.5 };
            }
        }
        let found = onsets(&clicks, rate, OnsetSettings::default()).unwrap();
        assert_eq!(judge(&found, rate, &times), (times.len(), 0, 0), "clicks at {rate}");

        let keys: Vec<f64> =
            times.iter().map(|_| 440.0 * 2f64.powf(random.random_range(-24i32..24) as f64 / 12.0)).collect();
        for attack in [0.001, 0.01] {
            let sound = notes(rate, &times, |index| keys[index], attack, 12.0);
            let found = onsets(&sound, rate, OnsetSettings::default()).unwrap();
            let (hits, wrong, missed) = judge(&found, rate, &times);
            println!("{rate} Hz, attack {attack} s: {hits} hits, {wrong} wrong, {missed} missed");
            assert!(
                missed * 20 <= times.len() && wrong * 20 <= times.len(),
                "{hits} {wrong} {missed} of {}",
                times.len()
            );
        }
    }
}

#[test]
fn the_result_does_not_depend_on_the_blocks() {
    let rate = 24_000;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let times = times(&mut random, 6.0);
    let sound = notes(rate, &times, |index| 220.0 + 30.0 * index as f64, 0.003, 6.0);
    let whole = onsets(&sound, rate, OnsetSettings::default()).unwrap();
    assert!(whole.len() >= times.len() / 2);
    for size in [1, 63, 127, 128, 4096] {
        let mut detector = OnsetDetector::new(rate, OnsetSettings::default()).unwrap();
        let found: Vec<Onset> = sound.chunks(size).flat_map(|block| detector.push(block)).collect();
        assert_eq!(found, whole, "blocks of {size}");
    }
}

#[test]
fn an_onset_fires_within_the_latency_that_is_stated() {
    let rate = 24_000;
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let times = times(&mut random, 20.0);
    let sound = notes(rate, &times, |index| 110.0 * (1.0 + (index % 7) as f64), 0.003, 20.0);
    let mut detector = OnsetDetector::new(rate, OnsetSettings::default()).unwrap();
    let mut delays = Vec::new();
    let (mut heard, mut last) = (0, None);
    for block in sound.chunks(16) {
        heard += block.len() as u64;
        for onset in detector.push(block) {
            // What was detected has been heard, and was reported with the block that completed the hop.
            assert!(onset.sample <= onset.detected_at && heard - onset.detected_at < 16);
            assert!(onset.detected_at - onset.sample <= detector.latency());
            assert!(last.is_none_or(|last| onset.sample > last), "onsets ascend");
            last = Some(onset.sample);
            let time = onset.detected_at as f64 / f64::from(rate);
            let before = times.iter().copied().rfind(|start| *start <= time).unwrap();
            delays.push(((time - before) * f64::from(rate)) as u64);
        }
    }
    delays.sort_unstable();
    println!(
        "samples from attack to report at 24 kHz: median {}, worst {}",
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    );
    assert!(delays[delays.len() / 2] <= detector.latency() && delays.len() >= times.len() * 9 / 10);
}

#[test]
fn silence_steady_tones_vibrato_and_noise_are_no_onsets() {
    let rate = 24_000;
    let count = |samples: &[f32]| onsets(samples, rate, OnsetSettings::default()).unwrap().len();
    assert_eq!(count(&vec![0.0; 48_000]), 0);
    assert_eq!(count(&[]), 0);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    // The start of a sound is an onset. Loud white noise varies from frame to frame, and rarely as much as an onset.
    assert!((1..=4).contains(&count(&white(&mut random, 10 * 24_000, 0.3))));
    let tone: Vec<f32> = (0..240_000).map(|n| 0.4 * (TAU * 330.0 * n as f64 / 24_000.0).sin() as f32).collect();
    assert_eq!(count(&tone), 1);
    let vibrato: Vec<f32> = (0..240_000)
        .map(|n| n as f64 / 24_000.0)
        .map(|t| TAU * 440.0 * t + 440.0 * 0.03 / 6.0 * (TAU * 6.0 * t).sin())
        .map(|phase| 0.3 * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (3.0 * phase).sin()) as f32)
        .collect();
    assert_eq!(count(&vibrato), 1);
}

#[test]
fn sensitivity_and_gap_do_what_they_say() {
    let rate = 24_000;
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let noise = white(&mut random, 10 * 24_000, 0.3);
    let count = |sensitivity, min_gap, samples: &[f32]| {
        onsets(samples, rate, OnsetSettings { sensitivity, min_gap }).unwrap().len()
    };
    // What varies at random is an onset to the most sensitive detector, and only its start to the least.
    assert!(count(1.0, 0.06, &noise) > 10 && count(0.0, 0.06, &noise) == 1);
    // Pairs of clicks 50 ms apart.
    let mut clicks = vec![0.0f32; 48_000];
    for pair in 0..5 {
        for click in [0, 1200] {
            for n in 0..30 {
                clicks[3000 + pair * 8000 + click + n] = if n % 2 == 0 { 0.5 } else { -0.5 };
            }
        }
    }
    assert_eq!(count(0.5, 0.2, &clicks), 5);
    assert_eq!(count(0.5, 0.02, &clicks), 10);
    for (sensitivity, min_gap) in [(-0.1, 0.1), (f64::NAN, 0.1), (0.5, 0.0), (0.5, f64::INFINITY)] {
        let message = OnsetDetector::new(rate, OnsetSettings { sensitivity, min_gap }).unwrap_err().to_string();
        assert!(message.starts_with("invalid "), "{message}");
    }
    assert!(OnsetDetector::new(100, OnsetSettings::default()).is_err());
}

#[test]
fn invalid_samples_count_as_silence_and_are_counted() {
    let mut detector = OnsetDetector::new(24_000, OnsetSettings::default()).unwrap();
    assert_eq!(detector.push(&[f32::NAN; 5000]), []);
    assert_eq!(detector.invalid(), 5000);
    assert!(detector.push(&[0.5; 4000]).iter().all(|onset| onset.strength.is_finite()));
}
