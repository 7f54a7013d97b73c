//! CLAP's audio side on the tiny model of `fixtures/clap-tiny`, beside what transformers computed, and what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_clap::{ClapAudio, ClapError, Modes};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

/// Values of a vector of length 1, computed in f32 by both: transformers' own distance from f64 is 7e-8.
const TOLERANCE: f64 = 5e-7;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/clap-tiny")
}

/// The sound of `scripts/fixtures/clap_models.py`, from whole numbers.
fn formula(samples: i64) -> Vec<f32> {
    let square = |i: i64, rate: i64| i * rate / 24_000 % 2 * 2 - 1;
    let sample = |i: i64| {
        let noise = ((i * i * 7919 + i * 104_729) % 65_537 - 32_768) * (i % 4800);
        let noise = noise.div_euclid(4800).div_euclid(3);
        ((noise + square(i, 440) * 6000 + square(i, 3100) * 2000) as f64 / 32_768.0) as f32
    };
    (0..samples).map(sample).collect()
}

fn expected(name: &str) -> Vec<f64> {
    let bytes = std::fs::read(fixture().join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    match tensor.dtype() {
        Dtype::F32 => tensor.data().as_chunks().0.iter().map(|&c| f32::from_le_bytes(c).into()).collect(),
        _ => tensor.data().as_chunks().0.iter().map(|&c| f64::from_le_bytes(c)).collect(),
    }
}

/// The largest difference.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max)
}

#[test]
fn every_step_is_that_of_transformers() {
    let clap = ClapAudio::open(&fixture()).unwrap();
    assert!(clap.notes().is_empty(), "{:?}", clap.notes());
    for (name, samples) in [("full", 48_000), ("short", 20_011)] {
        let trace = clap.trace(&formula(samples)).unwrap();
        // Decibels down to -100 in f32, of which 8e-6 is the last bit; FFTs in f64 differ far below.
        assert!(distance(&trace.mel, &expected(&format!("{name}.mel"))) <= 2e-5);
        // Values of a few units after some twenty layers in f32.
        assert!(distance(&trace.pooled, &expected(&format!("{name}.pooled"))) <= 1e-5);
        assert!(distance(&trace.projected, &expected(&format!("{name}.projected"))) <= 1e-5);
        assert!(distance(&trace.vector, &expected(&format!("{name}.vector"))) <= TOLERANCE);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let vector = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| ClapAudio::open(&fixture()).unwrap().embed(&formula(30_000)).unwrap())
    };
    assert_eq!(vector(1), vector(3));
}

/// The fixture's model with some files or tensors changed.
struct Changed(TempDir);

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Changed {
    fn tensors(change: impl FnOnce(&mut Tensors)) -> Self {
        let bytes = std::fs::read(fixture().join("model.safetensors")).unwrap();
        let mut tensors: Tensors = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .filter(|(_, tensor)| tensor.dtype() == Dtype::F32)
            .map(|(name, tensor)| {
                let values = tensor.data().as_chunks().0.iter().map(|&c| f32::from_le_bytes(c)).collect();
                (name.to_string(), (tensor.shape().to_vec(), values))
            })
            .collect();
        change(&mut tensors);
        let bytes: BTreeMap<&str, (Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                (name.as_str(), (shape.clone(), values.iter().flat_map(|value| value.to_le_bytes()).collect()))
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, (shape, bytes))| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        let folder = Self::text("config.json", |text| text);
        std::fs::write(folder.0.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap())
            .unwrap();
        folder
    }

    fn text(file: &str, change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "preprocessor_config.json", "model.safetensors"] {
            std::fs::copy(fixture().join(name), folder.path().join(name)).unwrap();
        }
        let path = folder.path().join(file);
        let text = change(std::fs::read_to_string(&path).unwrap());
        std::fs::write(path, text).unwrap();
        Changed(folder)
    }

    fn open(&self) -> Result<ClapAudio, ClapError> {
        ClapAudio::open(self.0.path())
    }
}

/// A defect in the use of any tensor would be seen: each one, a tenth larger, moves the vector. Biases of keys do not: they
/// add the same to all scores of a query.
#[test]
fn every_tensor_shows_in_the_vector() {
    let names: Vec<String> = {
        let mut names = Vec::new();
        Changed::tensors(|tensors| names = tensors.keys().cloned().collect());
        names
    };
    assert!(names.len() > 80, "{}", names.len());
    let (sound, expected) = (formula(48_000), expected("full.vector"));
    for name in names {
        let changed = Changed::tensors(|tensors| {
            tensors.get_mut(&name).unwrap().1.iter_mut().for_each(|value| *value *= 1.1);
        });
        let moved = distance(&changed.open().unwrap().embed(&sound).unwrap(), &expected);
        let limit = if name.ends_with("self.key.bias") { 0.0..=TOLERANCE } else { 20.0 * TOLERANCE..=1.0 };
        assert!(limit.contains(&moved), "{name}: {moved:e}");
    }
}

#[test]
fn other_layouts_and_sizes_are_another_model() {
    let (sound, expected) = (formula(48_000), expected("full.vector"));
    let moved = |changed: Changed| distance(&changed.open().unwrap().embed(&sound).unwrap(), &expected);
    // Relative positions with rows and columns exchanged.
    let transposed = Changed::tensors(|tensors| {
        for (name, (shape, values)) in tensors.iter_mut().filter(|(name, _)| name.ends_with("bias_table")) {
            let (heads, from) = (shape[1], values.clone());
            assert_eq!(shape[0], 49, "{name}");
            for (row, column, head) in
                (0..7).flat_map(|row| (0..7).flat_map(move |column| (0..heads).map(move |head| (row, column, head))))
            {
                values[(row * 7 + column) * heads + head] = from[(column * 7 + row) * heads + head];
            }
        }
    });
    assert!(moved(transposed) > 100.0 * TOLERANCE);
    let plain_batch_norm = Changed::tensors(|tensors| {
        for (name, value) in [("running_mean", 0.0), ("running_var", 1.0), ("weight", 1.0), ("bias", 0.0)] {
            tensors.get_mut(&format!("audio_model.audio_encoder.batch_norm.{name}")).unwrap().1.fill(value);
        }
    });
    assert!(moved(plain_batch_norm) > 100.0 * TOLERANCE);
    let other_band =
        Changed::text("preprocessor_config.json", |text| text.replace("\"frequency_min\": 50", "\"frequency_min\": 0"));
    assert!(moved(other_band) > 100.0 * TOLERANCE);
}

#[test]
fn checkpoints_that_are_another_model_are_refused() {
    let error = |changed: Changed| changed.open().err().unwrap().to_string();
    let missing = error(Changed::tensors(|tensors| {
        let value = tensors.remove("audio_projection.linear2.bias").unwrap();
        tensors.insert("audio_projection.linear3.bias".into(), value);
    }));
    assert!(
        missing.contains("`audio_projection.linear2.bias` is not in the checkpoint (the nearest name is"),
        "{missing}"
    );
    let shape = error(Changed::tensors(|tensors| {
        tensors.get_mut("audio_projection.linear1.weight").unwrap().0 = vec![32, 24];
    }));
    assert!(shape.contains("has shape [32, 24], expected [24, 32]"), "{shape}");
    let more = error(Changed::tensors(|tensors| {
        let value = tensors["audio_projection.linear1.bias"].clone();
        tensors.insert("audio_model.audio_encoder.layers.2.blocks.1.layernorm_before.bias".into(), value);
    }));
    assert!(more.contains("1 tensors") && more.contains("layers.2.blocks.1"), "{more}");
    let fused =
        error(Changed::text("config.json", |text| text.replace("\"enable_fusion\": false", "\"enable_fusion\": true")));
    assert!(fused.contains("unfused"), "{fused}");
    let long = error(Changed::text("preprocessor_config.json", |text| {
        text.replace("\"max_length_s\": 1", "\"max_length_s\": 2")
    }));
    assert!(long.contains("max_length_s is 2, expected a window of at most 128 frames"), "{long}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture().join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    assert!(matches!(ClapAudio::open(folder.path()), Err(ClapError::NoConfig { .. })));
    // A NaN before the ReLU of the projection would vanish in it.
    let nan = error(Changed::tensors(|tensors| {
        tensors.get_mut("audio_projection.linear1.bias").unwrap().1[3] = f32::NAN;
    }));
    assert!(nan.contains("`audio_projection.linear1.bias` has the value NaN at 3"), "{nan}");
    let large = Changed::tensors(|tensors| {
        tensors.get_mut("audio_model.audio_encoder.norm.weight").unwrap().1.fill(3e38);
    });
    assert!(matches!(large.open().unwrap().embed(&formula(1000)), Err(ClapError::NoDirection)));
}

#[test]
fn modes_belong_to_their_checkpoint() {
    let modes = Modes::read(&fixture().join("modes.json")).unwrap();
    assert_eq!(modes.names().collect::<Vec<_>>(), ["bright", "dark", "still"]);
    let clap = ClapAudio::open(&fixture()).unwrap();
    modes.check_checkpoint(clap.sha256()).unwrap();
    let other = Changed::tensors(|tensors| tensors.values_mut().for_each(|(_, values)| values[0] += 0.1));
    let error = modes.check_checkpoint(other.open().unwrap().sha256()).unwrap_err();
    assert!(matches!(error, ClapError::OtherCheckpoint { .. }), "{error}");
}
