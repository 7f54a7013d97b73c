//! The verdict on a bundle as text, Markdown and JUnit.

use std::fmt::Write;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::verdict::{BundleComparison, BundleVerdict, Figure, PartVerdict};
use crate::Result;

/// The verdict as a table for a terminal.
pub fn text(verdict: &BundleVerdict) -> String {
    let mut text = format!("{} ({})\n", verdict.bundle, verdict.exactness);
    for comparison in &verdict.comparisons {
        let _ = writeln!(text, "  against {}", comparison.reference);
        let width = comparison.parts.iter().map(|part| part.part.len()).max().unwrap_or(0);
        for part in &comparison.parts {
            let mark = if part.passed() { "ok  " } else { "FAIL" };
            let _ = writeln!(text, "    {mark} {:width$}  {}", part.part, figures(part));
        }
        for part in &comparison.not_compared {
            let _ = writeln!(text, "    not compared: {part}");
        }
    }
    text + &format!("{}: {}\n", if verdict.passed() { "PASSED" } else { "FAILED" }, summary(verdict))
}

/// The verdict as Markdown.
pub fn markdown(verdict: &BundleVerdict) -> String {
    let state = if verdict.passed() { "passed" } else { "**failed**" };
    let mut text = format!("# {} ({}): {state}\n\n{}\n", verdict.bundle, verdict.exactness, summary(verdict));
    for comparison in &verdict.comparisons {
        let _ = write!(text, "\n## Against {}\n\n| part | figures | |\n|---|---|---|\n", comparison.reference);
        for part in &comparison.parts {
            let mark = if part.passed() { "ok" } else { "**fail**" };
            let _ = writeln!(text, "| {} | {} | {mark} |", part.part, figures(part));
        }
        for part in &comparison.not_compared {
            let _ = writeln!(text, "| {part} | not compared | |");
        }
    }
    text
}

/// The verdict as JUnit XML, a test case for each part.
///
/// # Errors
/// Those of the XML writer.
pub fn junit(verdict: &BundleVerdict) -> Result<String> {
    let mut report = Report::new("mert-verify");
    for comparison in &verdict.comparisons {
        let mut suite = TestSuite::new(format!("{} against {}", verdict.bundle, comparison.reference));
        for part in &comparison.parts {
            let status = match part.passed() {
                true => TestCaseStatus::success(),
                false => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(figures(part));
                    status
                }
            };
            suite.add_test_case(TestCase::new(part.part.clone(), status));
        }
        report.add_test_suite(suite);
    }
    let xml = report.to_string();
    xml.map_err(|error| crate::VerifyError::NothingToCompare(format!("the JUnit report: {error}")))
}

fn summary(verdict: &BundleVerdict) -> String {
    let count = |of: fn(&BundleComparison) -> usize| verdict.comparisons.iter().map(of).sum::<usize>();
    let (parts, failed) = (count(|c| c.parts.len()), count(|c| c.parts.iter().filter(|part| !part.passed()).count()));
    format!("{} of {parts} parts are within their limits", parts - failed)
}

fn figures(part: &PartVerdict) -> String {
    if let Some(fault) = &part.fault {
        return fault.clone();
    }
    let figure = |figure: &Figure| {
        let limit = figure.limit.map_or(String::new(), |limit| format!(" (limit {})", number(limit)));
        format!("{} {}{limit}", figure.name, number(figure.value))
    };
    part.figures.iter().map(figure).collect::<Vec<_>>().join(", ")
}

/// A number in a few characters.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value.abs() < 1e-2 => format!("{value:.1e}"),
        value if value.fract() == 0.0 => format!("{value}"),
        value => format!("{value:.3}"),
    }
}
