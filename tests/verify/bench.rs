//! `mert-verify bench`: its output is complete and consistent. No test here asserts a duration.

use mert_testkit::runner;
use std::path::Path;

use mert_arch::{Config, attention_flops, forward_flops};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{arg, mert_verify, model, reference};

/// Runs `bench` with `--json` and returns the document.
fn bench(args: &[&str]) -> Value {
    let (code, out, err) = mert_verify(&[&["bench", "--json"], args].concat());
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

fn rows(document: &Value) -> &[Value] {
    document["rows"].as_array().unwrap()
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field} of {row}"))
}

/// Checks every number of a row that follows from others.
fn check(row: &Value, runs: usize) {
    let seconds: Vec<f64> = row["seconds"].as_array().unwrap().iter().map(|run| run.as_f64().unwrap()).collect();
    assert_eq!(seconds.len(), runs);
    let (median, min, max) = (number(row, "median"), number(row, "min"), number(row, "max"));
    assert!(0.0 < min && min <= median && median <= max, "{row}");
    assert!(seconds.iter().all(|run| (min..=max).contains(run)), "{row}");
    let audio = number(row, "batch") * number(row, "audio_seconds");
    approx::assert_relative_eq!(number(row, "real_time_factor"), audio / median, max_relative = 1e-12);
    approx::assert_relative_eq!(number(row, "windows_per_second"), number(row, "batch") / median, max_relative = 1e-12);
    approx::assert_relative_eq!(number(row, "gflops"), number(row, "gflop") / median, max_relative = 1e-12);
}

fn tiny() -> Config {
    Config::from_json(&std::fs::read_to_string(mert_testkit::fixture("mert-tiny/config.json")).unwrap()).unwrap()
}

#[test]
fn a_row_is_consistent() {
    let document = bench(&["--seconds", "1", "--runs", "3", "--threads", "1"]);
    let [row] = rows(&document) else { panic!("{document}") };
    check(row, 3);
    assert_eq!((number(row, "threads"), number(row, "samples"), number(row, "frames")), (1.0, 24_000.0, 74.0));
    approx::assert_relative_eq!(number(row, "gflop"), forward_flops(&tiny(), 24_000, 12) / 1e9, max_relative = 1e-12);
    let share = attention_flops(&tiny(), 24_000, 12) / forward_flops(&tiny(), 24_000, 12);
    approx::assert_relative_eq!(number(row, "attention_share"), share, max_relative = 1e-12);
    assert!(row["engine"].as_str().unwrap().starts_with("mert-runtime "), "{row}");
    assert!(row["peak"].is_null() && row["share_of_peak"].is_null() && row["compared"].is_null(), "{row}");
    assert_eq!(
        (&document["layers"], &document["device"], &document["dtype"], &document["weights"]),
        (&"all".into(), &"cpu".into(), &"f32".into(), &"f16".into())
    );
    if cfg!(unix) {
        // More than the program's own code, less than the memory of any machine that runs this.
        let peak = &row["peak_memory"];
        assert!((1e6..1e11).contains(&number(peak, "bytes")), "{peak}");
        assert!(["runs", "process"].contains(&peak["scope"].as_str().unwrap()), "{peak}");
    }
}

#[test]
fn lists_give_a_row_each() {
    let document = bench(&["--seconds", "0.5,1", "--threads", "1,2", "--runs", "1"]);
    let found: Vec<_> = rows(&document).iter().map(|row| (number(row, "samples"), number(row, "threads"))).collect();
    assert_eq!(found, [(12_000.0, 1.0), (12_000.0, 2.0), (24_000.0, 1.0), (24_000.0, 2.0)]);
    rows(&document).iter().for_each(|row| check(row, 1));
}

#[test]
fn a_batch_has_more_audio_and_more_arithmetic() {
    let document = bench(&["--seconds", "0.5", "--runs", "2", "--batch", "3"]);
    let [row] = rows(&document) else { panic!("{document}") };
    check(row, 2);
    assert_eq!((number(row, "batch"), number(row, "audio_seconds")), (3.0, 0.5));
    approx::assert_relative_eq!(
        number(row, "gflop"),
        3.0 * forward_flops(&tiny(), 12_000, 12) / 1e9,
        max_relative = 1e-12
    );
}

#[test]
fn fewer_layers_have_less_arithmetic() {
    let document = bench(&["--seconds", "1", "--runs", "1", "--layers", "0,6"]);
    approx::assert_relative_eq!(
        number(&rows(&document)[0], "gflop"),
        forward_flops(&tiny(), 24_000, 6) / 1e9,
        max_relative = 1e-12
    );
    assert_eq!(document["layers"], "0,6");
}

#[test]
fn a_clip_from_a_file() {
    let folder = TempDir::new().unwrap();
    let npy = folder.path().join("x.npy");
    npyz::to_file_1d(&npy, vec![0.25f32; 4000]).unwrap();
    for (file, samples) in [(npy.as_path(), 4000.0), (reference().as_path(), 24_000.0)] {
        let document = bench(&[arg(&model()), "--input", arg(file), "--runs", "1"]);
        assert_eq!(number(&rows(&document)[0], "samples"), samples);
    }
}

#[test]
fn the_share_of_the_peak() {
    let document = bench(&["--seconds", "0.1", "--runs", "1", "--threads", "1", "--peak"]);
    let row = &rows(&document)[0];
    let peak = number(&row["peak"], "gflops");
    assert!(peak > 0.0 && !row["peak"]["instructions"].as_str().unwrap().is_empty());
    approx::assert_relative_eq!(number(row, "share_of_peak"), number(row, "gflops") / peak, max_relative = 1e-12);
}

#[test]
fn the_table_has_every_column() {
    let args = ["bench", "--seconds", "0.5,1", "--threads", "1", "--runs", "1", "--batch", "2", "--peak"];
    let (code, out, err) = mert_verify(&args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for words in [
        "hidden states all, f16 weights, f32 on cpu",
        "median",
        "GFLOP/s",
        "of peak",
        "quadratic",
        "times real time",
        "windows/s",
        "peak memory",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert_eq!(out.lines().filter(|line| line.starts_with('|')).count(), 2 + 2, "{out}");
}

#[test]
fn runs_on_demand() {
    let run = |lines: &str| {
        let mut command = runner::command("mert-verify");
        let output = command.args(["bench", "--seconds", "0.5", "--stdin"]).write_stdin(lines).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let answers = run("run\nrun\n");
    let [ready, first, second, last] = &answers[..] else { panic!("{answers:?}") };
    assert!(ready["ready"].as_str().unwrap().starts_with("mert-runtime "));
    let [row] = rows(last) else { panic!("{last}") };
    check(row, 2);
    assert_eq!(row["seconds"], Value::Array(vec![first["seconds"].clone(), second["seconds"].clone()]));
    assert_eq!(run("").len(), 1, "without runs there is no summary");
}

/// An interrupted run removes the unpacked fixture and reports the interruption.
#[cfg(unix)]
#[test]
fn an_interrupt_is_exit_status_130_and_leaves_no_temporary_files() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let folder = TempDir::new().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    for signal in ["-INT", "-TERM"] {
        let mut child = Command::new(runner::binary("mert-verify"))
            .args(["bench", "--runs", "10000", "--threads", "1"])
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while files() == 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "no fixture was unpacked");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(files(), 0, "{signal}");
    }
}

#[test]
fn bad_usage_is_exit_status_2_and_says_why() {
    let folder = TempDir::new().unwrap();
    let short = folder.path().join("short.npy");
    npyz::to_file_1d(&short, vec![0.5f32; 399]).unwrap();
    let missing: &Path = &folder.path().join("none.npy");
    for (args, words) in [
        (&["--runs", "0"][..], "--runs"),
        (&["--runs", "18446744073709551615"], "--runs"),
        (&["--seconds=0"], "more than 0"),
        (&["--seconds=1,-1"], "more than 0"),
        (&["--seconds=inf"], "at most 600"),
        (&["--seconds=1e18"], "at most 600"),
        (&["--seconds=nan"], "at most 600"),
        (&["--seconds=1,x"], "`x` is not a number"),
        (&["--seconds=0.001"], "a frame needs 400"),
        (&["--threads", "0"], "--threads"),
        (&["--threads", "1,100000"], "--threads"),
        (&["--batch", "0"], "--batch"),
        (&["--layers", "13"], "hidden states 0 to 12"),
        (&["--input", arg(&short)], "a frame needs 400"),
        (&["--input", arg(missing)], "none.npy"),
        (&["--input", arg(&short), "--seconds", "1"], "cannot be used with"),
        (&["--stdin", "--json"], "cannot be used with"),
        (&["--stdin", "--threads", "1,2"], "--stdin times one row"),
        (&["--stdin", "--seconds", "1,2"], "--stdin times one row"),
        (&["--against", "mlx"], "tch"),
        (&["--against", "tch", "--dtype", "f16"], "leave --dtype"),
        (&["--peak", "--device", "cuda"], "--peak measures the CPU"),
        (&["/no/model.safetensors"], "/no/model.safetensors"),
    ] {
        let (code, out, err) = mert_verify(&[&["bench"], args].concat());
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(err.contains(words), "{args:?}: {err}");
        assert_eq!(out, "", "{args:?}");
    }
}

#[cfg(not(feature = "tch"))]
#[test]
fn without_libtorch_the_feature_is_named() {
    let (code, _, err) = mert_verify(&["bench", "--against", "tch"]);
    assert_eq!(code, 2);
    assert!(err.contains("--features tch") && err.contains("install_libtorch.sh"), "{err}");
}

#[cfg(feature = "tch")]
mod against_libtorch {
    use mert_arch::{Dtype, Layout};
    use mert_testkit::fixture;

    use super::*;
    use crate::common::convert;

    #[test]
    fn both_are_timed_and_agree() {
        let folder = TempDir::new().unwrap();
        for name in ["mert-tiny", "stable-layer-norm", "deepnorm"] {
            for dtype in [Dtype::F32, Dtype::F16] {
                let model = convert(&fixture(&format!("{name}/pytorch_model.bin")), &folder, dtype, Layout::Mlx);
                for layers in ["all", "2"] {
                    let document = bench(&[
                        arg(&model),
                        "--against",
                        "tch",
                        "--seconds",
                        "1",
                        "--runs",
                        "2",
                        "--batch",
                        "2",
                        "--threads",
                        "1",
                        "--layers",
                        layers,
                    ]);
                    let [ours, theirs] = rows(&document) else { panic!("{document}") };
                    [ours, theirs].into_iter().for_each(|row| check(row, 2));
                    assert!(theirs["engine"].as_str().unwrap().starts_with("libtorch "), "{theirs}");
                    let compared = &theirs["compared"];
                    let ratio = number(theirs, "median") / number(ours, "median");
                    approx::assert_relative_eq!(number(compared, "ratio"), ratio, max_relative = 1e-12);
                    assert!(number(compared, "nmse") < 1e-9, "{name} {dtype}: {compared}");
                    assert!(ours["compared"].is_null() && ours["peak_memory"].is_null(), "{ours}");
                }
            }
        }
    }

    #[test]
    fn the_table_has_both() {
        let (code, out, err) =
            mert_verify(&["bench", "--against", "tch", "--seconds", "0.5,1", "--runs", "1", "--threads", "1"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(out.matches("| libtorch 2.13.0").count(), 2, "{out}");
        assert!(out.contains("times ours") && out.contains("NMSE") && out.contains("share a process"), "{out}");
    }
}
