//! The protocols of other players: OpenSubsonic's `sonicSimilarity`, and what AudioMuse-AI's plugin for Navidrome calls.

use serde_json::Value;

use super::library::Library;

/// The content of an OpenSubsonic answer in JSON.
fn content(answer: &Value) -> &Value {
    let content = &answer["subsonic-response"];
    assert_eq!((&content["version"], &content["openSubsonic"]), (&"1.16.1".into(), &true.into()));
    content
}

#[test]
fn opensubsonic_answers_in_json_and_xml() {
    let library = Library::new();
    let server = library.serve();
    let ids = server.ids();
    let extensions = server.json("/rest/getOpenSubsonicExtensions.view?u=a&p=b&v=1.16.1&c=test&f=json");
    let extensions = content(&extensions)["openSubsonicExtensions"].as_array().unwrap().clone();
    assert!(
        extensions
            .iter()
            .any(|extension| extension["name"] == "sonicSimilarity" && extension["versions"] == serde_json::json!([1]))
    );

    let similar = server.json(&format!("/rest/getSonicSimilarTracks?id={}&count=4&f=json", ids[2]));
    let matches = content(&similar)["sonicMatch"].as_array().unwrap();
    assert_eq!((matches.len(), &content(&similar)["status"]), (4, &"ok".into()));
    let similarities: Vec<f64> = matches.iter().map(|found| found["similarity"].as_f64().unwrap()).collect();
    assert!(similarities.is_sorted_by(|a, b| a >= b) && similarities.iter().all(|value| (0.0..=1.0).contains(value)));
    for found in matches {
        let entry = &found["entry"];
        assert!(entry["id"] != ids[2].as_str() && entry["isDir"] == false && entry["title"].is_string());
        assert!(ids.iter().any(|id| entry["id"] == id.as_str()));
    }

    let way =
        server.json(&format!("/rest/findSonicPath.view?startSongId={}&endSongId={}&count=5&f=json", ids[0], ids[7]));
    let way = content(&way)["sonicMatch"].as_array().unwrap();
    assert!((2..=5).contains(&way.len()), "{}", way.len());
    assert_eq!(
        (&way[0]["entry"]["id"], &way[way.len() - 1]["entry"]["id"]),
        (&ids[0].as_str().into(), &ids[7].as_str().into())
    );
    assert_eq!(way[0]["similarity"], 1.0);
    // Two songs are the shortest way.
    let short = server.json(&format!("/rest/findSonicPath?startSongId={}&endSongId={}&count=1&f=json", ids[0], ids[7]));
    assert_eq!(content(&short)["sonicMatch"].as_array().unwrap().len(), 2);

    let xml = server.get(&format!("/rest/getSonicSimilarTracks.view?id={}&count=2", ids[2]));
    assert_eq!(xml.header("content-type"), Some("text/xml; charset=utf-8"));
    let text = xml.text();
    assert!(text.contains("<subsonic-response xmlns=\"http://subsonic.org/restapi\" status=\"ok\""), "{text}");
    assert_eq!((text.matches("<sonicMatch similarity=").count(), text.matches("<entry id=").count()), (2, 2));
    let xml = server.get(&format!("/rest/getSimilarSongs?id={}&count=20", ids[0])).text();
    assert!(xml.contains("&lt;b&gt;\u{5e9}\u{5d9}\u{5e8}&lt;/b&gt; &amp; &quot;more&quot;"), "{xml}");

    let artist = content(&similar)["sonicMatch"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|found| found["entry"]["artistId"].as_str());
    let songs = server.json(&format!("/rest/getSimilarSongs2?id={}&count=3&f=json", artist.unwrap()));
    assert!(!content(&songs)["similarSongs2"]["song"].as_array().unwrap().is_empty());

    for (target, code) in [
        ("/rest/getSonicSimilarTracks?f=json", 10),
        ("/rest/getSonicSimilarTracks?id=none&f=json", 70),
        ("/rest/findSonicPath?startSongId=0&f=json", 70),
        ("/rest/getSimilarSongs?id=none&f=json", 70),
    ] {
        let answer = server.json(target);
        assert_eq!(
            (&content(&answer)["status"], &content(&answer)["error"]["code"]),
            (&"failed".into(), &code.into()),
            "{target}"
        );
    }
    assert_eq!(server.get("/rest/getAlbumList?f=json").status, 404);
    let request = format!(
        "POST /rest/getSonicSimilarTracks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\nid={}&f=json",
        10 + ids[2].len(),
        ids[2]
    );
    let posted = server.send("POST", request.as_bytes()).json();
    assert_eq!(content(&posted)["sonicMatch"][0], content(&similar)["sonicMatch"][0]);
}

/// The requests of the plugin, with all their parameters, and the fields that it reads.
#[test]
fn navidromes_plugin_for_audiomuse_is_answered() {
    let library = Library::new();
    let server = library.serve();
    let ids = server.ids();
    let found = server
        .json(&format!("/api/similar_tracks?eliminate_duplicates=true&item_id={}&n=4&radius_similarity=true", ids[1]));
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 4);
    let distances: Vec<f64> = found.iter().map(|item| item["distance"].as_f64().unwrap()).collect();
    assert!(distances.is_sorted() && distances.iter().all(|distance| (0.0..=1.0).contains(distance)), "{distances:?}");
    for item in found {
        assert!(item["item_id"] != ids[1].as_str(), "the song itself");
        assert!(["title", "author", "album"].iter().all(|field| item[field].is_string()), "{item}");
    }
    // By the names, as Navidrome matches.
    let named = server.json("/api/similar_tracks?title=piece%201&artist=ARTIST%201&duration=2.4&n=4");
    let number = server.track("01");
    let id = server.json(&format!("/api/v1/tracks/{number}"))["id"].as_str().unwrap().to_string();
    assert_eq!(named, server.json(&format!("/api/similar_tracks?item_id={id}&n=4")));
    assert_eq!(server.get("/api/similar_tracks?title=piece%201&artist=artist%201&duration=200").status, 404);

    let path = server.json(&format!(
        "/api/find_path?count=6&end_song_id={}&max_steps=6&mood_pct=100&path_fix_size=false&start_song_id={}",
        ids[8], ids[0]
    ));
    let steps = path["path"].as_array().unwrap();
    assert!((2..=6).contains(&steps.len()));
    assert_eq!(
        (&steps[0]["item_id"], &steps[steps.len() - 1]["item_id"]),
        (&ids[0].as_str().into(), &ids[8].as_str().into())
    );

    let artists = server.json("/api/similar_artists?artist=artist%200&include_component_matches=true&n=10");
    let artists = artists.as_array().unwrap();
    // Artist 0 is not like itself; the files without tags have no artist.
    assert_eq!(artists.len(), 2);
    for artist in artists {
        assert!(artist["artist"] != "Artist 0" && artist["artist_id"].is_string());
        let songs = &artist["component_matches"][0];
        for list in ["artist1_representative_songs", "artist2_representative_songs"] {
            assert!(songs[list].as_array().unwrap().iter().all(|song| song["item_id"].is_string()), "{songs}");
        }
    }
    // By the identifier that another answer gave.
    let id = artists[0]["artist_id"].as_str().unwrap();
    assert_eq!(server.json(&format!("/api/similar_artists?artist={id}&n=1")).as_array().unwrap().len(), 1);
    // Artists of one song are not called similar unless they are asked for.
    library.write_piece(31);
    let one = library.music().join("31.wav");
    let bytes = std::fs::read(&one).unwrap();
    let at = bytes.windows(8).position(|window| window == b"Artist 1").unwrap();
    let mut renamed = bytes;
    renamed[at + 7] = b'9';
    std::fs::write(&one, renamed).unwrap();
    library.add();
    let count =
        |query: &str| server.json(&format!("/api/similar_artists?artist=Artist%200{query}")).as_array().unwrap().len();
    assert_eq!((count(""), count("&min_tracks=1")), (2, 3));

    for (target, status) in [
        ("/api/similar_tracks", 400),
        ("/api/similar_tracks?item_id=none", 404),
        ("/api/find_path?start_song_id=none", 404),
        ("/api/similar_artists", 400),
        ("/api/similar_artists?artist=none", 404),
    ] {
        assert_eq!(server.get(target).status, status, "{target}");
    }
}
