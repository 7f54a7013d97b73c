//! Joined segments of sines and noise: identical where the recording goes on, without clicks where it does not.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn sine(length: usize, period: f64, amplitude: f64) -> Vec<f32> {
    (0..length).map(|n| (amplitude * (n as f64 / period * std::f64::consts::TAU).sin()) as f32).collect()
}

fn segment(recording: &[f32], start: usize, end: usize) -> Segment<'_> {
    Segment { recording, start, end }
}

#[test]
fn a_sine_that_is_split_and_rejoined_is_the_same() {
    let whole = sine(10_000, 37.3, 0.8);
    let cuts = [0, 1, 800, 801, 5000, 10_000];
    let segments: Vec<_> = cuts.windows(2).map(|cut| segment(&whole, cut[0], cut[1])).collect();
    let rendered = join_segments(&segments, 240).unwrap();
    assert_eq!(rendered.samples, whole);
    assert_eq!((rendered.continued, rendered.faded, rendered.gain), (4, 0, 1.0));
}

#[test]
fn joins_do_not_click() {
    let (a, b) = (sine(9000, 50.0, 0.5), sine(9000, 83.0, 0.5));
    let segments = [segment(&a, 1013, 4000), segment(&b, 2020, 6000), segment(&a, 100, 3013)];
    // The largest step of the sines themselves is 0.5·2π/50.
    let step = |samples: &[f32]| samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0f32, f32::max);
    let faded = join_segments(&segments, 240).unwrap();
    assert_eq!((faded.samples.len(), faded.faded), (2987 + 3980 + 2913, 2));
    assert!(step(&faded.samples) < 0.08, "{}", step(&faded.samples));
    assert!(faded.samples[0].abs() < 0.01 && faded.samples[faded.samples.len() - 1].abs() < 0.01);
    // Without a fade the same joins do.
    assert!(step(&join_segments(&segments, 0).unwrap().samples) > 0.2);
}

#[test]
fn a_fade_of_noise_keeps_its_power() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut noise = || -> Vec<f32> { (0..60_000).map(|_| random.random_range(-0.5f32..0.5)).collect() };
    let (a, b) = (noise(), noise());
    let rendered = join_segments(&[segment(&a, 0, 30_000), segment(&b, 30_000, 60_000)], 15_000).unwrap();
    let power = |range: std::ops::Range<usize>| {
        let sum: f32 = rendered.samples[range.clone()].iter().map(|x| x * x).sum();
        f64::from(sum) / range.len() as f64
    };
    // Uniform noise has a power of 1/12; of 5000 samples it is off by 1.3% (one sigma). A linear fade would have half of it.
    for start in [30_000, 35_000, 40_000] {
        assert!((power(start..start + 5000) * 12.0 - 1.0).abs() < 0.06);
    }
}

#[test]
fn what_would_clip_is_made_softer_as_a_whole() {
    let loud = vec![1.0f32; 4000];
    let rendered = join_segments(&[segment(&loud, 0, 1000), segment(&loud, 2000, 4000)], 400).unwrap();
    let peak = rendered.samples.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    assert!(peak <= 1.0 && rendered.gain < 0.71, "{peak} {}", rendered.gain);
    assert!((rendered.samples[0] - rendered.gain).abs() < 1e-6);
}

#[test]
fn short_segments_and_ends_of_recordings_shorten_the_fade() {
    let a = sine(1000, 50.0, 0.5);
    let rendered = join_segments(&[segment(&a, 990, 1000), segment(&a, 3, 6), segment(&a, 0, 1)], 240).unwrap();
    assert_eq!(rendered.samples.len(), 14);
    assert!(rendered.samples.iter().all(|sample| sample.is_finite()));
    assert_eq!(join_segments(&[], 10).unwrap().samples, [0.0f32; 0]);
    for (start, end) in [(5, 5), (6, 5), (0, 1001)] {
        let message = join_segments(&[segment(&a, start, end)], 10).unwrap_err().to_string();
        assert!(message.contains("of 1000 samples"), "{message}");
    }
}
