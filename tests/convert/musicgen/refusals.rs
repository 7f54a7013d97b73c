//! What is refused: files of other kinds, tensors that do not fit, and options of encoders.

use super::*;

#[test]
fn files_of_other_kinds() {
    let scratch = Scratch::new();
    let ckpt = upstream("finetuned.ckpt");
    let path = |name: &str| upstream(name).to_str().unwrap().to_string();
    let option = |option: &str, value: &str, words: &[&str]| refused(&scratch, &ckpt, &[option, value], words);
    let pointer = ["only the name of a model", "facebook/encodec_32khz", "pointer_state_dict.bin"];
    option("--codec", &path("pointer_state_dict.bin"), &pointer);
    option("--codec", &path("t5"), &["--codec", "it is T5", "compression_state_dict.bin"]);
    option("--codec", &path("state_dict.bin"), &["it is MusicGen's language model of audiocraft"]);
    option("--t5", &path("compression_state_dict.bin"), &["--t5", "it is EnCodec", "t5-base"]);
    option("--base", &path("compression_state_dict.bin"), &["--base", "it is EnCodec", "state_dict.bin"]);
    option("--base", &path("finetuned.ckpt"), &["it is Instruct-MusicGen's checkpoint"]);
    option("--t5", fixture("mert-tiny/pytorch_model.bin").to_str().unwrap(), &["none of its tensors has a name"]);
    option("--codec", &path("none.bin"), &["cannot read", "none.bin"]);
    refused(
        &scratch,
        &upstream("compression_state_dict.bin"),
        &[],
        &["it is EnCodec, a part of a MusicGen", "--codec"],
    );
    refused(&scratch, &upstream("t5"), &[], &["it is T5, a part of a MusicGen", "--t5"]);
    refused(
        &scratch,
        &plain(),
        &["--base", &path("state_dict.bin")],
        &["--base is for Instruct-MusicGen's checkpoint"],
    );
    refused(&scratch, &plain(), &["--lora-alpha", "8"], &["--lora-alpha is about an adapter"]);
    // A T5 without its tokenizer.
    let t5 = scratch.path("t5");
    fs::create_dir(&t5).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(upstream("t5").join(name), t5.join(name)).unwrap();
    }
    option("--t5", t5.to_str().unwrap(), &["has no tokenizer.json", "texts cannot be encoded"]);
    let text = fs::read_to_string(t5.join("config.json")).unwrap();
    fs::write(t5.join("config.json"), text.replace("\"num_layers\": 2", "\"num_layers\": 1")).unwrap();
    fs::copy(upstream("t5/tokenizer.json"), t5.join("tokenizer.json")).unwrap();
    option("--t5", t5.to_str().unwrap(), &["unexpected tensor `encoder.block.1.layer"]);
}

/// The .ckpt has the mono model's four codebooks, to which a stereo base would add its other four.
#[test]
fn a_stereo_base_is_not_that_of_an_edit() {
    let scratch = Scratch::new();
    let base = scratch.path("stereo.bin");
    let mut tensors = checkpoint(&upstream("state_dict.bin"));
    for k in 0..CODEBOOKS {
        for table in ["emb", "linears"] {
            let own = tensors[&format!("{table}.{k}.weight")].clone();
            tensors.insert(format!("{table}.{}.weight", k + CODEBOOKS), own);
        }
    }
    let tensors: Vec<_> = tensors.into_iter().map(|(name, (shape, values))| (name, Tensor { shape, values })).collect();
    write_torch_zip(&base, &tensors).unwrap();
    let words = ["`decoder.num_codebooks` is 8", "Instruct-MusicGen edits mono", "but 4 by"];
    refused(&scratch, &upstream("finetuned.ckpt"), &["--base", base.to_str().unwrap()], &words);
    // By itself it is a stereo MusicGen.
    convert(&base, &scratch.path("bundle"), &["--set", "num_attention_heads=4"]);
    let decoder = config(&scratch.path("bundle"))["decoder"].clone();
    assert_eq!((&decoder["num_codebooks"], &decoder["audio_channels"]), (&8.into(), &2.into()));
}

/// An alpha of 0 removed the edit's training, and a negative one inverted it.
#[test]
fn an_alpha_is_positive_and_finite() {
    let scratch = Scratch::new();
    for alpha in ["-4", "0", "nan", "inf", "-0.0", "x"] {
        let words = ["--lora-alpha", "expected a positive, finite number"];
        refused(&scratch, &upstream("finetuned.ckpt"), &["--lora-alpha", alpha], &words);
    }
}

/// LoRA could be left out by a pattern, which gives the model before its training.
#[test]
fn tensors_of_the_model_are_not_left_out() {
    let scratch = Scratch::new();
    let pattern = format!("{}cross_attention.q_proj.lora_*", peft_layer(0));
    let words = ["--drop", "lora_A", "takes part in what the model computes"];
    refused(&scratch, &upstream("finetuned.ckpt"), &["--drop", &pattern], &words);
}

#[test]
fn tensors_that_do_not_fit() {
    let scratch = Scratch::new();
    let check = |change: &dyn Fn(&mut Values), words: &[&str]| {
        let path = changed(&scratch, |tensors| change(tensors));
        refused(&scratch, &path, &[], words);
    };
    let linear = format!("{}linear1.weight", peft_layer(0));
    let alias = "model.cp_transformer.layers.0.linear1.weight";
    check(
        &|tensors| {
            tensors.remove(&linear);
            tensors.remove(alias);
        },
        &["the shapes of the tensors", "lm.layers.0.linear1.weight"],
    );
    let norm = format!("{}norm_cross.bias", peft_layer(2));
    check(&|tensors| drop(tensors.remove(&norm)), &["missing tensor `transformer.layers.2.norm_cross.bias` [64]"]);
    check(
        &|tensors| drop(tensors.insert(format!("{LM}out_nrom.weight"), (vec![4], vec![0.0; 4]))),
        &["unexpected tensor `model.peft_model.lm.out_nrom.weight` [4]", "the nearest expected name is", "--drop"],
    );
    check(
        &|tensors| drop(tensors.insert("model.cp_transformer.gates".into(), (vec![4], vec![0.0; 4]))),
        &["model.cp_transformer.gates` has shape [4], expected [3]"],
    );
    let stacked = format!("{}self_attn.in_proj_weight", peft_layer(1));
    check(
        &|tensors| {
            let (shape, values) = tensors.get_mut(&stacked).unwrap();
            shape[0] -= 1;
            values.truncate(shape[0] * shape[1]);
            tensors.remove("model.cp_transformer.layers.1.self_attn.in_proj_weight");
        },
        &["has shape [191, 64], expected [192, 64]", "q, k and v, one above the other"],
    );
    let factor = format!("{}cross_attention.q_proj.lora_B.default.weight", peft_layer(0));
    check(&|tensors| drop(tensors.remove(&factor)), &["lora_A.default.weight`: there is no lora_B beside it"]);
    check(
        &|tensors| {
            let (shape, values) = tensors.get_mut(&factor).unwrap();
            shape[0] -= 1;
            values.truncate(shape[0] * shape[1]);
        },
        &["it is of a layer [63, 64]", "is [64, 64]"],
    );
    let second = format!("{}cross_attention.k_proj.base_layer.weight", peft_layer(0));
    check(
        &|tensors| drop(tensors.insert(second.clone(), (vec![WIDTH, WIDTH], vec![0.0; WIDTH * WIDTH]))),
        &["are the same tensor"],
    );
    // What is not the model's can be left out.
    let extra = changed(&scratch, |tensors| drop(tensors.insert("model.extra.weight".into(), (vec![1], vec![0.0]))));
    refused(&scratch, &extra, &[], &["unexpected tensor `model.extra.weight`"]);
    let printed = convert(&extra, &scratch.path("bundle"), &["--drop", "model.extra.*"]);
    assert!(printed.contains("model.extra.weight: left out with --drop"), "{printed}");
}

/// A NaN is found when half of the bundle may be written; nothing of it may stay.
#[test]
fn values_that_are_not_finite_leave_nothing_behind() {
    let scratch = Scratch::new();
    let key = format!("{}norm2.weight", peft_layer(2));
    let alias = "model.cp_transformer.layers.2.norm2.weight";
    let nan = changed(&scratch, |tensors| {
        for key in [key.as_str(), alias] {
            tensors.get_mut(key).unwrap().1[5] = f32::NAN;
        }
    });
    refused(&scratch, &nan, &["--quantize"], &["norm2.weight", "[5]"]);
}

#[test]
fn damaged_files() {
    let scratch = Scratch::new();
    let bytes = fs::read(upstream("finetuned.ckpt")).unwrap();
    let cut = scratch.write("cut.ckpt", &bytes[..bytes.len() / 2]);
    refused(&scratch, &cut, &[], &["cut.ckpt", "is not a checkpoint that can be read"]);
    // A bit of a weight: the archive has its checksum.
    let weight = &checkpoint(&upstream("finetuned.ckpt"))["model.cp_transformer.merge_linear.1.weight"].1;
    let start: Vec<u8> = weight[..16].iter().flat_map(|value| value.to_le_bytes()).collect();
    let at = bytes.windows(start.len()).position(|window| window == start).unwrap();
    let mut flipped = bytes.clone();
    flipped[at + 100] ^= 0x40;
    let flipped = scratch.write("flipped.ckpt", &flipped);
    refused(&scratch, &flipped, &[], &["the checksum of bytes", "damaged"]);
}

#[test]
fn options_of_encoders_and_of_musicgen() {
    let scratch = Scratch::new();
    for (options, word) in [
        (&["--layout", "mlx"][..], "--layout"),
        (&["--sampling-rate", "16000"], "--sampling-rate"),
        (&["--seconds", "5"], "--seconds"),
        (&["--for", "hf"], "--names hf"),
        (&["--set", "hidden_size=3"], "num_attention_heads, a whole number above 0"),
        (&["--set", "foo=8"], "the one field of a MusicGen"),
        (&["--set", "num_attention_heads=0"], "a whole number above 0"),
        (&["--set", "num_attention_heads=5"], "`decoder.num_attention_heads` is 5"),
        (&["--no-fidelity"], "--no-fidelity"),
        (&["--size", "1"], "cannot be as small as 1 byte:"),
        (&["--drop", "nosuch.*"], "--drop `nosuch.*` matches no tensor"),
        (&["--drop", "*"], "--drop `*` matches `decoder."),
        (&["--for", "mlx-examples", "--t5-dtype", "f32"], "--t5-dtype"),
        (&["--for", "mlx-examples", "--codec-dtype", "f32"], "--codec-dtype"),
    ] {
        refused(&scratch, &plain(), options, &[word]);
    }
    let encoder = fixture("mert-tiny/pytorch_model.bin");
    for options in [&["--names", "hf"][..], &["--for", "mlx-examples"], &["--t5", "x"]] {
        refused(&scratch, &encoder, options, &["is for MusicGen", options[0]]);
    }
    let run = mert_convert(&encoder, &scratch.path("model.safetensors"), &["--set", "foo=8"]);
    assert!(run.code == 2 && run.stderr.contains("unknown field `foo`: expected one of"), "{}", run.stderr);
    let run = mert_convert(&plain(), &scratch.path("model.safetensors"), &[]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("is written as a folder"), "{}", run.stderr);
}
