//! The checks of a manifest that was read: whatever somebody wrote into `catalogue.json`, the files that it names are those
//! of the catalogue, and its numbers can be counted with.

use super::{FileDigest, Manifest, PartEntry};
use crate::catalogue::Group;
use crate::catalogue::part::{ROWS, TRACKS};

/// The largest number of changes; a larger one is damage, and the next change could not be numbered.
const MAX_GENERATION: u64 = 1_000_000_000_000;

/// The most tracks of a catalogue, which caches number in 32 bits.
const MAX_TRACKS: usize = u32::MAX as usize;

/// The most segments of a catalogue.
const MAX_SEGMENTS: usize = 1 << 40;

/// The most values of a vector.
const MAX_DIM: usize = 1 << 20;

/// The first fault of `manifest`: the field, what was found, and what was expected.
pub(super) fn fault(manifest: &Manifest) -> Option<String> {
    check(manifest).err()
}

type Checked = Result<(), String>;

fn check(manifest: &Manifest) -> Checked {
    let generation = manifest.generation;
    expect((1..=MAX_GENERATION).contains(&generation), "generation", generation, format!("1 to {MAX_GENERATION}"))?;
    check_groups(manifest)?;
    let (mut tracks, mut segments, mut last) = (0_usize, 0_usize, 0);
    for (index, entry) in manifest.parts.iter().enumerate() {
        let field = |name: &str| format!("parts[{index}].{name}");
        let number = number_of(&entry.name).filter(|&number| number <= generation);
        let number = number.ok_or_else(|| {
            let expected = format!("a number of six digits or more, at most {generation:06}");
            format!("{}: found {:?}, expected {expected}", field("name"), entry.name)
        })?;
        expect(number > last, &field("name"), &entry.name, format!("a name above that of the part before, {last:06}"))?;
        last = number;
        check_part(entry, generation, field)?;
        tracks = tracks.saturating_add(entry.tracks);
        segments = segments.saturating_add(entry.segments);
    }
    expect(tracks <= MAX_TRACKS, "parts", format!("{tracks} tracks"), format!("at most {MAX_TRACKS}"))?;
    expect(segments <= MAX_SEGMENTS, "parts", format!("{segments} segments"), format!("at most {MAX_SEGMENTS}"))?;
    let path = &manifest.statistics.path;
    let number = numbered(path, "statistics-", ".safetensors");
    expect(
        number.is_some_and(|number| number <= generation),
        "statistics.path",
        format!("{path:?}"),
        format!("statistics-NUMBER.safetensors with a number of six digits or more, at most {generation:06}"),
    )?;
    check_digest(&manifest.statistics.digest, |name| format!("statistics.{name}"))?;
    check_models(manifest)
}

/// The vectors of the settings: each with a length, and with a name that is one of a file.
fn check_groups(manifest: &Manifest) -> Checked {
    let groups = Group::of(&manifest.settings);
    expect(!groups.is_empty(), "settings.hidden_states", "none", "one or more")?;
    expect(!manifest.settings.pool.has_frames(), "settings.pool", "rows for frames", "rows for windows, as with mean")?;
    for (index, group) in groups.iter().enumerate() {
        expect((1..=MAX_DIM).contains(&group.dim), "settings.dim", group.dim, format!("1 to {MAX_DIM}"))?;
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_file_name = group.column.chars().all(is_name) && group.column.len() < 200;
        expect(is_file_name, "settings", format!("{:?}", group.column), "a name of letters, digits, `_`, `-` and `.`")?;
        let is_new = groups[..index].iter().all(|other| other.column != group.column);
        expect(is_new, "settings.hidden_states", format!("{} twice", group.column), "each once")?;
    }
    let digests = manifest.settings.models_sha256();
    let is_digest = digests.split('+').all(mert_fs::is_sha256);
    expect(is_digest, "settings.model_sha256", format!("{digests:?}"), "64 lower-case hexadecimal digits")
}

fn check_part(entry: &PartEntry, generation: u64, field: impl Fn(&str) -> String) -> Checked {
    let (tracks, segments) = (entry.tracks, entry.segments);
    expect((1..=MAX_TRACKS).contains(&tracks), &field("tracks"), tracks, format!("1 to {MAX_TRACKS}"))?;
    expect(
        (tracks..=MAX_SEGMENTS).contains(&segments),
        &field("segments"),
        segments,
        format!("{tracks} to {MAX_SEGMENTS}: one or more for each track"),
    )?;
    let is_table = |name: &String| {
        name == TRACKS || numbered(name, "tracks-", ".parquet").is_some_and(|number| number <= generation)
    };
    let names: Vec<&String> = entry.files.keys().collect();
    expect(
        names.len() == 2 && names.iter().any(|name| *name == ROWS) && names.iter().any(|name| is_table(name)),
        &field("files"),
        format!("{names:?}"),
        format!("{ROWS}, and {TRACKS} or tracks-NUMBER.parquet with a number of at most {generation:06}"),
    )?;
    for (name, digest) in &entry.files {
        check_digest(digest, |of| field(&format!("files.{name}.{of}")))?;
    }
    for pair in entry.removed.windows(2) {
        let found = format!("{} before {}", pair[0], pair[1]);
        expect(pair[0] < pair[1], &field("removed"), found, "ascending numbers, each once")?;
    }
    let last = entry.removed.last().copied();
    let is_inside = last.is_none_or(|last| last < tracks);
    expect(is_inside, &field("removed"), last.unwrap_or(0), format!("numbers below {tracks}, the number of tracks"))
}

fn check_digest(digest: &FileDigest, field: impl Fn(&str) -> String) -> Checked {
    let sha256 = &digest.sha256;
    expect(digest.size > 0, &field("size"), digest.size, "the size of a file that is not empty")?;
    expect(mert_fs::is_sha256(sha256), &field("sha256"), format!("{sha256:?}"), "64 lower-case hexadecimal digits")
}

/// The places of the models: none, or one for each encoder.
fn check_models(manifest: &Manifest) -> Checked {
    let (found, encoders) = (manifest.models.len(), 1 + manifest.settings.others().count());
    expect(found == 0 || found == encoders, "models", found, format!("{encoders}, one for each encoder, or none"))?;
    let is_named = manifest.models.iter().all(|model| !model.is_empty());
    expect(is_named, "models", "\"\"", "a path, or the name of a model on the hub")
}

fn expect(holds: bool, field: &str, found: impl std::fmt::Display, expected: impl std::fmt::Display) -> Checked {
    if holds { Ok(()) } else { Err(format!("{field}: found {found}, expected {expected}")) }
}

/// The number that `name` is, as it is written: with zeros before it up to six digits, and from 1.
fn number_of(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number > 0 && format!("{number:06}") == name).then_some(number)
}

/// The number between `start` and `end` in `name`.
fn numbered(name: &str, start: &str, end: &str) -> Option<u64> {
    number_of(name.strip_prefix(start)?.strip_suffix(end)?)
}
