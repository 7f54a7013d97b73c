//! `mert-search cluster`: groups of tracks that sound alike.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use mert_arch::printable_line;
use mert_cli::terminal::{Exit, print, progress_bar, say};
use mert_fs::AtomicFile;
use mert_search::cluster::{ClusterMethod, ClusterOptions, Clustering, cluster};
use mert_search::{Catalogue, Space, count};

use crate::geometry_args::GeometryArgs;
use crate::open::open_catalogue;

/// The options of `mert-search cluster`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The method: every track in one of --clusters (kmeans), or dense groups and the rest in none (hdbscan)
    #[arg(long, value_enum, default_value_t = Method::Kmeans)]
    method: Method,
    /// The number of clusters of k-means
    #[arg(short, long, value_name = "N", default_value_t = 8)]
    clusters: usize,
    /// The fewest tracks of a cluster of HDBSCAN
    #[arg(long, value_name = "N", default_value_t = 5)]
    min_size: usize,
    /// The number of most central tracks to list
    #[arg(long, value_name = "N", default_value_t = 3)]
    central: usize,
    /// The seed of everything that is drawn at random
    #[arg(long, default_value_t = 15)]
    seed: u64,
    /// A CSV file to write, of each file and its cluster, which `mert-search update` can join as a column
    #[arg(short, long, value_name = "FILE.csv")]
    output: Option<PathBuf>,
    /// The name of the column in that file, which no column of tags may have
    #[arg(long, value_name = "NAME", default_value = "cluster", requires = "output")]
    column: String,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Print the clusters as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    geometry: GeometryArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    Kmeans,
    Hdbscan,
}

/// Clusters and prints.
pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<Exit> {
    if args.output.as_ref().is_some_and(|path| path.extension().is_none_or(|extension| extension != "csv")) {
        bail!("expected an output whose name ends in .csv");
    }
    if args.column.is_empty() || args.column.contains(['"', ',', '\n', '\r']) {
        bail!("invalid --column {}: expected a name without quotes, commas and line breaks", args.column);
    }
    let catalogue = open_catalogue(&args.catalogue)?;
    let (live, least) = (catalogue.live().count_ones(..), if matches!(args.method, Method::Kmeans) { 2 } else { 4 });
    if live < least {
        bail!("the catalogue has {}: clusters need at least {least}", count(live, "track"));
    }
    let space = Space::new(&catalogue, args.geometry.geometry(&catalogue)?)?;
    let method = match args.method {
        Method::Kmeans => ClusterMethod::Kmeans { clusters: args.clusters },
        Method::Hdbscan => ClusterMethod::Hdbscan { min_size: args.min_size },
    };
    if args.output.is_some() {
        check_column(&catalogue, &args.column)?;
    }
    let (length, template) = match args.method {
        Method::Kmeans => (Some(100), "{spinner} {bar:30} clusters of {msg} tracks, {elapsed}"),
        Method::Hdbscan => (None, "{spinner} clusters of {msg} tracks, {elapsed}"),
    };
    let bar = progress_bar(length, template, args.json);
    bar.set_message(live.to_string());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let options = ClusterOptions { method, seed: args.seed, central: args.central };
    let found = cluster(&space, &options, &|share| bar.set_position((100.0 * share) as u64))?;
    bar.finish_and_clear();
    found.notes.iter().for_each(|note| say(&format!("note: {note}")));
    if let Some(path) = &args.output {
        let mut text = format!("file,{}\n", args.column);
        for (track, label) in &found.tracks {
            let file = catalogue.track(*track).path();
            let Some(file) = file.to_str() else {
                say(&format!("note: {} is not Unicode, and is left out", catalogue.track(*track).file));
                continue;
            };
            let label = label.map_or_else(|| "none".to_string(), |label| (label + 1).to_string());
            let _ = writeln!(text, "\"{}\",{label}", file.replace('"', "\"\""));
        }
        let mut output = AtomicFile::create(path, args.force)?;
        output.file_mut().write_all(text.as_bytes())?;
        output.commit()?;
    }
    if args.json {
        print(&json(&catalogue, &found)?)?;
    } else {
        print(&text(&catalogue, &found))?;
    }
    Ok(Exit::Success)
}

/// Refuses the name of a column that says something else of tracks: a join would replace it. One that a table brought, such as
/// earlier clusters, may be replaced, which is said.
fn check_column(catalogue: &Catalogue, name: &str) -> anyhow::Result<()> {
    let other = ["file", "duration", "seed"].into_iter().find(|reserved| name.eq_ignore_ascii_case(reserved));
    let taken = catalogue.column_names().find(|other| other.eq_ignore_ascii_case(name));
    let Some(taken) = other.or(taken) else { return Ok(()) };
    let is_joined = other.is_none()
        && taken == name
        && catalogue.column(taken).is_ok_and(|column| {
            let mut known = catalogue.live().ones().filter(|&track| column.is_known(track));
            known.all(|track| catalogue.values(track)[1].contains_key(taken))
        });
    if !is_joined {
        bail!(
            "invalid --column {name}: the catalogue has a column {taken}, which the clusters would replace: choose another name"
        );
    }
    say(&format!("note: the catalogue has a joined column {taken}: `mert-search update --metadata` replaces it"));
    Ok(())
}

/// The clusters as JSON, with the files of tracks.
fn json(catalogue: &Catalogue, found: &Clustering) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(found)?;
    let file = |track: usize| catalogue.track(track).file.to_string();
    for (cluster, json) in found.clusters.iter().zip(value["clusters"].as_array_mut().into_iter().flatten()) {
        json["central"] = cluster.central.iter().map(|&track| file(track)).collect();
    }
    let tracks =
        found.tracks.iter().map(|(track, label)| serde_json::json!({ "file": file(*track), "cluster": label }));
    value["tracks"] = tracks.collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}

fn text(catalogue: &Catalogue, found: &Clustering) -> String {
    let mut text = format!("{}, {} in none\n", count(found.clusters.len(), "cluster"), count(found.noise, "track"));
    for (index, cluster) in found.clusters.iter().enumerate() {
        let _ = writeln!(text, "\n{}: {}", index + 1, count(cluster.size, "track"));
        for tag in &cluster.tags {
            let _ = writeln!(
                text,
                "  {} {}: {} of {}, in the catalogue {} of {}",
                printable_line(&tag.column),
                printable_line(&tag.text),
                tag.inside,
                tag.inside_known,
                tag.total,
                tag.total_known
            );
        }
        for &track in &cluster.central {
            let _ = writeln!(text, "  {}", printable_line(catalogue.track(track).file));
        }
    }
    text
}
