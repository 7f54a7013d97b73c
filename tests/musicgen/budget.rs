//! Budgets of MusicGen bundles: limits hold as the judge measures them, sizes are kept, what cannot be reached is refused with its
//! figure, and the same input gives the same bundle.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mert_budget::{BudgetError, KlBudget, MusicgenGoal, MusicgenStudy, MusicgenSubject};
use mert_convert::QuantizeOptions;
use mert_convert::musicgen::{MusicgenConversion, MusicgenOptions, RecognizedMusicgen};
use mert_musicgen::bundle::Bundle;
use mert_musicgen::{Codes, DelayPattern, ForcedPass, ForcedPiece, LanguageModel, Session};
use mert_testkit::{fixture, runner};
use mert_verify::musicgen::BundleCheck;
use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::Kind;

/// Converts within a goal, and returns what `--json` has of it.
fn chosen(kind: Kind, output: &Path, options: &[&str]) -> Value {
    let run = kind.convert(output, &[&["--json"], options].concat());
    assert_eq!(run.code, 0, "{kind:?} {options:?}: {}", run.stderr);
    serde_json::from_str::<Value>(&run.stdout).unwrap()["budget"].take()
}

/// The KL divergences with the text and without, as `mert-verify --against` measures them, and the number of values that are
/// not those of `mx.quantize`.
fn judged(bundle: &Path, float: &Path) -> ([f64; 2], f64) {
    let check =
        BundleCheck { bundle: bundle.to_path_buf(), against: Some(float.to_path_buf()), ..BundleCheck::default() };
    let parts = &check.run().unwrap().comparisons[0].parts;
    let figure = |part: &str, name: &str| {
        let part = parts.iter().find(|found| found.part == part).unwrap();
        part.figures.iter().find(|figure| figure.name == name).unwrap().value
    };
    (["logits", "logits_null"].map(|part| figure(part, "kl")), figure("codes", "differing values"))
}

/// The divergences of a report in order.
fn figures(divergences: &Value) -> Vec<f64> {
    let pieces = divergences.as_array().unwrap().iter();
    pieces.flat_map(|piece| [&piece["text"], &piece["without_text"]].map(|kl| kl.as_f64().unwrap())).collect()
}

/// The size of all files of weights of a bundle.
fn weights_len(bundle: &Path) -> u64 {
    let of = |folder: PathBuf| fs::metadata(folder.join("model.safetensors")).unwrap().len();
    [bundle.to_path_buf(), bundle.join("t5"), bundle.join("encodec")].map(of).into_iter().sum()
}

/// All files of a bundle by path.
fn files(bundle: &Path) -> BTreeMap<String, Vec<u8>> {
    let folders = [bundle.to_path_buf(), bundle.join("t5"), bundle.join("encodec")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    paths.map(|path| (path.strip_prefix(bundle).unwrap().display().to_string(), fs::read(&path).unwrap())).collect()
}

#[test]
fn limits_hold_as_the_judge_measures_them() {
    let folder = TempDir::new().unwrap();
    for (kind, limit, options) in [
        (Kind::Plain, 0.05, &["--budget", "0.05"][..]),
        (Kind::Plain, 0.001, &["--budget", "kl<=1e-3", "--q-group-size", "32", "--dtype", "f32"]),
        (Kind::Instruct, 0.05, &["--budget", "0.05"]),
        (Kind::Instruct, 0.3, &["--budget", "kl<=0.3"]),
    ] {
        let what = format!("{kind:?} {options:?}");
        let output = folder.path().join(what.replace('/', "-"));
        let report = chosen(kind, &output, options);
        let others: Vec<&str> = options[2..].to_vec();
        let float: Vec<&str> = others.iter().copied().skip_while(|option| *option != "--dtype").collect();
        let float = kind.bundle(&folder, &format!("{what} float"), &float);
        let (kl, differing) = judged(&output, &float);
        let written = figures(&report["written"]);
        assert_eq!((differing, written.len()), (0.0, 4), "{what}");
        for (judged, told) in kl.iter().zip(&written) {
            assert!(
                (judged - told).abs() <= 1e-6 * told,
                "{what}: the judge measures {judged}, the report says {told}"
            );
        }
        assert!(written.iter().all(|&kl| kl > 0.0 && kl <= limit), "{what}: {written:?}");
        assert_eq!(report["bytes"], weights_len(&output), "{what}");

        // The same bits everywhere, as few as the limit allows; the limits lie apart from what any of them measures.
        let uniform = ["4", "5", "6", "8"].into_iter().find_map(|bits| {
            let options = [&["--quantize", "--q-bits", bits], &others[..]].concat();
            let bundle = kind.bundle(&folder, &format!("{what} {bits}"), &options);
            let (kl, _) = judged(&bundle, &float);
            kl.iter().all(|&kl| kl <= limit).then(|| (bits, weights_len(&bundle)))
        });
        let (bits, bytes) = uniform.unwrap();
        assert!(weights_len(&output) < bytes, "{what}: {} bytes, {bytes} with {bits} bits", report["bytes"]);
        let card = fs::read_to_string(output.join("README.md")).unwrap();
        assert!(card.contains("## Bits of each group") && card.contains("| `lm.layers.0.self_attn.*` |"), "{card}");
    }
}

#[test]
fn sizes_are_kept_and_used() {
    let folder = TempDir::new().unwrap();
    for kind in Kind::ALL {
        let float = kind.bundle(&folder, &format!("{kind:?}-float"), &[]);
        let bundles = ["4", "5"].map(|bits| {
            let bundle = kind.bundle(&folder, &format!("{kind:?}-{bits}"), &["--quantize", "--q-bits", bits]);
            (weights_len(&bundle), judged(&bundle, &float).0)
        });
        let worst = |kl: [f64; 2]| kl[0].max(kl[1]);
        let [(least, before), (size, after)] = bundles;
        let output = folder.path().join(format!("{kind:?}"));
        let report = chosen(kind, &output, &["--size", &format!("{size}B")]);
        let found = weights_len(&output);
        assert_eq!(report["bytes"], found);
        assert!(found <= size && found > least, "{kind:?}: {found} bytes of {size}");
        let kl = worst(judged(&output, &float).0);
        assert!(kl < worst(before) && kl <= 1.05 * worst(after), "{kind:?}: {kl}, {before:?}, {after:?}");

        // A byte less than the fewest bits take is refused with that figure.
        let entries = || fs::read_dir(folder.path()).unwrap().count();
        let count = entries();
        let run = kind.convert(&folder.path().join("small"), &["--size", &format!("{}", least - 1)]);
        assert_eq!(run.code, 2, "{}", run.stdout);
        let words = format!("with 4 bits in every group they have {least} bytes");
        assert!(run.stderr.contains(&words), "{}", run.stderr);
        assert_eq!(entries(), count, "something was left behind");
        chosen(kind, &folder.path().join(format!("{kind:?}-least")), &["--size", &format!("{least}")]);
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = TempDir::new().unwrap();
    for (options, words) in [
        (&["--budget", "nmse<=0.1"][..], "limits the error of hidden states, and the input is a MusicGen"),
        (&["--budget", "0"], "expected kl<=NUMBER, a divergence in nats above 0"),
        (&["--budget", "kl>=0.1"], "expected kl<=NUMBER"),
        (&["--budget", "divergence"], "for MusicGen kl<=NUMBER"),
        (&["--budget", "0.1", "--size", "1GB"], "cannot be used with"),
        (&["--budget", "0.1", "--q-bits", "4"], "cannot be used with"),
        (&["--budget", "0.1", "--calibration", "."], "--calibration: the input is a MusicGen"),
        (&["--budget", "0.1", "--q-skip", "*"], "no linear layer can be quantized"),
        (&["--budget", "0.1", "--q-only", "lm.layer.*"], "lm.layer.*"),
    ] {
        let run = Kind::Plain.convert(&folder.path().join("out"), options);
        assert!(run.code == 2 && run.stderr.contains(words), "{options:?}: {}", run.stderr);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{options:?}");
    }
    let encoder = fixture("mert-tiny/pytorch_model.bin");
    let run = runner::run("mert-convert", [encoder.to_str().unwrap(), "--budget", "0.1"]);
    assert!(run.code == 2 && run.stderr.contains("the input is an encoder: give limits"), "{}", run.stderr);
}

#[test]
fn the_same_input_gives_the_same_bundle_whose_layers_differ_in_bits() {
    let folder = TempDir::new().unwrap();
    let convert = |threads: &str| {
        let output = folder.path().join(threads);
        let report = chosen(Kind::Instruct, &output, &["--budget", "0.1", "--threads", threads]);
        (output, report)
    };
    let ((one, first), (two, second)) = (convert("1"), convert("2"));
    assert_eq!(first, second);
    assert!(files(&one) == files(&two));
    let config: Value = serde_json::from_slice(&files(&one)["config.json"]).unwrap();
    let own = config["quantization"].as_object().unwrap().values().filter_map(|layer| layer["bits"].as_u64());
    let bits: Vec<u64> = own.chain(config["quantization"]["bits"].as_u64()).collect();
    assert!(bits.iter().any(|&some| some != bits[0]), "{bits:?}");

    // A plan alone measures, too, and tells the cost first.
    let plain = fixture("musicgen/plain");
    let run = runner::run("mert-convert", [plain.to_str().unwrap(), "--budget", "0.1"]);
    assert!(run.code == 0 && run.stdout.contains("nats of KL divergence"), "{}", run.stderr);
    assert!(run.stderr.contains("for kl<=0.1, 24 measurements, about 0.8 GFLOP"), "{}", run.stderr);
    let bundle = Kind::Plain.bundle(&folder, "plain", &["--budget", "0.02", "--names", "hf"]);
    let wave = folder.path().join("music.wav");
    let options = ["--text", "slow piano", "--seconds", "0.2", "--greedy", "-o", wave.to_str().unwrap()];
    let run = runner::run("mert-generate", [&[bundle.to_str().unwrap()], &options[..]].concat());
    assert!(run.code == 0 && wave.is_file(), "{}", run.stderr);
}

fn conversion(options: &MusicgenOptions) -> MusicgenConversion {
    MusicgenConversion::new(RecognizedMusicgen::open(&fixture("musicgen/plain")).unwrap(), options).unwrap()
}

#[test]
fn another_bundle_than_the_one_chosen_is_refused() {
    let quantize = QuantizeOptions::default();
    let options = MusicgenOptions { quantize: Some(quantize.clone()), ..MusicgenOptions::default() };
    let conversion = conversion(&options);
    let subject = MusicgenSubject::new(&conversion, &quantize).unwrap();
    assert_eq!(subject.groups().len(), 2 * 3);
    let folder = TempDir::new().unwrap();
    let temporary = mert_fs::temporary_folder_beside(&folder.path().join("x")).unwrap();
    let study = MusicgenStudy::new(&subject, temporary, &|_| {}).unwrap();
    let [loose, tight] = [0.1, 0.002].map(|kl| study.search(MusicgenGoal::Kl(KlBudget(kl)), &|_| {}).unwrap());
    assert!(loose.report.bytes < tight.report.bytes);
    let write = |name: &str, quantize: &QuantizeOptions| {
        let path = folder.path().join(name);
        conversion.requantized(Some(quantize.clone())).write(&path, false, &|_| {}).unwrap();
        path
    };
    let (loose_path, tight_path) = (write("loose", &loose.quantize), write("tight", &tight.quantize));
    assert_eq!(study.check_written(&tight_path, &tight).unwrap(), tight.report.held_out);
    assert_eq!(study.check_written(&loose_path, &loose).unwrap(), loose.report.held_out);
    let refused = study.check_written(&loose_path, &tight).unwrap_err();
    assert!(matches!(refused, BudgetError::OtherDivergence { .. }), "{refused}");

    // A plan that is quantized in another way is the one that would have been made.
    let planned = self::conversion(&MusicgenOptions { quantize: Some(tight.quantize.clone()), ..options.clone() });
    assert_eq!(conversion.plan_with(Some(tight.quantize.clone())), *planned.plan());
    let float = self::conversion(&MusicgenOptions::default());
    assert_eq!(conversion.plan_with(None), *float.plan());
    drop(study);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the temporary bundles were left behind");
}

#[test]
fn a_pass_from_a_layer_on_is_the_whole_pass() {
    let folder = TempDir::new().unwrap();
    for kind in Kind::ALL {
        let [float, quantized] = [&["--dtype", "f32"][..], &["--dtype", "f32", "--quantize"]].map(|options| {
            Bundle::open(&kind.bundle(&folder, &format!("{kind:?}-{}", options.len()), options)).unwrap()
        });
        let (lm, cp) = LanguageModel::open(&float).unwrap();
        let codes = |shift: u32| {
            let row = |k: u32| (0..12).map(|frame| (frame * 7 + k * 5 + shift) % 64).collect();
            Codes::new((0..4).map(row).collect()).unwrap()
        };
        let width = float.config().model.text_hidden_size;
        let piece = ForcedPiece {
            text_states: (0..3 * width).map(|i| (i as f32 * 0.37).sin() / 3.0).collect(),
            input: cp.is_some().then(|| codes(3)),
            codes: codes(0),
        };
        let session = |lm: &LanguageModel, cp: Option<&mert_musicgen::CpEncoder>| {
            let (text, input) =
                (lm.condition(&piece.text_states).unwrap(), DelayPattern::new(4, 1, 64).input(&piece.codes));
            let prefix = cp.map(|cp| cp.prefix(lm, piece.input.as_ref().unwrap()).unwrap());
            Session::new(lm, &text, prefix.as_ref(), true, input.frames()).unwrap().trace(&input).unwrap().0
        };
        let pass = ForcedPass::new(&lm, cp.as_ref(), &piece).unwrap();
        assert!(pass.logits() == session(&lm, cp.as_ref()), "{kind:?}");

        let layers = float.config().model.decoder.num_hidden_layers;
        let merge =
            (0..layers).filter(|_| cp.is_some()).map(|layer| (layer, format!("cp_transformer.merge_linear.{layer}")));
        let own = ["self_attn.v_proj", "cross_attn.out_proj", "linear2"];
        let own = (0..layers).flat_map(|i| own.map(|module| (i, format!("lm.layers.{i}.{module}"))));
        for (layer, module) in own.chain(merge) {
            let modules = BTreeMap::from([(module.clone(), 0)]);
            let (mixed, mixed_cp) = LanguageModel::open_mixed(&float, &[&quantized], &modules).unwrap();
            let whole = session(&mixed, mixed_cp.as_ref());
            assert!(whole != pass.logits(), "{kind:?} {module}");
            for from in 0..layers {
                let found = pass.logits_from(from, &mixed, mixed_cp.as_ref()).unwrap();
                assert_eq!(found == whole, from <= layer, "{kind:?} {module} from layer {from}");
            }
        }
        assert!(pass.logits_from(layers, &lm, cp.as_ref()).is_err());
    }
}
