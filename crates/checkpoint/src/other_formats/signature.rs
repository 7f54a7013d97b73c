//! Recognition of other file formats by their first bytes, before parsing: the format's name, and the command that
//! makes a readable file.

use std::io::{self, Read};
use std::path::Path;

use super::archive::archive_kind;
use crate::commands::command;
use crate::{CheckpointError, Result};

/// A format that certain bytes at an offset identify, and what to do with the file. `{path}` in `fix` becomes the file's
/// path, quoted for the shell.
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

/// The format of a file without a fixed signature, and what to do.
fn by_structure(start: &[u8], name: &str) -> Option<(&'static str, &'static str)> {
    let text = String::from_utf8_lossy(&start[..start.len().min(64)])
        .trim_start_matches('\u{feff}')
        .trim_start()
        .to_lowercase();
    if ["<!doctype", "<html", "<?xml", "<head"].iter().any(|tag| text.starts_with(tag)) {
        return Some(("a web page (HTML or XML), such as a server's error page", DOWNLOAD));
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
pub(crate) fn refuse_other_formats(path: &Path, start: &[u8]) -> Result<()> {
    // `torch.save` writes a zip archive or a pickle, whose first bytes do not depend on its contents.
    let kind = if start.starts_with(b"PK") { archive_kind(path)? } else { file_kind(path, start) };
    kind.map_or(Ok(()), |reason| Err(CheckpointError::not_a_checkpoint(path, reason)))
}

/// A sentence about a file that is not a checkpoint, and what to do; `None` if it may be one.
fn file_kind(path: &Path, start: &[u8]) -> Option<String> {
    if start.is_empty() {
        return Some("the file is empty: download or save it again".into());
    }
    if start.starts_with(b"\x80") && start.len() >= 8 {
        return None;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let found = SIGNATURES.iter().find(|s| start.get(s.at..).is_some_and(|rest| rest.starts_with(s.bytes)));
    if let Some((what, fix)) = found.map(|s| (s.what, s.fix)).or_else(|| by_structure(start, &name)) {
        return Some(format!("it is {what}; {}", command(fix, path)));
    }
    (start.len() < 8).then(|| "it is shorter than any checkpoint".into())
}

/// The first bytes of a file, enough for every signature.
pub(crate) fn file_start(path: &Path) -> io::Result<Vec<u8>> {
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

    #[test]
    fn other_formats_are_recognized_and_checkpoints_pass() {
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
