//! `mert-search update`: a catalogue brought up to date with its files, or with a table of metadata.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use fixedbitset::FixedBitSet;
use mert_audio::has_audio_extension;
use mert_cli::embedding::interrupt::while_writing;
use mert_cli::terminal::{Exit, progress_bar, say};
use mert_embed::inputs::{self, Input};
use mert_search::catalogue::tags::read_tags;
use mert_search::catalogue::{Joined, Value};
use mert_search::{Catalogue, Writer};
use mert_table::printable_path;
use rayon::prelude::*;

use crate::add::{embed_changes, print_notes};
use crate::add_args::{EmbeddingArgs, RunArgs};
use crate::changes::{Changes, absolute};

/// The options of `mert-search update`.
#[derive(Debug, Args)]
#[command(
    after_help = "Changed files are embedded again, moved ones keep their rows, tags are read again, and missing files \
    are reported and stay: remove them with `mert-search remove --missing`. New files are not added. With --metadata \
    only the table is joined. Exit status: 0 up to date, 1 files left out or missing, 2 error, 130 interrupted."
)]
pub(crate) struct UpdateArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// Folders in which moved files are looked for, beside those of the catalogue's other files
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Join a table by path (.csv, .parquet or .jsonl): each of its columns can be used in filters
    #[arg(long, value_name = "FILE")]
    metadata: Vec<PathBuf>,
    /// The column of the table that has the paths [default: path, or else file]
    #[arg(long, value_name = "COLUMN", requires = "metadata")]
    key: Option<String>,
    #[command(flatten)]
    embedding: EmbeddingArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Updates the catalogue.
pub(crate) fn run(args: &UpdateArgs) -> anyhow::Result<Exit> {
    let mut writer = Writer::open_existing(&args.catalogue)?;
    print_notes(&writer, args.run.quiet);
    if !args.metadata.is_empty() {
        for table in &args.metadata {
            let joined = while_writing(|| writer.join(table, args.key.as_deref()))?;
            if !args.run.quiet {
                report_joined(table, &joined);
            }
        }
        return Ok(Exit::Success);
    }
    let Some(catalogue) = writer.catalogue() else { bail!("{} is empty", printable_path(&args.catalogue)) };
    let files: Vec<PathBuf> = catalogue.live().ones().map(|track| catalogue.track(track).path()).collect();
    let versions: Vec<Input> = files.par_iter().map(|path| Input::new(path)).collect();
    let (present, missing): (Vec<Input>, Vec<Input>) = versions.into_iter().partition(|input| input.version.is_some());
    let mut inputs = present.clone();
    if !missing.is_empty() {
        inputs.extend(candidates(catalogue, &present, &missing, &args.folders)?);
    }
    let mut changes = Changes::of(Some(catalogue), inputs);
    // A file that is new, and not one that was moved, is for `add`.
    changes.embed.retain(|input| catalogue.find(&input.path).is_some());
    let moved: HashSet<PathBuf> = changes
        .refreshed
        .iter()
        .filter(|refreshed| refreshed.is_moved)
        .map(|refreshed| catalogue.track(refreshed.track).path())
        .collect();
    let missing: Vec<&Input> = missing.iter().filter(|input| !moved.contains(&input.path)).collect();
    let changed: HashSet<PathBuf> = changes.embed.iter().map(|input| input.path.clone()).collect();
    let exit = embed_changes(&mut writer, changes, &args.embedding, &args.run)?;
    if exit != Exit::Success && exit != Exit::Failure {
        return Ok(exit);
    }
    reread_tags(&mut writer, &changed, args.run.quiet)?;
    for input in &missing {
        say(&format!("{}: missing; its rows stay", printable_path(&input.path)));
    }
    if missing.is_empty() { Ok(exit) } else { Ok(Exit::Failure) }
}

/// Files that may be the missing ones: those in `folders`, and in the folders of the catalogue's files, of the same sizes.
fn candidates(
    catalogue: &Catalogue,
    present: &[Input],
    missing: &[Input],
    folders: &[PathBuf],
) -> anyhow::Result<Vec<Input>> {
    let known: HashSet<&Path> = present.iter().map(|input| input.path.as_path()).collect();
    let sizes: HashSet<u64> =
        missing.iter().filter_map(|input| Some(catalogue.version(catalogue.find(&input.path)?)?.size)).collect();
    let mut found: Vec<PathBuf> = Vec::new();
    if !folders.is_empty() {
        found.extend(inputs::collect(folders, None)?.files.into_iter().map(|input| absolute(&input.path)));
    }
    let parents: HashSet<&Path> = present.iter().chain(missing).filter_map(|input| input.path.parent()).collect();
    for folder in parents {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        found.extend(entries.flatten().map(|entry| entry.path()).filter(|path| has_audio_extension(path)));
    }
    found.sort();
    found.dedup();
    let inputs = found.into_iter().filter(|path| !known.contains(path.as_path())).map(|path| Input::new(&path));
    Ok(inputs.filter(|input| input.version.is_some_and(|version| sizes.contains(&version.size))).collect())
}

/// Reads the tags of all files again but those in `done`, and records those that are others than before.
fn reread_tags(writer: &mut Writer, done: &HashSet<PathBuf>, quiet: bool) -> anyhow::Result<()> {
    let Some(catalogue) = writer.catalogue() else { return Ok(()) };
    let files: Vec<(usize, PathBuf)> =
        catalogue.live().ones().map(|track| (track, catalogue.track(track).path())).collect();
    let files: Vec<_> = files.into_iter().filter(|(_, path)| !done.contains(path)).collect();
    let bar = progress_bar(Some(files.len() as u64), "{bar:30} {pos}/{len} files: tags, {eta} left", quiet);
    let read = |(track, path): &(usize, PathBuf)| {
        bar.inc(1);
        match read_tags(path) {
            (tags, None) => Some((*track, tags)),
            (_, Some(_)) => None,
        }
    };
    let mut tags: HashMap<usize, BTreeMap<String, Value>> = files.par_iter().filter_map(read).collect();
    bar.finish_and_clear();
    let mut tracks = FixedBitSet::with_capacity(catalogue.tracks());
    tags.keys().for_each(|&track| tracks.insert(track));
    let mut changed = 0;
    while_writing(|| {
        writer.edit(&tracks, |number, track| {
            let Some(mut tags) = tags.remove(&number) else { return };
            // What is measured is no tag.
            if let Some(loudness) = track.metadata.get("loudness") {
                tags.insert("loudness".into(), loudness.clone());
            }
            changed += usize::from(track.metadata != tags);
            track.metadata = tags;
        })
    })?;
    if changed > 0 && !quiet {
        say(&format!("{}: the tags of {changed} files have changed", printable_path(writer.folder())));
    }
    Ok(())
}

/// Prints what a join has found.
fn report_joined(table: &Path, joined: &Joined) {
    /// Rows without a track that are printed.
    const PRINTED: usize = 3;
    let Joined { rows, tracks, unmatched, repeated, added, overridden, notes } = joined;
    let name = printable_path(table);
    say(&format!("{name}: {} of {rows} rows are of {tracks} tracks", rows - unmatched.len()));
    if *repeated > 0 {
        say(&format!("{name}: {repeated} rows are of tracks of which a later row is used"));
    }
    for (path, nearest) in unmatched.iter().take(PRINTED) {
        let nearest = nearest.as_ref().map_or(String::new(), |nearest| format!("; the nearest name is {nearest}"));
        say(&mert_arch::printable_line(&format!("{name}: no track {path}{nearest}")));
    }
    if unmatched.len() > PRINTED {
        say(&format!("{name}: no track for {} more rows", unmatched.len() - PRINTED));
    }
    notes.iter().for_each(|note| say(&format!("{name}: {note}")));
    for (what, columns) in [("added", added), ("overridden where known", overridden)] {
        if !columns.is_empty() {
            say(&mert_arch::printable_line(&format!("{name}: {what}: {}", columns.join(", "))));
        }
    }
}
