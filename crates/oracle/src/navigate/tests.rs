//! Paths against closed forms: the rule of each step, probabilities, taboo, ends, and the same path for the same seed.

use std::sync::Arc;

use super::*;
use crate::request::{Compiled, Request};
use crate::{Matching, Material, OracleFile, Source};

fn memory_of(symbols: Vec<u32>, sources: &[u32]) -> Memory {
    let source = |events: &u32| Source { name: "a".to_string(), sha256: None, duration: None, events: *events };
    let sources = sources.iter().map(source).collect();
    Memory::new(Arc::new(OracleFile::build(Matching::Symbols, Material::Symbols(symbols), sources).unwrap()))
}

fn memory(text: &str) -> Memory {
    memory_of(text.bytes().map(u32::from).collect(), &[])
}

fn request(text: &str, memory: &Memory) -> Compiled {
    text.parse::<Request>().unwrap().compile(memory.material())
}

fn free() -> Options {
    Options { taboo: 0, ..Options::default() }
}

/// The events and contexts of the jumps from an event, by walking over the tree of suffix links without a queue.
fn jumps(memory: &Memory, event: u32, min_context: u32) -> Vec<(u32, u32)> {
    let links = memory.file().links();
    let path = |mut state: u32| {
        let mut path = vec![(state, u32::MAX)];
        while let Some(link) = links.sfx(state) {
            let context = path.last().unwrap().1.min(links.lrs(state));
            path.push((link, context));
            state = link;
        }
        path
    };
    let from = path(event + 1);
    let mut found = Vec::new();
    for state in (1..links.states()).filter(|state| *state != event + 1) {
        let to = path(state);
        // The lowest common ancestor, with the smaller context of the two ways to it.
        let meet =
            from.iter().find_map(|(up, one)| to.iter().find(|(other, _)| other == up).map(|(_, two)| *one.min(two)));
        if meet.unwrap() >= min_context && memory.end(state - 1).is_none() {
            found.push((state, meet.unwrap()));
        }
    }
    found
}

#[test]
fn a_request_without_effect_leaves_the_path_as_it_is() {
    let path = |text: Option<&str>| {
        let memory = memory("abracadabraabracadabrabracadabra");
        let request = text.map(|text| request(text, &memory));
        let mut navigator = Navigator::new(memory, Options { taboo: 40, ..Options::default() }).unwrap();
        navigator.walk(request.as_ref(), 200).map(|step| (step.event, step.rule)).collect::<Vec<_>>()
    };
    let without = path(None);
    for text in [
        r#"{"parameter": "gesture_token", "value": 98, "weight": 0}"#,
        r#"{"parameter": "index", "type": "prev", "weight": 0}"#,
        r#"{"parameter": "index", "type": "<", "value": 99}"#,
    ] {
        assert_eq!(path(Some(text)), without, "{text}");
    }
    assert_ne!(path(Some(r#"{"gesture_token": 98}"#)), without);
}

#[test]
fn jumps_are_all_states_with_enough_context() {
    let text = "abracadabraabracadabrabracadabra";
    let memory = memory(text);
    for event in 0..text.len() as u32 {
        for min_context in [1, 2, 4] {
            let mut search = candidates::Search::default();
            let mut found = Vec::new();
            let capped = search.run(memory.links(), event + 1, min_context, 1000, |state, context| {
                if memory.end(state - 1).is_none() {
                    found.push((state, context));
                }
                true
            });
            assert!(!capped);
            assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "the longest context first");
            found.sort_unstable();
            assert_eq!(found, jumps(&memory, event, min_context), "event {event}, context {min_context}");
            // The context is real: the symbols before both are the same.
            for (state, context) in found {
                let suffix = |end: u32| &text.as_bytes()[(end - context) as usize..end as usize];
                assert_eq!(suffix(state), suffix(event + 1));
            }
        }
    }
}

#[test]
fn a_capped_search_keeps_the_longest_context_and_says_so() {
    let memory = memory(&"ab".repeat(200));
    let mut navigator = Navigator::new(memory, Options { max_jumps: 5, continuity: 0.0, ..free() }).unwrap();
    navigator.seek(300);
    let step = navigator.next(None);
    assert!(step.capped && step.candidates == 5, "{step:?}");
    assert!(matches!(step.rule, Rule::Jump { context } if context > 250), "{step:?}");
}

#[test]
fn the_path_starts_goes_on_and_ends_loudly() {
    let memory = memory("abcdefg");
    let mut navigator = Navigator::new(memory, free()).unwrap();
    let steps: Vec<Step> = navigator.walk(None, 8).collect();
    assert_eq!(steps[..7].iter().map(|step| step.event).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(steps[0].rule, Rule::Start);
    assert!(
        steps[1..7].iter().all(|step| step.rule == Rule::Continuation && step.end.is_none() && step.probability == 1.0)
    );
    assert_eq!((steps[7].rule, steps[7].end, steps[7].candidates), (Rule::LastResort, Some(End::Memory), 7));
}

#[test]
fn the_next_recording_is_not_a_continuation() {
    let memory = memory_of(vec![1, 2, 3, 1, 2, 4], &[3, 3]);
    let mut navigator = Navigator::new(memory, free()).unwrap();
    navigator.seek(2);
    for _ in 0..50 {
        let step = navigator.next(None);
        assert_eq!((step.rule, step.end), (Rule::LastResort, Some(End::Source(0))));
        navigator.seek(2);
    }
    // From the second 2, the jump to 3 stays; from the first 1, the jump behind the second 1.
    navigator.seek(4);
    let events: Vec<u32> = (0..50)
        .map(|_| {
            navigator.seek(4);
            navigator.next(None).event
        })
        .collect();
    assert!(events.contains(&2) && events.contains(&5) && events.iter().all(|event| [2, 5].contains(event)));
}

#[test]
fn temperature_zero_takes_the_largest_weight() {
    // Behind the last b, the context ab leads to c and the context b to d.
    let memory = memory("abcxbdyab");
    let options = Options { temperature: 0.0, continuity: 0.0, ..free() };
    for seed in 0..20 {
        let mut navigator = Navigator::new(memory.clone(), Options { seed, ..options.clone() }).unwrap();
        navigator.seek(8);
        let step = navigator.next(None);
        assert_eq!((step.event, step.rule, step.candidates), (2, Rule::Jump { context: 2 }, 1));
        assert_eq!(step.end, Some(End::Memory));
    }
}

/// Counts of events over many draws from one event.
fn counts(options: &Options, memory: &Memory, from: u32, request: Option<&Compiled>, draws: u32) -> Vec<u32> {
    let mut counts = vec![0; memory.material().len()];
    let mut navigator = Navigator::new(memory.clone(), options.clone()).unwrap();
    for _ in 0..draws {
        navigator.seek(from);
        counts[navigator.next(request).event as usize] += 1;
    }
    counts
}

/// Pearson's statistic against these probabilities; an event without a chance must not be chosen.
fn chi_squared(counts: &[u32], probabilities: &[(u32, f64)]) -> f64 {
    let draws: u32 = counts.iter().sum();
    let chosen: u32 = probabilities.iter().map(|(event, _)| counts[*event as usize]).sum();
    assert_eq!(chosen, draws, "an event without a chance: {counts:?}");
    let term = |(event, probability): &(u32, f64)| {
        let expected = probability * f64::from(draws);
        (f64::from(counts[*event as usize]) - expected).powi(2) / expected
    };
    probabilities.iter().map(term).sum()
}

/// The 99.99% quantile of χ² with 2 degrees of freedom, -2 ln 0.0001: the seeds are fixed, so that this never fails by chance.
const CHI_SQUARED_2: f64 = 18.42;

#[test]
fn probabilities_are_those_of_the_weights() {
    // From the last b but one: on to z; by context 2 to c, by context 1 to d.
    let memory = memory("abcxbdyabz");
    let base = Options { continuity: 0.4, ..free() };
    let check = |options: &Options, probabilities: [f64; 3]| {
        let counts = counts(options, &memory, 8, None, 20_000);
        let expected = [(9, probabilities[0]), (2, probabilities[1]), (5, probabilities[2])];
        let statistic = chi_squared(&counts, &expected);
        assert!(statistic < CHI_SQUARED_2, "{options:?}: {statistic}, {counts:?}");
    };
    let (continuation, long, short) = (0.4, 0.6 * 2.0 / 3.0, 0.6 / 3.0);
    check(&base, [continuation, long, short]);
    check(&Options { context_power: 0.0, ..base.clone() }, [0.4, 0.3, 0.3]);
    let total = continuation * continuation + long * long + short * short;
    let half = [continuation, long, short].map(|weight: f64| weight * weight / total);
    check(&Options { temperature: 0.5, ..base.clone() }, half);
    check(&Options { temperature: f64::INFINITY, ..base.clone() }, [1.0 / 3.0; 3]);
    // A mutant of the expectation is refuted.
    let wrong = chi_squared(&counts(&base, &memory, 8, None, 20_000), &[(9, 0.44), (2, 0.36), (5, 0.2)]);
    assert!(wrong > CHI_SQUARED_2, "{wrong}");
    // A soft request multiplies: 1 - 0.5 for all but d.
    let soft = request(r#"{"parameter": "gesture_token", "value": 100, "weight": 0.5}"#, &memory);
    let total = continuation * 0.5 + long * 0.5 + short;
    let expected = [(9, continuation * 0.5 / total), (2, long * 0.5 / total), (5, short / total)];
    assert!(chi_squared(&counts(&base, &memory, 8, Some(&soft), 20_000), &expected) < CHI_SQUARED_2);
}

#[test]
fn visits_are_penalised() {
    let memory = memory("abcxbdyab");
    let options = Options { visit_penalty: 10.0, temperature: 0.0, context_power: 0.0, ..free() };
    let mut navigator = Navigator::new(memory, options).unwrap();
    let events: Vec<u32> = (0..6)
        .map(|_| {
            navigator.seek(8);
            navigator.next(None).event
        })
        .collect();
    assert_eq!(events, [2, 5, 2, 5, 2, 5]);
}

#[test]
fn continuity_has_a_least_and_a_greatest_length() {
    let memory = memory(&"abcd".repeat(30));
    let options = Options { continuity: 0.1, min_continuity: 3, max_continuity: Some(6), ..free() };
    let mut navigator = Navigator::new(memory, options).unwrap();
    let mut run = 0;
    for step in navigator.walk(None, 2000).skip(1) {
        match step.rule {
            Rule::Continuation => run += 1,
            _ => {
                assert!(step.end.is_some() || (3..=6).contains(&run), "{run}: {step:?}");
                run = 0;
            }
        }
        assert!(run <= 6, "{step:?}");
    }
}

#[test]
fn taboo_holds_unless_nothing_else_is_left() {
    let text: Vec<u32> = (0..300u32).map(|at| at * at % 17 % 5).collect();
    for taboo in [1, 10, 100] {
        let mut navigator =
            Navigator::new(memory_of(text.clone(), &[]), Options { taboo, ..Options::default() }).unwrap();
        let steps: Vec<Step> = navigator.walk(None, 3000).collect();
        for at in 0..steps.len() {
            let last = &steps[at.saturating_sub(taboo as usize)..at];
            let repeated = last.iter().any(|step| step.event == steps[at].event);
            assert_eq!(repeated, steps[at].taboo_broken);
            assert!(!repeated, "step {at} with taboo {taboo}: {:?}", steps[at]);
        }
    }
    // Three events, all of them taboo: the path goes on and says so, until one was not played for ten steps.
    let mut navigator = Navigator::new(memory("abc"), Options { taboo: 10, ..Options::default() }).unwrap();
    let steps: Vec<Step> = navigator.walk(None, 50).collect();
    assert!(steps[..3].iter().all(|step| !step.taboo_broken) && steps[3].taboo_broken);
    for at in 0..steps.len() {
        let last = &steps[at.saturating_sub(10)..at];
        assert_eq!(last.iter().any(|step| step.event == steps[at].event), steps[at].taboo_broken);
    }
    // A hard request for a token that occurs once.
    let memory = memory("abcabcxabc");
    let only = request(r#"{"gesture_token": 120}"#, &memory);
    let mut navigator = Navigator::new(memory, Options::default()).unwrap();
    let steps: Vec<Step> = navigator.walk(Some(&only), 3).collect();
    assert!(steps.iter().all(|step| step.event == 6 && step.rule == Rule::Request));
    assert_eq!(steps.iter().map(|step| step.taboo_broken).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn the_least_context_is_respected() {
    let text: Vec<u32> = (0..500u32).map(|at| at * at % 23 % 4).collect();
    for min_context in [1, 3, 6] {
        let memory = memory_of(text.clone(), &[]);
        let options = Options { min_context, continuity: 0.3, ..free() };
        let mut navigator = Navigator::new(memory.clone(), options).unwrap();
        let mut before = 0;
        let mut seen = 0;
        for step in navigator.walk(None, 1000) {
            if let Rule::Jump { context } = step.rule {
                assert!(context >= min_context);
                assert!(jumps(&memory, before, min_context).contains(&(step.event, context)));
                seen += 1;
            }
            before = step.event;
        }
        assert!(seen > 100, "{seen} jumps with context {min_context}");
    }
}

#[test]
fn a_request_overrules_the_context_only_where_it_must() {
    let memory = memory("abcxbdyabz");
    let hard = request(r#"{"gesture_token": 100}"#, &memory);
    let mut navigator = Navigator::new(memory.clone(), free()).unwrap();
    // d is a jump from here, and is not near c.
    navigator.seek(8);
    let step = navigator.next(Some(&hard));
    assert_eq!((step.event, step.rule, step.probability), (5, Rule::Jump { context: 1 }, 1.0));
    navigator.seek(2);
    let step = navigator.next(Some(&hard));
    assert_eq!((step.event, step.rule), (5, Rule::Request));
    // A condition that nothing meets leaves the path as it is without one.
    let nothing = request(r#"{"gesture_token": 3}"#, &memory);
    assert_eq!(nothing.dropped().count(), 1);
    let path = |request: Option<&Compiled>| {
        let mut navigator = Navigator::new(memory.clone(), Options { seed: 4, ..free() }).unwrap();
        navigator.walk(request, 100).map(|step| step.event).collect::<Vec<_>>()
    };
    assert_eq!(path(Some(&nothing)), path(None));
}

#[test]
fn a_request_of_another_memory_is_dropped_and_named() {
    let other = request(r#"{"gesture_token": 97}"#, &memory("aaaaaaaaaaaa"));
    let mut navigator = Navigator::new(memory("abc"), free()).unwrap();
    for step in navigator.walk(Some(&other), 20) {
        assert!(step.event < 3);
        assert_eq!(step.dropped.len(), 1);
        assert!(other.explain(&step.dropped[0]).contains("prepared for another memory"));
    }
}

#[test]
fn previous_is_dropped_where_there_is_none() {
    let memory = memory("abcd");
    let back = request(r#"{"index": "prev"}"#, &memory);
    let mut navigator = Navigator::new(memory, free()).unwrap();
    navigator.seek(2);
    let steps: Vec<Step> = navigator.walk(Some(&back), 3).collect();
    assert_eq!(steps.iter().map(|step| step.event).collect::<Vec<_>>(), [1, 0, 1]);
    assert!(steps[..2].iter().all(|step| step.rule == Rule::Request && step.dropped.is_empty()));
    assert_eq!(steps[2].rule, Rule::Continuation);
    let remark = back.explain(&steps[2].dropped[0]);
    assert_eq!(remark, "`index prev` is dropped for this step: no such event meets the request");
}

#[test]
fn the_same_seed_gives_the_same_path() {
    let text: Vec<u32> = (0..2000u32).map(|at| at * at % 101 % 9).collect();
    let path = |seed| {
        let options = Options { seed, continuity: 0.5, ..Options::default() };
        let mut navigator = Navigator::new(memory_of(text.clone(), &[700, 1300]), options).unwrap();
        navigator.walk(None, 500).map(|step| step.event).collect::<Vec<_>>()
    };
    assert_eq!(path(1), path(1));
    assert_ne!(path(1), path(2));
    // The stream of ChaCha8 is part of the contract: the same notes in later versions.
    assert_eq!(path(1)[..12], FIRST_EVENTS);
}

const FIRST_EVENTS: [u32; 12] = [0, 1, 1012, 1013, 1014, 1621, 1622, 1623, 917, 1524, 1525, 1728];

#[test]
fn options_out_of_range_are_named() {
    let refused = |options: Options, expected: &str| {
        let message = Navigator::new(memory("abc"), options).map(drop).unwrap_err().to_string();
        assert_eq!(message, expected);
    };
    refused(Options { continuity: 1.5, ..free() }, "invalid continuity 1.5: expected 0 to 1");
    refused(Options { temperature: f64::NAN, ..free() }, "invalid temperature NaN: expected a number from 0");
    refused(Options { min_context: 0, ..free() }, "invalid min_context 0: expected at least 1 event");
    refused(Options { start: 3, ..free() }, "invalid start 3: expected the index of an event of the memory");
    refused(Options { visit_penalty: 11.0, ..free() }, "invalid visit_penalty 11: expected 0 to 10");
    refused(Options { max_jumps: 0, ..free() }, "invalid max_jumps 0: expected at least 1");
    let options = Options { min_continuity: 4, max_continuity: Some(3), ..free() };
    refused(options, "invalid max_continuity 3: expected at least 1 event and min_continuity");
}

/// A step in a long memory of equal events looks at a bounded number of links.
#[test]
fn a_step_of_a_long_run_is_bounded() {
    let memory = memory_of(vec![5; 200_000], &[]);
    let mut navigator = Navigator::new(memory, Options { continuity: 0.1, ..Options::default() }).unwrap();
    let start = std::time::Instant::now();
    let capped = navigator.walk(None, 2000).filter(|step| step.capped).count();
    assert!(capped > 1000, "{capped}");
    // 2000 steps over all 200,000 candidates would take a minute.
    assert!(start.elapsed().as_secs_f64() < 5.0, "{:?}", start.elapsed());
}
