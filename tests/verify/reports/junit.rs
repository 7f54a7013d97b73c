//! A reader of JUnit reports that checks what CI systems rely on.

use std::collections::BTreeSet;
use std::path::Path;

use quick_junit::{NonSuccessKind, TestCaseStatus};

/// Parses a JUnit file into cases: suite, classname, name, and whether it passed. Asserts the rules of every reader.
pub(super) fn junit_cases(path: &Path) -> Vec<(String, String, String, bool)> {
    let text = std::fs::read_to_string(path).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut cases = Vec::new();
    let (mut tests, mut failures, mut errors) = (0, 0, 0);
    for suite in &report.test_suites {
        let mut bad = [0, 0];
        for case in &suite.test_cases {
            let classname = case.classname.as_ref().map(|name| name.as_str().to_string()).unwrap_or_default();
            assert!(!classname.is_empty(), "{case:?}");
            assert!(case.time.is_some(), "{case:?}");
            let passed = match &case.status {
                TestCaseStatus::Success { .. } => true,
                TestCaseStatus::NonSuccess { kind, message, ty, description, .. } => {
                    bad[usize::from(*kind == NonSuccessKind::Error)] += 1;
                    for text in [message, ty, description] {
                        assert!(text.as_ref().is_some_and(|text| !text.as_str().trim().is_empty()), "{case:?}");
                    }
                    false
                }
                other => panic!("{other:?}"),
            };
            cases.push((suite.name.as_str().to_string(), classname, case.name.as_str().to_string(), passed));
        }
        assert_eq!((suite.tests, suite.failures, suite.errors), (suite.test_cases.len(), bad[0], bad[1]), "{text}");
        if bad == [0, 0] {
            assert!(!format!("{suite:?}").contains("FAIL"), "{suite:?}");
        }
        (tests, failures, errors) = (tests + suite.tests, failures + bad[0], errors + bad[1]);
    }
    assert_eq!((report.tests, report.failures, report.errors), (tests, failures, errors));
    let distinct: BTreeSet<_> = cases.iter().map(|(_, class, name, _)| (class, name)).collect();
    assert_eq!(distinct.len(), cases.len(), "two cases of one name: {text}");
    cases
}
