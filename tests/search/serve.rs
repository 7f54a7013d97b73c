//! End to end: the page and the JSON API of `mert-search serve`, audio, other players' protocols, and what must be refused.

mod library;
mod players;
mod schema;
mod uploads;

use mert_audio::{AudioFile, Damage, Source};
use mert_search::query::{Calibration, SearchLevel, SearchOptions, search};
use mert_search::{Catalogue, Geometry, Seed, Space};
use serde_json::Value;

use library::{Library, RATE};

/// All samples of a file.
fn decoded(path: &std::path::Path) -> Vec<f32> {
    let mut file = AudioFile::open(path, Damage::Refuse).unwrap();
    let mut samples = Vec::new();
    while let Some(block) = file.next_block().unwrap() {
        samples.extend_from_slice(block);
    }
    samples
}

#[test]
fn audio_is_served_by_number_with_ranges() {
    let library = Library::new();
    let server = library.serve();
    let number = server.track("03");
    let file = std::fs::read(library.music().join("03.wav")).unwrap();
    let target = format!("/audio/{number}");

    let whole = server.get(&target);
    assert_eq!((whole.status, whole.header("content-type")), (200, Some("audio/wav")));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.body, file);
    let part = server.request("GET", &target, &[("Range", "bytes=1000-1999")]);
    let range = format!("bytes 1000-1999/{}", file.len());
    assert_eq!((part.status, part.header("content-range")), (206, Some(range.as_str())));
    assert_eq!(part.body, file[1000..2000]);
    let etag = whole.header("etag").unwrap();
    let same = [("Range", "bytes=0-9"), ("If-Range", etag)];
    assert_eq!(server.request("GET", &target, &same).status, 206);
    let other = server.request("GET", &target, &[("Range", "bytes=0-9"), ("If-Range", "\"other\"")]);
    assert_eq!((other.status, other.body.len()), (200, file.len()));
    assert_eq!(server.request("GET", &target, &[("Range", "bytes=99999999-")]).status, 416);
    let head = server.request("HEAD", &target, &[("Range", "bytes=0-9")]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(file.len().to_string().as_str())));
    let id = server.json(&format!("/api/v1/tracks/{number}"))["id"].as_str().unwrap().to_string();
    assert_eq!(server.get(&format!("/audio/{id}")).body, file);
    // Ranges that are none, or of other units, or several, are ignored: RFC 9110, section 14.2.
    for target in [target.clone(), format!("{target}/passage")] {
        for range in ["foo", "items=0-1", "bytes=a-b", "bytes=5-1", "bytes=0-1,5-6", "bytes", "bytes="] {
            assert_eq!(server.request("GET", &target, &[("Range", range)]).status, 200, "{target} {range}");
        }
        assert_eq!(server.request("GET", &target, &[("Range", "bytes=-10")]).body.len(), 10);
    }
    let head = server.request("HEAD", &target, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(file.len().to_string().as_str())));
    // Compression would take the ranges away.
    let plain = server.request("GET", &target, &[("Accept-Encoding", "gzip")]);
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, file.len()));

    // A passage of a 16-bit file has its bytes.
    let target = format!("/audio/{number}/passage?start=0.5&end=1.25");
    let passage = server.get(&target);
    assert_eq!((passage.status, passage.header("content-type")), (200, Some("audio/wav")));
    let data = file.windows(4).position(|window| window == b"data").unwrap() + 8;
    let (first, last) = (RATE as usize / 2, RATE as usize * 5 / 4);
    assert_eq!(passage.body[44..], file[data + 2 * first..data + 2 * last]);
    let part = server.request("GET", &target, &[("Range", "bytes=101-200")]);
    assert_eq!((part.status, &part.body[..]), (206, &passage.body[101..=200]));
    assert_eq!(server.request("HEAD", &target, &[]).header("content-length"), Some("36044"));
    assert_eq!(server.request("GET", &target, &[("Range", "bytes=36044-")]).status, 416);

    // What browsers do not play is decoded as a whole.
    for (name, rate) in [("b.aiff", 32_000u32), ("c.m4a", 48_000)] {
        let number = server.track(name.split('.').next().unwrap());
        let answer = server.get(&format!("/audio/{number}/passage"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.body[24..28], rate.to_le_bytes());
        let samples = decoded(&library.music().join(name));
        let values: Vec<f32> = answer.body[44..]
            .chunks(2)
            .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32768.0)
            .collect();
        assert_eq!(values.len(), samples.len());
        let worst = values.iter().zip(&samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Half a step of 16 bits, or a whole one at the upper end of the scale.
        assert!(worst <= 1.0 / 32768.0, "{name}: {worst}");
    }
    let playable = |file: &str| server.json(&format!("/api/v1/tracks/{}", server.track(file)))["playable"].clone();
    assert_eq!((playable("03"), playable("b")), (true.into(), false.into()));

    for target in ["/audio/999", "/audio/-1", "/audio/x", "/audio/999/passage", "/audio/18446744073709551616"] {
        assert_eq!(server.get(target).status, 404, "{target}");
    }
    for query in ["start=2&end=1", "start=9", "start=NaN", "end=inf", "start=-1", "start=1&end=1", "begin=1"] {
        assert_eq!(server.get(&format!("/audio/{number}/passage?{query}")).status, 400, "{query}");
    }
    std::fs::remove_file(library.music().join("03.wav")).unwrap();
    for target in [format!("/audio/{number}"), format!("/audio/{number}/passage")] {
        let gone = server.get(&target);
        assert_eq!(gone.status, 404);
        assert!(gone.error().contains("03.wav"), "{}", gone.error());
    }
}

#[test]
fn nothing_else_is_served_and_other_sites_are_refused() {
    let library = Library::new();
    std::fs::write(library.music().join("secret.txt"), "root: secret").unwrap();
    let server = library.serve_with(&["--allow-host", "Music.Local"]);
    for target in [
        "/audio/../music/secret.txt",
        "/audio/0/../../../../../../etc/passwd",
        "/audio/..%2f..%2fetc%2fpasswd",
        "/audio/%2e%2e/%2e%2e/etc/passwd",
        "/audio/0%00/etc/passwd",
        "/audio//etc/passwd",
        "/audio/0?generation=1&path=/etc/passwd",
        "/api/v1/columns/%ff%fe",
        "/audio/%ff%fe",
        "/assets/../../Cargo.toml",
        "/assets/%2e%2e%2findex.html",
        "/assets/..\\secret",
        "//etc/passwd",
        "/etc/passwd",
        "/catalogue.json",
        "/api/v1/../../etc/passwd",
        "/api/v1/tracks/..%2f..%2fetc%2fpasswd",
    ] {
        let answer = server.get(target);
        assert!((400..500).contains(&answer.status), "{target}: {}", answer.status);
        assert!(!answer.text().contains("root:"), "{target}");
    }
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8765", 200),
        ("music.local:8765", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8765", 403),
        ("", 403),
    ] {
        for target in ["/", "/api/v1/info", "/audio/0", "/rest/ping", "/nothing"] {
            let answer = server.request("GET", target, &[("Host", host)]);
            let expected = if target == "/nothing" && status == 200 { 404 } else { status };
            assert_eq!(answer.status, expected, "{host} {target}");
        }
    }
    let twice =
        format!("GET / HTTP/1.1\r\nHost: {}\r\nHost: evil.example\r\nConnection: close\r\n\r\n", server.address);
    assert!((400..500).contains(&server.send("GET", twice.as_bytes()).status));
    let own = format!("http://{}", server.address);
    for (origin, status) in [(own.as_str(), 200), ("http://evil.example", 403), ("null", 403)] {
        assert_eq!(server.request("POST", "/rest/ping?f=json", &[("Origin", origin)]).status, status, "{origin}");
    }
    for (origin, status) in [(own.as_str(), 200), ("http://evil.example", 403), ("null", 403)] {
        assert_eq!(server.request("GET", "/api/v1/info", &[("Origin", origin)]).status, status, "{origin}");
    }
    for (target, status) in [(format!("{own}/api/v1/info"), 200), ("http://evil.example/api/v1/info".into(), 403)] {
        assert_eq!(server.get(&target).status, status, "{target}");
    }
    let embedded = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
    assert_eq!(server.request("GET", "/audio/0", &embedded).status, 403);
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(server.request(method, "/api/v1/search?seed=0", &[]).status, 405, "{method}");
    }
    // What is not UTF-8 is an error as all others are.
    assert!(server.get("/api/v1/columns/%ff%fe").error().contains("UTF-8"));
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for answer in [page, server.get("/api/v1/info"), server.get("/nothing"), server.get("/audio/0")] {
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
    }
    // All that the page refers to is there, and nothing of it is elsewhere.
    let page = server.get("/").text();
    let files: Vec<&str> = page.split(['"', '\'']).filter(|text| text.starts_with("/assets/")).collect();
    assert!(files.len() >= 5 && !page.contains("http"), "{files:?}");
    for file in files {
        let answer = server.get(file);
        assert_eq!(answer.status, 200, "{file}");
        let text = answer.text();
        for import in text.lines().filter_map(|line| line.strip_prefix("import ")?.split('"').nth(1)) {
            assert_eq!(
                server.get(&format!("/assets/{}", import.trim_start_matches("./"))).status,
                200,
                "{file}: {import}"
            );
        }
        assert!(!text.contains("innerHTML") && !text.contains("https://"), "{file}");
    }
    let packed = server.request("GET", "/assets/components.css", &[("Accept-Encoding", "gzip")]);
    assert_eq!((packed.header("content-encoding"), &packed.body[..2]), (Some("gzip"), &[0x1f, 0x8b][..]));
}

/// A parameter's example as text; with `value` for the identifiers that only the catalogue has.
fn example(parameter: &Value, id: &str) -> Option<String> {
    let name = parameter["name"].as_str().unwrap();
    match (&parameter["example"], name) {
        (Value::String(text), _) => Some(text.clone()),
        (Value::Number(number), _) => Some(number.to_string()),
        (Value::Array(texts), _) => Some(texts[0].as_str().unwrap().to_string()),
        (_, "item_id" | "start_song_id" | "end_song_id") => Some(id.to_string()),
        (_, "artist") if parameter["required"] == true => Some("Artist%201".into()),
        _ => None,
    }
}

#[test]
fn the_api_answers_as_its_description_says() {
    let library = Library::new();
    let server = library.serve();
    let document = server.json("/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let ids = server.ids();
    for (path, item) in document["paths"].as_object().unwrap() {
        // What files do that are sent has a test of its own.
        if path.starts_with("/api/v1/uploads") {
            continue;
        }
        let operation = &item["get"];
        let (mut target, mut query) = (path.clone(), Vec::new());
        for parameter in operation["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            match example(parameter, &ids[1]) {
                Some(value) if parameter["in"] == "path" => target = target.replace(&format!("{{{name}}}"), &value),
                Some(value) => query.push(format!("{name}={value}")),
                None => assert!(parameter["required"] != true, "{path}: {name} needs an example"),
            }
        }
        let target = format!("{target}?{}", query.join("&"));
        let answer = server.get(&target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let (kind, content) = operation["responses"]["200"]["content"].as_object().unwrap().iter().next().unwrap();
        let found = answer.header("content-type").unwrap();
        assert!(found.starts_with(kind.trim_end_matches('*')), "{target}: {found}");
        if kind == "application/json" {
            assert_eq!(schema::fault(&document, &content["schema"], &answer.json(), path), None, "{target}");
        }
        // Every optional number and flag is refused if it is neither; the protocols of others take the usual value.
        if !path.starts_with("/api/v1/") && !path.starts_with("/audio/") {
            continue;
        }
        for parameter in operation["parameters"].as_array().unwrap() {
            let is_figure = ["number", "integer", "boolean"].iter().any(|kind| parameter["schema"]["type"] == **kind);
            if is_figure && parameter["in"] == "query" {
                let name = parameter["name"].as_str().unwrap();
                let answer = server.get(&format!("{target}&{name}=x").replace(&format!("{name}=5&"), ""));
                let first = query.iter().any(|pair| pair.starts_with(&format!("{name}=")));
                assert!(
                    answer.status == 400 && answer.error().contains(name) || first,
                    "{path} {name}: {}",
                    answer.status
                );
            }
        }
        assert_eq!(
            server.get(&format!("{target}&nonsense=1")).status,
            if path.ends_with("openapi.json") { 200 } else { 400 }
        );
    }
    for (target, status, word) in [
        ("/api/v1/search", 400, "seed"),
        ("/api/v1/search?seed=99", 404, "99"),
        ("/api/v1/search?seed=0&layers=7", 400, "hidden state 7"),
        ("/api/v1/search?seed=0&where=duration%20%3D%3D", 400, "expected"),
        ("/api/v1/search?seed=0&where=nonsense%20%3D%201", 400, "nonsense"),
        ("/api/v1/search?seed=0@5-1", 400, "`5-1` of track 0"),
        ("/api/v1/search?seed=0&generation=77", 409, "77"),
        ("/api/v1/explain?seed=0&hit=1&segment=99", 400, "segment"),
        ("/api/v1/columns/nonsense", 404, "nonsense"),
        ("/api/v1/search?seed=0&metric=a", 400, "without --metric"),
        ("/api/v1/search?seed=0@1:35-1:20", 400, "its end does not come after its start"),
        ("/api/v1/search?seed=0@50:00-60:00", 400, "the track ends at"),
        ("/api/v1/search?seed=upload-0123456789abcdef", 404, "upload-0123456789abcdef"),
        ("/api/v1/uploads/x", 404, "`x`"),
        ("/api/similar_artists?artist=Nobody", 404, "no track of the catalogue is by an artist `Nobody`"),
        ("/api/similar_artists", 400, "`artist`"),
        ("/api/v1/playlist?tracks=0,x", 404, "x"),
        ("/api/v1/nothing", 404, "/api/v1/nothing"),
    ] {
        let answer = server.get(target);
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert!(answer.error().contains(word), "{target}: {}", answer.error());
    }
}

#[test]
fn searches_are_those_of_the_library_and_the_catalogue_is_followed() {
    let library = Library::new();
    let server = library.serve();
    let number = server.track("02") as usize;
    let catalogue = Catalogue::open(&library.catalogue()).unwrap();
    for (query, layers) in [("", "2,6"), ("&layers=6", "6"), ("&layers=2:0.9,6:0.1&where=genre=Folk", "2:0.9,6:0.1")] {
        let mut geometry = Geometry::of(&catalogue);
        geometry.weights = Geometry::parse_weights(&catalogue, layers).unwrap();
        let space = Space::new(&catalogue, geometry).unwrap();
        let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
        let filter = query.contains("where").then(|| "genre = Folk".to_string());
        let options = SearchOptions { top: 5, filter, ..SearchOptions::default() };
        let expected = search(&space, &calibration, &[(Seed::Track(number), 1.0)], &options).unwrap();
        let found = server.json(&format!("/api/v1/search?seed={number}&top=5{query}"));
        let hits = found["hits"].as_array().unwrap();
        assert_eq!(hits.len(), expected.hits.len());
        for (hit, expected) in hits.iter().zip(&expected.hits) {
            assert_eq!(hit["track"].as_u64(), Some(expected.track as u64));
            // The parser of the test may be off by the last digit.
            assert!((hit["cosine"].as_f64().unwrap() - expected.cosine).abs() < 1e-15, "{hit}");
            assert_eq!(hit["percentile"].as_f64(), expected.percentile);
            assert_ne!(hit["track"].as_u64(), Some(number as u64), "the seed is no hit");
        }
        // The reasons of the first hit sum to its cosine.
        let layers = query.split('&').find(|pair| pair.starts_with("layers")).unwrap_or("center=true");
        let reasons = server.json(&format!("/api/v1/explain?seed={number}&hit={}&{layers}", hits[0]["track"]));
        let sum: f64 = reasons["terms"].as_array().unwrap().iter().map(|term| term["term"].as_f64().unwrap()).sum();
        assert!((sum - hits[0]["cosine"].as_f64().unwrap()).abs() < 1e-9);
    }
    let title = server.json(&format!("/api/v1/tracks/{}", server.track("04")))["title"].clone();
    assert_eq!(title, "<b>\u{5e9}\u{5d9}\u{5e8}</b> & \"more\"");

    // What another process adds is there with the next request, under a new generation; the old numbers still hold.
    let before = server.json("/api/v1/info");
    library.write_piece(20);
    library.add();
    let after = server.json("/api/v1/info");
    assert_eq!(after["generation"].as_u64(), before["generation"].as_u64().map(|generation| generation + 1));
    assert_eq!(after["tracks"].as_u64(), before["tracks"].as_u64().map(|tracks| tracks + 1));
    assert_eq!(server.json("/api/v1/suggest?q=piece%2020")["total"], 1);
    assert_eq!(server.get(&format!("/audio/{number}?generation={}", before["generation"])).status, 200);
    assert_eq!(server.get(&format!("/audio/{number}?generation=99")).status, 409);
    #[cfg(unix)]
    assert_eq!(server.interrupt(), Some(0));
}

/// Whatever a query says, the answer is one, and the server goes on.
#[test]
fn no_query_ends_the_server() {
    let library = Library::new();
    let server = library.serve();
    // Knuth's linear congruential generator, of which the upper half is used.
    let mut state = 15u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % end
    };
    let names = [
        "seed",
        "minus",
        "where",
        "layers",
        "variety",
        "metric",
        "csls",
        "blend",
        "top",
        "hit",
        "from",
        "to",
        "q",
        "generation",
        "start",
        "end",
        "id",
        "f",
        "n",
    ];
    let values = [
        "0",
        "1",
        "-1",
        "1e308",
        "NaN",
        "18446744073709551615",
        "0@0-1",
        "0@1:00-",
        "@",
        "%00",
        "%ff%fe",
        "6:0.5,2:",
        "2:1e-320",
        "bpm%201..",
        "((((",
        "not%20not",
        "genre%20in%20(",
        "%22",
        "artist%20%3D%20seed.artist",
        "true",
        "%F0%9F%8E%B5",
        "json",
        "",
    ];
    let paths = [
        "/api/v1/search",
        "/api/v1/explain",
        "/api/v1/path",
        "/api/v1/suggest",
        "/api/v1/map",
        "/api/v1/playlist",
        "/api/v1/columns/artist",
        "/api/v1/tracks/0",
        "/audio/1/passage",
        "/api/similar_tracks",
        "/api/find_path",
        "/api/similar_artists",
        "/rest/getSonicSimilarTracks.view",
        "/rest/findSonicPath",
        "/rest/getSimilarSongs2",
    ];
    for _ in 0..400 {
        let query: Vec<String> = (0..below(5))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|_| format!("{}={}", names[below(names.len())], values[below(values.len())]))
            .collect();
        let target = format!("{}?{}", paths[below(paths.len())], query.join("&"));
        let answer = server.get(&target);
        assert!((200..500).contains(&answer.status), "{target}: {} {}", answer.status, answer.text());
    }
    for request in [
        "GET\r\n\r\n",
        "GET / HTTP/9\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "POST /rest/ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\n\u{0}&=",
    ] {
        server.send("GET", request.as_bytes());
    }
    assert_eq!(server.get("/api/v1/info").status, 200);
}
