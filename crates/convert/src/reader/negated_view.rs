use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use zip::ZipArchive;

/// Whether a `torch.save` file marks a tensor as a lazily negated view: `{"neg": True}` as the last
/// argument of `torch._utils._rebuild_tensor_v2`. The reader ignores that argument, so the values would
/// come out with the wrong sign.
///
/// A file that cannot be read here is left to the reader to complain about.
pub(super) fn holds_negated_view(path: &Path) -> bool {
    read_pickle(path).is_ok_and(|pickle| marks_negated(&pickle))
}

/// The pickle's bytes; of a legacy file, which has its storages behind it, the first bytes.
fn read_pickle(path: &Path) -> io::Result<Vec<u8>> {
    /// More than the pickle of any model.
    const LIMIT: u64 = 16 << 20;
    let mut file = File::open(path)?;
    let mut pickle = Vec::new();
    if let Ok(mut archive) = ZipArchive::new(&file) {
        let name = archive.file_names().flatten().find(|name| name.ends_with("data.pkl")).map(|name| name.into_owned());
        if let Some(name) = name {
            archive.by_name(&name).map_err(io::Error::other)?.take(LIMIT).read_to_end(&mut pickle)?;
        }
    } else {
        file.rewind()?;
        file.take(LIMIT).read_to_end(&mut pickle)?;
    }
    Ok(pickle)
}

fn marks_negated(pickle: &[u8]) -> bool {
    const KEY: &[u8] = b"X\x03\0\0\0neg"; // BINUNICODE "neg"
    const NEWTRUE: u8 = 0x88;
    pickle.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).any(|(at, _)| {
        // The key may be put in the memo before its value follows: BINPUT or LONG_BINPUT.
        let value = match &pickle[at + KEY.len()..] {
            [b'q', _, value @ ..] | [b'r', _, _, _, _, value @ ..] => value,
            value => value,
        };
        value.first() == Some(&NEWTRUE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_told_from_its_look_alikes() {
        for (pickle, expected) in [
            (&b"}q\x05X\x03\0\0\0negq\x06\x88s"[..], true),
            (b"X\x03\0\0\0negr\x01\x01\0\0\x88s", true),
            (b"X\x03\0\0\0neg\x88", true),
            (b"X\x03\0\0\0negq\x06\x89s", false),
            (b"X\x04\0\0\0nega\x88", false),
            (b"X\x03\0\0\0neg", false),
            (b"", false),
        ] {
            assert_eq!(marks_negated(pickle), expected, "{pickle:?}");
        }
    }
}
