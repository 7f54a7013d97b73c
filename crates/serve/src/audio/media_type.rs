//! The media types of audio files by their extension, and whether browsers play them.

/// Extensions that browsers play, with their media types; MP4 only if it holds AAC, which the page finds out by trying.
const PLAYED: [(&str, &str); 18] = [
    ("aac", "audio/aac"),
    ("adts", "audio/aac"),
    ("fla", "audio/flac"),
    ("flac", "audio/flac"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("m4r", "audio/mp4"),
    ("mp3", "audio/mpeg"),
    ("mp4", "audio/mp4"),
    ("mpga", "audio/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogx", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("wav", "audio/wav"),
    ("wave", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "audio/webm"),
];

/// Extensions that browsers do not play, with their media types.
const NOT_PLAYED: [(&str, &str); 9] = [
    ("aif", "audio/aiff"),
    ("aifc", "audio/aiff"),
    ("aiff", "audio/aiff"),
    ("ape", "audio/x-ape"),
    ("au", "audio/basic"),
    ("caf", "audio/x-caf"),
    ("mka", "audio/x-matroska"),
    ("wma", "audio/x-ms-wma"),
    ("wv", "audio/x-wavpack"),
];

fn find(table: &[(&str, &'static str)], file: &str) -> Option<&'static str> {
    let (_, extension) = file.rsplit_once('.')?;
    table.iter().find(|(other, _)| extension.eq_ignore_ascii_case(other)).map(|&(_, kind)| kind)
}

/// The media type of a file, which is never one that a browser would show or run.
pub(crate) fn media_type(file: &str) -> &'static str {
    find(&PLAYED, file).or_else(|| find(&NOT_PLAYED, file)).unwrap_or("application/octet-stream")
}

/// Whether browsers play a file, as far as its name shows.
pub(crate) fn is_played_by_browsers(file: &str) -> bool {
    find(&PLAYED, file).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_extension_in_either_case() {
        assert_eq!((media_type("a/b.FLAC"), is_played_by_browsers("a/b.FLAC")), ("audio/flac", true));
        assert_eq!((media_type("b.aiff"), is_played_by_browsers("b.aiff")), ("audio/aiff", false));
        assert_eq!((media_type("page.html"), is_played_by_browsers("page.html")), ("application/octet-stream", false));
        assert_eq!(media_type("flac"), "application/octet-stream");
    }
}
