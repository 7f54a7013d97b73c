//! Playlists of names that are hard to write.

use super::*;

fn entry(path: &str) -> Entry {
    Entry { path: path.into(), ..Entry::default() }
}

#[test]
fn paths_in_m3u_are_relative_to_the_playlist() {
    let entries = [
        Entry {
            title: Some("A\nB".into()),
            artist: Some("C".into()),
            duration: Some(61.6),
            ..entry("/m/lists/a.flac")
        },
        entry("/m/é ü.flac"),
        entry("/m/lists/#1.flac"),
        entry("/m/lists/http:x.flac"),
        entry("/m/lists/new\nline.flac"),
        entry("/elsewhere/b.flac"),
    ];
    let text = PlaylistFormat::M3u.text("my\tlist", &entries, Path::new("/m/lists")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["#EXTM3U", "#PLAYLIST:my list", "#EXTINF:62,C - A B", "a.flac"]);
    let paths: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with("#E")).skip(1).collect();
    let expected =
        ["a.flac", "../é ü.flac", "./#1.flac", "./http:x.flac", "file:///m/lists/new%0Aline.flac", "/elsewhere/b.flac"];
    assert_eq!(paths, expected);
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_are_uris() {
    use std::os::unix::ffi::OsStringExt;

    let path = PathBuf::from(std::ffi::OsString::from_vec(b"/m/caf\xe9 100%.flac".to_vec()));
    assert_eq!(file_uri(&path).unwrap(), "file:///m/caf%E9%20100%25.flac");
    let entries = [Entry { path, ..Entry::default() }];
    for format in [PlaylistFormat::M3u, PlaylistFormat::Xspf, PlaylistFormat::Jspf] {
        let text = format.text("t", &entries, Path::new("/m")).unwrap();
        assert!(text.contains("file:///m/caf%E9%20100%25.flac"), "{text}");
    }
}

#[test]
fn xml_has_no_character_that_it_does_not_allow() {
    let entries = [Entry {
        title: Some("a<b> & \u{1}\u{ffff}\"c\"".into()),
        scores: vec![("cosine", 0.5)],
        ..entry("/a&b.flac")
    }];
    let text = PlaylistFormat::Xspf.text("<t>", &entries, Path::new("/")).unwrap();
    assert!(text.contains("<title>a&lt;b&gt; &amp; \u{fffd}\u{fffd}\"c\"</title>"), "{text}");
    assert!(text.contains("<location>file:///a%26b.flac</location>"), "{text}");
    assert!(!text.contains('\u{1}') && !text.contains("<t>"), "{text}");
}

#[test]
fn a_name_without_a_format_is_refused() {
    assert_eq!(PlaylistFormat::of(Path::new("a.M3U8")).unwrap(), PlaylistFormat::M3u);
    assert!(PlaylistFormat::of(Path::new("a.pls")).unwrap_err().to_string().contains(".m3u8, .xspf or .jspf"));
}

#[test]
fn songs_of_one_artist_are_spread() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = crate::testing::catalogue(folder.path(), 20);
    let credits = crate::query::Credits::of(&catalogue);
    // Artists 0, 0, 0, 1, 1 and one that is unknown.
    let tracks = [0, 5, 10, 1, 16, 6];
    assert_eq!(spread(&credits, &tracks, 1), (vec![0, 3, 1, 4, 2, 5], 0));
    assert_eq!(spread(&credits, &tracks, 0), (vec![0, 1, 2, 3, 4, 5], 0));
    assert_eq!(spread(&credits, &[0, 5, 10], 1), (vec![0, 1, 2], 2));
}
