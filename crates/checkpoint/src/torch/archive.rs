//! Opening of zip archives as PyTorch writes them.

use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipResult;

/// Opens an archive that starts at byte 0 of its file. The crate's own search for the start mistakes the second entry
/// for the first if the first one's name has 30 characters, because PyTorch writes the zip64 records after the
/// directory.
pub(crate) fn open_archive<R: Read + Seek>(file: R) -> ZipResult<ZipArchive<R>> {
    ZipArchive::with_config(Config { archive_offset: ArchiveOffset::Known(0) }, file)
}
