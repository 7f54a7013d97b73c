//! Files that are sent to search from: what they find, what is refused, and that nothing of them stays.

use mert_testkit::runner;
use serde_json::Value;

use super::library::{Library, Server};
use super::schema;

/// A file that is sent is searched from as the command line does, and nothing of it stays.
#[test]
fn files_that_are_sent_are_embedded_and_searched_from() {
    let library = Library::new();
    let model = mert_testkit::fixture("mert-tiny/model.safetensors");
    let plain = library.serve();
    let post = |server: &Server, name: &str, body: &[u8]| {
        let head = format!(
            "POST /api/v1/uploads?name={name} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            server.address,
            body.len()
        );
        server.send("POST", &[head.as_bytes(), body].concat())
    };
    let file = std::fs::read(library.music().join("03.wav")).unwrap();
    let off = post(&plain, "03.wav", b"x");
    assert_eq!(off.status, 501);
    assert!(off.error().contains("--model"), "{}", off.error());
    assert_eq!(plain.json("/api/v1/info")["uploads"]["is_enabled"], false);

    let server = library.serve_with(&["--model", model.to_str().unwrap()]);
    let document = server.json("/api/v1/openapi.json");
    let before: Vec<_> = walk(&library.catalogue());
    let sent = post(&server, "..%2Fmine.wav", &file);
    assert_eq!(sent.status, 202, "{}", sent.text());
    let id = sent.json()["id"].as_str().unwrap().to_string();
    let mut state = sent.json();
    for _ in 0..200 {
        let schema = &document["components"]["schemas"]["Upload"];
        assert_eq!(schema::fault(&document, schema, &state, "upload"), None);
        if state["state"] == "ready" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        state = server.json(&format!("/api/v1/uploads/{id}"));
    }
    assert_eq!((&state["state"], &state["card"]["file"]), (&"ready".into(), &"mine.wav".into()));
    let found = server.json(&format!("/api/v1/search?seed={id}&top=5"));
    assert_eq!((&found["seeds"][0]["id"], &found["seeds"][0]["track"]), (&id.as_str().into(), &Value::Null));
    // It is the recording of a track, which is a version of it, and searches as the track does.
    let track = server.track("03");
    assert_eq!(found["seed_versions"][0]["track"], track);
    assert!((found["seed_versions"][0]["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    let as_track = server.json(&format!("/api/v1/search?seed={track}&top=5"));
    for (a, b) in found["hits"].as_array().unwrap().iter().zip(as_track["hits"].as_array().unwrap()) {
        assert_eq!(a["track"], b["track"]);
        assert!((a["cosine"].as_f64().unwrap() - b["cosine"].as_f64().unwrap()).abs() < 1e-6);
    }
    let hit = &found["hits"][0]["track"];
    let reasons = server.json(&format!("/api/v1/explain?seed={id}&hit={hit}"));
    assert_eq!(reasons["seed_tracks"][0]["id"], id.as_str());
    let way = server.json(&format!("/api/v1/path?from={id}&to={hit}&steps=2"));
    assert_eq!((way["steps"].as_array().unwrap().len(), &way["steps"][0]["id"]), (4, &id.as_str().into()));
    let artist = server.json(&format!("/api/v1/search?seed={id}&where=artist%20%21%3D%20seed.artist&top=20"));
    assert!(artist["hits"].as_array().unwrap().iter().all(|hit| hit["artist"] != "Artist 0"));
    // The same file again is known.
    assert_eq!(post(&server, "again.wav", &file).json()["state"], "ready");

    let refused = post(&server, "notes.txt", b"these are notes");
    assert_eq!(refused.status, 415);
    assert!(refused.error().contains("notes.txt") && !refused.error().contains("/tmp"), "{}", refused.error());
    assert_eq!(post(&server, "empty.wav", b"").status, 400);
    let large = format!(
        "POST /api/v1/uploads HTTP/1.1\r\nHost: {}\r\nContent-Length: 999999999999\r\nConnection: close\r\n\r\n",
        server.address
    );
    assert_eq!(server.send("POST", large.as_bytes()).status, 413);
    let foreign = [("Origin", "http://evil.example"), ("Content-Length", "0")];
    assert_eq!(server.request("POST", "/api/v1/uploads", &foreign).status, 403);
    assert_eq!(walk(&library.catalogue()), before, "the catalogue stays as it was");

    // Another model than the catalogue's is refused.
    let other = runner::run(
        "mert-search",
        ["serve".as_ref(), library.catalogue().as_os_str(), "--model".as_ref(), library.music().as_os_str()],
    );
    assert_eq!(other.code, 2, "{}", other.stderr);
    let star =
        runner::run("mert-search", ["serve".as_ref(), library.catalogue().as_os_str(), "--allow-host=*".as_ref()]);
    assert!(star.code == 2 && star.stderr.contains("invalid --allow-host *"), "{}", star.stderr);
}

/// The files of a folder with their lengths, but for caches.
fn walk(folder: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() && path.file_name().unwrap() != "cache" => folders.push(path),
                path if path.is_dir() => {}
                path => files.push((path, entry.metadata().unwrap().len())),
            }
        }
    }
    files.sort();
    files
}
