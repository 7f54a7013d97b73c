//! The legacy container of `torch.save` (before PyTorch 1.6): five pickles, then the storages one after another.

use std::collections::HashMap;

use super::storages::StorageLocation;
use crate::pickle::{Storage, Unpickler, Value};

/// The magic number at the start of `torch.save`'s legacy files, pickled.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// Whether a file is a legacy container rather than a single pickle.
pub(super) fn is_legacy(file: &[u8]) -> bool {
    file[..file.len().min(32)].windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// The storages of a legacy file, by key. They follow five pickles (magic, protocol, system, object, keys), of which
/// this reads the last; each is an 8-byte element count and the elements.
///
/// # Errors
/// A sentence about the file.
pub(super) fn legacy_storages(
    file: &[u8],
    unpickler: &mut Unpickler<'_>,
) -> Result<HashMap<String, StorageLocation>, String> {
    let keys = unpickler.load().map_err(|error| format!("the list of its storages: {error}"))?;
    let mut start = unpickler.position();
    let mut storages = HashMap::new();
    for key in unpickler.items(&keys).unwrap_or_default() {
        let Value::Text(key) = key else { return Err("its storages have no names".into()) };
        // A storage that the pickle does not name has an unknown size, and hence the next one an unknown offset.
        let Some(storage) = unpickler.storages().get(key) else { break };
        let Storage { elements, element_size, .. } = **storage;
        let cut_off = |end: usize| format!("it ends at {} bytes, before its storage `{key}` does ({end})", file.len());
        let Some(count) = file.get(start..).and_then(|rest| rest.first_chunk()) else {
            return Err(cut_off(start.saturating_add(8)));
        };
        let count = u64::from_le_bytes(*count);
        if count != elements as u64 {
            return Err(format!("its storage `{key}` has {count} elements, expected {elements}: it is damaged"));
        }
        start += 8;
        let end = elements.checked_mul(element_size).and_then(|length| start.checked_add(length));
        let Some(end) = end.filter(|&end| end <= file.len()) else { return Err(cut_off(end.unwrap_or(usize::MAX))) };
        storages.insert(key.to_string(), StorageLocation::in_place(start..end, None));
        start = end;
    }
    Ok(storages)
}
