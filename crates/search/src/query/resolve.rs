//! Texts that mean tracks: paths, parts of names, titles; and the times of passages.

use std::path::Path;

use mert_table::unescape;

use crate::filter::nearest;
use crate::{Catalogue, Result, SearchError};

/// The most candidates that an ambiguous name lists.
const CANDIDATES: usize = 10;

/// The live track that `text` means: a path as it is stored, a path from the current folder to the same file, a whole file
/// name, title or `artist - title`, or a part of one that only one track has. Names are compared without case.
///
/// # Errors
/// [`SearchError::Query`] if there is no such track, with the nearest name, or there are several, with up to ten of them.
pub fn resolve_track(catalogue: &Catalogue, text: &str) -> Result<usize> {
    if let Some(track) = find_path(catalogue, Path::new(text)) {
        return Ok(track);
    }
    let (whole, part) = matches(catalogue, text);
    match (&whole[..], &part[..]) {
        ([track], _) | ([], [track]) => Ok(*track),
        ([], []) => {
            let names = catalogue.live().ones().map(|track| name(catalogue.track(track).file));
            let near = nearest(text, names).map(|near| format!("; the nearest name is `{near}`")).unwrap_or_default();
            Err(SearchError::Query(format!("no track or file is called `{text}`{near}")))
        }
        ([], several) | (several, _) => {
            let listed: Vec<&str> = several.iter().take(CANDIDATES).map(|&track| catalogue.track(track).file).collect();
            let more = match several.len().saturating_sub(CANDIDATES) {
                0 => String::new(),
                more => format!("\n  and {more} others"),
            };
            let (count, list) = (several.len(), listed.join("\n  "));
            Err(SearchError::Query(format!("`{text}` is part of the names of {count} tracks:\n  {list}{more}")))
        }
    }
}

/// The live track of the file at `path`: as it is stored, escaped or not, or from the current folder.
pub fn find_path(catalogue: &Catalogue, path: &Path) -> Option<usize> {
    let escaped = || path.to_str().and_then(|text| catalogue.find(&unescape(text)));
    if let Some(track) = catalogue.find(path).or_else(escaped) {
        return Some(track);
    }
    let absolute = std::path::absolute(path).ok()?;
    if let Some(track) = catalogue.find(&absolute) {
        return Some(track);
    }
    let canonical = std::fs::canonicalize(path).ok()?;
    // Only files of the same name are looked up on the disk.
    let last = mert_table::escape(Path::new(canonical.file_name()?));
    let of_that_name = catalogue.live().ones().filter(|&track| name(catalogue.track(track).file) == last);
    of_that_name
        .into_iter()
        .find(|&track| std::fs::canonicalize(catalogue.track(track).path()).is_ok_and(|other| other == canonical))
}

/// Up to `limit` live tracks whose file, title or `artist - title` contains `text` without case: whole matches first, then
/// names that begin with it, then others, each in the catalogue's order.
pub fn find_tracks(catalogue: &Catalogue, text: &str, limit: usize) -> Vec<usize> {
    let (mut whole, part) = matches(catalogue, text);
    let text = text.to_lowercase();
    let begins = |track: &usize| names(catalogue, *track).iter().any(|name| name.starts_with(&text));
    let (first, rest): (Vec<usize>, Vec<usize>) =
        part.into_iter().filter(|track| !whole.contains(track)).partition(begins);
    whole.extend(first);
    whole.extend(rest);
    whole.truncate(limit);
    whole
}

/// The live tracks one of whose names is `text`, and those one of whose names contains it.
fn matches(catalogue: &Catalogue, text: &str) -> (Vec<usize>, Vec<usize>) {
    let text = text.to_lowercase();
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    if text.is_empty() {
        return (whole, part);
    }
    for track in catalogue.live().ones() {
        let names = names(catalogue, track);
        if names.contains(&text) {
            whole.push(track);
        }
        if names.iter().any(|name| name.contains(&text)) || catalogue.track(track).file.to_lowercase().contains(&text) {
            part.push(track);
        }
    }
    (whole, part)
}

/// The names of a track in lower case: its file name with and without its extension, its title, and `artist - title`.
fn names(catalogue: &Catalogue, track: usize) -> Vec<String> {
    let text = |column: &str| catalogue.column(column).ok()?.text(track).map(str::to_lowercase);
    let file = name(catalogue.track(track).file).to_lowercase();
    let stem = file.rsplit_once('.').map(|(stem, _)| stem.to_string());
    let title = text("title");
    let both = match (text("artist"), &title) {
        (Some(artist), Some(title)) => Some(format!("{artist} - {title}")),
        _ => None,
    };
    [Some(file), stem, title, both].into_iter().flatten().collect()
}

/// The last part of a path.
fn name(file: &str) -> &str {
    file.rsplit(['/', std::path::MAIN_SEPARATOR]).next().unwrap_or(file)
}

/// Times such as `1:20-1:35`, `80-95`, `80.5s-95s` or `1:02:03-1:02:30`, in seconds; `None` if `text` is something else or
/// the end does not come after the start.
pub fn parse_times(text: &str) -> Option<(f64, f64)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (parse_time(start)?, parse_time(end)?);
    (start < end).then_some((start, end))
}

fn parse_time(text: &str) -> Option<f64> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let mut seconds = 0.0;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for (index, part) in parts.iter().enumerate() {
        let is_plain = !part.is_empty() && part.chars().all(|character| character.is_ascii_digit() || character == '.');
        let value: f64 = part.parse().ok().filter(|_| is_plain)?;
        // Minutes and seconds after a colon are below 60, and only seconds have a fraction.
        if (index > 0 && value >= 60.0) || (index + 1 < parts.len() && value.fract() != 0.0) {
            return None;
        }
        seconds = 60.0 * seconds + value;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn times_are_minutes_or_seconds_and_nothing_else() {
        assert_eq!(parse_times("1:20-1:35"), Some((80.0, 95.0)));
        assert_eq!(parse_times("80.5s-95s"), Some((80.5, 95.0)));
        assert_eq!(parse_times("1:02:03-1:02:30"), Some((3723.0, 3750.0)));
        for wrong in
            ["1:35-1:20", "80", "-80", "80-", "1:75-2:00", "a-b", "1.5:00-2:00", "1e3-2e3", "inf-inf", "1:2:3:4-9"]
        {
            assert_eq!(parse_times(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_text_means_a_path_or_the_only_name_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 24);
        let track = |text: &str| resolve_track(&catalogue, text);
        assert_eq!(track("music/2.flac").unwrap(), 2);
        assert_eq!(track(&std::path::absolute("music/2.flac").unwrap().display().to_string()).ok(), None);
        // `2.flac` is a whole name, although `12.flac` and `22.flac` contain it.
        assert_eq!(track("2.FLAC").unwrap(), 2);
        assert_eq!(track("2").unwrap(), 2);
        let several = track("usic/2").unwrap_err().to_string();
        assert!(several.contains("5 tracks") && several.contains("music/23.flac"), "{several}");
        let none = track("23.flaq").unwrap_err().to_string();
        assert!(none.contains("the nearest name is `23.flac`"), "{none}");
        assert_eq!(find_tracks(&catalogue, "2", 4), [2, 20, 21, 22]);
    }
}
