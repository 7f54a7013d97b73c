//! Texts that mean tracks: paths, parts of names, titles; and the times of passages.

use std::path::Path;

use mert_arch::printable_line;
use mert_table::unescape;

use crate::filter::nearest;
use crate::{Catalogue, Result, SearchError, count, excerpt};

/// The most candidates that an ambiguous name lists.
const CANDIDATES: usize = 10;

/// The live track that `text` means: a path as it is stored, a path from the current folder to the same file, a whole name,
/// or a part of one that only one track has.
///
/// Of whole names the first kind that a track has decides: the file name, the file name without case, the file name without
/// its extension, the title or `artist - title`. Only if several tracks have that name is it ambiguous.
///
/// # Errors
/// [`SearchError::Query`] if there is no such track, with the nearest name, or there are several, with up to ten of them.
pub fn resolve_track(catalogue: &Catalogue, text: &str) -> Result<usize> {
    if let Some(track) = find_path(catalogue, Path::new(text)) {
        return Ok(track);
    }
    let (whole, part) = matches(catalogue, text);
    let whole = first_kind(catalogue, text, whole);
    let shown = excerpt(text);
    match (&whole[..], &part[..]) {
        ([track], _) | ([], [track]) => Ok(*track),
        ([], []) => {
            let names = catalogue.live().ones().map(|track| name(catalogue.track(track).file));
            let near = nearest(text, names).map(|near| format!("; the nearest name is `{near}`")).unwrap_or_default();
            Err(SearchError::Query(format!("no track or file is called `{shown}`{near}")))
        }
        ([], several) | (several, _) => {
            let listed: Vec<String> =
                several.iter().take(CANDIDATES).map(|&track| printable_line(catalogue.track(track).file)).collect();
            let more = match several.len().saturating_sub(CANDIDATES) {
                0 => String::new(),
                more => format!("\n  and {}", count(more, "other")),
            };
            let (several, list) = (several.len(), listed.join("\n  "));
            let is_part = if whole.is_empty() { "part of the names" } else { "the name" };
            Err(SearchError::Query(format!("`{shown}` is {is_part} of {several} tracks:\n  {list}{more}")))
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

/// Those of the tracks one of whose names is `text` that have it as the first kind of name: see [`resolve_track`].
fn first_kind(catalogue: &Catalogue, text: &str, tracks: Vec<usize>) -> Vec<usize> {
    let lower = text.to_lowercase();
    let file = |track: usize| name(catalogue.track(track).file);
    let kinds: [&dyn Fn(usize) -> bool; 3] =
        [&|track| file(track) == text, &|track| file(track).to_lowercase() == lower, &|track| {
            file(track).to_lowercase().rsplit_once('.').is_some_and(|(stem, _)| stem == lower)
        }];
    for is_of_kind in kinds {
        let found: Vec<usize> = tracks.iter().copied().filter(|&track| is_of_kind(track)).collect();
        if !found.is_empty() {
            return found;
        }
    }
    tracks
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

/// Times such as `1:20-1:35`, `80-95`, `80.5s-95s` or `1:02:03-1:02:30`, in seconds.
///
/// # Errors
/// The reason, if `text` is something else or the end does not come after the start.
pub fn parse_times(text: &str) -> Result<(f64, f64), String> {
    let expected = "expected START-END, such as 1:20-1:35 or 80-95";
    let Some((start, end)) = text.split_once('-') else { return Err(format!("it has no end: {expected}")) };
    let time = |name: &str, text: &str| match parse_time(text) {
        Some(seconds) => Ok(seconds),
        None if text.is_empty() => Err(format!("it has no {name}: {expected}")),
        None => Err(format!("its {name} `{}` is not a time: {expected}", excerpt(text))),
    };
    let times = (time("start", start)?, time("end", end)?);
    match times.0 < times.1 {
        true => Ok(times),
        false => Err(format!("its end does not come after its start: {expected}")),
    }
}

/// Whether what stands after an `@` was meant as times, and not as a part of a name.
pub fn looks_like_times(text: &str) -> bool {
    let text = text.trim();
    let has_digits = text.contains(|c: char| c.is_ascii_digit());
    let is_time = |c: char| c.is_ascii_digit() || ":.-–+s, ".contains(c);
    let is_odd = |part: &str| ["nan", "inf", "-nan", "-inf", "infinity"].contains(&part.to_lowercase().as_str());
    text.is_empty() || (has_digits && text.chars().all(is_time)) || is_odd(text) || text.split('-').any(is_odd)
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
    seconds.is_finite().then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn times_are_minutes_or_seconds_and_nothing_else() {
        assert_eq!(parse_times("1:20-1:35"), Ok((80.0, 95.0)));
        assert_eq!(parse_times("80.5s-95s"), Ok((80.5, 95.0)));
        assert_eq!(parse_times("1:02:03-1:02:30"), Ok((3723.0, 3750.0)));
        for (wrong, reason) in [
            ("1:35-1:20", "its end does not come after its start"),
            ("1:20-1:20", "its end does not come after its start"),
            ("80", "it has no end"),
            ("-80", "it has no start"),
            ("80-", "it has no end"),
            ("-1", "it has no start"),
            ("nan", "it has no end"),
            ("1:75-2:00", "its start `1:75` is not a time"),
            ("1-b", "its end `b` is not a time"),
            ("1.5:00-2:00", "its start `1.5:00` is not a time"),
            ("1e3-2e3", "its start `1e3` is not a time"),
            ("inf-inf", "its start `inf` is not a time"),
            ("1:2:3:4-9", "its start `1:2:3:4` is not a time"),
        ] {
            let error = parse_times(wrong).unwrap_err();
            assert!(error.starts_with(reason) && error.contains("such as 1:20-1:35"), "{wrong}: {error}");
        }
        assert!(parse_times(&format!("0-{}", "9".repeat(400))).is_err());
        for times in ["1:35-1:20", "-1", "nan", "80", "", "inf-inf", "1:20–1:35"] {
            assert!(looks_like_times(times), "{times}");
        }
        for name in ["home.ogg", "live 2", "b-side", "info-1"] {
            assert!(!looks_like_times(name), "{name}");
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

    /// A file name comes before a title, and its own case before any other.
    #[test]
    fn an_exact_file_name_decides_before_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("x/menu.ogg", None),
            ("x/Menu.ogg", None),
            ("y/other.flac", Some("Menu.ogg")),
            ("z/battle.flac", Some("menu")),
        ];
        let catalogue = testing::catalogue_named(folder.path(), &files);
        let track = |text: &str| resolve_track(&catalogue, text).map_err(|error| error.to_string());
        assert_eq!((track("menu.ogg"), track("Menu.ogg")), (Ok(0), Ok(1)));
        let several = track("MENU.OGG").unwrap_err();
        assert!(several.contains("is the name of 2 tracks") && !several.contains("other.flac"), "{several}");
        // Two files are called so without their extensions; the title comes after them.
        assert!(track("menu").unwrap_err().contains("is the name of 2 tracks"));
        assert_eq!(track("other.flac"), Ok(2));
        assert_eq!(track("BATTLE"), Ok(3));
    }
}
