//! The report as JUnit XML, in the form that GitLab, Jenkins and GitHub's test reporters agree on: every case has a
//! `classname`; pairs of `classname` and `name` are unique (GitLab keeps the first of equals); and a failure has its
//! reasons both in `message` and in its text, of which readers show one or the other.

use std::collections::HashSet;
use std::time::Duration;

use mert_arch::{printable, printable_line};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::summary::headline;
use super::unique::Unique;
use crate::gate::{Comparison, LayerVerdict, ModelError, ModelVerdict, Verdict};

/// Renders the verdict as JUnit XML for CI systems: a suite per comparison, a case per hidden state, with the model as
/// `classname`.
pub fn to_junit(verdict: &Verdict) -> String {
    let mut writer = Writer::default();
    for model in &verdict.models {
        writer.add_model(model);
    }
    for error in &verdict.errors {
        writer.add_error(error);
    }
    if writer.suites.is_empty() {
        let case = Case::failed("nothing compared", "no model was compared with anything".into(), String::new());
        writer.add_suite("mert-verify", "mert-verify", None, vec![case]);
    }
    let mut report = Report::new("mert-verify");
    let times = verdict.models.iter().flat_map(|model| &model.timings).map(|time| duration(time.seconds));
    report.set_time(times.sum());
    report.add_test_suites(writer.suites);
    report.to_string().unwrap_or_default()
}

/// The test suites of a report, and the names in use.
#[derive(Default)]
struct Writer {
    suites: Vec<TestSuite>,
    suite_names: Unique,
    case_names: Unique,
}

/// A test case before its name is made unique.
struct Case {
    name: String,
    status: TestCaseStatus,
    measured: Option<String>,
    time: Duration,
}

impl Writer {
    fn add_model(&mut self, model: &ModelVerdict) {
        let classname = printable_line(&model.model.display().to_string());
        // A clip is run once for all comparisons, so its time counts for the first.
        let mut timed = HashSet::new();
        for comparison in &model.comparisons {
            let first = timed.insert(&comparison.reference);
            let timing = model.timings.iter().find(|timing| first && timing.reference == comparison.reference);
            let share = timing.map_or(0.0, |timing| timing.seconds / comparison.layers.len().max(1) as f64);
            let name = format!("{classname} {}", description(comparison));
            let cases = cases(comparison, duration(share));
            self.add_suite(&name, &classname, Some(remarks(model, comparison)), cases);
        }
        if !model.failures.is_empty() {
            let case = Case::failed("gate", model.failures.join("; "), model.failures.join("\n"));
            self.add_suite(&classname, &classname, None, vec![case]);
        }
    }

    fn add_error(&mut self, error: &ModelError) {
        let classname = printable_line(&error.model.display().to_string());
        let case = Case::not_passed(NonSuccessKind::Error, "can be checked", error.error.clone(), error.error.clone());
        self.add_suite(&classname, &classname, None, vec![case]);
    }

    fn add_suite(&mut self, name: &str, classname: &str, system_out: Option<String>, cases: Vec<Case>) {
        let mut suite = TestSuite::new(self.suite_names.name(name.to_string()));
        if let Some(text) = system_out {
            suite.set_system_out(printable(&text));
        }
        suite.set_time(cases.iter().map(|case| case.time).sum());
        for case in cases {
            // Unique among all cases, including those of a model listed twice.
            let unique = self.case_names.name(format!("{classname}\n{}", case.name));
            let name = unique.split_once('\n').map_or(unique.as_str(), |(_, name)| name).to_string();
            let mut test_case = TestCase::new(name, case.status);
            test_case.set_classname(classname).set_time(case.time);
            if let Some(text) = case.measured {
                test_case.set_system_out(text);
            }
            suite.add_test_case(test_case);
        }
        self.suites.push(suite);
    }
}

impl Case {
    fn failed(name: &str, message: String, text: String) -> Self {
        Case::not_passed(NonSuccessKind::Failure, name, message, text)
    }

    fn not_passed(kind: NonSuccessKind, name: &str, message: String, text: String) -> Self {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_type(if kind == NonSuccessKind::Error { "NotChecked" } else { "GateFailed" });
        status.set_description(printable(if text.is_empty() { &message } else { &text }));
        status.set_message(printable_line(&message));
        Case { name: name.to_string(), status, measured: None, time: Duration::ZERO }
    }
}

/// A short description of a comparison, for the names of suites and cases.
fn description(comparison: &Comparison) -> String {
    let reference = printable_line(&comparison.reference);
    let isolated = if comparison.isolated { ", isolated" } else { "" };
    format!("against {reference} ({}, {}{isolated})", comparison.question.name(), comparison.output.name())
}

fn cases(comparison: &Comparison, time: Duration) -> Vec<Case> {
    let description = description(comparison);
    if comparison.layers.is_empty() {
        let name = format!("nothing compared {description}");
        return vec![Case::failed(&name, "no hidden state was compared".into(), String::new())];
    }
    let case = |layer: &LayerVerdict| {
        let (name, measured) = (format!("hidden state {} {description}", layer.layer), measured(layer));
        if layer.failures.is_empty() {
            return Case { name, status: TestCaseStatus::success(), measured, time };
        }
        let lines = layer.failures.iter().cloned().chain(measured.clone()).chain([headline(comparison)]);
        let text = lines.collect::<Vec<_>>().join("\n");
        Case { measured, time, ..Case::failed(&name, layer.failures.join("; "), text) }
    };
    comparison.layers.iter().map(case).collect()
}

/// The notes, as in the other formats, and the verdict on this comparison alone: a suite that passed must not look failed
/// because of another one.
fn remarks(model: &ModelVerdict, comparison: &Comparison) -> String {
    let mut lines = vec![headline(comparison)];
    if let Some(reason) = &comparison.tolerance.below_floor {
        lines.push(format!("A FLOOR IS LOWERED: {reason}"));
    }
    lines.extend(model.notes.iter().map(|note| format!("note: {note}")));
    let compared = comparison.layers.len();
    lines.push(match comparison.first_bad_layer() {
        _ if compared == 0 => "FAILED: no hidden state was compared".into(),
        None => format!("PASSED: {compared} hidden states compared, all within tolerance"),
        Some(layer) => format!("FAILED: the first bad one is hidden state {layer}"),
    });
    lines.join("\n")
}

/// The distances that were measured, in full precision.
fn measured(layer: &LayerVerdict) -> Option<String> {
    let m = layer.metrics.as_ref()?;
    Some(format!(
        "pooled cosine {}, lowest frame cosine {} (frame {}), NMSE {:e}, max |Δ| {:e}",
        m.pooled_cosine, m.min_frame_cosine, m.worst_frame, m.nmse, m.max_abs_diff
    ))
}

/// Converts seconds to a duration; zero if they are not a valid one.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
