//! File paths as URIs: RFC 8089, with the bytes of a name percent-encoded as RFC 3986 has it.

use std::path::{Component, Path, PathBuf};

use crate::{Result, SearchError};

/// The `file` URI of a path, which is made absolute from the current folder. Names are bytes: one that is not UTF-8 has a
/// URI, too.
///
/// # Errors
/// [`SearchError::Io`] if the current folder is not known.
pub fn file_uri(path: &Path) -> Result<String> {
    let absolute = absolute(path)?;
    let mut uri = String::from("file://");
    for component in absolute.components() {
        match component {
            Component::Prefix(prefix) => uri.push_str(&format!("/{}", prefix.as_os_str().to_string_lossy())),
            Component::RootDir => {}
            component => {
                uri.push('/');
                encode(component.as_os_str().as_encoded_bytes(), &mut uri);
            }
        }
    }
    Ok(uri)
}

/// The path from the root, without `.` and with `..` resolved by name.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(SearchError::io(path))?;
    let mut result = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                result.pop();
            }
            Component::CurDir => {}
            component => result.push(component),
        }
    }
    Ok(result)
}

/// Appends `bytes` with all but unreserved characters encoded.
pub(super) fn encode(bytes: &[u8], uri: &mut String) {
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
}
