//! Models of the hub as inputs of `mert-convert`, from a local server: names, revisions, the cache, and the checks.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use mert_arch::KNOWN_CHECKPOINTS;
use mert_testkit::fixture;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::hub::hub_server::{COMMIT, Fault, PINNED, sha256};
use crate::hub::{Hub, KNOWN, UNDETERMINED, config, names, run, weights};

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
    hub.run("hf://tiny").assert_refused(&["`hf://tiny`", "the owner is missing", "hf://owner/name"]);
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
    let quiet = run(hub.command("owner/tiny").args(["--quiet", "--do-normalize", "true"]));
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
    hub.run("owner/sharded").assert_refused(&["where the index does not list it"]);
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
    let offline = || run(hub.command(&format!("owner/tiny@{COMMIT}")).args(UNDETERMINED).env("HF_HUB_OFFLINE", "1"));
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
    assert_eq!(run(hub.command("owner/bare").args(UNDETERMINED)).code, Some(0));
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(404, String::new()));
    hub.run("hf://owner/tiny").assert_refused(&["`config.json`", "`main`", "`owner/tiny`", "check all three"]);
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
