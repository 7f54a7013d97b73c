//! Conversion and verification at the published sizes: the names and shapes of MERT-v1-95M and MERT-v1-330M, generated
//! weights, five seconds of music-like input, all hidden states, against libtorch on the original checkpoint.

use mert_arch::{Config, Dtype, Layout};
use mert_convert::write::CoreMlOptions;
use mert_fs::sha256_output;
use mert_testkit::{ConvertedModel, runner, sharp_checkpoint, write_torch_zip};
use tempfile::TempDir;

use crate::common::{arg, convert, convert_coreml, json, mert_verify};

#[test]
fn generate_convert_verify() {
    let folder = TempDir::new().unwrap();
    let checkpoint = folder.path().join("pytorch_model.bin");
    let config = Config::mert_v1_95m();
    write_torch_zip(&checkpoint, &sharp_checkpoint(&config, 20_261_121)).unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_json()).unwrap();

    for dtype in [Dtype::F32, Dtype::F16] {
        for layout in [Layout::Mlx, Layout::Torch] {
            let model = convert(&checkpoint, &folder, dtype, layout);
            let report = folder.path().join("report.json");
            let args = [
                arg(&model),
                "--layers",
                "all",
                "--checkpoint",
                arg(&checkpoint),
                "--require-structure",
                "--json",
                arg(&report),
            ];
            let (code, out, err) = mert_verify(&args);
            println!("{out}{err}");
            assert_eq!(code, 0, "{dtype} {layout}");
            let report = json(&report);
            let comparisons = report["models"][0]["comparisons"].as_array().unwrap();
            assert_eq!(comparisons.len(), if dtype == Dtype::F32 { 1 } else { 2 });
            for comparison in comparisons {
                assert_eq!(comparison["layers"].as_array().unwrap().len(), 13);
            }
            std::fs::remove_file(&model).unwrap();
        }
    }

    for (dtype, seconds, target) in [(Dtype::F16, "5", "ios15"), (Dtype::F32, "3-8", "ios18")] {
        let options = CoreMlOptions {
            lengths: seconds.parse().unwrap(),
            frames: true,
            minimum_deployment: target.parse().unwrap(),
            ..CoreMlOptions::default()
        };
        let package = convert_coreml(&checkpoint, &folder, dtype, &options);
        let digest = sha256_output(&package).unwrap();
        assert_eq!(sha256_output(&convert_coreml(&checkpoint, &folder, dtype, &options)).unwrap(), digest);
        let report = folder.path().join("report.json");
        let args = [arg(&package), "--checkpoint", arg(&checkpoint), "--require-structure", "--json", arg(&report)];
        let (code, out, err) = mert_verify(&args);
        println!("{out}{err}");
        assert_eq!(code, 0, "Core ML package in {dtype}");
        let comparisons = json(&report)["models"][0]["comparisons"].clone();
        // Structure, and in f16 rounding; of means and of frames; at one length, and at two of a range.
        assert_eq!(comparisons.as_array().unwrap().len(), 4);
        for comparison in comparisons.as_array().unwrap() {
            assert_eq!(comparison["layers"].as_array().unwrap().len(), 13);
        }
        std::fs::remove_dir_all(&package).unwrap();
    }

    // The gate at this size can fail: the smallest defect in the f32 file.
    let honest = convert(&checkpoint, &folder, Dtype::F32, Layout::Mlx);
    let mut mutant = ConvertedModel::read(&honest).unwrap();
    mutant.tensor("encoder.layers.5.attention.q_proj.bias").values.fill(0.0);
    mutant.write(&honest).unwrap();
    let (code, out, _) = mert_verify(&[arg(&honest), "--checkpoint", arg(&checkpoint)]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("the first bad one is hidden state 6"), "{out}");
}

/// MERT-v1-330M is pre-LN with a group norm, which its shapes do not tell: wav2vec2-large's are the same.
#[test]
fn mert_v1_330m() {
    let folder = TempDir::new().unwrap();
    let checkpoint = folder.path().join("pytorch_model.bin");
    let config = Config {
        hidden_size: 1024,
        num_hidden_layers: 24,
        num_attention_heads: 16,
        intermediate_size: 4096,
        do_stable_layer_norm: true,
        attention_relax: 32.0,
        ..Config::mert_v1_95m()
    };
    let tensors = sharp_checkpoint(&config, 20_261_121);
    // The number of values that is reported for the published checkpoint.
    assert_eq!(tensors.iter().map(|(_, tensor)| tensor.values.len()).sum::<usize>(), 315_428_992);
    write_torch_zip(&checkpoint, &tensors).unwrap();
    drop(tensors);

    let output = folder.path().join("guessed.safetensors");
    let guessed = runner::run("mert-convert", [arg(&checkpoint), arg(&output)]);
    assert_eq!(guessed.code, 2, "{}", guessed.stdout);
    assert!(guessed.stderr.contains("do not determine do_stable_layer_norm"), "{}", guessed.stderr);
    assert!(!output.exists());

    std::fs::write(folder.path().join("config.json"), config.to_json()).unwrap();
    let model = convert(&checkpoint, &folder, Dtype::F16, Layout::Mlx);
    let report = folder.path().join("report.json");
    let gate = [arg(&model), "--layers", "all", "--checkpoint", arg(&checkpoint), "--require-structure"];
    let (code, out, err) = mert_verify(&[&gate[..], &["--json", arg(&report)]].concat());
    println!("{out}{err}");
    assert_eq!(code, 0);
    let comparisons = json(&report)["models"][0]["comparisons"].clone();
    assert_eq!(comparisons.as_array().unwrap().len(), 2);
    for comparison in comparisons.as_array().unwrap() {
        assert_eq!(comparison["layers"].as_array().unwrap().len(), 25);
    }
}
