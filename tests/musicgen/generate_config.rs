//! The settings of generation in a bundle's `config.json`: each has the effect of its option, and what is none is refused.

use std::path::{Path, PathBuf};

use mert_testkit::runner::{self, Run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bundles::Kind;

struct Bundle {
    folder: TempDir,
    path: PathBuf,
    config: Value,
}

impl Bundle {
    fn new(kind: Kind) -> Self {
        let folder = TempDir::new().unwrap();
        let path = kind.bundle(&folder, "bundle", &["--dtype", "f32"]);
        let config = serde_json::from_slice(&std::fs::read(path.join("config.json")).unwrap()).unwrap();
        Bundle { folder, path, config }
    }

    /// Generates from a changed configuration.
    fn run(&self, change: impl FnOnce(&mut Value), options: &[&str]) -> Run {
        let mut config = self.config.clone();
        change(&mut config);
        std::fs::write(self.path.join("config.json"), config.to_string()).unwrap();
        let out = self.out();
        let arguments = [self.path.to_str().unwrap(), "--text", "drums", "--seconds", "0.4", "--force", "-o", &out];
        runner::run("mert-generate", [&arguments[..], options].concat())
    }

    fn out(&self) -> String {
        self.folder.path().join("out.wav").display().to_string()
    }

    fn samples(&self, change: impl FnOnce(&mut Value), options: &[&str]) -> Vec<u8> {
        let run = self.run(change, options);
        assert_eq!(run.code, 0, "{}", run.stderr);
        std::fs::read(Path::new(&self.out())).unwrap()
    }
}

#[test]
fn each_setting_has_the_effect_of_its_option() {
    let bundle = Bundle::new(Kind::Plain);
    let drawn = bundle.samples(|_| (), &[]);
    let greedy = bundle.samples(|_| (), &["--greedy"]);
    let with = |field: &'static str, value: Value, options: &[&str]| {
        bundle.samples(|config| config["generation"][field] = value, options)
    };
    assert_ne!(drawn, greedy);
    assert_eq!(with("do_sample", json!(false), &[]), greedy);
    // An option of drawing draws.
    assert_eq!(with("do_sample", json!(false), &["--seed", "0"]), drawn);
    for (field, value, option, given) in [
        ("top_p", json!(0.3), "--top-p", "0.3"),
        ("top_k", json!(2), "--top-k", "2"),
        ("temperature", json!(3.0), "--temperature", "3"),
        ("guidance_scale", json!(1.0), "--guidance", "1"),
    ] {
        let by_option = bundle.samples(|_| (), &[option, given]);
        assert_ne!(by_option, drawn, "{option}");
        assert_eq!(with(field, value, &[]), by_option, "{field}");
    }
    // transformers' value for no limit, and an option instead of the model's other limit.
    assert_eq!(with("top_p", json!(1.0), &[]), drawn);
    assert_eq!(with("top_p", json!(0.3), &["--top-k", "2"]), bundle.samples(|_| (), &["--top-k", "2"]));
}

/// A change of the configuration, and the message that it must bring.
type Case = (fn(&mut Value), &'static str);

#[test]
fn what_is_no_setting_is_refused() {
    let bundle = Bundle::new(Kind::Plain);
    let cases: [Case; 8] = [
        (|config| config["generation"] = json!([]), "`generation` is [], expected an object"),
        (|config| config["instruct"] = json!([1, true, 3]), "`instruct` is [1,true,3], expected an object"),
        (|config| config["audio_encoder"] = json!([32000]), "`audio_encoder` is [32000], expected an object"),
        (
            |config| config["generation"]["top_k"] = json!("x"),
            "`generation.top_k`: invalid type: string \"x\", expected a whole number",
        ),
        (
            |config| config["generation"]["top_k"] = json!(-1),
            "`generation.top_k`: invalid value: integer `-1`, expected a whole number",
        ),
        (|config| config["generation"]["top_p"] = json!(2.0), "invalid top-p 2: expected 0 to 1"),
        (|config| config["generation"]["guidance_scale"] = json!(1e39), "expected -10000 to 10000"),
        (
            |config| config["audio_encoder"]["upsampling_ratios"] = json!([4_294_967_296u64, 4_294_967_296u64, 5]),
            "`audio_encoder.upsampling_ratios` is 18446744073709551615",
        ),
    ];
    for (change, message) in cases {
        let run = bundle.run(change, &[]);
        assert!(run.code == 2 && run.stderr.contains(message), "{message}: {} {}", run.code, run.stderr);
    }
}
