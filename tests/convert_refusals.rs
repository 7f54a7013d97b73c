//! What `mert-convert` refuses: exit status 2, a message that names the culprit, nothing written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use mert_spec::Config;
use mert_testkit::{Tensor, fixture, sharp_checkpoint, write_torch_zip};
use tempfile::TempDir;

struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn listing(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Converts `input` and demands a refusal whose message has all of `words`, and no new file.
    #[track_caller]
    fn refused(&self, input: &Path, options: &[&str], words: &[&str]) {
        let before = self.listing();
        let run = Command::new(env!("CARGO_BIN_EXE_mert-convert"))
            .arg(input)
            .arg(self.path("out.safetensors"))
            .args(options)
            .current_dir(self.0.path())
            .assert()
            .code(2);
        let message = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
        assert!(run.get_output().stdout.is_empty());
        assert_eq!(self.listing(), before, "something was left behind");
    }
}

fn tiny() -> Config {
    let text = std::fs::read_to_string(fixture("containers/config.json")).unwrap();
    Config::from_json(&text).unwrap()
}

/// A checkpoint of the tiny model after `change`, beside its config.json.
fn checkpoint(scratch: &Scratch, change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> PathBuf {
    let mut tensors = sharp_checkpoint(&tiny(), 1);
    change(&mut tensors);
    let path = scratch.path("checkpoint.bin");
    write_torch_zip(&path, &tensors).unwrap();
    std::fs::copy(fixture("containers/config.json"), scratch.path("config.json")).unwrap();
    path
}

fn named<'a>(tensors: &'a mut [(String, Tensor)], name: &str) -> &'a mut (String, Tensor) {
    tensors.iter_mut().find(|(n, _)| n == name).unwrap()
}

#[test]
fn the_unchanged_checkpoint_is_converted() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    Command::new(env!("CARGO_BIN_EXE_mert-convert")).arg(input).arg(scratch.path("out.safetensors")).assert().success();
    assert_eq!(scratch.listing(), ["checkpoint.bin", "config.json", "out.safetensors"]);
}

#[test]
fn a_missing_tensor() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| t.retain(|(name, _)| name != "encoder.layers.1.attention.k_proj.bias"));
    scratch.refused(&input, &[], &["missing tensor `encoder.layers.1.attention.k_proj.bias` [32]"]);
}

#[test]
fn a_misspelt_tensor_is_both_missing_and_unexpected() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| named(t, "encoder.layer_norm.bias").0 = "encoder.layer_nrom.bias".into());
    let words = [
        "missing tensor `encoder.layer_norm.bias` [32] (the checkpoint has `encoder.layer_nrom.bias`)",
        "unexpected tensor `encoder.layer_nrom.bias` [32] (the nearest expected name is `encoder.layer_norm.bias`)",
        "--drop",
    ];
    scratch.refused(&input, &[], &words);
}

#[test]
fn an_unexpected_tensor_unless_dropped() {
    let scratch = Scratch::new();
    let extra = ("probe.weight".to_string(), Tensor { shape: vec![2], values: vec![1.0, 2.0] });
    let input = checkpoint(&scratch, |t| t.push(extra));
    scratch.refused(&input, &[], &["unexpected tensor `probe.weight` [2]", "--drop 'probe.weight'"]);
    scratch.refused(&input, &["--drop", "prob"], &["--drop `prob` matches no tensor"]);
    Command::new(env!("CARGO_BIN_EXE_mert-convert"))
        .arg(input)
        .arg(scratch.path("out.safetensors"))
        .args(["--drop", "probe.*"])
        .assert()
        .success();
}

#[test]
fn a_misshapen_tensor() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| named(t, "feature_projection.projection.weight").1.shape = vec![16, 32]);
    let words = ["tensor `feature_projection.projection.weight` has shape [16, 32], expected [32, 16]"];
    scratch.refused(&input, &[], &words);
}

#[test]
fn a_conv_weight_that_is_transposed_already() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| {
        let tensor = &mut named(t, "feature_extractor.conv_layers.0.conv.weight").1;
        *tensor = tensor.swap_last_axes();
    });
    scratch.refused(&input, &[], &["conv_layers.0.conv.weight", "last two axes are swapped", "MLX"]);
}

/// A magnitude per output channel is `weight_norm(conv)` without `dim=2`: another model.
#[test]
fn a_weight_norm_over_other_dimensions() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| {
        named(t, "encoder.pos_conv_embed.conv.weight_g").1 = Tensor { shape: vec![32, 1, 1], values: vec![1.0; 32] };
    });
    scratch.refused(&input, &[], &["weight_g", "[32, 1, 1]", "[1, 1, 16]", "dim 2"]);
}

#[test]
fn nan_and_infinity() {
    for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for name in ["encoder.layers.0.final_layer_norm.weight", "encoder.pos_conv_embed.conv.weight_v"] {
            let scratch = Scratch::new();
            let input = checkpoint(&scratch, |t| named(t, name).1.values[5] = value);
            for dtype in ["f16", "f32"] {
                scratch.refused(&input, &["--dtype", dtype], &[name, &format!("holds {text} at index")]);
            }
        }
    }
}

#[test]
fn a_zero_weight_norm() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| {
        let v = &mut named(t, "encoder.pos_conv_embed.conv.weight_v").1.values;
        v.iter_mut().skip(3).step_by(16).for_each(|value| *value = 0.0);
    });
    scratch.refused(&input, &[], &["weight_v", "tap 3"]);
}

#[test]
fn a_value_that_overflows_f16() {
    let scratch = Scratch::new();
    let name = "encoder.layers.1.feed_forward.output_dense.weight";
    let input = checkpoint(&scratch, |t| named(t, name).1.values[65] = 7e4);
    scratch.refused(&input, &[], &[name, "7e4", "[1, 1]", "overflows f16", "--dtype bf16"]);
    Command::new(env!("CARGO_BIN_EXE_mert-convert"))
        .arg(input)
        .arg(scratch.path("out.safetensors"))
        .args(["--dtype", "bf16"])
        .assert()
        .success();
}

#[test]
fn an_already_converted_file() {
    let scratch = Scratch::new();
    for layout in ["mlx", "candle"] {
        let converted = scratch.path(&format!("{layout}.safetensors"));
        Command::new(env!("CARGO_BIN_EXE_mert-convert"))
            .arg(fixture("containers/zip.bin"))
            .arg(&converted)
            .args(["--layout", layout])
            .assert()
            .success();
        scratch.refused(&converted, &[], &["already converted", layout, "original"]);
    }
}

#[test]
fn an_existing_output_without_force() {
    let scratch = Scratch::new();
    scratch.write("out.safetensors", b"precious");
    let input = fixture("containers/zip.bin");
    scratch.refused(&input, &[], &["out.safetensors exists", "--force"]);
    assert_eq!(std::fs::read(scratch.path("out.safetensors")).unwrap(), b"precious");
    // A refusal with --force leaves the old one too.
    scratch.refused(&fixture("hostile/numpy.bin"), &["--force"], &["not a tensor"]);
    assert_eq!(std::fs::read(scratch.path("out.safetensors")).unwrap(), b"precious");
}

#[test]
fn an_output_that_is_the_input() {
    let scratch = Scratch::new();
    let input = scratch.path("out.safetensors");
    std::fs::copy(fixture("containers/plain.safetensors"), &input).unwrap();
    let before = std::fs::read(&input).unwrap();
    scratch.refused(&input, &["--force"], &["is the input itself"]);
    assert!(std::fs::read(&input).unwrap() == before);
}

#[test]
fn outputs_that_cannot_be() {
    let scratch = Scratch::new();
    let convert = |output: &str| {
        let run = Command::new(env!("CARGO_BIN_EXE_mert-convert"))
            .arg(fixture("containers/zip.bin"))
            .arg(scratch.path(output))
            .assert()
            .code(2);
        String::from_utf8_lossy(&run.get_output().stderr).into_owned()
    };
    assert!(convert("out.onnx").contains(".safetensors"));
    assert!(convert("nowhere/out.safetensors").contains("nowhere"));
    std::fs::create_dir(scratch.path("folder.safetensors")).unwrap();
    assert!(convert("folder.safetensors").contains("not a regular file"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_are_left_alone() {
    use std::os::unix::fs::FileTypeExt;
    let scratch = Scratch::new();
    let (real, link) = (scratch.write("real.safetensors", b"old"), scratch.path("link.safetensors"));
    std::os::unix::fs::symlink(&real, &link).unwrap();
    std::os::unix::fs::symlink("/dev/null", scratch.path("null.safetensors")).unwrap();
    let convert = |output: &Path| {
        Command::new(env!("CARGO_BIN_EXE_mert-convert"))
            .arg(fixture("containers/zip.bin"))
            .arg(output)
            .arg("--force")
            .assert()
    };
    convert(&link).success();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::metadata(&real).unwrap().len() > 50_000);
    let refused = convert(&scratch.path("null.safetensors")).code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("not a regular file"));
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn names_from_a_file_do_not_reach_the_terminal_raw() {
    let scratch = Scratch::new();
    let extra = ("\x1b]0;owned\x07probe".to_string(), Tensor { shape: vec![1], values: vec![1.0] });
    let input = checkpoint(&scratch, |t| t.push(extra));
    scratch.refused(&input, &[], &["\\u{1b}]0;owned\\u{7}probe"]);
}

/// A lazily negated view has its values stored with the other sign; readers that ignore the mark are
/// wrong without a word. The pickle's tensor arguments get a metadata dictionary with `neg: True`.
#[test]
fn a_negated_view() {
    let scratch = Scratch::new();
    // A plain pickle stream is enough: the mark is looked for before anything else is parsed.
    let mut marked = b"\x80\x02}X\x03\0\0\0negq\x01\x88s.".to_vec();
    marked.resize(64, b'.');
    scratch.refused(&scratch.write("neg.bin", &marked), &[], &["negated view", "resolve_neg"]);
}

#[test]
fn a_key_for_a_file_without_dictionaries() {
    let scratch = Scratch::new();
    scratch.refused(&fixture("containers/plain.safetensors"), &["--key", "model"], &["leave --key out"]);
    scratch.refused(
        &fixture("containers/lightning.ckpt"),
        &["--key", "modle"],
        &["no model is under key `modle`", "`state_dict`"],
    );
}

#[test]
fn files_that_are_no_checkpoints() {
    let scratch = Scratch::new();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 377552987\n";
    for (name, bytes, words) in [
        ("empty.bin", &b""[..], &["empty.bin", "the file is empty"][..]),
        ("short.bin", b"abc", &["short.bin", "shorter than any checkpoint"]),
        ("pointer.bin", pointer, &["Git LFS pointer", "git lfs pull"]),
        ("text.bin", b"<!DOCTYPE html><html>not found</html>", &["text.bin", "torch.save"]),
        ("png.bin", b"\x89PNG\r\n\x1a\n0000000000000", &["png.bin", "torch.save"]),
        ("zip.bin", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &["zip.bin"]),
        (
            "pickle.bin",
            b"\x80\x02}q\0(X\x01\0\0\0aK\x01u.",
            &["holds no MERT or HuBERT encoder", "none of its 1 tensors"],
        ),
        ("header.safetensors", b"\x10\0\0\0\0\0\0\0{\"a\":", &["header.safetensors", "16 bytes long"]),
        ("json.safetensors", b"\x04\0\0\0\0\0\0\0{\"a\"", &["json.safetensors", "header"]),
    ] {
        let input = scratch.write(name, bytes);
        scratch.refused(&input, &[], words);
    }
    scratch.refused(&scratch.path("absent.bin"), &[], &["cannot read", "absent.bin"]);
    std::fs::create_dir(scratch.path("folder")).unwrap();
    scratch.refused(&scratch.path("folder"), &[], &["none of model.safetensors"]);
}

#[test]
fn truncated_files() {
    for name in ["zip.bin", "legacy.bin", "plain.safetensors"] {
        let bytes = std::fs::read(fixture(&format!("containers/{name}"))).unwrap();
        for part in [bytes.len() - 1, bytes.len() / 2, 5000, 100, 20] {
            let scratch = Scratch::new();
            let input = scratch.write(name, &bytes[..part]);
            std::fs::copy(fixture("containers/config.json"), scratch.path("config.json")).unwrap();
            scratch.refused(&input, &[], &["mert-convert: "]);
        }
    }
}

/// Bits flipped anywhere, headers above all: an error or a conversion, never a panic, an endless loop or
/// an allocation of what a damaged length claims.
#[test]
fn damaged_files_never_panic() {
    use mert_convert::{Plan, PlanOptions, Source, write};
    let scratch = Scratch::new();
    std::fs::copy(fixture("containers/config.json"), scratch.path("config.json")).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut refused, mut converted) = (0, 0);
    for name in ["zip.bin", "legacy.bin", "plain.safetensors", "lightning.ckpt", "f16.bin"] {
        let bytes = std::fs::read(fixture(&format!("containers/{name}"))).unwrap();
        for round in 0..120 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(3) {
                // Two thirds into the first or last 12 kB, where pickles, headers and directories are.
                let at = match round % 3 {
                    0 => random(12_000.min(bytes.len())),
                    1 => bytes.len() - 1 - random(12_000.min(bytes.len())),
                    _ => random(bytes.len()),
                };
                damaged[at] ^= 1 << random(8);
            }
            let input = scratch.write(name, &damaged);
            let output = scratch.path("out.safetensors");
            let result = Source::open(&input).and_then(|source| {
                let plan = Plan::new(&source, &PlanOptions::default())?;
                write::safetensors(&plan, &source, &output, true, &|_| {})
            });
            match result {
                Ok(_) => converted += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    // A legacy file and safetensors have no checksums: a flipped weight goes through, a header does not.
    assert!(refused > 200 && converted > 0, "{refused} refused, {converted} converted");
}

/// A zip entry carries a checksum: a flipped bit in a weight does not go through.
#[test]
fn a_flipped_bit_in_a_zip() {
    let scratch = Scratch::new();
    let mut bytes = std::fs::read(fixture("containers/zip.bin")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let input = scratch.write("zip.bin", &bytes);
    std::fs::copy(fixture("containers/config.json"), scratch.path("config.json")).unwrap();
    scratch.refused(&input, &[], &["tensor", "damaged"]);
}

#[test]
fn pickles_that_run_programs_run_nothing() {
    let scratch = Scratch::new();
    scratch.refused(&fixture("hostile/os-system.bin"), &[], &["posix.system"]);
    let words = ["`encoder.layer_norm.weight` is a pickled `posix.system`", "not executed"];
    scratch.refused(&fixture("hostile/foreign-tensor.bin"), &[], &words);
    scratch.refused(&fixture("hostile/numpy.bin"), &[], &["numpy", "not a tensor"]);
    for folder in [Path::new("."), scratch.0.path(), &std::env::temp_dir()] {
        assert!(!folder.join("PWNED").exists(), "a pickle was executed in {}", folder.display());
    }
}

#[test]
fn two_models_in_one_checkpoint() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |tensors| {
        let twin: Vec<_> = tensors.iter().map(|(name, tensor)| (format!("teacher.{name}"), tensor.clone())).collect();
        tensors.iter_mut().for_each(|(name, _)| *name = format!("student.{name}"));
        tensors.extend(twin);
    });
    scratch.refused(&input, &[], &["more than one model", "student.", "teacher.", "--prefix"]);
    // One is chosen, the other must then be left out by name.
    scratch.refused(&input, &["--prefix", "student"], &["unexpected tensor `teacher."]);
    Command::new(env!("CARGO_BIN_EXE_mert-convert"))
        .arg(input)
        .arg(scratch.path("out.safetensors"))
        .args(["--prefix", "student", "--drop", "teacher.*"])
        .assert()
        .success();
}

#[test]
fn two_spellings_at_once() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |tensors| {
        let fused = named(tensors, "encoder.pos_conv_embed.conv.weight_v").1.clone();
        tensors.push(("encoder.pos_conv_embed.conv.weight".into(), fused));
    });
    scratch.refused(&input, &[], &["is there twice", "weight_v", "encoder.pos_conv_embed.conv.weight`"]);
}

#[test]
fn configurations_that_do_not_fit() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    let config = std::fs::read_to_string(scratch.path("config.json")).unwrap();
    for (from, to, words) in [
        ("\"feature_extractor_cqt\": false", "\"feature_extractor_cqt\": true", &["config.json", "constant-Q"][..]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", &["missing tensor `encoder.layers.2.", "and 4 more"]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", &["unexpected tensor `encoder.layers.1."]),
        ("\"intermediate_size\": 64", "\"intermediate_size\": 65", &["expected [65, 32]"]),
        ("{", "", &["config.json cannot be read"]),
        ("\"model_type\"", "\"typo\"", &["config.json", "`model_type` is missing"]),
        ("\"hidden_size\": 32", "\"hidden_size\": null", &["config.json", "`hidden_size`"]),
        ("\"sample_rate\": 24000", "\"sample_rate\": 4294967295", &["`sample_rate` is 4294967295"]),
    ] {
        assert!(config.contains(from), "{from}");
        scratch.write("config.json", config.replacen(from, to, 1).as_bytes());
        scratch.refused(&input, &[], words);
    }
}

#[test]
fn a_dtype_that_is_no_float_of_32_bits() {
    let scratch = Scratch::new();
    let name = "encoder.layer_norm.weight";
    let bytes = std::fs::read(fixture("containers/plain.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let doubled = vec![0u8; 32 * 8];
    let tensors: Vec<_> = file
        .iter()
        .map(|(n, tensor)| match n == name {
            true => (n, safetensors::tensor::TensorView::new(safetensors::Dtype::F64, vec![32], &doubled).unwrap()),
            false => (n, tensor),
        })
        .collect();
    let input = scratch.path("f64.safetensors");
    safetensors::serialize_to_file(tensors, None, &input).unwrap();
    scratch.refused(&input, &[], &[name, "dtype f64", "expected f32, f16 or bf16"]);
}
