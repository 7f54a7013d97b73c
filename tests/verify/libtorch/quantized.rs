//! Quantized files judged by libtorch on their original: the codes, tensor by tensor, and the hidden states.

use std::path::{Path, PathBuf};

use half::f16;
use mert_arch::{Dtype, Quantization, QuantizationMode};
use mert_checkpoint::{Source, read_f32};
use mert_convert::{Plan, PlanOptions, QuantizeOptions, write};
use mert_testkit::{FamilyFixture, RawFile, fixture};
use mert_verify::gate::{CompareOptions, ModelVerdict, Question};
use mert_verify::quantized::Codes;
use mert_verify::{Check, Original, Reference, Tolerances};
use tempfile::TempDir;

use crate::common::{arg, mert_verify};

fn convert(checkpoint: &Path, folder: &TempDir, dtype: Dtype, default: Quantization) -> PathBuf {
    let source = Source::open(checkpoint).unwrap();
    let quantize = Some(QuantizeOptions { default, ..Default::default() });
    let plan = Plan::new(&source, &PlanOptions { dtype, quantize, ..PlanOptions::default() }).unwrap();
    let output = folder.path().join("quantized.safetensors");
    write::safetensors(&plan, &source, &output, true, &|_| {}).unwrap();
    output
}

fn affine(bits: usize, group_size: usize) -> Quantization {
    Quantization::new(QuantizationMode::Affine, bits, group_size).unwrap()
}

/// The verdict by libtorch. What few bits cost a tiny model with sharp weights is allowed, with a reason.
fn judge(model: &Path, checkpoint: &Path, clip: &Path, codes: Option<Codes>) -> ModelVerdict {
    let tolerances: Tolerances = serde_json::from_str(
        r#"{"rounding": {"pooled_cosine": -1, "frame_cosine": -1, "nmse": 9, "max_abs_diff": 9, "below_floor": "tiny"}}"#,
    )
    .unwrap();
    let original = Original { path: checkpoint.into(), inputs: vec![clip.into()], ..Original::default() };
    let compare = CompareOptions { require_structure: true, tolerances, codes, ..CompareOptions::default() };
    let check = Check { model: model.into(), original: Some(original), compare, ..Check::default() };
    check.run().unwrap_or_else(|error| panic!("{}: {error}", model.display()))
}

fn structure_nmse(verdict: &ModelVerdict) -> f64 {
    let found = verdict.comparisons.iter().find(|comparison| comparison.question == Question::Structure).unwrap();
    found.layers.iter().map(|layer| layer.metrics.unwrap().nmse).fold(0.0, f64::max)
}

/// Each mode, and each type of the floats: the converter's codes are the judge's, and so are the hidden states.
#[test]
fn libtorch_computes_the_reference_of_quantized_files() {
    let folder = TempDir::new().unwrap();
    let (checkpoint, clip) = (fixture("mert-tiny/pytorch_model.bin"), fixture("mert-tiny/reference.npz"));
    let modes = QuantizationMode::ALL[1..].iter().map(|mode| mode.default_quantization());
    for (i, quantization) in [affine(2, 64), affine(3, 32), affine(8, 64)].into_iter().chain(modes).enumerate() {
        let dtype = Dtype::ALL[i % 3];
        let model = convert(&checkpoint, &folder, dtype, quantization);
        let verdict = judge(&model, &checkpoint, &clip, None);
        println!("{quantization} {dtype} | {:.1e}", structure_nmse(&verdict));
        assert!(verdict.passed() && verdict.structure_judged(), "{quantization} {dtype}: {verdict:#?}");
        let weights = verdict.weights.unwrap();
        let expected = if quantization.group_size == 64 { 72 } else { 73 };
        assert_eq!((weights.tensors, weights.different, weights.codes), (expected, 0, Codes::Exact));
    }
}

/// The families whose widths are whole groups, with linear layers of their own in the attention.
#[test]
fn libtorch_computes_the_reference_of_quantized_families() {
    let folder = TempDir::new().unwrap();
    for name in ["wav2vec2-heads-of-80", "wav2vec2-heads-of-120"] {
        let family = FamilyFixture::named(name);
        let checkpoint = family.checkpoint(folder.path()).unwrap();
        let quantization =
            if name.ends_with("80") { affine(4, 32) } else { QuantizationMode::Nvfp4.default_quantization() };
        let model = convert(&checkpoint, &folder, Dtype::F16, quantization);
        let verdict = judge(&model, &checkpoint, &family.reference(), None);
        assert!(verdict.passed() && verdict.structure_judged(), "{name}: {verdict:#?}");
        assert!(verdict.weights.unwrap().tensors >= 8);
    }
}

const LAYER: &str = "encoder.layers.4.attention.v_proj";

/// A wrong code is named by its tensor, row and column.
#[test]
fn a_wrong_code_is_named() {
    let folder = TempDir::new().unwrap();
    let (checkpoint, clip) = (fixture("mert-tiny/pytorch_model.bin"), fixture("mert-tiny/reference.npz"));
    let model = convert(&checkpoint, &folder, Dtype::F16, affine(4, 32));
    let mut file = RawFile::read(&model).unwrap();
    // Row 2 of 64 codes, column 10.
    let byte = &mut file.tensor(&format!("{LAYER}.weight")).bytes[2 * 32 + 5];
    *byte = if *byte & 15 >= 8 { *byte - 1 } else { *byte + 1 };
    file.write(&model).unwrap();
    for codes in [Codes::Exact, Codes::Nearest] {
        let verdict = judge(&model, &checkpoint, &clip, Some(codes));
        assert!(!verdict.passed());
        let weights = verdict.weights.as_ref().unwrap();
        assert_eq!((&weights.failed[..], weights.different), (&[format!("{LAYER}.weight")][..], 1));
        let failure = &verdict.failures[0];
        for words in ["v_proj.weight` (4-bit g32): 1 of 4096 values", "1 of them further", "at row 2 column 10"] {
            assert!(failure.contains(words), "{failure}");
        }
    }
}

/// A file with other codes for values near the middle between two, as a GPU computes: not those of the CPU, and near enough.
#[test]
fn codes_of_a_gpu_pass_where_the_user_says_so() {
    let folder = TempDir::new().unwrap();
    let (checkpoint, clip) = (fixture("mert-tiny/pytorch_model.bin"), fixture("mert-tiny/reference.npz"));
    let model = convert(&checkpoint, &folder, Dtype::F16, affine(4, 32));
    let mut file = RawFile::read(&model).unwrap();
    let before = file.clone();
    let source = Source::open(&checkpoint).unwrap();
    let stored = |bytes: &[u8], group: usize| f16::from_le_bytes([bytes[2 * group], bytes[2 * group + 1]]).to_f32();
    for name in before.tensors.keys().filter_map(|name| name.strip_suffix(".scales")) {
        let values = read_f32(source.checkpoint(), &format!("{name}.weight")).unwrap();
        let [scales, biases] = ["scales", "biases"].map(|part| &before.tensors[&format!("{name}.{part}")].bytes);
        let code = |(i, &value): (usize, &f32)| {
            // The stored scale and bias move the codes of values near the middle between two.
            let value = f16::from_f32(value).to_f32();
            ((value - stored(biases, i / 32)) / stored(scales, i / 32)).round().clamp(0.0, 15.0) as u8
        };
        let codes: Vec<u8> = values.iter().enumerate().map(code).collect();
        file.tensor(&format!("{name}.weight")).bytes = codes.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect();
    }
    assert_ne!(file, before);
    file.write(&model).unwrap();

    let verdict = judge(&model, &checkpoint, &clip, None);
    assert!(!verdict.passed() && structure_nmse(&verdict) > 1e-9);
    assert!(verdict.failures.iter().any(|failure| failure.contains("--codes nearest")), "{:?}", verdict.failures);
    let verdict = judge(&model, &checkpoint, &clip, Some(Codes::Nearest));
    assert!(verdict.passed() && structure_nmse(&verdict) < 1e-9, "{verdict:#?}");
    assert!(verdict.notes.iter().any(|note| note.contains("are not what mx.quantize makes")), "{:?}", verdict.notes);
}

/// A reference that was written for a quantized file judges its structure without libtorch, and that of no other encoding.
#[test]
fn a_reference_is_written_for_a_quantized_file() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("ref.npz");
    let (checkpoint, clip) = (fixture("mert-tiny/pytorch_model.bin"), fixture("mert-tiny/reference.npz"));
    let model = convert(&checkpoint, &folder, Dtype::F16, affine(8, 32));
    let args = ["reference", arg(&checkpoint), "--input", arg(&clip), "--output", arg(&output), "--like", arg(&model)];
    let (code, out, err) = mert_verify(&args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("hidden_states_f16_q8g32"), "{out}");
    assert_eq!(Reference::read(&output).unwrap().quantized.len(), 1);
    let gate = |model: &Path| mert_verify(&[arg(model), "--reference", arg(&output), "--require-structure"]);
    let (code, out, err) = gate(&model);
    assert_eq!(code, 0, "{out}{err}");
    let other = convert(&checkpoint, &folder, Dtype::F16, affine(8, 64));
    let (code, out, _) = gate(&other);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("hidden_states_f16_q8g64"), "{out}");
}

/// A GGUF file in `Q4_1` has the codes of MLX, and is judged as the safetensors file that has them.
#[test]
fn libtorch_judges_the_codes_of_gguf_files() {
    let folder = TempDir::new().unwrap();
    let (checkpoint, clip) = (fixture("mert-tiny/pytorch_model.bin"), fixture("mert-tiny/reference.npz"));
    let model = folder.path().join("q4_1.gguf");
    let options = ["--quantize", "--q-group-size", "32"];
    let run = mert_testkit::runner::run("mert-convert", [&[arg(&checkpoint), arg(&model)], &options[..]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let verdict = judge(&model, &checkpoint, &clip, None);
    assert!(verdict.passed() && verdict.structure_judged(), "{verdict:#?}");
    let weights = verdict.weights.unwrap();
    assert_eq!((weights.tensors, weights.different, weights.codes), (73, 0, Codes::Exact));

    // The first code of the first block, behind its scale and minimum.
    let content = candle_core::quantized::gguf_file::Content::read(&mut std::fs::File::open(&model).unwrap()).unwrap();
    let at = (content.tensor_data_offset + content.tensor_infos[&format!("{LAYER}.weight")].offset) as usize;
    let mut bytes = std::fs::read(&model).unwrap();
    bytes[at + 4] ^= 8;
    std::fs::write(&model, bytes).unwrap();
    let verdict = judge(&model, &checkpoint, &clip, None);
    let weights = verdict.weights.as_ref().unwrap();
    assert_eq!((&weights.failed[..], weights.different), (&[format!("{LAYER}.weight")][..], 1));
    assert!(!verdict.passed() && verdict.failures[0].contains("at row 0 column 0"), "{:?}", verdict.failures);
}
