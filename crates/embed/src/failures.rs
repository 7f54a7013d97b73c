//! Files that could not be embedded: counted by reason, and reported as JSON lines.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use mert_audio::AudioError;
use mert_fs::replace_file;
use mert_table::escape;
use serde::{Deserialize, Serialize};

use crate::EmbedError;
use crate::inputs::Input;

/// A file that could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The file's name as it appears in outputs.
    pub file: String,
    /// A short reason that groups failures, such as `truncated`.
    pub reason: String,
    /// The full error message.
    pub message: String,
}

impl Failure {
    /// The failure of `input` with `error`.
    pub fn new(input: &Input, error: &EmbedError) -> Self {
        Failure { file: escape(&input.path), reason: reason(error), message: error.to_string() }
    }
}

/// A short reason for an error, the same for all files with the same fault.
pub fn reason(error: &EmbedError) -> String {
    let reason = match error {
        EmbedError::Audio(error) => match error {
            AudioError::Unsupported { what, .. } => what,
            AudioError::NotAudio { .. } => "not audio",
            AudioError::Ffmpeg { .. } => "ffmpeg failed",
            AudioError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => "not found",
            AudioError::Open { .. } | AudioError::Read(_) => "unreadable",
            AudioError::EmptyFile => "empty",
            AudioError::NotSeekable { .. } => "from a pipe",
            AudioError::UnknownFormat { .. } => "unknown format",
            AudioError::UnknownCodec { .. } => "unknown codec",
            AudioError::InvalidRate { .. } | AudioError::RateMismatch { .. } => "sample rate",
            AudioError::Damaged { .. } | AudioError::DecoderPanicked { .. } => "damaged",
            AudioError::Truncated { .. } | AudioError::Incomplete { .. } => "truncated",
            AudioError::StreamChanged { .. } => "changes within",
            AudioError::NotFinite { .. } | AudioError::NotFloatPcm { .. } | AudioError::PartialSample { .. } => {
                "impossible samples"
            }
            AudioError::TooShort { .. } => "too short",
            AudioError::TooLong { .. } => "too long",
            AudioError::Silent { .. } => "silent",
            AudioError::ChannelsCancel => "channels cancel",
            _ => "other",
        },
        EmbedError::Missing => "not found",
        EmbedError::Address => "network address",
        EmbedError::NotFinite { .. } => "no finite embedding",
        EmbedError::Model(_) => "model failed",
        _ => "other",
    };
    reason.to_string()
}

/// The number of failures per reason, the most frequent first: `14 Opus, 3 truncated, 1 silent`.
pub fn count_by_reason(failures: &[Failure]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    failures.iter().for_each(|failure| *counts.entry(&failure.reason).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
}

/// Writes a line of JSON for each failure to `path`, atomically. Without failures the file is empty.
///
/// # Errors
/// [`EmbedError::Report`].
pub fn write_report(path: &Path, failures: &[Failure]) -> Result<(), EmbedError> {
    replace_file(path, |file| {
        let mut out = BufWriter::new(file);
        for failure in failures {
            serde_json::to_writer(&mut out, failure)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    })?;
    Ok(())
}

/// Whether `path` is a report of an earlier run, or empty, and may be replaced.
pub fn is_report(path: &Path) -> bool {
    let first = std::fs::File::open(path).and_then(|file| BufReader::new(file).lines().next().transpose());
    matches!(first.map(|line| line.is_none_or(|line| serde_json::from_str::<Failure>(&line).is_ok())), Ok(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_counted_written_and_recognized() {
        let failure =
            |file: &str, error: AudioError| Failure::new(&Input { path: file.into(), version: None }, &error.into());
        let truncated = || AudioError::Truncated { found: 1.0, announced: Some(2.0) };
        let failures = [
            failure("a\n.wav", AudioError::Silent { value: 0.0 }),
            failure("b.wav", truncated()),
            failure("c.wav", truncated()),
        ];
        assert_eq!(count_by_reason(&failures), "2 truncated, 1 silent");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.jsonl");
        assert!(!is_report(&path));
        write_report(&path, &failures).unwrap();
        let lines: Vec<Failure> =
            std::fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, failures);
        assert!(lines[1].message.starts_with("truncated: it ends after 1.00 s of 2.00 s"), "{}", lines[1].message);
        assert!(is_report(&path));
        write_report(&path, &[]).unwrap();
        assert!(is_report(&path));
        std::fs::write(&path, "{\"file\": \"mine\"}\n").unwrap();
        assert!(!is_report(&path));
    }
}
