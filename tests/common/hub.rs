//! A local hub with a model, and `mert-convert` run on it, with a cache and a home folder of its own.

#[path = "hub_server.rs"]
pub(crate) mod hub_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mert_arch::KNOWN_CHECKPOINTS;
use mert_testkit::{fixture, runner};
use tempfile::TempDir;

use self::hub_server::{HubServer, Request, sha256};

pub(crate) const KNOWN: &str = KNOWN_CHECKPOINTS[0].name;

/// Options for the fields that the shapes of the tiny model do not determine.
pub(crate) const UNDETERMINED: [&str; 4] = ["--set", "num_attention_heads=2", "--set", "do_stable_layer_norm=false"];

/// A server with the model `owner/tiny`, and a folder with the cache in `hf/hub`.
pub(crate) struct Hub {
    pub(crate) server: Arc<HubServer>,
    pub(crate) folder: TempDir,
}

/// The exit status and the output of a run.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Hub {
    pub(crate) fn new() -> Hub {
        let hub = Hub { server: HubServer::start(), folder: TempDir::new().unwrap() };
        hub.server.add("owner/tiny", "config.json", &config());
        hub.server.add("owner/tiny", "pytorch_model.bin", &weights());
        hub
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of `models--owner--tiny`.
    pub(crate) fn cached(&self, name: &str) -> PathBuf {
        self.path("hf/hub/models--owner--tiny").join(name)
    }

    /// A command of the workspace in the folder, with the local server as its hub.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(runner::binary(name));
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy().to_ascii_uppercase();
            if name.starts_with("HF_") || name.starts_with("HUGGING") || name.ends_with("_PROXY") {
                command.env_remove(variable);
            }
        }
        command.env_remove("TRANSFORMERS_OFFLINE").env_remove("XDG_CACHE_HOME").env_remove("MERT_CACHE");
        command.env("HOME", self.folder.path()).env("HF_HOME", self.path("hf")).env("HF_ENDPOINT", &self.server.url);
        command.current_dir(self.folder.path());
        command
    }

    /// The conversion of `input`.
    pub(crate) fn command(&self, input: &str) -> Command {
        let mut command = self.program("mert-convert");
        command.arg(input).arg("out.safetensors").arg("--force");
        command
    }

    pub(crate) fn run(&self, input: &str) -> Run {
        run(&mut self.command(input))
    }

    pub(crate) fn run_with(&self, input: &str, variables: &[(&str, &str)]) -> Run {
        run(self.command(input).envs(variables.iter().copied()))
    }

    /// Asserts that `owner/tiny` was converted to the same bytes as the fixture file that it holds.
    #[track_caller]
    pub(crate) fn assert_converted(&self, run: &Run) {
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
        self.assert_output();
    }

    #[track_caller]
    pub(crate) fn assert_output(&self) {
        let local = self.path("local.safetensors");
        let mut command = Command::new(runner::binary("mert-convert"));
        command.arg(fixture("mert-tiny/pytorch_model.bin")).arg(&local).args(["--quiet", "--force"]);
        assert!(command.status().unwrap().success());
        assert!(fs::read(self.path("out.safetensors")).unwrap() == fs::read(&local).unwrap());
    }

    /// The requests for the bytes of large files since the last call.
    pub(crate) fn downloads(&self) -> Vec<Request> {
        self.server.requests().into_iter().filter(|request| request.cdn).collect()
    }

    /// Writes the cache that Python's `huggingface_hub` leaves of a model with `files`.
    pub(crate) fn as_python(&self, cache: &str, repo: &str, commit: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let folder = self.path(cache).join(format!("models--{}", repo.replace('/', "--")));
        let snapshot = folder.join("snapshots").join(commit);
        for folder in [&folder.join("refs"), &folder.join("blobs"), &snapshot] {
            fs::create_dir_all(folder).unwrap();
        }
        for (name, bytes) in files {
            let etag = if name.ends_with(".json") { sha256(bytes)[..40].to_string() } else { sha256(bytes) };
            fs::write(folder.join("blobs").join(&etag), bytes).unwrap();
            link(&Path::new("../../blobs").join(&etag), &snapshot.join(name));
        }
        folder
    }
}

impl Run {
    /// Asserts a refusal whose message contains all of `words`.
    #[track_caller]
    pub(crate) fn assert_refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert_eq!(self.stdout, "");
    }
}

pub(crate) fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[cfg(unix)]
pub(crate) fn link(target: &Path, link: &Path) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

/// A copy, which Python makes where links need privileges.
#[cfg(not(unix))]
pub(crate) fn link(target: &Path, link: &Path) {
    fs::copy(link.parent().unwrap().join(target), link).unwrap();
}

pub(crate) fn weights() -> Vec<u8> {
    fs::read(fixture("mert-tiny/pytorch_model.bin")).unwrap()
}

pub(crate) fn config() -> Vec<u8> {
    fs::read(fixture("mert-tiny/config.json")).unwrap()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
