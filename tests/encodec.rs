//! EnCodec on the tiny models of `fixtures/encodec-tiny`, beside what transformers computed, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use mert_encodec::{Encodec, EncodecError};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

/// The largest difference by the peak of the expected wave: some thirty layers in f32, computed in another order.
const TOLERANCE: f32 = 1e-5;

/// Frames on either end that the padding of a convolution reaches without the LSTM: see `a_mutant_shows`.
const EDGE: usize = 3;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/encodec-tiny")
}

/// The sound of `scripts/fixtures/make_encodec_t5.py`, from whole numbers.
fn sound(samples: i64) -> Vec<f32> {
    let square = |i: i64, rate: i64| i * rate / 16_000 % 2 * 2 - 1;
    let sample = |i: i64| {
        let noise = ((i * i % 65_537 * 7919 + i * 104_729) % 65_537 - 32_768) * (i % 3200);
        let noise = noise.div_euclid(3200).div_euclid(3);
        ((noise + square(i, 220) * 6000 + square(i, 1870) * 2000) as f64 / 32_768.0) as f32
    };
    (0..samples).map(sample).collect()
}

/// What transformers computed: codes by codebook, and waves.
struct Expected(Vec<u8>);

impl Expected {
    fn read(folder: &Path) -> Self {
        Expected(std::fs::read(folder.join("expected.safetensors")).unwrap())
    }

    fn codes(&self, name: &str) -> Vec<Vec<u32>> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.dtype(), Dtype::I32);
        let values: Vec<u32> = tensor.data().as_chunks().0.iter().map(|&c| i32::from_le_bytes(c) as u32).collect();
        values.chunks_exact(tensor.shape()[1]).map(<[u32]>::to_vec).collect()
    }

    fn wave(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        tensors.tensor(name).unwrap().data().as_chunks().0.iter().map(|&c| f32::from_le_bytes(c)).collect()
    }
}

/// The largest difference by the peak of `expected`.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let peak = expected.iter().fold(0.0f32, |peak, x| peak.max(x.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / peak
}

fn open(folder: &Path) -> Encodec {
    Encodec::open(folder, &Device::Cpu).unwrap()
}

/// A folder of a model with some fields or tensors changed.
struct Changed(TempDir);

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

impl Changed {
    fn new(model: &Path, field: Option<(&str, serde_json::Value)>, change: impl FnOnce(&mut Tensors)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(model.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some((name, value)) = field {
            config[name] = value;
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let bytes = std::fs::read(model.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let parts = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        let mut tensors: Tensors = tensors.iter().map(|(name, view)| (name.to_string(), parts(view))).collect();
        change(&mut tensors);
        let views = tensors
            .iter()
            .map(|(name, (dtype, shape, data))| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        Changed(folder)
    }

    fn field(name: &str, value: impl Into<serde_json::Value>) -> Self {
        Changed::new(&fixture(), Some((name, value.into())), |_| {})
    }

    fn open(&self) -> Result<Encodec, EncodecError> {
        Encodec::open(self.0.path(), &Device::Cpu)
    }
}

#[test]
fn codes_and_waves_are_those_of_transformers() {
    let expected = Expected::read(&fixture());
    for mode in ["reflect", "constant"] {
        let codec = Changed::field("pad_mode", mode).open().unwrap();
        let sounds = [("odd", 5003), ("multiple", 3200), ("one_more", 641), ("hundred", 100), ("one", 1)];
        let sounds = sounds.map(|(name, samples)| (name, sound(samples)));
        for (name, samples) in sounds.into_iter().chain([("silence", vec![0.0; 700])]) {
            let codes = codec.encode(&samples).unwrap();
            assert_eq!(codes, expected.codes(&format!("{mode}.{name}.codes")), "{mode}, {name}");
            assert_eq!(codes[0].len(), samples.len().div_ceil(640));
            let distance = distance(&codec.decode(&codes).unwrap(), &expected.wave(&format!("{mode}.{name}.wave")));
            assert!(distance <= TOLERANCE, "{mode}, {name}: {distance}");
        }
        let drawn = codec.decode(&expected.codes(&format!("{mode}.drawn.codes"))).unwrap();
        assert!(distance(&drawn, &expected.wave(&format!("{mode}.drawn.wave"))) <= TOLERANCE);
    }
}

/// A clip of 151 frames is computed in pieces, whose borders must not show.
#[test]
fn pieces_of_a_long_clip_do_not_show() {
    let (codec, expected) = (open(&fixture()), Expected::read(&fixture()));
    let codes = codec.encode(&sound(96_011)).unwrap();
    assert_eq!(codes, expected.codes("reflect.long.codes"));
    let wave: Vec<f32> = codec.decode(&codes).unwrap().into_iter().step_by(64).collect();
    assert!(distance(&wave, &expected.wave("reflect.long.wave")) <= TOLERANCE);
}

#[test]
fn mlxs_order_and_names_are_read() {
    let folder = fixture().join("mlx");
    let (codec, expected) = (open(&folder), Expected::read(&folder));
    let codes = codec.encode(&sound(5003)).unwrap();
    assert_eq!(codes, expected.codes("codes"));
    assert!(distance(&codec.decode(&codes).unwrap(), &expected.wave("wave")) <= TOLERANCE);
}

#[test]
fn shortcuts_and_dilations_are_computed() {
    let folder = fixture().join("shortcut");
    let (codec, expected) = (open(&folder), Expected::read(&folder));
    assert_eq!((codec.hop_length(), codec.num_quantizers(), codec.sampling_rate()), (10, 3, 32_000));
    let codes = codec.encode(&sound(1003)).unwrap();
    assert_eq!(codes, expected.codes("codes"));
    assert!(distance(&codec.decode(&codes).unwrap(), &expected.wave("wave")) <= TOLERANCE);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let codec = open(&fixture());
    let wave = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| codec.decode(&codec.encode(&sound(70_000)).unwrap()).unwrap())
    };
    assert_eq!(wave(1), wave(3));
}

/// With fewer codebooks the first ones count, as in `EncodecModel.decode`.
#[test]
fn first_codebooks_suffice() {
    let codec = open(&fixture());
    let codes = codec.encode(&sound(2000)).unwrap();
    let all = codec.decode(&codes).unwrap();
    let first = codec.decode(&codes[..2]).unwrap();
    assert_eq!(all.len(), first.len());
    assert!(distance(&first, &all) > 0.01);
}

/// Values of a tensor of the fixture, which is in float16.
fn permute_rows(tensors: &mut Tensors, part: &str, order: [usize; 4]) {
    for (name, (_, _, data)) in tensors.iter_mut().filter(|(name, _)| name.contains(part)) {
        let block = data.len() / 4;
        let permuted: Vec<u8> = order.iter().flat_map(|&gate| data[gate * block..][..block].to_vec()).collect();
        assert_ne!(*data, permuted, "{name}");
        *data = permuted;
    }
}

fn zero(tensors: &mut Tensors, part: &str) {
    tensors.iter_mut().filter(|(name, _)| name.contains(part)).for_each(|(_, (_, _, data))| data.fill(0));
}

/// Defects that readers of these checkpoints have had: each must be far outside the tolerance.
#[test]
fn mutants_show() {
    let expected = Expected::read(&fixture());
    let codes = expected.codes("reflect.odd.codes");
    let wave = expected.wave("reflect.odd.wave");
    type Mutant<'a> = (&'a str, &'a dyn Fn(&mut Tensors));
    let mutants: [Mutant<'_>; 5] = [
        ("gates in the order i, f, o, g", &|tensors| permute_rows(tensors, ".lstm.", [0, 1, 3, 2])),
        ("bias_ih only", &|tensors| zero(tensors, ".lstm.bias_hh")),
        ("bias_hh only", &|tensors| zero(tensors, ".lstm.bias_ih")),
        ("the second layer's recurrence lost", &|tensors| zero(tensors, ".lstm.weight_hh_l1")),
        ("the last codebook lost", &|tensors| zero(tensors, "quantizer.layers.3.codebook.embed")),
    ];
    for (what, change) in mutants {
        let codec = Changed::new(&fixture(), None, change).open().unwrap();
        let found = distance(&codec.decode(&codes).unwrap(), &wave);
        assert!(found > 100.0 * TOLERANCE, "{what}: {found}");
    }
    let codec = open(&fixture());
    // A transposed convolution that is not trimmed shifts the wave by half of what it should have cut.
    let found = codec.decode(&codes).unwrap();
    let shifted: Vec<f32> = found[2..].iter().chain(&found[..2]).copied().collect();
    assert!(distance(&shifted, &wave) > 100.0 * TOLERANCE);
}

/// The other `pad_mode` shows at the ends: a test of the middle would miss it, but for what the LSTM carries there.
#[test]
fn the_other_pad_mode_shows_at_the_ends() {
    let expected = Expected::read(&fixture());
    let codec = Changed::field("pad_mode", "constant").open().unwrap();
    let (codes, wave) = (expected.codes("reflect.odd.codes"), expected.wave("reflect.odd.wave"));
    assert_ne!(codec.encode(&sound(5003)).unwrap(), codes);
    let found = codec.decode(&codes).unwrap();
    let ends = EDGE * 640;
    assert!(distance(&found[..ends], &wave[..ends]) > 1000.0 * TOLERANCE);
    let last = found.len() - ends;
    assert!(distance(&found[last..], &wave[last..]) > 1000.0 * TOLERANCE);
}

#[test]
fn what_is_not_a_codec_is_refused_by_its_field_or_tensor() {
    for (field, value, words) in [
        ("use_causal_conv", serde_json::json!(true), "use_causal_conv"),
        ("pad_mode", serde_json::json!("circular"), "pad_mode"),
        ("num_filters", serde_json::json!(3), "encoder.layers.0.conv"),
        ("codebook_size", serde_json::json!(32), "codebook.embed` has shape [64, 16], expected [32, 16]"),
        ("target_bandwidths", serde_json::json!([1.5]), "`quantizer.layers.4.codebook.embed` is not in the codec's"),
        ("target_bandwidths", serde_json::json!([0.9]), "config.json does not describe, such as `quantizer.layers.3"),
        ("upsampling_ratios", serde_json::json!([8, 5, 4]), "tensor"),
        ("use_conv_shortcut", serde_json::json!(true), "shortcut"),
    ] {
        let error = Changed::field(field, value).open().err().unwrap().to_string();
        assert!(error.contains(words), "{field}: {error}");
    }
    let nan = Changed::new(&fixture(), None, |tensors| {
        let (_, _, data) = tensors.get_mut("decoder.layers.1.lstm.weight_hh_l0").unwrap();
        data[20..22].copy_from_slice(&[0, 0x7e]);
    });
    assert!(nan.open().err().unwrap().to_string().contains("weight_hh_l0` has the value NaN at 10"));
    let zero = Changed::new(&fixture(), None, |tensors| zero(tensors, "encoder.layers.0.conv.parametrizations"));
    assert!(matches!(zero.open(), Err(EncodecError::NotFinite { .. })));
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture().join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    assert!(matches!(Encodec::open(folder.path(), &Device::Cpu), Err(EncodecError::NoConfig { .. })));
    assert!(Encodec::open(&folder.path().join("absent"), &Device::Cpu).is_err());
}

#[test]
fn inputs_are_checked() {
    let codec = open(&fixture());
    assert!(matches!(codec.encode(&[]), Err(EncodecError::Empty { .. })));
    assert!(matches!(codec.encode(&[0.0, f32::NAN]), Err(EncodecError::Sample { index: 1, .. })));
    let decode = |codes: &[Vec<u32>]| codec.decode(codes).err().unwrap();
    assert!(matches!(decode(&[]), EncodecError::Codebooks { found: 0, expected: 4 }));
    assert!(matches!(decode(&vec![vec![0]; 5]), EncodecError::Codebooks { found: 5, .. }));
    assert!(matches!(decode(&[vec![]]), EncodecError::Empty { .. }));
    assert!(matches!(decode(&[vec![1, 2], vec![1]]), EncodecError::Frames { codebook: 1, found: 1, expected: 2 }));
    assert!(matches!(decode(&[vec![1, 64]]), EncodecError::Code { codebook: 0, frame: 1, code: 64, size: 64 }));
}
