//! Files that `mert-convert` refuses to read or to write: exit status 2, a message that names the file, nothing written and
//! nothing lost.

use std::path::Path;

use mert_testkit::{Damage, fixture, runner};

use crate::scratch::Scratch;

#[test]
fn impossible_outputs() {
    let scratch = Scratch::new();
    let convert = |output: &str| {
        let run = runner::command("mert-convert")
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

#[test]
fn an_existing_output_without_force() {
    let scratch = Scratch::new();
    scratch.write("out.safetensors", b"precious");
    let input = fixture("containers/zip.bin");
    scratch.refused(&input, &[], &["out.safetensors exists", "--force"]);
    assert_eq!(std::fs::read(scratch.path("out.safetensors")).unwrap(), b"precious");
    // A refusal with --force also leaves the old file.
    scratch.refused(&fixture("hostile/numpy.bin"), &["--force"], &["not a tensor"]);
    assert_eq!(std::fs::read(scratch.path("out.safetensors")).unwrap(), b"precious");
}

#[test]
fn an_output_that_is_the_input() {
    let scratch = Scratch::new();
    let input = scratch.path("out.safetensors");
    std::fs::copy(fixture("containers/plain.safetensors"), &input).unwrap();
    scratch.add_config();
    let before = std::fs::read(&input).unwrap();
    scratch.refused(&input, &["--force"], &["is an input; give another output"]);
    assert!(std::fs::read(&input).unwrap() == before);
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
        runner::command("mert-convert").arg(fixture("containers/zip.bin")).arg(output).arg("--force").assert()
    };
    convert(&link).success();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::metadata(&real).unwrap().len() > 50_000);
    let refused = convert(&scratch.path("null.safetensors")).code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("not a regular file"));
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn files_that_are_not_checkpoints() {
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
            &["holds no encoder of the HuBERT family", "none of its 1 tensors"],
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
            scratch.add_config();
            scratch.refused(&input, &[], &["mert-convert: "]);
        }
    }
}

/// Flipped bits, most of them in headers, give an error or a conversion, never a panic, an endless loop or an allocation of
/// a damaged length.
#[test]
fn damaged_files_never_panic() {
    use mert_checkpoint::Source;
    use mert_convert::{ConvertError, Plan, PlanOptions, write};
    let scratch = Scratch::new();
    scratch.add_config();
    let mut damage = Damage::new(1);
    let (mut refused, mut converted) = (0, 0);
    for name in ["zip.bin", "legacy.bin", "plain.safetensors", "lightning.ckpt", "f16.bin"] {
        let bytes = std::fs::read(fixture(&format!("containers/{name}"))).unwrap();
        for round in 0..120 {
            // Two thirds in the first or last 12 kB, where pickles, headers and directories are.
            let end = bytes.len();
            let range = match round % 3 {
                0 => 0..12_000.min(end),
                1 => end.saturating_sub(12_000)..end,
                _ => 0..end,
            };
            let damaged = damage.flip(&bytes, range);
            let input = scratch.write(name, &damaged);
            let output = scratch.path("out.safetensors");
            let result = Source::open(&input).map_err(ConvertError::from).and_then(|source| {
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
    // Legacy files and safetensors have no checksums: a flipped bit in a weight is converted, one in a header is refused.
    assert!(refused > 200 && converted > 0, "{refused} refused, {converted} converted");
}

/// A zip entry has a checksum: a flipped bit in a weight is refused.
#[test]
fn a_flipped_bit_in_a_zip() {
    let scratch = Scratch::new();
    let input = scratch.flip_a_bit("containers/zip.bin");
    scratch.add_config();
    scratch.refused(&input, &[], &["tensor", "damaged"]);
}

#[test]
fn a_key_for_a_file_without_dictionaries() {
    let scratch = Scratch::new();
    scratch.refused(&fixture("containers/plain.safetensors"), &["--key", "model"], &["leave --key out"]);
    scratch.refused(
        &fixture("containers/lightning.ckpt"),
        &["--key", "modle"],
        &["no model under --key `modle`", "`state_dict`"],
    );
    let words = ["no model under --key `nope`: the model is at the file's root; leave --key out"];
    scratch.refused(&fixture("containers/zip.bin"), &["--key", "nope"], &words);
}

#[test]
fn hostile_pickles_are_not_executed() {
    let scratch = Scratch::new();
    scratch.refused(&fixture("hostile/os-system.bin"), &[], &["posix.system"]);
    let words = ["`encoder.layer_norm.weight` is a pickled `posix.system`", "not executed"];
    scratch.refused(&fixture("hostile/foreign-tensor.bin"), &[], &words);
    scratch.refused(&fixture("hostile/numpy.bin"), &[], &["numpy", "not a tensor"]);
    for folder in [Path::new("."), scratch.path("").as_path(), &std::env::temp_dir()] {
        assert!(!folder.join("PWNED").exists(), "a pickle was executed in {}", folder.display());
    }
}

/// A lazily negated view is stored with the opposite sign, so that a reader that ignores its metadata returns wrong
/// values.
#[test]
fn a_negated_view() {
    let scratch = Scratch::new();
    for name in ["negated-view.bin", "negated-view-protocol4.bin"] {
        scratch.refused(&fixture(&format!("hostile/{name}")), &[], &[name, "negated view", "resolve_neg"]);
    }
}

#[test]
fn an_already_converted_file() {
    let scratch = Scratch::new();
    for layout in ["mlx", "candle"] {
        let converted = scratch.path(&format!("{layout}.safetensors"));
        runner::command("mert-convert")
            .arg(fixture("containers/zip.bin"))
            .arg(&converted)
            .args(["--layout", layout])
            .assert()
            .success();
        scratch.refused(&converted, &[], &["already converted", layout, "original"]);
    }
}
