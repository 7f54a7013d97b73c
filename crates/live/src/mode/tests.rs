//! Tests of modes and their selectors.

use mert_oracle::Options;

use super::*;
use crate::LiveError;
use crate::answer::AnswerMode;

const FILE: &str = "
modes:
  - name: busy
    request: {consonance: 0.2}
    options: {continuity: 0.1, taboo: 3}
    answer: onset
    when: {onset_rate: {above: 3}}
  - name: calm
    answer: continuous
    transpose: -12
    when: {onset_rate: {below: 2}, level: {above: -50, below: -6}}
  - name: silent
    when: {entropy: {below: 1}}
";

fn statistics(onset_rate: f64, level: f64, entropy: Option<f64>) -> RunningStatistics {
    RunningStatistics { onset_rate, level, entropy, used_tokens: 1 }
}

fn input(time: f64, statistics: RunningStatistics) -> ModeInput<'static> {
    ModeInput { samples: &[], rate: 48_000, time, statistics }
}

fn chosen(selector: &mut dyn ModeSelector, time: f64, statistics: RunningStatistics) -> Option<String> {
    selector.select(&input(time, statistics)).unwrap().map(|choice| choice.mode)
}

#[test]
fn a_mode_changes_only_what_it_states() {
    let modes = Modes::parse(FILE).unwrap();
    let session = Options { seed: 7, continuity: 0.5, ..Options::default() };
    let busy = modes.get("busy").unwrap();
    let options = busy.options(&session).unwrap();
    assert_eq!(options, Options { continuity: 0.1, taboo: 3, ..session.clone() });
    assert_eq!(busy.request().unwrap().unwrap().conditions.len(), 1);
    assert_eq!(modes.get("calm").unwrap().options(&session).unwrap(), session);
    assert_eq!(modes.get("calm").unwrap().answer, Some(AnswerMode::Continuous));
}

#[test]
fn files_of_another_form_are_refused() {
    for (text, part) in [
        ("modes: []", "empty"),
        ("modes: [{name: a}, {name: a}]", "two modes"),
        ("modes: [{name: a, tempo: 3}]", "tempo"),
        ("modes: [{name: auto}]", "give it another name"),
        ("modes: [{name: ''}]", "without spaces at its ends"),
        ("modes: [{name: 'a '}]", "without spaces at its ends"),
        ("modes: [{name: a, when: {onset_rate: {above: 3, below: 1}}}]", "`above` must be less than `below`"),
        ("modes: [{name: a, options: {continuty: 1}}]", "continuty"),
        ("modes: [{name: a, request: {consonnance: 1}}]", "consonance"),
        ("{\"modes\": 3}", "modes"),
    ] {
        let error = Modes::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(Modes::parse(r#"{"modes": [{"name": "a", "request": {"gesture_token": 3}}]}"#).is_ok());
    let error = Modes::parse(FILE).unwrap().get("loud").unwrap_err();
    assert!(matches!(&error, LiveError::UnknownMode { known, .. } if known == "busy, calm, silent"), "{error}");
}

#[test]
fn rules_choose_the_first_that_holds_and_stay() {
    let mut rules = Rules::new(&Modes::parse(FILE).unwrap(), 2.0);
    assert_eq!(chosen(&mut rules, 0.0, statistics(2.5, -20.0, None)), None);
    assert_eq!(chosen(&mut rules, 1.0, statistics(4.0, -20.0, None)).as_deref(), Some("busy"));
    assert_eq!(chosen(&mut rules, 2.9, statistics(1.0, -20.0, None)).as_deref(), Some("busy"));
    assert_eq!(chosen(&mut rules, 3.1, statistics(1.0, -20.0, None)).as_deref(), Some("calm"));
    // Nothing holds: whoever asked keeps the mode.
    assert_eq!(chosen(&mut rules, 9.0, statistics(1.0, f64::NEG_INFINITY, None)), None);
    assert_eq!(chosen(&mut rules, 9.5, statistics(2.5, -20.0, Some(0.5))).as_deref(), Some("silent"));
}

#[test]
fn a_command_comes_before_the_option() {
    let commands = ModeCommands::new();
    let mut first = FirstOf::new(vec![Box::new(Commanded::new(commands.clone())), Box::new(Fixed::new("calm"))]);
    let quiet = statistics(0.0, -60.0, None);
    assert_eq!(chosen(&mut first, 0.0, quiet).as_deref(), Some("calm"));
    assert_eq!(first.name(), "option");
    commands.set(Some("busy".to_string()));
    assert_eq!(chosen(&mut first, 1.0, quiet).as_deref(), Some("busy"));
    assert_eq!(first.name(), "command");
    commands.set(None);
    assert_eq!(chosen(&mut first, 2.0, quiet).as_deref(), Some("calm"));
}
