//! Strided arrays in foreign memory: any element type, any strides, padding between the rows. This is apart from Core ML,
//! so that it is tested on machines without it.

use bytemuck::AnyBitPattern;
use half::f16;
use ndarray::{ArrayD, ArrayViewD, IxDyn, ShapeBuilder};

/// The element type of a `MLMultiArray`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    F32,
    F64,
    I8,
    I32,
}

/// The element type, shape and strides of an array in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) element: Element,
    /// The extents, outermost axis first.
    pub(crate) shape: Vec<usize>,
    /// The step along each axis, in elements; `isize::MAX` at most.
    pub(crate) strides: Vec<usize>,
}

impl Layout {
    /// Whether the array has no elements, and so perhaps no memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Copies the array in these bytes to a row-major one of f32. Values of f64 and i32 are rounded.
    ///
    /// # Errors
    /// A sentence if the layout reaches past the bytes, or they are not aligned for its elements.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<ArrayD<f32>, String> {
        if self.is_empty() {
            return ArrayD::from_shape_vec(IxDyn(&self.shape), Vec::new()).map_err(|e| self.unreadable(bytes, e));
        }
        match self.element {
            Element::F16 => self.gather(bytes, f16::to_f32),
            Element::F32 => self.gather(bytes, |value: f32| value),
            Element::F64 => self.gather(bytes, |value: f64| value as f32),
            Element::I8 => self.gather(bytes, |value: i8| f32::from(value)),
            Element::I32 => self.gather(bytes, |value: i32| value as f32),
        }
    }

    fn gather<T: AnyBitPattern>(&self, bytes: &[u8], to_f32: impl Fn(T) -> f32) -> Result<ArrayD<f32>, String> {
        // Padding after the last row may be a fraction of an element.
        let whole = bytes.len() - bytes.len() % size_of::<T>();
        let elements: &[T] = bytemuck::try_cast_slice(&bytes[..whole]).map_err(|e| self.unreadable(bytes, e))?;
        let shape = IxDyn(&self.shape).strides(IxDyn(&self.strides));
        let view = ArrayViewD::from_shape(shape, elements).map_err(|e| self.unreadable(bytes, e))?;
        let values = view.mapv(to_f32);
        Ok(if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() })
    }

    fn unreadable(&self, bytes: &[u8], reason: impl std::fmt::Display) -> String {
        let Self { element, shape, strides } = self;
        format!(
            "{} bytes do not hold an array of {element:?}, shape {shape:?}, strides {strides:?}: {reason}",
            bytes.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, arr2};

    use super::*;

    fn layout(element: Element, shape: &[usize], strides: &[usize]) -> Layout {
        Layout { element, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    fn expected() -> ArrayD<f32> {
        arr2(&[[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]]).into_dyn()
    }

    const PADDED: [f32; 8] = [1.0, 2.0, 3.0, f32::NAN, -4.0, 5.0, 6.0, f32::NAN];

    #[test]
    fn padding_between_rows_is_skipped_for_every_element_type() {
        let halves = PADDED.map(f16::from_f32);
        let doubles = PADDED.map(f64::from);
        let bytes = PADDED.map(|value| value as i8);
        let ints = PADDED.map(|value| value as i32);
        for (element, memory) in [
            (Element::F16, bytemuck::cast_slice(&halves)),
            (Element::F32, bytemuck::cast_slice(&PADDED)),
            (Element::F64, bytemuck::cast_slice(&doubles)),
            (Element::I8, bytemuck::cast_slice(&bytes)),
            (Element::I32, bytemuck::cast_slice(&ints)),
        ] {
            assert_eq!(layout(element, &[2, 3], &[4, 1]).read(memory), Ok(expected()), "{element:?}");
        }
    }

    #[test]
    fn the_last_row_needs_no_padding_and_may_have_a_fraction_of_an_element() {
        let bytes: &[u8] = bytemuck::cast_slice(&PADDED);
        for len in 28..=32 {
            assert_eq!(layout(Element::F32, &[2, 3], &[4, 1]).read(&bytes[..len]), Ok(expected()), "{len}");
        }
    }

    #[test]
    fn other_orders_of_the_axes_become_row_major() {
        let values = [1.0f32, -4.0, 2.0, 5.0, 3.0, 6.0];
        let read = layout(Element::F32, &[2, 3], &[1, 2]).read(bytemuck::cast_slice(&values));
        assert_eq!(read, Ok(expected()));
        assert!(read.is_ok_and(|array| array.is_standard_layout()));
    }

    #[test]
    fn an_axis_of_one_may_have_any_stride() {
        let read = layout(Element::F32, &[1, 2, 3], &[1 << 40, 4, 1]).read(bytemuck::cast_slice(&PADDED));
        assert_eq!(read.map(|array| array.index_axis_move(Axis(0), 0)), Ok(expected()));
    }

    #[test]
    fn an_empty_array_and_a_scalar_are_arrays() {
        assert_eq!(layout(Element::F32, &[0, 3], &[3, 1]).read(&[]).map(|a| a.shape().to_vec()), Ok(vec![0, 3]));
        assert_eq!(layout(Element::I8, &[], &[]).read(&[7]).map(|a| a.sum()), Ok(7.0));
    }

    #[test]
    fn a_layout_past_the_bytes_is_refused() {
        let bytes: &[u8] = bytemuck::cast_slice(&PADDED);
        for (shape, strides) in [
            (&[3, 3][..], &[4, 1][..]),
            (&[2, 3], &[6, 1]),
            (&[2, 3], &[isize::MAX as usize, 1]),
            (&[usize::MAX, 2], &[0, 1]),
            (&[2, 3], &[1]),
            (&[0, usize::MAX], &[1, 1]),
        ] {
            assert!(layout(Element::F32, shape, strides).read(bytes).is_err(), "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_aligned_are_refused() {
        let bytes: &[u8] = bytemuck::cast_slice(&PADDED);
        assert!(layout(Element::F32, &[2], &[1]).read(&bytes[1..]).is_err());
    }
}
