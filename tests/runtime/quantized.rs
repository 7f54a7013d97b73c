//! Quantized files in both engines, and what MLX saves: folders, shards, a dtype for each tensor.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device};
use mert_arch::{Quantization, QuantizationConfig, QuantizationMode, Role, StoredDtype};
use mert_runtime::{ConvertedFile, Dtype, Model};
use mert_testkit::{ConvertedModel, QuantizedModel};
use tempfile::TempDir;

use super::{clip, model_path, values};

const Q_PROJ: &str = "encoder.layers.0.attention.q_proj";
const K_PROJ: &str = "encoder.layers.0.attention.k_proj";
const V_PROJ: &str = "encoder.layers.0.attention.v_proj";
const OUTPUT_DENSE: &str = "encoder.layers.0.feed_forward.output_dense";

fn affine(bits: usize, group_size: usize) -> Quantization {
    Quantization::new(QuantizationMode::Affine, bits, group_size).unwrap()
}

/// The fixture with two layers and weights in this dtype.
fn model(dtype: Dtype) -> ConvertedModel {
    let mut model = ConvertedModel::read(&model_path()).unwrap();
    model.config().num_hidden_layers = 2;
    model.metadata.dtype = dtype;
    model
}

/// A quantization of every linear layer of `model` whose rows are whole groups, except those in `layers`.
fn config(
    model: &ConvertedModel,
    default: Quantization,
    layers: &[(&str, Option<Quantization>)],
) -> QuantizationConfig {
    let mut of_layer = BTreeMap::new();
    for spec in model.metadata.inventory().into_iter().filter(|spec| spec.role == Role::Linear) {
        if default.check_inputs(spec.shape[1]).is_err() {
            of_layer.insert(spec.name.strip_suffix(".weight").unwrap().to_string(), None);
        }
    }
    of_layer.extend(layers.iter().map(|(name, quantization)| ((*name).to_string(), *quantization)));
    QuantizationConfig { default, layers: of_layer }
}

/// Layers of all kinds of encodings, three of them in one joined product.
fn mixed(model: &ConvertedModel) -> QuantizationConfig {
    let mxfp8 = QuantizationMode::Mxfp8.default_quantization();
    let layers = [
        (Q_PROJ, Some(affine(8, 32))),
        (K_PROJ, Some(affine(3, 64))),
        (V_PROJ, None),
        (OUTPUT_DENSE, Some(affine(6, 128))),
        ("encoder.layers.1.feed_forward.output_dense", Some(mxfp8)),
    ];
    config(model, affine(4, 32), &layers)
}

fn hidden_states(path: &Path, dtype: Dtype) -> Vec<Vec<f32>> {
    let model = Model::open(path, dtype, &Device::Cpu).unwrap();
    let states = model.hidden_states(&clip(4000, 1), &[0, 1, 2]).unwrap();
    states.iter().map(|state| values(&state.to_dtype(DType::F32).unwrap())).collect()
}

/// The quantized file and the file of its values in f32.
fn write(folder: &TempDir, model: &ConvertedModel, config: QuantizationConfig) -> (QuantizedModel, ConvertedModel) {
    let (quantized, decoded) = QuantizedModel::new(model, config);
    quantized.write(&folder.path().join("quantized.safetensors")).unwrap();
    decoded.write(&folder.path().join("decoded.safetensors")).unwrap();
    (quantized, decoded)
}

/// The energy of the difference over that of the values.
fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    let error: f64 = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    error / expected.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>()
}

/// Both engines compute with the values that the codes stand for: the CPU engine, which decodes panel by panel, and candle's,
/// which decodes as it loads and rounds to its own dtype.
#[test]
fn every_encoding_runs_as_its_values_do() {
    let folder = tempfile::tempdir().unwrap();
    let (quantized, decoded) = (folder.path().join("quantized.safetensors"), folder.path().join("decoded.safetensors"));
    let f16 = model(Dtype::F16);
    let uniform = |model: &ConvertedModel, quantization| config(model, quantization, &[]);
    let mut cases =
        vec![(f16.clone(), mixed(&f16)), (model(Dtype::Bf16), mixed(&f16)), (model(Dtype::F32), mixed(&f16))];
    for bits in [2, 3, 4, 5, 6, 8] {
        cases.extend([32, 64, 128].map(|group| (f16.clone(), uniform(&f16, affine(bits, group)))));
    }
    for mode in &QuantizationMode::ALL[1..] {
        cases.push((f16.clone(), uniform(&f16, mode.default_quantization())));
    }
    let original = hidden_states(&model_path(), Dtype::F32);
    for (model, config) in cases {
        let name = format!("{} in {}", config.to_json(), model.metadata.dtype);
        let (_, of_values) = write(&folder, &model, config);
        for engine in [Dtype::F32, Dtype::F16] {
            for (found, expected) in hidden_states(&quantized, engine).iter().zip(hidden_states(&decoded, engine)) {
                // The same values in the same order. Only products of a scale in f32 and a code are not exact in f32, and
                // then some values are another f16.
                let limit = match (model.metadata.dtype, engine) {
                    (Dtype::F32, Dtype::F32) => 1e-12,
                    (Dtype::F32, _) => 1e-7,
                    _ => 0.0,
                };
                let error = nmse(found, &expected);
                assert!(error <= limit, "{name}, {engine} arithmetic: NMSE {error:e}");
            }
        }
        let file = ConvertedFile::open(&quantized).unwrap();
        let tensors = file.var_builder(Dtype::F32, &Device::Cpu);
        let tensor = values(&tensors.get((64, 64), &format!("{Q_PROJ}.weight")).unwrap());
        assert!(nmse(&tensor, &of_values.tensors[&format!("{Q_PROJ}.weight")].values) < 1e-13, "{name}");
        // The comparison is of other weights than those before quantization.
        assert!(nmse(&hidden_states(&quantized, Dtype::F32)[2], &original[2]) > 1e-8, "{name}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit_of_a_quantized_pass() {
    let folder = tempfile::tempdir().unwrap();
    let f16 = model(Dtype::F16);
    write(&folder, &f16, mixed(&f16));
    let model = Model::open(&folder.path().join("quantized.safetensors"), Dtype::F32, &Device::Cpu).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let states = pool.install(|| model.hidden_states(&clip(60_001, 1), &[0, 1, 2]).unwrap());
        states.iter().map(values).collect::<Vec<_>>()
    };
    let expected = run(1);
    for threads in [2, 5] {
        assert!(run(threads) == expected, "{threads} threads");
    }
}

/// Files without this toolkit's metadata: in one file or in shards, with floats of several types.
#[test]
fn folders_that_mlx_saves_run_without_a_dtype() {
    let folder = tempfile::tempdir().unwrap();
    let f16 = model(Dtype::F16);
    let (mut quantized, _) = write(&folder, &f16, mixed(&f16));
    let expected = hidden_states(&folder.path().join("quantized.safetensors"), Dtype::F32);
    // Norms in f32 and a bias in bf16 beside the rest in f16: values that all three have.
    for (name, dtype) in
        [("encoder.layer_norm.weight", StoredDtype::F32), (&format!("{Q_PROJ}.bias"), StoredDtype::Bf16)]
    {
        let stored = quantized.tensors.get_mut(name).unwrap();
        let size = if dtype == StoredDtype::F32 { 4 } else { 2 };
        let mut ones = vec![0; stored.shape[0] * size];
        // 1.0: 0x3f80 in the upper half of f32, and in bf16.
        ones.chunks_mut(size).for_each(|one| one[size - 2..].copy_from_slice(&[0x80, 0x3f]));
        (stored.dtype, stored.bytes) = (dtype, ones);
    }
    let mut ones = f16.clone();
    for name in ["encoder.layer_norm.weight".to_string(), format!("{Q_PROJ}.bias")] {
        ones.tensor(&name).values.fill(1.0);
    }
    write(&folder, &ones, mixed(&ones));
    let with_ones = hidden_states(&folder.path().join("quantized.safetensors"), Dtype::F32);
    assert_ne!(with_ones, expected);
    for shards in [1, 3] {
        let saved = folder.path().join(format!("mlx-{shards}"));
        quantized.write_mlx_folder(&saved, shards).unwrap();
        let weights = if shards == 1 { "model.safetensors" } else { "model.safetensors.index.json" };
        for path in [saved.clone(), saved.join(weights)] {
            assert_eq!(hidden_states(&path, Dtype::F32), with_ones, "{}", path.display());
        }
        let file = ConvertedFile::open(&saved).unwrap();
        assert_eq!((file.path(), file.files().len()), (saved.join(weights).as_path(), if shards == 1 { 2 } else { 5 }));
        let metadata = file.metadata();
        assert_eq!((metadata.dtype, metadata.source_sha256.as_str()), (Dtype::Bf16, ""));
        assert_eq!(metadata.quantization, quantized.metadata.quantization);
        assert!(metadata.assumed_preprocessor().unwrap().contains("do_normalize true"));
        std::fs::write(saved.join("preprocessor_config.json"), r#"{"do_normalize": false, "sampling_rate": 24000}"#)
            .unwrap();
        let file = ConvertedFile::open(&saved).unwrap();
        assert!(!file.metadata().preprocessor.do_normalize && file.metadata().assumed_preprocessor().is_none());
    }
}

/// As in mlx-lm, a layer that `config.json` does not name is quantized if the file has its scales.
#[test]
fn a_folder_need_not_name_the_layers_that_are_not_quantized() {
    let folder = tempfile::tempdir().unwrap();
    let f16 = model(Dtype::F16);
    let (mut quantized, _) = write(&folder, &f16, config(&f16, affine(4, 32), &[(V_PROJ, None)]));
    let config = quantized.metadata.quantization.clone();
    quantized.metadata.quantization.as_mut().unwrap().layers.clear();
    quantized.write_mlx_folder(&folder.path().join("mlx"), 1).unwrap();
    let file = ConvertedFile::open(&folder.path().join("mlx")).unwrap();
    assert_eq!(file.metadata().quantization, config);
}

#[test]
fn contradictions_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let f16 = model(Dtype::F16);
    let (good, _) = write(&folder, &f16, config(&f16, affine(4, 32), &[]));
    let path = folder.path().join("wrong.safetensors");
    let refused = |change: &dyn Fn(&mut QuantizedModel)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        wrong.write(&path).unwrap();
        ConvertedFile::open(&path).err().unwrap().to_string()
    };
    let set_default = |wrong: &mut QuantizedModel, bits, group| {
        wrong.metadata.quantization.as_mut().unwrap().default = affine(bits, group);
    };
    for (change, words) in [
        // These tensors would be 8 bits in groups of 16 for a row of half the length: only the configuration tells.
        (
            &(|wrong: &mut QuantizedModel| set_default(wrong, 8, 32)) as &dyn Fn(&mut QuantizedModel),
            "tensor `feature_projection.projection.weight` has shape [64, 4], expected [64, 8] for 8-bit g32 of [64, 32]",
        ),
        (
            &|wrong| {
                set_default(wrong, 4, 64);
                wrong
                    .metadata
                    .quantization
                    .as_mut()
                    .unwrap()
                    .layers
                    .insert("feature_projection.projection".into(), Some(affine(4, 32)));
            },
            "q_proj.scales` has shape [64, 2], expected [64, 1] for 4-bit g64 of [64, 64]",
        ),
        (&|wrong| set_default(wrong, 4, 64), "cannot be 4-bit g64: its last axis, 32"),
        (&|wrong| wrong.metadata.quantization = None, "has shape [64, 4], expected [64, 32]"),
        (
            &|wrong| {
                wrong.tensors.remove(&format!("{Q_PROJ}.biases"));
            },
            "tensor `encoder.layers.0.attention.q_proj.biases` is missing",
        ),
        (
            &|wrong| {
                wrong.tensors.get_mut(&format!("{Q_PROJ}.scales")).unwrap().dtype = StoredDtype::Bf16;
            },
            "q_proj.scales` has dtype BF16, expected F16 for 4-bit g32",
        ),
        (
            &|wrong| {
                let scales = wrong.tensors[&format!("{Q_PROJ}.scales")].clone();
                wrong.tensors.insert("encoder.layer_norm.scales".into(), scales);
            },
            "tensor `encoder.layer_norm.scales` is not part of the model",
        ),
        (
            &|wrong| {
                wrong.metadata.quantization.as_mut().unwrap().layers.insert("lm_head".into(), None);
            },
            "`lm_head` is not a linear layer",
        ),
    ] {
        let message = refused(change);
        assert!(message.contains(words), "{message}");
    }
    let bytes = std::fs::read(folder.path().join("quantized.safetensors")).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let message = ConvertedFile::open(&path).err().unwrap().to_string();
    assert!(message.contains("is an incomplete safetensors file"), "{message}");
}

#[test]
fn folders_that_contradict_themselves_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("mlx");
    let f16 = model(Dtype::F16);
    let (good, _) = write(&folder, &f16, config(&f16, affine(4, 32), &[]));
    let message = |change: &dyn Fn()| {
        let _ = std::fs::remove_dir_all(&saved);
        good.write_mlx_folder(&saved, 2).unwrap();
        change();
        ConvertedFile::open(&saved).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(message(&|| {}), "");
    let edit = |name: &str, from: &str, to: &str| {
        let path = saved.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name}: {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    };
    let (index, first) = ("model.safetensors.index.json", "model-00001-of-00002.safetensors");
    let named = format!(r#""quantization": {{"{Q_PROJ}": false,"#);
    let other = format!(r#""quantization": {{"{Q_PROJ}": {{"bits": 8, "group_size": 32}},"#);
    for (change, words) in [
        (
            &(|| std::fs::remove_file(saved.join("config.json")).unwrap()) as &dyn Fn(),
            "convert the original checkpoint",
        ),
        (&|| std::fs::remove_file(saved.join(first)).unwrap(), "cannot read"),
        (&|| std::fs::remove_file(saved.join(index)).unwrap(), "holds neither model.safetensors nor"),
        (&|| edit(index, first, "../model-00001-of-00002.safetensors"), "is not a plain file name"),
        (&|| edit(index, "weight_map", "weights"), "no object `weight_map`"),
        (
            &|| edit(index, &format!("\"{Q_PROJ}.biases\""), "\"x\""),
            "q_proj.biases` is in shard `model-00001-of-00002.safetensors`, where",
        ),
        (
            &|| edit(index, "{\n    \"", "{\n    \"a\": \"model-00002-of-00002.safetensors\",\n    \""),
            "tensor `a` is not in shard",
        ),
        (&|| edit("config.json", "\"quantization\": {", &named), "q_proj` is false, but the weights have"),
        (
            &|| edit("config.json", "\"quantization\": {", &other),
            "q_proj.weight` has shape [64, 8], expected [64, 16] for 8-bit g32",
        ),
        (&|| edit("config.json", "\"bits\": 4", "\"bits\": 7"), "no 7 bits"),
        (&|| edit("config.json", "\"affine\"", "\"fp4\""), "unknown quantization mode `fp4`"),
        (
            &|| edit("config.json", "\"hidden_size\": 64", "\"hidden_size\": 128"),
            "that its config.json describes: tensor",
        ),
        (&|| edit("config.json", "mert_model", "bert"), "bert"),
        (
            &|| std::fs::write(saved.join("preprocessor_config.json"), r#"{"sampling_rate": 16000}"#).unwrap(),
            "`sampling_rate` is 16000, but",
        ),
    ] {
        let message = message(change);
        assert!(message.contains(words), "{words}: {message}");
    }
    // Codes of another dtype, or scales that are no floats.
    let mut wrong = good.clone();
    wrong.tensors.get_mut(&format!("{Q_PROJ}.scales")).unwrap().dtype = StoredDtype::F32;
    wrong.tensors.get_mut(&format!("{Q_PROJ}.scales")).unwrap().bytes.extend([0; 256]);
    wrong.write_mlx_folder(&saved.join("x"), 1).unwrap();
    let error = ConvertedFile::open(&saved.join("x")).err().unwrap().to_string();
    assert!(error.contains("q_proj.biases` has dtype F16, expected F32 for 4-bit g32"), "{error}");
}
