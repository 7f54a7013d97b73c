//! Files of other models beside an input that reads them, and files of a bundle that contradict each other.

use mert_testkit::runner;

use super::*;

/// The folder of plain MusicGen after a change of its `config.json`.
fn plain_with(scratch: &Scratch, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let folder = scratch.path(name);
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(plain()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    edit(&folder, change);
    folder
}

/// Changes the `config.json` of a folder.
fn edit(folder: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = config(folder);
    change(&mut value);
    fs::write(folder.join("config.json"), value.to_string()).unwrap();
}

/// A base of another size was accepted, and its number of heads taken.
#[test]
fn a_base_of_another_size_is_refused() {
    let scratch = Scratch::new();
    let ckpt = upstream("finetuned.ckpt");
    let plain = plain();
    let layers =
        ["--base", "`decoder.num_hidden_layers` is 2 by", "config.json", "but 3 by the tensors of", "finetuned.ckpt"];
    refused(&scratch, &ckpt, &["--base", plain.to_str().unwrap()], &layers);

    let narrow = plain_with(&scratch, "base32", |value| {
        for (field, size) in
            [("hidden_size", 32), ("num_attention_heads", 2), ("num_hidden_layers", 1), ("ffn_dim", 64)]
        {
            value["decoder"][field] = size.into();
        }
    });
    let words = [
        "`decoder.hidden_size` is 32 by",
        "base32/config.json, but 64 by the tensors of",
        "`decoder.num_hidden_layers` is 1 by",
        "`decoder.ffn_dim` is 64 by",
        "give the MusicGen that the .ckpt was trained from",
    ];
    refused(&scratch, &ckpt, &["--base", narrow.to_str().unwrap()], &words);

    let codes = plain_with(&scratch, "codes", |value| {
        for (field, size) in
            [("num_hidden_layers", 3), ("vocab_size", 128), ("bos_token_id", 128), ("pad_token_id", 128)]
        {
            value["decoder"][field] = size.into();
        }
        value["decoder"]["num_codebooks"] = 2.into();
    });
    let words = ["`decoder.vocab_size` is 128 by", "but 64 by", "`decoder.num_codebooks` is 2 by", "but 4 by"];
    refused(&scratch, &ckpt, &["--base", codes.to_str().unwrap()], &words);

    // Without any configuration, by the shapes alone.
    let base = scratch.path("short.bin");
    let tensors = checkpoint(&upstream("state_dict.bin")).into_iter();
    let tensors: Vec<_> = tensors
        .filter(|(name, _)| !name.contains("layers.2."))
        .map(|(name, (shape, values))| (name, Tensor { shape, values }))
        .collect();
    write_torch_zip(&base, &tensors).unwrap();
    let words = ["`decoder.num_hidden_layers` is 2 by the tensors of", "short.bin, but 3 by"];
    refused(&scratch, &ckpt, &["--base", base.to_str().unwrap()], &words);
}

/// A codec of another rate, or of fewer codebooks, was accepted.
#[test]
fn a_codec_of_another_model_is_refused() {
    let scratch = Scratch::new();
    let base = upstream("state_dict.bin");
    let instruct = |codec: &Path, words: &[&str]| {
        let options = ["--base", base.to_str().unwrap(), "--codec", codec.to_str().unwrap()];
        refused(&scratch, &upstream("finetuned.ckpt"), &options, words);
    };
    let slow = plain_with(&scratch, "slow", |value| value["audio_encoder"]["sampling_rate"] = 16000.into());
    let words = ["--codec", "`sampling_rate` is 16000 by", "slow, but 32000 by `audio_encoder` in", "config.json"];
    refused(&scratch, &plain(), &["--codec", slow.to_str().unwrap()], &words);
    instruct(&slow, &["`sampling_rate` is 16000 by", "but 32000 by `sample_rate` in the xp.cfg of", "state_dict.bin"]);

    let fast = plain_with(&scratch, "fast", |value| {
        value["audio_encoder"]["upsampling_ratios"] = serde_json::json!([8, 5, 4, 2]);
        value["audio_encoder"]["target_bandwidths"] = serde_json::json!([2.4]);
    });
    let words = ["`upsampling_ratios` is [8, 5, 4, 2], 320 samples a frame", "[8, 5, 4, 4], 640 samples"];
    refused(&scratch, &plain(), &["--codec", fast.to_str().unwrap()], &words);

    let few =
        plain_with(&scratch, "few", |value| value["audio_encoder"]["target_bandwidths"] = serde_json::json!([0.6]));
    instruct(&few, &["`num_codebooks` is 2 by", "few, but at least 4 by the language model"]);
    refused(&scratch, &few, &[], &["INPUT", "`num_codebooks` is 2 by", "but at least 4"]);
}

/// An edited rate passed everything, and gave a file of 16 kHz.
#[test]
fn files_of_a_bundle_that_contradict_each_other_are_refused() {
    let scratch = Scratch::new();
    let sound = scratch.path("out.wav");
    let fails = |bundle: &Path, words: &[&str]| {
        let path = bundle.to_str().unwrap();
        let reference = fixture("musicgen/reference-plain.npz");
        let runs = [
            runner::run("mert-verify", [path, "--reference", reference.to_str().unwrap()]),
            runner::run("mert-generate", [path, "--text", "piano", "--seconds", "0.1", "-o", sound.to_str().unwrap()]),
        ];
        for run in runs {
            assert_eq!(run.code, 2, "{words:?}: {}", run.stdout);
            assert!(words.iter().all(|word| run.stderr.contains(word)), "{words:?}: {}", run.stderr);
        }
        assert!(!sound.exists());
    };
    let bundle = scratch.path("bundle");
    convert(&plain(), &bundle, &[]);
    let original = config(&bundle);
    type Edit = fn(&mut Value);
    let edits: [(&[&str], Edit); 4] = [
        (
            &["bundle/config.json: `audio_encoder.sampling_rate` is 16000", "is 32000 in", "encodec/config.json"],
            |value| value["audio_encoder"]["sampling_rate"] = 16000.into(),
        ),
        (&["`audio_encoder.upsampling_ratios`", "encodec/config.json"], |value| {
            value["audio_encoder"]["upsampling_ratios"] = serde_json::json!([8, 5, 4, 2]);
        }),
        (&["`text_encoder.num_heads` is 3", "is 6 in", "t5/config.json"], |value| {
            value["text_encoder"]["num_heads"] = 3.into();
        }),
        (&["it has no `decoder.num_attention_heads`"], |value| {
            value["decoder"].as_object_mut().unwrap().remove("num_attention_heads");
        }),
    ];
    for (words, change) in edits {
        edit(&bundle, change);
        fails(&bundle, words);
        edit(&bundle, |value| *value = original.clone());
    }
}
