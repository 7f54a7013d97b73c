//! Changing what is known of tracks, without their vectors: new tables of tracks beside the old ones.

use fixedbitset::FixedBitSet;

use super::Writer;
use crate::Result;
use crate::catalogue::manifest::FileDigest;
use crate::catalogue::part::{folder_of, index_of};
use crate::catalogue::tracks::{self, TrackRecord};

impl Writer {
    /// Passes each of `tracks`, by its number, to `edit`, and records what that changes, all at once. The number of segments
    /// must stay. `tracks` has a bit for each track of the catalogue.
    ///
    /// # Errors
    /// Those of reading and writing the tables of tracks.
    pub fn edit(&mut self, tracks: &FixedBitSet, mut edit: impl FnMut(usize, &mut TrackRecord)) -> Result<()> {
        let Some(catalogue) = &self.catalogue else { return Ok(()) };
        let mut manifest = catalogue.manifest().next();
        let mut first = 0;
        for entry in &mut manifest.parts {
            let numbers = first..first + entry.tracks;
            first = numbers.end;
            if !tracks.contains_any_in_range(numbers.clone()) {
                continue;
            }
            let folder = folder_of(&self.folder, entry);
            let before = tracks::read(&folder.join(entry.tracks_table()))?;
            let mut after = before.clone();
            for (number, track) in numbers.zip(&mut after) {
                if tracks.contains(number) {
                    edit(number, track);
                }
            }
            if after == before {
                continue;
            }
            let name = format!("tracks-{:06}.parquet", manifest.generation);
            // What a killed process left under the name that this change gets.
            let path = folder.join(&name);
            if path.exists() {
                std::fs::remove_file(&path).map_err(crate::SearchError::io(&path))?;
            }
            tracks::write(&path, &after)?;
            let old = entry.tracks_table().to_string();
            entry.files.remove(&old);
            entry.files.insert(name, FileDigest::of(&path)?);
            index_of(&folder, entry, catalogue.groups()).write_table(&after)?;
        }
        if manifest.parts == catalogue.manifest().parts { Ok(()) } else { self.commit(manifest) }
    }
}
