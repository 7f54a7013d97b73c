//! JSPF, XSPF in JSON: <https://xspf.org/jspf>.

use serde_json::{Map, Value, json};

use super::Entry;
use super::uri::file_uri;
use super::xspf::{milliseconds, recording_uri};
use crate::Result;

/// The name of the extension that holds the scores, a URI as the specification asks for.
pub(super) const APPLICATION: &str = "urn:mert-search:scores";

/// The playlist.
pub(super) fn text(title: &str, entries: &[Entry]) -> Result<String> {
    let mut tracks = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut track = Map::new();
        let mut member = |name: &str, value: Value| track.insert(name.to_string(), value);
        member("location", json!([file_uri(&entry.path)?]));
        if let Some(recording) = &entry.recording {
            member("identifier", json!([recording_uri(recording)]));
        }
        member("title", json!(entry.label()));
        if let Some(artist) = &entry.artist {
            member("creator", json!(artist));
        }
        if let Some(album) = &entry.album {
            member("album", json!(album));
        }
        if let Some(duration) = entry.duration {
            member("duration", json!(milliseconds(duration)));
        }
        if !entry.scores.is_empty() {
            let scores: Map<String, Value> =
                entry.scores.iter().map(|(name, score)| (name.to_string(), json!(score))).collect();
            member("extension", json!({ APPLICATION: [scores] }));
        }
        tracks.push(Value::Object(track));
    }
    let playlist = json!({ "playlist": { "title": title, "track": tracks } });
    Ok(format!("{playlist:#}\n"))
}
