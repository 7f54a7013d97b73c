//! `mert-search info`: what a catalogue holds.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use mert_cli::terminal::{Exit, print};
use mert_search::catalogue::ColumnKind;
use mert_search::{Catalogue, Column, count, is_or_are, size};
use mert_table::{escape, printable_path};
use serde_json::json;

use crate::open::open_catalogue;

/// The options of `mert-search info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The number of parts from which opening a catalogue takes noticeable time.
const MANY_PARTS: usize = 32;

/// A column and how much of it is known.
struct ColumnInfo {
    name: String,
    kind: &'static str,
    /// The number of tracks with a known value.
    known: usize,
    /// The number of different texts.
    texts: Option<usize>,
}

/// Prints what the catalogue holds.
pub(crate) fn run(args: &InfoArgs) -> anyhow::Result<Exit> {
    let catalogue = open_catalogue(&args.catalogue)?;
    let columns = columns(&catalogue)?;
    let text = if args.json { as_json(&catalogue, &columns) } else { as_text(&catalogue, &columns) };
    print(&text)?;
    Ok(Exit::Success)
}

fn columns(catalogue: &Catalogue) -> anyhow::Result<Vec<ColumnInfo>> {
    let column = |name: &str| {
        let column = catalogue.column(name)?;
        let known = catalogue.live().ones().filter(|&track| column.is_known(track)).count();
        let (kind, texts) = match (column.kind(), &*column) {
            (ColumnKind::Text, Column::Text(texts)) => {
                let mut used = vec![false; texts.names().len()];
                catalogue
                    .live()
                    .ones()
                    .flat_map(|track| texts.codes(track))
                    .for_each(|&code| used[code as usize] = true);
                ("text", Some(used.into_iter().filter(|&used| used).count()))
            }
            _ => ("number", None),
        };
        Ok(ColumnInfo { name: name.to_string(), kind, known, texts })
    };
    catalogue.column_names().map(column).collect()
}

/// The bytes of all files in a folder.
pub(super) fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// The hours of music of all tracks.
fn hours(catalogue: &Catalogue) -> f64 {
    // The sum of nothing is -0.
    catalogue.live().ones().fold(0.0, |sum, track| sum + catalogue.track(track).duration) / 3600.0
}

/// A length in the unit that suits it.
fn duration(hours: f64) -> String {
    match hours * 60.0 {
        minutes if minutes < 1.0 => format!("{:.0} s", minutes * 60.0),
        minutes if minutes < 60.0 => format!("{minutes:.1} min"),
        _ => format!("{hours:.1} h"),
    }
}

/// A number of tracks with its share of all, which is 0 % or 100 % only for none or all.
fn share(known: usize, all: usize) -> String {
    let percent = 100.0 * known as f64 / all.max(1) as f64;
    let percent = match percent {
        percent if percent > 0.0 && percent < 1.0 => "<1 %".to_string(),
        percent if percent > 99.0 && known < all => ">99 %".to_string(),
        percent => format!("{percent:.0} %"),
    };
    format!("{known} ({percent})")
}

/// The number of removed tracks whose rows are still on the disk.
fn removed(catalogue: &Catalogue) -> usize {
    catalogue.manifest().parts.iter().map(|part| part.removed.len()).sum()
}

/// Why the catalogue should be compacted, if it should.
fn hint(catalogue: &Catalogue) -> Option<String> {
    let (parts, removed) = (catalogue.manifest().parts.len(), removed(catalogue));
    let reason = match removed * 4 > catalogue.tracks() {
        true => {
            format!("{removed} of {} on the disk {} removed", count(catalogue.tracks(), "track"), is_or_are(removed))
        }
        false if parts > MANY_PARTS => format!("it has {parts} parts"),
        false => return None,
    };
    Some(format!("{reason}: `mert-search compact {}` writes it as one", printable_path(catalogue.folder())))
}

fn as_json(catalogue: &Catalogue, columns: &[ColumnInfo]) -> String {
    let settings = catalogue.settings();
    let live = catalogue.live().count_ones(..);
    let info = json!({
        "catalogue": escape(catalogue.folder()),
        "generation": catalogue.manifest().generation,
        "tracks": live,
        "segments": catalogue.live_segments(),
        "hours": hours(catalogue),
        "groups": catalogue.groups().iter().map(|group| json!({ "name": group.name, "dim": group.dim })).collect::<Vec<_>>(),
        "model_sha256": settings.models_sha256(),
        "models": catalogue.manifest().models().iter().map(|model| escape(model)).collect::<Vec<_>>(),
        "license": settings.license,
        "window": settings.window.to_string(),
        "tail": settings.tail.name(),
        "columns": columns.iter().map(|column| json!({
            "name": column.name,
            "kind": column.kind,
            "known": column.known,
            "texts": column.texts,
        })).collect::<Vec<_>>(),
        "parts": catalogue.manifest().parts.len(),
        "removed": removed(catalogue),
        "bytes": bytes_in(catalogue.folder()),
        "statistics_segments": catalogue.statistics().segments,
        "hint": hint(catalogue),
    });
    format!("{info:#}\n")
}

fn as_text(catalogue: &Catalogue, columns: &[ColumnInfo]) -> String {
    let settings = catalogue.settings();
    let live = catalogue.live().count_ones(..);
    let groups: Vec<String> =
        catalogue.groups().iter().map(|group| format!("{} ({})", group.name, count(group.dim, "value"))).collect();
    let models: Vec<String> = catalogue.manifest().models().iter().map(|model| printable_path(model)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_string(), mert_arch::printable_line(&value)]);
    };
    row("tracks", format!("{live}, {}", duration(hours(catalogue))));
    row(
        "segments",
        format!("{}, window {}, tail {}", catalogue.live_segments(), settings.window, settings.tail.name()),
    );
    row(if groups.len() == 1 { "hidden state" } else { "hidden states" }, groups.join(", "));
    row(
        "model",
        match models.is_empty() {
            true => "not remembered: the rows come from a table".into(),
            false => models.join(", "),
        },
    );
    row("model SHA-256", settings.models_sha256());
    row("licence", settings.license.clone().unwrap_or_else(|| "not known".into()));
    let parts = catalogue.manifest().parts.len();
    let size = size(bytes_in(catalogue.folder()));
    row("on the disk", format!("{size}, {}, {}", count(parts, "part"), count(removed(catalogue), "removed track")));
    let (segments, now) = (catalogue.statistics().segments, catalogue.live_segments());
    row(
        "statistics",
        match segments == now {
            true => format!("of {}", count(segments, "segment")),
            false => format!("of {}; there are {now} now", count(segments, "segment")),
        },
    );
    let mut text = format!("{table}\n");
    if !columns.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["column", "kind", "known for", "different texts"]);
        for column in columns {
            let texts = column.texts.map_or(String::new(), |texts| texts.to_string());
            let name = mert_arch::printable_line(&column.name);
            table.add_row([name, column.kind.to_string(), share(column.known, live), texts]);
        }
        for index in [2, 3] {
            table.column_mut(index).into_iter().for_each(|column| {
                column.set_cell_alignment(CellAlignment::Right);
            });
        }
        text += &format!("\n{table}\n");
    }
    if let Some(hint) = hint(catalogue) {
        text += &format!("\n{hint}\n");
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_to_none_and_all_only_where_they_are() {
        for (known, all, expected) in [
            (0, 201, "0 (0 %)"),
            (1, 201, "1 (<1 %)"),
            (2, 200, "2 (1 %)"),
            (200, 201, "200 (>99 %)"),
            (201, 201, "201 (100 %)"),
            (0, 0, "0 (0 %)"),
        ] {
            assert_eq!(share(known, all), expected);
        }
        assert_eq!([30.0 / 3600.0, 0.5, 2.25].map(duration), ["30 s", "30.0 min", "2.2 h"]);
    }
}
