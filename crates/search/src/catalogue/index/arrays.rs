//! Named arrays in a mapped safetensors file, which are used as they lie there.

use std::collections::HashMap;
use std::path::Path;

use bytemuck::Pod;
use mert_fs::MappedFile;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorView, serialize};

use crate::vectors::REBUILD;
use crate::{Result, SearchError};

/// The element types of arrays.
pub(super) trait Element: Pod {
    /// The name of the type in the file.
    const DTYPE: Dtype;
}

impl Element for u8 {
    const DTYPE: Dtype = Dtype::U8;
}

impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;
}

impl Element for u64 {
    const DTYPE: Dtype = Dtype::U64;
}

impl Element for i64 {
    const DTYPE: Dtype = Dtype::I64;
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;
}

/// The arrays of a mapped file.
#[derive(Debug)]
pub(super) struct Arrays {
    file: MappedFile,
    /// The offset of the first array.
    start: usize,
    metadata: Metadata,
}

/// An array in an open file, whose type and length are known to be right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Arrays {
    /// Maps a file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = MappedFile::open(path).map_err(SearchError::io(path))?;
        let damaged = |reason: String| SearchError::Damaged { path: path.to_path_buf(), reason, remedy: REBUILD };
        // Checks that all arrays lie within the file.
        SafeTensors::deserialize(file.bytes()).map_err(|error| damaged(error.to_string()))?;
        let (header, metadata) =
            SafeTensors::read_metadata(file.bytes()).map_err(|error| damaged(error.to_string()))?;
        Ok(Arrays { start: header + 8, metadata, file })
    }

    /// The names of all arrays.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.metadata.tensors().into_keys()
    }

    /// Finds an array of `length` values of the type `T`, of any length if it is not given.
    pub(super) fn find<T: Element>(&self, name: &str, length: Option<usize>) -> Result<Span> {
        let damaged = |reason: String| {
            let path = self.file.path().to_path_buf();
            SearchError::Damaged { path, reason: format!("{name}: {reason}"), remedy: REBUILD }
        };
        let info = self.metadata.info(name).ok_or_else(|| damaged("it is missing".into()))?;
        if info.dtype != T::DTYPE {
            return Err(damaged(format!("expected {:?}, found {:?}", T::DTYPE, info.dtype)));
        }
        let (start, end) = (self.start + info.data_offsets.0, self.start + info.data_offsets.1);
        let values: Option<&[T]> =
            self.file.bytes().get(start..end).and_then(|bytes| bytemuck::try_cast_slice(bytes).ok());
        match values {
            Some(values) if length.is_none_or(|length| length == values.len()) => Ok(Span { start, end }),
            Some(values) => Err(damaged(format!("expected {length:?} values, found {}", values.len()))),
            None => Err(damaged("its values are not aligned".into())),
        }
    }

    /// The values of an array that [`Arrays::find`] has found with the same type.
    pub(super) fn values<T: Element>(&self, span: Span) -> &[T] {
        bytemuck::try_cast_slice(&self.file.bytes()[span.start..span.end]).unwrap_or_default()
    }
}

/// Arrays that are collected to be written.
#[derive(Default)]
pub(super) struct ArraysBuilder {
    arrays: Vec<(String, Dtype, usize, Vec<u8>)>,
}

impl ArraysBuilder {
    /// Adds an array.
    pub(super) fn push<T: Element>(&mut self, name: impl Into<String>, values: &[T]) {
        self.arrays.push((name.into(), T::DTYPE, values.len(), bytemuck::cast_slice(values).to_vec()));
    }

    /// Adds texts as the array `NAME.bytes` and the offsets of their starts, `NAME.offsets`.
    pub(super) fn push_texts<'a>(&mut self, name: &str, texts: impl Iterator<Item = &'a str>) {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            offsets.push(bytes.len() as u64);
        }
        self.push(format!("{name}.offsets"), &offsets);
        self.push(format!("{name}.bytes"), &bytes);
    }

    /// The bytes of the file. The same arrays give the same bytes.
    pub(super) fn finish(self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let mut views = Vec::with_capacity(self.arrays.len());
        for (name, dtype, length, bytes) in &self.arrays {
            views.push((name, TensorView::new(*dtype, vec![*length], bytes)?));
        }
        serialize(views, None::<HashMap<String, String>>)
    }
}

/// Texts in a file with arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextSpan {
    offsets: Span,
    bytes: Span,
    length: usize,
}

impl Arrays {
    /// Finds texts, of which there are `length` if it is given.
    pub(super) fn find_texts(&self, name: &str, length: Option<usize>) -> Result<TextSpan> {
        let offsets = self.find::<u64>(&format!("{name}.offsets"), length.map(|length| length + 1))?;
        let bytes = self.find::<u8>(&format!("{name}.bytes"), None)?;
        let length = self.values::<u64>(offsets).len().saturating_sub(1);
        Ok(TextSpan { offsets, bytes, length })
    }

    /// A text; one that is not valid, as after damage, is empty.
    pub(super) fn text(&self, span: TextSpan, index: usize) -> &str {
        let (offsets, bytes) = (self.values::<u64>(span.offsets), self.values::<u8>(span.bytes));
        let text = match (offsets.get(index), offsets.get(index + 1)) {
            (Some(&start), Some(&end)) => bytes.get(start as usize..end as usize),
            _ => None,
        };
        text.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The number of texts.
    pub(super) fn texts(span: TextSpan) -> usize {
        span.length
    }
}
