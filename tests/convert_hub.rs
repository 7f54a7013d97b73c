//! Models of the hub as inputs of `mert-convert`, from a local server: what is downloaded, kept, checked and sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "common/hub_server.rs"]
mod hub_server;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hub_server::{COMMIT, Fault, HubServer, PINNED, Request, sha256};
use mert_arch::KNOWN_CHECKPOINTS;
use mert_testkit::{fixture, runner};
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

const KNOWN: &str = KNOWN_CHECKPOINTS[0].name;

/// Fields that the shapes of the tiny model do not determine.
const UNTOLD: [&str; 4] = ["--set", "num_attention_heads=2", "--set", "do_stable_layer_norm=false"];

/// A server with the model `owner/tiny`, and a folder with the cache in `hf/hub`.
struct Hub {
    server: Arc<HubServer>,
    folder: TempDir,
}

/// What a run said.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Hub {
    fn new() -> Hub {
        let hub = Hub { server: HubServer::start(), folder: TempDir::new().unwrap() };
        hub.server.add("owner/tiny", "config.json", &config());
        hub.server.add("owner/tiny", "pytorch_model.bin", &weights());
        hub
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of `models--owner--tiny`.
    fn cached(&self, name: &str) -> PathBuf {
        self.path("hf/hub/models--owner--tiny").join(name)
    }

    fn command(&self, input: &str) -> Command {
        let mut command = Command::new(runner::binary("mert-convert"));
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy().to_ascii_uppercase();
            if name.starts_with("HF_") || name.starts_with("HUGGING") || name.ends_with("_PROXY") {
                command.env_remove(variable);
            }
        }
        command.env_remove("TRANSFORMERS_OFFLINE").env_remove("XDG_CACHE_HOME");
        command.env("HOME", self.folder.path()).env("HF_HOME", self.path("hf")).env("HF_ENDPOINT", &self.server.url);
        command.current_dir(self.folder.path()).arg(input).arg("out.safetensors").arg("--force");
        command
    }

    fn run(&self, input: &str) -> Run {
        run(&mut self.command(input))
    }

    fn run_with(&self, input: &str, variables: &[(&str, &str)]) -> Run {
        run(self.command(input).envs(variables.iter().copied()))
    }

    /// Demands that `owner/tiny` was converted to what its file is converted to.
    #[track_caller]
    fn assert_converted(&self, run: &Run) {
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
        self.assert_output();
    }

    #[track_caller]
    fn assert_output(&self) {
        let local = self.path("local.safetensors");
        let mut command = Command::new(runner::binary("mert-convert"));
        command.arg(fixture("mert-tiny/pytorch_model.bin")).arg(&local).args(["--quiet", "--force"]);
        assert!(command.status().unwrap().success());
        assert!(fs::read(self.path("out.safetensors")).unwrap() == fs::read(&local).unwrap());
    }

    /// The requests for the weights' bytes since the last look.
    fn downloads(&self) -> Vec<Request> {
        self.server.requests().into_iter().filter(|request| request.cdn).collect()
    }

    /// What Python's `huggingface_hub` leaves of a model with `files`.
    fn as_python(&self, cache: &str, repo: &str, commit: &str, files: &[(&str, &[u8])]) -> PathBuf {
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
    /// Demands a refusal whose message has all of `words`.
    #[track_caller]
    fn assert_refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert_eq!(self.stdout, "");
    }
}

fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[cfg(unix)]
fn link(target: &Path, link: &Path) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

/// As Python does where it may not link.
#[cfg(not(unix))]
fn link(target: &Path, link: &Path) {
    fs::copy(link.parent().unwrap().join(target), link).unwrap();
}

fn weights() -> Vec<u8> {
    fs::read(fixture("mert-tiny/pytorch_model.bin")).unwrap()
}

fn config() -> Vec<u8> {
    fs::read(fixture("mert-tiny/config.json")).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_model_is_downloaded_converted_and_kept_as_python_keeps_it() {
    let hub = Hub::new();
    let run = hub.run("owner/tiny");
    hub.assert_converted(&run);
    assert!(run.stdout.contains(&format!("owner/tiny at {COMMIT}")), "{}", run.stdout);

    assert_eq!(fs::read_to_string(hub.cached("refs/main")).unwrap(), COMMIT);
    let snapshot = hub.cached("snapshots").join(COMMIT);
    assert_eq!(names(&snapshot), ["config.json", "pytorch_model.bin"]);
    assert_eq!(fs::read(snapshot.join("config.json")).unwrap(), config());
    let (config, weights) = (sha256(&config())[..40].to_string(), sha256(&weights()));
    let mut blobs = [config, weights.clone()];
    blobs.sort();
    assert_eq!(names(&hub.cached("blobs")), blobs);
    #[cfg(unix)]
    assert_eq!(fs::read_link(snapshot.join("pytorch_model.bin")).unwrap(), Path::new("../../blobs").join(&weights));
    assert!(hub.path("hf/hub/.locks/models--owner--tiny").join(format!("{weights}.lock")).is_file());
}

#[test]
fn a_second_run_downloads_nothing() {
    let hub = Hub::new();
    hub.assert_converted(&hub.run("owner/tiny"));
    hub.server.requests();
    hub.assert_converted(&hub.run("owner/tiny"));
    let requests = hub.server.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].method, "HEAD");
    hub.assert_converted(&hub.run(&format!("owner/tiny@{COMMIT}")));
    assert!(hub.server.requests().is_empty());
}

#[test]
fn names_and_revisions() {
    let hub = Hub::new();
    hub.assert_converted(&hub.run("hf://owner/tiny@v1/x"));
    assert!(hub.server.requests().iter().any(|request| request.path.contains("/resolve/v1%2Fx/")));
    assert_eq!(fs::read_to_string(hub.cached("refs/v1/x")).unwrap(), COMMIT);
    hub.run("hf://tiny").assert_refused(&["`hf://tiny`", "no owner", "hf://owner/name"]);
    hub.run("hf://owner/tiny@a..b").assert_refused(&["branch, tag or commit"]);
    let run = run(hub.command("owner/tiny").args(["--source-sha256", &"0".repeat(64)]));
    run.assert_refused(&["--source-sha256", "leave it out"]);
}

#[test]
fn what_is_on_the_disk_is_a_path() {
    let hub = Hub::new();
    fs::create_dir_all(hub.path("owner")).unwrap();
    fs::copy(fixture("mert-tiny/pytorch_model.bin"), hub.path("owner/tiny")).unwrap();
    let config = fixture("mert-tiny/config.json");
    assert_eq!(run(hub.command("owner/tiny").arg("--config").arg(config)).code, Some(0));
    hub.run("models/foo.bin").assert_refused(&["cannot read models/foo.bin"]);
    assert!(hub.server.requests().is_empty());
    let (other, both) = (hub.run("owner/other"), ["no file or folder `owner/other`", "no model `owner/other`"]);
    other.assert_refused(&both);
    let explicit = hub.run("hf://owner/other");
    explicit.assert_refused(&["no model `owner/other`"]);
    assert!(!explicit.stderr.contains("file or folder"));
}

#[test]
fn json_names_the_commit_and_quiet_is_quiet() {
    let hub = Hub::new();
    let json = run(hub.command("owner/tiny").arg("--json"));
    assert_eq!((json.code, json.stderr.as_str()), (Some(0), ""));
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["hub"]["model"], "owner/tiny");
    assert_eq!(document["hub"]["revision"], COMMIT);
    assert_eq!(document["output"]["written"]["source_sha256"], sha256(&weights()));
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(503, String::new()));
    let quiet = run(hub.command("owner/tiny").arg("--quiet"));
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn safetensors_come_before_pickles() {
    let hub = Hub::new();
    for (file, from) in [("model.safetensors", "plain.safetensors"), ("config.json", "config.json")] {
        hub.server.add("owner/tiny", file, &fs::read(fixture("containers").join(from)).unwrap());
    }
    let run = hub.run("owner/tiny");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let downloads = hub.downloads();
    assert_eq!(downloads.len(), 1);
    assert!(downloads[0].path.contains("model.safetensors"), "{downloads:?}");
}

#[test]
fn preprocessor_configuration_comes_along() {
    let hub = Hub::new();
    hub.server.add("owner/tiny", "preprocessor_config.json", b"{}");
    hub.assert_converted(&hub.run("owner/tiny"));
    assert!(hub.cached("snapshots").join(COMMIT).join("preprocessor_config.json").is_file());
}

/// transformers looks for an adapter beside the weights and applies it.
#[test]
fn an_adapter_beside_the_weights() {
    let hub = Hub::new();
    hub.server.add("owner/tiny", "adapter_config.json", b"{}");
    hub.run("owner/tiny").assert_refused(&["`adapter_config.json`", "merge_and_unload"]);
}

#[test]
fn shards() {
    let hub = Hub::new();
    let shards = ["model-00001-of-00002.bin", "model-00002-of-00002.bin"];
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.bin", "b": "model-00002-of-00002.bin"}}"#;
    hub.server.add("owner/sharded", "config.json", &config());
    hub.server.add("owner/sharded", "pytorch_model.bin.index.json", index.as_bytes());
    hub.server.add("owner/sharded", shards[0], &weights());
    hub.run("owner/sharded").assert_refused(&["model-00002-of-00002.bin", COMMIT, "its index names"]);
    hub.server.add("owner/sharded", shards[1], &weights());
    fs::remove_dir_all(hub.path("hf/hub/models--owner--sharded/.no_exist")).unwrap();
    // That they do not fit together is found when they are opened.
    hub.run("owner/sharded").assert_refused(&["the index does not say"]);
    let snapshot = hub.path("hf/hub/models--owner--sharded/snapshots").join(COMMIT);
    assert!(shards.iter().all(|shard| snapshot.join(shard).is_file()));

    let plain = fs::read(fixture("containers/plain.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&plain).unwrap().tensors();
    let mut weight_map = BTreeMap::new();
    for (number, shard) in ["model-1.safetensors", "model-2.safetensors"].into_iter().enumerate() {
        let mine: Vec<_> =
            tensors.iter().enumerate().filter(|(i, _)| i % 2 == number).map(|(_, t)| t.clone()).collect();
        weight_map.extend(mine.iter().map(|(name, _)| (name.clone(), shard)));
        hub.server.add("owner/good", shard, &safetensors::serialize(mine, None).unwrap());
    }
    hub.server.add("owner/good", "config.json", &fs::read(fixture("containers/config.json")).unwrap());
    let index = serde_json::to_vec(&serde_json::json!({ "weight_map": weight_map })).unwrap();
    hub.server.add("owner/good", "model.safetensors.index.json", &index);
    let online = run(hub.command("owner/good").arg("--json"));
    assert_eq!(online.code, Some(0), "{}", online.stderr);
    assert_eq!(run(hub.command("owner/good").arg("--json").env("HF_HUB_OFFLINE", "1")).stdout, online.stdout);
    let snapshot = hub.path("hf/hub/models--owner--good/snapshots").join(COMMIT);
    let written = fs::read(hub.path("out.safetensors")).unwrap();
    let local = run(&mut hub.command(snapshot.to_str().unwrap()));
    assert_eq!(local.code, Some(0), "{}", local.stderr);
    assert!(fs::read(hub.path("out.safetensors")).unwrap() == written, "the digest is the one that files give");

    hub.server.add("owner/evil", "config.json", &config());
    let index = r#"{"weight_map": {"a": "../../../evil.bin"}}"#;
    hub.server.add("owner/evil", "model.safetensors.index.json", index.as_bytes());
    hub.run("owner/evil").assert_refused(&["`../../../evil.bin` is not a plain file name"]);
}

#[test]
fn what_python_downloaded_is_found_without_the_network() {
    let hub = Hub::new();
    let (config, weights) = (config(), weights());
    let files: [(&str, &[u8]); 2] = [("config.json", &config), ("pytorch_model.bin", &weights)];
    let folder = hub.as_python("hf/hub", "owner/tiny", COMMIT, &files);
    // By its commit it is found without refs, as Python leaves it when asked for a commit.
    hub.assert_converted(&hub.run_with(&format!("owner/tiny@{COMMIT}"), &[("HF_HUB_OFFLINE", "1")]));
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    hub.assert_converted(&hub.run_with("owner/tiny", &[("HF_HUB_OFFLINE", "true")]));
    hub.assert_converted(&hub.run_with("owner/tiny", &[("TRANSFORMERS_OFFLINE", "YES")]));
    assert!(hub.server.requests().is_empty());

    fs::rename(hub.path("hf/hub"), hub.path("elsewhere")).unwrap();
    let elsewhere = hub.path("elsewhere");
    let variables = [("HF_HUB_OFFLINE", "1"), ("HF_HUB_CACHE", elsewhere.to_str().unwrap())];
    hub.assert_converted(&hub.run_with("owner/tiny", &variables));
    let home = hub.path("home");
    fs::create_dir_all(home.join(".cache/huggingface")).unwrap();
    fs::rename(&elsewhere, home.join(".cache/huggingface/hub")).unwrap();
    let mut command = hub.command("owner/tiny");
    command.env_remove("HF_HOME").env("HOME", &home).env("USERPROFILE", &home).env("HF_HUB_OFFLINE", "1");
    hub.assert_converted(&run(&mut command));
    command.env("HF_HOME", "~/.cache/huggingface");
    hub.assert_converted(&run(&mut command));
    assert!(hub.server.requests().is_empty());
}

#[test]
fn offline_without_a_cache() {
    let hub = Hub::new();
    let words = ["HF_HUB_OFFLINE", "`owner/tiny`", "main", "hf", "no file or folder"];
    hub.run_with("owner/tiny", &[("HF_HUB_OFFLINE", "1")]).assert_refused(&words);
    let config = config();
    hub.as_python("hf/hub", "owner/tiny", COMMIT, &[("config.json", &config)]);
    let refused = hub.run_with(&format!("owner/tiny@{COMMIT}"), &[("HF_HUB_OFFLINE", "1")]);
    refused.assert_refused(&["pytorch_model.bin", "HF_HUB_OFFLINE", hub.path("hf").to_str().unwrap()]);
    // Weights without their configuration are not converted on a guess, unless the model is known to have none.
    let (weights, hub) = (weights(), Hub::new());
    let folder = hub.as_python("hf/hub", "owner/tiny", COMMIT, &[("pytorch_model.bin", &weights)]);
    let offline = || run(hub.command(&format!("owner/tiny@{COMMIT}")).args(UNTOLD).env("HF_HUB_OFFLINE", "1"));
    offline().assert_refused(&["lacks config.json"]);
    fs::create_dir_all(folder.join(".no_exist").join(COMMIT)).unwrap();
    fs::write(folder.join(".no_exist").join(COMMIT).join("config.json"), "").unwrap();
    assert_eq!(offline().code, Some(0));
    assert!(hub.server.requests().is_empty());
}

#[test]
fn without_the_network_the_cache_is_used_and_it_is_said() {
    let hub = Hub::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}");
    hub.run_with("owner/tiny", &[("HF_ENDPOINT", &nobody)]).assert_refused(&[
        &nobody,
        "cannot be reached",
        "HF_ENDPOINT",
    ]);
    hub.assert_converted(&hub.run("owner/tiny"));
    let run = hub.run_with("owner/tiny", &[("HF_ENDPOINT", &nobody)]);
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("cannot be reached") && run.stderr.contains(COMMIT), "{}", run.stderr);
    hub.assert_output();
    if cfg!(unix) {
        fs::write(hub.cached("blobs").join(sha256(&weights())), "damaged").unwrap();
        hub.run_with("owner/tiny", &[("HF_ENDPOINT", &nobody)])
            .assert_refused(&["is not the file it should be", "Remove"]);
    }
}

#[test]
fn tokens_go_to_the_hub_and_nowhere_else() {
    let hub = Hub::new();
    hub.server.require_token("hf_secret");
    let refused = hub.run("hf://owner/tiny");
    refused.assert_refused(&["HTTP 401", "`owner/tiny`", "private or gated", "does not exist", "set HF_TOKEN"]);
    let refused = hub.run_with("owner/tiny", &[("HF_TOKEN", "hf_wrong")]);
    refused.assert_refused(&["HTTP 401", "replace the token"]);
    assert!(!refused.stderr.contains("hf_wrong"));
    let refused = hub.run_with("owner/tiny", &[("HF_TOKEN", "hf_wr\nong")]);
    refused.assert_refused(&["HF_TOKEN", "characters"]);
    assert!(!refused.stderr.contains("ong"), "{}", refused.stderr);
    hub.server.requests();

    hub.assert_converted(&hub.run_with("owner/tiny", &[("HF_TOKEN", "hf_secret")]));
    let requests = hub.server.requests();
    assert!(requests.iter().any(|request| request.cdn));
    for request in requests {
        assert_eq!(request.authorization.is_none(), request.cdn, "{request:?}");
    }
    fs::remove_dir_all(hub.path("hf")).unwrap();
    fs::create_dir(hub.path("hf")).unwrap();
    fs::write(hub.path("hf/token"), "hf_secret\n").unwrap();
    hub.assert_converted(&hub.run("owner/tiny"));
    fs::rename(hub.path("hf/token"), hub.path("token")).unwrap();
    hub.assert_converted(&hub.run_with("owner/tiny", &[("HF_TOKEN_PATH", hub.path("token").to_str().unwrap())]));
    hub.run_with("owner/tiny", &[("HF_TOKEN", "hf_secret"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")])
        .assert_refused(&["HTTP 401"]);
}

#[test]
fn gated_models() {
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(403, "X-Error-Code: GatedRepo\r\n".into()));
    hub.run("owner/tiny").assert_refused(&["HTTP 403", "gated", "accept its terms", "HF_TOKEN"]);
}

#[test]
fn what_the_hub_does_not_have() {
    let hub = Hub::new();
    hub.run("owner/none").assert_refused(&["no model `owner/none`", "check owner and name"]);
    hub.run("owner/tiny@nope").assert_refused(&["no revision `nope` of the model `owner/tiny`"]);
    hub.server.add("owner/empty", "config.json", &config());
    let words = ["`owner/empty`", COMMIT, "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];
    hub.run("owner/empty").assert_refused(&words);
    hub.server.add("owner/bare", "pytorch_model.bin", &weights());
    // Without config.json the architecture is worked out from the tensors.
    assert_eq!(run(hub.command("owner/bare").args(UNTOLD)).code, Some(0));
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(404, String::new()));
    hub.run("hf://owner/tiny").assert_refused(&["`config.json`", "`main`", "`owner/tiny`", "check all three"]);
}

#[test]
fn a_busy_hub_is_waited_for() {
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(429, "Retry-After: 1\r\n".into()));
    hub.server.fail("GET", "pytorch_model.bin", 1, Fault::Status(429, "Retry-After: 1\r\n".into()));
    let start = Instant::now();
    let run = hub.run("owner/tiny");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("trying again in 1 s"), "{}", run.stderr);
    assert!(start.elapsed() >= Duration::from_secs(2));
    hub.assert_output();
}

#[test]
fn a_busy_hub_is_not_waited_for_forever() {
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 100, Fault::Status(429, "Retry-After: 0\r\n".into()));
    hub.run("owner/tiny").assert_refused(&["HTTP 429", "4 tries", "HF_TOKEN"]);
    assert_eq!(hub.server.requests().len(), 4);
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(429, "Retry-After: 3600\r\n".into()));
    hub.run("owner/tiny").assert_refused(&["HTTP 429", "3600 s"]);
}

#[test]
fn a_failing_hub_is_tried_again_and_given_up() {
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(502, String::new()));
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Status(503, String::new()));
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Status(403, String::new()));
    assert_eq!(hub.run("owner/tiny").code, Some(0));
    hub.assert_output();
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 100, Fault::Status(500, String::new()));
    hub.run("owner/tiny").assert_refused(&["HTTP 500", "4 tries", "run again"]);
    assert_eq!(hub.server.requests().len(), 4);
}

#[test]
fn a_dropped_connection_is_resumed() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Drop(10_000));
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Drop(5_000));
    let run = hub.run("owner/tiny");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    hub.assert_output();
    let ranges: Vec<_> = hub.downloads().into_iter().map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some("bytes=10000-".into()), Some("bytes=15000-".into())]);
}

#[test]
fn a_server_that_keeps_dropping_is_given_up_and_what_came_is_kept() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Drop(10_000));
    hub.server.fail("CDN", "pytorch_model.bin", 3, Fault::Drop(0));
    hub.run("owner/tiny").assert_refused(&["pytorch_model.bin", "4 tries", "what has arrived is kept"]);
    let partial = hub.cached("blobs").join(format!("{}.incomplete", sha256(&weights())));
    assert_eq!(fs::read(&partial).unwrap(), weights()[..10_000]);
    hub.downloads();
    hub.assert_converted(&hub.run("owner/tiny"));
    assert_eq!(hub.downloads()[0].range.as_deref(), Some("bytes=10000-"));
    assert!(!partial.exists());
}

#[test]
fn a_killed_download_is_resumed() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Stall(20_000, Duration::from_secs(60)));
    let mut child = hub.command("owner/tiny").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let partial = hub.cached("blobs").join(format!("{}.incomplete", sha256(&weights())));
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 20_000 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!hub.cached("blobs").join(sha256(&weights())).exists());
    assert!(!hub.path("out.safetensors").exists());
    hub.server.requests();
    hub.assert_converted(&hub.run("owner/tiny"));
    let downloads = hub.downloads();
    assert_eq!(downloads.len(), 1);
    assert_eq!(downloads[0].range.as_deref(), Some("bytes=20000-"));
    assert!(!partial.exists());
}

#[test]
fn a_server_without_ranges_starts_again() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Drop(10_000));
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::IgnoreRange);
    let run = hub.run("owner/tiny");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    hub.assert_output();
    assert_eq!(hub.downloads().len(), 2);
}

#[test]
fn a_partial_file_that_is_wrong_is_downloaded_anew() {
    for wrong in [vec![7; 5_000], vec![7; weights().len()], vec![7; weights().len() + 5]] {
        let hub = Hub::new();
        fs::create_dir_all(hub.cached("blobs")).unwrap();
        fs::write(hub.cached("blobs").join(format!("{}.incomplete", sha256(&weights()))), &wrong).unwrap();
        let run = hub.run("owner/tiny");
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        hub.assert_output();
        assert_eq!(hub.downloads().last().unwrap().range, None);
    }
}

#[test]
fn bytes_that_are_not_what_was_announced_are_refused() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Corrupt);
    let run = hub.run("owner/tiny");
    run.assert_refused(&["`pytorch_model.bin`", "`owner/tiny`", &sha256(&weights()), "expected sha256", "discarded"]);
    assert_eq!(names(&hub.cached("blobs")).len(), 1, "config.json's remains");
    hub.assert_converted(&hub.run("owner/tiny"));
}

#[test]
fn a_damaged_cache_is_refused() {
    let hub = Hub::new();
    hub.assert_converted(&hub.run("owner/tiny"));
    let blob = hub.cached("blobs").join(sha256(&weights()));
    let mut bytes = weights();
    bytes[1_000] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    if cfg!(unix) {
        hub.run("owner/tiny").assert_refused(&["sha256", &sha256(&bytes), "Remove", blob.to_str().unwrap()]);
        fs::remove_file(&blob).unwrap();
        hub.assert_converted(&hub.run("owner/tiny"));
    }
}

#[test]
fn the_known_checkpoint_is_taken_at_its_revision_and_must_be_itself() {
    let hub = Hub::new();
    hub.server.add(KNOWN, "config.json", &config());
    hub.server.add(KNOWN, "pytorch_model.bin", &weights());
    let (expected, found) = (KNOWN_CHECKPOINTS[0].sha256, sha256(&weights()));
    hub.run(KNOWN).assert_refused(&[KNOWN, PINNED, "expected sha256", expected, &found, "HF_ENDPOINT"]);
    let requests = hub.server.requests();
    assert!(requests.iter().all(|request| request.path.contains(PINNED)), "{requests:?}");
    assert!(requests.iter().all(|request| !request.cdn), "what is announced wrongly is not downloaded");
    hub.run(&KNOWN.to_lowercase()).assert_refused(&[KNOWN, expected]);
    // Its other revisions are not known, and so not refused.
    assert_eq!(hub.run(&format!("{KNOWN}@main")).code, Some(0));
}

#[test]
fn a_known_checkpoint_in_the_cache_must_be_itself() {
    let hub = Hub::new();
    let (config, weights) = (config(), weights());
    let files: [(&str, &[u8]); 2] = [("config.json", &config), ("pytorch_model.bin", &weights)];
    let folder = hub.as_python("hf/hub", KNOWN, PINNED, &files);
    let run = hub.run_with(KNOWN, &[("HF_HUB_OFFLINE", "1")]);
    run.assert_refused(&["sha256", KNOWN_CHECKPOINTS[0].sha256, &sha256(&weights), "Remove", folder.to_str().unwrap()]);
    assert!(!hub.path("out.safetensors").exists());
}

#[test]
fn concurrent_runs_share_one_download() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Stall(20_000, Duration::from_secs(2)));
    thread::scope(|scope| {
        let runs = ["one", "two", "three"].map(|name| {
            let folder = hub.path(name);
            fs::create_dir(&folder).unwrap();
            let mut command = hub.command("owner/tiny");
            command.current_dir(folder).arg("--quiet");
            scope.spawn(move || run(&mut command))
        });
        for run in runs {
            let run = run.join().unwrap();
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        }
    });
    assert_eq!(hub.downloads().len(), 1);
    let blob = hub.cached("blobs").join(sha256(&weights()));
    assert_eq!(fs::read(blob).unwrap(), weights());
}

#[test]
fn a_renamed_model_is_found() {
    let hub = Hub::new();
    hub.server.rename("owner/old", "owner/tiny");
    hub.server.require_token("hf_secret");
    hub.assert_converted(&hub.run_with("owner/old", &[("HF_TOKEN", "hf_secret")]));
    hub.server.rename("owner/circle", "owner/circle");
    hub.run_with("owner/circle", &[("HF_TOKEN", "hf_secret")]).assert_refused(&["redirected again and again"]);
}

#[test]
fn answers_that_are_not_the_hubs() {
    for etag in ["../../../../evil", "", "a b", "..", &"a".repeat(200)] {
        let hub = Hub::new();
        hub.server.fail("HEAD", "pytorch_model.bin", 1, Fault::Etag(etag.into()));
        hub.run("owner/tiny").assert_refused(&["ETag", "does not answer as the hub does"]);
    }
    let hub = Hub::new();
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(200, "X-Repo-Commit: ../..\r\nETag: \"a\"\r\n".into()));
    hub.run("owner/tiny").assert_refused(&["X-Repo-Commit"]);
    hub.run_with("owner/tiny", &[("HF_ENDPOINT", "huggingface.co")]).assert_refused(&["HF_ENDPOINT", "https://"]);
}
