//! The preprocessor of a model, as `mert-convert` determines, records and prints it.

use std::fs;
use std::path::PathBuf;

use mert_testkit::{ConvertedModel, fixture, runner};
use serde_json::{Value, json};

use crate::scratch::{Scratch, mert_convert};

/// The weights and config.json of a HuBERT without `sample_rate`, after a change of the latter.
fn checkpoint(scratch: &Scratch, config: impl FnOnce(&mut Value)) -> PathBuf {
    let mut fields: Value = serde_json::from_slice(&fs::read(fixture("containers/config.json")).unwrap()).unwrap();
    fields["model_type"] = "hubert".into();
    fields.as_object_mut().unwrap().remove("sample_rate");
    config(&mut fields);
    fs::write(scratch.path("config.json"), fields.to_string()).unwrap();
    let path = scratch.path("pytorch_model.bin");
    fs::copy(fixture("containers/zip.bin"), &path).unwrap();
    path
}

fn extractor(rate: u32, normalize: bool) -> Value {
    json!({ "do_normalize": normalize, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1,
        "padding_side": "right", "padding_value": 0.0, "return_attention_mask": false, "sampling_rate": rate })
}

/// The exit status, standard output and standard error of a conversion.
fn convert(scratch: &Scratch, options: &[&str]) -> (i32, String, String) {
    let (input, output) = (scratch.path("pytorch_model.bin"), scratch.path("out.safetensors"));
    let run = mert_convert(&input, &output, &[&["--force"], options].concat());
    (run.code, run.stdout, run.stderr)
}

/// The rate, normalisation and origin in the output's metadata.
#[track_caller]
fn recorded(scratch: &Scratch, options: &[&str]) -> (u32, bool, String) {
    let (status, message, error) = convert(scratch, options);
    assert_eq!(status, 0, "{error}");
    let metadata = ConvertedModel::read(&scratch.path("out.safetensors")).unwrap().metadata;
    let preprocessor = metadata.preprocessor;
    assert!(message.contains(&format!("audio        {} Hz (", preprocessor.sampling_rate)), "{message}");
    assert!(message.contains(&format!("do_normalize {} (", preprocessor.do_normalize)), "{message}");
    (preprocessor.sampling_rate, preprocessor.do_normalize, metadata.preprocessor_origin.unwrap())
}

#[test]
fn the_file_beside_the_checkpoint_decides() {
    for (rate, normalize) in [(16_000, false), (24_000, true), (44_100, false)] {
        for nested in [false, true] {
            let scratch = Scratch::new();
            checkpoint(&scratch, |_| {});
            let fields = extractor(rate, normalize);
            // transformers 5 saves the fields of a Wav2Vec2Processor in another file, one level down.
            let (name, fields) = match nested {
                false => ("preprocessor_config.json", fields),
                true => ("processor_config.json", json!({ "feature_extractor": fields, "processor_class": "x" })),
            };
            fs::write(scratch.path(name), fields.to_string()).unwrap();
            let origin = format!("sampling_rate: {name}; do_normalize: {name}");
            assert_eq!(recorded(&scratch, &[]), (rate, normalize, origin));
        }
    }
}

#[test]
fn without_a_file_the_default_is_assumed_and_printed() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |_| {});
    let (_, message, _) = convert(&scratch, &[]);
    assert!(message.contains("16000 Hz (assumed: HuBERT takes 16000 Hz)"), "{message}");
    assert!(message.contains("give --preprocessor preprocessor_config.json"), "{message}");
    let (rate, normalize, origin) = recorded(&scratch, &[]);
    assert_eq!((rate, normalize), (16_000, true));
    assert!(origin.contains("sampling_rate: assumed"), "{origin}");

    checkpoint(&scratch, |config| config["model_type"] = "mert_model".into());
    assert_eq!(recorded(&scratch, &[]).0, 24_000);
    checkpoint(&scratch, |config| config["sample_rate"] = 22_050.into());
    let (rate, _, origin) = recorded(&scratch, &[]);
    assert_eq!((rate, origin.split(';').next().unwrap()), (22_050, "sampling_rate: config.json"));
}

#[test]
fn a_contradiction_is_refused_until_an_option_decides() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |config| config["sample_rate"] = 24_000.into());
    fs::write(scratch.path("preprocessor_config.json"), extractor(16_000, true).to_string()).unwrap();
    let (status, _, error) = convert(&scratch, &[]);
    assert_eq!(status, 2);
    for word in ["sampling_rate", "16000 (", "24000 (", "preprocessor_config.json", "config.json", "--sampling-rate"] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(!scratch.path("out.safetensors").exists());
    for rate in [16_000, 24_000] {
        let (found, normalize, origin) = recorded(&scratch, &["--sampling-rate", &rate.to_string()]);
        assert_eq!((found, normalize), (rate, true));
        assert_eq!(origin, "sampling_rate: --sampling-rate; do_normalize: preprocessor_config.json");
        // The output is consistent.
        let metadata = ConvertedModel::read(&scratch.path("out.safetensors")).unwrap().metadata;
        assert_eq!(metadata.config.sample_rate, Some(rate));
    }
    let (_, normalize, _) = recorded(&scratch, &["--sampling-rate", "16000", "--do-normalize", "false"]);
    assert!(!normalize);
}

#[test]
fn the_option_names_another_file() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |_| {});
    fs::write(scratch.path("preprocessor_config.json"), extractor(16_000, true).to_string()).unwrap();
    let mine = scratch.path("mine.json");
    fs::write(&mine, extractor(24_000, false).to_string()).unwrap();
    let (rate, normalize, origin) = recorded(&scratch, &["--preprocessor", mine.to_str().unwrap()]);
    assert_eq!(
        (rate, normalize, origin.as_str()),
        (24_000, false, "sampling_rate: mine.json; do_normalize: mine.json")
    );
    let (status, _, error) = convert(&scratch, &["--preprocessor", scratch.path("none.json").to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(error.contains("none.json"), "{error}");
}

/// A model may have the file of transformers 4 and the one of transformers 5.
#[test]
fn two_files_must_agree() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |_| {});
    let both = |rate, normalize| {
        fs::write(scratch.path("preprocessor_config.json"), extractor(16_000, true).to_string()).unwrap();
        let nested = json!({ "audio_processor": extractor(rate, normalize), "processor_class": "x" });
        fs::write(scratch.path("processor_config.json"), nested.to_string()).unwrap();
    };
    both(16_000, true);
    assert_eq!(recorded(&scratch, &[]).0, 16_000);
    for (rate, normalize, field) in [(24_000, true, "sampling_rate"), (16_000, false, "do_normalize")] {
        both(rate, normalize);
        let (status, _, error) = convert(&scratch, &[]);
        assert_eq!(status, 2);
        for word in [field, "/preprocessor_config.json", "/processor_config.json"] {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert_eq!(recorded(&scratch, &["--sampling-rate", "24000", "--do-normalize", "false"]).0, 24_000);
    }
}

#[test]
fn named_files_are_read() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |_| {});
    let decided = ["--sampling-rate", "16000", "--do-normalize", "true"];
    let none = scratch.path("none.json");
    let (status, _, error) = convert(&scratch, &[&["--preprocessor", none.to_str().unwrap()], &decided[..]].concat());
    assert!(status == 2 && error.contains("none.json"), "{error}");
    let folder = scratch.path("");
    for (option, name) in [("--preprocessor", "preprocessor_config.json"), ("--config", "config.json")] {
        let (status, _, error) = convert(&scratch, &[option, folder.to_str().unwrap()]);
        assert!(status == 2 && error.contains(&format!("such as {}", folder.join(name).display())), "{error}");
    }
}

#[test]
fn another_front_end_is_refused() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |_| {});
    let whisper = json!({ "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80 });
    fs::write(scratch.path("preprocessor_config.json"), whisper.to_string()).unwrap();
    let (status, _, error) = convert(&scratch, &[]);
    assert_eq!(status, 2);
    assert!(error.contains("WhisperFeatureExtractor") && error.contains("--preprocessor"), "{error}");
    // With all fields given as options, no file is needed.
    assert_eq!(recorded(&scratch, &["--sampling-rate", "16000", "--do-normalize", "true"]).0, 16_000);
}

#[test]
fn the_plan_and_the_package_have_the_preprocessor() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |_| {});
    fs::write(scratch.path("preprocessor_config.json"), extractor(24_000, false).to_string()).unwrap();
    let (_, plan, _) = convert(&scratch, &["--dry-run", "--json"]);
    let preprocessor = &serde_json::from_str::<Value>(&plan).unwrap()["plan"]["preprocessor"];
    assert_eq!((&preprocessor["sampling_rate"], &preprocessor["do_normalize"]), (&json!(24_000), &json!(false)));
    assert!(preprocessor["do_normalize_origin"].as_str().unwrap().ends_with("preprocessor_config.json"));

    let package = scratch.path("M.mlpackage");
    let mut command = runner::command("mert-convert");
    command.arg(scratch.path("pytorch_model.bin")).arg(&package).args(["--seconds", "0.5"]).assert().success();
    let model = fs::read(package.join("Data/com.apple.CoreML/model.mlmodel")).unwrap();
    let text = String::from_utf8_lossy(&model);
    // Half a second at the file's 24 kHz, not at HuBERT's usual 16 kHz.
    assert!(text.contains("One clip of 24000 Hz mono samples, from -1 to 1 and not normalised"), "{text}");
    for key in ["sampling_rate", "do_normalize", "preprocessor_origin"] {
        assert!(text.contains(key), "{key}");
    }
}

/// Neither rate nor normalisation follows from a published checkpoint's type or size; its digest identifies it.
#[test]
fn a_published_checkpoint_is_known() {
    let scratch = Scratch::new();
    checkpoint(&scratch, |config| config["model_type"] = "mert_model".into());
    for known in mert_arch::KNOWN_CHECKPOINTS {
        let options = ["--source-sha256", known.sha256];
        let (rate, normalize, origin) = recorded(&scratch, &options);
        assert_eq!((rate, normalize), (known.sampling_rate, known.do_normalize));
        assert!(origin.contains(known.name), "{origin}");
        for (rate, normalize) in [(44_100, known.do_normalize), (known.sampling_rate, !known.do_normalize)] {
            fs::write(scratch.path("preprocessor_config.json"), extractor(rate, normalize).to_string()).unwrap();
            let (status, _, error) = convert(&scratch, &options);
            assert_eq!(status, 2);
            assert!(error.contains(known.name) && error.contains("preprocessor_config.json"), "{error}");
        }
        fs::remove_file(scratch.path("preprocessor_config.json")).unwrap();
    }
}
