use std::io::{Read, Seek, SeekFrom};

/// The largest Ogg page: a header of 27 bytes, 255 segment lengths, and 255 segments of 255 bytes.
const LARGEST_PAGE: u64 = 27 + 255 + 255 * 255;

/// Whether an Ogg file's last page is whole and marked as its stream's last (RFC 3533, section 6: bit 2 of
/// the header type). The decoder takes a file that was cut off for a shorter one; this tells them apart.
pub(crate) fn is_complete(file: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(2 * LARGEST_PAGE)))?;
    let mut tail = Vec::new();
    file.take(2 * LARGEST_PAGE).read_to_end(&mut tail)?;
    let starts = tail.windows(4).enumerate().rev().filter(|(_, bytes)| bytes == b"OggS");
    // Music may hold the four letters by chance: the last place where a page with version 0 fits is the last page.
    for (start, _) in starts {
        let page = &tail[start..];
        let (Some(0), Some(&flags), Some(&segments)) = (page.get(4).copied(), page.get(5), page.get(26)) else {
            continue;
        };
        let header = 27 + usize::from(segments);
        let Some(lengths) = page.get(27..header) else { return Ok(false) };
        let body: usize = lengths.iter().map(|&length| usize::from(length)).sum();
        return Ok(flags & 4 != 0 && page.len() >= header + body);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn page(flags: u8, body: usize) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend([0; 20]);
        page.push(body.div_ceil(255) as u8);
        page.extend((0..body.div_ceil(255)).map(|i| (body - 255 * i).min(255) as u8));
        page.extend(vec![7; body]);
        page
    }

    #[test]
    fn only_a_whole_last_page_ends_a_stream() {
        let whole = [page(2, 30), page(0, 60_000), page(4, 700)].concat();
        assert!(is_complete(&mut Cursor::new(&whole)).unwrap());
        for cut in [1, 300, 699, 720, 740, 20_000] {
            assert!(!is_complete(&mut Cursor::new(&whole[..whole.len() - cut])).unwrap(), "{cut} bytes cut off");
        }
        assert!(!is_complete(&mut Cursor::new(b"")).unwrap());
    }
}
