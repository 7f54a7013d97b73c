//! The runtime as a library: its results, and the inputs and files that it refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "runtime/quantized.rs"]
mod quantized;

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use mert_runtime::{ConvertedFile, DeviceKind, Dtype, Error, Model, Workspace};
use mert_testkit::{ConvertedModel, fixture};

fn model_path() -> PathBuf {
    fixture("mert-tiny/model.safetensors")
}

fn model() -> Model {
    Model::open(&model_path(), Dtype::F32, &Device::Cpu).unwrap()
}

fn clip(samples: usize, seed: usize) -> Vec<f32> {
    (0..samples).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn inputs_that_cannot_be_run_are_errors() {
    let model = model();
    assert!(matches!(model.hidden_states(&[], &[0]), Err(Error::InputShape { .. })));
    let short = model.hidden_states(&clip(399, 1), &[0]).unwrap_err();
    assert!(matches!(short, Error::TooShort { samples: 399, needed: 400 }), "{short}");
    assert_eq!(model.hidden_states(&clip(400, 1), &[0]).unwrap()[0].dims(), [1, 1, 64]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut samples = clip(800, 1);
        samples[321] = bad;
        let error = model.hidden_states(&samples, &[0]).unwrap_err();
        assert!(matches!(error, Error::NotFinite { index: 321, .. }), "{error}");
    }
    for shape in [vec![1, 1, 800], vec![0, 800], vec![2, 0], vec![]] {
        let input = Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(model.forward(&input, &[0]), Err(Error::InputShape { .. })), "{:?}", input.dims());
    }
    for wanted in [&[13][..], &[], &[0, 99]] {
        let error = model.hidden_states(&clip(800, 1), wanted).unwrap_err();
        assert!(matches!(error, Error::HiddenState { last: 12, .. }), "{error}");
    }
}

#[test]
fn hidden_states_are_in_the_requested_order_and_do_not_depend_on_it() {
    let model = model();
    let samples = clip(4000, 1);
    let all = model.hidden_states(&samples, &(0..13).collect::<Vec<_>>()).unwrap();
    let some = model.hidden_states(&samples, &[12, 0, 6, 6]).unwrap();
    for (state, index) in some.iter().zip([12, 0, 6, 6]) {
        assert_eq!(values(state), values(&all[index]));
    }
    assert_eq!(some.len(), 4);
    assert_ne!(values(&all[6]), values(&all[7]));
}

#[test]
fn a_workspace_gives_each_hidden_state_once_in_ascending_order() {
    let samples = clip(4000, 1);
    // Both engines.
    for dtype in [Dtype::F32, Dtype::F16] {
        let model = Model::open(&model_path(), dtype, &Device::Cpu).unwrap();
        let expected = model.hidden_states(&samples, &[0, 6, 12]).unwrap();
        let mut got = Vec::new();
        let on_state = |index: usize, state: &[f32]| got.push((index, state.to_vec()));
        model.hidden_states_in(&mut Workspace::default(), &samples, &[12, 0, 6, 6], on_state).unwrap();
        assert_eq!(got.len(), 3);
        for ((index, state), (wanted, expected)) in got.iter().zip([0, 6, 12].into_iter().zip(&expected)) {
            assert_eq!(*index, wanted);
            assert_eq!(*state, values(&expected.to_dtype(candle_core::DType::F32).unwrap()), "{dtype:?}");
        }
    }
}

#[test]
fn a_workspace_refuses_invalid_input_with_the_same_errors() {
    let model = model();
    let mut not_finite = clip(800, 1);
    not_finite[321] = f32::NAN;
    let inputs = [vec![], clip(399, 1), not_finite, clip(800, 1)];
    for (samples, wanted) in inputs.iter().flat_map(|input| [&[0][..], &[13], &[], &[0, 99]].map(|w| (input, w))) {
        let result = model.hidden_states_in(&mut Workspace::default(), samples, wanted, |_, _| {});
        let got = result.err().map(|error| error.to_string());
        assert_eq!(got, model.hidden_states(samples, wanted).err().map(|error| error.to_string()));
    }
}

#[test]
fn a_batch_gives_what_its_clips_give_alone() {
    let model = model();
    let (a, b) = (clip(4000, 1), clip(4000, 2));
    let batch = Tensor::from_vec([a.clone(), b.clone()].concat(), (2, 4000), &Device::Cpu).unwrap();
    let both = model.forward(&batch, &[12]).unwrap().remove(0);
    for (i, clip) in [a, b].iter().enumerate() {
        let alone = model.hidden_states(clip, &[12]).unwrap().remove(0);
        assert_eq!(values(&both.get(i).unwrap()), values(&alone), "to the last bit");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let model = model();
    // Lengths that leave tiles, blocks and parts incomplete.
    for samples in [400, 4000, 13_579, 60_001] {
        let clip = clip(samples, 1);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let states = pool.install(|| model.hidden_states(&clip, &[0, 1, 12]).unwrap());
            states.iter().map(values).collect::<Vec<_>>()
        };
        let expected = run(1);
        for threads in [2, 3, 7, 16] {
            assert!(run(threads) == expected, "{threads} threads, {samples} samples");
        }
    }
}

#[test]
fn a_layer_alone_continues_the_ones_below() {
    let model = model();
    let states = model.hidden_states(&clip(4000, 1), &[4, 5]).unwrap();
    let alone = model.hidden_state_from_previous(5, &states[0]).unwrap();
    assert_eq!(values(&alone), values(&states[1]));
    for index in [0, 13] {
        assert!(matches!(model.hidden_state_from_previous(index, &states[0]), Err(Error::HiddenState { .. })));
    }
    let narrow = Tensor::zeros((1, 3, 7), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(matches!(model.hidden_state_from_previous(5, &narrow), Err(Error::Candle(_))));
}

#[test]
fn both_layouts_and_all_dtypes_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let samples = clip(4000, 1);
    let expected = values(&model().hidden_states(&samples, &[12]).unwrap()[0]);
    let mut converted = ConvertedModel::read(&model_path()).unwrap();
    for layout in [mert_arch::Layout::Mlx, mert_arch::Layout::Torch] {
        for dtype in [mert_arch::Dtype::F16, mert_arch::Dtype::F32, mert_arch::Dtype::Bf16] {
            converted.metadata.layout = layout;
            converted.metadata.dtype = dtype;
            converted.write(&path).unwrap();
            let model = Model::open(&path, Dtype::F32, &Device::Cpu).unwrap();
            let got = values(&model.hidden_states(&samples, &[12]).unwrap()[0]);
            match dtype {
                // f16 values in an f32 file are the same values.
                mert_arch::Dtype::F16 | mert_arch::Dtype::F32 => assert_eq!(got, expected, "{layout} {dtype}"),
                mert_arch::Dtype::Bf16 => assert_ne!(got, expected),
            }
        }
    }
}

#[test]
fn files_that_are_not_converted_models_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        ConvertedFile::open(&path).err().unwrap().to_string()
    };
    let good = std::fs::read(model_path()).unwrap();
    assert!(open(b"").contains("empty"));
    assert!(open(b"nonsense").contains("not a readable safetensors file"));
    for length in [good.len() - 1, 1000, 8] {
        let message = open(&good[..length]);
        assert!(message.contains("is an incomplete safetensors file"), "{message}");
        assert!(message.contains("copy or convert it again"), "{message}");
    }
    let checkpoints = ["mert-tiny/pytorch_model.bin", "containers/legacy.bin"];
    for checkpoint in checkpoints {
        let message = open(&std::fs::read(fixture(checkpoint)).unwrap());
        assert!(message.contains("is a PyTorch checkpoint; convert it with mert-convert first"), "{message}");
    }
    let plain = std::fs::read(fixture("containers/plain.safetensors")).unwrap();
    assert!(open(&plain).contains("convert the original checkpoint"));
    assert!(matches!(ConvertedFile::open(&folder.path().join("absent")), Err(Error::Open { .. })));

    // Metadata that promises another model than the tensors are.
    let mut converted = ConvertedModel::read(&model_path()).unwrap();
    converted.config().num_hidden_layers = 11;
    converted.write(&path).unwrap();
    let text = std::fs::read(&path).unwrap();
    let lie = String::from_utf8_lossy(&text[8..2000]).contains(r#"\"num_hidden_layers\":11"#);
    assert!(lie, "the header is JSON in JSON");
    let patched = replace(&text, br#"\"num_hidden_layers\":11"#, br#"\"num_hidden_layers\":12"#);
    assert!(open(&patched).contains("encoder.layers.11"), "{}", open(&patched));
    let patched = replace(&text, br#"\"num_hidden_layers\":11"#, br#"\"num_hidden_layers\":10"#);
    assert!(open(&patched).contains("is not part of the model"), "{}", open(&patched));
    let patched = replace(&text, br#""layout":"mlx""#, br#""layout":"mlz""#);
    assert!(open(&patched).contains("layout"), "{}", open(&patched));
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).expect("the text is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn devices_that_this_build_lacks_say_how_to_get_them() {
    for kind in [DeviceKind::Metal, DeviceKind::Cuda] {
        let built = match kind {
            DeviceKind::Metal => cfg!(feature = "metal"),
            _ => cfg!(feature = "cuda"),
        };
        if !built {
            let error = kind.open().unwrap_err().to_string();
            assert!(error.contains(&format!("--features {kind}")), "{error}");
        }
    }
}
