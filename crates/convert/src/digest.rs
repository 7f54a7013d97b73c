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

/// The SHA-256 of an output: of a file, or of a package what this prints in its folder:
/// `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
///
/// # Errors
/// The operating system's, if something in it cannot be read.
pub fn sha256_output(path: &Path) -> io::Result<String> {
    if !path.is_dir() {
        return sha256_file(path);
    }
    let mut lines = Sha256::new();
    for file in files_in(path, "")? {
        lines.update(format!("{}  {file}\n", sha256_file(&path.join(&file))?));
    }
    Ok(hex(lines))
}

/// The files in a folder and the folders in it, by their sorted relative paths, which have slashes everywhere.
fn files_in(root: &Path, folder: &str) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = format!("{folder}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { files.extend(files_in(root, &format!("{name}/"))?) } else { files.push(name) }
    }
    files.sort();
    Ok(files)
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
