//! Recognition of other file formats by their first bytes, before parsing: the format's name, and the command that
//! makes a readable file.

use std::io::{self, Read};
use std::path::Path;

use super::archive;
use crate::{CheckpointError, Result};

/// Bytes at an offset that identify a format, and what to do. `{path}` becomes the file's path, quoted for the shell.
struct Signature {
    at: usize,
    bytes: &'static [u8],
    what: &'static str,
    fix: &'static str,
}

const fn signature(at: usize, bytes: &'static [u8], what: &'static str, fix: &'static str) -> Signature {
    Signature { at, bytes, what, fix }
}

const UNTAR: &str = "unpack it and give the checkpoint in it: `tar -xf {path}`";
const AUDIO: &str = "give the model's checkpoint; mert-embed takes audio";
const ORIGINAL: &str = "give the PyTorch checkpoint that it was made from (.bin, .pt, .ckpt or .safetensors)";
const DOWNLOAD: &str = "download the checkpoint (a file of torch.save, or safetensors) again, the file itself and not the page that shows it";
const CHECKPOINT: &str = "give the model's checkpoint (a file of torch.save, or safetensors)";

const SIGNATURES: &[Signature] = &[
    signature(0, b"version h", "a Git LFS pointer, not the weights", "fetch them with `git lfs pull`"),
    signature(
        0,
        b"sys_info\0",
        "a checkpoint of PyTorch 0.1 (tar)",
        "load and save it again with today's torch.load and torch.save",
    ),
    signature(257, b"ustar", "a tar archive", UNTAR),
    signature(
        0,
        b"\x1f\x8b",
        "compressed with gzip",
        "unpack it: `tar -xf {path}`, or `gunzip -c {path} > checkpoint.bin` if it is not a tar archive",
    ),
    signature(
        0,
        b"\xfd7zXZ\0",
        "compressed with xz",
        "unpack it: `tar -xf {path}`, or `xz -dc {path} > checkpoint.bin` if it is not a tar archive",
    ),
    signature(
        0,
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd",
        "unpack it: `tar -xf {path}`, or `zstd -dc {path} > checkpoint.bin` if it is not a tar archive",
    ),
    signature(
        0,
        b"BZh",
        "compressed with bzip2",
        "unpack it: `tar -xf {path}`, or `bunzip2 -c {path} > checkpoint.bin` if it is not a tar archive",
    ),
    signature(0, b"\x04\x22\x4d\x18", "compressed with lz4", "unpack it: `lz4 -dc {path} > checkpoint.bin`"),
    signature(0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it: `7z x {path}`"),
    signature(0, b"Rar!\x1a\x07", "a RAR archive", "unpack it: `unrar x {path}`"),
    signature(0, b"GGUF", "a GGUF file (llama.cpp)", ORIGINAL),
    signature(0, b"lmgg", "a GGML file (whisper.cpp)", ORIGINAL),
    signature(0, b"tjgg", "a GGML file (llama.cpp)", ORIGINAL),
    signature(0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, TensorFlow: .h5)", ORIGINAL),
    signature(0, b"\x93NUMPY", "a numpy array (.npy)", ORIGINAL),
    signature(4, b"TFL3", "a TensorFlow Lite model", ORIGINAL),
    signature(4, b"PTMF", "a PyTorch Mobile model", ORIGINAL),
    signature(4, b"ET12", "an ExecuTorch program", ORIGINAL),
    signature(0, b"PAR1", "a Parquet table", CHECKPOINT),
    signature(0, b"ARROW1", "an Arrow table", CHECKPOINT),
    signature(0, b"SQLite format 3", "an SQLite database", CHECKPOINT),
    signature(0, b"%PDF", "a PDF document", DOWNLOAD),
    signature(0, b"\x89PNG", "a PNG image", CHECKPOINT),
    signature(0, b"\xff\xd8\xff", "a JPEG image", CHECKPOINT),
    signature(0, b"GIF8", "a GIF image", CHECKPOINT),
    signature(0, b"RIFF", "a RIFF file (WAV audio or a picture)", AUDIO),
    signature(0, b"fLaC", "FLAC audio", AUDIO),
    signature(0, b"OggS", "Ogg audio", AUDIO),
    signature(0, b"ID3", "MP3 audio", AUDIO),
    signature(4, b"ftyp", "MP4 audio or video", AUDIO),
    signature(0, b"\x7fELF", "a program", CHECKPOINT),
    signature(0, b"MZ", "a Windows program", CHECKPOINT),
    signature(0, b"\x78\x9c", "compressed with zlib (joblib)", ORIGINAL),
    signature(0, b"\x78\x01", "compressed with zlib (joblib)", ORIGINAL),
    signature(0, b"\x78\xda", "compressed with zlib (joblib)", ORIGINAL),
];

/// Formats without a fixed signature.
fn by_structure(start: &[u8], name: &str) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(&start[..start.len().min(64)])
        .trim_start_matches('\u{feff}')
        .trim_start()
        .to_lowercase();
    if ["<!doctype", "<html", "<?xml", "<head"].iter().any(|tag| text.starts_with(tag)) {
        return Some(("a web page (HTML or XML), such as an error that a server answered", DOWNLOAD));
    }
    if text.starts_with('{') || text.starts_with('[') {
        return Some(("a JSON file", "give the weights, or the folder that has both"));
    }
    match start {
        _ if start.len() >= 512 && start.iter().all(|&byte| byte == 0) => {
            Some(("all zeros at its beginning: its download was not finished", "download it again"))
        }
        _ if name.ends_with(".pb") => Some(("a TensorFlow model (.pb)", ORIGINAL)),
        _ if name.ends_with(".index") || name.contains(".data-0000") => Some(("a TensorFlow checkpoint", ORIGINAL)),
        // Protobuf: field 1 is the format version; field 2 is ONNX's producer, a name, or Core ML's description, a
        // message.
        [0x08, 1..=20, 0x12, rest @ ..] => {
            let behind_length = rest.iter().skip_while(|byte| **byte >= 0x80).nth(1);
            Some((if behind_length == Some(&0x0a) { "a Core ML model" } else { "an ONNX model" }, ORIGINAL))
        }
        [0x08, 1..=20, 0x3a | 0x42, ..] => Some(("an ONNX model", ORIGINAL)),
        // A MessagePack map with a string as its first key.
        [0x81..=0x8f, 0xa1..=0xbf | 0xd9, ..] | [0xde, _, _, 0xa1..=0xbf | 0xd9, ..] => {
            Some(("a MessagePack file (Flax: .msgpack)", ORIGINAL))
        }
        _ => None,
    }
}

/// Refuses a file that its first bytes, or a zip archive's entry names, identify as another format.
///
/// # Errors
/// [`CheckpointError::NotACheckpoint`] with the format and what to do.
pub(super) fn refuse_other_formats(path: &Path, start: &[u8]) -> Result<()> {
    let refused = |reason: String| Err(CheckpointError::NotACheckpoint { path: path.to_path_buf(), reason });
    if start.is_empty() {
        return refused("the file is empty: download or save it again".into());
    }
    // `torch.save` writes a zip archive or a pickle, whose first bytes do not depend on its contents.
    if start.starts_with(b"PK") {
        return archive::refuse_other_archives(path);
    }
    if start.starts_with(b"\x80") && start.len() >= 8 {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let found = SIGNATURES.iter().find(|s| start.get(s.at..).is_some_and(|rest| rest.starts_with(s.bytes)));
    if let Some((what, fix)) = found.map(|s| (s.what, s.fix)).or_else(|| by_structure(start, &name)) {
        return refused(format!("it is {what}; {}", command(fix, path)));
    }
    if start.len() < 8 {
        return refused("it is shorter than any checkpoint".into());
    }
    Ok(())
}

/// A sentence with `{path}` replaced by the file's path.
pub(super) fn command(text: &str, path: &Path) -> String {
    text.replace("{path}", &quoted(&path.display().to_string()))
}

/// A word quoted for a shell; NUL, which shells cannot pass, is removed.
pub(crate) fn quoted(word: &str) -> String {
    let word = word.replace('\0', "");
    shlex::try_quote(&word).map(|quoted| quoted.into_owned()).unwrap_or(word.clone())
}

/// A command that runs a line of Python with torch imported; `{path}` becomes the path as a string literal.
pub(crate) fn python(script: &str, path: &Path) -> String {
    let script = script.replace("{path}", &python_literal(&path.display().to_string()));
    format!("`python -c {}`", quoted(&format!("import torch; {script}")))
}

/// A Python string literal. Rust's `{:?}` escapes characters in ways that Python does not know.
pub(crate) fn python_literal(text: &str) -> String {
    let mut literal = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            c if c.is_control() => literal.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => literal.push(c),
        }
    }
    literal + "\""
}

/// The first bytes of a file, as many as signatures need.
pub(super) fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(4096).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8], name: &str) -> Option<String> {
        refuse_other_formats(name.as_ref(), bytes).err().map(|error| error.to_string())
    }

    /// A decomposed umlaut, as macOS writes file names, stays as it is.
    #[test]
    fn literals_of_python() {
        let path = "u\u{308}/\"it's\\\u{1b}\n\u{200b}";
        assert_eq!(python_literal(path), "\"u\u{308}/\\\"it's\\\\\\x1b\\n\u{200b}\"");
    }

    #[test]
    fn formats_are_named_and_checkpoints_are_not() {
        for (bytes, word) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0"[..], "`gunzip -c 'a b.bin' > checkpoint.bin`"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\xef\xbb\xbf \n{\"a\": 1}", "JSON"),
            (b"\x08\x08\x12\x07pytorch\x1a", "ONNX"),
            (b"\x08\x06\x12\x84\x07\x0a\x10", "Core ML"),
            (b"\x08\x06\x12\x04\x0a\x02\x0a\0", "Core ML"),
            (b"\x83\xa7encoder\x82", "MessagePack"),
            (&[0; 4096], "zeros"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
        ] {
            let reason = reason(bytes, "a b.bin").unwrap();
            assert!(reason.contains(word), "{reason}");
        }
        for bytes in [&b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02"[..], b"\x80\x05\x95\0\0\0\0\0\0\0\0}."] {
            assert_eq!(reason(bytes, "a.bin"), None);
        }
    }
}
