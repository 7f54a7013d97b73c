//! Writing files atomically.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::{Result, VerifyError};

/// Writes a whole file or nothing: to a temporary sibling first, then renamed over `path`, or over what
/// `path` links to. What is no regular file (`/dev/stdout`, a pipe) is written to directly.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| VerifyError::Write { path: path.to_path_buf(), source };
    let target = match fs::metadata(path) {
        Ok(existing) if !existing.is_file() => {
            let mut file = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
            return file.write_all(bytes).map_err(failed);
        }
        Ok(_) => fs::canonicalize(path).map_err(failed)?,
        Err(_) => path.to_path_buf(),
    };
    let folder = target.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(failed(std::io::Error::other(format!("there is no folder {}", folder.display()))));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any program's output: the user's umask applies. The default would be private.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The temporary file's own name, which its error holds, would only confuse.
    let mut file = builder.tempfile_in(folder).map_err(|e| failed(e.kind().into()))?;
    file.as_file_mut().write_all(bytes).map_err(failed)?;
    file.persist(&target).map_err(|e| failed(e.error))?;
    Ok(())
}
