//! `mert-convert` end to end: every container and spelling, values, layouts, metadata, determinism.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use mert_testkit::{ConvertedModel, fixture, runner};
use safetensors::SafeTensors;
use tempfile::TempDir;

fn mert_convert(args: &[&str]) -> assert_cmd::assert::Assert {
    runner::command("mert-convert").args(args).assert()
}

fn convert(input: &Path, folder: &TempDir, options: &[&str]) -> PathBuf {
    let name = format!("{}{}.safetensors", input.file_name().unwrap().to_str().unwrap(), options.join(""));
    let output = folder.path().join(name);
    let mut args = vec![input.to_str().unwrap(), output.to_str().unwrap()];
    args.extend(options);
    mert_convert(&args).success();
    output
}

/// The shape and bytes of each tensor, by name.
type Raw = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn raw(path: &Path) -> Raw {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, t)| (name.to_string(), (t.shape().to_vec(), t.data().to_vec()))).collect()
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|c| f32::from_le_bytes(*c)).collect()
}

/// The files of `fixtures/containers` that hold the same values.
const SAME_VALUES: [&str; 10] = [
    "zip.bin",
    "legacy.bin",
    "plain.safetensors",
    "lightning.ckpt",
    "fairseq-like.pt",
    "parametrizations.bin",
    "views.bin",
    "non-contiguous.bin",
    "data-parallel.bin",
    "head.bin",
];

#[test]
fn every_container_gives_the_same_tensors() {
    let folder = TempDir::new().unwrap();
    for options in [&["--layout", "mlx", "--dtype", "f16"], &["--layout", "candle", "--dtype", "f32"]] {
        let expected = raw(&convert(&fixture("containers/zip.bin"), &folder, options));
        assert_eq!(expected.len(), 49);
        for name in SAME_VALUES {
            let output = folder.path().join("same.safetensors");
            let (input, output) = (fixture(&format!("containers/{name}")), output.to_str().unwrap().to_string());
            mert_convert(&[&[input.to_str().unwrap(), &output, "--force"], &options[..]].concat()).success();
            assert!(raw(Path::new(&output)) == expected, "{name} differs from zip.bin");
        }
    }
}

/// `fused.bin` was fused by PyTorch in f64 and rounded to f32, as the converter does it.
#[test]
fn the_fused_spelling_gives_the_same_tensors() {
    let folder = TempDir::new().unwrap();
    let expected = raw(&convert(&fixture("containers/zip.bin"), &folder, &["--dtype", "f16"]));
    let fused = raw(&convert(&fixture("containers/fused.bin"), &folder, &["--dtype", "f16"]));
    for (name, (shape, bytes)) in &expected {
        assert_eq!(shape, &fused[name].0, "{name}");
        for (a, b) in bytes.as_chunks::<2>().0.iter().zip(fused[name].1.as_chunks::<2>().0) {
            let (a, b) = (f16::from_le_bytes(*a), f16::from_le_bytes(*b));
            assert!(a.to_bits().abs_diff(b.to_bits()) <= 1, "{name}: {a} and {b}");
        }
    }
}

/// The source's f32 values, read with the `safetensors` crate alone.
fn source_values() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    raw(&fixture("containers/plain.safetensors")).into_iter().map(|(n, (s, b))| (n, (s, f32s(&b)))).collect()
}

#[test]
fn every_value_is_the_nearest_f16() {
    let folder = TempDir::new().unwrap();
    let converted = raw(&convert(&fixture("containers/zip.bin"), &folder, &["--layout", "candle", "--dtype", "f16"]));
    let source = source_values();
    let mut compared = 0;
    for (name, (shape, bytes)) in &converted {
        let Some((source_shape, values)) = source.get(name) else {
            assert_eq!(name, "encoder.pos_conv_embed.conv.weight");
            continue;
        };
        assert_eq!(shape, source_shape);
        for (got, &value) in bytes.as_chunks::<2>().0.iter().zip(values) {
            let got = f16::from_le_bytes(*got);
            // The value is the nearest if both neighbours are farther away; on a tie its last bit is even.
            let distance = |bits: u16| (f16::from_bits(bits).to_f64() - f64::from(value)).abs();
            for neighbour in [got.to_bits().wrapping_sub(1), got.to_bits() + 1] {
                if f16::from_bits(neighbour).is_finite()
                    && f16::from_bits(neighbour).to_f32().signum() == got.to_f32().signum()
                {
                    let (here, there) = (distance(got.to_bits()), distance(neighbour));
                    assert!(here < there || (here == there && got.to_bits() & 1 == 0), "{name}: {value} became {got}");
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 20_000);
}

#[test]
fn the_fused_positional_weight_is_within_one_ulp_of_f64() {
    let folder = TempDir::new().unwrap();
    let converted = raw(&convert(&fixture("containers/zip.bin"), &folder, &["--layout", "candle", "--dtype", "f16"]));
    let source = source_values();
    let (_, g) = &source["encoder.pos_conv_embed.conv.weight_g"];
    let (shape, v) = &source["encoder.pos_conv_embed.conv.weight_v"];
    let (fused_shape, fused) = &converted["encoder.pos_conv_embed.conv.weight"];
    assert_eq!(fused_shape, shape);
    let kernel = shape[2];
    assert_eq!(g.len(), kernel);
    for (tap, &magnitude) in g.iter().enumerate() {
        let norm = v.iter().skip(tap).step_by(kernel).map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        for i in (tap..v.len()).step_by(kernel) {
            let expected = f64::from(magnitude) * f64::from(v[i]) / norm;
            let got = f16::from_le_bytes([fused[2 * i], fused[2 * i + 1]]);
            let ulp = 2f64.powi((expected.abs().log2().floor() as i32).max(-14) - 10);
            assert!((got.to_f64() - expected).abs() <= ulp, "tap {tap}: {got} for {expected}");
        }
    }
}

#[test]
fn sixteen_bit_checkpoints_keep_their_bits() {
    let folder = TempDir::new().unwrap();
    for dtype in ["f16", "bf16"] {
        let input = fixture(&format!("containers/{dtype}.bin"));
        let kept = raw(&convert(&input, &folder, &["--layout", "candle", "--dtype", dtype]));
        let widened = raw(&convert(&input, &folder, &["--layout", "candle", "--dtype", "f32"]));
        for (name, (_, bytes)) in &kept {
            if name == "encoder.pos_conv_embed.conv.weight" {
                continue; // fused in f32 and rounded again
            }
            let exact = bytes.as_chunks::<2>().0.iter().zip(f32s(&widened[name].1)).all(|(half, wide)| match dtype {
                "f16" => f16::from_le_bytes(*half).to_f32() == wide,
                _ => half::bf16::from_le_bytes(*half).to_f32() == wide,
            });
            assert!(exact, "{dtype}: {name}");
        }
    }
}

#[test]
fn layouts_differ_in_conv_weights_only_and_by_their_last_two_axes() {
    let folder = TempDir::new().unwrap();
    let input = fixture("mert-tiny/pytorch_model.bin");
    let mlx = raw(&convert(&input, &folder, &["--layout", "mlx", "--dtype", "f32"]));
    let candle = raw(&convert(&input, &folder, &["--layout", "candle", "--dtype", "f32"]));
    assert_eq!(mlx.len(), 209);
    assert_eq!(candle.len(), 209);
    let mut moved = 0;
    for (name, (shape, bytes)) in &candle {
        let tensor = mert_testkit::Tensor { shape: shape.clone(), values: f32s(bytes) };
        let (expected, is_conv) =
            if name.ends_with("conv.weight") { (tensor.swap_last_axes(), true) } else { (tensor, false) };
        assert_eq!(mlx[name].0, expected.shape, "{name}");
        assert_eq!(f32s(&mlx[name].1), expected.values, "{name}");
        moved += usize::from(is_conv);
    }
    assert_eq!(moved, 8);
    // (out, kernel, in / groups), spelt out once.
    assert_eq!(mlx["encoder.pos_conv_embed.conv.weight"].0, [64, 128, 4]);
    assert_eq!(mlx["feature_extractor.conv_layers.0.conv.weight"].0, [32, 10, 1]);
}

#[test]
fn the_metadata_describes_the_file() {
    let folder = TempDir::new().unwrap();
    let input = fixture("mert-tiny/pytorch_model.bin");
    for (layout, format) in [("mlx", "mlx"), ("candle", "pt")] {
        let output = convert(&input, &folder, &["--layout", layout, "--dtype", "bf16"]);
        let bytes = std::fs::read(&output).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        assert_eq!(metadata["format"], format);
        assert_eq!(metadata["layout"], layout);
        assert_eq!(metadata["dtype"], "bf16");
        assert_eq!(metadata["generator"], concat!("mert-convert ", env!("CARGO_PKG_VERSION")));
        let readme = std::fs::read_to_string(fixture("README.md")).unwrap();
        let listed = readme.lines().find(|line| line.starts_with("| mert-tiny/pytorch_model.bin")).unwrap();
        assert!(listed.contains(&metadata["source_sha256"]), "the sha256 in fixtures/README.md is sha256sum's");
        assert!(!metadata.contains_key("license"));
        let config: serde_json::Value = serde_json::from_str(&metadata["config"]).unwrap();
        assert_eq!(config["hidden_size"], 64);
        assert_eq!(config["sample_rate"], 24_000);
    }
}

#[test]
fn a_known_checkpoint_s_licence_is_recorded() {
    use mert_checkpoint::Source;
    use mert_convert::{Plan, PlanOptions};
    let source = Source::open(&fixture("containers/zip.bin")).unwrap();
    let plan = Plan::new(&source, &PlanOptions::default()).unwrap();
    for known in mert_arch::KNOWN_CHECKPOINTS {
        let metadata = plan.metadata(known.sha256.to_string()).to_map();
        assert_eq!(metadata["license"], known.license);
    }
    assert_eq!(plan.metadata("0".repeat(64)).license, None);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let input = fixture("mert-tiny/pytorch_model.bin");
    let first = std::fs::read(convert(&input, &folder, &[])).unwrap();
    for _ in 0..5 {
        assert!(std::fs::read(convert(&input, &folder, &["--force"])).unwrap() == first);
    }
}

/// The bytes do not depend on which thread converts which tensor, for every kind of tensor and reader.
#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    for name in ["mert-tiny/pytorch_model.bin", "containers/legacy.bin", "containers/non-contiguous.bin"] {
        for layout in ["mlx", "candle"] {
            let converted = ["1", "2", "7"].map(|threads| {
                let options = ["--force", "--layout", layout, "--threads", threads];
                std::fs::read(convert(&fixture(name), &folder, &options)).unwrap()
            });
            assert!(converted[0] == converted[1] && converted[0] == converted[2], "{name} {layout}");
        }
    }
}

/// The licence of a known checkpoint is not recorded for another file of the same size, nor does it move the tensors.
#[test]
fn a_file_of_a_known_size_is_not_the_known_checkpoint() {
    let folder = TempDir::new().unwrap();
    let [padded, config] = ["padded.bin", "config.json"].map(|name| folder.path().join(name));
    std::fs::copy(fixture("containers/config.json"), config).unwrap();
    std::fs::copy(fixture("containers/legacy.bin"), &padded).unwrap();
    // A hole after the last storage; readers of legacy files ignore what follows it.
    let file = std::fs::OpenOptions::new().write(true).open(&padded).unwrap();
    file.set_len(mert_arch::KNOWN_CHECKPOINTS[0].bytes).unwrap();
    let converted = convert(&padded, &folder, &[]);
    assert!(raw(&converted) == raw(&convert(&fixture("containers/legacy.bin"), &folder, &[])));
    let metadata = ConvertedModel::read(&converted).unwrap().metadata;
    assert_eq!(metadata.license, None);
    assert_eq!(metadata.source_sha256, mert_fs::sha256_file(&padded).unwrap());
}

#[test]
fn the_printed_sha256_is_the_output_s() {
    use sha2::{Digest, Sha256};
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.safetensors");
    let run = mert_convert(&[fixture("mert-tiny/pytorch_model.bin").to_str().unwrap(), output.to_str().unwrap()]);
    let digest = Sha256::digest(std::fs::read(&output).unwrap());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = String::from_utf8_lossy(&run.success().get_output().stdout).into_owned();
    assert!(text.contains(&format!("sha256       {hex}")), "{text}");
}

/// The binary of `mert-verify` contains this file, which must equal the converter's current output.
#[test]
fn the_built_in_fixture_is_up_to_date() {
    let folder = TempDir::new().unwrap();
    let output = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, &[]);
    let same = std::fs::read(output).unwrap() == std::fs::read(fixture("mert-tiny/model.safetensors")).unwrap();
    assert!(same, "convert fixtures/mert-tiny/pytorch_model.bin to fixtures/mert-tiny/model.safetensors again");
}

/// The fixtures are byte for byte those that their README lists.
#[test]
fn the_fixtures_match_their_readme() {
    use sha2::{Digest, Sha256};
    let readme = std::fs::read_to_string(fixture("README.md")).unwrap();
    let mut listed = 0;
    for line in readme.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, file, bytes, sha256, _] = cells[..] else { continue };
        if sha256.len() != 64 {
            continue;
        }
        let content = std::fs::read(fixture(file)).unwrap();
        assert_eq!(content.len().to_string(), bytes, "{file}");
        let found: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sha256, "{file}");
        listed += 1;
    }
    fn count(path: &Path) -> usize {
        if path.is_file() {
            return 1;
        }
        std::fs::read_dir(path).unwrap().map(|entry| count(&entry.unwrap().path())).sum()
    }
    // The README itself is not listed.
    assert_eq!(
        listed + 1,
        count(&fixture("")),
        "files in fixtures/ that its README does not list, or the other way round"
    );
}

#[test]
fn a_folder_and_its_shards_are_read() {
    let folder = TempDir::new().unwrap();
    let expected = raw(&convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, &[]));
    assert!(raw(&convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, &["--force"])) == expected);

    // Two shards with an index, made from the plain file.
    let bytes = std::fs::read(fixture("containers/plain.safetensors")).unwrap();
    let plain = SafeTensors::deserialize(&bytes).unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let mut map = BTreeMap::new();
    for shard in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let mine: Vec<_> = plain.iter().enumerate().filter(|(i, _)| i % 2 == shard).map(|(_, t)| t).collect();
        map.extend(mine.iter().map(|(tensor, _)| (tensor.to_string(), name.clone())));
        safetensors::serialize_to_file(mine, None, &model.join(name)).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::copy(fixture("containers/config.json"), model.join("config.json")).unwrap();
    let sharded = raw(&convert(&model, &folder, &[]));
    assert!(sharded == raw(&convert(&fixture("containers/zip.bin"), &folder, &[])));

    // A tensor in another shard than the index lists.
    let moved = index.to_string().replacen("model-00001", "model-00002", 1);
    std::fs::write(model.join("model.safetensors.index.json"), moved).unwrap();
    let output = folder.path().join("never.safetensors");
    let refused = mert_convert(&[model.to_str().unwrap(), output.to_str().unwrap()]).code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("index"));
    assert!(!output.exists());
}

#[test]
fn without_a_config_the_assumptions_are_printed() {
    let folder = TempDir::new().unwrap();
    let alone = folder.path().join("alone.bin");
    std::fs::copy(fixture("containers/zip.bin"), &alone).unwrap();
    let output = folder.path().join("out.safetensors");
    // The model has two heads, which shapes do not determine.
    let set = ["--set", "num_attention_heads=2", "--set", "do_stable_layer_norm=false"];
    let mut args = vec![alone.to_str().unwrap(), output.to_str().unwrap()];
    args.extend(set);
    let run = mert_convert(&args).success();
    let text = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(text.contains("assumed    conv_stride = [5, 2, 2, 2, 2, 2, 2]"), "{text}");
    assert!(text.contains("assumed    deepnorm = false"), "{text}");
    let config = ConvertedModel::read(&output).unwrap().metadata.config;
    args.extend(["--force", "--quiet"]);
    let quiet = mert_convert(&args).success();
    let message = String::from_utf8_lossy(&quiet.get_output().stderr).into_owned();
    assert!(
        message.contains("assumed: ") && message.contains("deepnorm = false") && message.lines().count() == 1,
        "{message}"
    );
    assert!(quiet.get_output().stdout.is_empty());
    assert_eq!(config.num_attention_heads, 2);
    assert_eq!((config.hidden_size, config.num_conv_pos_embedding_groups), (32, 4));

    let given = folder.path().join("given.safetensors");
    let config = fixture("containers/config.json");
    let args = [alone.to_str().unwrap(), given.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let run = mert_convert(&args).success();
    assert!(!String::from_utf8_lossy(&run.get_output().stdout).contains("  assumed    "));
    assert_eq!(ConvertedModel::read(&given).unwrap().metadata.config.num_attention_heads, 2);
}

#[test]
fn the_plan_accounts_for_every_tensor_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.safetensors");
    let input = fixture("containers/lightning.ckpt");
    let run = mert_convert(&[input.to_str().unwrap(), output.to_str().unwrap(), "--dry-run", "--json"]).success();
    assert!(!output.exists());
    let plan: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    let plan = &plan["plan"];
    assert_eq!(plan["state_dict"], "state_dict");
    assert_eq!(plan["prefix"], "model.mert_model.");
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 49);
    let fused = steps.iter().find(|s| s["name"] == "encoder.pos_conv_embed.conv.weight").unwrap();
    let chain = serde_json::json!([
        { "fuse_weight_norm": { "dim": 2 } },
        { "transpose": { "axes": [0, 2, 1] } },
        { "cast": { "from": "f32", "to": "f16" } },
    ]);
    assert_eq!((&fused["chain"], fused["inputs"].as_array().unwrap().len()), (&chain, 2));
    let dropped: Vec<_> = plan["dropped"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(
        dropped,
        ["model.mert_model.masked_spec_embed", "optimizer_states.0.state.0.exp_avg", "optimizer_states.0.state.0.step"]
    );

    // The plan as text, without OUTPUT.
    let run = mert_convert(&[input.to_str().unwrap()]).success();
    let text = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    for word in ["weight norm (dim 2) fused", "transposed (0, 2, 1)", "dropped: replaces masked frames", "49 tensors"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_pipe_gets_no_progress_bar_and_quiet_is_quiet() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.safetensors");
    let input = fixture("mert-tiny/pytorch_model.bin");
    let run = mert_convert(&[input.to_str().unwrap(), output.to_str().unwrap()]).success();
    assert!(run.get_output().stderr.is_empty());
    let quiet = [input.to_str().unwrap(), output.to_str().unwrap(), "--force", "--quiet"];
    let run = mert_convert(&[&quiet[..], &["--do-normalize", "true"]].concat()).success();
    assert!(run.get_output().stdout.is_empty() && run.get_output().stderr.is_empty());
    // Embeddings of audio that is guessed wrong are wrong without an error.
    let run = mert_convert(&quiet).success();
    let message = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(message.contains("do_normalize true is assumed") && message.lines().count() == 1, "{message}");
}

#[cfg(unix)]
#[test]
fn the_output_has_ordinary_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    let output = convert(&fixture("containers/zip.bin"), &folder, &[]);
    assert_eq!(mode(&output), mode(&plain));
}

#[test]
fn a_given_digest_is_recorded_and_not_computed() {
    let folder = TempDir::new().unwrap();
    let input = fixture("containers/zip.bin");
    let computed = std::fs::read(convert(&input, &folder, &[])).unwrap();
    let digest = mert_fs::sha256_file(&input).unwrap();
    let given = std::fs::read(convert(&input, &folder, &["--source-sha256", &digest])).unwrap();
    assert!(given == computed, "the right digest gives the same file");

    let other = "ab".repeat(32);
    let output = convert(&input, &folder, &["--source-sha256", &other]);
    let bytes = std::fs::read(output).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["source_sha256"], other, "the given digest is recorded");

    let output = folder.path().join("refused.safetensors");
    for wrong in ["", "abc", &"ab".repeat(33), &"zz".repeat(32)] {
        let args = [input.to_str().unwrap(), output.to_str().unwrap(), "--source-sha256", wrong];
        let run = mert_convert(&args).failure().code(2);
        let message = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(message.contains("64 hexadecimal digits"), "{message}");
        assert!(!output.exists());
    }
}
