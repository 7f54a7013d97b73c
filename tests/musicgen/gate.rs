//! The gate of MusicGen bundles: honest bundles pass against what PyTorch returned, defective ones fail, and the KL divergence
//! orders the numbers of bits.

use std::collections::BTreeMap;
use std::path::Path;

use mert_testkit::runner::{self, Run};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::Kind;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn verify(bundle: &Path, kind: Kind, options: &[&str]) -> Run {
    let reference = kind.reference();
    runner::run("mert-verify", [&[text(bundle), "--reference", text(&reference)][..], options].concat())
}

/// The verdict of a run as JSON.
fn report(bundle: &Path, kind: Kind, folder: &TempDir) -> (i32, Value) {
    let path = folder.path().join("report.json");
    let run = verify(bundle, kind, &["--json", text(&path)]);
    assert!(run.code < 2, "{}", run.stderr);
    (run.code, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// The value of a figure of a part.
fn figure(report: &Value, part: &str, name: &str) -> f64 {
    let parts = report["bundle"]["comparisons"][0]["parts"].as_array().unwrap();
    let part = parts.iter().find(|found| found["part"] == part).unwrap();
    let figures = part["figures"].as_array().unwrap();
    figures.iter().find(|found| found["name"] == name).unwrap()["value"].as_f64().unwrap()
}

/// The tensors of a file, which a defect changes.
struct Tensors(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, view): (String, TensorView<'_>)| {
            (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        Tensors(file.tensors().into_iter().map(tensor).collect())
    }

    fn write(&self, path: &Path) {
        let views = self
            .0
            .iter()
            .map(|(name, (dtype, shape, data))| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        serialize_to_file(views.collect::<Vec<_>>(), None, path).unwrap();
    }

    fn floats(&mut self, name: &str, edit: impl Fn(usize, f32) -> f32) {
        let (dtype, _, data) = self.0.get_mut(name).unwrap_or_else(|| panic!("no tensor {name}"));
        if *dtype == Dtype::F16 {
            for (i, bytes) in data.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let value = edit(i, half::f16::from_le_bytes(*bytes).to_f32());
                *bytes = half::f16::from_f32(value).to_le_bytes();
            }
            return;
        }
        assert_eq!(*dtype, Dtype::F32, "{name}");
        for (i, bytes) in data.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *bytes = edit(i, f32::from_le_bytes(*bytes)).to_le_bytes();
        }
    }

    /// The bytes of a float of a tensor.
    fn size(&self, name: &str) -> usize {
        if self.0[name].0 == Dtype::F16 { 2 } else { 4 }
    }

    /// Swaps two weights, with the scales and biases of quantized ones.
    fn swap(&mut self, a: &str, b: &str) {
        let [a, b] = [a, b].map(|name| name.strip_suffix(".weight").unwrap_or(name));
        for part in ["", ".weight", ".scales", ".biases"] {
            let [a, b] = [a, b].map(|module| format!("{module}{part}"));
            let (Some(first), Some(second)) = (self.0.get(&a).cloned(), self.0.get(&b).cloned()) else { continue };
            assert_eq!(first.1, second.1);
            self.0.insert(a, second);
            self.0.insert(b, first);
        }
    }

    /// Moves the rows of a tensor of 3 axes along its second axis by one.
    fn shift(&mut self, name: &str) {
        let size = self.size(name);
        let (_, shape, data) = self.0.get_mut(name).unwrap();
        let row = shape[2] * size;
        data.chunks_exact_mut(shape[1] * row).for_each(|part| part.rotate_left(row));
    }
}

type Defect = (&'static str, fn(&mut Tensors));

/// Defects of the language model's file. Each keeps every name and shape.
const DEFECTS: &[Defect] = &[
    ("gates through tanh", |t| t.floats("cp_transformer.gates", |_, gate| gate.tanh())),
    ("gates of zero", |t| t.floats("cp_transformer.gates", |_, _| 0.0)),
    ("positions one row late", |t| t.shift("cp_transformer.pos_emb")),
    ("positions of another layer", |t| {
        let size = t.size("cp_transformer.pos_emb");
        let (_, shape, data) = t.0.get_mut("cp_transformer.pos_emb").unwrap();
        data.rotate_left(shape[1] * shape[2] * size);
    }),
    ("merge_linear of another layer", |t| {
        t.swap("cp_transformer.merge_linear.0.weight", "cp_transformer.merge_linear.1.weight");
    }),
    ("q and k of self-attention", |t| {
        t.swap("lm.layers.1.self_attn.q_proj.weight", "lm.layers.1.self_attn.k_proj.weight")
    }),
    ("k and v of self-attention", |t| {
        t.swap("lm.layers.0.self_attn.k_proj.weight", "lm.layers.0.self_attn.v_proj.weight")
    }),
    ("q and v of cross-attention", |t| {
        t.swap("lm.layers.2.cross_attn.q_proj.weight", "lm.layers.2.cross_attn.v_proj.weight")
    }),
    ("self- for cross-attention", |t| {
        t.swap("lm.layers.2.cross_attn.out_proj.weight", "lm.layers.2.self_attn.out_proj.weight")
    }),
    ("two norms", |t| t.swap("lm.layers.0.norm1.weight", "lm.layers.0.norm2.weight")),
    ("a norm's bias", |t| t.floats("lm.layers.1.norm_cross.bias", |_, _| 0.0)),
    ("the final norm's bias", |t| t.floats("lm.out_norm.bias", |_, _| 0.0)),
    ("two codebooks' embeddings", |t| t.swap("lm.emb.1.weight", "lm.emb.2.weight")),
    ("two heads", |t| t.swap("lm.linears.0.weight", "lm.linears.3.weight")),
    ("the projection's bias", |t| t.floats("text_conditioner.output_proj.bias", |_, _| 0.0)),
    ("the special token's embedding", |t| {
        let len = t.0["lm.emb.0.weight"].2.len() / t.size("lm.emb.0.weight");
        t.floats("lm.emb.0.weight", |i, x| if i >= len - 64 { 0.0 } else { x });
    }),
    ("the projection at a fifth", |t| t.floats("text_conditioner.output_proj.weight", |_, x| x * 0.2)),
    ("a norm at 0.7", |t| t.floats("lm.layers.1.norm1.weight", |_, x| x * 0.7)),
    ("a layer in bf16", layer_in_bf16),
];

/// The defects that `--reference` does not show at these bits: they change the states less than the codes do. `--against` shows
/// them. docs/instruct-musicgen.md lists them.
const HIDDEN_BY_BITS: &[(&str, &[&str])] = &[
    ("8", &[]),
    ("6", &["a norm's bias"]),
    ("5", &["a norm's bias", "the final norm's bias"]),
    ("4", &["a norm's bias", "the final norm's bias"]),
];

fn layer_in_bf16(t: &mut Tensors) {
    // The base is stored in f16, which a further rounding to f16 would not change.
    let name = "lm.layers.1.linear1.weight";
    if t.0[name].0 == Dtype::F32 {
        t.floats(name, |_, x| half::bf16::from_f32(x).to_f32());
    } else {
        t.floats("lm.layers.1.linear1.scales", |_, x| half::bf16::from_f32(x).to_f32());
    }
}

#[test]
fn honest_bundles_pass_with_every_part_compared() {
    let folder = TempDir::new().unwrap();
    for (kind, parts) in [(Kind::Plain, 14), (Kind::Instruct, 25)] {
        for names in ["mlx", "hf", "upstream"] {
            let bundle = kind.bundle(&folder, &format!("{kind:?}-{names}"), &["--dtype", "f32", "--names", names]);
            let (code, report) = report(&bundle, kind, &folder);
            assert_eq!(code, 0, "{report:#}");
            let comparison = &report["bundle"]["comparisons"][0];
            assert_eq!(comparison["parts"].as_array().unwrap().len(), parts, "{comparison:#}");
            let left_out = comparison["not_compared"].as_array().unwrap();
            assert_eq!(left_out.len(), usize::from(kind == Kind::Plain), "{left_out:?}");
        }
    }
}

#[test]
fn every_defect_of_the_weights_fails() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let weights = bundle.join("model.safetensors");
    let honest = std::fs::read(&weights).unwrap();
    // Read and written again without a change: the editor itself does no harm.
    Tensors::read(&weights).write(&weights);
    assert_eq!(verify(&bundle, Kind::Instruct, &[]).code, 0);
    let mut survivors = Vec::new();
    for (name, defect) in DEFECTS {
        std::fs::write(&weights, &honest).unwrap();
        let mut tensors = Tensors::read(&weights);
        defect(&mut tensors);
        tensors.write(&weights);
        let run = verify(&bundle, Kind::Instruct, &[]);
        assert!(run.code < 2, "{name}: {}", run.stderr);
        if run.code != 1 {
            survivors.push(*name);
        }
    }
    assert!(survivors.is_empty(), "passed: {survivors:?}");
    // Weights that are not finite are damage: an error that says so.
    std::fs::write(&weights, &honest).unwrap();
    let mut tensors = Tensors::read(&weights);
    tensors.floats("lm.layers.1.linear2.weight", |i, x| if i == 7 { f32::NAN } else { x });
    tensors.write(&weights);
    let run = verify(&bundle, Kind::Instruct, &[]);
    assert!(run.code > 0 && (run.stdout + &run.stderr).contains("finite"));
}

/// The defects at few bits: every one fails beside the floats, and beside PyTorch all but [`HIDDEN_BY_BITS`].
#[test]
fn every_defect_of_quantized_bundles_fails() {
    let folder = TempDir::new().unwrap();
    let exact = Kind::Instruct.bundle(&folder, "exact", &["--dtype", "f32"]);
    for (bits, hidden) in HIDDEN_BY_BITS {
        let bundle = Kind::Instruct.bundle(&folder, bits, &["--quantize", "--q-bits", bits]);
        let against = |bundle: &Path| runner::run("mert-verify", [text(bundle), "--against", text(&exact)]);
        let honest = against(&bundle);
        assert_eq!(honest.code, 0, "{}{}", honest.stdout, honest.stderr);
        assert!(
            honest.stdout.contains("lm.layers.*.norm1.weight") && honest.stdout.contains("encodec/"),
            "{}",
            honest.stdout
        );
        let weights = bundle.join("model.safetensors");
        let bytes = std::fs::read(&weights).unwrap();
        let (mut unseen, mut survivors) = (Vec::new(), Vec::new());
        for (name, defect) in DEFECTS {
            std::fs::write(&weights, &bytes).unwrap();
            let mut tensors = Tensors::read(&weights);
            defect(&mut tensors);
            tensors.write(&weights);
            if verify(&bundle, Kind::Instruct, &[]).code != 1 {
                unseen.push(*name);
            }
            if against(&bundle).code != 1 {
                survivors.push(*name);
            }
        }
        assert!(survivors.is_empty(), "{bits} bits, passed --against: {survivors:?}");
        // A layer's scales in bf16 change less than the codes.
        unseen.retain(|name| *name != "a layer in bf16");
        assert_eq!(unseen, *hidden, "{bits} bits, passed --reference");
        for alpha in ["4", "16"] {
            let options = ["--quantize", "--q-bits", bits, "--lora-alpha", alpha];
            let bundle = Kind::Instruct.bundle(&folder, &format!("{bits}-{alpha}"), &options);
            assert_eq!(against(&bundle).code, 1, "{bits} bits, alpha {alpha}");
            assert_eq!(verify(&bundle, Kind::Instruct, &[]).code, 1, "{bits} bits, alpha {alpha}");
        }
    }
}

#[test]
fn unquantized_parts_are_held_to_their_own_type() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--quantize", "--q-bits", "4"]);
    let (_, report) = report(&bundle, Kind::Plain, &folder);
    let parts = report["bundle"]["comparisons"][0]["parts"].as_array().unwrap();
    for name in ["cond", "hidden state 0", "hidden state 0 without the text"] {
        let part = parts.iter().find(|part| part["part"] == name).unwrap();
        assert_eq!(part["figures"][0]["limit"], 1e-6, "{part:#}");
    }
}

#[test]
fn parts_that_are_missing_fail_unless_allowed() {
    let folder = TempDir::new().unwrap();
    for part in ["t5", "encodec"] {
        let bundle = Kind::Plain.bundle(&folder, part, &["--dtype", "f32"]);
        let other = Kind::Plain.bundle(&folder, &format!("{part}-whole"), &["--dtype", "f32"]);
        std::fs::remove_dir_all(bundle.join(part)).unwrap();
        let run = verify(&bundle, Kind::Plain, &[]);
        assert!(run.code == 1 && run.stdout.contains(&format!("the bundle has no {part}/")), "{}", run.stdout);
        let run = runner::run("mert-verify", [text(&bundle), "--against", text(&other)]);
        assert!(run.code == 1 && run.stdout.contains(&format!("the bundle has no {part}/")), "{}", run.stdout);
        assert_eq!(verify(&bundle, Kind::Plain, &["--allow-missing", part]).code, 0);
        let run = verify(&bundle, Kind::Plain, &["--allow-missing", "t6"]);
        assert!(run.code == 2 && run.stderr.contains("expected t5 or encodec"), "{}", run.stderr);
    }
}

#[test]
fn another_tokenizer_fails() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let path = bundle.join("t5/tokenizer.json");
    let honest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // The pieces in another order: the same size, other numbers.
    let mut other = honest.clone();
    let pieces = other["model"]["vocab"].as_array_mut().unwrap();
    pieces[3..].reverse();
    std::fs::write(&path, other.to_string()).unwrap();
    let run = verify(&bundle, Kind::Plain, &[]);
    assert!(run.code == 1 && run.stdout.contains("FAIL text_ids"), "{}{}", run.stdout, run.stderr);
    // More pieces than the model has rows.
    let mut larger = honest;
    let pieces = larger["model"]["vocab"].as_array_mut().unwrap();
    pieces.extend((0..5000).map(|i| serde_json::json!([format!("piece{i}"), -20.0])));
    std::fs::write(&path, larger.to_string()).unwrap();
    let run = verify(&bundle, Kind::Plain, &[]);
    assert!(run.code == 2 && run.stderr.contains("expected at most `vocab_size`"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn messages_about_bundles_name_what_to_do() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let missing = folder.path().join("missing");
    let sound = folder.path().join("some.wav");
    std::fs::write(&sound, b"RIFF....WAVE").unwrap();
    let gate = folder.path().join("verify.yaml");
    std::fs::write(&gate, "models:\n- model: bundle\n  references: [r.npz]\n").unwrap();
    for (arguments, message) in [
        (&[text(&missing), "--against", text(&bundle)][..], "missing does not exist"),
        (&[text(folder.path()), "--against", text(&bundle)], "is not one: it has no config.json"),
        (&[text(&bundle), "--reference", text(&sound)], "expected an .npz"),
        (&[text(&bundle), "--against", text(&bundle), "--json", "-"], "reports are written to files"),
        (&["--config", text(&gate)], "mert-verify BUNDLE"),
    ] {
        let run = runner::run("mert-verify", arguments);
        assert!(run.code == 2 && run.stderr.contains(message), "{arguments:?}: {}", run.stderr);
    }
    // A folder of references.
    let references = folder.path().join("references");
    std::fs::create_dir(&references).unwrap();
    let of_folder = [text(&bundle), "--reference", text(&references)];
    let run = runner::run("mert-verify", of_folder);
    assert!(run.code == 2 && run.stderr.contains("holds no .npz file"), "{}", run.stderr);
    std::fs::copy(Kind::Plain.reference(), references.join("plain.npz")).unwrap();
    assert_eq!(runner::run("mert-verify", of_folder).code, 0);
}

#[test]
fn defects_of_the_conversion_fail() {
    let folder = TempDir::new().unwrap();
    // The checkpoint's LoRA has rank 4 and alpha 8.
    for alpha in ["4", "16"] {
        let bundle = Kind::Instruct.bundle(&folder, alpha, &["--dtype", "f32", "--lora-alpha", alpha]);
        assert_eq!(verify(&bundle, Kind::Instruct, &[]).code, 1, "alpha {alpha}");
    }
    // The other padding of EnCodec changes codes, and samples at the edges.
    let bundle = Kind::Instruct.bundle(&folder, "padding", &["--dtype", "f32"]);
    // Both files state it; where they differ, the bundle is not opened.
    for config in ["config.json", "encodec/config.json"].map(|file| bundle.join(file)) {
        let edited = std::fs::read_to_string(&config).unwrap().replace("\"constant\"", "\"reflect\"");
        assert!(edited.contains("\"reflect\""));
        std::fs::write(&config, edited).unwrap();
    }
    let (code, report) = report(&bundle, Kind::Instruct, &folder);
    assert_eq!(code, 1);
    assert!(
        figure(&report, "clip_wave", "at the start") > 1e-2 && figure(&report, "clip_codes", "differing codes") > 0.0
    );
}

#[test]
fn fewer_bits_diverge_more_and_stay_within_their_limits() {
    let folder = TempDir::new().unwrap();
    for kind in Kind::ALL {
        let exact = kind.bundle(&folder, &format!("{kind:?}-f16"), &["--dtype", "f16"]);
        let mut before = 0.0;
        let mut table = String::new();
        for (name, options) in [
            ("f16", &["--dtype", "f16"][..]),
            ("8", &["--quantize", "--q-bits", "8"]),
            ("6", &["--quantize", "--q-bits", "6"]),
            ("5", &["--quantize", "--q-bits", "5"]),
            ("4", &["--quantize", "--q-bits", "4"]),
        ] {
            let bundle = kind.bundle(&folder, &format!("{kind:?}-{name}-again"), options);
            let (code, report) = report(&bundle, kind, &folder);
            let kl = figure(&report, "logits", "kl");
            table += &format!("{name}: KL {kl:.2e}, NMSE {:.1e}\n", figure(&report, "logits", "nmse"));
            assert_eq!(code, 0, "{kind:?} {name}: {report:#}");
            assert!(kl > before, "{kind:?} {name}: {table}");
            before = kl;
            // The same bundle against the one in f16, on fixed codes.
            let run = runner::run("mert-verify", [text(&bundle), "--against", text(&exact)]);
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        }
        println!("{kind:?}\n{table}");
    }
}

#[test]
fn defects_of_codes_fail() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--quantize", "--q-bits", "4"]);
    let weights = bundle.join("model.safetensors");
    let honest = std::fs::read(&weights).unwrap();
    let exact = Kind::Instruct.bundle(&folder, "exact", &["--dtype", "f32"]);
    assert_eq!(runner::run("mert-verify", [text(&bundle), "--against", text(&exact)]).code, 0);
    let defects: &[Defect] = &[
        ("nibbles swapped", |t| {
            for (name, (dtype, _, data)) in &mut t.0 {
                if *dtype == Dtype::U32 && name.contains("self_attn") {
                    data.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
                }
            }
        }),
        ("one code of one group", |t| {
            t.0.get_mut("lm.layers.1.linear1.weight").unwrap().2[100] ^= 1;
        }),
        ("a scale rounded before coding", |t| {
            let scales = &mut t.0.get_mut("lm.layers.2.linear2.scales").unwrap().2;
            scales[0] ^= 1;
        }),
        ("scales and biases swapped", |t| {
            for i in 0..3 {
                let module = format!("lm.layers.{i}.linear2");
                t.swap(&format!("{module}.scales"), &format!("{module}.biases"));
            }
        }),
    ];
    for (defect, edit) in defects {
        std::fs::write(&weights, &honest).unwrap();
        let mut tensors = Tensors::read(&weights);
        edit(&mut tensors);
        tensors.write(&weights);
        let run = runner::run("mert-verify", [text(&bundle), "--against", text(&exact)]);
        assert_eq!(run.code, 1, "{defect}: {}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("FAIL codes, first in"), "{defect}: {}", run.stdout);
    }
    // Bits and groups whose shapes are the same: the width of the layer tells them apart.
    std::fs::write(&weights, &honest).unwrap();
    let config = bundle.join("config.json");
    let mut value: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    for key in ["quantization", "quantization_config"] {
        value[key]["bits"] = 8.into();
        value[key]["group_size"] = 32.into();
    }
    std::fs::write(&config, value.to_string()).unwrap();
    let run = verify(&bundle, Kind::Instruct, &[]);
    assert!(run.code == 2 && run.stderr.contains("expected"), "{}", run.stderr);
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let other = Kind::Instruct.bundle(&folder, "other", &["--dtype", "f32"]);
    let missing = folder.path().join("missing.npz");
    for (arguments, message) in [
        (&[text(&bundle)][..], "nothing to compare with"),
        (&[text(&bundle), "--reference", text(&missing)], "missing.npz"),
        (&[text(&bundle), "--against", text(&other)], "`decoder.num_hidden_layers` is 3, but 2 in"),
        (&[text(&bundle), "--against", text(&bundle), "--isolate"], "--isolate is for encoders"),
        (&[text(&bundle), "--against", text(&bundle), "--max-kl", "-1"], "expected a number from 0 to 100"),
        (&[text(&bundle), "--against", text(&bundle), "--layers", "9"], "9"),
    ] {
        let run = runner::run("mert-verify", arguments);
        assert!(run.code == 2 && run.stderr.contains(message), "{arguments:?}: {}", run.stderr);
    }
    // The codes of another model's reference are refused, or fail.
    let run = verify(&bundle, Kind::Instruct, &[]);
    assert!(run.code >= 1, "{}", run.stdout);
}
