//! The header of `.npy` files, before npyz reads it: npyz reserves as much memory as a header states, up to 4 GiB.

use std::io::{self, Chain, Cursor, ErrorKind, Read};

/// The longest header that is read, that of version 1.0 of the format. NumPy itself refuses more than 10,000 bytes.
const LONGEST: u32 = 1 << 16;

/// The bytes up to a header of version 2.0 or 3.0: magic, version and length (NEP 1).
const START: usize = 12;

/// Checks the length that the header of an array states. Everything else is left to npyz.
///
/// # Errors
/// [`ErrorKind::InvalidData`] for a header of more than 65,536 bytes.
pub fn check_npy_header(array: &[u8]) -> io::Result<()> {
    match array {
        [0x93, b'N', b'U', b'M', b'P', b'Y', version, _, a, b, c, d, ..] if *version >= 2 => {
            match u32::from_le_bytes([*a, *b, *c, *d]) {
                length if length > LONGEST => Err(io::Error::new(
                    ErrorKind::InvalidData,
                    format!("the header states {length} bytes, expected at most {LONGEST}"),
                )),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// `array`, from its start, once [`check_npy_header`] has passed.
///
/// # Errors
/// Those of [`check_npy_header`], and of reading.
pub fn npy_reader<R: Read>(mut array: R) -> io::Result<Chain<Cursor<Vec<u8>>, R>> {
    let mut start = Vec::with_capacity(START);
    array.by_ref().take(START as u64).read_to_end(&mut start)?;
    check_npy_header(&start)?;
    Ok(Cursor::new(start).chain(array))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_gigabytes_is_refused() {
        let array = |version: u8, length: u32| {
            let mut bytes = b"\x93NUMPY".to_vec();
            bytes.extend([version, 0]);
            bytes.extend(length.to_le_bytes());
            bytes.extend(b"{'descr'");
            bytes
        };
        for (version, length, is_read) in
            [(1, u32::MAX, true), (2, 118, true), (2, 1 << 17, false), (3, u32::MAX, false)]
        {
            let bytes = array(version, length);
            let read = npy_reader(&bytes[..]).and_then(|mut reader| {
                let mut all = Vec::new();
                reader.read_to_end(&mut all)?;
                Ok(all)
            });
            assert_eq!(read.ok(), is_read.then_some(bytes), "{version} {length}");
        }
        assert!(check_npy_header(b"\x93NUMPY\x02").is_ok());
    }
}
