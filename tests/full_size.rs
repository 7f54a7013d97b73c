//! Conversion and verification at the published size: MERT-v1-95M's names and shapes, generated weights, five seconds
//! of music-like input, all 13 hidden states, against libtorch on the original checkpoint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use common::{arg, convert, convert_coreml, json, mert_verify};
use mert_arch::{Config, Dtype, Layout};
use mert_convert::write::CoreMlOptions;
use mert_fs::sha256_output;
use mert_testkit::{ConvertedModel, sharp_checkpoint, write_torch_zip};
use tempfile::TempDir;

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
