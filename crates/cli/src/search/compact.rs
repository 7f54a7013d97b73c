//! `mert-search compact`: a catalogue as one part, without removed tracks.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mert_cli::terminal::{Exit, say};
use mert_search::Writer;
use mert_search::space::{build_half, remove_half};
use mert_table::printable_path;

use crate::info::bytes_in;

/// The options of `mert-search compact`.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs the size of the catalogue on the disk once more while it runs. Searches that are running are \
    not disturbed. The statistics, by which vectors are centred, are computed again, so that scores change a little."
)]
pub(crate) struct CompactArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The type of the rows that searches read: f32, or f16 beside it, which is half of the memory and slower; results are the
    /// same [default: as it is]
    #[arg(long, value_enum, value_name = "TYPE")]
    index: Option<IndexType>,
}

/// The values of `--index`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum IndexType {
    /// f32
    F32,
    /// f16, with f32 for candidates
    F16,
}

/// Compacts the catalogue.
pub(crate) fn run(args: &CompactArgs) -> anyhow::Result<Exit> {
    let mut writer = Writer::open_existing(&args.catalogue)?;
    crate::add::print_notes(&writer, false);
    let before = bytes_in(&args.catalogue);
    let name = printable_path(&args.catalogue);
    if writer.compact()? {
        let after = bytes_in(&args.catalogue);
        let [before, after] = [before, after].map(|bytes| bytes as f64 / 1e6);
        let change =
            if after <= before { format!("{:.1} MB freed", before - after) } else { String::from("nothing freed") };
        say(&format!("{name}: one part of {after:.1} MB, before {before:.1} MB: {change}"));
    } else {
        say(&format!("{name}: nothing to do: it is one part without removed tracks"));
    }
    drop(writer);
    match args.index {
        None => {}
        Some(IndexType::F16) => build_half(&crate::open::open_catalogue(&args.catalogue)?)?,
        Some(IndexType::F32) => remove_half(&crate::open::open_catalogue(&args.catalogue)?)?,
    }
    Ok(Exit::Success)
}
