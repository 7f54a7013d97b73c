//! `mert-search update`: a catalogue brought up to date with its files, or with a table of metadata.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use fixedbitset::FixedBitSet;
use mert_cli::embedding::RunArgs;
use mert_cli::terminal::{Exit, progress_bar, say};
use mert_embed::inputs::{self, Input};
use mert_search::catalogue::tags::read_tags;
use mert_search::catalogue::{Joined, MetadataTable, UnmatchedRow, Value};
use mert_search::{Catalogue, Writer, count, is_or_are, require_regular_file};
use mert_table::printable_path;
use rayon::prelude::*;

use crate::add::{embed_changes, print_notes};
use crate::add_args::EmbeddingArgs;
use crate::changes::{Changes, absolute};
use crate::folders::other_files;

/// The options of `mert-search update`.
#[derive(Debug, Args)]
#[command(
    after_help = "Changed files are embedded again, moved ones keep their rows, tags are read again, and missing files \
    are reported and stay: remove them with `mert-search remove --missing`. New files in the folders of the catalogue's \
    files, and below, are reported and not added: `mert-search add` does that. With --metadata only the tables are \
    joined. Exit status: 0 up to date, 1 files left out or missing, 2 error, 130 interrupted."
)]
pub(crate) struct UpdateArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// Folders in which moved files are looked for, beside those of the catalogue's files and the folders below
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Join a table by path (.csv, .tsv, .parquet or .jsonl): each of its columns can be used in filters
    #[arg(long, value_name = "FILE")]
    metadata: Vec<PathBuf>,
    /// The column of the table that has the paths [default: path, file, or another usual name]
    #[arg(long, value_name = "COLUMN", requires = "metadata")]
    key: Option<String>,
    #[command(flatten)]
    embedding: EmbeddingArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Updates the catalogue.
pub(crate) fn run(args: &UpdateArgs) -> anyhow::Result<Exit> {
    // Tables are read before the lock is taken: what waits for them must not keep others waiting.
    let read = |path: &PathBuf| read_table(path, args.key.as_deref());
    let tables: Vec<MetadataTable> = args.metadata.iter().map(read).collect::<anyhow::Result<_>>()?;
    let mut writer = Writer::open_existing(&args.catalogue)?;
    print_notes(&writer, args.run.quiet);
    if !tables.is_empty() {
        for (path, table) in args.metadata.iter().zip(&tables) {
            let joined = writer.join(table)?;
            if !args.run.quiet {
                report_joined(path, &joined);
            }
        }
        return Ok(Exit::Success);
    }
    let Some(catalogue) = writer.catalogue() else { bail!("{} is empty", printable_path(&args.catalogue)) };
    let files: Vec<PathBuf> = catalogue.live().ones().map(|track| catalogue.track(track).path()).collect();
    let versions: Vec<Input> = files.par_iter().map(|path| Input::new(path)).collect();
    let (present, missing): (Vec<Input>, Vec<Input>) = versions.into_iter().partition(|input| input.version.is_some());
    let others = other_files(&[&present[..], &missing[..]].concat());
    let mut inputs = present.clone();
    if !missing.is_empty() {
        inputs.extend(candidates(catalogue, &present, &missing, &others, &args.folders)?);
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
    let found: HashSet<&Path> = changes.refreshed.iter().map(|refreshed| refreshed.path.as_path()).collect();
    let is_new = |path: &&PathBuf| !found.contains(path.as_path()) && catalogue.find(path).is_none();
    let new: Vec<PathBuf> = others.iter().filter(is_new).cloned().collect();
    let changed: HashSet<PathBuf> = changes.embed.iter().map(|input| input.path.clone()).collect();
    let exit = embed_changes(&mut writer, changes, &args.embedding, &args.run)?;
    if exit != Exit::Success && exit != Exit::Failure {
        return Ok(exit);
    }
    reread_tags(&mut writer, &changed, args.run.quiet)?;
    for input in &missing {
        say(&format!("{}: missing; its rows stay", printable_path(&input.path)));
    }
    if let Some(first) = new.first().filter(|_| !args.run.quiet) {
        let (name, folder) = (printable_path(&args.catalogue), first.parent().unwrap_or(first));
        say(&format!(
            "{name}: {} in its folders, such as {}: `mert-search add {name} {}` adds them",
            count(new.len(), "new file"),
            printable_path(first),
            printable_path(folder)
        ));
    }
    if missing.is_empty() { Ok(exit) } else { Ok(Exit::Failure) }
}

/// Reads a table of metadata. Audio, which is easily given instead, is named.
fn read_table(path: &Path, key: Option<&str>) -> anyhow::Result<MetadataTable> {
    require_regular_file(path)?;
    if let Ok(Some(format)) = mert_audio::identify(path)
        && format.is_audio()
    {
        bail!(
            "{}: it is audio ({}): expected a table with a row for each file; to add audio use `mert-search add`",
            printable_path(path),
            format.name
        );
    }
    Ok(MetadataTable::read(path, key)?)
}

/// Files that may be the missing ones: those of `others`, and in `folders`, of the same sizes.
fn candidates(
    catalogue: &Catalogue,
    present: &[Input],
    missing: &[Input],
    others: &[PathBuf],
    folders: &[PathBuf],
) -> anyhow::Result<Vec<Input>> {
    let known: HashSet<&Path> = present.iter().map(|input| input.path.as_path()).collect();
    let sizes: HashSet<u64> =
        missing.iter().filter_map(|input| Some(catalogue.version(catalogue.find(&input.path)?)?.size)).collect();
    let mut found: Vec<PathBuf> = others.to_vec();
    if !folders.is_empty() {
        found.extend(inputs::collect(folders, None)?.files.into_iter().map(|input| absolute(&input.path)));
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
    writer.edit(&tracks, |number, track| {
        let Some(mut tags) = tags.remove(&number) else { return };
        // The loudness is measured, and no tag has it.
        if let Some(loudness) = track.metadata.get("loudness") {
            tags.insert("loudness".into(), loudness.clone());
        }
        changed += usize::from(track.metadata != tags);
        track.metadata = tags;
    })?;
    if changed > 0 && !quiet {
        let changed = count(changed, "file");
        say(&format!("{}: other tags in {changed} than before", printable_path(writer.folder())));
    }
    Ok(())
}

/// Prints what a join has found.
fn report_joined(table: &Path, joined: &Joined) {
    /// Rows without a track that are printed.
    const PRINTED: usize = 3;
    let name = printable_path(table);
    let line = |text: &str| say(&mert_arch::printable_line(&format!("{name}: {text}")));
    let Joined { rows, tracks, unmatched, repeated, without_row, .. } = joined;
    let matched = rows - unmatched.len();
    line(&format!(
        "{matched} of {} {} of {}; {} without a row",
        count(*rows, "row"),
        is_or_are(matched),
        count(*tracks, "track"),
        count(*without_row, "track")
    ));
    if *repeated > 0 {
        line(&format!("{} of tracks of which a later row is used", count(*repeated, "row")));
    }
    for UnmatchedRow { path, place, nearest } in unmatched.iter().take(PRINTED) {
        let path = if path.is_empty() { "of an empty path" } else { path };
        let nearest = nearest.as_ref().map_or(String::new(), |nearest| format!("; the nearest name is {nearest}"));
        line(&format!("no track {path} ({place}){nearest}"));
    }
    if unmatched.len() > PRINTED {
        line(&format!("no track for {}", count(unmatched.len() - PRINTED, "further row")));
    }
    if let Some((last, others)) = joined.first_without_row.split_last() {
        let more = match without_row - others.len() - 1 {
            0 => String::new(),
            more => format!(", and {}", count(more, "other")),
        };
        line(&format!("no row for {}{more}", [others, std::slice::from_ref(last)].concat().join(", ")));
    }
    joined.notes.iter().for_each(|note| line(note));
    let columns =
        [("added", &joined.added), ("overridden where known", &joined.overridden), ("completed", &joined.completed)];
    for (what, columns) in columns {
        if !columns.is_empty() {
            line(&format!("{what}: {}", columns.join(", ")));
        }
    }
}
