//! Rhythms beside the published analysis.

mod vectors;

use super::*;
use vectors::VECTORS;

#[test]
fn analyses_are_those_of_the_published_program() {
    for (onsets, units, tempo, length, rotation, deviation, patterns) in VECTORS {
        let found = analyse(onsets).unwrap().unwrap();
        assert_eq!(found.units, units, "{onsets:?}");
        assert_eq!(found.patterns, patterns, "{onsets:?}");
        // The vectors have nine digits.
        assert!((found.unit_tempo / tempo - 1.0).abs() < 1e-8, "{onsets:?}: {} {tempo}", found.unit_tempo);
        let sum: f64 = found.deviations.iter().map(|d| d.abs()).sum();
        assert!((sum - deviation).abs() < 1e-8, "{onsets:?}: {sum} {deviation}");
        assert_eq!(pulse(&found.units), Pulse { length, rotation }, "{onsets:?}");
    }
}

#[test]
fn the_rhythms_of_the_facts_have_their_units_tempo_and_pulse() {
    let rhythms: [(&[f64], &[u64], f64, u64); 3] = [
        (&[0.0, 1.0, 1.5, 2.0, 3.0], &[2, 1, 1, 2], 120.0, 2),
        (&[0.0, 1.0, 1.33, 1.66, 2.0, 3.0], &[3, 1, 1, 1, 3], 180.05, 3),
        (&[0.0, 0.725, 1.12, 1.472, 2.005, 2.198, 2.933], &[4, 2, 2, 3, 1, 4], 326.93, 2),
    ];
    for (onsets, units, tempo, length) in rhythms {
        let found = analyse(onsets).unwrap().unwrap();
        assert_eq!(found.units, units);
        assert!((found.unit_tempo - tempo).abs() < 0.005, "{}", found.unit_tempo);
        assert_eq!(pulse(units).length, length);
    }
}

#[test]
fn an_even_rhythm_has_the_best_score() {
    let onsets: Vec<f64> = (0..9).map(|index| 10.0 + 0.25 * f64::from(index)).collect();
    let found = analyse(&onsets).unwrap().unwrap();
    assert_eq!((found.units, found.score, found.patterns), (vec![1; 8], 0.0, 1));
    assert!((found.unit_tempo - 240.0).abs() < 1e-9);
    assert!(found.deviations.iter().all(|d| d.abs() < 1e-9));
}

#[test]
fn onsets_that_do_not_ascend_are_refused() {
    for onsets in [&[0.0, 0.0][..], &[1.0, 0.5], &[0.0, f64::NAN], &[0.0, f64::INFINITY]] {
        assert!(analyse(onsets).unwrap_err().to_string().contains("onset 1"), "{onsets:?}");
        assert!(rhythm_values(onsets, &PhraseSettings::default()).is_err());
    }
    assert_eq!(analyse(&[]).unwrap(), None);
    assert_eq!(analyse(&[3.0]).unwrap(), None);
    assert_eq!(analyse(&[3.0, 3.5]).unwrap().unwrap().unit_tempo, 120.0);
    // Lengths that differ by more than 64 keep a unit each, however much they differ.
    for onsets in [[0.0, 0.001, 100.0], [0.0, 1e-300, 1.0], [0.0, f64::MIN_POSITIVE, 1e300]] {
        let found = analyse(&onsets).unwrap().unwrap();
        assert!(found.units.iter().all(|&length| (1..1 << 40).contains(&length)) && found.unit_tempo.is_finite());
    }
}

#[test]
fn phrases_end_at_gaps_and_at_their_longest() {
    let settings = PhraseSettings { max_gap: 1.0, max_intervals: 3 };
    let spans = |onsets: &[f64]| -> Vec<(usize, usize, bool)> {
        phrases(onsets, &settings).iter().map(|phrase| (phrase.first, phrase.last, phrase.is_continued)).collect()
    };
    assert_eq!(spans(&[]), []);
    assert_eq!(spans(&[1.0]), [(0, 0, false)]);
    assert_eq!(spans(&[0.0, 0.5, 2.0, 2.5, 3.0]), [(0, 1, false), (2, 4, false)]);
    assert_eq!(spans(&[0.0, 0.5, 1.0, 1.5, 2.0]), [(0, 3, true), (3, 4, false)]);
    // A phrase that is full where the recording ends, or where a gap follows, is not continued by one onset.
    assert_eq!(spans(&[0.0, 0.5, 1.0, 1.5]), [(0, 3, false)]);
    assert_eq!(spans(&[0.0, 0.5, 1.0, 1.5, 9.0]), [(0, 3, false), (4, 4, false)]);
    assert_eq!(spans(&[0.0, 5.0, 10.0]), [(0, 0, false), (1, 1, false), (2, 2, false)]);
    for bad in [PhraseSettings { max_gap: 0.0, ..settings }, PhraseSettings { max_intervals: 1, ..settings }] {
        assert!(rhythm_values(&[0.0], &bad).is_err());
    }
}

#[test]
fn events_have_the_values_of_their_phrase() {
    // A quarter, two eighths and a quarter at 60 pulses a minute, a pause, and the same twice as fast, the last onset late.
    let slow = [0.0, 1.0, 1.5, 2.0, 3.0];
    let fast = slow.map(|time| 10.0 + time / 2.0);
    let onsets: Vec<f64> = slow.into_iter().chain(fast).collect();
    let events = rhythm_values(&onsets, &PhraseSettings::default()).unwrap();
    assert_eq!(events.len(), 10);
    let column = |index: usize| -> Vec<Option<f64>> { events.iter().map(|event| event.values[index]).collect() };
    let phrase = [Some(2.0), Some(1.0), Some(1.0), Some(2.0), None];
    assert_eq!(column(0), [phrase, phrase].concat());
    assert!(column(1).iter().all(|deviation| deviation.unwrap().abs() < 1e-9));
    assert!(column(2).iter().all(|polarity| *polarity == Some(0.0)));
    assert!(column(3).iter().all(|length| *length == Some(2.0)));
    assert_eq!(column(4)[..5], [0.0, 0.0, 1.0, 0.0, 0.0].map(Some));
    let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
    assert!(near(column(5)[0], 120.0) && near(column(5)[9], 240.0));
    assert!(near(column(6)[0], 60.0) && near(column(6)[9], 120.0));
    assert!(near(column(7)[3], 2.0));
    assert_eq!(column(8)[..5], [None; 5]);
    assert_eq!(column(8)[5..], [Some(2.0); 5]);
    assert!(near(column(9)[0], 4.0 / 3.0) && near(column(9)[9], 8.0 / 3.0));
    assert!(near(column(10)[0], 0.2));
    let ratios: Vec<_> = events[..5].iter().map(|event| event.ratio).collect();
    assert_eq!(ratios, [None, Some([1, 2]), Some([1, 1]), Some([2, 1]), None]);
}

#[test]
fn polarity_says_early_and_late_beyond_a_twentieth() {
    let mut onsets: Vec<f64> = (0..9).map(|index| f64::from(index) * 0.5).collect();
    onsets[3] += 0.06;
    onsets[6] -= 0.06;
    let events = rhythm_values(&onsets, &PhraseSettings::default()).unwrap();
    assert_eq!((events[3].values[2], events[6].values[2], events[1].values[2]), (Some(1.0), Some(-1.0), Some(0.0)));
}

#[test]
fn a_phrase_that_continues_another_has_the_ratio_and_the_deviation_over_the_border() {
    let onsets = [0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 3.5];
    let settings = PhraseSettings { max_gap: 2.0, max_intervals: 3 };
    let events = rhythm_values(&onsets, &settings).unwrap();
    assert_eq!(events[3].ratio, Some([1, 2]));
    assert_eq!(events[3].values[0], Some(1.0));
    assert_eq!(events[3].values[8], Some(1.0));
    assert!(events[3].values[1].unwrap().abs() < 1e-9);
}

#[test]
fn live_values_come_from_the_past_alone() {
    let onsets = [0.0, 1.0, 1.5, 2.0, 3.0, 9.0, 9.25, 9.5];
    let mut recent = RecentRhythm::new(PhraseSettings::default()).unwrap();
    let live: Vec<_> = onsets.iter().map(|&onset| recent.push(onset).unwrap()).collect();
    assert_eq!((live[0], live[5]), (None, None));
    // At the end of a phrase the past is the whole phrase: the same values as offline.
    let offline = rhythm_values(&onsets, &PhraseSettings::default()).unwrap();
    assert_eq!(live[4], Some(offline[3]));
    assert_eq!(live[7], Some(offline[6]));
    assert!(recent.push(9.5).is_err() && recent.push(9.75).is_ok());
    // A long run forgets its start: a change of tempo shows as a factor.
    let mut recent = RecentRhythm::new(PhraseSettings { max_gap: 2.0, max_intervals: 4 }).unwrap();
    let (mut time, mut last) = (0.0, None);
    for index in 0..16 {
        time += if index < 8 { 0.5 } else { 0.25 };
        last = recent.push(time).unwrap();
    }
    assert!((last.unwrap().values[5].unwrap() - 240.0).abs() < 1e-6, "{last:?}");
}
