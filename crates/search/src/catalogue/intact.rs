//! The check of the vectors of tracks, which is made before they are used: they are a small part of all vectors, and one value
//! that is wrong would change rankings and nothing else.

use super::Catalogue;
use super::index::Record;
use crate::vectors::{Level, Matrix, REBUILD, checksum};
use crate::{Result, SearchError};

impl Catalogue {
    /// Compares the checksums of the vectors of tracks of a group, once after the catalogue is opened.
    ///
    /// # Errors
    /// [`SearchError::Damaged`] if a file has other bytes than were written.
    pub(crate) fn check_tracks(&self, group: usize) -> Result<()> {
        self.derived().once_checked(group, || {
            let mut parts = self.vectors(Level::Tracks, group).parts();
            match parts.find(|(_, matrix)| !has_recorded_checksum(matrix)) {
                Some((_, damaged)) => Err(SearchError::Damaged {
                    path: damaged.path().to_path_buf(),
                    reason: "its checksum is another than when it was written".into(),
                    remedy: REBUILD,
                }),
                None => Ok(()),
            }
        })
    }
}

/// Whether the file of a matrix has the checksum that the record beside it has; true if there is no record.
fn has_recorded_checksum(matrix: &Matrix) -> bool {
    let (Some(folder), Some(name)) = (matrix.path().parent(), matrix.path().file_name()) else { return true };
    let recorded = Record::read(folder).checksum(&name.to_string_lossy());
    recorded.is_none_or(|recorded| recorded == checksum(matrix.bytes()))
}
