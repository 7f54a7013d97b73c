//! What `mert-verify` leaves for people and machines to read, and the gate's file `verify.yaml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use common::{arg, changed_reference, convert, json, mert_verify, model, reference};
use mert_spec::{Dtype, Layout};
use mert_testkit::fixture;
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn what_could_not_be_checked_is_in_the_reports_beside_what_was() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(model(), path("good.safetensors")).unwrap();
    std::fs::copy(reference(), path("r.npz")).unwrap();
    let plain = changed_reference(&folder, |r| r.rounded.clear());
    std::fs::write(
        path("verify.yaml"),
        format!(
            "models:\n  - {{model: absent.safetensors, references: [r.npz]}}\n  - model: good.safetensors\n    \
             references: [{}]\n    tolerance: {{rounding: {{pooled_cosine: 0.5, below_floor: a <reason>}}}}\n",
            plain.file_name().unwrap().to_str().unwrap()
        ),
    )
    .unwrap();
    std::fs::write(path("gate.xml"), "<testsuites>an earlier pass</testsuites>").unwrap();
    let (xml, json_file, markdown) = (path("gate.xml"), path("gate.json"), path("gate.md"));
    let (code, out, err) = mert_verify(&[
        "--config",
        arg(&path("verify.yaml")),
        "--junit",
        arg(&xml),
        "--json",
        arg(&json_file),
        "--markdown",
        arg(&markdown),
    ]);
    assert_eq!(code, 2);
    assert!(out.contains("COULD NOT BE CHECKED") && out.contains("PASSED: 13"), "{out}");
    assert!(err.contains("absent.safetensors"), "{err}");
    let xml = std::fs::read_to_string(xml).unwrap();
    assert!(!xml.contains("an earlier pass") && xml.contains("errors=\"1\""), "{xml}");
    // Every format says why the floor is lower, and what was not judged.
    let markdown = std::fs::read_to_string(markdown).unwrap();
    for text in [&xml, &markdown, &out] {
        assert!(text.contains("a &lt;reason") || text.contains("a <reason>"), "{text}");
        assert!(text.contains("structure was not judged"), "{text}");
        assert!(text.contains("absent.safetensors"), "{text}");
    }
    let report = json(&json_file);
    assert_eq!(report["passed"], false);
    assert_eq!(report["errors"].as_array().unwrap().len(), 1);
    assert_eq!(report["models"].as_array().unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn reports_follow_links_and_leave_devices_alone() {
    use std::os::unix::fs::FileTypeExt;
    let folder = TempDir::new().unwrap();
    let (real, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
    std::fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert_eq!(mert_verify(&["--quiet", "--json", arg(&link)]).0, 0);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(json(&real)["passed"], true);

    assert_eq!(mert_verify(&["--quiet", "--json", "/dev/null"]).0, 0);
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let (code, out, _) = mert_verify(&["--quiet", "--json", "/dev/stdout"]);
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["passed"], true);

    // What cannot be written is said after what was found, with the name that the user gave.
    let (code, out, err) = mert_verify(&["--json", "/no/such/folder/r.json"]);
    assert_eq!(code, 2);
    assert!(out.contains("PASSED") && err.contains("/no/such/folder/r.json") && !err.contains("partial"), "{out}{err}");
}

#[test]
fn reports_for_machines() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let changed = changed_reference(&folder, |r| r.hidden_states[[4, 0, 0]] = f32::NAN);
    for (reference, expected) in [(reference(), 0), (changed, 1)] {
        let (code, _, _) = mert_verify(&[
            arg(&model()),
            "--reference",
            arg(&reference),
            "--json",
            arg(&path("r.json")),
            "--junit",
            arg(&path("r.xml")),
            "--markdown",
            arg(&path("r.md")),
        ]);
        assert_eq!(code, expected);
        let report = json(&path("r.json"));
        assert_eq!(report["passed"], expected == 0);
        let comparisons = report["models"][0]["comparisons"].as_array().unwrap().clone();
        assert_eq!(comparisons.len(), 2);
        assert_eq!(comparisons[1]["layers"].as_array().unwrap().len(), 13);
        let bad = &comparisons[1]["layers"][4];
        assert_eq!(bad["failures"].as_array().unwrap().is_empty(), expected == 0);
        assert_eq!(bad["metrics"]["nmse"].is_null(), expected == 1, "NaN is null in JSON");

        let junit = std::fs::read_to_string(path("r.xml")).unwrap();
        assert_eq!(junit.matches("<testcase").count(), 26);
        assert_eq!(junit.matches("<failure").count(), expected as usize);
        assert!(junit.contains(&format!("failures=\"{expected}\"")), "{junit}");

        let markdown = std::fs::read_to_string(path("r.md")).unwrap();
        assert!(markdown.starts_with(if expected == 0 { "## mert-verify: passed" } else { "## mert-verify: FAILED" }));
        assert_eq!(markdown.matches("\n| 4 |").count(), 2);
        assert_eq!(markdown.lines().filter(|line| line.starts_with("| ")).count(), 2 * (2 + 13));
    }
}

#[test]
fn a_gate_file_drives_several_models() {
    let folder = TempDir::new().unwrap();
    convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F32, Layout::Mlx);
    convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::Bf16, Layout::Candle);
    std::fs::create_dir(folder.path().join("refs")).unwrap();
    std::fs::copy(reference(), folder.path().join("refs/a.npz")).unwrap();
    let yaml = folder.path().join("verify.yaml");
    let run = |text: &str| {
        std::fs::write(&yaml, text).unwrap();
        mert_verify(&["--config", arg(&yaml)])
    };
    let two = "models:\n  - {model: f32-mlx.safetensors, references: [refs]}\n  - model: bf16-candle.safetensors\n    \
               references: [refs/a.npz]\n    layers: [0, 6, 12]\n    require_structure: true\n";
    let (code, out, err) = run(two);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(out.matches("PASSED").count(), 2);
    assert!(out.contains("PASSED: 13 hidden") && out.contains("PASSED: 6 hidden"), "{out}");

    // One bad model fails all of it.
    let (code, out, _) = run(&format!("{two}    tolerance: {{rounding: {{nmse: 1e-6}}}}\n"));
    assert_eq!(code, 1);
    assert!(out.contains("PASSED") && out.contains("FAILED") && out.contains("bf16 weights (changed)"), "{out}");

    // The floor.
    let below = "    tolerance: {rounding: {pooled_cosine: 0.5}}\n";
    let (code, _, err) = run(&format!("{two}{below}"));
    assert_eq!(code, 2);
    assert!(err.contains("floor"), "{err}");
    let reason = "    tolerance: {rounding: {pooled_cosine: 0.5, below_floor: a test of the floor}}\n";
    let (code, out, _) = run(&format!("{two}{reason}"));
    assert_eq!(code, 0);
    assert!(out.contains("A FLOOR IS LOWERED: a test of the floor"), "{out}");
}

/// An earlier run's verdict must not be taken for this one's, however this one ends.
#[test]
fn no_stale_report_survives() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (xml, bad) = (path("gate.xml"), path("bad.yaml"));
    std::fs::write(&bad, "models: {").unwrap();
    let m = model();
    for args in [
        vec!["--config", arg(&bad), "--junit", arg(&xml)],
        vec!["--config", "/no/such.yaml", "--junit", arg(&xml)],
        vec![arg(&m), "--reference", "/no/such.npz", "--junit", arg(&xml)],
        vec!["--json", "/no/folder/r.json", "--junit", arg(&xml)],
    ] {
        std::fs::write(&xml, "an earlier pass").unwrap();
        assert_eq!(mert_verify(&args).0, 2, "{args:?}");
        assert_ne!(std::fs::read_to_string(&xml).unwrap_or_default(), "an earlier pass", "{args:?}");
    }
}

#[test]
fn nothing_is_written_over_an_input() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (m, r, y) = (path("m.safetensors"), path("r.npz"), path("verify.yaml"));
    std::fs::copy(model(), &m).unwrap();
    std::fs::copy(reference(), &r).unwrap();
    std::fs::write(&y, "models:\n  - {model: m.safetensors, references: [r.npz]}\n").unwrap();
    for args in [
        vec![arg(&m), "--reference", arg(&r), "--json", arg(&m)],
        vec![arg(&m), "--reference", arg(&r), "--junit", arg(&r)],
        vec!["--config", arg(&y), "--markdown", arg(&y)],
        vec!["--config", arg(&y), "--markdown", arg(&r)],
        vec!["--json", arg(&path("same")), "--junit", arg(&path("same"))],
        vec!["hidden-states", arg(&m), "--input", arg(&r), "--output", arg(&r), "--force"],
    ] {
        let before = [&m, &r, &y].map(|file| std::fs::read(file).unwrap());
        let (code, out, err) = mert_verify(&args);
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(before == [&m, &r, &y].map(|file| std::fs::read(file).unwrap()), "{args:?}");
    }
}

/// The limits that a report names are the ones that were applied.
#[test]
fn a_headline_shows_the_limits_as_they_are() {
    let (_, out, _) = mert_verify(&["--layers", "6"]);
    assert!(out.contains("NMSE ≤ 1e-9, max |Δ| ≤ 2e-4") && out.contains("NMSE ≤ 2e-5, max |Δ| ≤ 2e-2"), "{out}");
    let m = model();
    let (_, out, _) = mert_verify(&[arg(&m), "--reference", arg(&reference()), "--dtype", "bf16"]);
    assert!(out.contains("NMSE ≤ 6e-3, max |Δ| ≤ 3e-1"), "{out}");
    let folder = TempDir::new().unwrap();
    let bf16 = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::Bf16, Layout::Mlx);
    let (_, out, _) = mert_verify(&[arg(&bf16), "--reference", arg(&reference())]);
    assert!(out.contains("NMSE ≤ 1.5e-3, max |Δ| ≤ 1.5e-1"), "{out}");
}
