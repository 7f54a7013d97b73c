//! The header of a box of MP4 and QuickTime (ISO/IEC 14496-12, 4.2). Shared by everything that walks through boxes.

use std::io::{Read, Seek, SeekFrom};

/// The number of boxes after which a walk over the top level gives up: real files have a handful.
pub(super) const MAX_BOXES: u32 = 1000;

/// The header of a box.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoxHeader {
    /// The type, such as `moov`.
    pub(super) kind: [u8; 4],
    /// The stated size in bytes, including the header; `None` for a box to the end of the file.
    pub(super) size: Option<u64>,
    /// The length of the header in bytes: 8, or 16 with a 64-bit size.
    pub(super) length: u64,
}

impl BoxHeader {
    /// Reads the header at `position`; `None` if the file ends before.
    pub(super) fn read(file: &mut (impl Read + Seek), position: u64) -> std::io::Result<Option<Self>> {
        let mut header = Vec::with_capacity(16);
        file.seek(SeekFrom::Start(position))?;
        file.take(16).read_to_end(&mut header)?;
        let Some(&[a, b, c, d, ref kind @ ..]) = header.first_chunk::<8>() else { return Ok(None) };
        let large = header.get(8..).and_then(|large| large.first_chunk());
        let (size, length) = match (u32::from_be_bytes([a, b, c, d]), large) {
            (0, _) => (None, 8),
            (1, Some(large)) => (Some(u64::from_be_bytes(*large)), 16),
            (size, _) => (Some(size.into()), 8),
        };
        Ok(Some(BoxHeader { kind: *kind, size, length }))
    }
}
