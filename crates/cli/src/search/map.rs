//! `mert-search map`: a point for each track, as JSON, CSV or a picture.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use mert_cli::terminal::{Exit, print, progress_bar, say};
use mert_fs::AtomicFile;
use mert_search::map::{Map, MapMethod, MapOptions, MapSource, cached, svg};
use mert_search::{Catalogue, Space};

use crate::geometry_args::GeometryArgs;
use crate::open::open_catalogue;

/// The options of `mert-search map`.
#[derive(Debug, Args)]
pub(crate) struct MapArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The method: pca is at once there; tsne keeps neighbours together
    #[arg(long, value_enum, default_value_t = Method::Pca)]
    method: Method,
    /// The file to write: .json, .csv or .svg
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The column whose texts are colours in a picture
    #[arg(long, value_name = "COLUMN")]
    color: Option<String>,
    /// The seed of everything that is drawn at random
    #[arg(long, default_value_t = MapOptions::default().seed)]
    seed: u64,
    /// The number of neighbours that t-SNE keeps together, roughly [default: 30, or less for few tracks]
    #[arg(long, value_name = "N")]
    perplexity: Option<f64>,
    /// The most tracks that t-SNE is fitted to; the others are placed between their neighbours
    #[arg(long, value_name = "N", default_value_t = MapOptions::default().fit)]
    fit: usize,
    /// Compute the map even if the catalogue has kept one
    #[arg(long)]
    refresh: bool,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Print the map as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    geometry: GeometryArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    Pca,
    Tsne,
}

/// Makes the map and writes it.
pub(crate) fn run(args: &MapArgs) -> anyhow::Result<Exit> {
    let catalogue = open_catalogue(&args.catalogue)?;
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let column = args.color.as_ref().map(|name| catalogue.column(name)).transpose()?;
    let options = MapOptions {
        method: match args.method {
            Method::Pca => MapMethod::Pca,
            Method::Tsne => MapMethod::Tsne,
        },
        seed: args.seed,
        perplexity: args.perplexity,
        fit: args.fit,
    };
    if let Some(path) = &args.output {
        check_output(path)?;
    }
    let bar = progress_bar(Some(100), "{spinner} {bar:30} map of {msg} tracks, {elapsed}", args.json);
    bar.set_message(catalogue.live().count_ones(..).to_string());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let progress = |share: f64| bar.set_position((100.0 * share) as u64);
    let (map, source) = cached(&space, &options, args.refresh, &progress)?;
    bar.finish_and_clear();
    for note in &map.notes {
        say(&format!("note: {note}"));
    }
    if let Some(path) = &args.output {
        let text = match extension(path) {
            Some("csv") => csv(&catalogue, &map),
            Some("svg") => svg(&map, &format!("{} tracks", map.points.len()), column.as_deref()),
            _ => serde_json::to_string(&map)?,
        };
        let mut output = AtomicFile::create(path, args.force)?;
        output.file_mut().write_all(text.as_bytes())?;
        output.commit()?;
    }
    if args.json {
        print(&format!("{}\n", serde_json::to_string(&map)?))?;
        return Ok(Exit::Success);
    }
    let origin = match source {
        MapSource::Computed => "computed".to_string(),
        MapSource::Kept => "kept from before".to_string(),
        MapSource::Extended(placed) => format!("kept from before, {placed} new tracks placed between their neighbours"),
    };
    let mut text = format!("{} tracks, {origin}", map.points.len());
    if let Some(share) = map.explained {
        let _ = write!(text, "; two components have {:.1} % of the variance", 100.0 * share);
    }
    if let Some(path) = &args.output {
        let _ = write!(text, "\nwrote {}", path.display());
    }
    print(&format!("{text}\n"))?;
    Ok(Exit::Success)
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

fn check_output(path: &Path) -> anyhow::Result<()> {
    if !matches!(extension(path), Some("json" | "csv" | "svg")) {
        bail!("{}: expected a name that ends in .json, .csv or .svg", path.display());
    }
    Ok(())
}

fn csv(catalogue: &Catalogue, map: &Map) -> String {
    let mut text = String::from("track,file,x,y\n");
    for &(track, x, y) in &map.points {
        let file = catalogue.track(track).file.replace('"', "\"\"");
        let _ = writeln!(text, "{track},\"{file}\",{x},{y}");
    }
    text
}
