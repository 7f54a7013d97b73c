//! Quantized bundles: codes within half a step of the merged weights, the modules that stay floats, and the configuration that
//! tells them apart.

use super::*;

/// The value of each code of an affine quantization, by its definition.
fn decode(bits: usize, group: usize, words: &[u8], scales: &[f32], biases: &[f32]) -> Vec<f64> {
    let bit = |at: usize| u32::from(words[at / 8] >> (at % 8) & 1);
    let code = |i: usize| (0..bits).map(|b| bit(i * bits + b) << b).sum::<u32>();
    let value = |i: usize| f64::from(scales[i / group]) * f64::from(code(i)) + f64::from(biases[i / group]);
    (0..words.len() * 8 / bits).map(value).collect()
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()
}

#[test]
fn codes_are_within_half_a_step_of_the_merged_weights() {
    let scratch = Scratch::new();
    let float = scratch.path("float");
    convert_instruct(&float, &["--dtype", "f32"]);
    let float = written(&float.join("model.safetensors"));
    for (bits, group) in [(4, 64), (8, 64), (4, 32), (6, 32)] {
        let name = format!("q{bits}-{group}");
        let options =
            ["--quantize", "--q-bits", &bits.to_string(), "--q-group-size", &group.to_string()].map(String::from);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let printed = convert_instruct(&scratch.path(&name), &options);
        assert!(printed.contains("delta kept   at least"), "{printed}");
        let bytes = fs::read(scratch.path(&name).join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut quantized = 0;
        for (name, (shape, values)) in &float {
            let view = file.tensor(name).unwrap();
            let module = name.strip_suffix(".weight").unwrap_or(name);
            let Ok(scales) = file.tensor(&format!("{module}.scales")) else {
                assert_eq!((view.dtype(), view.shape()), (Dtype::F16, &shape[..]), "{name}");
                let expected: Vec<f32> = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
                assert_eq!(halves(view.data()), expected, "{name}");
                continue;
            };
            quantized += 1;
            assert_eq!(view.dtype(), Dtype::U32);
            let (scales, biases) =
                (halves(scales.data()), halves(file.tensor(&format!("{module}.biases")).unwrap().data()));
            let decoded = decode(bits, group, view.data(), &scales, &biases);
            for (i, (&decoded, &value)) in decoded.iter().zip(values).enumerate() {
                // Half a step, and what f16 takes from the value, the scale and the bias. A scale is such that zero has a code, for
                // which the values at one end of a group are given up.
                let (scale, bias) = (f64::from(scales[i / group]), f64::from(biases[i / group]));
                let code = ((decoded - bias) / scale).round();
                let steps = if code == 0.0 || code == f64::from((1u32 << bits) - 1) { 1.0 } else { 0.5 };
                let rounding = f64::from(value).abs() + bias.abs() + scale.abs() * f64::from(1u32 << bits);
                let error = (decoded - f64::from(value)).abs();
                assert!(error <= steps * scale.abs() + rounding / 2048.0, "{name} [{i}]: {decoded} {value}");
            }
        }
        // q, k, v and out of two attentions, two linear layers and merge_linear.
        assert_eq!(quantized, LAYERS * 11);
        let fields = config(&scratch.path(&name));
        let quantization = &fields["quantization"];
        assert_eq!(*quantization, fields["quantization_config"]);
        assert_eq!(
            (&quantization["bits"], &quantization["group_size"], &quantization["mode"]),
            (&bits.into(), &group.into(), &"affine".into())
        );
        let expected = ["lm.emb.0", "lm.linears.3", "text_conditioner.output_proj"];
        assert!(expected.iter().all(|module| quantization[module] == false));
        assert_eq!(quantization.as_object().unwrap().len(), 3 + 2 * CODEBOOKS + 1);
    }
}

#[test]
fn layers_are_chosen_by_their_paths_and_listed_by_their_names_in_the_file() {
    let scratch = Scratch::new();
    let options = ["--quantize", "--q-skip", "*.cross_attn.*", "--names", "hf"];
    convert(&plain(), &scratch.path("bundle"), &options);
    let fields = config(&scratch.path("bundle"));
    let skipped = "decoder.model.decoder.layers.0.encoder_attn.q_proj";
    assert_eq!(fields["quantization"][skipped], false);
    assert!(fields["quantization"].get("decoder.model.decoder.layers.0.self_attn.q_proj").is_none());
    let names = written(&scratch.path("bundle/model.safetensors"));
    assert!(names.contains_key("decoder.model.decoder.layers.0.self_attn.q_proj.scales"));
    assert!(!names.contains_key(&format!("{skipped}.scales")));
    for (pattern, example) in [
        ("lm.linears.*", "such as lm.layers.0."),
        ("*.encoder_attn.*", "such as lm.layers.0."),
        ("nosuch", "such as lm.layers.0.self_attn.q_proj,"),
        ("lm.layers.1.liner2", "such as lm.layers.1.linear2,"),
    ] {
        let words = ["no linear layer of the model matches", example];
        refused(&scratch, &plain(), &["--quantize", "--q-skip", pattern], &words);
    }
    let run = mert_convert(&plain(), Path::new("--dry-run"), &["--quantize", "--q-group-size", "128"]);
    // Rows of 64 values have no groups of 128, those of linear2 have.
    assert!(run.stdout.contains("its last axis, 64, is not a multiple of the group size 128"), "{}", run.stdout);
    assert!(run.stdout.contains("a head, whose errors go into every token"), "{}", run.stdout);
    assert!(run.stdout.contains("3 files of weights, "), "{}", run.stdout);
}

/// Bundles in these modes were written, and nothing opened them.
#[test]
fn modes_that_no_bundle_has_are_refused() {
    let scratch = Scratch::new();
    for mode in ["mxfp4", "mxfp8", "nvfp4"] {
        let words = ["--q-mode", mode, "affine codes only"];
        refused(&scratch, &plain(), &["--quantize", "--q-mode", mode], &words);
    }
    convert(&plain(), &scratch.path("bundle"), &["--quantize", "--q-mode", "affine"]);
}
