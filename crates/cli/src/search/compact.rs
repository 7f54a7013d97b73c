//! `mert-search compact`: a catalogue as one part, without removed tracks.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use mert_cli::terminal::{Exit, say};
use mert_search::catalogue::PartEntry;
use mert_search::space::{build_half, remove_half};
use mert_search::{Catalogue, Writer, count, size};
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
    let has_half = writer.catalogue().is_some_and(|catalogue| half_bytes(catalogue) > 0);
    let name = printable_path(&args.catalogue);
    let is_written = writer.compact()?;
    let Some(catalogue) = writer.catalogue() else { bail!("{name} is empty") };
    if is_written {
        let after = bytes_in(&args.catalogue);
        let parts = count(catalogue.manifest().parts.len(), "part");
        let change = match before.checked_sub(after) {
            Some(freed) => format!("{} freed", size(freed)),
            None => "nothing freed".into(),
        };
        say(&format!("{name}: {parts}, {} in all, before {}: {change}", size(after), size(before)));
    } else if args.index.is_none() {
        say(&format!("{name}: nothing to do: it is one part without removed tracks"));
    }
    // The rows in f16 went with the parts that they were of.
    let index = args.index.or((is_written && has_half).then_some(IndexType::F16));
    if let Some(index) = index {
        say(&format!("{name}: {}", change_index(catalogue, index)?));
    }
    Ok(Exit::Success)
}

/// Writes or removes the rows in f16, and returns what was done.
fn change_index(catalogue: &Catalogue, index: IndexType) -> anyhow::Result<String> {
    let before = half_bytes(catalogue);
    match index {
        IndexType::F16 => build_half(catalogue)?,
        IndexType::F32 => remove_half(catalogue)?,
    }
    let after = half_bytes(catalogue);
    Ok(match (index, before, after) {
        (IndexType::F16, _, 0) => "it has no rows that could be written in f16".into(),
        (IndexType::F16, before, after) if before == after => format!("its rows in f16, {}, are there", size(after)),
        (IndexType::F16, ..) => format!("wrote its rows in f16, {}, beside those in f32", size(after)),
        (IndexType::F32, 0, _) => "it has no rows in f16 to remove".into(),
        (IndexType::F32, ..) => format!("removed its rows in f16: {} freed", size(before - after)),
    })
}

/// The bytes of the rows in f16.
fn half_bytes(catalogue: &Catalogue) -> u64 {
    let parts = catalogue.folder().join("parts");
    let index = |part: &PartEntry| std::fs::read_dir(parts.join(&part.name).join("index"));
    let files = catalogue.manifest().parts.iter().filter_map(|part| index(part).ok()).flatten().flatten();
    let half = files.filter(|file| file.file_name().as_encoded_bytes().starts_with(b"half."));
    half.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}
