//! The libtorch reference against transformers' own results, and the gate that computes it on demand.

mod quantized;

use std::path::Path;

use mert_arch::{Dtype, Layout};
use mert_checkpoint::Source;
use mert_convert::{Plan, PlanOptions, write};
use mert_testkit::{ConvertedModel, FamilyFixture, fixture};
use mert_verify::gate::ModelVerdict;
use mert_verify::metrics::LayerMetrics;
use mert_verify::reference::libtorch::Libtorch;
use mert_verify::{Check, Original, Reference};
use ndarray::{Array3, Axis};
use tempfile::TempDir;

use crate::common::{arg, convert, json, mert_verify};

/// The largest NMSE over hidden states.
fn worst_nmse(candidate: &Array3<f32>, reference: &Array3<f32>) -> f64 {
    assert_eq!(candidate.dim(), reference.dim());
    let pairs = candidate.axis_iter(Axis(0)).zip(reference.axis_iter(Axis(0)));
    pairs.map(|(c, r)| LayerMetrics::compare(c, r).unwrap().nmse).fold(0.0, f64::max)
}

#[test]
fn libtorch_agrees_with_transformers() {
    for name in ["mert-tiny", "stable-layer-norm", "deepnorm"] {
        let expected = Reference::read(&fixture(&format!("{name}/reference.npz"))).unwrap();
        let libtorch = Libtorch::open(&fixture(&format!("{name}/pytorch_model.bin")), None).unwrap();
        let got = libtorch.reference(name, &expected.input_values, &[Dtype::F16, Dtype::Bf16]).unwrap();
        let nmse = worst_nmse(&got.hidden_states, &expected.hidden_states);
        assert!(nmse < 1e-9, "{name}: {nmse:e}");
        for dtype in [Dtype::F16, Dtype::Bf16] {
            let nmse = worst_nmse(&got.rounded[&dtype], &expected.rounded[&dtype]);
            assert!(nmse < 1e-9, "{name} with {dtype} weights: {nmse:e}");
            // The weights were rounded.
            assert!(worst_nmse(&got.rounded[&dtype], &got.hidden_states) > 1e-8);
        }
    }
}

/// Every family and form, against its own transformers class.
#[test]
fn libtorch_agrees_with_the_class_of_each_family() {
    let folder = TempDir::new().unwrap();
    for family in FamilyFixture::all() {
        let expected = Reference::read(&family.reference()).unwrap();
        let libtorch = Libtorch::open(&family.checkpoint(folder.path()).unwrap(), None).unwrap();
        let dtypes: Vec<Dtype> = expected.rounded.keys().copied().collect();
        let got = libtorch.reference(&family.name, &expected.input_values, &dtypes).unwrap();
        let mut measured = vec![worst_nmse(&got.hidden_states, &expected.hidden_states)];
        measured.extend(dtypes.iter().map(|dtype| worst_nmse(&got.rounded[dtype], &expected.rounded[dtype])));
        let shown: Vec<String> = measured.iter().map(|nmse| format!("{nmse:.1e}")).collect();
        println!("{}: {shown:?}", family.name);
        assert!(measured.iter().all(|&nmse| nmse < 1e-10), "{}: {shown:?}", family.name);
    }
}

/// The verdict on a converted file against libtorch on its original, in this process: loading libtorch takes a second.
fn judge_by_original(model: &Path, original: &Path, config: Option<&Path>, clip: &Path) -> ModelVerdict {
    let check = Check {
        model: model.to_path_buf(),
        original: Some(Original {
            path: original.to_path_buf(),
            config: config.map(Path::to_path_buf),
            inputs: vec![clip.to_path_buf()],
            ..Original::default()
        }),
        ..Check::default()
    };
    check.run().unwrap_or_else(|error| panic!("{}: {error}", original.display()))
}

/// The gate with the original of each family, also with half-precision weights, for which two fixtures have no reference.
#[test]
fn the_gate_computes_the_reference_of_each_family() {
    let folder = TempDir::new().unwrap();
    for family in FamilyFixture::all() {
        let checkpoint = family.checkpoint(folder.path()).unwrap();
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let model = convert(&checkpoint, &folder, dtype, Layout::Mlx);
            let verdict = judge_by_original(&model, &checkpoint, None, &family.reference());
            assert!(verdict.passed() && verdict.structure_judged(), "{} {dtype}: {verdict:#?}", family.name);
        }
    }
}

/// fairseq's and the original WavLM's files, by the judge's own table of names and the configuration of the conversion.
#[test]
fn the_gate_reads_originals_in_the_formats_of_fairseq() {
    let folder = TempDir::new().unwrap();
    let (config, clip) = (folder.path().join("config.json"), FamilyFixture::named("hubert").reference());
    for name in [
        "args",
        "batch-norm",
        "conditional",
        "contentvec",
        "data2vec",
        "fine-tuned",
        "layer-norm",
        "mert",
        "no-projection",
        "omegaconf-2.0",
        "omegaconf-2.3",
        "training-state",
        "wavlm",
    ] {
        let original = fixture(&format!("fairseq/{name}.pt"));
        let model = convert(&original, &folder, Dtype::F32, Layout::Mlx);
        let recorded = ConvertedModel::read(&model).unwrap().metadata.config;
        std::fs::write(&config, recorded.to_json()).unwrap();
        let verdict = judge_by_original(&model, &original, Some(&config), &clip);
        assert!(verdict.passed() && verdict.structure_judged(), "{name}: {verdict:#?}");
        // Another model of the same format is told from it.
        if name == "contentvec" {
            let mut mutant = ConvertedModel::read(&model).unwrap();
            mutant.swap("encoder.layers.0.layer_norm.weight", "encoder.layers.0.final_layer_norm.weight");
            mutant.write(&model).unwrap();
            assert!(!judge_by_original(&model, &original, Some(&config), &clip).passed());
        }
    }
}

/// Both sides get the same samples, so that hidden states do not show a wrong record of the audio.
#[test]
fn a_wrong_record_of_the_audio_fails() {
    let folder = TempDir::new().unwrap();
    let family = FamilyFixture::named("wavlm");
    let checkpoint = family.checkpoint(folder.path()).unwrap();
    let honest = ConvertedModel::read(&convert(&checkpoint, &folder, Dtype::F32, Layout::Mlx)).unwrap();
    for (field, change) in [
        ("do_normalize true", (|m| m.metadata.preprocessor.do_normalize = true) as fn(&mut ConvertedModel)),
        ("sampling_rate 24000", |m| m.metadata.preprocessor.sampling_rate = 24_000),
    ] {
        let mut model = honest.clone();
        change(&mut model);
        let mutant = folder.path().join("mutant.safetensors");
        model.write(&mutant).unwrap();
        let verdict = judge_by_original(&mutant, &checkpoint, None, &family.reference());
        assert!(!verdict.passed(), "{field}");
        let [failure] = &verdict.failures[..] else { panic!("{field}: {:?}", verdict.failures) };
        assert!(failure.contains(field) && failure.contains("preprocessor_config.json"), "{failure}");
    }
}

#[test]
fn every_container_it_reads_gives_the_same_reference() {
    let expected = Reference::read(&fixture("containers/reference.npz")).unwrap();
    for name in [
        "zip.bin",
        "plain.safetensors",
        "lightning.ckpt",
        "parametrizations.bin",
        "fused.bin",
        "data-parallel.bin",
        "head.bin",
        "views.bin",
    ] {
        let libtorch = match Libtorch::open(&fixture(&format!("containers/{name}")), None) {
            Ok(libtorch) => libtorch,
            Err(error) => panic!("{name}: {error}"),
        };
        let got = libtorch.reference(name, &expected.input_values, &[]).unwrap();
        let nmse = worst_nmse(&got.hidden_states, &expected.hidden_states);
        assert!(nmse < 1e-9, "{name}: {nmse:e}");
    }
}

#[test]
fn unreadable_checkpoints_are_reported() {
    let error = Libtorch::open(&fixture("containers/legacy.bin"), None).err().unwrap().to_string();
    assert!(error.contains("legacy.bin") && error.contains("--reference"), "{error}");
    for name in ["hostile/os-system.bin", "hostile/numpy.bin", "mert-tiny/reference.npz", "README.md"] {
        assert!(Libtorch::open(&fixture(name), None).is_err(), "{name}");
    }
    let error = Libtorch::open(&fixture("hostile/negated-view.bin"), None).err().unwrap().to_string();
    assert!(error.contains("resolve_neg"), "{error}");
    let model = Libtorch::open(&fixture("mert-tiny/pytorch_model.bin"), None).unwrap();
    assert!(model.reference("short", &[0.0; 399], &[]).unwrap_err().to_string().contains("at least 400"));
}

/// A conversion judged by itself, or by what the converter assumed, would pass whatever it computes.
#[test]
fn the_original_must_be_the_original_with_its_own_configuration() {
    let folder = TempDir::new().unwrap();
    for layout in [Layout::Mlx, Layout::Torch] {
        let model = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F32, layout);
        std::fs::copy(fixture("mert-tiny/config.json"), folder.path().join("config.json")).unwrap();
        let (code, _, err) = mert_verify(&[arg(&model), "--checkpoint", arg(&model)]);
        assert_eq!(code, 2);
        assert!(err.contains("is a converted file"), "{err}");
    }

    let alone = TempDir::new().unwrap();
    let checkpoint = alone.path().join("pytorch_model.bin");
    std::fs::copy(fixture("deepnorm/pytorch_model.bin"), &checkpoint).unwrap();
    // Shapes determine neither the heads nor the order of norms; DeepNorm remains to be guessed.
    let given = ["num_attention_heads=4", "do_stable_layer_norm=false"].map(|field| field.parse().unwrap());
    let source = Source::open(&checkpoint).unwrap();
    let options = PlanOptions { dtype: Dtype::F32, config_set: given.to_vec(), ..PlanOptions::default() };
    let guessed = alone.path().join("guessed.safetensors");
    write::safetensors(&Plan::new(&source, &options).unwrap(), &source, &guessed, true, &|_| {}).unwrap();
    let (code, _, err) = mert_verify(&[arg(&guessed), "--checkpoint", arg(&checkpoint)]);
    assert_eq!(code, 2);
    assert!(err.contains("--checkpoint-config"), "{err}");
    let config = fixture("deepnorm/config.json");
    let args = [arg(&guessed), "--checkpoint", arg(&checkpoint), "--checkpoint-config", arg(&config)];
    let (code, out, _) = mert_verify(&args);
    assert_eq!(code, 1, "shapes do not reveal DeepNorm: {out}");
    assert!(out.contains("worked out from shapes"), "{out}");
}

#[test]
fn a_reference_written_is_a_reference_read() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("ref.npz");
    let (checkpoint, input) = (fixture("mert-tiny/pytorch_model.bin"), fixture("mert-tiny/reference.npz"));
    let args = ["reference", arg(&checkpoint), "--input", arg(&input), "--output", arg(&output)];
    let (code, out, err) = mert_verify(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(Reference::read(&output).unwrap().rounded.len(), 2);
    assert_eq!(mert_verify(&args).0, 2, "an existing file is not replaced");
    let model = convert(&checkpoint, &folder, Dtype::F16, Layout::Mlx);
    let (code, out, _) = mert_verify(&[arg(&model), "--reference", arg(&output), "--require-structure"]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn the_gate_computes_its_reference_from_the_original() {
    let folder = TempDir::new().unwrap();
    for name in ["mert-tiny", "stable-layer-norm", "deepnorm"] {
        let checkpoint = fixture(&format!("{name}/pytorch_model.bin"));
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let model = convert(&checkpoint, &folder, dtype, Layout::Mlx);
            let args = [arg(&model), "--checkpoint", arg(&checkpoint), "--require-structure"];
            let (code, out, err) = mert_verify(&args);
            assert_eq!(code, 0, "{name} {dtype}: {out}{err}");
            assert!(!out.contains("note:"), "{out}");
        }
    }
    // Another model's original.
    let model = convert(&fixture("stable-layer-norm/pytorch_model.bin"), &folder, Dtype::F32, Layout::Mlx);
    let (code, out, _) = mert_verify(&[arg(&model), "--checkpoint", arg(&fixture("deepnorm/pytorch_model.bin"))]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("configuration is not the checkpoint's"), "{out}");
    assert!(out.contains("was made from a checkpoint with sha256"), "{out}");
}

/// Both sides get the same windows of music, whatever its rate and codec, and the worst one is reported.
#[test]
fn the_gate_accepts_music_and_reports_the_worst_window() {
    let folder = TempDir::new().unwrap();
    let checkpoint = fixture("mert-tiny/pytorch_model.bin");
    let model = convert(&checkpoint, &folder, Dtype::F16, Layout::Mlx);
    let tracks =
        ["f32-24k-mono.wav", "16-44k1-stereo.flac", "aac-48k-mono.m4a"].map(|name| fixture(&format!("audio/{name}")));
    let report = folder.path().join("report.json");
    let run = |model: &std::path::Path| {
        let mut args =
            vec![arg(model), "--checkpoint", arg(&checkpoint), "--window", "sliding:0.5s", "--json", arg(&report)];
        args.push("--audio");
        args.extend(tracks.iter().map(|track| arg(track)));
        mert_verify(&args)
    };
    let (status, out, err) = run(&model);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("comparisons passed and are not shown"), "{out}");
    let found = json(&report);
    let worst = found["models"][0]["worst"].as_array().unwrap();
    let (clips, comparisons) =
        (worst[0]["clips"].as_u64().unwrap(), found["models"][0]["comparisons"].as_array().unwrap());
    assert!(clips >= 6 && comparisons.len() as u64 == 2 * clips, "{clips} clips");
    for (worst, question) in worst.iter().zip(["structure", "rounding"]) {
        assert_eq!(worst["question"], question);
        let nmse = |layer: &serde_json::Value| layer["metrics"]["nmse"].as_f64().unwrap();
        let of_question = comparisons.iter().filter(|comparison| comparison["question"] == question);
        let all = of_question.flat_map(|comparison| comparison["layers"].as_array().unwrap());
        assert_eq!(worst["nmse"].as_f64().unwrap(), all.map(nmse).fold(0.0, f64::max));
        assert!(out.contains(&format!("worst of {clips} clips ({question}, frames)")), "{out}");
    }

    let mut mutant = ConvertedModel::read(&model).unwrap();
    mutant.tensor("encoder.layers.7.attention.k_proj.weight").values.iter_mut().for_each(|x| *x *= 0.9);
    let wrong = folder.path().join("wrong.safetensors");
    mutant.write(&wrong).unwrap();
    let (status, out, _) = run(&wrong);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("the first bad one is hidden state 8"), "{out}");
    assert_eq!(json(&report)["models"][0]["worst"][0]["passed"], false);

    // Music that cannot be read is an error, not a verdict.
    let bad = folder.path().join("bad.flac");
    std::fs::write(&bad, &std::fs::read(&tracks[1]).unwrap()[..40_000]).unwrap();
    let (status, _, err) = mert_verify(&[
        arg(&model),
        "--checkpoint",
        arg(&checkpoint),
        "--audio",
        arg(&tracks[0]),
        arg(&bad),
        "--window",
        "whole",
    ]);
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("bad.flac"), "{err}");

    let suite = folder.path().join("verify.yaml");
    let [one, two, _] = &tracks;
    let yaml = format!(
        "models:\n  - model: {}\n    checkpoint: {}\n    audio: [{}, {}]\n    window: middle:0.5s\n",
        model.display(),
        checkpoint.display(),
        one.display(),
        two.display()
    );
    std::fs::write(&suite, yaml).unwrap();
    let (status, out, err) = mert_verify(&["--config", arg(&suite)]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("worst of 2 clips") && out.contains("from 0.25 to 0.75 s"), "{out}");
}
