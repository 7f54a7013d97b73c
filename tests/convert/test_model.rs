//! `mert-test-model`: what it writes is a checkpoint, the same for the same seed, and existing files are kept.

use std::path::Path;

use mert_testkit::runner::{self, Run};
use mert_testkit::{fixture, sharp_checkpoint, write_torch_zip};

use crate::scratch::{Scratch, listing, mert_convert};

/// Generates a small checkpoint in `folder`.
fn generate(folder: &Path, options: &[&str]) -> Run {
    let config = fixture("containers/config.json");
    let arguments = [folder.as_os_str(), "--config".as_ref(), config.as_os_str(), "--seed".as_ref(), "7".as_ref()];
    runner::run("mert-test-model", arguments.into_iter().chain(options.iter().map(|option| option.as_ref())))
}

#[test]
fn a_generated_checkpoint_converts_and_is_the_one_of_its_seed() {
    let scratch = Scratch::new();
    let folder = scratch.path("new/model");
    let run = generate(&folder, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("pytorch_model.bin: "), "{}", run.stdout);
    assert_eq!(listing(&folder), ["config.json", "pytorch_model.bin"]);

    let config = std::fs::read_to_string(fixture("containers/config.json")).unwrap();
    let config = mert_arch::Config::from_json(&config).unwrap();
    let expected = scratch.path("pytorch_model.bin");
    write_torch_zip(&expected, &sharp_checkpoint(&config, 7)).unwrap();
    let same = std::fs::read(folder.join("pytorch_model.bin")).unwrap() == std::fs::read(expected).unwrap();
    assert!(same, "another checkpoint than that of the seed");
    assert_eq!(mert_convert(&folder, &scratch.path("out.safetensors"), &[]).code, 0);
}

#[test]
fn a_family_is_generated_in_the_sizes_of_its_class() {
    let scratch = Scratch::new();
    let unknown = runner::run("mert-test-model", ["folder", "--family", "wavml"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("wavml") && unknown.stderr.contains("data2vec-audio"), "{}", unknown.stderr);
    let folder = scratch.path("model");
    let run = runner::run("mert-test-model", [folder.as_os_str(), "--family".as_ref(), "wavlm".as_ref()]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // WavLM base has 94.38 million values: HuBERT's, and those of the table and the gates.
    assert!(run.stdout.contains("tensors, 94"), "{}", run.stdout);
    let config = mert_arch::Config::from_json(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(config.family().model_type, "wavlm");
    assert_eq!((config.hidden_size, config.num_hidden_layers), (768, 12));
}

#[test]
fn existing_files_are_replaced_only_with_force() {
    let scratch = Scratch::new();
    for name in ["pytorch_model.bin", "config.json"] {
        let folder = scratch.path(&format!("with-{name}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(name), "mine").unwrap();
        let refused = generate(&folder, &[]);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
        let message = format!("{name} exists; give --force to replace it");
        assert!(
            refused.stderr.starts_with("mert-test-model: ") && refused.stderr.contains(&message),
            "{}",
            refused.stderr
        );
        assert_eq!(listing(&folder), [name]);
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), b"mine");

        assert_eq!(generate(&folder, &["--force"]).code, 0);
        assert_eq!(generate(&folder, &["--force"]).code, 0);
        assert_eq!(listing(&folder), ["config.json", "pytorch_model.bin"]);
    }
}

#[test]
fn the_version_is_that_of_the_command() {
    for name in ["mert-test-model", "mert-convert"] {
        let run = runner::run(name, ["-V"]);
        assert_eq!((run.code, run.stdout.trim_end()), (0, format!("{name} {}", env!("CARGO_PKG_VERSION")).as_str()));
    }
}

#[test]
fn errors_are_one_line() {
    let scratch = Scratch::new();
    let folder = scratch.path("model");
    std::fs::create_dir(&folder).unwrap();
    let config = scratch.path("model/config.json");
    std::fs::copy(fixture("containers/config.json"), &config).unwrap();
    let missing = scratch.path("missing.json");
    for (config, words) in [(missing, "cannot read"), (config, "is an input; give another output")] {
        let run = runner::run(
            "mert-test-model",
            [folder.as_os_str(), "--force".as_ref(), "--config".as_ref(), config.as_os_str()],
        );
        assert_eq!((run.code, run.stderr.lines().count()), (2, 1), "{}", run.stderr);
        assert!(run.stderr.contains(words), "{}", run.stderr);
        assert!(run.stderr.matches("os error").count() <= 1, "{}", run.stderr);
    }
    assert_eq!(listing(&folder), ["config.json"]);
}

/// All commands are binaries of one package, whose name clap would print.
#[test]
fn every_command_states_its_own_name_and_version() {
    for command in ["mert-convert", "mert-embed", "mert-test-model", "mert-verify"] {
        for option in ["-V", "--version"] {
            let run = runner::run(command, [option]);
            assert_eq!(
                (run.code, run.stdout),
                (0, format!("{command} {}\n", env!("CARGO_PKG_VERSION"))),
                "{}",
                run.stderr
            );
        }
    }
}
