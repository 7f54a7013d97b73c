//! Lists of the parts that threads share out.

use bumpalo::Bump;

/// Memory for the lists of one step at a time. It grows to the longest and stays.
#[derive(Debug, Default)]
pub(crate) struct Lists(Bump);

impl Lists {
    /// Forgets the lists that there are; their memory is for the next ones, in one piece.
    pub(crate) fn clear(&mut self) -> &Bump {
        let size = self.0.allocated_bytes();
        self.0.reset();
        if self.0.allocated_bytes() < size {
            self.0 = Bump::with_capacity(size);
        }
        &self.0
    }
}

/// Cuts rows of equal length into pieces of `columns` columns, the last perhaps narrower: for each such part
/// of the columns, from the first on, its piece of every row.
pub(crate) fn columns<'a>(
    bump: &'a Bump,
    rows: impl ExactSizeIterator<Item = &'a mut [f32]>,
    columns: usize,
) -> impl Iterator<Item = &'a mut [&'a mut [f32]]> {
    let rows = bump.alloc_slice_fill_iter(rows.map(|row| row.chunks_mut(columns)));
    let parts = rows.first().map_or(0, |pieces| pieces.len());
    (0..parts).map(move |_| bump.alloc_slice_fill_iter(rows.iter_mut().map(|pieces| pieces.next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_when_it_was_enough_once() {
        let mut lists = Lists::default();
        let fill = |bump: &Bump| {
            for i in 0..50 {
                bump.alloc_slice_fill_copy(1 + i * 100, 1.0f32);
            }
        };
        fill(lists.clear());
        lists.clear();
        let size = lists.0.allocated_bytes();
        for _ in 0..3 {
            fill(lists.clear());
            assert_eq!(lists.0.allocated_bytes(), size);
        }
    }

    #[test]
    fn columns_are_cut_from_every_row() {
        let mut values: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let bump = Bump::new();
        let parts: Vec<_> = columns(&bump, values.chunks_mut(5), 2).collect();
        assert_eq!(parts, [[&[0.0, 1.0][..], &[5.0, 6.0]], [&[2.0, 3.0], &[7.0, 8.0]], [&[4.0], &[9.0]]]);
        assert_eq!(columns(&bump, [].into_iter(), 2).count(), 0);
    }
}
