//! The order of patches in windows, the relative positions inside a window, and the mask of shifted windows.

/// The partition of a square grid into square windows, perhaps shifted.
pub(super) struct Windows {
    side: usize,
    window: usize,
    shift: usize,
}

impl Windows {
    /// The windows of a grid of `side` patches. The windows of every second block are shifted by half their side, unless one
    /// window fills the grid.
    pub(super) fn new(side: usize, window: usize, shifted: bool) -> Self {
        let shift = if shifted && side > window { window / 2 } else { 0 };
        Windows { side, window, shift }
    }

    /// The number of windows.
    pub(super) fn count(&self) -> usize {
        (self.side / self.window).pow(2)
    }

    /// True for shifted windows.
    pub(super) fn is_shifted(&self) -> bool {
        self.shift > 0
    }

    /// The patches of the grid in the order of windows: entry k is the number of the k-th patch, row by row in its window.
    pub(super) fn order(&self) -> Vec<u32> {
        let place = |index: usize| (index + self.shift) % self.side;
        self.places().map(|(row, column)| (place(row) * self.side + place(column)) as u32).collect()
    }

    /// The inverse of [`Windows::order`].
    pub(super) fn inverse(&self) -> Vec<u32> {
        let mut inverse = vec![0; self.side * self.side];
        for (to, from) in (0..).zip(self.order()) {
            inverse[from as usize] = to;
        }
        inverse
    }

    /// The rows and columns of the shifted grid in the order of windows.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let (across, window) = (self.side / self.window, self.window);
        (0..across * across).flat_map(move |index| {
            let (top, left) = (index / across * window, index % across * window);
            (0..window * window).map(move |patch| (top + patch / window, left + patch % window))
        })
    }

    /// The mask added to attention between patches i and j of each window: 0, or -100 where the shift brought together what is
    /// at opposite ends of the grid. Count × window² × window² values.
    pub(super) fn mask(&self) -> Vec<f32> {
        let part =
            |index: usize| usize::from(index >= self.side - self.window) + usize::from(index >= self.side - self.shift);
        let regions: Vec<usize> = self.places().map(|(row, column)| part(row) * 3 + part(column)).collect();
        let of_window = |window: &[usize]| -> Vec<f32> {
            window.iter().flat_map(|i| window.iter().map(move |j| if i == j { 0.0 } else { -100.0 })).collect()
        };
        regions.chunks(self.window * self.window).flat_map(of_window).collect()
    }

    /// The row of the table of relative positions for each pair of patches of a window: (2·window - 1) rows for each
    /// difference of rows, one for each difference of columns.
    pub(super) fn relative_positions(&self) -> Vec<u32> {
        let (window, patches) = (self.window, self.window * self.window);
        let pair = |i: usize, j: usize| {
            let rows = i / window + window - 1 - j / window;
            let columns = i % window + window - 1 - j % window;
            (rows * (2 * window - 1) + columns) as u32
        };
        (0..patches).flat_map(|i| (0..patches).map(move |j| pair(i, j))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_windows() {
        let windows = Windows::new(4, 2, false);
        assert_eq!(windows.order(), [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
        assert!(!windows.is_shifted() && windows.count() == 4);
        // One window that fills the grid is not shifted.
        assert!(!Windows::new(2, 2, true).is_shifted());
    }

    /// By hand: a grid of 4 shifted by 1.
    #[test]
    fn shifted_windows() {
        let windows = Windows::new(4, 2, true);
        assert_eq!(windows.order(), [5, 6, 9, 10, 7, 4, 11, 8, 13, 14, 1, 2, 15, 12, 3, 0]);
        let inverse = windows.inverse();
        assert!(windows.order().iter().zip(0..).all(|(&patch, k)| inverse[patch as usize] == k));
        let mask = windows.mask();
        // The first window lies whole inside the grid; in the last, all four patches come from four corners.
        assert!(mask[..16].iter().all(|&value| value == 0.0));
        for (k, &value) in mask[48..].iter().enumerate() {
            assert_eq!(value, if k / 4 == k % 4 { 0.0 } else { -100.0 });
        }
        // The second joins columns 3 and 0.
        assert_eq!(mask[16..20], [0.0, -100.0, 0.0, -100.0]);
    }

    #[test]
    fn relative_positions_of_a_window_of_two() {
        let windows = Windows::new(4, 2, false);
        assert_eq!(windows.relative_positions(), [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4]);
    }
}
