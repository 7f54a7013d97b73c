//! Text files as written by editors, shells and Python: UTF-8, or UTF-16 with a byte order mark; JSON with Python's
//! `NaN` and `Infinity`.

use serde::de::DeserializeOwned;

/// The constants that Python's `json` writes for floats that JSON does not have.
const CONSTANTS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

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

/// Parses JSON as Python's `json` writes it. `NaN`, `Infinity` and `-Infinity` become strings, so that only a field
/// that is used is refused for one of them.
///
/// # Errors
/// The syntax error, or the field of another type.
pub fn json_from_text<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(text).or_else(|error| match quoted_constants(text) {
        Some(quoted) => serde_json::from_str(&quoted),
        None => Err(error),
    })
}

/// The text with quotes around the constants outside strings; `None` if there is no constant.
fn quoted_constants(text: &str) -> Option<String> {
    let (mut quoted, mut rest, mut found) = (String::new(), text, false);
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        if let Some(constant) = CONSTANTS.into_iter().find(|constant| !in_string && rest.starts_with(constant)) {
            quoted.extend(["\"", constant, "\""]);
            rest = &rest[constant.len()..];
            found = true;
            continue;
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
        quoted.push(c);
        rest = &rest[c.len_utf8()..];
    }
    found.then_some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_python() {
        let text = r#"{"a": NaN, "NaN \"": [Infinity, -Infinity], "b": "\\", "c": NaN}"#;
        let value: serde_json::Value = json_from_text(text).unwrap();
        let expected = serde_json::json!({"a": "NaN", "NaN \"": ["Infinity", "-Infinity"], "b": "\\", "c": "NaN"});
        assert_eq!(value, expected);
        for broken in ["{\"a\": nan}", "{\"a\": NaN", "NaN NaN", ""] {
            assert!(json_from_text::<serde_json::Value>(broken).is_err(), "{broken}");
        }
    }

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
