//! What has changed among the files of a catalogue: which are new, changed, moved, unchanged or missing.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use mert_embed::inputs::Input;
use mert_search::{Catalogue, without_parents};
use mert_table::{FileVersion, escape};
use rayon::prelude::*;

/// The files of a run beside the tracks of a catalogue.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Files to embed: new ones, and those with other bytes than the catalogue's.
    pub(super) embed: Vec<Input>,
    /// The number of `embed` that the catalogue has in another version.
    pub(super) changed: usize,
    /// Tracks whose files are the same bytes under another path, or with another time.
    pub(super) refreshed: Vec<Refreshed>,
    /// The number of files that are as they were.
    pub(super) unchanged: usize,
    /// Digests of files to embed, as far as they are known.
    pub(super) digests: HashMap<PathBuf, String>,
}

/// A track whose file is where it was, or elsewhere, with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refreshed {
    pub(super) track: usize,
    pub(super) path: PathBuf,
    pub(super) version: Option<FileVersion>,
    /// Whether the path is another than before.
    pub(super) is_moved: bool,
}

impl Changes {
    /// Compares `inputs` with the tracks of `catalogue`.
    pub(super) fn of(catalogue: Option<&Catalogue>, inputs: Vec<Input>) -> Self {
        let mut changes = Changes::default();
        let Some(catalogue) = catalogue else {
            changes.embed = inputs;
            changes.digest_files();
            return changes;
        };
        let (mut changed, mut new) = (Vec::new(), Vec::new());
        for mut input in inputs {
            match catalogue.find(&input.path) {
                Some(track) if input.version.is_some() && catalogue.version(track) == input.version => {
                    changes.unchanged += 1;
                }
                Some(track) => {
                    // The spelling of the path that the catalogue has stays.
                    input.path = catalogue.track(track).path();
                    changed.push((track, input));
                }
                None => new.push(input),
            }
        }
        changes.find_touched(catalogue, changed);
        changes.find_moved(catalogue, new);
        changes
    }

    /// Finds files whose time has changed and whose bytes have not.
    fn find_touched(&mut self, catalogue: &Catalogue, changed: Vec<(usize, Input)>) {
        let digests: Vec<Option<String>> = changed.par_iter().map(|(_, input)| digest(input)).collect();
        for ((track, input), digest) in changed.into_iter().zip(digests) {
            if digest.is_some() && digest == catalogue.sha256(track) {
                let Input { path, version } = input;
                self.refreshed.push(Refreshed { track, path, version, is_moved: false });
            } else {
                self.changed += 1;
                self.embed(input, digest);
            }
        }
    }

    /// Finds files that are the bytes of a track whose own file is gone.
    fn find_moved(&mut self, catalogue: &Catalogue, new: Vec<Input>) {
        if new.is_empty() {
            return;
        }
        let mut sizes: HashMap<u64, Vec<usize>> = HashMap::new();
        let wanted: HashSet<u64> = new.iter().filter_map(|input| Some(input.version?.size)).collect();
        for track in catalogue.live().ones() {
            if let Some(size) =
                catalogue.version(track).map(|version| version.size).filter(|size| wanted.contains(size))
            {
                sizes.entry(size).or_default().push(track);
            }
        }
        let digests: Vec<Option<String>> = new.par_iter().map(digest).collect();
        let mut taken = HashSet::new();
        for (input, digest) in new.into_iter().zip(digests) {
            let candidates = input.version.and_then(|version| sizes.get(&version.size)).into_iter().flatten();
            let mut moved = candidates.copied().filter(|&track| {
                digest.is_some()
                    && catalogue.sha256(track) == digest
                    && !taken.contains(&track)
                    && !catalogue.track(track).path().exists()
            });
            match moved.next() {
                Some(track) => {
                    taken.insert(track);
                    let Input { path, version } = input;
                    self.refreshed.push(Refreshed { track, path, version, is_moved: true });
                }
                None => self.embed(input, digest),
            }
        }
    }

    fn embed(&mut self, input: Input, digest: Option<String>) {
        if let Some(digest) = digest {
            self.digests.insert(input.path.clone(), digest);
        }
        self.embed.push(input);
    }

    fn digest_files(&mut self) {
        let digests: Vec<Option<String>> = self.embed.par_iter().map(digest).collect();
        let paths = self.embed.iter().map(|input| input.path.clone());
        self.digests.extend(paths.zip(digests).filter_map(|(path, digest)| Some((path, digest?))));
    }

    /// The number of tracks whose files were moved.
    pub(super) fn moved(&self) -> usize {
        self.refreshed.iter().filter(|refreshed| refreshed.is_moved).count()
    }
}

impl Refreshed {
    /// The escaped path.
    pub(super) fn file(&self) -> String {
        escape(&self.path)
    }
}

/// The digest of a file that can be read.
fn digest(input: &Input) -> Option<String> {
    input.version?;
    mert_fs::sha256_file(&input.path).ok()
}

/// The absolute path of a file, without following links and without `..`: what a catalogue knows it by. Behind a link to a
/// folder `..` leads elsewhere than it looks, so that links are followed there.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if !path.components().any(|component| component == Component::ParentDir) {
        return path;
    }
    let normalized = without_parents(&path);
    match path.canonicalize() {
        Ok(resolved) if normalized.canonicalize().ok().as_ref() != Some(&resolved) => resolved,
        _ => normalized,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_no_parent_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir(root.join("c")).unwrap();
        std::fs::write(root.join("a/x.ogg"), "x").unwrap();
        assert_eq!(absolute(&root.join("c/../a/x.ogg")), root.join("a/x.ogg"));
        assert_eq!(absolute(&root.join("c/../missing.ogg")), root.join("missing.ogg"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(root.join("a/b"), root.join("c/link")).unwrap();
            assert_eq!(absolute(&root.join("c/link/../x.ogg")), root.join("a/x.ogg"), "not c/x.ogg");
            std::os::unix::fs::symlink(root.join("a"), root.join("music")).unwrap();
            assert_eq!(absolute(&root.join("music/x.ogg")), root.join("music/x.ogg"), "links stay");
        }
    }
}
