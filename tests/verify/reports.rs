//! The reports of `mert-verify` for people and machines, and the gate's configuration `verify.yaml`.

mod html;
mod junit;

use mert_arch::{Dtype, Layout};
use mert_testkit::{fixture, runner};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{arg, changed_reference, convert, json, mert_verify, model, reference};
use junit::junit_cases;

#[test]
fn errors_are_in_the_reports_beside_verdicts() {
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

/// The comparisons before and after an unreadable reference are in every report: they may have failed.
#[test]
fn an_unreadable_reference_hides_no_comparison() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let changed = changed_reference(&folder, |r| r.hidden_states[[4, 0, 0]] += 9.0);
    std::fs::write(path("broken.npz"), b"PK\x03\x04 no zip").unwrap();
    let (good, m) = (reference(), model());
    for (first, verdict, failures) in [(&good, "NOT COMPLETELY CHECKED: 52", 0), (&changed, "FAILED: the first bad", 1)]
    {
        let reports = ["r.json", "r.xml", "r.md"].map(path);
        let references = [first, &path("broken.npz"), &path("absent.npz"), &good];
        let references = references.iter().flat_map(|path| ["--reference", arg(path)]);
        let mut args = vec![arg(&m), "--json", arg(&reports[0]), "--junit", arg(&reports[1]), "--markdown"];
        args.push(arg(&reports[2]));
        args.extend(references);
        let (code, out, err) = mert_verify(&args);
        assert_eq!(code, 2, "{out}{err}");
        assert!(err.contains("broken.npz") && err.contains("absent.npz"), "{err}");
        let report = json(&reports[0]);
        assert_eq!(report["passed"], false);
        assert_eq!(report["models"][0]["comparisons"].as_array().unwrap().len(), 4);
        assert_eq!(report["errors"].as_array().unwrap().len(), 2);
        let [_, xml, markdown] = reports.map(|file| std::fs::read_to_string(file).unwrap());
        assert!(xml.contains("errors=\"2\"") && xml.contains(&format!("failures=\"{failures}\"")), "{xml}");
        for text in [&markdown, &out] {
            assert!(text.contains(verdict) && text.contains("broken.npz") && !text.contains("PASSED"), "{text}");
        }
    }
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

    // An error of writing is printed after the verdict.
    #[cfg(target_os = "linux")]
    {
        let (code, out, err) = mert_verify(&["--json", "/dev/full"]);
        assert_eq!(code, 2);
        assert!(out.contains("PASSED") && err.contains("cannot write /dev/full"), "{out}{err}");
    }
}

/// A report that cannot be written ends the run before anything is computed. The other reports say so.
#[test]
fn an_unwritable_report_is_found_before_the_comparison() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("music")).unwrap();
    for unwritable in [path("absent/r.json"), path("music")] {
        let (code, out, err) = mert_verify(&["--json", arg(&unwritable), "--markdown", arg(&path("r.md"))]);
        assert_eq!(code, 2);
        assert!(out.contains("COULD NOT BE CHECKED") && !out.contains("PASSED"), "{out}");
        // The message has the name that the user gave, not that of a temporary file.
        assert!(err.contains(arg(&unwritable)) && !err.contains("partial"), "{err}");
        let markdown = std::fs::read_to_string(path("r.md")).unwrap();
        assert!(markdown.contains(arg(&unwritable)), "{markdown}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no other file is left");
    }
    let (m, r, absent) = (model(), reference(), path("absent/states.npz"));
    let (code, _, err) = mert_verify(&["hidden-states", arg(&m), "--input", arg(&r), "--output", arg(&absent)]);
    assert_eq!(code, 2);
    assert!(err.contains(arg(&absent)), "{err}");
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
    convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::Bf16, Layout::Torch);
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

/// The verdict of an earlier run must not be mistaken for that of this one, however this one ends.
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

/// The limits that a report names are those that were applied.
#[test]
fn a_headline_shows_the_limits_as_they_are() {
    let (_, out, _) = mert_verify(&["--layers", "6"]);
    assert!(out.contains("NMSE ≤ 1e-9, max |Δ| ≤ 2e-4") && out.contains("NMSE ≤ 2e-5, max |Δ| ≤ 2e-2"), "{out}");
    let m = model();
    let (_, out, _) = mert_verify(&[arg(&m), "--reference", arg(&reference()), "--dtype", "bf16"]);
    assert!(out.contains("NMSE ≤ 1.5e-3, max |Δ| ≤ 1.5e-1"), "{out}");
    let folder = TempDir::new().unwrap();
    let bf16 = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::Bf16, Layout::Mlx);
    let (_, out, _) = mert_verify(&[arg(&bf16), "--reference", arg(&reference())]);
    assert!(out.contains("NMSE ≤ 1.5e-3, max |Δ| ≤ 1.5e-1"), "{out}");
}

/// GitLab keeps the first of two cases with the same name: a failure could hide behind a pass.
#[test]
fn junit_keeps_references_and_repeated_models_apart() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(model(), path("m.safetensors")).unwrap();
    std::fs::create_dir(path("refs")).unwrap();
    std::fs::copy(reference(), path("refs/good.npz")).unwrap();
    let changed = changed_reference(&folder, |r| r.hidden_states[[4, 0, 0]] = f32::NAN);
    std::fs::rename(changed, path("refs/bad.npz")).unwrap();
    let (yaml, xml) = (path("verify.yaml"), path("gate.xml"));
    std::fs::write(
        &yaml,
        "models:\n  - {model: m.safetensors, references: [refs, refs/good.npz]}\n  - {model: m.safetensors, references: \
         [refs], dtype: bf16, require_structure: true}\n  - {model: absent.safetensors, references: [refs]}\n  - {model: \
         absent.safetensors, references: [refs]}\n",
    )
    .unwrap();
    assert_eq!(mert_verify(&["--config", arg(&yaml), "--junit", arg(&xml)]).0, 2);
    let cases = junit_cases(&xml);
    // Three references with two questions, two with one, the gate of the second model, and two missing references.
    assert_eq!(cases.len(), 13 * (3 * 2 + 2) + 1 + 2);
    for (suite, classname, name, passed) in &cases {
        let bad = name.contains("hidden state 4 ") && name.contains("bad.npz (rounding");
        let expected = !bad && !name.starts_with("gate") && !classname.contains("absent");
        assert_eq!(*passed, expected, "{suite}: {name}");
        assert!(classname.ends_with(".safetensors"), "{classname}");
    }
}

/// However a run ends, the requested reports say so and replace those of an earlier run.
#[test]
fn a_run_that_checks_nothing_writes_its_reports() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(model(), path("m.safetensors")).unwrap();
    std::fs::create_dir(path("empty")).unwrap();
    std::fs::write(path("no-zip.npz"), "no zip").unwrap();
    let yaml = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let (syntax, number) = (yaml("syntax.yaml", "models: {\n"), yaml("number.yaml", "models: 3\n"));
    let (key, empty) = (yaml("key.yaml", "models:\n  - {model: a, reference: [r]}\n"), yaml("empty.yaml", ""));
    let binary = path("binary.yaml");
    std::fs::write(&binary, b"models: \xff\xfe\n").unwrap();
    let (m, r) = (path("m.safetensors"), reference());
    let (m, r) = (arg(&m), arg(&r));
    let (empty_folder, no_zip, folder_name) = (path("empty"), path("no-zip.npz"), folder.path().to_path_buf());
    for (args, words) in [
        (vec!["--config", arg(&syntax)], "syntax.yaml"),
        (vec!["--config", arg(&number)], "number.yaml"),
        (vec!["--config", arg(&key)], "reference"),
        (vec!["--config", arg(&empty)], "empty.yaml"),
        (vec!["--config", arg(&binary)], "binary.yaml"),
        (vec!["--config", "/no/verify.yaml"], "/no/verify.yaml"),
        (vec!["--config", arg(&folder_name)], arg(&folder_name)),
        (vec!["/no/model.safetensors", "--reference", r], "/no/model.safetensors"),
        (vec![m, "--reference", "/no/such.npz"], "/no/such.npz"),
        (vec![m, "--reference", arg(&empty_folder)], "holds no .npz"),
        (vec![m, "--reference", arg(&no_zip)], "no-zip.npz"),
        (vec![m], "nothing to compare"),
        (vec![m, "--reference", r, "--layers", "13"], "hidden states 0 to 12"),
        (vec![m, "--reference", r, "--engine", "interpreter"], "Core ML"),
        (vec![m, "--reference", r, "--engine", "abacus"], "abacus"),
        // Detected while the command line is parsed.
        (vec![m, "--reference", r, "--layers", "none"], "none"),
        (vec![m, "--reference", r, "--device", "tpu"], "tpu"),
        (vec![m, "--no-such-option"], "--no-such-option"),
    ] {
        let reports = ["r.json", "r.xml", "r.md"].map(path);
        reports.iter().for_each(|report| std::fs::write(report, "an earlier run PASSED").unwrap());
        let written = ["--json", arg(&reports[0]), "--junit", arg(&reports[1]), "--markdown", arg(&reports[2])];
        let (code, _, err) = mert_verify(&[&args[..], &written[..]].concat());
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
        let [_, xml, markdown] = reports.each_ref().map(|report| std::fs::read_to_string(report).unwrap());
        let found = json(&reports[0]);
        assert_eq!(found["passed"], false, "{args:?}");
        assert!(found["errors"][0]["error"].as_str().unwrap().contains(words), "{args:?}: {found}");
        assert!(xml.contains("<error ") && !xml.contains("PASSED"), "{args:?}: {xml}");
        assert_eq!(junit_cases(&reports[1]).len(), 1);
        assert!(
            markdown.starts_with("## mert-verify: FAILED") && markdown.contains("Could not be checked"),
            "{markdown}"
        );
    }
}

/// A mistake on the command line destroys no input, and the other reports state it.
#[test]
fn a_mistake_is_in_the_other_reports() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("refs")).unwrap();
    let (m, r, xml) = (path("m.safetensors"), path("refs/r.npz"), path("g.xml"));
    std::fs::copy(model(), &m).unwrap();
    std::fs::copy(reference(), &r).unwrap();
    let (suite, broken) = (path("verify.yaml"), path("broken.yaml"));
    std::fs::write(&suite, "models:\n  - {model: m.safetensors, references: [refs]}\n").unwrap();
    std::fs::write(&broken, "models:\n  - {model: m.safetensors, references: [refs], tolerance: {checkpoint.json}}\n")
        .unwrap();
    std::fs::write(path("checkpoint.json"), "{}").unwrap();
    let (refs, named) = (path("refs"), path("checkpoint.json"));
    for args in [
        vec![arg(&m), "--reference", arg(&refs), "--json", arg(&m), "--markdown", arg(&r)],
        vec![arg(&m), "--reference", arg(&refs), "--json", arg(&r)],
        vec!["--config", arg(&suite), "--json", arg(&suite), "--markdown", arg(&r)],
        vec!["--config", arg(&broken), "--json", arg(&named), "--markdown", arg(&r)],
        vec![arg(&m), "--reference", arg(&r), "--json", arg(&r), "--layers", "none"],
        vec!["--config", arg(&suite), "--json", arg(&suite), "--layers", "6"],
    ] {
        let files = [&m, &r, &suite, &broken, &named];
        let before = files.map(|file| std::fs::read(file).unwrap());
        std::fs::write(&xml, "an earlier run PASSED").unwrap();
        let (code, out, err) = mert_verify(&[&args[..], &["--junit", arg(&xml)]].concat());
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(before == files.map(|file| std::fs::read(file).unwrap()), "{args:?}");
        assert!(!junit_cases(&xml)[0].3, "{args:?}");
    }
}

/// Names may hold any characters that a file system allows.
#[cfg(unix)]
#[test]
fn hostile_names_stay_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let names: [&[u8]; 5] = [
        b"a & b <x> \"q\" 'z' | `t` ``` [l](u) ]]> \xe9\x9f\xb3",
        b"\xff",
        b"\xfe",
        b"e\x1b[31m\x01\n## passed\xef\xbf\xbf",
        "u\u{202e}zpn.\u{2066}\u{feff}".as_bytes(),
    ];
    let reordering = ['\u{202e}', '\u{2066}', '\u{feff}'];
    for name in names {
        let mut name = name.to_vec();
        name.extend(b".safetensors");
        let file = folder.path().join(OsStr::from_bytes(&name));
        std::fs::copy(model(), &file).unwrap();
        let reports = ["r.json", "r.xml", "r.md"].map(path);
        let output = runner::command("mert-verify")
            .arg(&file)
            .args(["--reference", arg(&reference()), "--json", arg(&reports[0]), "--junit", arg(&reports[1])])
            .args(["--markdown", arg(&reports[2])])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.contains(&0x1b));
        assert!(!String::from_utf8_lossy(&output.stdout).contains(reordering));
        let shown = json(&reports[0])["models"][0]["model"].as_str().unwrap().to_string();
        assert_eq!(shown, file.display().to_string());
        let cases = junit_cases(&reports[1]);
        assert_eq!(cases.len(), 26);
        let markdown = std::fs::read_to_string(&reports[2]).unwrap();
        assert!(!markdown.contains("\n## passed") && !markdown.contains('\u{1b}'), "{markdown}");
        let xml = std::fs::read_to_string(&reports[1]).unwrap();
        assert!(!xml.contains(['\u{1b}', '\u{1}', '\u{ffff}']), "{xml}");
        assert!(!markdown.contains(reordering) && !xml.contains(reordering), "{markdown}{xml}");
    }
}
