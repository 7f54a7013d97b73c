//! Text files as written by editors and shells: UTF-8 or UTF-16, with or without a byte order mark.

/// Decodes a configuration file: UTF-8, or UTF-16 with a byte order mark, which is removed.
///
/// # Errors
/// A description of the invalid bytes.
pub fn text_from_bytes(bytes: &[u8]) -> Result<String, String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text = if rest.is_empty() {
            String::from_utf16(&pairs.iter().map(|&pair| unit(pair)).collect::<Vec<_>>()).ok()
        } else {
            None
        };
        text.ok_or_else(|| "it is not valid UTF-16; save it as UTF-8".to_string())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            let text =
                std::str::from_utf8(bytes).map_err(|e| format!("it is not UTF-8 text ({e}); save it as UTF-8"))?;
            Ok(text.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_encodings() {
        let text = "{\"ä\": 1}\r\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let utf16 = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            mark.into_iter().chain(units.iter().flat_map(|&unit| bytes(unit))).collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            utf16([0xff, 0xfe], u16::to_le_bytes),
            utf16([0xfe, 0xff], u16::to_be_bytes),
        ] {
            assert_eq!(text_from_bytes(&bytes).as_deref(), Ok(text), "{bytes:?}");
        }
        for bytes in [&b"\xe4"[..], b"\xff\xfea", b"\xff\xfe\x00\xd8"] {
            assert!(text_from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
