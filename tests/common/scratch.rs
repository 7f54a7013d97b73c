//! A folder in which `mert-convert` runs and must leave nothing behind when it refuses.

use std::path::{Path, PathBuf};

use mert_arch::Config;
use mert_testkit::runner::Run;
use mert_testkit::{Tensor, fixture, runner, sharp_checkpoint, write_torch_zip};
use tempfile::TempDir;

/// Runs `mert-convert INPUT OUTPUT` with further options.
pub(crate) fn mert_convert(input: &Path, output: &Path, options: &[&str]) -> Run {
    let paths = [input.as_os_str(), output.as_os_str()].into_iter();
    runner::run("mert-convert", paths.chain(options.iter().map(|option| option.as_ref())))
}

/// The names of a folder's entries, sorted.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder for one test.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Scratch(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Copies the tiny model's config.json into the folder.
    pub(crate) fn add_config(&self) {
        std::fs::copy(fixture("containers/config.json"), self.path("config.json")).unwrap();
    }

    /// Copies a fixture into the folder with one bit in its middle flipped.
    pub(crate) fn flip_a_bit(&self, fixture_path: &str) -> PathBuf {
        let fixture = fixture(fixture_path);
        let mut bytes = std::fs::read(&fixture).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        self.write(fixture.file_name().unwrap().to_str().unwrap(), &bytes)
    }

    pub(crate) fn listing(&self) -> Vec<String> {
        listing(self.0.path())
    }

    /// Converts `input` to `out.safetensors`, requires success and returns the printed text.
    #[track_caller]
    pub(crate) fn convert(&self, input: &Path, options: &[&str]) -> String {
        let run = mert_convert(input, &self.path("out.safetensors"), options);
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    }

    /// Converts `input` and requires a refusal whose message has all of `words`, and no new file.
    #[track_caller]
    pub(crate) fn refused(&self, input: &Path, options: &[&str], words: &[&str]) {
        let before = self.listing();
        let run = runner::command("mert-convert")
            .arg(input)
            .arg(self.path("out.safetensors"))
            .args(options)
            .current_dir(self.0.path())
            .assert()
            .code(2);
        let message = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
        assert!(run.get_output().stdout.is_empty());
        assert_eq!(self.listing(), before, "something was left behind");
    }
}

/// The configuration of the tiny model in `fixtures/containers`.
pub(crate) fn tiny() -> Config {
    let text = std::fs::read_to_string(fixture("containers/config.json")).unwrap();
    Config::from_json(&text).unwrap()
}

/// A checkpoint of the tiny model after `change`, beside its config.json.
pub(crate) fn checkpoint(scratch: &Scratch, change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> PathBuf {
    let mut tensors = sharp_checkpoint(&tiny(), 1);
    change(&mut tensors);
    let path = scratch.path("checkpoint.bin");
    write_torch_zip(&path, &tensors).unwrap();
    scratch.add_config();
    path
}
