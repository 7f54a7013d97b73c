//! A text file of an output, written line by line and renamed at the end. A pipe or a device, such as /dev/stdout, is written
//! as it is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use mert_fs::AtomicFile;

use crate::{Result, TokensError};

/// A file that is written in order through a buffer.
#[derive(Debug)]
pub(super) struct OutputFile {
    out: BufWriter<File>,
    /// The file that is renamed; `None` for a pipe or a device.
    file: Option<AtomicFile>,
    path: PathBuf,
}

impl OutputFile {
    pub(super) fn create(path: &Path, force: bool) -> Result<Self> {
        let write_error = |source| TokensError::write(path, source);
        if path == Path::new(super::STDOUT) {
            let out = standard_output().map_err(write_error)?;
            return Ok(OutputFile { out: BufWriter::new(out), file: None, path: path.to_path_buf() });
        }
        let is_special = std::fs::metadata(path).is_ok_and(|existing| !existing.is_file() && !existing.is_dir());
        let (out, file) = match is_special {
            true => (File::options().write(true).open(path).map_err(write_error)?, None),
            false => {
                let file = AtomicFile::create(path, force)?;
                (file.file().try_clone().map_err(write_error)?, Some(file))
            }
        };
        Ok(OutputFile { out: BufWriter::new(out), file, path: path.to_path_buf() })
    }

    /// Writes with `write`, whose errors get the path.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
        write(&mut self.out).map_err(|source| TokensError::write(&self.path, source))
    }

    /// Writes a line of tokens that are separated by spaces, after a prefix.
    pub(super) fn line(&mut self, prefix: &str, tokens: &[u32]) -> Result<()> {
        self.write(|out| {
            out.write_all(prefix.as_bytes())?;
            for (number, token) in tokens.iter().enumerate() {
                if number > 0 {
                    out.write_all(b" ")?;
                }
                write!(out, "{token}")?;
            }
            out.write_all(b"\n")
        })
    }

    pub(super) fn commit(mut self) -> Result<()> {
        self.write(|out| out.flush())?;
        match self.file {
            Some(file) => Ok(file.commit()?),
            None => Ok(()),
        }
    }
}

/// Standard output as a file, at the position where it is, also if it is a file that the shell has opened.
fn standard_output() -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        io::stdout().as_fd().try_clone_to_owned().map(File::from)
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::AsHandle;
        io::stdout().as_handle().try_clone_to_owned().map(File::from)
    }
}

/// Checks a name for a format whose lines have it between separators.
pub(super) fn check_name(name: &str, format: &'static str, separator: char) -> Result<()> {
    let reason = if name.chars().any(|c| matches!(c, '\n' | '\r')) {
        "it has a line break, which would begin another file; rename it, or write jsonl"
    } else if name.contains(separator) {
        "it has the character that ends a name in this format; rename it, or write jsonl"
    } else {
        return Ok(());
    };
    Err(TokensError::Name { name: mert_arch::printable_line(name).to_string(), format, reason })
}
