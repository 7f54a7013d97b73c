use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use mert_spec::rebuilds_negated_view;
use zip::ZipArchive;

/// Whether a `torch.save` file holds a lazily negated view, which the reader would give the wrong sign.
///
/// A file that cannot be read here is left to the reader to complain about.
pub(super) fn holds_negated_view(path: &Path) -> bool {
    read_pickle(path).is_ok_and(|pickle| rebuilds_negated_view(&pickle))
}

/// The pickle's bytes; of a legacy file, which has its storages behind it, the first bytes.
fn read_pickle(path: &Path) -> io::Result<Vec<u8>> {
    /// More than the pickle of any model.
    const LIMIT: u64 = 16 << 20;
    let mut file = File::open(path)?;
    let mut pickle = Vec::new();
    if let Ok(mut archive) = ZipArchive::new(&file) {
        let name = archive.file_names().flatten().find(|name| name.ends_with("data.pkl")).map(|name| name.into_owned());
        if let Some(name) = name {
            archive.by_name(&name).map_err(io::Error::other)?.take(LIMIT).read_to_end(&mut pickle)?;
        }
    } else {
        file.rewind()?;
        file.take(LIMIT).read_to_end(&mut pickle)?;
    }
    Ok(pickle)
}
