//! `mert-convert … OUT.mlpackage` at the command line: options, determinism, replacement of existing outputs.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use mert_arch::{Config, Dtype, KNOWN_CHECKPOINTS, Layout};
use mert_checkpoint::Source;
use mert_convert::write::{self, CoreMlOptions};
use mert_convert::{Plan, PlanOptions, Step};
use mert_testkit::{fixture, runner, sharp_checkpoint, write_torch_zip};
use tempfile::TempDir;

use crate::scratch::{listing, mert_convert};

fn run(input: &Path, output: &Path, options: &[&str]) -> (i32, String, String) {
    let run = mert_convert(input, output, options);
    (run.code, run.stdout, run.stderr)
}

/// Requires a refusal whose message has all of `words`.
#[track_caller]
fn refused(input: &Path, output: &Path, options: &[&str], words: &[&str]) {
    let (code, _, err) = run(input, output, options);
    assert_eq!(code, 2, "{options:?}: {err}");
    for word in words {
        assert!(err.contains(word), "{options:?}: `{word}` is not in: {err}");
    }
}

fn tiny() -> PathBuf {
    fixture("mert-tiny/pytorch_model.bin")
}

/// The relative path and the content of every file in a folder.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn two_writes_give_the_same_bytes_on_any_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let mut printed = Vec::new();
    let mut written = Vec::new();
    for (name, threads) in [("a", "1"), ("b", "2"), ("c", "7")] {
        let output = folder.path().join(format!("{name}.mlpackage"));
        let (code, out, err) = run(&tiny(), &output, &["--seconds", "1,2", "--frames", "--threads", threads]);
        assert_eq!(code, 0, "{err}");
        printed.push(out.lines().find(|line| line.starts_with("sha256")).unwrap().to_string());
        written.push(contents(&output));
    }
    assert!(printed[0] == printed[1] && printed[0] == printed[2], "{printed:?}");
    assert!(written[0] == written[1] && written[0] == written[2]);
    let paths: Vec<&str> = written[0].iter().map(|(path, _)| path.to_str().unwrap()).collect();
    let data = "Data/com.apple.CoreML";
    let expected = [&format!("{data}/model.mlmodel"), &format!("{data}/weights/weight.bin"), "Manifest.json"];
    assert_eq!(paths, expected.map(str::to_string));

    // The digest that is printed is what `sha256sum` gives, as documented.
    #[cfg(target_os = "linux")]
    {
        let command = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum";
        let shell =
            Command::new("sh").args(["-c", command]).current_dir(folder.path().join("a.mlpackage")).output().unwrap();
        let digest = String::from_utf8(shell.stdout).unwrap();
        assert_eq!(printed[0].split_whitespace().nth(1), digest.split_whitespace().next());
    }
}

#[test]
fn only_packages_are_replaced_and_only_with_force() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("a.mlpackage");
    assert_eq!(run(&tiny(), &output, &["--seconds", "1"]).0, 0);
    let before = contents(&output);
    refused(&tiny(), &output, &["--seconds", "2"], &["--force"]);
    assert_eq!(contents(&output), before);
    assert_eq!(run(&tiny(), &output, &["--seconds", "2", "--force"]).0, 0);
    assert_ne!(contents(&output), before);

    // A conversion that fails leaves the old package.
    let before = contents(&output);
    let damaged = folder.path().join("pytorch_model.bin");
    let text = fs::read_to_string(fixture("containers/config.json")).unwrap();
    fs::write(folder.path().join("config.json"), &text).unwrap();
    let mut tensors = sharp_checkpoint(&Config::from_json(&text).unwrap(), 1);
    tensors.last_mut().unwrap().1.values[3] = f32::NAN;
    write_torch_zip(&damaged, &tensors).unwrap();
    refused(&damaged, &output, &["--force"], &["NaN"]);
    assert_eq!(contents(&output), before);

    for (name, make) in [
        ("folder.mlpackage", (|path| fs::create_dir(path).unwrap()) as fn(&Path)),
        ("file.mlpackage", |path| fs::write(path, "mine").unwrap()),
    ] {
        let other = folder.path().join(name);
        make(&other);
        for options in [&["--force"][..], &[]] {
            refused(&tiny(), &other, options, &["is not a Core ML package"]);
        }
        assert!(other.exists());
    }
    // A checkpoint inside the package that would be replaced.
    let inside = output.join("pytorch_model.bin");
    fs::copy(tiny(), &inside).unwrap();
    fs::copy(fixture("mert-tiny/config.json"), output.join("config.json")).unwrap();
    refused(&inside, &output, &["--force"], &["is an input"]);
    // A configuration inside it.
    fs::remove_file(&inside).unwrap();
    let config = output.join("config.json");
    refused(&tiny(), &output, &["--force", "--config", config.to_str().unwrap()], &["is an input"]);
    assert!(config.exists());
    let expected = ["a.mlpackage", "config.json", "file.mlpackage", "folder.mlpackage", "pytorch_model.bin"];
    assert_eq!(listing(folder.path()), expected);
}

/// A signal at any time leaves one complete package under the name, and nothing beside it.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_conversion_leaves_the_old_package_or_the_new_one() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("a.mlpackage");
    assert_eq!(run(&tiny(), &output, &["--seconds", "1"]).0, 0);
    let old = contents(&output);
    assert_eq!(run(&tiny(), &output, &["--seconds", "2", "--force"]).0, 0);
    let new = contents(&output);
    let (mut kept, mut replaced) = (0, 0);
    for i in 0..60u64 {
        let seconds = if contents(&output) == old { "2" } else { "1" };
        let before = contents(&output);
        let mut child = std::process::Command::new(runner::binary("mert-convert"))
            .args([tiny().to_str().unwrap(), output.to_str().unwrap(), "--force", "--quiet", "--seconds", seconds])
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(300 * i));
        // `Child::kill` sends SIGKILL, which a process cannot handle.
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        child.wait().unwrap();
        let after = contents(&output);
        assert!(after == old || after == new, "after {} µs: {:?}", 300 * i, listing(&output));
        if after == before {
            kept += 1
        } else {
            replaced += 1
        }
        assert_eq!(listing(folder.path()), ["a.mlpackage"], "after {} µs", 300 * i);
    }
    println!("{kept} kept the old package, {replaced} replaced it");
    assert!(kept > 0);
}

#[test]
fn impossible_packages_are_refused_and_leave_nothing() {
    let folder = TempDir::new().unwrap();
    let package = folder.path().join("a.mlpackage");
    let file = folder.path().join("a.safetensors");
    for (output, options, words) in [
        (&package, &["--dtype", "bf16"][..], &["no bf16", "f16"][..]),
        (&package, &["--layout", "mlx"], &["--layout", "leave it out"]),
        (&package, &["--layers", "13"], &["hidden state 13", "0 to 12"]),
        (&package, &["--seconds", "0.01"], &["240 samples", "needs 400", "--seconds"]),
        (&package, &["--seconds", "30-5"], &["shorter, then a longer"]),
        (&package, &["--seconds", "soon"], &["invalid lengths"]),
        (&package, &["--minimum-deployment", "ios14"], &["ios15, ios16, ios17, ios18"]),
        (&file, &["--seconds", "5"], &["--seconds is for Core ML packages", ".mlpackage"]),
        (&file, &["--frames"], &["--frames is for"]),
        (&file, &["--layers", "6"], &["--layers is for"]),
        (&file, &["--minimum-deployment", "ios18"], &["--minimum-deployment is for"]),
    ] {
        refused(&tiny(), output, options, words);
        assert!(listing(folder.path()).is_empty(), "{options:?}");
    }
    refused(&tiny(), &folder.path().join("a.mlmodel"), &[], &[".safetensors, .gguf or .mlpackage"]);
    // Numbers that half precision cannot represent, or only roughly.
    let config = folder.path().join("config.json");
    for (field, from, to, word) in [
        ("layer_norm_eps", "1e-05", "1e-08", "`feature_projection.layer_norm's epsilon` needs 1e-8"),
        ("layer_norm_eps", "1e-05", "1e-07", "which half precision rounds to 1.19"),
        ("layer_norm_eps", "1e-05", "1e5", "half precision rounds to inf"),
        ("attention_relax", "-1.0", "1e12", "which half precision rounds to"),
    ] {
        let text = fs::read_to_string(fixture("mert-tiny/config.json")).unwrap();
        let changed = text.replace(&format!("\"{field}\": {from}"), &format!("\"{field}\": {to}"));
        assert_ne!(changed, text);
        fs::write(&config, changed).unwrap();
        let options = ["--config", config.to_str().unwrap(), "--force"];
        refused(&tiny(), &package, &options, &[word, "--dtype f32"]);
        let (code, _, err) =
            run(&tiny(), &package, &["--config", config.to_str().unwrap(), "--dtype", "f32", "--force"]);
        assert_eq!(code, 0, "{err}");
    }
}

/// A tensor that the program does not use, or that the plan lacks, is an error: never a package of another function.
#[test]
fn a_plan_that_the_program_does_not_follow_is_refused() {
    let source = Source::open(&tiny()).unwrap();
    let options = PlanOptions { layout: Layout::Torch, dtype: Dtype::F16, ..PlanOptions::default() };
    let plan = Plan::new(&source, &options).unwrap();
    let program = |plan: &Plan, layers: &str| {
        let options = CoreMlOptions { layers: layers.parse().unwrap(), ..CoreMlOptions::default() };
        write::coreml_program(plan, &options).map(|program| program.tensor_count()).map_err(|error| error.to_string())
    };
    assert_eq!(program(&plan, "all"), Ok(209));
    let mut more = plan.clone();
    more.steps.push(Step { name: "encoder.layers.6.attention.surprise.weight".into(), ..plan.steps[0].clone() });
    assert!(
        program(&more, "all").unwrap_err().contains("would leave out `encoder.layers.6.attention.surprise.weight`")
    );
    // The layers above the highest are not needed.
    assert_eq!(program(&more, "6"), Ok(113));
    let mut fewer = plan.clone();
    fewer.steps.retain(|step| step.name != "encoder.layers.3.layer_norm.weight");
    assert!(program(&fewer, "6").unwrap_err().contains("needs a weight `encoder.layers.3.layer_norm.weight`"));
}

#[test]
fn a_dry_run_describes_the_package() {
    let folder = TempDir::new().unwrap();
    let package = folder.path().join("a.mlpackage");
    let (code, out, _) = run(&tiny(), &package, &["--dry-run", "--layers", "6", "--seconds", "5,10", "--frames"]);
    assert_eq!(code, 0);
    for words in [
        "113 tensors",
        "96 above the highest layer left out",
        "input_values (1, 120000 or 240000)",
        "hidden_states (1, 64) and frame_hidden_states (1, frames, 64)",
        "ios15 and later",
    ] {
        assert!(out.contains(words), "`{words}` is not in: {out}");
    }
    assert!(!package.exists());
    let (code, out, _) = run(&tiny(), &package, &["--json"]);
    assert_eq!(code, 0);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["target"]["tensors"], 209);
    let size: usize = contents(&package).iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(document["output"]["written"]["bytes"], size);
}

/// The description and licence that an app's developer looks for.
#[test]
fn the_package_names_its_source() {
    let folder = TempDir::new().unwrap();
    let model = |options: &[&str]| {
        let package = folder.path().join("a.mlpackage");
        assert_eq!(run(&tiny(), &package, &[options, &["--force"]].concat()).0, 0);
        let bytes = fs::read(package.join("Data/com.apple.CoreML/model.mlmodel")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let unknown = model(&[]);
    let source = mert_fs::sha256_file(&tiny()).unwrap();
    for words in
        [&source[..], "unknown: that of the checkpoint", "row 6: hidden state 6, the output of layer 6", "24000 Hz"]
    {
        assert!(unknown.contains(words), "{words}");
    }
    let known = &KNOWN_CHECKPOINTS[0];
    let text = model(&["--source-sha256", known.sha256, "--layers", "6"]);
    for words in [known.sha256, known.license, known.name, "m-a-p; converted by mert-convert", "row 0: hidden state 6"]
    {
        assert!(text.contains(words), "{words}");
    }
}

/// The plan says what is compressed and why the rest is not; the same bytes are written on any number of threads.
#[test]
fn linear_layers_are_compressed() {
    let folder = TempDir::new().unwrap();
    let package = |name: &str| folder.path().join(format!("{name}.mlpackage"));
    let options = ["--compress", "int4", "--minimum-deployment", "ios18", "--layers", "6"];
    let (code, out, _) = run(&tiny(), &package("a"), &[&options[..], &["--dry-run"]].concat());
    assert_eq!(code, 0);
    for words in [
        "36 linear layers compressed to int4 in blocks of 32",
        "f32 → f16, compressed to int4, 32 to a scale",
        "not compressed: a convolution",
        "not compressed: a norm",
        "not compressed: it has 2048 values, not more than 2048",
    ] {
        assert!(out.contains(words), "`{words}` is not in: {out}");
    }
    for (name, threads) in [("a", "1"), ("b", "3")] {
        let options = ["--compress", "palettize4", "--minimum-deployment", "ios16", "--threads", threads];
        let (code, _, err) = run(&tiny(), &package(name), &options);
        assert_eq!(code, 0, "{err}");
    }
    assert_eq!(contents(&package("a")), contents(&package("b")));
    let (code, _, err) = run(&tiny(), &package("f16"), &[]);
    assert_eq!(code, 0, "{err}");
    let size = |name: &str| -> usize { contents(&package(name)).iter().map(|(_, bytes)| bytes.len()).sum() };
    assert!(size("a") < size("f16") / 2, "{} {}", size("a"), size("f16"));
}

#[test]
fn impossible_compression_is_refused_with_what_to_give() {
    let folder = TempDir::new().unwrap();
    let package = folder.path().join("a.mlpackage");
    for (options, words) in [
        (&["--compress", "int8"][..], &["int8 per channel", "--minimum-deployment ios16"][..]),
        (&["--compress", "palettize6"], &["6-bit palettes", "--minimum-deployment ios16"]),
        (&["--compress", "uint4", "--minimum-deployment", "ios17"], &["blocks of 32", "--minimum-deployment ios18"]),
        (
            &["--compress", "int8", "--block-size", "64", "--minimum-deployment", "ios16"],
            &["blocks of 64", "--minimum-deployment ios18"],
        ),
        (&["--compress", "palettize4", "--block-size", "16"], &["--block-size is for int8"]),
        (&["--compress", "int4", "--block-size", "1"], &["at least 2 values"]),
        (&["--compress", "int8", "--dtype", "f32"], &["half precision, not f32", "leave --dtype out"]),
        (&["--compress", "int3"], &["int8", "palettize4"]),
        (&["--block-size", "16"], &["--compress"]),
        (&["--quantize"], &["give --compress"]),
    ] {
        refused(&tiny(), &package, options, words);
    }
    let file = folder.path().join("a.safetensors");
    refused(&tiny(), &file, &["--compress", "int8"], &["--compress is for Core ML packages"]);
}

/// A scale of half precision would be infinite: the weight is named, and nothing is written.
#[test]
fn weights_too_large_to_compress_are_named() {
    let folder = TempDir::new().unwrap();
    let text = fs::read_to_string(fixture("mert-tiny/config.json")).unwrap();
    fs::write(folder.path().join("config.json"), &text).unwrap();
    let mut tensors = sharp_checkpoint(&Config::from_json(&text).unwrap(), 1);
    let name = "encoder.layers.3.attention.q_proj.weight";
    let (_, tensor) = tensors.iter_mut().find(|(found, _)| found == name).unwrap();
    tensor.values[2 * 64 + 5] = 40_000.0;
    let checkpoint = folder.path().join("pytorch_model.bin");
    write_torch_zip(&checkpoint, &tensors).unwrap();
    let before = listing(folder.path());
    let options = ["--compress", "int8", "--minimum-deployment", "ios16"];
    let words = [name, "from index [2, 0] on are too large for int8", "leave --compress out"];
    refused(&checkpoint, &folder.path().join("a.mlpackage"), &options, &words);
    assert_eq!(listing(folder.path()), before);
}
