//! The lists of the tasks that one step is split into, in memory that is reused.

use bumpalo::Bump;

/// The memory of the task lists of one step at a time. It grows to the longest list and stays.
#[derive(Debug, Default)]
pub(crate) struct TaskArena(Bump);

impl TaskArena {
    /// Frees the lists of the last step. The next ones get the same memory, in one piece.
    pub(crate) fn clear(&mut self) -> &Bump {
        let size = self.0.allocated_bytes();
        self.0.reset();
        if self.0.allocated_bytes() < size {
            self.0 = Bump::with_capacity(size);
        }
        &self.0
    }
}

/// Splits rows of equal length into blocks of `columns` columns, the last perhaps narrower. Each block is the list of
/// its pieces of all rows.
pub(crate) fn split_columns<'a, T: 'a>(
    bump: &'a Bump,
    rows: impl ExactSizeIterator<Item = &'a mut [T]>,
    columns: usize,
) -> impl Iterator<Item = &'a mut [&'a mut [T]]> {
    let rows = bump.alloc_slice_fill_iter(rows.map(|row| row.chunks_mut(columns)));
    let parts = rows.first().map_or(0, |pieces| pieces.len());
    (0..parts).map(move |_| bump.alloc_slice_fill_iter(rows.iter_mut().map(|pieces| pieces.next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_enough_once_is_reused() {
        let mut arena = TaskArena::default();
        let fill = |bump: &Bump| {
            for i in 0..50 {
                bump.alloc_slice_fill_copy(1 + i * 100, 1.0f32);
            }
        };
        fill(arena.clear());
        arena.clear();
        let size = arena.0.allocated_bytes();
        for _ in 0..3 {
            fill(arena.clear());
            assert_eq!(arena.0.allocated_bytes(), size);
        }
    }

    #[test]
    fn columns_are_split_in_every_row() {
        let mut values: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let bump = Bump::new();
        let parts: Vec<_> = split_columns(&bump, values.chunks_mut(5), 2).collect();
        assert_eq!(parts, [[&[0.0, 1.0][..], &[5.0, 6.0]], [&[2.0, 3.0], &[7.0, 8.0]], [&[4.0], &[9.0]]]);
        assert_eq!(split_columns::<f32>(&bump, [].into_iter(), 2).count(), 0);
    }
}
