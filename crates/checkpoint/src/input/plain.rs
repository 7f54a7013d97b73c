//! A checkpoint under the names of its own file, for models that are not encoders of the HuBERT family.

use std::path::{Path, PathBuf};

use super::locate::{Location, locate};
use crate::Result;
use crate::checkpoint::Checkpoint;
use crate::open::{open_file, open_weights_file};
use crate::sharded::{ShardedCheckpoint, is_index};
use crate::unwrapped::without_wrappers;

/// An opened checkpoint file or model folder, with the tensors under their own names.
pub struct PlainCheckpoint {
    /// The reader.
    pub checkpoint: Box<dyn Checkpoint>,
    /// The folder of the configuration files.
    pub folder: PathBuf,
    /// A note about a file that was chosen without being named by the user.
    pub note: Option<String>,
}

/// Opens a checkpoint file, or a model folder with its shards. Only the names of wrapper modules (`_orig_mod.`) are removed.
///
/// # Errors
/// [`CheckpointError`](crate::CheckpointError) if there is no readable checkpoint.
pub fn open_plain(path: &Path) -> Result<PlainCheckpoint> {
    let Location { weights, folder, note, .. } = locate(path)?;
    let checkpoint: Box<dyn Checkpoint> = match is_index(&weights) {
        true => Box::new(ShardedCheckpoint::open(&weights)?),
        false => open_file(&weights, None)?,
    };
    Ok(PlainCheckpoint { checkpoint: without_wrappers(&weights, checkpoint)?, folder, note })
}

/// Opens the weights of a model folder to compute with them, as [`open_plain`] does: also what a conversion wrote.
///
/// # Errors
/// [`CheckpointError`](crate::CheckpointError) if there are no readable weights.
pub fn open_weights(path: &Path) -> Result<PlainCheckpoint> {
    let Location { weights, folder, note, .. } = locate(path)?;
    let checkpoint: Box<dyn Checkpoint> = match is_index(&weights) {
        true => Box::new(ShardedCheckpoint::open_weights(&weights)?),
        false => open_weights_file(&weights)?,
    };
    Ok(PlainCheckpoint { checkpoint, folder, note })
}
