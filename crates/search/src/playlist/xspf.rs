//! XSPF 1: <https://xspf.org/spec>.

use super::uri::{encode, file_uri};
use super::{Entry, jspf};
use crate::Result;

/// The playlist.
pub(super) fn text(title: &str, entries: &[Entry]) -> Result<String> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str("<playlist version=\"1\" xmlns=\"http://xspf.org/ns/0/\">\n");
    text.push_str(&format!("  <title>{}</title>\n  <trackList>\n", escape(title)));
    // The elements of a track are in the order of the specification.
    for entry in entries {
        text.push_str("    <track>\n");
        let mut element = |name: &str, value: &str| {
            text.push_str(&format!("      <{name}>{}</{name}>\n", escape(value)));
        };
        element("location", &file_uri(&entry.path)?);
        if let Some(recording) = &entry.recording {
            element("identifier", &recording_uri(recording));
        }
        element("title", &entry.label());
        if let Some(artist) = &entry.artist {
            element("creator", artist);
        }
        if let Some(album) = &entry.album {
            element("album", album);
        }
        if let Some(duration) = entry.duration {
            element("duration", &milliseconds(duration).to_string());
        }
        if !entry.scores.is_empty() {
            text.push_str(&format!("      <extension application=\"{}\">\n", jspf::APPLICATION));
            text.push_str(&format!("        <scores xmlns=\"{}\"", jspf::APPLICATION));
            entry.scores.iter().for_each(|(name, score)| text.push_str(&format!(" {name}=\"{score}\"")));
            text.push_str("/>\n      </extension>\n");
        }
        text.push_str("    </track>\n");
    }
    text.push_str("  </trackList>\n</playlist>\n");
    Ok(text)
}

/// A length in milliseconds.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (1000.0 * seconds).round().max(0.0) as u64
}

/// The URI of a recording in MusicBrainz.
pub(super) fn recording_uri(recording: &str) -> String {
    let mut uri = String::from("https://musicbrainz.org/recording/");
    encode(recording.as_bytes(), &mut uri);
    uri
}

/// A text between tags. Characters that XML 1.0 does not allow become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\t' | '\n' => escaped.push(character),
            '\r' => escaped.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ if character < ' ' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}
