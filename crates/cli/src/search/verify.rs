//! `mert-search verify`: whether a catalogue is whole.

use std::path::PathBuf;

use clap::Args;
use mert_cli::catalogue::CatalogueModel;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print, progress_bar, say};
use mert_search::catalogue::{Verification, verify};
use mert_search::count;
use mert_table::printable_path;

use crate::open::open_catalogue;

/// The options of `mert-search verify`.
#[derive(Debug, Args)]
#[command(
    after_help = "Compares the digests of all tables, the caches with the tables, value by value, and the statistics \
    with the vectors. Files on the disk that are missing or have changed are noted, and no fault. Exit status: 0 whole, \
    1 damaged, 2 could not be checked."
)]
pub(crate) struct VerifyArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// Check that this is the model of the catalogue, too; given again for each further encoder
    #[arg(long, value_name = "MODEL")]
    model: Vec<PathBuf>,
    /// Write damaged caches and statistics again and compare them, and remove files that the catalogue does not name
    #[arg(long)]
    repair: bool,
}

/// Checks the catalogue.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Exit> {
    let bar = progress_bar(None, "{bar:30} {pos}/{len}, {eta} left", false);
    let mut found = verify(&args.catalogue, args.repair, |done, parts| {
        bar.set_length(parts as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if !args.model.is_empty() && found.faults.is_empty() {
        let catalogue = open_catalogue(&args.catalogue)?;
        match CatalogueModel::open(&catalogue, &args.model, Messages::of("mert-search", false)) {
            Ok(_) => print("the model is that of the catalogue\n")?,
            Err(error) => found.faults.push(format!("{error:#}")),
        }
    }
    found.repaired.iter().chain(&found.notes).for_each(|note| say(note));
    found.faults.iter().for_each(|fault| say(fault));
    let name = printable_path(&args.catalogue);
    if found.faults.is_empty() {
        print(&format!("{name}: whole: {}\n", compared(&found)))?;
        return Ok(Exit::Success);
    }
    print(&format!("{name}: damaged: {}; compared: {}\n", count(found.faults.len(), "fault"), compared(&found)))?;
    Ok(Exit::Failure)
}

/// The numbers of files, vectors and statistics that a check compared, as a text.
fn compared(found: &Verification) -> String {
    let statistics = match found.statistics {
        Some(segments) => format!("the statistics of {} computed again", count(segments, "segment")),
        None => "the statistics not computed again".into(),
    };
    let derived = match found.derived {
        0 => String::new(),
        files => format!(", {} that searches derive by checksum", count(files, "file")),
    };
    format!(
        "{} by digest{derived}, {} of caches value by value, with {} and {}; {statistics}",
        count(found.files, "file"),
        count(found.caches, "file"),
        count(found.tracks, "track"),
        count(found.segments, "segment"),
    )
}
