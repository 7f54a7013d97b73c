//! The division of a model's weights into files, and their index.
//!
//! - this file: the division; `index.rs`: `model.safetensors.index.json`; `size.rs`: sizes such as `5GB`.

mod index;
mod size;

use std::ops::Range;

pub(crate) use self::index::{INDEX_FILE, index_json};
pub use self::size::ByteSize;
use crate::plan::Step;

/// The largest file of weights by default, in bytes: 5 GiB, as mlx-lm has it.
pub const MAX_SHARD_SIZE: ByteSize = ByteSize(5 << 30);

/// A file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    /// The name: `model.safetensors`, or `model-00001-of-00003.safetensors`.
    pub(crate) file: String,
    /// The model's tensors in it, by their positions in the plan. What stores one of them is in one file.
    pub(crate) steps: Range<usize>,
}

/// The files of the tensors of these steps.
pub(crate) fn shards_of_steps(steps: &[Step], most: ByteSize) -> Vec<Shard> {
    let sizes: Vec<u64> = steps.iter().map(Step::byte_len).map(|bytes| bytes as u64).collect();
    shards(&sizes, most)
}

/// Divides tensors with these numbers of bytes, in their order: a file takes tensors until the next would exceed `most` bytes. A
/// tensor that is larger alone has a file of its own.
///
/// It is the rule of mlx-lm's
/// [`make_shards`](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/utils.py), and counts the data without headers, as
/// mlx-lm and transformers do.
fn shards(sizes: &[u64], most: ByteSize) -> Vec<Shard> {
    let (mut starts, mut size) = (vec![0], 0);
    for (i, &bytes) in sizes.iter().enumerate() {
        if size > 0 && size + bytes > most.0 {
            starts.push(i);
            size = 0;
        }
        size += bytes;
    }
    let ends = starts.iter().skip(1).copied().chain([sizes.len()]);
    let count = starts.len();
    let shard = |(i, (&start, end))| Shard { file: file_name(i + 1, count), steps: start..end };
    starts.iter().zip(ends).enumerate().map(shard).collect()
}

/// The name of a file of weights: that of transformers and mlx-lm.
fn file_name(number: usize, count: usize) -> String {
    match count {
        1 => "model.safetensors".into(),
        _ => format!("model-{number:05}-of-{count:05}.safetensors"),
    }
}

/// Whether a file has the name of one of several.
pub(crate) fn is_shard(name: &str) -> bool {
    let numbers = || name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-");
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers().is_some_and(|(number, count)| is_number(number) && is_number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_tensors_up_to_the_limit() {
        for (sizes, most, expected) in [
            (&[][..], 10, &[(0, 0)][..]),
            (&[5, 5], 10, &[(0, 2)]),
            (&[5, 6], 10, &[(0, 1), (1, 2)]),
            (&[4, 6, 1, 9, 1], 10, &[(0, 2), (2, 4), (4, 5)]),
            // Larger than a file, first, between others and last.
            (&[30, 1, 30, 1, 30], 10, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
            (&[0, 30], 10, &[(0, 2)]),
        ] {
            let ends = |shard: Shard| (shard.steps.start, shard.steps.end);
            let found: Vec<_> = shards(sizes, ByteSize(most)).into_iter().map(ends).collect();
            assert_eq!(found, expected, "{sizes:?}");
        }
    }

    #[test]
    fn names_are_those_of_transformers() {
        let names =
            |sizes: &[u64]| -> Vec<String> { shards(sizes, ByteSize(1)).into_iter().map(|shard| shard.file).collect() };
        assert_eq!(names(&[1]), ["model.safetensors"]);
        assert_eq!(names(&[1, 1]), ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
        assert_eq!(names(&[1; 11])[10], "model-00011-of-00011.safetensors");
        assert!(names(&[1; 11]).iter().all(|name| is_shard(name)));
        for name in [
            "model.safetensors",
            "model-1-of-2.safetensors",
            "model-00001-of-00002.bin",
            "model-0000a-of-00002.safetensors",
        ] {
            assert!(!is_shard(name), "{name}");
        }
    }
}
