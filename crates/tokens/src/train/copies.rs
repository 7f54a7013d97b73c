//! Files with the same bytes: a copy would count twice in a training, and one that is held out would be judged by its twin.

use std::collections::HashMap;
use std::path::PathBuf;

use mert_fs::sha256_file;
use rayon::prelude::*;

/// For each file the index of the first file with the same bytes, if it is not the first itself. A file that cannot be read
/// is no copy. Only files of one length are read.
pub fn copies(paths: &[PathBuf]) -> Vec<Option<usize>> {
    let lengths: Vec<Option<u64>> =
        paths.iter().map(|path| Some(std::fs::metadata(path).ok()?.len()).filter(|&length| length > 0)).collect();
    let mut of_length: HashMap<u64, usize> = HashMap::new();
    lengths.iter().flatten().for_each(|&length| *of_length.entry(length).or_default() += 1);
    let digests: Vec<Option<String>> = paths
        .par_iter()
        .zip(&lengths)
        .map(|(path, length)| (of_length.get(length.as_ref()?)? > &1).then(|| sha256_file(path).ok())?)
        .collect();
    let mut first: HashMap<&str, usize> = HashMap::new();
    let originals = digests.iter().enumerate().map(|(index, digest)| {
        let original = *first.entry(digest.as_deref()?).or_insert(index);
        (original != index).then_some(original)
    });
    originals.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_same_bytes_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let contents = ["one", "two", "one", "three", "", "", "two", "one"];
        let mut paths: Vec<PathBuf> = (0..contents.len()).map(|index| folder.path().join(index.to_string())).collect();
        for (path, content) in paths.iter().zip(contents) {
            std::fs::write(path, content).unwrap();
        }
        paths.push(folder.path().join("missing"));
        assert_eq!(copies(&paths), [None, None, Some(0), None, None, None, Some(1), Some(0), None]);
    }
}
