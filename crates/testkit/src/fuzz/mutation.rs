//! Changes of a file that are likely to reach a parser's edges: bits, boundary numbers, removed, repeated and exchanged
//! parts, and other ends.

use proptest::collection::vec;
use proptest::prelude::*;

/// A change of a file. Positions are fractions of its length, so that they mean something in any file, and small ones
/// are close to its start.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// One bit inverted.
    Flip(Position, u8),
    /// A number that is at an edge, in 1, 2, 4 or 8 bytes of either order.
    Number(Position, u8, u8),
    /// Arbitrary bytes in place of those there.
    Overwrite(Position, Vec<u8>),
    /// Bytes added.
    Insert(Position, Vec<u8>),
    /// A part removed.
    Remove(Position, u16),
    /// A part repeated.
    Repeat(Position, u16, u8),
    /// A part of another file of the corpus in place of what is there.
    Splice(Position, Position, u16),
    /// The end cut off.
    Truncate(Position),
}

/// A place in a file of any length.
#[derive(Debug, Clone, Copy)]
pub enum Position {
    /// Bytes from the start, where headers are.
    Start(u16),
    /// Bytes from the end, where indexes and directories are.
    End(u16),
    /// 1/65536 of the length.
    Fraction(u16),
}

impl Position {
    fn resolve(self, length: usize) -> usize {
        match self {
            Position::Start(offset) => usize::from(offset).min(length),
            Position::End(offset) => length - usize::from(offset).min(length),
            Position::Fraction(part) => ((length as u64 * u64::from(part)) >> 16) as usize,
        }
    }
}

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
    0x1_0000_0000,
    0x8000_0000,
];

/// Any mutation.
pub(super) fn strategy() -> impl Strategy<Value = Mutation> {
    let place = || {
        prop_oneof![
            3 => (0u16..512).prop_map(Position::Start),
            2 => (0u16..4096).prop_map(Position::Start),
            2 => (0u16..2048).prop_map(Position::End),
            3 => any::<u16>().prop_map(Position::Fraction),
        ]
    };
    prop_oneof![
        4 => (place(), 0u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        4 => (place(), 0u8..12, 0u8..8).prop_map(|(at, edge, kind)| Mutation::Number(at, edge, kind)),
        2 => (place(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Mutation::Overwrite(at, bytes)),
        1 => (place(), vec(any::<u8>(), 1..64)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (place(), 1u16..2048).prop_map(|(at, length)| Mutation::Remove(at, length)),
        1 => (place(), 1u16..512, 1u8..8).prop_map(|(at, length, times)| Mutation::Repeat(at, length, times)),
        2 => (place(), place(), 1u16..4096).prop_map(|(to, from, length)| Mutation::Splice(to, from, length)),
        1 => place().prop_map(Mutation::Truncate),
    ]
}

impl Mutation {
    /// Changes `bytes`; `donor` is another file of the corpus.
    pub fn apply(&self, bytes: &mut Vec<u8>, donor: &[u8]) {
        let length = bytes.len();
        match self {
            Mutation::Flip(at, bit) => {
                if let Some(byte) = bytes.get_mut(at.resolve(length)) {
                    *byte ^= 1 << bit;
                }
            }
            Mutation::Number(at, edge, kind) => {
                let size = 1usize << (kind & 3);
                let number = EDGES[usize::from(*edge) % EDGES.len()];
                let little = number.to_le_bytes();
                let mut number = little[..size].to_vec();
                if kind & 4 != 0 {
                    number.reverse();
                }
                overwrite(bytes, at.resolve(length), &number);
            }
            Mutation::Overwrite(at, new) => overwrite(bytes, at.resolve(length), new),
            Mutation::Insert(at, new) => {
                let at = at.resolve(length);
                bytes.splice(at..at, new.iter().copied());
            }
            Mutation::Remove(at, count) => {
                let at = at.resolve(length);
                bytes.drain(at..length.min(at + usize::from(*count)));
            }
            Mutation::Repeat(at, count, times) => {
                let at = at.resolve(length);
                let part = bytes[at..length.min(at + usize::from(*count))].repeat(usize::from(*times));
                bytes.splice(at..at, part);
            }
            Mutation::Splice(to, from, count) => {
                let from = from.resolve(donor.len());
                let part = &donor[from..donor.len().min(from + usize::from(*count))];
                overwrite(bytes, to.resolve(length), part);
            }
            Mutation::Truncate(at) => bytes.truncate(at.resolve(length)),
        }
    }
}

/// Replaces bytes from `at` on, as far as there are any.
fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    let end = bytes.len().min(at + new.len());
    if let Some(old) = bytes.get_mut(at..end) {
        old.copy_from_slice(&new[..end - at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_do_what_they_are_named_after() {
        let apply = |mutation: Mutation| {
            let mut bytes = b"abcdef".to_vec();
            mutation.apply(&mut bytes, b"XYZ");
            bytes
        };
        use Position::{End, Fraction, Start};
        assert_eq!(apply(Mutation::Flip(Start(1), 5)), b"aBcdef");
        assert_eq!(apply(Mutation::Number(End(2), 5, 1)), b"abcd\xff\xff");
        assert_eq!(apply(Mutation::Number(Start(0), 4, 5)), b"\x7f\xffcdef");
        assert_eq!(apply(Mutation::Insert(Fraction(1 << 15), b"--".to_vec())), b"abc--def");
        assert_eq!(apply(Mutation::Remove(Start(4), 100)), b"abcd");
        assert_eq!(apply(Mutation::Repeat(Start(1), 2, 2)), b"abcbcbcdef");
        assert_eq!(apply(Mutation::Splice(Start(4), Start(1), 9)), b"abcdYZ");
        assert_eq!(apply(Mutation::Truncate(End(1))), b"abcde");
        let mut empty = Vec::new();
        Mutation::Number(Start(9), 0, 3).apply(&mut empty, b"");
        assert!(empty.is_empty());
    }
}
