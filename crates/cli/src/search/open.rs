//! Opening a catalogue, with a message on standard error for everything that was repaired on the way.

use std::path::Path;

use mert_cli::terminal::say;
use mert_search::{Catalogue, SearchError};

/// Opens the catalogue in `folder` for reading. What was done meanwhile, such as writing a damaged cache again, is printed
/// to standard error, whatever the format of the output is.
///
/// # Errors
/// Those of [`Catalogue::open`].
pub(crate) fn open_catalogue(folder: &Path) -> Result<Catalogue, SearchError> {
    let catalogue = Catalogue::open(folder)?;
    print_notes(&catalogue);
    Ok(catalogue)
}

/// Prints what was done while `catalogue` was opened.
pub(crate) fn print_notes(catalogue: &Catalogue) {
    catalogue.notes().iter().for_each(|note| say(note));
}
