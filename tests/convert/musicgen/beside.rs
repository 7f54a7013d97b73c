//! T5 and the codec of a bundle: fused weights, the order of axes, sums of biases, configurations and the tokenizer.

use super::*;
use crate::scratch::listing;

/// The rounding of a product of f32 with a factor that was computed in f64, for values up to a few units.
const FUSED: f64 = 1e-6;

/// A convolution's weight g · v / ‖v‖ with a norm for each index of the first axis, in f64.
fn fused(g: &(Vec<usize>, Vec<f32>), v: &(Vec<usize>, Vec<f32>)) -> (Vec<usize>, Vec<f64>) {
    let slice = v.1.len() / v.0[0];
    let rows = v.1.chunks(slice).zip(&g.1);
    let scaled = rows.flat_map(|(row, &g)| {
        let norm = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        row.iter().map(move |&value| f64::from(value) * f64::from(g) / norm).collect::<Vec<f64>>()
    });
    (v.0.clone(), scaled.collect())
}

/// The tensor with its axes in another order.
fn permuted((shape, values): &(Vec<usize>, Vec<f64>), axes: [usize; 3]) -> (Vec<usize>, Vec<f64>) {
    let strides = [shape[1] * shape[2], shape[2], 1];
    let extents = axes.map(|axis| shape[axis]);
    let mut moved = Vec::new();
    for i in 0..extents[0] {
        for j in 0..extents[1] {
            for k in 0..extents[2] {
                moved.push(values[i * strides[axes[0]] + j * strides[axes[1]] + k * strides[axes[2]]]);
            }
        }
    }
    (extents.to_vec(), moved)
}

/// Compares the codec of a bundle with a checkpoint's. `transposed` are the decoder's layers of transposed convolutions.
#[track_caller]
fn check_codec(bundle: &Path, source: &Values, name_of: impl Fn(&str) -> String, spelling: [&str; 2]) {
    let found = written(&bundle.join("encodec/model.safetensors"));
    let get = |name: &str| &source[&name_of(name)];
    for (name, (shape, values)) in &found {
        if let Some((module, parameter)) = name.rsplit_once('.').filter(|(module, _)| module.contains(".lstm.")) {
            let (lstm, layer) = module.rsplit_once('.').unwrap();
            let torch = |part: &str| wide(&get(&format!("{lstm}.{part}_l{layer}")).1);
            let expected = match parameter {
                "Wx" => torch("weight_ih"),
                "Wh" => torch("weight_hh"),
                _ => torch("bias_ih").iter().zip(torch("bias_hh")).map(|(ih, hh)| ih + hh).collect(),
            };
            assert!(difference(values, &expected) < FUSED, "{name}");
        } else if let Some(module) = name.strip_suffix(".weight") {
            let weight = fused(get(&format!("{module}.{}", spelling[0])), get(&format!("{module}.{}", spelling[1])));
            let is_transposed = ["3", "6", "9", "12"].iter().any(|n| module == format!("decoder.layers.{n}.conv"));
            let (axes, wrong) = if is_transposed { ([1, 2, 0], [0, 2, 1]) } else { ([0, 2, 1], [1, 2, 0]) };
            let (expected_shape, expected) = permuted(&weight, axes);
            assert_eq!(*shape, expected_shape, "{name}");
            assert!(difference(values, &expected) < FUSED, "{name}");
            let (other_shape, other) = permuted(&weight, wrong);
            assert!(other_shape != *shape || difference(values, &other) > 1e-2, "{name}");
        } else {
            assert_eq!((shape, values), (&get(name).0, &get(name).1), "{name}");
        }
    }
    // 2 · (2 + 4 · 3) convolutions with biases, 2 · 2 LSTM layers of three tensors, and the codebooks.
    assert_eq!(found.len(), 2 * 28 + 12 + CODEBOOKS);
}

#[test]
fn the_codec_of_audiocraft() {
    let scratch = Scratch::new();
    convert_instruct(&scratch.path("bundle"), &[]);
    let source = checkpoint(&upstream("compression_state_dict.bin"));
    let name_of = |name: &str| {
        let is_transposed =
            ["3", "6", "9", "12"].iter().any(|n| name.starts_with(&format!("decoder.layers.{n}.conv.")));
        let conv = if is_transposed { ".convtr.convtr." } else { ".conv.conv." };
        let name = name.replacen(".layers.", ".model.", 1).replacen(".conv.", conv, 1);
        match name.strip_prefix("quantizer.model.") {
            Some(rest) => format!("quantizer.vq.layers.{}", rest.replacen(".codebook.", "._codebook.", 1)),
            None => name,
        }
    };
    check_codec(&scratch.path("bundle"), &source, name_of, ["weight_g", "weight_v"]);
    let of_codec = config(&scratch.path("bundle/encodec"));
    assert_eq!((&of_codec["pad_mode"], &of_codec["sampling_rate"]), (&"constant".into(), &32000.into()));
    let own = config(&scratch.path("bundle"));
    assert_eq!(own["audio_encoder"]["upsampling_ratios"], of_codec["upsampling_ratios"]);
    assert_eq!(own["audio_encoder"]["pad_mode"], "constant");
}

#[test]
fn the_codec_and_t5_of_transformers() {
    let scratch = Scratch::new();
    convert(&plain(), &scratch.path("bundle"), &[]);
    let source = checkpoint(&plain());
    let spelling = ["parametrizations.weight.original0", "parametrizations.weight.original1"];
    check_codec(&scratch.path("bundle"), &source, |name| format!("audio_encoder.{name}"), spelling);
    assert_eq!(config(&scratch.path("bundle/encodec"))["pad_mode"], "reflect");

    let found = written(&scratch.path("bundle/t5/model.safetensors"));
    for (name, (shape, values)) in &found {
        let (expected_shape, expected) = &source[&format!("text_encoder.{name}")];
        let expected: Vec<f32> = expected.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
        assert_eq!((shape, values), (expected_shape, &expected), "{name}");
    }
    assert_eq!(found.len(), 1 + 2 * 8 + 1 + 1);
    let read = |path: PathBuf| fs::read(path).unwrap();
    assert!(read(scratch.path("bundle/t5/tokenizer.json")) == read(plain().join("tokenizer.json")));
    assert_eq!(config(&scratch.path("bundle/t5"))["d_model"], 48);
}

/// Another T5 and another codec take the place of those in a MusicGen of transformers.
#[test]
fn files_of_options_replace_those_inside() {
    let scratch = Scratch::new();
    let files = all_files();
    let options: Vec<&str> = files[2..].iter().map(String::as_str).chain(["--t5-dtype", "f32"]).collect();
    let printed = convert(&plain(), &scratch.path("bundle"), &options);
    assert!(printed.contains("--codec takes its place") && printed.contains("--t5 takes its place"), "{printed}");
    let t5 = written(&scratch.path("bundle/t5/model.safetensors"));
    let source = checkpoint(&upstream("t5"));
    assert!(t5.iter().all(|(name, tensor)| source[name] == *tensor));
    assert_eq!(config(&scratch.path("bundle/encodec"))["pad_mode"], "constant");
    // A MusicGen of transformers has both for another model, too.
    let folder = plain();
    let folder = folder.to_str().unwrap();
    convert(&upstream("finetuned.ckpt"), &scratch.path("other"), &["--codec", folder, "--t5", folder]);
    assert_eq!(config(&scratch.path("other/encodec"))["pad_mode"], "reflect");
}

#[test]
fn what_is_missing_is_said() {
    let scratch = Scratch::new();
    let printed = convert(&upstream("finetuned.ckpt"), &scratch.path("bundle"), &[]);
    assert!(printed.contains("--t5") && printed.contains("--codec"), "{printed}");
    // Without a base model nothing states the number of heads.
    assert!(printed.contains("assumed    num_attention_heads 1: heads of 64 values"), "{printed}");
    assert_eq!(listing(&scratch.path("bundle")).len(), 4);
    let printed = convert(&upstream("finetuned.ckpt"), &scratch.path("set"), &["--set", "num_attention_heads=4"]);
    assert!(printed.contains("4 heads") && !printed.contains("assumed    "), "{printed}");
}

/// The sum of EnCodec's biases read as a LoRA, in a model without one.
#[test]
fn a_plan_names_a_lora_only_where_there_is_one() {
    let run = mert_convert(&plain(), Path::new("--dry-run"), &[]);
    assert_eq!(run.stdout.matches("sum of the two biases").count(), 4, "{}", run.stdout);
    assert!(!run.stdout.contains("LoRA"), "{}", run.stdout);
    let run = mert_convert(&plain(), Path::new("--dry-run"), &["--set", "num_attention_heads=1"]);
    assert!(run.stdout.contains(" 1 head,") && run.stdout.contains("heads by --set"), "{}", run.stdout);
}
