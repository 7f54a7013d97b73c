//! Downloads from the hub under failures, from a local server: repeated attempts, resumed files, and where the token goes.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::hub::hub_server::{Fault, sha256};
use crate::hub::{Hub, names, run, weights};

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
    hub.run("owner/tiny").assert_refused(&["HTTP 429", "4 attempts", "HF_TOKEN"]);
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
    let run = hub.run("owner/tiny");
    run.assert_refused(&["HTTP 500", "4 attempts", "run again"]);
    assert!(!run.stderr.contains("is kept"), "{}", run.stderr);
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
    hub.run("owner/tiny").assert_refused(&[
        "pytorch_model.bin",
        "4 attempts",
        "run again; the partial download is kept",
    ]);
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
fn a_damaged_partial_file_is_downloaded_again() {
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
fn concurrent_runs_share_one_download() {
    let hub = Hub::new();
    hub.server.fail("CDN", "pytorch_model.bin", 1, Fault::Stall(20_000, Duration::from_secs(2)));
    thread::scope(|scope| {
        let runs = ["one", "two", "three"].map(|name| {
            let folder = hub.path(name);
            fs::create_dir(&folder).unwrap();
            let mut command = hub.command("owner/tiny");
            command.current_dir(folder).args(["--quiet", "--do-normalize", "true"]);
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
