//! Writing all tracks of a catalogue as one part, without those that were removed.

use std::fs;

use mert_table::SourceFile;

use super::Writer;
use crate::catalogue::ingest::NewTrack;
use crate::catalogue::part::{ROWS, folder_of};
use crate::catalogue::rows::{KeptFile, KeptRows};
use crate::catalogue::tracks;
use crate::{Result, SearchError};

impl Writer {
    /// Writes all tracks as one part, without removed ones, and computes the statistics again. Rows then have the names
    /// that moved files have now. Returns whether there was anything to do.
    ///
    /// # Errors
    /// Those of reading the parts and of writing the new one.
    pub fn compact(&mut self) -> Result<bool> {
        let Some(catalogue) = &self.catalogue else { return Ok(false) };
        let manifest = catalogue.manifest().clone();
        let is_compact = |entry: &crate::catalogue::PartEntry| {
            entry.removed.is_empty() && entry.tracks_table() == crate::catalogue::part::TRACKS
        };
        if manifest.parts.is_empty() || matches!(&manifest.parts[..], [entry] if is_compact(entry)) {
            return Ok(false);
        }
        if catalogue.live().count_ones(..) == 0 {
            let mut empty = manifest.next();
            empty.parts.clear();
            self.commit(empty)?;
            return Ok(true);
        }
        let mut tables = Vec::with_capacity(manifest.parts.len());
        let mut records = Vec::new();
        for entry in &manifest.parts {
            let folder = folder_of(&self.folder, entry);
            let tracks = tracks::read(&folder.join(entry.tracks_table()))?;
            let mut kept = Vec::new();
            for (index, track) in tracks.into_iter().enumerate() {
                if entry.removed.binary_search(&index).is_ok() {
                    continue;
                }
                let file = SourceFile { name: track.file.clone(), version: track.version };
                kept.push(KeptFile { index, file, rows: track.segments as usize });
                records.push(track);
            }
            tables.push((folder.join(ROWS), kept));
        }
        let staging = self.folder.join("staging");
        fs::create_dir_all(&staging).map_err(SearchError::io(&staging))?;
        let table = staging.join("compacted.parquet");
        mert_table::write(&table, &manifest.settings, &mut KeptRows { tables })
            .map_err(|source| SearchError::Table { path: table.clone(), source })?;
        let mut records = records.into_iter();
        self.add_in_place_of_all(&table, |_| {
            records.next().map_or_else(NewTrack::default, |track| NewTrack {
                file: None,
                sha256: track.sha256,
                duration: Some(track.duration),
                metadata: track.metadata,
                joined: track.joined,
            })
        })?;
        Ok(true)
    }
}
