//! Models of the hub as inputs of `mert-embed` and `mert-verify`, from a local server: conversions that are made once, and
//! converted files and references that are verified where they are.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mert_testkit::fixture;
use serde_json::Value;

use crate::hub::hub_server::{COMMIT, Fault, Request, sha256};
use crate::hub::{Hub, Run, config, names, run, weights};

/// The embedding of a short clip with `model`, as JSON lines in `embeddings.jsonl`.
fn embed(hub: &Hub, model: &str) -> Command {
    let clip = hub.path("clip.wav");
    if !clip.exists() {
        fs::copy(fixture("audio/f32-24k-mono.wav"), &clip).unwrap();
    }
    let mut command = hub.program("mert-embed");
    command.args([model, "clip.wav", "-o", "embeddings.jsonl", "--window", "whole", "--layers", "1", "--force"]);
    command
}

/// The provenance and the rows of `embeddings.jsonl`.
fn embeddings(hub: &Hub) -> String {
    fs::read_to_string(hub.path("embeddings.jsonl")).unwrap()
}

/// The converted files in the toolkit's cache.
fn conversions(hub: &Hub) -> Vec<PathBuf> {
    let folder = converted_folder(hub);
    let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "safetensors")).collect()
}

fn converted_folder(hub: &Hub) -> PathBuf {
    let caches = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    hub.path(caches).join("mert-toolkit/converted")
}

#[track_caller]
fn assert_done(run: &Run) {
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
}

/// Adds a repository with the fixture's converted file and its reference.
fn add_converted(hub: &Hub) {
    hub.server.add("owner/converted", "model.safetensors", &fs::read(fixture("mert-tiny/model.safetensors")).unwrap());
    let reference = fs::read(fixture("mert-tiny/reference.npz")).unwrap();
    hub.server.add("owner/converted", "references/clip.npz", &reference);
}

#[test]
fn a_model_is_converted_once_and_embeds_as_one_that_was_converted_by_hand() {
    let hub = Hub::new();
    assert_done(&hub.run("owner/tiny"));
    assert_done(&run(&mut embed(&hub, "out.safetensors")));
    let by_hand = embeddings(&hub);
    fs::remove_dir_all(hub.path("hf")).unwrap();
    assert!(conversions(&hub).is_empty());

    let first = run(&mut embed(&hub, "owner/tiny"));
    assert_done(&first);
    let [converted] = &conversions(&hub)[..] else { panic!("one conversion") };
    let note = format!("mert-embed: converting owner/tiny at {COMMIT} to f16: {}", converted.display());
    assert!(first.stderr.contains(&note), "{}", first.stderr);
    assert_eq!(fs::read(converted).unwrap(), fs::read(hub.path("out.safetensors")).unwrap());
    assert_eq!(embeddings(&hub), by_hand, "the provenance names the same model");
    let written = fs::metadata(converted).unwrap().modified().unwrap();

    hub.server.requests();
    let second = run(embed(&hub, "hf://owner/tiny").env("HF_HUB_OFFLINE", "1"));
    assert_done(&second);
    assert!(second.stderr.contains("using the conversion of owner/tiny"), "{}", second.stderr);
    let pinned = run(&mut embed(&hub, &format!("owner/tiny@{COMMIT}")));
    assert_done(&pinned);
    assert!(hub.server.requests().is_empty());
    let quiet = run(embed(&hub, "owner/tiny").arg("--quiet"));
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(0), "", ""));
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let unreachable = run(embed(&hub, "owner/tiny").env("HF_ENDPOINT", nobody));
    assert_done(&unreachable);
    assert!(unreachable.stderr.contains("cannot be reached"), "{}", unreachable.stderr);
    assert!(unreachable.stderr.contains("is used instead"), "{}", unreachable.stderr);
    for advice in ["run again", "Check the network", "io: "] {
        assert!(!unreachable.stderr.contains(advice), "{}", unreachable.stderr);
    }
    assert_eq!(embeddings(&hub), by_hand);
    assert_eq!(fs::metadata(converted).unwrap().modified().unwrap(), written);
    assert_eq!(conversions(&hub).len(), 1);
}

#[test]
fn the_cache_of_conversions() {
    let hub = Hub::new();
    let cache = hub.path("elsewhere");
    let embed_there = |model: &str| run(embed(&hub, model).env("MERT_CACHE", &cache));
    assert_done(&embed_there("owner/tiny"));
    let files = || {
        let names = names(&cache.join("converted"));
        names.into_iter().filter(|name| name.ends_with(".safetensors")).collect::<Vec<_>>()
    };
    let first = files();
    assert_eq!(first.len(), 1);
    // Another configuration of the same weights gives another file; the same model under another name does not.
    let mut preprocessor = serde_json::Map::new();
    preprocessor.insert("sampling_rate".into(), 24_000.into());
    preprocessor.insert("do_normalize".into(), false.into());
    for (file, bytes) in [
        ("config.json", config()),
        ("pytorch_model.bin", weights()),
        ("preprocessor_config.json", serde_json::to_vec(&preprocessor).unwrap()),
    ] {
        hub.server.add("owner/other", file, &bytes);
        if file != "preprocessor_config.json" {
            hub.server.add("owner/copy", file, &bytes);
        }
    }
    assert_done(&embed_there("owner/copy"));
    assert_eq!(files(), first);
    assert_done(&embed_there("owner/other"));
    assert_eq!(files().len(), 2);

    // What is not the conversion is replaced, and what a killed conversion left is removed.
    let path = cache.join("converted").join(&first[0]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    fs::write(cache.join("converted/.killed.partial"), "half").unwrap();
    assert_done(&embed_there("owner/tiny"));
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert!(!cache.join("converted/.killed.partial").exists());

    fs::write(hub.path("file"), "").unwrap();
    let refused = run(embed(&hub, "owner/tiny").env("MERT_CACHE", hub.path("file")));
    refused.assert_refused(&["cannot write", hub.path("file").to_str().unwrap(), "Set MERT_CACHE"]);
}

#[test]
fn two_conversions_at_once() {
    let hub = Hub::new();
    // Copies the clip.
    drop(embed(&hub, "owner/tiny"));
    thread::scope(|scope| {
        let runs = ["one.jsonl", "two.jsonl", "three.jsonl"].map(|output| {
            let mut command = hub.program("mert-embed");
            command.args(["owner/tiny", "clip.wav", "-o", output, "--window", "whole", "--layers", "1"]);
            scope.spawn(move || run(&mut command))
        });
        for run in runs {
            assert_done(&run.join().unwrap());
        }
    });
    assert_eq!(conversions(&hub).len(), 1);
    assert_eq!(fs::read(hub.path("one.jsonl")).unwrap(), fs::read(hub.path("two.jsonl")).unwrap());
    assert_eq!(fs::read(hub.path("one.jsonl")).unwrap(), fs::read(hub.path("three.jsonl")).unwrap());
}

/// A run that waits for the lock of the cache is interrupted, and so is one that is downloading.
#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_no_half_file() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Stall(20_000, Duration::from_secs(60)));
    let interrupt = |command: &mut Command, is_there: &dyn Fn() -> bool| {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_there() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(10));
        }
        let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(130));
    };
    let partial = hub.cached("blobs").join(format!("{}.incomplete", sha256(&weights())));
    interrupt(&mut embed(&hub, "owner/tiny"), &|| fs::metadata(&partial).is_ok_and(|file| file.len() >= 20_000));
    assert!(conversions(&hub).is_empty() && !hub.path("embeddings.jsonl").exists());

    let folder = converted_folder(&hub);
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let snapshot = hub.cached("snapshots").join(COMMIT).join("pytorch_model.bin");
    interrupt(&mut embed(&hub, "owner/tiny"), &|| {
        let is_downloaded = snapshot.is_file();
        thread::sleep(Duration::from_millis(200));
        is_downloaded
    });
    assert_eq!(names(&folder), [".lock"]);
    drop(lock);
    assert_done(&run(&mut embed(&hub, "owner/tiny")));
    assert_eq!(conversions(&hub).len(), 1);
}

#[test]
fn a_converted_model_of_the_hub_is_used_as_it_is() {
    let hub = Hub::new();
    add_converted(&hub);
    assert_done(&run(&mut embed(&hub, fixture("mert-tiny/model.safetensors").to_str().unwrap())));
    let local = embeddings(&hub);
    assert_done(&run(&mut embed(&hub, "owner/converted")));
    assert_eq!(embeddings(&hub), local);
    assert_done(&run(embed(&hub, "owner/converted").env("HF_HUB_OFFLINE", "1")));
    assert!(conversions(&hub).is_empty());
}

/// transformers' own file bears the name of a converted one, without its metadata.
#[test]
fn a_model_in_safetensors_of_transformers_is_converted() {
    let hub = Hub::new();
    for (file, from) in [("model.safetensors", "plain.safetensors"), ("config.json", "config.json")] {
        hub.server.add("owner/plain", file, &fs::read(fixture("containers").join(from)).unwrap());
    }
    assert_done(&run(&mut embed(&hub, "owner/plain")));
    assert_eq!(conversions(&hub).len(), 1);
    assert_done(&hub.run("owner/plain"));
    assert_eq!(fs::read(&conversions(&hub)[0]).unwrap(), fs::read(hub.path("out.safetensors")).unwrap());
}

/// Python programs have the hub's name in `model_name`.
#[test]
fn the_configuration_of_a_python_program() {
    let hub = Hub::new();
    // Copies the clip.
    drop(embed(&hub, "owner/tiny"));
    let yaml = "feature_extraction:\n  mert:\n    model_name: owner/tiny\n    layer: -1\n";
    fs::write(hub.path("config.yaml"), yaml).unwrap();
    let mut command = hub.program("mert-embed");
    command.args(["--config", "config.yaml", "clip.wav", "-o", "embeddings.jsonl", "--window", "whole"]);
    assert_done(&run(&mut command));
    assert_eq!(conversions(&hub).len(), 1);
}

#[test]
fn models_that_cannot_be_embedded_with() {
    let hub = Hub::new();
    let refused = |model: &str, words: &[&str]| {
        let run = run(&mut embed(&hub, model));
        run.assert_refused(words);
        assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
    };
    refused("owner/none", &["no file or folder `owner/none`", "no model `owner/none`", "check owner and name"]);
    refused("hf://none", &["invalid name `hf://none`", "the owner is missing", "hf://owner/name"]);
    refused("none", &["there is no file `none`", "owner/name"]);
    refused("none.safetensors", &["cannot read none.safetensors"]);
    refused("owner/tiny@nope", &["no revision `nope`"]);
    hub.server.fail("HEAD", "config.json", 1, Fault::Status(403, "X-Error-Code: GatedRepo\r\n".into()));
    refused("owner/tiny", &["HTTP 403", "gated", "accept its terms", "HF_TOKEN"]);
    let offline = run(embed(&hub, "owner/tiny").env("HF_HUB_OFFLINE", "1"));
    offline.assert_refused(&["HF_HUB_OFFLINE", "`owner/tiny`"]);
    // Without a config.json the conversion needs options, which are mert-convert's.
    hub.server.add("owner/bare", "pytorch_model.bin", &weights());
    let bare = run(&mut embed(&hub, "owner/bare"));
    bare.assert_refused(&["owner/bare cannot be converted without options", "mert-convert owner/bare@"]);
    hub.server.add("owner/foreign", "config.json", &config());
    hub.server.add("owner/foreign", "model.safetensors", b"not safetensors at all");
    run(&mut embed(&hub, "owner/foreign")).assert_refused(&["model.safetensors", "safetensors"]);
    assert!(conversions(&hub).is_empty() && !hub.path("embeddings.jsonl").exists());
}

/// A mistake on the command line costs no download and no conversion.
#[test]
fn what_needs_no_model_is_checked_before_it_is_fetched() {
    let hub = Hub::new();
    fs::write(hub.path("config.yaml"), "feature_extraction: {mert: {layer: six}}").unwrap();
    for (arguments, words) in [
        (&["--report", "none/x.jsonl"][..], "cannot write none/x.jsonl: there is no folder none"),
        (&["gone.m3u", "--list", "gone.txt"], "cannot read gone.txt"),
        (&["--input-rate", "24000"], "standard input"),
        #[cfg(not(feature = "cuda"))]
        (&["--device", "cuda"], "cuda"),
    ] {
        run(embed(&hub, "owner/tiny").args(arguments)).assert_refused(&[words]);
    }
    let mut config = hub.program("mert-embed");
    config.args(["--config", "config.yaml", "--model", "owner/tiny", "clip.wav", "-o", "embeddings.jsonl"]);
    run(&mut config).assert_refused(&["config.yaml: mert.layer: "]);
    assert!(hub.server.requests().is_empty() && conversions(&hub).is_empty());
}

#[test]
fn tokens_of_embed_and_verify_go_to_the_hub_and_nowhere_else() {
    let hub = Hub::new();
    add_converted(&hub);
    hub.server.require_token("hf_secret");
    run(&mut embed(&hub, "hf://owner/tiny")).assert_refused(&["HTTP 401", "set HF_TOKEN"]);
    assert_done(&run(embed(&hub, "owner/tiny").env("HF_TOKEN", "hf_secret")));
    assert_done(&run(verify(&hub, "owner/converted").env("HF_TOKEN", "hf_secret")));
    let requests = hub.server.requests();
    assert!(requests.iter().any(|request| request.cdn));
    let authorized = |request: &Request| request.authorization == Some("Bearer hf_secret".into());
    assert!(requests.iter().any(authorized));
    assert!(requests.iter().filter(|request| request.cdn).all(|request| request.authorization.is_none()));
}

/// A mirror that redirects to addresses which resemble its own: the CDN listens at `localhost`, the hub at `127.0.0.1`.
#[test]
fn redirections_to_lookalike_addresses_do_not_get_the_token() {
    let hub = Hub::new();
    hub.server.require_token("hf_secret");
    let hub_host = hub.server.url.strip_prefix("http://").unwrap();
    let cdn_host = hub.server.cdn.strip_prefix("http://").unwrap();
    for location in [
        format!("http://{hub_host}@{cdn_host}/x"),
        format!("//{hub_host}@{cdn_host}/x"),
        format!("//{cdn_host}/{hub_host}"),
        format!("http://{cdn_host}?http://{hub_host}/"),
        format!("HTTP://{}/x", cdn_host.to_uppercase()),
    ] {
        let headers = format!("X-Repo-Commit: {COMMIT}\r\nETag: \"a\"\r\nLocation: {location}\r\n");
        hub.server.fail("HEAD", "config.json", 2, Fault::Status(302, headers.clone()));
        hub.server.fail("GET", "config.json", 1, Fault::Status(302, headers));
        let run = run(embed(&hub, "owner/tiny").env("HF_TOKEN", "hf_secret"));
        assert_ne!(run.code, Some(0), "{location}: {}", run.stderr);
        let requests = hub.server.requests();
        let has_token = |text: &String| text.contains("hf_secret");
        assert!(!requests.iter().any(|request| request.cdn && request.authorization.as_ref().is_some_and(has_token)));
        let _ = fs::remove_dir_all(hub.path("hf"));
        hub.server.clear_faults();
    }
}

/// The verification of `model` with the reference in `owner/converted`.
fn verify(hub: &Hub, model: &str) -> Command {
    let mut command = hub.program("mert-verify");
    command.args([model, "--reference", "hf://owner/converted/references/clip.npz"]);
    command
}

#[test]
fn a_converted_model_and_its_reference_are_verified_from_the_hub() {
    let hub = Hub::new();
    add_converted(&hub);
    let online = run(&mut verify(&hub, "owner/converted"));
    assert_done(&online);
    let reference = hub.path("hf/hub/models--owner--converted/snapshots").join(COMMIT).join("references/clip.npz");
    assert_eq!(fs::read(&reference).unwrap(), fs::read(fixture("mert-tiny/reference.npz")).unwrap());
    #[cfg(unix)]
    assert!(fs::read_link(&reference).unwrap().starts_with("../../../blobs"));
    hub.server.requests();
    assert_done(&run(verify(&hub, "hf://owner/converted").env("HF_HUB_OFFLINE", "1")));
    assert_done(&run(&mut verify(&hub, &format!("owner/converted@{COMMIT}"))));
    assert_done(&run(&mut verify(&hub, fixture("mert-tiny/model.safetensors").to_str().unwrap())));
    assert!(hub.server.requests().iter().all(|request| request.method == "HEAD"), "one question for the branch");

    // Nothing but the converted file is downloaded, and nothing is converted.
    assert_eq!(names(reference.parent().unwrap().parent().unwrap()), ["model.safetensors", "references"]);
    assert!(conversions(&hub).is_empty());
}

#[test]
fn a_gate_file_with_names_on_the_hub() {
    let hub = Hub::new();
    add_converted(&hub);
    let gate = |model: &str, reference: &str| {
        let yaml = format!("models:\n  - {{model: \"{model}\", references: [\"{reference}\"]}}\n");
        fs::write(hub.path("verify.yaml"), yaml).unwrap();
        let mut command = hub.program("mert-verify");
        command.args(["--config", "verify.yaml", "--json", "report.json"]);
        run(&mut command)
    };
    assert_done(&gate("hf://owner/converted", "hf://owner/converted@main/references/clip.npz"));
    let report: Value = serde_json::from_slice(&fs::read(hub.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["passed"], true);
    hub.server.requests();
    // A path that is missing does not become a download.
    assert_eq!(gate("owner/converted", "hf://owner/converted/references/clip.npz").code, Some(2));
    assert!(hub.server.requests().iter().all(|request| !request.path.contains("model.safetensors")));
    assert_eq!(gate("hf://owner/none", "hf://owner/converted/references/clip.npz").code, Some(2));
    let report: Value = serde_json::from_slice(&fs::read(hub.path("report.json")).unwrap()).unwrap();
    assert!(report.to_string().contains("no model `owner/none`"), "{report}");
}

#[test]
fn models_and_references_that_cannot_be_verified() {
    let hub = Hub::new();
    add_converted(&hub);
    let refused = |model: &str, reference: &str, words: &[&str]| {
        let mut command = hub.program("mert-verify");
        let run = run(command.args([model, "--reference", reference, "--quiet"]));
        assert_eq!(run.code, Some(2), "{}{}", run.stdout, run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "`{word}` is not in: {}", run.stderr);
        }
    };
    let reference = "hf://owner/converted/references/clip.npz";
    refused(
        "owner/tiny",
        reference,
        &["`owner/tiny`", "not a converted model", "mert-convert owner/tiny", "--checkpoint"],
    );
    assert!(hub.downloads().is_empty(), "the weights are not downloaded to be refused");
    refused("owner/none", reference, &["no file or folder `owner/none`", "no model `owner/none`"]);
    refused("hf://owner", reference, &["invalid name `hf://owner`", "hf://owner/name"]);
    refused("owner/converted", "hf://owner/converted/none.npz", &["no file `none.npz`", COMMIT]);
    refused("owner/converted", "hf://owner/converted", &["the path of the file in the model is missing", "/FILE"]);
    refused("owner/converted", "hf://owner/converted/../x.npz", &["plain folder and file names"]);
    refused("owner/converted", "owner/converted/references/clip.npz", &["cannot read owner/converted/references"]);
    // transformers' own weights under the converted file's name.
    let plain = fs::read(fixture("containers/plain.safetensors")).unwrap();
    hub.server.add("owner/plain", "model.safetensors", &plain);
    refused("owner/plain", reference, &["convert the original checkpoint first"]);

    hub.server.fail("CDN", "references/clip.npz", 1, Fault::Corrupt);
    fs::remove_dir_all(hub.path("hf/hub/models--owner--converted")).unwrap();
    refused("owner/converted", reference, &["`references/clip.npz` of `owner/converted`", "expected sha256"]);
}

#[test]
fn the_other_commands_of_verify() {
    let hub = Hub::new();
    add_converted(&hub);
    let mut bench = hub.program("mert-verify");
    assert_done(&run(bench.args(["bench", "owner/converted", "--seconds", "1", "--runs", "1"])));
    let mut states = hub.program("mert-verify");
    states.args(["hidden-states", "owner/converted", "--output", "states.npz", "--input"]);
    assert_done(&run(states.arg(fixture("mert-tiny/reference.npz"))));
    assert!(hub.path("states.npz").is_file());
}

/// Without libtorch the original is not downloaded to be refused.
#[cfg(not(feature = "tch"))]
#[test]
fn an_original_of_the_hub_without_libtorch() {
    let hub = Hub::new();
    let model = fixture("mert-tiny/model.safetensors");
    let mut command = hub.program("mert-verify");
    let run = run(command.arg(model).args(["--checkpoint", "owner/tiny"]));
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("libtorch"), "{}", run.stderr);
    assert!(hub.server.requests().is_empty());
}

#[cfg(feature = "tch")]
#[test]
fn an_original_of_the_hub() {
    let hub = Hub::new();
    assert_done(&hub.run("owner/tiny"));
    let mut command = hub.program("mert-verify");
    assert_done(&run(command.args(["out.safetensors", "--checkpoint", "owner/tiny"])));
}
