//! `mert-search add`: files and tables into a catalogue.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use fixedbitset::FixedBitSet;
use mert_arch::LayerSelection;
use mert_cli::catalogue::CatalogueModel;
use mert_cli::embedding::{ArithmeticChoice, Damaged, EmbedFiles, OpenModel, RunArgs, report_left_out};
use mert_cli::hub::Messages;
use mert_cli::model_input::converted_file;
use mert_cli::terminal::{Exit, say};
use mert_embed::failures::{self, Failure};
use mert_embed::inputs::{self, Input};
use mert_embed::{EmbedError, Embedder, Encoders, InputOptions, Journal, Normalization, Pool, write_output};
use mert_runtime::DeviceKind;
use mert_search::catalogue::Added;
use mert_search::{Writer, count, is_or_are, require_regular_file};
use mert_table::{Provenance, escape, printable_path, unescape};

use crate::about::{AboutOptions, read_all};
use crate::add_args::{AddArgs, EmbeddingArgs};
use crate::changes::{Changes, absolute};

/// Adds the inputs to the catalogue.
pub(crate) fn run(args: &AddArgs) -> anyhow::Result<Exit> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let (tables, files): (Vec<PathBuf>, Vec<PathBuf>) = args.inputs.iter().cloned().partition(is_table);
    let is_new = !args.catalogue.exists();
    let result = add(args, &tables, &files);
    if is_new && result.is_err() {
        remove_empty(&args.catalogue);
    }
    result
}

fn add(args: &AddArgs, tables: &[PathBuf], files: &[PathBuf]) -> anyhow::Result<Exit> {
    // Inputs are checked first, so that a mistake leaves no empty catalogue, and nothing waits with the lock held.
    for table in tables {
        require_regular_file(table)?;
        mert_table::TableReader::open(table).with_context(|| printable_path(table))?;
    }
    let inputs = match files.is_empty() && args.list.is_none() {
        true => None,
        false => Some(inputs::collect(files, args.list.as_deref())?),
    };
    for input in inputs.iter().flat_map(|inputs| &inputs.files) {
        ensure!(
            !input.is_stdin(),
            "standard input cannot be in a catalogue, which finds music by its path: give a file"
        );
        // A missing file is reported with those that cannot be decoded, as is a folder: a link that leads to one above it, or
        // one that cannot be read. A pipe would be waited for.
        if input.version.is_none() && input.path.exists() && !input.path.is_dir() {
            require_regular_file(&input.path)?;
        }
    }
    let mut writer = Writer::open(&args.catalogue)?;
    print_notes(&writer, args.run.quiet);
    let mut exit = Exit::Success;
    for table in tables {
        if add_table(&mut writer, table, args)? == Exit::Failure {
            exit = Exit::Failure;
        }
    }
    let Some(inputs) = inputs else { return Ok(exit) };
    if !args.run.quiet {
        inputs.notes.iter().for_each(|note| say(note));
    }
    let inputs = inputs.files.into_iter().map(|input| Input { path: absolute(&input.path), ..input }).collect();
    let changes = Changes::of(writer.catalogue(), inputs);
    match embed_changes(&mut writer, changes, &args.embedding, &args.run)? {
        Exit::Success => Ok(exit),
        other => Ok(other),
    }
}

/// Prints what was done while the catalogue was opened for a change.
pub(super) fn print_notes(writer: &Writer, quiet: bool) {
    writer.catalogue().into_iter().for_each(crate::open::print_notes);
    if !quiet && !writer.freed().is_empty() {
        say(&format!("{}: {} left by interrupted changes: removed", printable_path(writer.folder()), writer.freed()));
    }
}

/// Removes a new catalogue's folder if nothing was added.
fn remove_empty(folder: &Path) {
    if !folder.join("catalogue.json").exists() && !folder.join("staging").exists() {
        let _ = std::fs::remove_file(folder.join("lock"));
        let _ = std::fs::remove_dir(folder.join("parts"));
        let _ = std::fs::remove_dir(folder);
    }
}

/// Adds the rows of a table.
fn add_table(writer: &mut Writer, table: &Path, args: &AddArgs) -> anyhow::Result<Exit> {
    let settings = mert_table::TableReader::open(table).with_context(|| printable_path(table))?.settings().cloned();
    let models: Vec<PathBuf> = args.embedding.model.iter().map(|model| remembered(model)).collect();
    if let Some(mert_table::Settings::Full(settings)) = settings.filter(|_| !models.is_empty()) {
        // A wrong model would only be noticed by the first query.
        CatalogueModel::with_settings(&settings, &models, Messages::of("mert-search", false))?;
        writer.remember_models(&models);
    }
    // The name by which the catalogue knows a file of the table.
    let name = |file: &str| {
        let path = unescape(file);
        if path.is_file() { escape(&absolute(&path)) } else { file.to_string() }
    };
    let files = writer.files_of(table, name)?;
    let catalogue = writer.catalogue();
    let is_read = |(file, is_unchanged): &&(String, bool)| {
        let known = || catalogue.and_then(|catalogue| catalogue.sha256(catalogue.find_file(&name(file))?));
        !is_unchanged || known().is_none()
    };
    let wanted: Vec<PathBuf> = files.iter().filter(is_read).map(|(file, _)| unescape(file)).collect();
    let (found, missing): (Vec<PathBuf>, Vec<PathBuf>) = wanted.into_iter().partition(|path| path.is_file());
    if !missing.is_empty() && !args.run.quiet {
        say(&format!(
            "{}: {} not there, so that nothing is known of {} but the rows; the first is {}",
            printable_path(table),
            of_files(missing.len(), files.len()),
            if missing.len() == 1 { "it" } else { "them" },
            printable_path(&missing[0])
        ));
    }
    if found.is_empty() && files.iter().all(|(_, is_unchanged)| *is_unchanged) {
        writer.record_models()?;
        let added = Added { unchanged: files.len(), ..Added::default() };
        return Ok(report_added(writer.folder(), &added, &[], files.len(), args.run.quiet));
    }
    let options = AboutOptions {
        read: mert_audio::ReadOptions { damage: mert_audio::Damage::Keep, ffmpeg: args.embedding.ffmpeg },
        loudness: !args.embedding.no_loudness,
        quiet: args.run.quiet,
    };
    let mut known = read_all(&found, &HashMap::new(), options);
    let added = writer.add(table, |file| {
        let mut track = known.remove(&unescape(file)).unwrap_or_default();
        track.file = Some(name(file));
        track
    })?;
    Ok(report_added(writer.folder(), &added, &[], files.len(), args.run.quiet))
}

/// `3 of 5 files are`, `1 of 1 file is`.
fn of_files(some: usize, all: usize) -> String {
    format!("{some} of {} {}", count(all, "file"), is_or_are(some))
}

/// Embeds the files that are new or changed and adds them, and records the paths and times of the others.
pub(super) fn embed_changes(
    writer: &mut Writer,
    changes: Changes,
    embedding: &EmbeddingArgs,
    run: &RunArgs,
) -> anyhow::Result<Exit> {
    let files = changes.embed.len() + changes.unchanged + changes.refreshed.len();
    if !run.quiet {
        let (moved, touched) = (changes.moved(), changes.refreshed.len() - changes.moved());
        let mut text = format!(
            "{}: {} new, {} changed, {} unchanged",
            printable_path(writer.folder()),
            changes.embed.len() - changes.changed,
            changes.changed,
            changes.unchanged + touched
        );
        if moved > 0 {
            text += &format!(", {moved} moved, whose rows stay");
        }
        say(&text);
    }
    refresh(writer, &changes)?;
    let staging = writer.folder().join("staging");
    let table = staging.join("rows.parquet");
    let mut failures = Vec::new();
    if changes.embed.is_empty() {
        if writer.catalogue().is_some() && !embedding.model.is_empty() {
            // The digest is checked before the place is remembered.
            open_model(writer, embedding, run)?;
            writer.record_models()?;
        }
        // An addition that was interrupted after its rows were committed leaves its journal.
        discard(&table);
        write_report(run, &failures)?;
        return Ok(Exit::Success);
    }
    let model = open_model(writer, embedding, run)?;
    let settings = model.settings();
    std::fs::create_dir_all(&staging).with_context(|| printable_path(&staging))?;
    let mut journal = Journal::open(&table, &settings, run.restart)?;
    let embed = EmbedFiles {
        encoders: model.encoders(),
        options: model.options(),
        jobs: run.jobs,
        strict: run.strict,
        quiet: run.quiet,
    };
    let (summary, found) = embed.run(&changes.embed, &mut journal)?;
    failures.extend(found);
    if summary.stopped {
        let kept = changes.embed.iter().filter(|input| journal.has(input)).count();
        let is_strict_failure = run.strict && summary.failed > 0;
        let what = if is_strict_failure { "stopped" } else { "interrupted" };
        say(&format!("{what}: {} kept; the same command continues from there", of_files(kept, files)));
        write_report(run, &failures)?;
        return Ok(if is_strict_failure { Exit::Error } else { Exit::Interrupted });
    }
    let done: Vec<PathBuf> =
        changes.embed.iter().filter(|input| journal.has(input)).map(|input| input.path.clone()).collect();
    let options =
        AboutOptions { read: model.options().read_options(), loudness: !embedding.no_loudness, quiet: run.quiet };
    let mut known = read_all(&done, &changes.digests, options);
    let added = match write_output(&table, &settings, &changes.embed, &mut journal) {
        Ok(()) => Some(writer.add_moved(&table, |file| known.remove(&unescape(file)).unwrap_or_default())?),
        Err(EmbedError::NothingEmbedded) => None,
        Err(error) => return Err(error.into()),
    };
    journal.remove()?;
    let _ = std::fs::remove_dir(&staging);
    write_report(run, &failures)?;
    let Some(added) = added else {
        report_left_out(&failures, files);
        if writer.catalogue().is_none() {
            bail!("no file could be embedded: there is no catalogue yet");
        }
        return Ok(Exit::Failure);
    };
    Ok(report_added(writer.folder(), &added, &failures, files, run.quiet))
}

/// Records new paths and times of files with the same bytes.
fn refresh(writer: &mut Writer, changes: &Changes) -> anyhow::Result<()> {
    let Some(catalogue) = writer.catalogue() else { return Ok(()) };
    let mut tracks = FixedBitSet::with_capacity(catalogue.tracks());
    let known: HashMap<usize, _> = changes.refreshed.iter().map(|refreshed| (refreshed.track, refreshed)).collect();
    known.keys().for_each(|&track| tracks.insert(track));
    writer.edit(&tracks, |number, track| {
        if let Some(refreshed) = known.get(&number) {
            track.file = refreshed.file();
            track.version = refreshed.version;
        }
    })?;
    Ok(())
}

fn discard(table: &Path) {
    let _ = std::fs::remove_file(table);
    let _ = std::fs::remove_file(Journal::path_for(table));
    if let Some(folder) = table.parent() {
        let _ = std::fs::remove_dir(folder);
    }
}

fn write_report(run: &RunArgs, failures: &[Failure]) -> Result<(), EmbedError> {
    run.report.as_ref().map_or(Ok(()), |path| failures::write_report(path, failures))
}

/// Prints what was added and what was left out, and returns the exit status.
fn report_added(folder: &Path, added: &Added, failures: &[Failure], files: usize, quiet: bool) -> Exit {
    for refused in &added.refused {
        say(&format!("{}: left out: {}", mert_arch::printable_line(&refused.file), refused.reason));
    }
    let name = printable_path(folder);
    if !quiet {
        let Added { tracks, segments, replaced, unchanged, .. } = *added;
        let replaced =
            if replaced > 0 { format!(", {replaced} of them in place of earlier ones,") } else { String::new() };
        let mut text =
            format!("{name}: added {}{replaced} with {}", count(tracks, "track"), count(segments, "segment"));
        if tracks == 0 {
            text = format!("{name}: nothing added");
        }
        if unchanged > 0 {
            text += &format!("; {unchanged} unchanged, with the same rows");
        }
        say(&text);
    }
    if added.lost_loudness > 0 {
        let tracks = count(added.lost_loudness, "track");
        say(&format!(
            "{name}: the loudness of {tracks} whose files have changed is no longer known: it was not measured"
        ));
    }
    match (report_left_out(failures, files), added.refused.is_empty()) {
        (Exit::Success, false) => Exit::Failure,
        (exit, _) => exit,
    }
}

/// Opens the model that embeds for the catalogue of `writer`: for a new one as the options say, for others as its rows were
/// embedded, which the options must not contradict.
fn open_model(writer: &mut Writer, args: &EmbeddingArgs, run: &RunArgs) -> anyhow::Result<CatalogueModel> {
    let model = match writer.catalogue() {
        Some(catalogue) => {
            refuse_differences(args, catalogue.settings())?;
            CatalogueModel::open(catalogue, &args.model, Messages::of("mert-search", false))?
        }
        None => new_model(args)?,
    };
    if !args.model.is_empty() {
        writer.remember_models(&args.model.iter().map(|model| remembered(model)).collect::<Vec<_>>());
    }
    if !run.quiet {
        model.notes().iter().for_each(|note| say(note));
    }
    Ok(model)
}

/// The place of a model as it is remembered: a path that exists becomes absolute, a name on the hub stays.
fn remembered(model: &Path) -> PathBuf {
    if model.exists() { absolute(model) } else { model.to_path_buf() }
}

/// Refuses options that contradict the settings of a catalogue's rows.
fn refuse_differences(args: &EmbeddingArgs, settings: &Provenance) -> anyhow::Result<()> {
    let mut differences = Vec::new();
    let mut compare = |option: &str, given: Option<String>, stored: String| {
        if let Some(given) = given.filter(|given| *given != stored) {
            differences.push(format!("{option}: {given} given, {stored} in the catalogue"));
        }
    };
    let last = settings.hidden_states.last().copied().unwrap_or(0);
    if let Some(LayerSelection::Some(given)) = &args.layers
        && given.iter().all(|&layer| layer >= 0)
    {
        let list =
            |layers: &mut dyn Iterator<Item = i64>| layers.map(|layer| layer.to_string()).collect::<Vec<_>>().join(",");
        let stored = list(&mut settings.hidden_states.iter().map(|&layer| layer as i64));
        compare("--layers", Some(list(&mut given.iter().copied())), stored);
    } else if args.layers.is_some() {
        bail!("--layers is for a new catalogue, or gives the numbers that this one has: the last is {last}");
    }
    compare("--window", args.window.map(|window| window.to_string()), settings.window.to_string());
    compare("--tail", args.tail.map(|tail| tail.to_string()), settings.tail.name().to_string());
    let damaged = args.damaged.map(|damaged| match damaged {
        Damaged::Skip => mert_table::Damage::Refuse.name().to_string(),
        Damaged::Keep => mert_table::Damage::Keep.name().to_string(),
    });
    compare("--damaged", damaged, settings.damaged.name().to_string());
    compare(
        "--device",
        args.device.map(|device| device.name().to_string()),
        settings.arithmetic.device.name().to_string(),
    );
    compare("--dtype", args.dtype.map(|dtype| dtype.to_string()), settings.arithmetic.dtype.to_string());
    if let Some(difference) = differences.first() {
        bail!(
            "the rows of a catalogue have one set of settings: {difference}. Leave the option out, or make another catalogue"
        );
    }
    Ok(())
}

/// Opens the model of a new catalogue as the options say.
fn new_model(args: &EmbeddingArgs) -> anyhow::Result<CatalogueModel> {
    let [model] = &args.model[..] else {
        ensure!(
            args.model.is_empty(),
            "a new catalogue takes files with one --model; for several encoders embed with `mert-embed --config`, and \
             give the table"
        );
        bail!(
            "a new catalogue needs a model: give --model MODEL, a file that mert-convert wrote or a model of the hub"
        );
    };
    let kind = args.device.unwrap_or(DeviceKind::Cpu);
    let device = kind.open()?;
    let options = InputOptions {
        window: match args.window {
            Some(window) => window,
            None => "sliding:10s/10s".parse()?,
        },
        tail: args.tail.unwrap_or_default(),
        damage: args.damaged.map_or_else(Default::default, Into::into),
        ffmpeg: args.ffmpeg.then(mert_audio::ffmpeg_version).transpose()?,
        input_rate: None,
    };
    let path = converted_file(model, Messages::of("mert-search", false))?;
    let opened = OpenModel::open(&path, ArithmeticChoice::As(args.dtype.unwrap_or_default()), kind, &device)?;
    let notes = opened.notes.clone();
    let encoder = opened.encoder("mert", |model| {
        let layers = args.layers.clone().unwrap_or_else(|| default_layers(model.config().num_hidden_states() - 1));
        Embedder::new(model, &layers, Pool::Mean, Normalization::None)
    })?;
    let encoders = Encoders::new(vec![encoder], &options.window)?;
    Ok(CatalogueModel::new(encoders, options, notes))
}

/// Three hidden states of a model with `layers` layers: a twelfth, a half and three quarters of the way up.
fn default_layers(layers: usize) -> LayerSelection {
    let at = |share: f64| ((layers as f64 * share).round() as i64).clamp(1, layers.max(1) as i64);
    LayerSelection::Some(BTreeSet::from([at(1.0 / 12.0), at(0.5), at(0.75)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_hidden_states_keep_their_proportions() {
        let layers = |count| default_layers(count).resolve(count + 1).unwrap();
        assert_eq!(layers(12), [1, 6, 9]);
        assert_eq!(layers(24), [2, 12, 18]);
        assert_eq!(layers(2), [1, 2]);
    }
}
