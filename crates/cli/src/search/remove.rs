//! `mert-search remove`: tracks out of a catalogue.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{ArgGroup, Args};
use fixedbitset::FixedBitSet;
use mert_cli::terminal::{Exit, print, say};
use mert_search::filter::Filter;
use mert_search::{Catalogue, Writer, count};
use mert_table::printable_path;

use crate::changes::absolute;

/// The options of `mert-search remove`.
#[derive(Debug, Args)]
#[command(
    after_help = "No audio file is touched. Rows stay on the disk until the catalogue is compacted. Exit status: 0 \
    removed, 1 some paths are not in the catalogue, 2 nothing removed.",
    override_usage = "mert-search remove [OPTIONS] <CATALOGUE> <PATH|--missing|--where <EXPRESSION>>...",
    group = ArgGroup::new("tracks").args(["paths", "missing", "filter"]).required(true).multiple(true)
)]
pub(crate) struct RemoveArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// Files, or folders whose files are removed
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Remove all tracks whose files no longer exist
    #[arg(long)]
    missing: bool,
    /// Remove all tracks that fulfil this, such as "duration < 30 or genre = podcast"
    #[arg(long = "where", value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Print the files that would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Removes tracks.
pub(crate) fn run(args: &RemoveArgs) -> anyhow::Result<Exit> {
    let mut writer = Writer::open_existing(&args.catalogue)?;
    crate::add::print_notes(&writer, false);
    let Some(catalogue) = writer.catalogue() else { bail!("{} is empty", printable_path(&args.catalogue)) };
    let mut tracks = FixedBitSet::with_capacity(catalogue.tracks());
    let mut unknown = Vec::new();
    for path in &args.paths {
        let found = tracks_at(catalogue, path);
        if found.is_empty() {
            unknown.push(path);
        }
        tracks.extend(found);
    }
    if args.missing {
        tracks.extend(catalogue.live().ones().filter(|&track| !catalogue.track(track).path().exists()));
    }
    if let Some(text) = &args.filter {
        let filter = Filter::parse(catalogue, text)?;
        if let Some(column) = filter.unknown_of_seeds(catalogue, &[]).first() {
            bail!("--where {text}: there is no seed here that seed.{column} could be of");
        }
        tracks.union_with(&filter.rows(catalogue, &[]));
    }
    unknown.iter().for_each(|path| say(&format!("{}: not in the catalogue", printable_path(path))));
    if !unknown.is_empty() && tracks.is_clear() {
        bail!("nothing is removed");
    }
    if args.dry_run {
        for track in tracks.ones() {
            print(&format!("{}\n", printable_path(&catalogue.track(track).path())))?;
        }
    } else {
        let removed = writer.remove(&tracks)?;
        say(&format!("{}: removed {}", printable_path(&args.catalogue), count(removed, "track")));
        report_freed(&writer);
    }
    Ok(if unknown.is_empty() { Exit::Success } else { Exit::Failure })
}

/// Prints what the removal freed on the disk, and what a compaction would.
fn report_freed(writer: &Writer) {
    let name = printable_path(writer.folder());
    if !writer.freed().is_empty() {
        say(&format!("{name}: freed {} on the disk", writer.freed().size()));
    }
    let left: usize = writer
        .catalogue()
        .map_or(0, |catalogue| catalogue.manifest().parts.iter().map(|part| part.removed.len()).sum());
    if left > 0 {
        say(&format!(
            "{name}: the rows of {} stay on the disk until `mert-search compact`",
            count(left, "removed track")
        ));
    }
}

/// The live tracks of the file or in the folder at `path`.
fn tracks_at(catalogue: &Catalogue, path: &Path) -> Vec<usize> {
    if let Some(track) = catalogue.find(path) {
        return vec![track];
    }
    let folders = [Some(path.to_path_buf()), Some(absolute(path)), path.canonicalize().ok()];
    let is_inside = |track: &usize| {
        let file = catalogue.track(*track).path();
        folders.iter().flatten().any(|folder| file.starts_with(folder))
    };
    catalogue.live().ones().filter(is_inside).collect()
}
