//! `mert-verify BUNDLE --against OTHER` compares the files beside the weights, too.

use std::path::Path;

use mert_testkit::runner::{self, Run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bundles::Kind;

/// Changes a JSON file.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn against(bundle: &Path, other: &Path) -> Run {
    runner::run("mert-verify", [bundle.to_str().unwrap(), "--against", other.to_str().unwrap()])
}

type Defect = (&'static str, &'static str, fn(&Path));

#[test]
fn other_settings_beside_the_same_weights_fail() {
    let folder = TempDir::new().unwrap();
    let other = Kind::Plain.bundle(&folder, "other", &["--dtype", "f32"]);
    // In both files that state a field: one alone is refused when the bundle is opened.
    let defects: [Defect; 5] = [
        ("encodec/config.json", "`pad_mode` is \"constant\", expected \"reflect\"", |bundle| {
            edit(&bundle.join("config.json"), |config| config["audio_encoder"]["pad_mode"] = json!("constant"));
            edit(&bundle.join("encodec/config.json"), |config| config["pad_mode"] = json!("constant"));
        }),
        ("t5/config.json", "`layer_norm_epsilon` is 0.01, expected", |bundle| {
            edit(&bundle.join("config.json"), |config| config["text_encoder"]["layer_norm_epsilon"] = json!(0.01));
            edit(&bundle.join("t5/config.json"), |config| config["layer_norm_epsilon"] = json!(0.01));
        }),
        ("t5/tokenizer.json", "`model` is an object, expected an object", |bundle| {
            edit(&bundle.join("t5/tokenizer.json"), |tokenizer| {
                tokenizer["model"]["vocab"].as_array_mut().unwrap()[3..].reverse();
            });
        }),
        ("t5/tokenizer.json", "it is not JSON", |bundle| {
            std::fs::write(bundle.join("t5/tokenizer.json"), "{").unwrap()
        }),
        ("config.json", "`guidance_scale` is 1.5, expected", |bundle| {
            edit(&bundle.join("config.json"), |config| config["generation"]["guidance_scale"] = json!(1.5));
        }),
    ];
    for (i, (part, message, defect)) in defects.into_iter().enumerate() {
        let bundle = Kind::Plain.bundle(&folder, &i.to_string(), &["--dtype", "f32"]);
        assert_eq!(against(&bundle, &other).code, 0);
        defect(&bundle);
        let run = against(&bundle, &other);
        assert_eq!(run.code, 1, "{part}: {}{}", run.stdout, run.stderr);
        let failed: Vec<&str> = run.stdout.lines().filter(|line| line.contains("FAIL")).collect();
        assert!(failed.iter().any(|line| line.contains(part) && line.contains(message)), "{message}: {failed:#?}");
    }
}

#[test]
fn what_has_no_effect_does_not_fail() {
    let folder = TempDir::new().unwrap();
    let other = Kind::Instruct.bundle(&folder, "other", &["--dtype", "f32"]);
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--quantize", "--q-bits", "8"]);
    edit(&bundle.join("t5/tokenizer.json"), |tokenizer| {
        tokenizer["truncation"] =
            json!({"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0});
    });
    edit(&bundle.join("t5/config.json"), |config| config["transformers_version"] = json!("5.23.0"));
    let run = against(&bundle, &other);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("t5/tokenizer.json") && run.stdout.contains("encodec/config.json"), "{}", run.stdout);
}
