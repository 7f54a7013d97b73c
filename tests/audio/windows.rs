//! The windows of a stream, compared with a model that has the whole track at once.

use mert_audio::{
    AudioError, MAX_WINDOW_SECONDS, Resampler, Result, Seconds, Source, Tail, Window, WindowPolicy, Windows,
};
use proptest::prelude::*;

use crate::sound::noise;

/// A source that returns `signal` in blocks of `lengths`, which repeat.
#[derive(Default)]
struct Blocks {
    signal: Vec<f32>,
    rate: u32,
    lengths: Vec<usize>,
    position: usize,
    number: usize,
    /// The part in percent of the samples that may be skipped, which the source skips.
    skippable: u64,
    /// Whether the source ends with an error.
    fails: bool,
}

impl Source for Blocks {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn next_block(&mut self) -> Result<Option<&[f32]>> {
        if self.position == self.signal.len() {
            return if self.fails { Err(AudioError::EmptyFile) } else { Ok(None) };
        }
        let start = self.position;
        self.position = (start + self.lengths[self.number % self.lengths.len()]).min(self.signal.len());
        self.number += 1;
        Ok(Some(&self.signal[start..self.position]))
    }

    fn skip(&mut self, samples: u64) -> Result<u64> {
        let left = (self.signal.len() - self.position) as u64;
        let skipped = (samples * self.skippable / 100).min(left);
        self.position += skipped as usize;
        Ok(skipped)
    }
}

/// The starts and lengths of the windows of a signal of `samples` at the model's rate; or, if there are none, the
/// smallest number of samples that has some.
fn model(
    samples: usize,
    rate: u32,
    policy: &WindowPolicy,
    tail: Tail,
    min_samples: usize,
) -> Result<Vec<(usize, usize)>, usize> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut needed = min_samples;
    match policy {
        WindowPolicy::Whole => found.push((0, samples)),
        WindowPolicy::Middle(length) => {
            let length = length.samples(rate).min(samples);
            found.push(((samples - length) / 2, length));
        }
        WindowPolicy::Sliding { length, hop } => {
            let (length, hop) = (length.samples(rate), hop.samples(rate));
            found.extend((0..).map(|k| k * hop).take_while(|start| start + length <= samples).map(|s| (s, length)));
            let covered = found.last().map_or(0, |(start, length)| start + length);
            let next = found.len() * hop;
            if tail == Tail::Drop {
                needed = length;
            } else if found.is_empty() {
                found.push((0, samples));
            } else if covered < samples && tail == Tail::Align {
                found.push((samples - length, length));
            } else if covered < samples && samples >= next + rate as usize {
                found.push((next, samples - next));
            }
        }
    }
    // Only a remainder at the end is ever shorter than a window.
    found.retain(|&(_, length)| length >= min_samples.max(1));
    if found.is_empty() { Err(needed) } else { Ok(found) }
}

/// All windows of a stream, which then stays at its end.
fn found(mut windows: Windows<Blocks>) -> Result<Vec<Window>> {
    let result = std::iter::from_fn(|| windows.next_window().transpose()).collect();
    assert!(windows.next_window().unwrap().is_none());
    result
}

/// The parameters of a comparison.
#[derive(Debug, Clone)]
struct Case {
    samples: usize,
    from: u32,
    to: u32,
    policy: WindowPolicy,
    tail: Tail,
    min_samples: usize,
    blocks: Vec<usize>,
    skippable: u64,
}

/// Random parameters. Rates are low, so that seconds have few samples. The smallest input of the model is below a
/// second, as for every model.
fn cases() -> impl Strategy<Value = Case> {
    let millis = || prop_oneof![1u32..50, 1u32..4000, Just(1000u32), Just(500u32), Just(2000u32)];
    let seconds = |millis: u32| Seconds::new(f64::from(millis) / 1000.0).unwrap();
    let policy = prop_oneof![
        1 => Just(WindowPolicy::Whole),
        2 => millis().prop_map(move |length| WindowPolicy::Middle(seconds(length))),
        6 => (millis(), millis())
            .prop_map(move |(length, hop)| WindowPolicy::Sliding { length: seconds(length), hop: seconds(hop) }),
        1 => millis().prop_map(move |length| WindowPolicy::Sliding { length: seconds(length), hop: seconds(length) }),
    ];
    let rates = prop_oneof![
        4 => Just((1000u32, 1000u32)),
        1 => Just((2000, 1000)),
        1 => Just((1000, 1500)),
        1 => Just((1470, 1000)),
    ];
    let tail = prop_oneof![Just(Tail::Align), Just(Tail::Keep), Just(Tail::Drop)];
    let samples = prop_oneof![
        1 => 0usize..10,
        4 => 0usize..9000,
        // Multiples of many of the lengths and hops.
        2 => (0usize..18).prop_map(|k| 500 * k),
        1 => (1usize..9, 0usize..3).prop_map(|(k, off)| 1000 * k + off - 1),
    ];
    let blocks = prop_oneof![
        Just(vec![1usize]),
        Just(vec![100_000]),
        prop::collection::vec(1usize..50, 1..5),
        prop::collection::vec(1usize..3000, 1..5),
    ];
    let min_samples = prop_oneof![Just(0usize), Just(1), 1usize..900];
    let skippable = prop_oneof![Just(0u64), Just(100), 0u64..=100];
    (samples, rates, policy, tail, min_samples, blocks, skippable).prop_map(
        |(samples, (from, to), policy, tail, min_samples, blocks, skippable)| Case {
            samples,
            from,
            to,
            policy,
            tail,
            min_samples,
            blocks,
            skippable,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_are_those_of_the_whole_track(case in cases()) {
        let Case { samples, from, to, policy, tail, min_samples, blocks, skippable } = case;
        let signal = noise(samples);
        let mut resampled = Vec::new();
        let mut resampler = Resampler::new(from, to).unwrap();
        resampler.push(&signal, |piece| resampled.extend_from_slice(piece));
        resampler.finish(|piece| resampled.extend_from_slice(piece));
        prop_assert_eq!(resampled.len(), (samples * to as usize + from as usize / 2) / from as usize);

        let source = Blocks { signal, rate: from, lengths: blocks, skippable, ..Blocks::default() };
        let windows = Windows::new(source, to, &policy, tail, min_samples, Some(resampled.len() as u64));
        let longest = match policy {
            WindowPolicy::Whole => usize::MAX,
            WindowPolicy::Middle(length) | WindowPolicy::Sliding { length, .. } => length.samples(to),
        };
        if longest < min_samples {
            let refused = matches!(windows, Err(AudioError::TooShort { samples, needed })
                if samples == longest as u64 && needed == min_samples);
            prop_assert!(refused, "windows that the model cannot take");
            return Ok(());
        }
        match (found(windows.unwrap()), model(resampled.len(), to, &policy, tail, min_samples)) {
            (Ok(found), Ok(expected)) => {
                let places: Vec<_> = found.iter().map(|w| (w.start as usize, w.samples.len())).collect();
                prop_assert_eq!(&places, &expected);
                for (i, window) in found.iter().enumerate() {
                    prop_assert_eq!(window.index, i);
                    let (start, length) = expected[i];
                    prop_assert!(window.samples == resampled[start..start + length], "contents of window {}", i);
                }
            }
            (Err(AudioError::TooShort { samples, needed }), Err(expected)) => {
                prop_assert_eq!((samples, needed), (resampled.len() as u64, expected));
            }
            (found, expected) => prop_assert!(false, "{:?}, expected {:?}", found.map(|w| w.len()), expected),
        }
    }
}

/// The tracks are so long that the buffer drops samples many times, which the small cases above never reach.
#[test]
fn long_tracks_have_the_same_windows_as_short_ones() {
    let signal = noise(1_000_001);
    let rate = 24_000;
    for (length, hop) in [(5.0, 2.5), (2.0, 0.1), (1.0, 3.0), (0.02, 4.9), (9.0, 8.999), (0.5, 0.5), (40.0, 1.0)] {
        let policy = WindowPolicy::Sliding { length: Seconds::new(length).unwrap(), hop: Seconds::new(hop).unwrap() };
        for tail in [Tail::Align, Tail::Keep, Tail::Drop] {
            for lengths in [vec![1152], vec![1, 70_000, 300_000], vec![2_000_000]] {
                let source = Blocks { signal: signal.clone(), rate, lengths, ..Blocks::default() };
                let found = found(Windows::new(source, rate, &policy, tail, 400, None).unwrap()).unwrap();
                let expected = model(signal.len(), rate, &policy, tail, 400).unwrap();
                assert_eq!(found.len(), expected.len(), "{policy}, {tail}");
                for (window, (start, length)) in found.iter().zip(expected) {
                    assert!(window.start == start as u64 && window.samples == signal[start..start + length]);
                }
            }
        }
    }
}

#[test]
fn whole_tracks_have_a_maximum_length() {
    let rate = 1000;
    let limit = (MAX_WINDOW_SECONDS * rate) as usize;
    let windows = |samples: usize| {
        let source = Blocks { signal: noise(samples), rate, lengths: vec![999], ..Blocks::default() };
        Windows::new(source, rate, &WindowPolicy::Whole, Tail::Align, 400, None).unwrap()
    };
    let all = found(windows(limit)).unwrap();
    assert!(all.len() == 1 && all[0].samples.len() == limit);
    let mut one_more = windows(limit + 1);
    assert!(matches!(one_more.next_window(), Err(AudioError::TooLong { limit: MAX_WINDOW_SECONDS })));
}

#[test]
fn the_middle_of_a_stream_needs_its_length() {
    let source = Blocks { signal: noise(5000), rate: 1000, lengths: vec![100], ..Blocks::default() };
    let policy: WindowPolicy = "middle:2s".parse().unwrap();
    let error = Windows::new(source, 1000, &policy, Tail::Align, 400, None).err().expect("an error");
    assert!(matches!(error, AudioError::InvalidWindow { .. }));
}

/// A stated length may be wrong: a source that ends before its supposed middle has no window.
#[test]
fn a_source_shorter_than_stated_has_no_window() {
    for (from, to, skippable) in [(1000, 1000, 0), (1000, 1000, 100), (1470, 1000, 0), (1470, 1000, 50)] {
        let source = Blocks { signal: noise(5000), rate: from, lengths: vec![100], skippable, ..Blocks::default() };
        let policy: WindowPolicy = "middle:2s".parse().unwrap();
        let mut windows = Windows::new(source, to, &policy, Tail::Align, 400, Some(20_000)).unwrap();
        let samples = (5000 * u64::from(to) + u64::from(from) / 2) / u64::from(from);
        let error = windows.next_window().unwrap_err();
        assert!(matches!(error, AudioError::TooShort { samples: found, .. } if found == samples), "{error}");
    }
}

/// A source that fails late yields its earlier windows, and no wrong last one.
#[test]
fn windows_are_yielded_before_an_error_and_none_after() {
    for (policy, expected) in [("sliding:2s/1s", 3), ("sliding:10s", 0), ("whole", 0)] {
        let source = Blocks { signal: noise(4500), rate: 1000, lengths: vec![100], fails: true, ..Blocks::default() };
        let mut windows = Windows::new(source, 1000, &policy.parse().unwrap(), Tail::Align, 400, None).unwrap();
        for _ in 0..expected {
            assert!(windows.next_window().unwrap().is_some());
        }
        for _ in 0..3 {
            assert!(matches!(windows.next_window(), Err(AudioError::EmptyFile)), "{policy}");
        }
    }
}
