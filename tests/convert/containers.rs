//! Checkpoints as training writes them: wrapper names, several models, other containers and formats, parts of checkpoints.
//! Each is converted like the plain one, or refused with advice.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use mert_testkit::{Tensor, fixture, runner};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::scratch::{Scratch, checkpoint};

const Q_PROJ: &str = "encoder.layers.0.attention.q_proj.weight";

/// The converted tensors and the printed text.
#[track_caller]
fn converted(scratch: &Scratch, input: &Path, options: &[&str]) -> (Vec<u8>, String) {
    let output = scratch.path("converted.safetensors");
    let run = runner::command("mert-convert").arg(input).arg(&output).arg("--force").args(options).assert().success();
    (tensors_of(&output), String::from_utf8_lossy(&run.get_output().stdout).into_owned())
}

/// A file's bytes after its header, which names its source.
fn tensors_of(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    bytes[8 + length..].to_vec()
}

fn plain(scratch: &Scratch) -> Vec<u8> {
    let input = checkpoint(scratch, |_| {});
    converted(scratch, &input, &[]).0
}

#[test]
fn wrapper_names_are_removed() {
    let scratch = Scratch::new();
    let expected = plain(&scratch);
    let wrap = |name: &str, after: &str, wrapper: &str| name.replacen(after, &format!("{after}{wrapper}."), 1);
    for (prefix, after, wrapper) in [
        ("", "layers.0.", "_orig_mod"),
        ("module.", "layers.1.", "_fsdp_wrapped_module._checkpoint_wrapped_module"),
        ("model._forward_module.", "feature_extractor.conv_layers.0.", "_fpw_module"),
        ("", "encoder.", "module"),
        ("net.", "feature_extractor.", "module"),
    ] {
        let input = checkpoint(&scratch, |tensors| {
            for (name, _) in tensors.iter_mut() {
                *name = format!("{prefix}{}", wrap(name, after, wrapper));
            }
        });
        let (tensors, output) = converted(&scratch, &input, &[]);
        assert!(tensors == expected, "{wrapper}");
        assert!(output.contains("wrappers"), "{output}");
    }
}

#[test]
fn two_tensors_of_one_name_without_wrappers() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |tensors| {
        let twin = tensors.iter().find(|(name, _)| name == Q_PROJ).unwrap().1.clone();
        tensors.push(("encoder.layers.0._orig_mod.attention.q_proj.weight".into(), twin));
    });
    let words = [Q_PROJ, "`encoder.layers.0._orig_mod.attention.q_proj.weight`", "both", "state_dict()"];
    scratch.refused(&input, &[], &words);
}

#[test]
fn tensors_outside_a_prefix() {
    let scratch = Scratch::new();
    let expected = plain(&scratch);
    let one = || Tensor { shape: vec![1], values: vec![1.0] };
    let input = checkpoint(&scratch, |tensors| {
        let copies: Vec<_> = tensors.iter().map(|(name, t)| (format!("ema.model.{name}"), t.clone())).collect();
        tensors.iter_mut().for_each(|(name, _)| *name = format!("encoder.{name}"));
        tensors.extend(copies);
        tensors.extend([("head.weight".to_string(), one()), ("ema.decay".to_string(), one())]);
    });
    scratch.refused(&input, &[], &["more than one model", "--prefix ema.model.", "--prefix encoder."]);
    for prefix in ["encoder.", "encoder", "ema.model."] {
        assert!(converted(&scratch, &input, &["--prefix", prefix]).0 == expected, "{prefix}");
    }
    // An unknown tensor under the prefix itself is still reported.
    let input = checkpoint(&scratch, |tensors| {
        tensors.iter_mut().for_each(|(name, _)| *name = format!("encoder.{name}"));
        tensors.extend([("encoder.probe".to_string(), one()), ("head.weight".to_string(), one())]);
    });
    scratch.refused(&input, &[], &["unexpected tensor `encoder.probe`", "`head.weight`", "--prefix encoder."]);
    scratch.refused(&input, &["--prefix", "encoder."], &["unexpected tensor `encoder.probe`"]);
    // Another model below the root's own is outside the root's prefix, which is empty.
    let input = checkpoint(&scratch, |tensors| {
        let copies: Vec<_> = tensors.iter().map(|(name, t)| (format!("ema.{name}"), t.clone())).collect();
        tensors.extend(copies);
    });
    scratch.refused(&input, &[], &["--prefix ''", "--prefix ema."]);
    assert!(converted(&scratch, &input, &["--prefix", ""]).0 == expected);
}

#[test]
fn the_average_of_models() {
    let scratch = Scratch::new();
    let expected = plain(&scratch);
    let input = checkpoint(&scratch, |tensors| {
        tensors.iter_mut().for_each(|(name, _)| *name = format!("module.{name}"));
        tensors.push(("n_averaged".into(), Tensor { shape: vec![], values: vec![3.0] }));
    });
    let (tensors, output) = converted(&scratch, &input, &[]);
    assert!(tensors == expected);
    assert!(output.contains("n_averaged"), "{output}");
}

#[test]
fn other_objects_are_listed() {
    let scratch = Scratch::new();
    let (_, output) = converted(&scratch, &fixture("containers/lightning.ckpt"), &[]);
    let message = "left out     epoch (int), global_step (int)";
    assert!(output.contains(message) && output.contains("optimizer_states (list, 2 tensors)"), "{output}");
    let run = runner::command("mert-convert")
        .args([fixture("containers/lightning.ckpt").to_str().unwrap(), "--json"])
        .assert()
        .success();
    let document: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(document["plan"]["beside"][0], serde_json::json!({"name": "epoch", "kind": "int", "tensors": 0}));
}

/// `zip.bin` with each entry rewritten by `change`.
fn rewritten(scratch: &Scratch, method: CompressionMethod, change: impl Fn(&str, Vec<u8>) -> Vec<u8>) -> PathBuf {
    let mut archive = ZipArchive::new(std::fs::File::open(fixture("containers/zip.bin")).unwrap()).unwrap();
    let path = scratch.path("rewritten.bin");
    let mut writer = ZipWriter::new(std::fs::File::create(&path).unwrap());
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let options = SimpleFileOptions::default().compression_method(method).large_file(true);
        writer.start_file(&name, options).unwrap();
        writer.write_all(&change(&name, bytes)).unwrap();
    }
    writer.finish().unwrap();
    scratch.add_config();
    path
}

/// Compressed, with zip64 lengths, and from a big-endian machine.
#[test]
fn unusual_archives() {
    let scratch = Scratch::new();
    let expected = converted(&scratch, &fixture("containers/zip.bin"), &[]).0;
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let input = rewritten(&scratch, method, |_, bytes| bytes);
        assert!(converted(&scratch, &input, &[]).0 == expected, "{method}");
        let input = rewritten(&scratch, method, |name, bytes| match name {
            _ if name.ends_with("/byteorder") => b"big".to_vec(),
            _ if name.contains("/data/") => {
                bytes.as_chunks::<4>().0.iter().flat_map(|b| [b[3], b[2], b[1], b[0]]).collect()
            }
            _ => bytes,
        });
        assert!(converted(&scratch, &input, &[]).0 == expected, "{method}, big-endian");
    }
    let input = rewritten(&scratch, CompressionMethod::Stored, |name, bytes| match name.ends_with("/byteorder") {
        true => b"middle".to_vec(),
        false => bytes,
    });
    scratch.refused(&input, &[], &["byteorder record is \"middle\""]);
    let input = rewritten(&scratch, CompressionMethod::Deflated, |name, mut bytes| {
        bytes.truncate(if name.ends_with("/data/7") { 8 } else { bytes.len() });
        bytes
    });
    scratch.refused(&input, &[], &["storage `7` has 8 bytes", "damaged"]);
}

/// The checksum of a storage that many tensors share is checked although no tensor spans all of it.
#[test]
fn a_flipped_bit_in_a_shared_storage() {
    let scratch = Scratch::new();
    let input = scratch.flip_a_bit("containers/views.bin");
    scratch.add_config();
    scratch.refused(&input, &[], &["tensor", "checksum", "damaged"]);
}

#[test]
fn other_formats_are_named() {
    let scratch = Scratch::new();
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (name, bytes, words) in [
        ("a b.tar", &tar[..], &["tar archive", "`tar -xf "][..]),
        ("a.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", &["gzip", "tar -xf"]),
        ("a.zst", b"\x28\xb5\x2f\xfd\x04\x58\x01\0", &["zstd"]),
        ("a.gguf", b"GGUF\x03\0\0\0\0\0\0\0", &["GGUF", "PyTorch checkpoint"]),
        ("a.onnx", b"\x08\x08\x12\x07pytorch\x1a\x052.13", &["ONNX"]),
        ("a.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0", &["HDF5"]),
        ("a.msgpack", b"\x82\xa7encoder\x81", &["Flax"]),
        ("a.npy", b"\x93NUMPY\x01\0v\0", &["numpy"]),
        ("a.wav", b"RIFF\x24\0\0\0WAVEfmt ", &["audio", "mert-embed"]),
        ("config.json", b"{\n  \"model_type\": \"hubert\"", &["JSON"]),
        ("__0_0.distcp", b"PK\x03\x04\0\0\0\0\0\0", &["distributed checkpoint", "dcp_to_torch"]),
        ("model.joblib", b"\x80\x04\x95\x2d\0\0\0\0\0\0\0\x8c\x06joblib\xff", &["joblib"]),
        ("zeros.bin", &[0; 5000], &["zeros", "download"]),
        ("a.safetensors", b"\xff\xff\0\0\0\0\0\0{\"a\":", &["65535 bytes long", "the file ends at 13 bytes"]),
    ] {
        let input = scratch.write(name, bytes);
        scratch.refused(&input, &[], words);
        std::fs::remove_file(input).unwrap();
    }
    let mut cut = std::fs::read(fixture("containers/zip.bin")).unwrap();
    cut.truncate(60_000);
    scratch.refused(&scratch.write("cut.bin", &cut), &[], &["not downloaded or saved completely", "60000 bytes"]);
    let around = scratch.path("around.zip");
    let mut writer = ZipWriter::new(std::fs::File::create(&around).unwrap());
    writer.start_file("model/pytorch_model.bin", SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap();
    scratch.refused(&around, &[], &["zip archive with a checkpoint in it", "unzip", "model/pytorch_model.bin"]);
}

#[test]
fn other_files_of_pytorch_are_named() {
    let scratch = Scratch::new();
    for (name, words) in [
        ("torchscript.pt", &["TorchScript", "torch.jit.load", "state_dict()"][..]),
        ("exported.pt2", &["torch.export", "state_dict"]),
        ("module.bin", &["whole pickled module", "__main__.Scale", "torch.save(m.state_dict()"]),
        ("module-legacy.bin", &["__main__.Scale", "under `net.m`", "[\"net\"][\"m\"]", "state_dict()"]),
        ("optimizer.pt", &["optimizer", "pytorch_model.bin"]),
        ("dtensor.bin", &["torch.distributed.tensor.DTensor", "full_tensor()", "get_model_state_dict"]),
    ] {
        scratch.refused(&fixture(&format!("pickles/{name}")), &[], words);
    }
    // A readable checkpoint of another family: its objects do not prevent reading.
    scratch.refused(&fixture("pickles/objects.bin"), &[], &["without tensor `feature_projection.projection.weight`"]);
}

#[test]
fn modified_weights_are_refused() {
    let scratch = Scratch::new();
    let lora = |name: &str| {
        (format!("encoder.layers.0.attention.q_proj.{name}"), Tensor { shape: vec![1], values: vec![1.0] })
    };
    let input = checkpoint(&scratch, |tensors| tensors.push(lora("lora_A.default.weight")));
    scratch.refused(&input, &[], &["lora_A.default.weight` and no `lora_B`", "incomplete"]);
    let input = checkpoint(&scratch, |tensors| tensors.push(lora("weight.absmax")));
    scratch.refused(&input, &[], &["quantized", "absmax"]);
    let input = checkpoint(&scratch, |tensors| {
        tensors.iter_mut().for_each(|(_, tensor)| *tensor = Tensor { shape: vec![0], values: Vec::new() });
    });
    scratch.refused(&input, &[], &["shape [0]", "ZeRO", "zero_to_fp32.py"]);
    for (name, words) in [
        ("encoder.transformer.layer_norm.bias", ["torchaudio", "without the feature extractor"]),
        ("w2v_encoder.w2v_model.mask_emb", ["fairseq", "without the first convolution"]),
    ] {
        let input = checkpoint(&scratch, |tensors| {
            tensors.retain(|(name, _)| name.contains("layer_norm"));
            tensors.push((name.into(), Tensor { shape: vec![1], values: vec![1.0] }));
        });
        scratch.refused(&input, &[], &words);
    }
}

#[test]
fn checkpoints_in_parts() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("step-10")).unwrap();
    scratch.write("step-10/.metadata", b"");
    scratch.write("step-10/__0_0.distcp", b"");
    scratch.refused(&scratch.path("step-10"), &[], &["distributed checkpoint", "format_utils dcp_to_torch", "step-10"]);
    std::fs::create_dir(scratch.path("adapter")).unwrap();
    scratch.write("adapter/adapter_config.json", b"{}");
    scratch.refused(&scratch.path("adapter"), &[], &["adapter", "merge_and_unload"]);
}
