//! Lists of files: plain text with a path per line, and playlists (M3U, PLS).

use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, WINDOWS_1252};
use mert_table::printable_path;
use percent_encoding::percent_decode;

use super::input::is_address;
use crate::EmbedError;

/// Extensions of unsupported playlist formats.
const UNSUPPORTED: [&str; 6] = ["xspf", "wpl", "asx", "zpl", "b4s", "cue"];

/// Whether `path` has the extension of a supported playlist format.
pub(super) fn is_playlist(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["m3u", "m3u8", "pls"].iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// The format of a list.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A path on each line.
    Plain,
    M3u,
    Pls,
}

/// The paths in the file `list`; a playlist's are relative to its own folder. Assumptions are added to `notes`.
///
/// # Errors
/// [`EmbedError::Read`] for a list that cannot be read, [`EmbedError::Input`] for one in an unsupported format.
pub(super) fn read(list: &Path, notes: &mut Vec<String>) -> Result<Vec<PathBuf>, EmbedError> {
    let extension = list.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    if UNSUPPORTED.contains(&extension.as_str()) {
        let reason = format!(".{extension} playlists are not supported: save it as .m3u8, or as one path on each line");
        return Err(EmbedError::input(list, reason));
    }
    let kind = match extension.as_str() {
        "m3u" | "m3u8" => Kind::M3u,
        "pls" => Kind::Pls,
        _ => Kind::Plain,
    };
    let bytes = std::fs::read(list).map_err(|error| EmbedError::read(list, error))?;
    if Encoding::for_bom(&bytes).is_none() && bytes.contains(&0) {
        let reason = "it has NUL bytes and is not text in UTF-8: save it as UTF-8, with one path on each line";
        return Err(EmbedError::input(list, reason));
    }
    let base = list.parent().filter(|_| kind != Kind::Plain).unwrap_or(Path::new(""));
    let mut assumed = false;
    let paths = lines(&bytes)
        .iter()
        .filter_map(|line| entry(kind, line))
        .map(|entry| {
            let (path, is_guess) = decode(base, entry);
            assumed |= is_guess;
            path
        })
        .collect();
    if assumed {
        let list = printable_path(list);
        notes.push(format!("{list}: not UTF-8: names are read as Windows-1252 (Latin-1)"));
    }
    Ok(paths)
}

/// The lines of a text without their endings. UTF-16 with a byte order mark is converted to UTF-8.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let text = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => encoding.decode(&bytes[length..]).0.into_owned().into_bytes(),
        None => bytes.to_vec(),
    };
    // Old programs on a Mac end lines with a carriage return alone.
    let end = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    text.split(|&byte| byte == end).map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
}

/// The name in a line of a list, if there is one.
fn entry(kind: Kind, line: &[u8]) -> Option<&[u8]> {
    let entry = match kind {
        Kind::Plain => line,
        Kind::M3u if line.starts_with(b"#") => return None,
        Kind::M3u => line.trim_ascii(),
        Kind::Pls => {
            let number = line.get(..4).filter(|key| key.eq_ignore_ascii_case(b"file")).map(|_| &line[4..])?;
            number[number.iter().position(|&byte| byte == b'=')? + 1..].trim_ascii()
        }
    };
    (!entry.trim_ascii().is_empty()).then_some(entry)
}

/// The path of an entry, and whether its encoding was assumed. Bytes that are not UTF-8 are a raw file name if such a
/// file exists, otherwise Windows-1252.
fn decode(base: &Path, entry: &[u8]) -> (PathBuf, bool) {
    if let Ok(text) = std::str::from_utf8(entry) {
        return (resolve(base, Path::new(text)), false);
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;

        let path = resolve(base, Path::new(std::ffi::OsStr::from_bytes(entry)));
        if path.exists() {
            return (path, false);
        }
    }
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(entry);
    (resolve(base, Path::new(text.as_ref())), true)
}

/// `name` relative to the folder `base`. A name that does not exist as written may be a `file://` URL, use Windows
/// separators, or be percent-encoded, as VLC writes it.
fn resolve(base: &Path, name: &Path) -> PathBuf {
    if is_address(name) {
        return local_path(name);
    }
    let path = base.join(name);
    let Some(text) = name.to_str().filter(|_| !path.exists()) else { return path };
    let slashes = text.replace('\\', "/");
    let names = [
        slashes.clone().into(),
        bytes_to_path(percent_decode(text.as_bytes()).collect()),
        bytes_to_path(percent_decode(slashes.as_bytes()).collect()),
    ];
    names.iter().map(|name: &PathBuf| base.join(name)).find(|path| path.exists()).unwrap_or(path)
}

/// The local path of a `file://` URL; any other name unchanged.
pub(super) fn local_path(name: &Path) -> PathBuf {
    let is_file_url = |text: &&str| text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"));
    let Some(text) = name.to_str().filter(|text| is_file_url(text) && !name.exists()) else {
        return name.to_path_buf();
    };
    let rest = &text["file:".len()..];
    let path = match rest.strip_prefix("//") {
        // The URL's host is empty for the local machine.
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    if !path.starts_with('/') {
        return name.to_path_buf();
    }
    let is_drive = path.as_bytes().get(2) == Some(&b':');
    bytes_to_path(percent_decode(&path.as_bytes()[usize::from(cfg!(windows) && is_drive)..]).collect())
}

fn bytes_to_path(bytes: Vec<u8>) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;

        std::ffi::OsString::from_vec(bytes).into()
    }
    #[cfg(not(unix))]
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(name: &str, bytes: &[u8], files: &[&str]) -> (Vec<PathBuf>, Vec<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let mut notes = Vec::new();
        let paths = read(&folder.path().join(name), &mut notes).unwrap();
        (paths, notes, folder)
    }

    #[test]
    fn comments_are_those_of_playlists() {
        let lines = "#EXTM3U\r\n#EXTINF:123,Someone - Something\nsong.mp3\n\n";
        for name in ["a.m3u8", "a.M3U"] {
            let (paths, notes, folder) = read_as(name, lines.as_bytes(), &[]);
            assert_eq!((paths, notes), (vec![folder.path().join("song.mp3")], vec![]), "{name}");
        }
        let (paths, ..) = read_as("a.txt", lines.as_bytes(), &[]);
        let expected = ["#EXTM3U", "#EXTINF:123,Someone - Something", "song.mp3"];
        assert_eq!(paths, expected.map(PathBuf::from));
        let (paths, _, folder) = read_as("a.m3u", b"#EXTM3U\r  a.mp3 \rb.mp3\r", &[]);
        assert_eq!(paths, ["a.mp3", "b.mp3"].map(|name| folder.path().join(name)));
        let pls = "[playlist]\nNumberOfEntries=2\nFile1=a.mp3\nTitle1=A\nfile2 = /b=c.mp3\n";
        let (paths, _, folder) = read_as("a.pls", pls.as_bytes(), &[]);
        assert_eq!(paths, [folder.path().join("a.mp3"), "/b=c.mp3".into()]);
    }

    #[test]
    fn names_in_the_encodings_of_players() {
        let (paths, notes, folder) = read_as("old.m3u", b"#EXTM3U\r\ncaf\xe9 \x80.wav\r\n", &["café €.wav"]);
        assert_eq!(paths, [folder.path().join("café €.wav")]);
        assert!(notes[0].contains("Windows-1252"), "{notes:?}");
        let utf16: Vec<u8> = "\u{feff}café.wav\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [utf16, "\u{feff}café.wav".into()] {
            let (paths, notes, folder) = read_as("list.m3u8", &bytes, &[]);
            assert_eq!((paths, notes), (vec![folder.path().join("café.wav")], vec![]));
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_name_a_file_are_its_name() {
        use std::os::unix::ffi::OsStrExt;

        let folder = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.wav");
        std::fs::write(folder.path().join(name), "x").unwrap();
        std::fs::write(folder.path().join("a.m3u"), b"caf\xe9.wav").unwrap();
        let mut notes = Vec::new();
        assert_eq!(read(&folder.path().join("a.m3u"), &mut notes).unwrap(), [folder.path().join(name)]);
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn addresses_and_separators_of_other_programs() {
        let files = ["Music/My Song.mp3", "Music/100%25.mp3"];
        let lines = "Music\\My Song.mp3\nMusic/My%20Song.mp3\nMusic\\My%20Song.mp3\nMusic/100%25.mp3\n";
        let (paths, _, folder) = read_as("a.m3u", lines.as_bytes(), &files);
        let song = folder.path().join(files[0]);
        assert_eq!(paths, [song.clone(), song.clone(), song, folder.path().join(files[1])]);
        for (address, path) in [
            ("file:///music/a%20%C3%BC.mp3", "/music/a ü.mp3"),
            ("file://localhost/a.mp3", "/a.mp3"),
            ("file:/a.mp3", "/a.mp3"),
            ("FILE:///a.mp3", "/a.mp3"),
            ("file://server/a.mp3", "file://server/a.mp3"),
            ("https://example.org/a.mp3", "https://example.org/a.mp3"),
        ] {
            assert_eq!(local_path(Path::new(address)), PathBuf::from(path), "{address}");
        }
    }

    #[test]
    fn other_playlists_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("a.XSPF");
        std::fs::write(&list, "<playlist/>").unwrap();
        let error = read(&list, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(".xspf") && error.contains(".m3u8"), "{error}");
    }
}
