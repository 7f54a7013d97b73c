//! The files that searches derive from the vectors and keep, and whether they are as they were written.

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::part::folder_of;
use crate::vectors::{About, is_intact_file};

/// The files that searches derive from the vectors, and whether they have their checksums: `norms.*` and `half.*` in the parts,
/// and in `cache/` lengths, rows of metrics, compressed vectors and maps. The figures of probes were measured once, and are not
/// among them.
pub(super) fn derived_files(folder: &Path, manifest: &Manifest) -> Vec<(PathBuf, bool)> {
    let files = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        files
    };
    let is_derived = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("norms.") || name.starts_with("half.")
    };
    let of_parts = manifest.parts.iter().flat_map(|entry| files(&folder_of(folder, entry).join("index")));
    let cache = folder.join("cache");
    // The JSON file beside compressed vectors has no checksum: it is read and replaced together with them.
    let is_beside = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("compressed.") && name.ends_with(".json")
    };
    let of_cache = files(&cache).into_iter().filter(|path| !is_beside(path)).chain(files(&cache.join("maps")));
    let all = of_parts.filter(is_derived).chain(of_cache);
    all.filter_map(|path| is_intact(&path).map(|is_intact| (path, is_intact))).collect()
}

/// Whether a derived file has its checksum; `None` for files that searches do not derive.
fn is_intact(path: &Path) -> Option<bool> {
    match path.extension()?.to_str()? {
        "safetensors" | "json" => Some(is_intact_file(path)),
        "tv" => Some(About::read(path).is_some_and(|about| about.is_of(path))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::verify;
    use crate::{Catalogue, Geometry, Level, Space, build_half, testing};

    #[test]
    fn a_flipped_bit_is_a_fault_that_repair_removes() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 200);
        let geometry = Geometry { csls: true, ..Geometry::of(&catalogue) };
        let space = Space::new(&catalogue, geometry.clone()).unwrap();
        let query = [space.point(Level::Tracks, 3)];
        let expected = space.scan(Level::Tracks, &query, catalogue.live(), 9);
        let plain = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
        plain.build_compressed(Level::Tracks, |_, _| ()).unwrap();
        build_half(&catalogue).unwrap();
        let files = || derived_files(catalogue.folder(), catalogue.manifest());
        crate::map::cached(&plain, &crate::map::MapOptions::default(), false, &|_| ()).unwrap();
        // Lengths and rows in f16 of two groups at two levels, where they were used, CSLS, compressed vectors, and a map.
        assert!(files().len() >= 9 && files().iter().all(|(_, is_intact)| *is_intact), "{:?}", files());
        for (path, _) in files() {
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() - 10;
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            let found = verify(catalogue.folder(), false, |_, _| ()).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(found.faults.len() == 1 && found.faults[0].contains(name), "{name}: {:?}", found.faults);
            let again = Catalogue::open(catalogue.folder()).unwrap();
            if !name.starts_with("half.") {
                let space = Space::new(&again, geometry.clone()).unwrap();
                assert_eq!(space.scan(Level::Tracks, &query, again.live(), 9), expected, "{name}");
            }
            let found = verify(catalogue.folder(), true, |_, _| ()).unwrap();
            assert!(found.faults.is_empty(), "{:?}", found.faults);
        }
        let again = Catalogue::open(catalogue.folder()).unwrap();
        let space = Space::new(&again, geometry).unwrap();
        assert_eq!(space.scan(Level::Tracks, &query, again.live(), 9), expected);
    }
}
