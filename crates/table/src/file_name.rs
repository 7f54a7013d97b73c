//! File names as text: tables and journals hold Unicode, file systems hold bytes, and messages are read by people.

use std::path::{Path, PathBuf};

use mert_arch::printable_line;

/// A path as text that [`unescape`] maps back to the same path. A Unicode name is unchanged. In any other name, each
/// byte that is not UTF-8 becomes `\x` and two hexadecimal digits, as in `caf\xe9.wav`. A backslash before such a
/// sequence becomes `\x5c`, so that distinct names stay distinct.
pub fn escape(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(index) = rest.find('\\') {
            let (before, from) = rest.split_at(index);
            text.push_str(before);
            text.push_str(if escaped_byte(from.as_bytes()).is_some() { r"\x5c" } else { r"\" });
            rest = &from[1..];
        }
        text.push_str(rest);
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!(r"\x{byte:02x}")));
    }
    text
}

/// The path that [`escape`] wrote as `text`. Where names are not bytes, as on Windows, `text` is the path.
pub fn unescape(text: &str) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;

        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&first, behind)) = rest.split_first() {
            let escaped = escaped_byte(rest);
            bytes.push(escaped.unwrap_or(first));
            rest = if escaped.is_some() { &rest[4..] } else { behind };
        }
        std::ffi::OsString::from_vec(bytes).into()
    }
    #[cfg(not(unix))]
    text.into()
}

/// A path for a message, without characters that a terminal interprets and without line breaks, which could forge a
/// line. Unlike [`escape`] it cannot be mapped back.
pub fn printable_path(path: &Path) -> String {
    printable_line(&path.to_string_lossy())
}

/// The byte encoded by `\x` and two hexadecimal digits at the start of `text`.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(br"\x")?.get(..2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(digits[0])? * 16 + digit(digits[1])?) as u8)
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unicode_stays_and_bytes_are_escaped() {
        let escape = |name: &[u8]| super::escape(Path::new(OsStr::from_bytes(name)));
        assert_eq!(escape("Ünï/日本\\x.wav".as_bytes()), "Ünï/日本\\x.wav");
        assert_eq!(escape(b"caf\xe9.wav"), r"caf\xe9.wav");
        assert_eq!(escape(br"caf\xe9.wav"), r"caf\x5cxe9.wav");
        assert_eq!(escape(b"\xff\xfe\\x5c\\"), r"\xff\xfe\x5cx5c\");
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(parts in prop::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            Just(br"\x".to_vec()),
            Just(br"\xe9".to_vec()),
            "\\PC{0,3}".prop_map(String::into_bytes),
        ], 0..12)) {
            let name = parts.concat();
            let path = Path::new(OsStr::from_bytes(&name));
            prop_assert_eq!(unescape(&escape(path)), path);
        }
    }
}
