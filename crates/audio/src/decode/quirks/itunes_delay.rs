//! The encoder delay that iTunes writes as the tag `iTunSMPB` instead of an edit list. symphonia-format-isomp4 0.6.1
//! reads the tag like [any
//! other](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-isomp4/src/atoms/ilst.rs#L534-L548) and
//! trims nothing by it, so that the music begins about 2112 samples late.

/// The encoder delay in samples, from the content of a `----` box with the name `iTunSMPB`; `None` for other boxes. Its
/// `data` box holds hexadecimal numbers as text: zero, delay, padding, length.
pub(super) fn delay(content: &[u8]) -> Option<u64> {
    /// FFmpeg's limit: a larger number is not a delay.
    const MAX_DELAY: u64 = 16_384;
    let (mut is_wanted, mut rest) = (false, content);
    while let Some((size, kind)) = rest.first_chunk::<4>().map(|size| u32::from_be_bytes(*size)).zip(rest.get(4..8)) {
        // `name` and `data` begin with version and flags; `data` also has a locale.
        let body = rest.get(12..usize::try_from(size).ok()?)?;
        match kind {
            b"name" => is_wanted = body == b"iTunSMPB",
            b"data" if is_wanted => {
                let text = std::str::from_utf8(body.get(4..)?).ok()?;
                let delay = u64::from_str_radix(text.split_ascii_whitespace().nth(1)?, 16).ok()?;
                return (1..MAX_DELAY).contains(&delay).then_some(delay);
            }
            _ => {}
        }
        rest = rest.get(usize::try_from(size).ok()?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &[u8], text: &[u8]) -> Vec<u8> {
        let part = |kind: &[u8; 4], body: &[u8]| [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat();
        [
            part(b"mean", b"\0\0\0\0com.apple.iTunes"),
            part(b"name", &[b"\0\0\0\0", name].concat()),
            part(b"data", &[b"\0\0\0\x01\0\0\0\0", text].concat()),
        ]
        .concat()
    }

    #[test]
    fn the_second_number_is_the_delay() {
        let text = b" 00000000 00000840 0000037C 000000000000AC44 00000000";
        assert_eq!(delay(&tag(b"iTunSMPB", text)), Some(0x840));
        assert_eq!(delay(&tag(b"iTunNORM", text)), None);
        for text in [&b""[..], b" 0", b" 0 zz", b" 0 0 0", b" 0 FFFFFFFF 0", b"\xff\xff"] {
            assert_eq!(delay(&tag(b"iTunSMPB", text)), None);
        }
        let whole = tag(b"iTunSMPB", text);
        for length in 0..whole.len() {
            assert_eq!(delay(&whole[..length]), None);
        }
    }
}
