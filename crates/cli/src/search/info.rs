//! `mert-search info`: what a catalogue holds.

use std::path::PathBuf;

use clap::Args;
use mert_cli::terminal::{Exit, print};
use mert_search::Catalogue;

/// The options of `mert-search info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
}

/// Prints what the catalogue holds.
pub(crate) fn run(args: &InfoArgs) -> anyhow::Result<Exit> {
    let catalogue = Catalogue::open(&args.catalogue)?;
    let live = catalogue.live().count_ones(..);
    print(&format!("{live} tracks, {} segments\n", catalogue.segments()))?;
    Ok(Exit::Success)
}
