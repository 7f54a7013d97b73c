//! Defects of quantized files. The honest file passes the structure question against the judge's own quantization of the
//! original, every defect fails it.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_arch::{Dtype, Encoding, Layout, Metadata, Quantization, QuantizationMode};
use mert_checkpoint::{Source, read_f32};
use mert_convert::{Plan, PlanOptions, QuantizeOptions, write};
use mert_runtime::{DeviceKind, Model};
use mert_testkit::{ConvertedModel, RawFile, fixture};
use mert_verify::candidate::hidden_states;
use mert_verify::gate::{CompareOptions, ModelVerdict, Question};
use mert_verify::quantized::{PackedWeight, check_weight, decode, encode_decode, quantize_dequantize};
use mert_verify::{Check, ModelEncoding, Reference, Tolerances};
use ndarray::{Axis, stack};
use tempfile::TempDir;

use crate::common::{arg, convert, json, mert_verify};

/// The number of values of a group, and of levels of a code, in the file that the mutants are made of.
const GROUP: usize = 32;
const HIGHEST_CODE: f32 = 15.0;

/// The layer that most defects are put into.
const LAYER: &str = "encoder.layers.5.feed_forward.intermediate_dense";

/// A square one.
const SQUARE: &str = "encoder.layers.2.attention.out_proj";

/// A defect: its name, and the edit that makes it.
type QuantizedMutant = (&'static str, fn(&mut RawFile));

/// Defects of a file in 4 bits with groups of 32 and f16 scales.
const MUTANTS: &[QuantizedMutant] = &[
    ("nibbles swapped", |file| {
        for module in modules(file) {
            file.tensor(&weight(&module)).bytes.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
        }
    }),
    ("nibbles swapped in one layer", |file| {
        file.tensor(&weight(LAYER)).bytes.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
    }),
    ("words in big-endian order in one layer", |file| {
        file.tensor(&weight(LAYER)).bytes.chunks_mut(4).for_each(<[u8]>::reverse);
    }),
    ("scale and bias exchanged in one layer", |file| {
        let scales = file.tensor(&scales(LAYER)).bytes.clone();
        let old = std::mem::replace(&mut file.tensor(&biases(LAYER)).bytes, scales);
        file.tensor(&self::scales(LAYER)).bytes = old;
    }),
    ("groups off by one in one layer", |file| {
        for part in [scales(LAYER), biases(LAYER)] {
            file.tensor(&part).bytes.rotate_right(2);
        }
    }),
    ("values off by one against their groups", |file| {
        let values = original(LAYER);
        let codes: Vec<u8> = recoded(&values, Grid::code).2;
        let mut shifted = codes.clone();
        shifted.rotate_right(1);
        file.tensor(&weight(LAYER)).bytes = pack(&shifted);
    }),
    ("biases dropped in one layer", |file| file.tensor(&biases(LAYER)).bytes.fill(0)),
    ("scales of another layer", |file| {
        let other = scales("encoder.layers.6.feed_forward.intermediate_dense");
        file.tensor(&scales(LAYER)).bytes = file.tensor(&other).bytes.clone();
    }),
    ("scales rounded to bf16 in one layer", |file| {
        for value in file.tensor(&scales(LAYER)).bytes.chunks_mut(2) {
            let scale = f16::from_le_bytes([value[0], value[1]]).to_f32();
            value.copy_from_slice(&f16::from_f32(bf16::from_f32(scale).to_f32()).to_le_bytes());
        }
    }),
    ("scale and bias rounded before coding", |file| {
        recode_all(file, |grid, value| grid.rounded().code(value));
    }),
    ("scale and bias rounded before coding in one layer", |file| {
        recode(file, LAYER, &original(LAYER), |grid, value| grid.rounded().code(value));
    }),
    ("codes rounded down in one layer", |file| {
        recode(file, LAYER, &original(LAYER), |grid, value| {
            ((value - grid.bias) / grid.scale).floor().clamp(0.0, 15.0)
        });
    }),
    ("halves of a step rounded away from zero", |file| {
        recode_all(file, |grid, value| ((value - grid.bias) / grid.scale).round().clamp(0.0, HIGHEST_CODE));
    }),
    ("groups along the other axis in one layer", |file| {
        let values = original(SQUARE);
        let (scales_bytes, biases_bytes, codes) = recoded(&transposed(&values), Grid::code);
        let codes: Vec<u8> = transposed(&codes);
        file.tensor(&weight(SQUARE)).bytes = pack(&codes);
        file.tensor(&scales(SQUARE)).bytes = scales_bytes;
        file.tensor(&biases(SQUARE)).bytes = biases_bytes;
    }),
    ("one layer transposed", |file| recode(file, SQUARE, &transposed(&original(SQUARE)), Grid::code)),
    ("groups of 64 in one layer", |file| {
        let values = original(LAYER);
        let grids: Vec<Grid> = values.chunks(2 * GROUP).flat_map(|group| [Grid::of(group); 2]).collect();
        let codes: Vec<u8> = values.iter().enumerate().map(|(i, &v)| grids[i / GROUP].code(v) as u8).collect();
        file.tensor(&weight(LAYER)).bytes = pack(&codes);
        file.tensor(&scales(LAYER)).bytes =
            grids.iter().flat_map(|grid| f16::from_f32(grid.scale).to_le_bytes()).collect();
        file.tensor(&biases(LAYER)).bytes =
            grids.iter().flat_map(|grid| f16::from_f32(grid.bias).to_le_bytes()).collect();
    }),
    ("one layer of another file", |file| {
        // The same weights, saved in bf16 once.
        let values: Vec<f32> = original(LAYER).iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
        recode(file, LAYER, &values, Grid::code);
    }),
    ("one layer quantized twice", |file| {
        let mut values = original(LAYER);
        let quantization = Quantization::new(QuantizationMode::Affine, 4, GROUP).unwrap();
        quantize_dequantize(&mut values, quantization, Dtype::F16);
        encode_decode(&mut values, Encoding::Float(Dtype::F16));
        recode(file, LAYER, &values, Grid::code);
    }),
    ("the layer above in its place", |file| {
        for part in [weight, scales, biases] {
            let above = file.tensor(&part("encoder.layers.6.feed_forward.intermediate_dense")).bytes.clone();
            file.tensor(&part(LAYER)).bytes = above;
        }
    }),
    ("the last group of each row stale", |file| {
        let row = file.tensor(&weight(LAYER)).shape[1] * 4;
        for row in file.tensor(&weight(LAYER)).bytes.chunks_mut(row) {
            let (before, last) = row.split_at_mut(row.len() - GROUP / 2);
            last.copy_from_slice(&before[before.len() - GROUP / 2..]);
        }
    }),
    ("the last group of one row stale", |file| {
        let row = file.tensor(&weight(LAYER)).shape[1] * 4;
        let row = &mut file.tensor(&weight(LAYER)).bytes[..row];
        let (before, last) = row.split_at_mut(row.len() - GROUP / 2);
        last.copy_from_slice(&before[before.len() - GROUP / 2..]);
    }),
    ("one code off by one", |file| {
        let byte = &mut file.tensor(&weight(LAYER)).bytes[0];
        *byte = if *byte & 15 == 15 { *byte - 1 } else { *byte + 1 };
    }),
    ("bit 3 of one scale", |file| file.tensor(&scales(LAYER)).bytes[0] ^= 8),
    ("a scale that is not a number", |file| file.tensor(&scales(LAYER)).bytes[..2].copy_from_slice(&[0, 0x7e])),
];

fn weight(module: &str) -> String {
    format!("{module}.weight")
}

fn scales(module: &str) -> String {
    format!("{module}.scales")
}

fn biases(module: &str) -> String {
    format!("{module}.biases")
}

/// The modules that a file has quantized.
fn modules(file: &RawFile) -> Vec<String> {
    file.tensors.keys().filter_map(|name| name.strip_suffix(".scales")).map(str::to_string).collect()
}

/// The weight of a layer of the original, rounded to f16.
fn original(module: &str) -> Vec<f32> {
    let source = Source::open(&fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let values = read_f32(source.checkpoint(), &weight(module)).unwrap();
    values.iter().map(|&value| f16::from_f32(value).to_f32()).collect()
}

/// The scale and bias of a group, after MLX's `quantize`: a third implementation beside the converter's and the judge's, in which
/// a step can be changed.
#[derive(Clone, Copy)]
struct Grid {
    scale: f32,
    bias: f32,
}

impl Grid {
    fn of(group: &[f32]) -> Grid {
        let (min, max) = group.iter().fold((f32::MAX, f32::MIN), |(min, max), &value| (min.min(value), max.max(value)));
        let size = ((max - min) / HIGHEST_CODE).max(1e-7);
        let (edge, scale) = if min.abs() > max.abs() { (min, size) } else { (max, -size) };
        let zero = (edge / scale).round_ties_even();
        if zero == 0.0 { Grid { scale, bias: 0.0 } } else { Grid { scale: edge / zero, bias: edge } }
    }

    fn rounded(self) -> Grid {
        Grid { scale: f16::from_f32(self.scale).to_f32(), bias: f16::from_f32(self.bias).to_f32() }
    }

    fn code(self, value: f32) -> f32 {
        ((value - self.bias) / self.scale).round_ties_even().clamp(0.0, HIGHEST_CODE)
    }
}

/// The bytes of the scales and of the biases, and the codes.
fn recoded(values: &[f32], code: impl Fn(Grid, f32) -> f32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let grids: Vec<Grid> = values.chunks(GROUP).map(Grid::of).collect();
    let bytes =
        |part: fn(&Grid) -> f32| grids.iter().flat_map(|grid| f16::from_f32(part(grid)).to_le_bytes()).collect();
    let codes = values.iter().enumerate().map(|(i, &value)| code(grids[i / GROUP], value) as u8).collect();
    (bytes(|grid| grid.scale), bytes(|grid| grid.bias), codes)
}

/// Packs codes of 4 bits, the low half of a byte first.
fn pack(codes: &[u8]) -> Vec<u8> {
    codes.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect()
}

fn recode(file: &mut RawFile, module: &str, values: &[f32], code: impl Fn(Grid, f32) -> f32) {
    let (scales_bytes, biases_bytes, codes) = recoded(values, code);
    file.tensor(&weight(module)).bytes = pack(&codes);
    file.tensor(&scales(module)).bytes = scales_bytes;
    file.tensor(&biases(module)).bytes = biases_bytes;
}

fn recode_all(file: &mut RawFile, code: impl Fn(Grid, f32) -> f32 + Copy) {
    for module in modules(file) {
        recode(file, &module, &original(&module), code);
    }
}

/// The transpose of a square matrix.
fn transposed<T: Copy>(values: &[T]) -> Vec<T> {
    let width = values.len().isqrt();
    (0..values.len()).map(|i| values[i % width * width + i / width]).collect()
}

/// Converts `mert-tiny` with its linear layers quantized.
pub(super) fn convert_quantized(folder: &TempDir, options: QuantizeOptions, name: &str) -> PathBuf {
    let source = Source::open(&fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let options = PlanOptions { quantize: Some(options), ..PlanOptions::default() };
    let output = folder.path().join(format!("{name}.safetensors"));
    write::safetensors(&Plan::new(&source, &options).unwrap(), &source, &output, true, &|_| {}).unwrap();
    output
}

fn metadata(model: &Path) -> Metadata {
    let file = RawFile::read(model).unwrap();
    Metadata::from_lookup(|key| file.metadata.get(key).map(String::as_str)).unwrap()
}

/// A reference with the hidden states of `mert-tiny` whose weights the judge itself has quantized as the model's metadata says,
/// run as f32 weights.
pub(super) fn quantized_reference(folder: &TempDir, model: &Path) -> PathBuf {
    let encoding = ModelEncoding::of(&metadata(model));
    let mut weights =
        ConvertedModel::read(&convert(&fixture("mert-tiny/pytorch_model.bin"), folder, Dtype::F16, Layout::Mlx))
            .unwrap();
    for (name, tensor) in &mut weights.tensors {
        encode_decode(&mut tensor.values, encoding.of_tensor(name));
    }
    weights.metadata.dtype = Dtype::F32;
    let decoded = folder.path().join("decoded.safetensors");
    weights.write(&decoded).unwrap();
    let decoded = Model::open(&decoded, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();

    let mut reference = Reference::read(&fixture("mert-tiny/reference.npz")).unwrap();
    let all: Vec<usize> = (0..reference.hidden_states.dim().0).collect();
    let states = hidden_states(&decoded, &reference.input_values, &all).unwrap();
    let views: Vec<_> = states.values().map(|state| state.view()).collect();
    reference.quantized.insert(encoding.array_name(), stack(Axis(0), &views).unwrap());
    let path = folder.path().join("quantized.npz");
    reference.write(&path).unwrap();
    path
}

/// The verdict of a gate that asks for structure; what 4 bits cost a model with sharp weights is allowed, with a reason.
pub(super) fn judge(model: &Path, reference: &Path) -> Result<ModelVerdict, mert_verify::VerifyError> {
    let tolerances: Tolerances =
        serde_json::from_str(r#"{"rounding": {"pooled_cosine": 0.9, "below_floor": "sharp weights"}}"#).unwrap();
    Check {
        model: model.to_path_buf(),
        references: vec![reference.to_path_buf()],
        compare: CompareOptions { require_structure: true, tolerances, ..CompareOptions::default() },
        ..Check::default()
    }
    .run()
}

/// The numbers of weights and of values that are not what `mx.quantize` makes of the original, and of values further than half
/// a step from it, among the weights that differ from those of `honest`.
fn compare_codes(file: &RawFile, honest: Option<&RawFile>) -> [usize; 3] {
    let quantization = Quantization::new(QuantizationMode::Affine, 4, GROUP).unwrap();
    let encoding = Encoding::Quantized { quantization, float: Dtype::F16 };
    let mut found = [0; 3];
    for module in modules(file) {
        let is_same = |part: String| honest.is_some_and(|honest| honest.tensors[&part] == file.tensors[&part]);
        if [weight, scales, biases].into_iter().all(|part| is_same(part(&module))) {
            continue;
        }
        let [codes, scales, biases] = [weight, scales, biases].map(|part| &file.tensors[&part(&module)].bytes[..]);
        let values = decode(PackedWeight { codes, scales, biases, float: Dtype::F16 }, quantization).unwrap();
        let verdict = check_weight(&original(&module), &values, encoding);
        let counts = [usize::from(verdict.different > 0), verdict.different, verdict.far];
        (0..3).for_each(|i| found[i] += counts[i]);
    }
    found
}

/// The largest NMSE of the structure question, and whether it passed.
pub(super) fn structure(verdict: &ModelVerdict) -> (String, bool) {
    let found = verdict.comparisons.iter().find(|comparison| comparison.question == Question::Structure).unwrap();
    let nmse = found.layers.iter().map(|layer| Some(layer.metrics?.nmse).filter(|nmse| nmse.is_finite()));
    let worst = nmse.collect::<Option<Vec<f64>>>().map(|all| all.into_iter().fold(0.0, f64::max));
    (worst.map_or("not comparable".into(), |worst| format!("{worst:.1e}")), found.passed())
}

#[test]
fn every_quantized_mutant_fails_and_the_honest_file_passes() {
    let folder = TempDir::new().unwrap();
    let quantization = Quantization::new(QuantizationMode::Affine, 4, GROUP).unwrap();
    let honest = convert_quantized(&folder, QuantizeOptions { default: quantization, ..Default::default() }, "honest");
    let reference = quantized_reference(&folder, &honest);
    let verdict = judge(&honest, &reference).unwrap();
    assert!(verdict.passed() && verdict.structure_judged(), "{verdict:#?}");
    println!("nothing | {}", structure(&verdict).0);
    assert_eq!(compare_codes(&RawFile::read(&honest).unwrap(), None), [0; 3]);

    // The editor and the third implementation change nothing by themselves.
    let file = RawFile::read(&honest).unwrap();
    let mut again = file.clone();
    recode_all(&mut again, Grid::code);
    assert_eq!(again, file);

    let mutant = folder.path().join("mutant.safetensors");
    let mut survivors = Vec::new();
    for (name, mutate) in MUTANTS {
        let mut changed = file.clone();
        mutate(&mut changed);
        assert_ne!(changed, file, "{name} changes nothing");
        changed.write(&mutant).unwrap();
        let (nmse, passed) = structure(&judge(&mutant, &reference).unwrap());
        let [weights, different, far] = compare_codes(&changed, Some(&file));
        println!("{name} | {nmse} | {weights} | {different} | {far}");
        survivors.extend((passed || weights == 0).then_some(*name));
    }
    assert!(survivors.is_empty(), "{survivors:?}");
}

/// The configuration gives the length of a row, so that bits and groups that do not fit it are refused; those that fit name
/// another reference.
#[test]
fn bits_and_groups_that_are_not_the_files_are_refused() {
    let folder = TempDir::new().unwrap();
    let quantization = Quantization::new(QuantizationMode::Affine, 4, GROUP).unwrap();
    let honest = convert_quantized(&folder, QuantizeOptions { default: quantization, ..Default::default() }, "honest");
    let reference = quantized_reference(&folder, &honest);
    let mutant = folder.path().join("mutant.safetensors");
    for json in [
        r#"{"bits":2,"group_size":64}"#,
        r#"{"bits":8,"group_size":32}"#,
        r#"{"bits":4,"group_size":64}"#,
        r#"{"bits":4,"group_size":32,"mode":"mxfp4"}"#,
        r#"{"bits":4,"group_size":32,"encoder.layers.3.attention.q_proj":{"bits":8,"group_size":32}}"#,
        r#"{"bits":4,"group_size":32,"encoder.layers.3.attention.q_proj":false}"#,
    ] {
        let mut file = RawFile::read(&honest).unwrap();
        file.metadata.insert("quantization".into(), json.into());
        file.write(&mutant).unwrap();
        let error = judge(&mutant, &reference).unwrap_err().to_string();
        assert!(error.contains(".weight`") || error.contains(".scales`"), "{json}: {error}");
    }
}

/// Every mode, mixtures of bits, and layers left in floats, against the judge's own quantization.
#[test]
fn honest_files_of_every_encoding_have_the_judges_weights() {
    let folder = TempDir::new().unwrap();
    let affine = |bits, group_size| Quantization::new(QuantizationMode::Affine, bits, group_size).unwrap();
    let mut encodings: Vec<QuantizeOptions> =
        [affine(2, 32), affine(3, 64), affine(5, 32), affine(6, 64), affine(8, 128)]
            .into_iter()
            .chain(QuantizationMode::ALL[1..].iter().map(|mode| mode.default_quantization()))
            .map(|default| QuantizeOptions { default, ..Default::default() })
            .collect();
    encodings.push(QuantizeOptions {
        default: affine(4, 64),
        skip: vec!["feature_projection.*".into()],
        layers: [("encoder.layers.3.attention.k_proj".to_string(), Some(affine(8, 32)))].into(),
        ..Default::default()
    });
    for (i, options) in encodings.into_iter().enumerate() {
        let model = convert_quantized(&folder, options, &format!("honest-{i}"));
        let verdict = judge(&model, &quantized_reference(&folder, &model)).unwrap();
        let (nmse, passed) = structure(&verdict);
        println!("{} | {nmse}", verdict.encoding);
        assert!(passed, "{verdict:#?}");
        // Without the array of this encoding, the verdict names it.
        let verdict = judge(&model, &fixture("mert-tiny/reference.npz")).unwrap();
        let array = ModelEncoding::of(&metadata(&model)).array_name();
        assert!(!verdict.passed() && verdict.failures[0].contains(&array), "{:?}", verdict.failures);
    }
}

/// The pooled cosine's floor holds for every encoding: a file below it fails through the binary, with advice, unless a reason
/// is written.
#[test]
fn a_quantized_file_below_the_floor_fails_without_a_reason() {
    let folder = TempDir::new().unwrap();
    let model = convert_quantized(&folder, QuantizeOptions::default(), "honest");
    let reference = quantized_reference(&folder, &model);
    let report = folder.path().join("report.json");
    let args = [arg(&model), "--reference", arg(&reference), "--json", arg(&report)];
    let (code, out, _) = mert_verify(&args);
    assert_eq!(code, 1, "{out}");
    for words in ["4-bit g64 weights", "is not above 0.999000", "more bits", "--budget", "below_floor"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let found = &json(&report)["models"][0];
    assert_eq!((found["encoding"].as_str(), found["dtype"].as_str()), (Some("4-bit g64"), Some("f16")));
    assert_eq!(found["comparisons"][0]["question"], "structure");
    assert_eq!(found["comparisons"][0]["reference_weights"], "4-bit g64");

    let yaml = folder.path().join("verify.yaml");
    let gate = |reason: &str| {
        let (model, reference) = (model.display(), reference.display());
        let tolerance = format!("{{rounding: {{pooled_cosine: 0.9{reason}}}}}");
        let text = format!("models: [{{model: {model}, references: {reference}, tolerance: {tolerance}}}]");
        std::fs::write(&yaml, text).unwrap();
        mert_verify(&["--config", arg(&yaml)])
    };
    let (code, _, err) = gate("");
    assert_eq!(code, 2, "{err}");
    let (code, out, err) = gate(", below_floor: tiny demo model");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("A FLOOR IS LOWERED: tiny demo model"), "{out}");
}
