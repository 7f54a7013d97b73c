//! SHA-256 digests of files and folders, in lower-case hexadecimal.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::MappedFile;

/// Bytes hashed between two checks of `cancelled`.
const PIECE: usize = 1 << 22;

/// The SHA-256 of a mapped file; `None` if `cancelled` is set before it is known.
pub fn sha256_mapped(file: &MappedFile, cancelled: &AtomicBool) -> Option<String> {
    let mut hasher = Sha256::new();
    let length = file.bytes().len();
    for start in (0..length).step_by(PIECE) {
        if cancelled.load(Ordering::Relaxed) {
            return None;
        }
        hasher.update(&*file.range(start..length.min(start + PIECE))?);
    }
    Some(hex(hasher.finalize()))
}

/// The SHA-256 of bytes in memory.
pub fn sha256_bytes(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// The SHA-256 of a file.
///
/// # Errors
/// The operating system's, if the file cannot be read.
pub fn sha256_file(path: &Path) -> io::Result<String> {
    Ok(sha256_mapped(&MappedFile::open(path)?, &AtomicBool::new(false)).unwrap_or_default())
}

/// The SHA-256 of a file, or of a folder what this command prints in it:
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
    Ok(hex(lines.finalize()))
}

/// The files in a folder and its subfolders: their relative paths with slashes, sorted.
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

/// One digest for several files: the SHA-256 of their digests, one per line. A single digest stays as it is.
pub fn combine_sha256(mut digests: Vec<String>) -> String {
    if digests.len() == 1 {
        return digests.remove(0);
    }
    let mut combined = Sha256::new();
    for digest in &digests {
        combined.update(digest);
        combined.update(b"\n");
    }
    hex(combined.finalize())
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text is a SHA-256 in lower-case hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests are those of sha256sum.
    #[test]
    fn files_folders_and_several_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("b/c"), b"abc").unwrap();
        std::fs::write(folder.path().join("a"), b"").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_output(&folder.path().join("b/c")).unwrap(), abc);
        let lines = format!("{empty}  a\n{abc}  b/c\n");
        assert_eq!(sha256_output(folder.path()).unwrap(), hex(Sha256::digest(lines)));
        assert_eq!(combine_sha256(vec![abc.into()]), abc);
        assert_eq!(combine_sha256(vec![abc.into(), empty.into()]), hex(Sha256::digest(format!("{abc}\n{empty}\n"))));
        assert!(is_sha256(abc) && !is_sha256(&abc.to_uppercase()) && !is_sha256(&abc[1..]));
    }
}
