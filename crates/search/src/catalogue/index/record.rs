//! The record of a part's cache, `index/index.json`: for each file its size, its checksum, and the digest of what it was made
//! of.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use mert_fs::replace_file;
use serde::{Deserialize, Serialize};

use crate::Result;

/// The name of the record in the folder of the cache.
const FILE: &str = "index.json";

/// The version of the files' layout. A cache of another version is written again.
const VERSION: u32 = 1;

/// A file of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalogue) struct CacheFile {
    /// The size in bytes.
    pub(super) size: u64,
    /// The checksum of all bytes.
    pub(super) crc32: u32,
    /// SHA-256 of the file that it was made of.
    pub(super) source: String,
}

/// The content of `index.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(in crate::catalogue) struct Record {
    version: u32,
    pub(super) files: BTreeMap<String, CacheFile>,
}

impl Record {
    /// The record of the cache in `folder`; empty if there is none that can be used.
    pub(in crate::catalogue) fn read(folder: &Path) -> Self {
        let record = std::fs::read(folder.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        record.filter(|record: &Record| record.version == VERSION).unwrap_or_default()
    }

    /// The checksum of the file `name`, if it is recorded.
    pub(in crate::catalogue) fn checksum(&self, name: &str) -> Option<u32> {
        self.files.get(name).map(|file| file.crc32)
    }

    /// Replaces the record of the cache in `folder` by this one, with the files that it has in addition.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let mut files = Record::read(folder).files;
        files.extend(self.files.clone());
        files.retain(|name, _| folder.join(name).exists());
        let record = Record { version: VERSION, files };
        Ok(replace_file(&folder.join(FILE), |file| {
            serde_json::to_writer_pretty(&mut *file, &record)?;
            file.flush()
        })?)
    }

    /// The reason why the file `name` in `folder`, made of the file with the digest `source`, cannot be used.
    pub(super) fn fault(&self, folder: &Path, name: &str, source: &str) -> Option<String> {
        let Some(file) = self.files.get(name) else { return Some(format!("index/{name} is not recorded")) };
        if file.source != source {
            return Some(format!("index/{name} was made of another table"));
        }
        match std::fs::metadata(folder.join(name)) {
            Ok(found) if found.len() == file.size => None,
            Ok(found) => Some(format!("index/{name} has {} bytes: expected {}", found.len(), file.size)),
            Err(error) => Some(format!("index/{name}: {error}")),
        }
    }
}
