//! `mert-verify` end to end: verdicts, exit codes, references, subcommands.

use mert_arch::{Dtype, Layout};
use mert_testkit::{Damage, fixture};
use mert_verify::Reference;
use ndarray::{Axis, s};
use tempfile::TempDir;

use crate::common::{arg, changed_reference, convert, json, mert_verify, model, reference};

#[test]
fn the_built_in_fixture_passes_with_nothing_else() {
    let (code, out, err) = mert_verify(&["--layers", "all"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("PASSED: 26 hidden states compared"), "{out}");
    assert_eq!(mert_verify(&[]).0, 0);
    assert_eq!(mert_verify(&["--quiet"]), (0, String::new(), String::new()));
}

#[test]
fn every_variant_dtype_and_layout_passes() {
    let folder = TempDir::new().unwrap();
    let mut worst = [0f64; 3];
    for name in ["mert-tiny", "stable-layer-norm", "deepnorm"] {
        let reference = fixture(&format!("{name}/reference.npz"));
        for (i, dtype) in [Dtype::F32, Dtype::F16, Dtype::Bf16].into_iter().enumerate() {
            for layout in [Layout::Mlx, Layout::Torch] {
                let model = convert(&fixture(&format!("{name}/pytorch_model.bin")), &folder, dtype, layout);
                let report = folder.path().join("report.json");
                let (code, out, err) = mert_verify(&[
                    arg(&model),
                    "--reference",
                    arg(&reference),
                    "--require-structure",
                    "--json",
                    arg(&report),
                ]);
                assert_eq!(code, 0, "{name} {dtype} {layout}: {out}{err}");
                let comparisons = json(&report)["models"][0]["comparisons"].clone();
                let structure = &comparisons[0];
                assert_eq!(structure["question"], "structure");
                for layer in structure["layers"].as_array().unwrap() {
                    worst[i] = worst[i].max(layer["metrics"]["nmse"].as_f64().unwrap());
                }
            }
        }
    }
    // The tolerance is 1e-9. The honest error must stay far below it, or the gate becomes flaky.
    assert!(worst.iter().all(|&nmse| nmse > 0.0 && nmse < 1e-10), "{worst:?}");
}

#[test]
fn every_container_matches_the_reference() {
    let folder = TempDir::new().unwrap();
    for name in ["zip.bin", "legacy.bin", "views.bin", "non-contiguous.bin", "parametrizations.bin", "fused.bin"] {
        let model = convert(&fixture(&format!("containers/{name}")), &folder, Dtype::F32, Layout::Mlx);
        let (code, out, err) = mert_verify(&[arg(&model), "--reference", arg(&fixture("containers/reference.npz"))]);
        assert_eq!(code, 0, "{name}: {out}{err}");
    }
}

#[test]
fn half_precision_arithmetic_has_its_own_tolerance() {
    for (dtype, tolerance) in [("f16", "f16 arithmetic"), ("bf16", "bf16 on the CPU"), ("int8", "int8 on the CPU")] {
        let (code, out, _) = mert_verify(&[arg(&model()), "--reference", arg(&reference()), "--dtype", dtype]);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains(&format!("tolerance \"{tolerance}\"")), "{out}");
        assert!(out.contains("structure was not judged"), "{out}");
        let args = [arg(&model()), "--reference", arg(&reference()), "--dtype", dtype, "--require-structure"]
            .map(String::from);
        assert_eq!(mert_verify(&args.iter().map(String::as_str).collect::<Vec<_>>()).0, 1);
    }
}

#[test]
fn a_reference_without_rounded_states_is_enough_unless_structure_is_required() {
    let folder = TempDir::new().unwrap();
    let plain = changed_reference(&folder, |r| r.rounded.clear());
    let (code, out, _) = mert_verify(&[arg(&model()), "--reference", arg(&plain)]);
    assert_eq!(code, 0);
    assert!(out.contains("structure was not judged") && out.contains("hidden_states_f16"), "{out}");
    assert!(out.trim_end().ends_with("but ONLY THE ROUNDING was judged, not the structure"), "{out}");
    let (code, out, _) = mert_verify(&[arg(&model()), "--reference", arg(&plain), "--require-structure"]);
    assert_eq!(code, 1);
    assert!(out.contains("FAILED"), "{out}");
}

#[test]
fn states_that_cannot_be_compared_fail_the_gate() {
    let folder = TempDir::new().unwrap();
    type Change = fn(&mut Reference);
    let changes: [(&str, Change); 6] = [
        ("12 hidden states, the model 13", |r| {
            r.rounded.clear();
            r.hidden_states = r.hidden_states.slice(s![..12, .., ..]).to_owned();
        }),
        ("the reference has no hidden state 12", |r| {
            r.rounded.clear();
            r.hidden_states = r.hidden_states.slice(s![..12, .., ..]).to_owned();
        }),
        ("the reference has 73", |r| {
            r.rounded.clear();
            r.hidden_states = r.hidden_states.slice(s![.., ..73, ..]).to_owned();
        }),
        ("width 64, the reference has 63", |r| {
            r.rounded.clear();
            r.hidden_states = r.hidden_states.slice(s![.., .., ..63]).to_owned();
        }),
        ("of the reference are NaN", |r| r.hidden_states[[7, 3, 3]] = f32::NAN),
        ("74 frames, the reference has 148", |r| {
            r.rounded.clear();
            r.hidden_states = ndarray::concatenate![Axis(1), r.hidden_states, r.hidden_states];
        }),
    ];
    for (words, change) in changes {
        let changed = changed_reference(&folder, change);
        let (code, out, err) = mert_verify(&[arg(&model()), "--reference", arg(&changed)]);
        assert_eq!(code, 1, "{words}: {out}{err}");
        assert!(out.contains(words), "{words}: {out}");
    }
}

/// Shapes left by `torch.stack` and by an unflattened batch; a batch of two clips is not a reference.
#[test]
fn an_axis_for_a_batch_of_one_may_stay() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("r.npz");
    let Reference { input_values, hidden_states, mut rounded, .. } = Reference::read(&reference()).unwrap();
    let rounded = rounded.remove(&Dtype::F16).unwrap();
    let clip = ndarray::Array1::from(input_values).insert_axis(Axis(0));
    let write = |clip: &ndarray::Array2<f32>, axis: usize, copies: usize| {
        let batch = |states: &ndarray::Array3<f32>| {
            let views = vec![states.view().insert_axis(Axis(axis)); copies];
            ndarray::concatenate(Axis(axis), &views).unwrap().into_dyn()
        };
        let arrays = [
            ("input_values", clip.clone().into_dyn()),
            ("hidden_states", batch(&hidden_states)),
            ("hidden_states_f16", batch(&rounded)),
        ];
        mert_verify::npz::write(&path, &arrays).unwrap();
        mert_verify(&[arg(&model()), "--reference", arg(&path), "--require-structure"])
    };
    for axis in [0, 1] {
        let (code, out, err) = write(&clip, axis, 1);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("PASSED: 26 hidden states"), "{out}");
    }
    let (code, _, err) = write(&clip, 1, 2);
    assert!(code == 2 && err.contains("[13, 2, 74, 64]") && err.contains("batch of 2"), "{err}");
    let two = ndarray::concatenate(Axis(0), &[clip.view(), clip.view()]).unwrap();
    let (code, _, err) = write(&two, 1, 2);
    assert!(code == 2 && err.contains("2 clips"), "{err}");
    let (code, _, err) = write(&clip, 2, 1);
    assert!(code == 2 && err.contains("[13, 74, 1, 64]"), "{err}");
}

#[test]
fn a_single_wrong_value_in_a_single_frame_fails() {
    let folder = TempDir::new().unwrap();
    for layer in [0, 6, 12] {
        let changed = changed_reference(&folder, |r| {
            if let Some(states) = r.rounded.get_mut(&Dtype::F16) {
                states[[layer, 40, 17]] += 0.01;
            }
        });
        let (code, out, _) = mert_verify(&[arg(&model()), "--reference", arg(&changed)]);
        assert_eq!(code, 1, "{out}");
        assert!(out.contains(&format!("the first bad one is hidden state {layer} ")), "{out}");
    }
}

#[test]
fn only_the_selected_layers_are_judged() {
    let folder = TempDir::new().unwrap();
    let changed = changed_reference(&folder, |r| r.hidden_states.index_axis_mut(Axis(0), 9).fill(0.5));
    for (layers, expected) in [("0-8,10-12", 0), ("9", 1), ("0,9", 1), ("6", 0), ("all", 1)] {
        let (code, out, _) = mert_verify(&[arg(&model()), "--reference", arg(&changed), "--layers", layers]);
        assert_eq!(code, expected, "{layers}: {out}");
    }
}

#[test]
fn errors_are_exit_status_2() {
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let broken = folder.path().join("broken.npz");
    std::fs::write(&broken, b"PK\x03\x04 no zip").unwrap();
    let nan = changed_reference(&folder, |r| r.input_values[5] = f32::NAN);
    let (m, r) = (model(), reference());
    let (m, r) = (arg(&m), arg(&r));
    for (args, words) in [
        (&[m][..], "nothing to compare it with"),
        (&[m, "--reference", arg(&empty)], "holds no .npz"),
        (&[m, "--reference", arg(&broken)], "broken.npz"),
        (&[m, "--reference", "/no/such.npz"], "/no/such.npz"),
        (&[m, "--reference", m], "model.safetensors"),
        (&[m, "--reference", arg(&nan)], "NaN at sample 5"),
        (&["/no/model.safetensors", "--reference", r], "/no/model.safetensors"),
        (&[r, "--reference", r], "not a readable safetensors file"),
        (&[m, "--reference", r, "--layers", "13"], "hidden states 0 to 12"),
        (&[m, "--reference", r, "--layers", "none"], "invalid hidden states"),
        (&[m, "--reference", r, "--device", "tpu"], "unknown device"),
        (&["--config", "/no/verify.yaml"], "/no/verify.yaml"),
        (&["--config", "/no/verify.yaml", "--reference", r], "cannot be used with"),
        (
            &["--config", "/no/verify.yaml", "--layers", "3"],
            "'--config <FILE>' cannot be used with '--layers <LAYERS>'",
        ),
        (&["--reference", r], "MODEL"),
        (&[m, "--no-such-flag"], "--no-such-flag"),
    ] {
        let (code, out, err) = mert_verify(args);
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

/// Damaged references and models: an error or a verdict, never a panic.
#[test]
fn damaged_files_never_panic() {
    use mert_runtime::ConvertedFile;
    let folder = TempDir::new().unwrap();
    let npz = std::fs::read(fixture("containers/reference.npz")).unwrap();
    let model = std::fs::read(model()).unwrap();
    let mut damage = Damage::new(2);
    let (npz_path, model_path) = (folder.path().join("r.npz"), folder.path().join("m.safetensors"));
    let (mut bad_references, mut bad_models) = (0, 0);
    for round in 0..300 {
        let range = if round % 2 == 0 { 0..400 } else { npz.len() - 600..npz.len() };
        let damaged = damage.flip(&npz, range);
        std::fs::write(&npz_path, &damaged[..]).unwrap();
        bad_references += usize::from(Reference::read(&npz_path).is_err());

        let damaged = damage.flip(&model, 0..20_000);
        std::fs::write(&model_path, &damaged[..]).unwrap();
        bad_models += usize::from(ConvertedFile::open(&model_path).is_err());
    }
    assert!(bad_references > 100 && bad_models > 100, "{bad_references} references, {bad_models} models refused");
}

#[cfg(not(feature = "tch"))]
#[test]
fn without_libtorch_the_message_says_how_to_get_it() {
    let m = model();
    let (code, _, err) = mert_verify(&[arg(&m), "--checkpoint", arg(&m)]);
    assert_eq!(code, 2);
    assert!(err.contains("--features tch"), "{err}");
}

#[test]
fn clips_that_reveal_too_little_are_refused_or_noted() {
    let folder = TempDir::new().unwrap();
    let cut = |samples: usize, frames: usize| {
        changed_reference(&folder, |r| {
            r.rounded.clear();
            r.input_values.truncate(samples);
            r.input_values.iter_mut().for_each(|x| *x = 3.0 * *x + 1.0);
            r.hidden_states = r.hidden_states.slice(s![.., ..frames, ..]).to_owned();
        })
    };
    // Attention over a single frame is the identity.
    let (code, _, err) = mert_verify(&[arg(&model()), "--reference", arg(&cut(400, 1))]);
    assert_eq!(code, 2);
    assert!(err.contains("one frame"), "{err}");
    let (_, out, _) = mert_verify(&[arg(&model()), "--reference", arg(&cut(4000, 12))]);
    assert!(out.contains("do not reach every tap") && out.contains("was the clip normalised?"), "{out}");
}

#[test]
fn a_model_without_normalisation_accepts_clips_that_are_not_normalised() {
    use mert_checkpoint::Source;
    use mert_convert::{Plan, PlanOptions, PreprocessorOptions, write};
    let folder = TempDir::new().unwrap();
    let source = Source::open(&fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let loud = changed_reference(&folder, |r| r.input_values.iter_mut().for_each(|x| *x *= 3.0));
    for do_normalize in [true, false] {
        let preprocessor = PreprocessorOptions { do_normalize: Some(do_normalize), ..PreprocessorOptions::default() };
        let options = PlanOptions { dtype: Dtype::F32, preprocessor, ..PlanOptions::default() };
        let plan = Plan::new(&source, &options).unwrap();
        let model = folder.path().join(format!("{do_normalize}.safetensors"));
        write::safetensors(&plan, &source, &model, true, &|_| {}).unwrap();
        let (_, out, err) = mert_verify(&[arg(&model), "--reference", arg(&loud)]);
        assert_eq!(out.contains("was the clip normalised?"), do_normalize, "{out}{err}");
    }
}

#[test]
fn hidden_states_written_are_hidden_states_read() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("h.npz");
    let args =
        ["hidden-states", arg(&model()), "--input", arg(&reference()), "--output", arg(&output)].map(String::from);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (code, out, err) = mert_verify(&args);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("13 hidden states of 74 frames by 64"), "{out}");
    // They are what the gate compares: close to PyTorch's, but not bit-identical.
    let mut archive = npyz::npz::NpzArchive::open(&output).unwrap();
    let written: Vec<f32> = archive.by_name("hidden_states").unwrap().unwrap().into_vec().unwrap();
    let expected = &Reference::read(&reference()).unwrap().rounded[&Dtype::F16];
    assert_eq!(written.len(), expected.len());
    let largest = written.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0 && largest < 1e-3, "{largest}");
    // A model is not judged by its own output.
    let (code, _, err) = mert_verify(&[arg(&model()), "--reference", arg(&output)]);
    assert_eq!(code, 2);
    assert!(err.contains("proves nothing"), "{err}");
    // An existing file is not replaced.
    assert_eq!(mert_verify(&args).0, 2);
    assert_eq!(mert_verify(&[&args[..], &["--force", "--layers", "6"]].concat()).0, 0);
}

#[test]
fn clips_may_be_npy_files() {
    let folder = TempDir::new().unwrap();
    let clip = Reference::read(&reference()).unwrap().input_values;
    let (npy, out) = (folder.path().join("x.npy"), folder.path().join("h.npz"));
    npyz::to_file_1d(&npy, clip).unwrap();
    let (code, _, err) = mert_verify(&["hidden-states", arg(&model()), "--input", arg(&npy), "--output", arg(&out)]);
    assert_eq!(code, 0, "{err}");
    npyz::to_file_1d(&npy, vec![1i32, 2, 3]).unwrap();
    let (code, _, err) =
        mert_verify(&["hidden-states", arg(&model()), "--input", arg(&npy), "--output", arg(&out), "--force"]);
    assert_eq!(code, 2);
    assert!(err.contains("float32"), "{err}");
}
