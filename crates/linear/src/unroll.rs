//! Loops that are written out, so that shifts, masks and words are constants: the compiler unrolls long bodies no more
//! than a few times.

/// Runs a block for each index below a constant of at most 32, with the index as a constant. Loops within loops name the
/// indices after the block, up to the largest count: the compiler reads a copy for each of them.
macro_rules! unroll {
    ($index:ident < $count:expr => $body:block) => {
        $crate::unroll::unroll!($index < $count => $body,
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
    };
    ($index:ident < $count:expr => $body:block, $first:literal $($rest:literal)*) => {
        if $first < $count {
            let $index: usize = $first;
            $body
        }
        $crate::unroll::unroll!($index < $count => $body, $($rest)*)
    };
    ($index:ident < $count:expr => $body:block,) => {};
}

pub(crate) use unroll;
