//! The scan for lazily negated views in a `torch.save` pickle: candle's pickle reader, which reads the reference's
//! weights, ignores the mark. It is separate from the converter's reader, which the reference judges.

/// Whether a `torch.save` pickle rebuilds a tensor as a lazily negated view: `{"neg": True}` as the last argument of
/// [`torch._utils._rebuild_tensor_v2`](https://github.com/pytorch/pytorch/blob/main/torch/_utils.py), after the
/// backward hooks' `OrderedDict()`. Such a tensor's stored values have the wrong sign.
///
/// The opcodes are those of CPython's [`pickletools`](https://github.com/python/cpython/blob/main/Lib/pickletools.py).
pub(super) fn rebuilds_negated_view(pickle: &[u8]) -> bool {
    // "neg" as BINUNICODE (protocols 2 and 3) and as SHORT_BINUNICODE (4 and up).
    const KEYS: [&[u8]; 2] = [b"X\x03\0\0\0neg", b"\x8c\x03neg"];
    const NEWTRUE: u8 = 0x88;
    KEYS.into_iter().any(|key| {
        let found = pickle.windows(key.len()).enumerate().filter(|(_, window)| *window == key);
        found.map(|(at, _)| (&pickle[..at], &pickle[at + key.len()..])).any(|(before, after)| {
            // The mark's dictionary opens right after a call. A key `neg` anywhere else belongs to the user's own data.
            let before = before.strip_suffix(b"(").unwrap_or(before);
            let opened = without_memo_at_end(before)
                .into_iter()
                .flatten()
                .filter_map(|rest| rest.strip_suffix(b"}"))
                .flat_map(without_memo_at_end)
                .flatten()
                .any(|rest| rest.ends_with(b"R"));
            let value = match after {
                [b'q', _, value @ ..] | [b'r', _, _, _, _, value @ ..] | [0x94, value @ ..] => value,
                value => value,
            };
            opened && value.first() == Some(&NEWTRUE)
        })
    })
}

/// The bytes as they are, and without a BINPUT, LONG_BINPUT or MEMOIZE at their end.
fn without_memo_at_end(bytes: &[u8]) -> [Option<&[u8]>; 4] {
    let cut = |length: usize, opcode: u8| {
        let start = bytes.len().checked_sub(length)?;
        (bytes[start] == opcode).then_some(&bytes[..start])
    };
    [Some(bytes), cut(2, b'q'), cut(5, b'r'), cut(1, 0x94)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mark_itself_matches() {
        for (pickle, expected) in [
            (&b")Rq\x04}q\x05X\x03\0\0\0negq\x06\x88s"[..], true),
            (b")Rr\x01\x01\0\0}r\x02\x01\0\0X\x03\0\0\0negr\x03\x01\0\0\x88s", true),
            (b")R}X\x03\0\0\0neg\x88s", true),
            (b")R\x94}\x94\x8c\x03neg\x94\x88s", true),
            (b")Rq\x04}q\x05(X\x03\0\0\0negq\x06\x88u", true),
            (b")Rq\x04}q\x05X\x03\0\0\0negq\x06\x89s", false),
            // {"hyper_parameters": {"neg": True}}
            (b"X\x10\0\0\0hyper_parametersq\x04}q\x05X\x03\0\0\0negq\x06\x88s", false),
            (b")R}X\x04\0\0\0nega\x88", false),
            (b"X\x03\0\0\0neg", false),
            (b"", false),
        ] {
            assert_eq!(rebuilds_negated_view(pickle), expected, "{pickle:?}");
        }
    }
}
