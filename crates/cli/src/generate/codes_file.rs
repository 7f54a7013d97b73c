//! The generated codes as a `.npy` file.

use std::io::{self, Write};
use std::path::Path;

use mert_fs::AtomicFile;
use mert_musicgen::Codes;
use npyz::WriterBuilder;

/// Writes codes `(codebooks, frames)` as int64, which torch's indices are.
pub(crate) fn write(path: &Path, codes: &Codes, force: bool) -> anyhow::Result<()> {
    let mut file = AtomicFile::create(path, force)?;
    write_to(file.file_mut(), codes)?;
    file.commit()?;
    Ok(())
}

fn write_to(mut out: impl Write, codes: &Codes) -> io::Result<()> {
    let mut bytes = Vec::new();
    let shape = [codes.codebooks() as u64, codes.frames() as u64];
    let mut writer = npyz::WriteOptions::<i64>::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
    writer.extend(codes.rows().iter().flatten().map(|&code| i64::from(code)))?;
    writer.finish()?;
    out.write_all(&bytes)
}
