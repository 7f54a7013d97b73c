//! `mert-search playlist`: the hits of a query, or a way between two songs, as a file for players.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use mert_cli::terminal::{Exit, say};
use mert_fs::AtomicFile;
use mert_search::playlist::{Entry, PlaylistFormat, spread};
use mert_search::query::{PathOptions, path, search};
use mert_search::{Calibration, Seed, Space, count};
use mert_table::printable_path;

use crate::geometry_args::GeometryArgs;
use crate::open::open_catalogue;
use crate::search_args::SearchArgs;
use crate::seeds::{SEED_HELP, SeedArgs};

/// The options of `mert-search playlist`.
#[derive(Debug, Args)]
#[command(after_help = SEED_HELP)]
pub(crate) struct PlaylistArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// What the songs should sound like
    #[arg(value_name = "SEED", required_unless_present = "vector")]
    seeds: Vec<String>,
    /// The playlist: .m3u8, .xspf or .jspf
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// A way from the SEED to this one, with --top songs between them, instead of what is nearest
    #[arg(long, value_name = "SEED", conflicts_with_all = ["minus", "vector", "level", "variety", "blend", "artist_gap",
        "album_gap", "compressed_above"])]
    to: Option<String>,
    /// Begin with the seeds themselves
    #[arg(long)]
    with_seeds: bool,
    /// The title of the playlist [default: the file's name]
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    more: SeedArgs,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    geometry: GeometryArgs,
}

/// Searches, and writes the hits.
pub(crate) fn run(args: &PlaylistArgs) -> anyhow::Result<Exit> {
    let format = PlaylistFormat::of(&args.output)?;
    let options = args.search.options()?;
    let mut file = AtomicFile::create(&args.output, args.force)?;
    let catalogue = open_catalogue(&args.catalogue)?;
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let seeds = args.more.seeds(&space, &args.seeds)?;
    let calibration = Calibration::new(&space, options.level, args.search.random_seed);
    let (mut entries, notes) = match &args.to {
        Some(to) => way(args, &space, &calibration, &seeds, to, &options)?,
        None => {
            args.more.note_unused_model(seeds.iter().map(|(seed, _)| seed));
            let answer = search(&space, &calibration, &seeds, &options)?;
            let mut notes = answer.notes;
            let tracks: Vec<usize> = answer.hits.iter().map(|hit| hit.track).collect();
            let (order, close) = match options.variety > 0.0 {
                true => ((0..tracks.len()).collect(), 0),
                false => spread(calibration.credits(), &tracks, options.limits.artist_gap),
            };
            if close > 0 {
                notes.push(format!(
                    "{} by the artist of the song before: there are no others to put between",
                    count(close, "song")
                ));
            }
            let entry = |index: usize| {
                let hit = &answer.hits[index];
                let percentile = hit.percentile.map(|percentile| ("percentile", percentile));
                let scores = [("cosine", hit.cosine)].into_iter().chain(percentile).collect();
                Entry::of(&catalogue, hit.track, scores)
            };
            (order.into_iter().map(entry).collect::<Vec<Entry>>(), notes)
        }
    };
    if args.with_seeds && args.to.is_none() {
        let tracks = seeds.iter().filter(|(_, weight)| *weight > 0.0).filter_map(|(seed, _)| seed.track());
        entries.splice(0..0, tracks.map(|track| Entry::of(&catalogue, track, Vec::new())).collect::<Vec<_>>());
    }
    let name = || args.output.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let title = args.title.clone().unwrap_or_else(name);
    let folder = mert_fs::parent_folder(&args.output);
    let text = format.text(&title, &entries, folder)?;
    file.file_mut().write_all(text.as_bytes()).with_context(|| printable_path(&args.output))?;
    file.commit()?;
    notes.iter().for_each(|note| say(&format!("note: {note}")));
    say(&format!("{}: {}", printable_path(&args.output), count(entries.len(), "song")));
    Ok(Exit::Success)
}

/// The songs of a way, and notes.
fn way(
    args: &PlaylistArgs,
    space: &Space<'_>,
    calibration: &Calibration,
    seeds: &[(Seed, f64)],
    to: &str,
    options: &mert_search::SearchOptions,
) -> anyhow::Result<(Vec<Entry>, Vec<String>)> {
    let [(from, _)] = seeds else {
        anyhow::bail!("--to needs one SEED to start from, found {}", count(seeds.len(), "seed"))
    };
    anyhow::ensure!(
        options.top <= 10_000,
        "invalid --top {} with --to: expected at most 10000 songs between the two",
        options.top
    );
    let to = args.more.seed(space.catalogue(), to)?;
    args.more.note_unused_model([from, &to]);
    let options = PathOptions {
        steps: options.top,
        filter: options.filter.clone(),
        limits: options.limits,
        versions: options.versions,
        ..PathOptions::default()
    };
    let path = path(space, calibration, from, &to, &options)?;
    let mut entries = Vec::with_capacity(path.steps.len());
    for step in &path.steps {
        let cosine = step.cosine.map(|cosine| ("cosine", cosine));
        let scores = cosine.into_iter().chain(step.percentile.map(|percentile| ("percentile", percentile))).collect();
        entries.push(match step.track {
            Some(track) => Entry::of(space.catalogue(), track, scores),
            None => Entry { path: mert_table::unescape(&step.file), scores, ..Entry::default() },
        });
    }
    Ok((entries, path.notes))
}
