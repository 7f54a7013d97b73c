use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::reader::MappedFile;

/// How much is hashed between two looks at whether the result is still wanted.
const PIECE: usize = 1 << 22;

/// The SHA-256 of a file, in lower-case hexadecimal, or `None` if `cancelled` is set meanwhile.
pub(crate) fn sha256(file: &MappedFile, cancelled: &AtomicBool) -> Option<String> {
    let mut hasher = Sha256::new();
    let length = file.bytes().len();
    for start in (0..length).step_by(PIECE) {
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        hasher.update(&*file.once(start..length.min(start + PIECE))?);
    }
    Some(hex(hasher))
}

/// The SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// The operating system's, if the file cannot be read.
pub fn sha256_file(path: &Path) -> io::Result<String> {
    Ok(sha256(&MappedFile::open(path)?, &AtomicBool::new(false)).unwrap_or_default())
}

/// Of one digest that digest; of several the SHA-256 of them, one per line.
pub(crate) fn combine(mut digests: Vec<String>) -> String {
    if digests.len() == 1 {
        return digests.remove(0);
    }
    let mut combined = Sha256::new();
    for digest in &digests {
        combined.update(digest);
        combined.update(b"\n");
    }
    hex(combined)
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
