//! Compror's and the information rate's vectors, entropy against its definition, and the rule of degenerate oracles.

use super::*;
use crate::{Distance, FactorOracle, Links, OracleError, Symbols, Vectors};

fn links(text: &str) -> Links {
    FactorOracle::build(Symbols::new(), text.bytes().map(u32::from)).unwrap().into_links()
}

#[test]
fn compror_of_the_known_vector() {
    let pairs: Vec<(u32, u32)> = compror(&links("abbbaab")).into_iter().map(Into::into).collect();
    assert_eq!(pairs, [(0, 1), (0, 2), (2, 2), (1, 1), (2, 1)]);
    assert!(compror(&links("")).is_empty());
}

#[test]
fn words_decode_to_the_text() {
    let text = "abbcabcdabcbbcabcdddabbc";
    let mut decoded = Vec::new();
    for word in compror(&links(text)) {
        match word {
            Word::New { state } => decoded.push(text.as_bytes()[state as usize - 1]),
            Word::Copy { length, start } => {
                for at in start..start + length {
                    decoded.push(decoded[at as usize - 1]);
                }
            }
        }
    }
    assert_eq!(decoded, text.as_bytes());
}

#[test]
fn information_rate_by_hand() {
    // Words: a, b, bb, a, ab.
    let rate = information_rate(&links("abbbaab"), 1.0);
    let log3 = 3f64.log2();
    assert_eq!(rate.h0, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let expected = [0.0, 1.0, log3 / 2.0, log3 / 2.0, 2.0, 5f64.log2() / 2.0, 5f64.log2() / 2.0];
    assert_eq!(rate.h1, expected);
    assert_eq!(rate.rate[2], 1.0 - log3 / 2.0);
    assert_eq!(rate.rate[4], 0.0);
    assert!(information_rate(&links("abbbaab"), 3.0).total() > rate.total());
}

#[test]
fn a_noisy_loop_has_a_plateau() {
    let rows: Vec<Vec<f64>> =
        (0..200).map(|at| vec![f64::from(at % 8) + 0.05 * f64::from(at * 37 % 11 - 5) / 5.0]).collect();
    let build = |threshold| {
        let oracle =
            FactorOracle::build(Vectors::new(Distance::Euclidean, threshold)?, rows.iter().map(Vec::as_slice))?;
        Ok(oracle.into_links())
    };
    let grid = Grid { start: 0.0, stop: 4.0, step: 0.25 };
    let search = threshold_search(grid, 1.0, build).unwrap();
    assert_eq!(search.curve.len(), 16);
    assert_eq!(search.curve[0].information_rate, 0.0);
    assert_eq!(search.best.clusters, 8);
    assert!(search.curve.iter().all(|score| score.information_rate <= search.best.information_rate));
    let first = search.curve.iter().find(|score| score.information_rate == search.best.information_rate).unwrap();
    assert_eq!(first.threshold, search.best.threshold);
    for grid in [
        Grid { step: 0.0, ..grid },
        Grid { stop: 0.0, ..grid },
        Grid { step: f64::NAN, ..grid },
        Grid { step: 1e-9, ..grid },
    ] {
        assert!(matches!(threshold_search(grid, 1.0, build), Err(OracleError::Option { .. })), "{grid:?}");
    }
}

#[test]
fn entropy_is_that_of_the_window() {
    let text: String = (0..400u32).map(|at| char::from(b'a' + (at * at / 7 % 13) as u8)).collect();
    let links = links(&text);
    for window in [1, 2, 7, 64, 1000] {
        let found = entropy_over_time(&links, window);
        assert_eq!(found.len(), text.len());
        for (at, value) in found.iter().enumerate() {
            let part = &text.as_bytes()[(at + 1).saturating_sub(window as usize)..=at];
            let share = |letter: u8| part.iter().filter(|other| **other == letter).count() as f64 / part.len() as f64;
            let terms = (b'a'..=b'z').map(share).filter(|share| *share > 0.0).map(|share| -share * share.log2());
            // Both sums have a dozen terms of at most 1000 log2 1000.
            assert!((terms.sum::<f64>() - value).abs() < 1e-10, "window {window}, event {at}");
        }
    }
}

#[test]
fn degenerate_oracles_are_told_apart() {
    let all_differ: String = (0..40).map(|at| char::from(b'!' + at)).collect();
    let statistics = Statistics::of(&links(&all_differ));
    assert_eq!((statistics.links_at_zero, statistics.mean_lrs, statistics.largest_cluster), (1.0, 0.0, 1));
    assert!(matches!(statistics.verdict(true), Verdict::Degenerate(reason) if reason.contains("higher threshold")));
    assert!(matches!(statistics.verdict(false), Verdict::Warning(_)));
    assert!(matches!(statistics.check(true), Err(OracleError::Degenerate { .. })));
    assert!(statistics.check(false).unwrap().is_some());
    assert!(matches!(Statistics::of(&links("abc")).verdict(true), Verdict::Warning(_)));
    assert!(
        matches!(Statistics::of(&links("aaaa")).verdict(true), Verdict::Warning(reason) if reason.contains("lower"))
    );
    let sound = Statistics::of(&links("abbbaab"));
    assert_eq!((sound.clusters, sound.max_lrs, sound.largest_cluster), (2, 2, 4));
    assert_eq!(sound.mean_lrs, 1.0);
    assert_eq!(sound.verdict(true), Verdict::Sound);
    assert_eq!(Statistics::of(&links("")).verdict(true), Verdict::Sound);
}
