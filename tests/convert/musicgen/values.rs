//! The language model and the condition transformer in f32: every tensor against the checkpoint's, and the defects that a
//! conversion could have.

use super::*;

/// The rounding of f32 sums of magnitude 1 over a few terms.
const F32_SUM: f64 = 1e-6;

/// The cross-attention's projection as the .ckpt has it, with its LoRA if it has one.
fn cross(tensors: &Values, layer: usize, part: &str, scale: f64) -> Vec<f64> {
    let module = format!("{}cross_attention.{part}_proj", peft_layer(layer));
    let Some(base) = tensors.get(&format!("{module}.base_layer.weight")) else {
        return wide(&tensors[&format!("{module}.weight")].1);
    };
    let [a, b] = ["A", "B"].map(|factor| &tensors[&format!("{module}.lora_{factor}.default.weight")]);
    merged(&base.1, a, b, scale)
}

#[test]
fn every_tensor_of_the_language_model_is_the_checkpoint_s() {
    let scratch = Scratch::new();
    let bundle = scratch.path("bundle");
    convert_instruct(&bundle, &["--dtype", "f32"]);
    let found = written(&bundle.join("model.safetensors"));
    let source = checkpoint(&upstream("finetuned.ckpt"));
    let of = |name: &str| &found[name].1;
    let mut seen = 0;
    let mut same = |name: &str, key: &str| {
        assert_eq!(found[name], source[key], "{name}");
        seen += 1;
    };
    for k in 0..CODEBOOKS {
        same(&format!("lm.emb.{k}.weight"), &format!("{LM}emb.{k}.weight"));
        same(&format!("lm.linears.{k}.weight"), &format!("{LM}linears.{k}.weight"));
    }
    for part in ["weight", "bias"] {
        same(&format!("lm.out_norm.{part}"), &format!("{LM}out_norm.{part}"));
        let key = format!("{LM}condition_provider.conditioners.description.output_proj.{part}");
        same(&format!("text_conditioner.output_proj.{part}"), &key);
    }
    same("cp_transformer.pos_emb", "model.cp_transformer.pos_emb");
    same("cp_transformer.gates", "model.cp_transformer.gates");
    for i in 0..LAYERS {
        let (layer, peft) = (format!("lm.layers.{i}."), peft_layer(i));
        for norm in ["norm1", "norm_cross", "norm2"] {
            for part in ["weight", "bias"] {
                same(&format!("{layer}{norm}.{part}"), &format!("{peft}{norm}.{part}"));
            }
        }
        for name in ["linear1.weight", "linear2.weight", "self_attn.out_proj.weight"] {
            same(&format!("{layer}{name}"), &format!("{peft}{name}"));
        }
        same(&format!("{layer}cross_attn.out_proj.weight"), &format!("{peft}cross_attention.out_proj.weight"));
        let name = format!("cp_transformer.merge_linear.{i}.weight");
        same(&name, &format!("model.{name}"));
    }
    for i in 0..LAYERS {
        let stacked = &source[&format!("{}self_attn.in_proj_weight", peft_layer(i))];
        for (number, part) in ["q", "k", "v"].into_iter().enumerate() {
            let name = format!("lm.layers.{i}.self_attn.{part}_proj.weight");
            assert_eq!(*of(&name), third(stacked, number), "{name}");
            // The defects: another order of the thirds, and the weights apart that no forward pass reads.
            for other in (0..3).filter(|other| *other != number) {
                assert!(difference(of(&name), &wide(&third(stacked, other))) > 0.1, "{name}");
            }
            let apart = &source[&format!("{}self_attn.{part}_proj.weight", peft_layer(i))].1;
            assert!(difference(of(&name), &wide(apart)) > 0.1, "{name}");

            let name = format!("lm.layers.{i}.cross_attn.{part}_proj.weight");
            assert!(difference(of(&name), &cross(&source, i, part, 2.0)) < F32_SUM, "{name}");
            let stacked = &source[&format!("{}cross_attention.in_proj_weight", peft_layer(i))];
            assert!(difference(of(&name), &wide(&third(stacked, number))) > 0.1, "{name}");
            if part != "k" {
                for scale in [0.0, 1.0, 4.0] {
                    assert!(difference(of(&name), &cross(&source, i, part, scale)) > 0.1, "{name}: scale {scale}");
                }
            }
            seen += 2;
        }
    }
    assert_eq!(seen, found.len());
}

#[test]
fn plain_models_of_both_implementations() {
    let scratch = Scratch::new();
    let (of_audiocraft, of_transformers) = (scratch.path("audiocraft"), scratch.path("transformers"));
    convert(&upstream("state_dict.bin"), &of_audiocraft, &["--dtype", "f32"]);
    let (found, source) = (written(&of_audiocraft.join("model.safetensors")), checkpoint(&upstream("state_dict.bin")));
    for i in 0..LAYERS {
        for (ours, theirs) in [("self_attn", "self_attn"), ("cross_attn", "cross_attention")] {
            let stacked = &source[&format!("transformer.layers.{i}.{theirs}.in_proj_weight")];
            for (number, part) in ["q", "k", "v"].into_iter().enumerate() {
                assert_eq!(found[&format!("lm.layers.{i}.{ours}.{part}_proj.weight")].1, third(stacked, number));
            }
        }
    }
    assert!(found.keys().all(|name| !name.starts_with("cp_transformer.")));
    let fields = config(&of_audiocraft);
    assert_eq!((&fields["model_type"], &fields["decoder"]["num_attention_heads"]), (&"musicgen".into(), &4.into()));
    assert!(fields.get("instruct").is_none() && fields.get("cp_transformer").is_none());

    convert(&plain(), &of_transformers, &["--dtype", "f32"]);
    let (found, source) = (written(&of_transformers.join("model.safetensors")), checkpoint(&plain()));
    for i in 0..PLAIN_LAYERS {
        for (ours, theirs) in [
            ("self_attn.q_proj", "self_attn.q_proj"),
            ("cross_attn.v_proj", "encoder_attn.v_proj"),
            ("linear1", "fc1"),
            ("linear2", "fc2"),
            ("norm_cross", "encoder_attn_layer_norm"),
        ] {
            let key = format!("decoder.model.decoder.layers.{i}.{theirs}.weight");
            assert_eq!(found[&format!("lm.layers.{i}.{ours}.weight")], source[&key]);
        }
    }
    assert_eq!(found["text_conditioner.output_proj.weight"], source["enc_to_dec_proj.weight"]);
}

/// The published scale is alpha 64 at rank 32; the fixture has rank 4.
#[test]
fn alpha_is_the_user_s_or_twice_the_rank() {
    let scratch = Scratch::new();
    let weights = |name: &str, options: &[&str]| {
        let printed = convert_instruct(&scratch.path(name), options);
        (printed, fs::read(scratch.path(name).join("model.safetensors")).unwrap())
    };
    let (assumed, default) = weights("default", &[]);
    assert!(assumed.contains("scale 2 (assumed: alpha is twice the rank"), "{assumed}");
    let (stated, eight) = weights("eight", &["--lora-alpha", "8"]);
    assert!(stated.contains("scale 2 (--lora-alpha 8)"), "{stated}");
    assert!(default == eight);
    assert!(default != weights("four", &["--lora-alpha", "4"]).1);
}

/// A file of the adapter alone: the base model supplies the rest, but not the frozen projections.
#[test]
fn the_base_model_supplies_what_an_adapter_s_file_lacks() {
    let scratch = Scratch::new();
    let whole = scratch.path("whole");
    convert_instruct(&whole, &["--dtype", "f32"]);
    let is_adapter = |key: &str| {
        let frozen = key.contains(".cross_attention.") && !key.contains("in_proj") && !key.contains("out_proj");
        frozen || key.starts_with("model.cp_transformer.") && !key.contains(".layers.")
    };
    let alone = changed(&scratch, |tensors| tensors.retain(|key, _| is_adapter(key)));
    refused(&scratch, &alone, &[], &["--base is needed", "state_dict.bin"]);
    let base = upstream("state_dict.bin");
    let output = scratch.path("bundle");
    convert(&alone, &output, &["--base", base.to_str().unwrap(), "--dtype", "f32"]);
    let tensors = |bundle: &Path| written(&bundle.join("model.safetensors"));
    assert!(tensors(&output) == tensors(&whole));

    let without = changed(&scratch, |tensors| tensors.retain(|key, _| is_adapter(key) && !key.contains("k_proj")));
    let words = ["cross_attention.k_proj.weight", "--base cannot supply them", "frozen copies"];
    refused(&scratch, &without, &["--base", base.to_str().unwrap()], &words);
}

#[test]
fn layers_of_the_condition_transformer_are_those_of_the_language_model() {
    let scratch = Scratch::new();
    let alias = "model.cp_transformer.layers.1.linear1.weight";
    // Copies with the same values are left out, as shared storages are.
    let copied = changed(&scratch, |tensors| assert!(tensors.contains_key(alias)));
    let printed = convert(&copied, &scratch.path("copied"), &[]);
    assert!(printed.contains("the language model's layer under another name"), "{printed}");
    fs::remove_dir_all(scratch.path("copied")).unwrap();

    let differs = changed(&scratch, |tensors| tensors.get_mut(alias).unwrap().1[0] += 1.0);
    refused(&scratch, &differs, &[], &[alias, "are one tensor in the model that was trained", "differ here"]);
    let moved = changed(&scratch, |tensors| {
        tensors.remove(&format!("{}linear1.weight", peft_layer(1)));
    });
    convert(&moved, &scratch.path("moved"), &["--dtype", "f32"]);
    let found = written(&scratch.path("moved/model.safetensors"));
    assert_eq!(found["lm.layers.1.linear1.weight"], checkpoint(&upstream("finetuned.ckpt"))[alias]);
}

/// A LoRA of PEFT for a plain MusicGen, merged with the scale that its configuration states.
#[test]
fn an_adapter_of_peft_is_merged() {
    let scratch = Scratch::new();
    let adapter = scratch.path("adapter");
    fs::create_dir(&adapter).unwrap();
    let factor = |shape: [usize; 2], step: usize| {
        let values = (0..shape[0] * shape[1]).map(|i| ((i * step) % 17) as f32 / 17.0 - 0.4).collect::<Vec<f32>>();
        (shape.to_vec(), values)
    };
    let (a, b) = (factor([2, WIDTH], 5), factor([WIDTH, 2], 3));
    let module = "base_model.model.decoder.model.decoder.layers.1.self_attn.v_proj";
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (of_a, of_b) = (bytes(&a.1), bytes(&b.1));
    let view =
        |shape: &[usize], bytes| safetensors::tensor::TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
    let tensors = [
        (format!("{module}.lora_A.weight"), view(&a.0, &of_a)),
        (format!("{module}.lora_B.weight"), view(&b.0, &of_b)),
    ];
    let file = safetensors::serialize(tensors, None).unwrap();
    fs::write(adapter.join("adapter_model.safetensors"), file).unwrap();
    let json = r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["v_proj"]}"#;
    fs::write(adapter.join("adapter_config.json"), json).unwrap();
    let printed = convert(
        &plain(),
        &scratch.path("bundle"),
        &["--adapter", adapter.to_str().unwrap(), "--dtype", "f32", "--min-delta-kept", "0.9"],
    );
    assert!(printed.contains("PEFT adapter_model.safetensors: 1 weight, rank 2, scale 1.5"), "{printed}");
    let found = written(&scratch.path("bundle/model.safetensors"));
    let key = "decoder.model.decoder.layers.1.self_attn.v_proj.weight";
    let expected = merged(&checkpoint(&plain())[key].1, &a, &b, 1.5);
    assert!(difference(&found["lm.layers.1.self_attn.v_proj.weight"].1, &expected) < F32_SUM);
    assert!(config(&scratch.path("bundle"))["sources"]["adapter/adapter_model.safetensors"].is_string());
}
