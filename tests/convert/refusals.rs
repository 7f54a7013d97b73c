//! Checkpoints that `mert-convert` refuses for their contents: exit status 2, a message that names the tensor, nothing
//! written.

use mert_testkit::{Tensor, fixture, runner};

use crate::scratch::{Scratch, checkpoint};

fn named<'a>(tensors: &'a mut [(String, Tensor)], name: &str) -> &'a mut (String, Tensor) {
    tensors.iter_mut().find(|(n, _)| n == name).unwrap()
}

#[test]
fn the_unchanged_checkpoint_is_converted() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    scratch.convert(&input, &[]);
    assert_eq!(scratch.listing(), ["checkpoint.bin", "config.json", "out.safetensors"]);
}

#[test]
fn a_missing_tensor() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| t.retain(|(name, _)| name != "encoder.layers.1.attention.k_proj.bias"));
    scratch.refused(&input, &[], &["missing tensor `encoder.layers.1.attention.k_proj.bias` [32]"]);
}

#[test]
fn a_misspelt_tensor_is_both_missing_and_unexpected() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| named(t, "encoder.layer_norm.bias").0 = "encoder.layer_nrom.bias".into());
    let words = [
        "missing tensor `encoder.layer_norm.bias` [32] (the checkpoint has `encoder.layer_nrom.bias`)",
        "unexpected tensor `encoder.layer_nrom.bias` [32] (the nearest expected name is `encoder.layer_norm.bias`)",
        "cannot be left out",
    ];
    scratch.refused(&input, &[], &words);
}

#[test]
fn an_unexpected_tensor_unless_dropped() {
    let scratch = Scratch::new();
    let extra = ("probe.weight".to_string(), Tensor { shape: vec![2], values: vec![1.0, 2.0] });
    let input = checkpoint(&scratch, |t| t.push(extra));
    scratch.refused(&input, &[], &["unexpected tensor `probe.weight` [2]", "--drop probe.weight"]);
    scratch.refused(&input, &["--drop", "prob"], &["--drop `prob` matches no tensor"]);
    scratch.convert(&input, &["--drop", "probe.*"]);
}

#[test]
fn a_misshapen_tensor() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| named(t, "feature_projection.projection.weight").1.shape = vec![16, 32]);
    let words = ["tensor `feature_projection.projection.weight` has shape [16, 32], expected [32, 16]"];
    scratch.refused(&input, &[], &words);
}

#[test]
fn a_conv_weight_in_mlx_layout() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| {
        let tensor = &mut named(t, "feature_extractor.conv_layers.0.conv.weight").1;
        *tensor = tensor.swap_last_axes();
    });
    scratch.refused(&input, &[], &["conv_layers.0.conv.weight", "last two axes are swapped", "MLX"]);
}

/// One magnitude per output channel is `weight_norm(conv)` without `dim=2`, which is another model.
#[test]
fn a_weight_norm_over_other_dimensions() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| {
        named(t, "encoder.pos_conv_embed.conv.weight_g").1 = Tensor { shape: vec![32, 1, 1], values: vec![1.0; 32] };
    });
    scratch.refused(&input, &[], &["weight_g", "[32, 1, 1]", "[1, 1, 16]", "dim 2"]);
}

#[test]
fn nan_and_infinity() {
    for (value, text) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        for name in ["encoder.layers.0.final_layer_norm.weight", "encoder.pos_conv_embed.conv.weight_v"] {
            let scratch = Scratch::new();
            let input = checkpoint(&scratch, |t| named(t, name).1.values[5] = value);
            for dtype in ["f16", "f32"] {
                scratch.refused(&input, &["--dtype", dtype], &[name, &format!("holds {text} at index")]);
            }
        }
    }
}

#[test]
fn a_zero_weight_norm() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |t| {
        let v = &mut named(t, "encoder.pos_conv_embed.conv.weight_v").1.values;
        v.iter_mut().skip(3).step_by(16).for_each(|value| *value = 0.0);
    });
    scratch.refused(&input, &[], &["weight_v", "tap 3"]);
}

#[test]
fn a_value_that_overflows_f16() {
    let scratch = Scratch::new();
    let name = "encoder.layers.1.feed_forward.output_dense.weight";
    let input = checkpoint(&scratch, |t| named(t, name).1.values[65] = 7e4);
    scratch.refused(&input, &[], &[name, "7e4", "[1, 1]", "overflows f16", "--dtype bf16"]);
    scratch.convert(&input, &["--dtype", "bf16"]);
}

/// Of several defects, the first in the order of the output's names is reported, and within a tensor a NaN before an
/// overflow, on any number of threads.
#[test]
fn the_same_defect_is_reported_on_any_number_of_threads() {
    let scratch = Scratch::new();
    let first = "encoder.layers.0.feed_forward.intermediate_dense.weight";
    let input = checkpoint(&scratch, |t| {
        for name in [first, "encoder.layers.1.layer_norm.bias", "feature_projection.projection.bias"] {
            let values = &mut named(t, name).1.values;
            values[0] = 1e6;
            *values.last_mut().unwrap() = f32::NAN;
        }
        named(t, "encoder.layers.0.final_layer_norm.weight").1.values[1] = 1e6;
    });
    for threads in ["1", "2", "7"] {
        for _ in 0..10 {
            let words = [&format!("tensor `{first}` holds NaN") as &str];
            // `final_layer_norm` overflows and comes later than `feed_forward`.
            scratch.refused(&input, &["--threads", threads], &words);
        }
    }
}

#[test]
fn names_from_a_file_are_escaped() {
    let scratch = Scratch::new();
    let extra = ("\x1b]0;owned\x07probe".to_string(), Tensor { shape: vec![1], values: vec![1.0] });
    let input = checkpoint(&scratch, |t| t.push(extra));
    let words = ["\\u{1b}]0;owned\\u{7}probe", "a --drop pattern that ends in *"];
    scratch.refused(&input, &[], &words);
}

#[test]
fn two_models_in_one_checkpoint() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |tensors| {
        let twin: Vec<_> = tensors.iter().map(|(name, tensor)| (format!("teacher.{name}"), tensor.clone())).collect();
        tensors.iter_mut().for_each(|(name, _)| *name = format!("student.{name}"));
        tensors.extend(twin);
    });
    let out = scratch.path("out.safetensors");
    let command = |prefix: &str| format!("mert-convert {} {} --prefix {prefix}", input.display(), out.display());
    let (student, teacher) = (command("student."), command("teacher."));
    scratch.refused(&input, &[], &["more than one model", "`student.`, `teacher.`", &student, &teacher]);
    // One model is selected, the other is not converted.
    let run = runner::command("mert-convert").arg(&input).arg(&out).args(["--prefix", "student"]).assert();
    let output = String::from_utf8_lossy(&run.success().get_output().stdout).into_owned();
    assert!(output.contains("51 tensors: outside the prefix `student.`"), "{output}");
}

#[test]
fn two_spellings_at_once() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |tensors| {
        let fused = named(tensors, "encoder.pos_conv_embed.conv.weight_v").1.clone();
        tensors.push(("encoder.pos_conv_embed.conv.weight".into(), fused));
    });
    scratch.refused(&input, &[], &["weight twice", "weight_v", "encoder.pos_conv_embed.conv.weight`"]);
}

#[test]
fn configurations_that_do_not_fit() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    let config = std::fs::read_to_string(scratch.path("config.json")).unwrap();
    for (from, to, words) in [
        ("\"feature_extractor_cqt\": false", "\"feature_extractor_cqt\": true", &["config.json", "constant-Q"][..]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", &["missing tensor `encoder.layers.2.", "and 4 more"]),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", &["unexpected tensor `encoder.layers.1."]),
        ("\"intermediate_size\": 64", "\"intermediate_size\": 65", &["expected [65, 32]"]),
        ("{", "", &["config.json", "invalid configuration"]),
        ("\"model_type\"", "\"typo\"", &["config.json", "`model_type` is missing"]),
        ("\"hidden_size\": 32", "\"hidden_size\": null", &["config.json", "`hidden_size`"]),
        ("\"sample_rate\": 24000", "\"sample_rate\": 4294967295", &["`sample_rate` is 4294967295"]),
    ] {
        assert!(config.contains(from), "{from}");
        scratch.write("config.json", config.replacen(from, to, 1).as_bytes());
        scratch.refused(&input, &[], words);
    }
}

/// `--set` replaces a field that cannot be read; the message about an invalid value names the option.
#[test]
fn fields_that_are_set() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    let config = std::fs::read_to_string(scratch.path("config.json")).unwrap();
    scratch.refused(&input, &["--set", "num_attention_heads=5"], &["--set: `num_attention_heads` is 5"]);
    scratch.refused(&input, &["--set", "hidden_size=33"], &["--set: `num_attention_heads` is"]);
    scratch.write("config.json", config.replacen("\"hidden_size\": 32", "\"hidden_size\": NaN", 1).as_bytes());
    scratch.refused(&input, &[], &["config.json: ", "`hidden_size`", "NaN"]);
    scratch.refused(&input, &["--set", "num_attention_heads=2"], &["config.json: ", "`hidden_size`"]);
    scratch.convert(&input, &["--set", "hidden_size=32"]);
}

#[test]
fn a_dtype_that_is_not_a_float() {
    let scratch = Scratch::new();
    let name = "encoder.layer_norm.weight";
    let bytes = std::fs::read(fixture("containers/plain.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let doubled = vec![0u8; 32 * 8];
    let tensors: Vec<_> = file
        .iter()
        .map(|(n, tensor)| match n == name {
            true => (n, safetensors::tensor::TensorView::new(safetensors::Dtype::I64, vec![32], &doubled).unwrap()),
            false => (n, tensor),
        })
        .collect();
    let input = scratch.path("i64.safetensors");
    safetensors::serialize_to_file(tensors, None, &input).unwrap();
    std::fs::copy(fixture("containers/config.json"), scratch.path("config.json")).unwrap();
    scratch.refused(&input, &[], &[name, "dtype i64", "expected f32, f16, bf16 or f64"]);
}
