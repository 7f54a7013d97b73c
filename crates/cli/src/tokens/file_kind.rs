//! What a file is, recognised by its first bytes, so that a file in the place of another is named as what it is.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use mert_table::printable_path;

/// The bytes of a file that are looked at: the metadata of safetensors files, and the header of a file of events.
const HEAD: usize = 64 << 10;

/// The kinds of files that these commands read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Folder,
    Events,
    Oracle,
    EncodedTokens,
    Vocabulary,
    Model,
    Midi,
    Sound,
    ClapCheckpoint,
    ClapTexts,
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self {
            FileKind::Folder => "a folder",
            FileKind::Events => "a file of `mert-tokens events`",
            FileKind::Oracle => "an oracle of `mert-tokens oracle`",
            FileKind::EncodedTokens => "a file of `mert-tokens encode`",
            FileKind::Vocabulary => "a vocabulary of `mert-tokens train`",
            FileKind::Model => "a safetensors file with the weights of a model",
            FileKind::Midi => "a MIDI file",
            FileKind::Sound => "a sound file",
            FileKind::ClapCheckpoint => "a CLAP checkpoint as transformers saved it, a folder",
            FileKind::ClapTexts => "the vectors of the modes' texts (docs/clap.md)",
        })
    }
}

impl FileKind {
    /// The kind of a file, if it can be read and is one of them.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if path.is_dir() {
            return Some(FileKind::Folder);
        }
        let mut head = Vec::new();
        File::open(path).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
        FileKind::of_bytes(&head)
    }

    /// The kind of a file of these bytes, of which only the first are looked at.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let head = &bytes[..bytes.len().min(HEAD)];
        let begin = &head[..head.len().min(256)];
        let has = |bytes: &[u8], name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
        let first_line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
        match head {
            _ if head.starts_with(mert_oracle::MAGIC) => Some(FileKind::Oracle),
            [b'M', b'T', b'h', b'd', ..] => Some(FileKind::Midi),
            [b'R', b'I', b'F', b'F', ..]
            | [b'f', b'L', b'a', b'C', ..]
            | [b'O', b'g', b'g', b'S', ..]
            | [b'I', b'D', b'3', ..] => Some(FileKind::Sound),
            [_, _, _, _, _, _, _, _, b'{', ..] if head[5..8] == [0; 3] => {
                Some(match has(head, "mert-tokens vocabulary") {
                    true => FileKind::Vocabulary,
                    false => FileKind::Model,
                })
            }
            _ if !begin.trim_ascii_start().starts_with(b"{") => None,
            _ if has(begin, "\"mert-oracle\"") => Some(FileKind::Oracle),
            _ if has(begin, "\"mert-events\"") => Some(FileKind::Events),
            _ if has(first_line, "\"tokens\":") || has(first_line, "\"units\":") => Some(FileKind::EncodedTokens),
            _ => None,
        }
    }
}

/// `result` of reading `path` as `expected`. Its error names the file, and what the file is if it is something else.
///
/// # Errors
/// That of `result`.
pub(crate) fn read_as<T, E: Into<anyhow::Error>>(
    path: &Path,
    expected: FileKind,
    result: Result<T, E>,
) -> anyhow::Result<T> {
    let error = match result {
        Ok(value) => return Ok(value),
        Err(error) => error.into(),
    };
    let name = printable_path(path);
    match FileKind::of(path) {
        // A folder may be a checkpoint: the error says what it lacks.
        Some(FileKind::Folder) if expected == FileKind::ClapCheckpoint => Err(error),
        Some(found) if found != expected => bail!("{name} is {found}, expected {expected}"),
        _ if error.to_string().contains(&name) => Err(error),
        _ => Err(error.context(name)),
    }
}

/// The bytes of the file at `path`.
///
/// # Errors
/// If it cannot be read, with its name.
pub(crate) fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", printable_path(path)))
}

/// The text of the file at `path`, without the byte order mark that Windows programs write.
///
/// # Errors
/// If it cannot be read or is not UTF-8, with its name.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", printable_path(path)))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let safetensors = |metadata: &str| {
            let mut bytes = (metadata.len() as u64).to_le_bytes().to_vec();
            bytes.extend(metadata.as_bytes());
            bytes
        };
        let cases: [(&[u8], Option<FileKind>); 10] = [
            (b"MERTORCL\x01\0\0\0", Some(FileKind::Oracle)),
            (b"{\n  \"format\": \"mert-oracle\",", Some(FileKind::Oracle)),
            (b"{\"format\":\"mert-events\",\"version\":1}\n{}", Some(FileKind::Events)),
            (b"{\"file\":\"a\",\"tokens\":[1]}\n", Some(FileKind::EncodedTokens)),
            (b"[1, 2, 3]", None),
            (b"", None),
            (&safetensors("{\"__metadata__\":{\"format\":\"mert-tokens vocabulary\"}}"), Some(FileKind::Vocabulary)),
            (&safetensors("{\"__metadata__\":{\"format\":\"pt\"}}"), Some(FileKind::Model)),
            (b"MThd\0\0\0\x06", Some(FileKind::Midi)),
            (b"RIFF....WAVE", Some(FileKind::Sound)),
        ];
        for (bytes, kind) in cases {
            assert_eq!(FileKind::of_bytes(bytes), kind, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
