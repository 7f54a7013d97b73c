//! `GET /playlist`: tracks as a playlist to download.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{RawQuery, State as Shared};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use mert_search::playlist::{Entry, PlaylistFormat};

use super::{ApiError, ApiResult, blocking, query};
use crate::params::Params;
use crate::state::State;

/// The most tracks of a playlist.
const MOST: usize = 10_000;

pub(super) async fn playlist(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Response> {
    let params = Params::parse(query.as_deref(), &["tracks", "format", "name", "generation"])?;
    let (format, extension, kind) = match params.text("format").unwrap_or("m3u8") {
        "m3u8" => (PlaylistFormat::M3u, "m3u8", "application/vnd.apple.mpegurl; charset=utf-8"),
        "xspf" => (PlaylistFormat::Xspf, "xspf", "application/xspf+xml; charset=utf-8"),
        "jspf" => (PlaylistFormat::Jspf, "jspf", "application/jspf+json; charset=utf-8"),
        other => return Err(ApiError::invalid(format!("invalid format={other}: expected m3u8, xspf or jspf"))),
    };
    let name = params.text("name").unwrap_or("playlist").to_string();
    let file = format!("{}.{extension}", file_name(&name));
    let text = blocking(&state, move |snapshot| {
        snapshot.check_generation(params.generation()?)?;
        let mut entries = Vec::new();
        for text in params.required("tracks")?.split(',') {
            let track = query::track(snapshot, text.trim())?;
            entries.push(Entry::of(&snapshot.catalogue, track, Vec::new()));
            if entries.len() > MOST {
                return Err(ApiError::invalid(format!("a playlist has at most {MOST} tracks")));
            }
        }
        // Where the browser puts the file is not known: from a folder that no track is below, paths are written whole.
        let elsewhere = Path::new("/a folder of no track");
        Ok(format.text(&name, &entries, elsewhere)?)
    });
    let disposition = format!("attachment; filename=\"{file}\"");
    Ok(([(CONTENT_TYPE, kind.to_string()), (CONTENT_DISPOSITION, disposition)], text.await?).into_response())
}

/// A name as the name of a file on every system: letters and digits of ASCII, spaces and hyphens.
fn file_name(name: &str) -> String {
    let is_kept = |character: char| character.is_ascii_alphanumeric() || [' ', '-', '_'].contains(&character);
    let kept: String =
        name.chars().map(|character| if is_kept(character) { character } else { '-' }).take(80).collect();
    match kept.trim_matches([' ', '-']) {
        "" => "playlist".into(),
        kept => kept.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_harmless() {
        assert_eq!(file_name("Café \"x\"\r\n../a"), "Caf- -x-----a".replace("-----", "------"));
        assert_eq!(file_name("夜"), "playlist");
        assert_eq!(file_name("Quiet evening 2"), "Quiet evening 2");
    }
}
