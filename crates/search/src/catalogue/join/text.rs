//! The encodings of text tables: UTF-8, UTF-16, and Windows-1252 for what is neither.

use std::borrow::Cow;

use super::Cell;

/// The characters of the bytes 0x80 to 0x9f in Windows-1252, with U+FFFD for the five that it does not define:
/// <https://encoding.spec.whatwg.org/index-windows-1252.txt>.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž', '\u{fffd}', '\u{fffd}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}', 'ž', 'Ÿ',
];

/// The bytes of a text table without a byte order mark, UTF-16 as UTF-8, and what was guessed.
pub(super) fn decode(bytes: Vec<u8>) -> Result<(Vec<u8>, Option<String>), String> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return Ok((rest.to_vec(), None));
    }
    let (start, is_little) = match &bytes[..] {
        [0xff, 0xfe, ..] => (2, true),
        [0xfe, 0xff, ..] => (2, false),
        // Without a mark: names of columns are ASCII, of which UTF-16 has every second byte zero.
        [first, 0, second, 0, ..] if *first != 0 && *second != 0 => (0, true),
        [0, first, 0, second, ..] if *first != 0 && *second != 0 => (0, false),
        _ => return refuse_zeros(bytes).map(|bytes| (bytes, None)),
    };
    let (pairs, rest) = bytes[start..].as_chunks::<2>();
    let units = pairs.iter().map(|&pair| if is_little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) });
    let text: Result<String, _> = char::decode_utf16(units).collect();
    match text {
        Ok(text) if rest.is_empty() => {
            let note = (start == 0).then(|| "it has no byte order mark, and is read as UTF-16".to_string());
            Ok((text.into_bytes(), note))
        }
        _ => Err("it begins as UTF-16, and is not valid UTF-16: save it as UTF-8".into()),
    }
}

/// Refuses bytes whose first line holds a zero: no text has one, and every binary format.
fn refuse_zeros(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let first_line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match first_line.iter().position(|&byte| byte == 0) {
        Some(at) => {
            Err(format!("it is no text, but of a binary format: its byte {at} is zero. Expected a table as CSV"))
        }
        None => Ok(bytes),
    }
}

/// A field of a text table, which keeps its bytes if they are not UTF-8.
pub(super) fn cell(field: &[u8]) -> Cell {
    match std::str::from_utf8(field) {
        Ok(text) => Cell::Text(text.to_string()),
        Err(_) => Cell::Bytes(field.to_vec()),
    }
}

/// A text in UTF-8 or else Windows-1252.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&byte| character(byte)).collect()),
    }
}

fn character(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        byte => char::from(byte),
    }
}

/// What a file is whose first bytes are `start`, if it is of a format that is no text, and what to do with it.
pub(super) fn other_format(start: &[u8]) -> Option<&'static str> {
    let formats: [(&[u8], &str); 13] = [
        (
            b"SQLite format 3\0",
            "it is a SQLite database; from that of beets write a table with `beet -l LIBRARY export -l -f csv -i \
             path,bpm,initial_key,genres,language,mb_trackid -o library.csv`",
        ),
        (b"PK\x03\x04", "it is a ZIP archive, as spreadsheets are (.xlsx, .ods): save it as CSV"),
        (b"\x1f\x8b", "it is compressed by gzip: unpack it"),
        (b"\x28\xb5\x2f\xfd", "it is compressed by zstd: unpack it"),
        (b"BZh", "it is compressed by bzip2: unpack it"),
        (b"\xfd7zXZ\0", "it is compressed by xz: unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive: unpack it"),
        (b"\xd0\xcf\x11\xe0", "it is a file of an older Office program, such as a spreadsheet (.xls): save it as CSV"),
        (b"ARROW1", "it is an Arrow or Feather file: save it as Parquet"),
        (b"\x93NUMPY", "it is a NumPy array, without the paths that a table has: save it as Parquet or CSV"),
        (b"%PDF-", "it is a PDF document: save the table as CSV"),
        (b"\x89PNG", "it is a PNG image: expected a table"),
        (b"\xff\xd8\xff", "it is a JPEG image: expected a table"),
    ];
    formats.iter().find(|(magic, _)| start.starts_with(magic)).map(|&(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_give_the_same_text() {
        let wanted = "path,title\nä.flac,“Ü” €\n";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| wanted.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let (little, big) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        let cases: [Vec<u8>; 6] = [
            wanted.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", wanted.as_bytes()].concat(),
            [b"\xff\xfe", &little[..]].concat(),
            [b"\xfe\xff", &big[..]].concat(),
            little.clone(),
            big,
        ];
        for case in cases {
            assert_eq!(text(&decode(case).unwrap().0), wanted);
        }
        assert_eq!(text(b"path,title\n\xe4.flac,\x93\xdc\x94 \x80\n"), wanted);
        assert!(decode([b"\xff\xfe", &little[1..]].concat()).is_err());
        assert!(decode(b"\xff\xfe\x00\xd8a\x00".to_vec()).is_err(), "half of a surrogate pair");
        let error = decode(b"ID3\x04\0\0\0\0\x1f\x76TSSE".to_vec()).unwrap_err();
        assert!(error.contains("binary format: its byte 4 is zero"), "{error}");
        assert!(decode(b"path,title\na.flac,a\0b\n".to_vec()).is_ok(), "in a value, as some tags have it");
    }
}
