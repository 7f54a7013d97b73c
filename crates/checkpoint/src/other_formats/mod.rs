//! Files and folders that are not checkpoints: recognized by their first bytes, their entries or their files, and refused
//! with the command that makes a checkpoint of them.
//!
//! - `signature.rs`: files, by their first bytes.
//! - `archive.rs`: zip archives, by the names of their entries.
//! - `folder.rs`: folders, by the names of their files.

mod archive;
mod folder;
mod signature;

pub(crate) use folder::folder_kind;
pub(crate) use signature::{file_start, refuse_other_formats};
