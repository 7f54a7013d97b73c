//! The length of an ID3v2 tag, which may precede any audio file. Shared by format detection and the workarounds that
//! skip tags.

/// The length in bytes of an ID3v2 header, and of a footer.
pub(crate) const HEADER: usize = 10;

/// The length of the ID3v2 tag at the start of `bytes`, including its header and footer
/// (ID3v2.4, 3.1): four bytes of seven bits each, and a flag for the footer.
/// `None` if there is no tag.
pub(crate) fn length(bytes: &[u8]) -> Option<u64> {
    let &[b'I', b'D', b'3', _, _, flags, ref size @ ..] = bytes.first_chunk::<HEADER>()? else { return None };
    if size.iter().any(|byte| byte >> 7 == 1) {
        return None;
    }
    let size = size.iter().fold(0, |size, &byte| (size << 7) | u64::from(byte));
    let footer = if flags & 0x10 == 0 { 0 } else { HEADER };
    Some(size + (HEADER + footer) as u64)
}
