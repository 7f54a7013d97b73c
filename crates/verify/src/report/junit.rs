use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::table::{headline, verdict};
use super::{ModelReport, Report};
use crate::gate::{Comparison, LayerResult};

impl Report {
    /// JUnit XML as CI systems read it: a suite for each comparison, a case for each hidden state.
    pub fn to_junit(&self) -> String {
        let mut report = quick_junit::Report::new("mert-verify");
        for model in &self.models {
            for comparison in &model.comparisons {
                report.add_test_suite(suite(model, comparison));
            }
            if !model.failures.is_empty() {
                let mut suite = TestSuite::new(model.model.display().to_string());
                suite.add_test_case(case("gate", &model.failures, model));
                report.add_test_suite(suite);
            }
        }
        for error in &self.errors {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(error.error.clone());
            let mut suite = TestSuite::new(error.model.display().to_string());
            suite.add_test_case(TestCase::new("could be checked", status));
            report.add_test_suite(suite);
        }
        if report.test_suites.is_empty() {
            let mut suite = TestSuite::new("mert-verify");
            suite.add_test_case(failed_case("nothing compared", "no model was compared with anything"));
            report.add_test_suite(suite);
        }
        report.to_string().unwrap_or_default()
    }
}

fn suite(model: &ModelReport, comparison: &Comparison) -> TestSuite {
    let name = format!(
        "{} against {} ({}, {}{})",
        model.model.display(),
        comparison.reference,
        comparison.question.name(),
        comparison.output.name(),
        if comparison.isolated { ", isolated" } else { "" },
    );
    let mut suite = TestSuite::new(name);
    suite.set_system_out(remarks(model, comparison));
    for layer in &comparison.layers {
        let mut case = case(&format!("hidden state {}", layer.layer), &layer.failures, model);
        if let Some(text) = measured(layer) {
            case.set_system_out(text);
        }
        suite.add_test_case(case);
    }
    if comparison.layers.is_empty() {
        suite.add_test_case(failed_case("nothing compared", "no hidden state was compared"));
    }
    suite
}

/// What a reader must know beside the verdicts, as in the other formats.
fn remarks(model: &ModelReport, comparison: &Comparison) -> String {
    let mut lines = vec![headline(comparison)];
    if let Some(reason) = &comparison.tolerance.below_floor {
        lines.push(format!("A FLOOR IS LOWERED: {reason}"));
    }
    lines.extend(model.notes.iter().map(|note| format!("note: {note}")));
    lines.push(verdict(model));
    lines.join("\n")
}

fn case(name: &str, failures: &[String], model: &ModelReport) -> TestCase {
    let mut case = if failures.is_empty() {
        TestCase::new(name, TestCaseStatus::success())
    } else {
        failed_case(name, &failures.join("; "))
    };
    case.set_classname(model.model.display().to_string());
    case
}

fn failed_case(name: &str, message: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(message.to_string());
    TestCase::new(name, status)
}

fn measured(layer: &LayerResult) -> Option<String> {
    let m = layer.metrics.as_ref()?;
    Some(format!(
        "pooled cosine {}, lowest frame cosine {} (frame {}), NMSE {:e}, max |Δ| {:e}",
        m.pooled_cosine, m.min_frame_cosine, m.worst_frame, m.nmse, m.max_abs_diff
    ))
}
