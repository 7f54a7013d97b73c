//! Comparison of output paths with inputs and with each other, also through links and different spellings.

use std::path::{Path, PathBuf};

/// The folder that holds `path`: `.` for a bare name.
pub fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Whether two paths lead to the same file or folder, which exists.
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// The absolute path at which a new file named `path` would be, with links in its folder resolved.
pub fn resolved(path: &Path) -> PathBuf {
    let folder = parent_folder(path);
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    folder.join(path.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_and_links_of_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("./b"));
        std::fs::write(&a, "x").unwrap();
        assert!(is_same_file(&a, &folder.path().join(".").join("a")));
        assert!(!is_same_file(&a, &b) && !is_same_file(&b, &b));
        assert_eq!(resolved(&b), resolved(&folder.path().join("b")));
        assert_eq!(parent_folder(Path::new("x")), Path::new("."));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("a", &b).unwrap();
            assert!(is_same_file(&a, &b));
        }
    }
}
