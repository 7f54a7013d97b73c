//! Files of judgments: CSV with the columns `a,b,label`, `a,b,odd` or `seed,track,event`.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::{Result, SearchError};

/// The unmatched files that are named.
const NAMED: usize = 5;

/// A judgment of tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgment {
    /// Two tracks that sound alike, or do not.
    Pair {
        /// One track.
        a: usize,
        /// The other.
        b: usize,
        /// Whether they sound alike.
        alike: bool,
    },
    /// Three tracks, of which two sound more alike than either does with the third.
    Triplet {
        /// One of the two.
        a: usize,
        /// The other of the two.
        b: usize,
        /// The odd one out.
        odd: usize,
    },
}

impl Judgment {
    /// The tracks, two or three.
    pub fn tracks(&self) -> impl Iterator<Item = usize> {
        let (a, b, odd) = match *self {
            Judgment::Pair { a, b, .. } => (a, b, None),
            Judgment::Triplet { a, b, odd } => (a, b, Some(odd)),
        };
        [Some(a), Some(b), odd].into_iter().flatten()
    }
}

/// The kind of a file of judgments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgmentKind {
    /// `a,b,label`: 1 for pairs that sound alike, 0 for others.
    Pairs,
    /// `a,b,odd`: the odd one out last.
    Triplets,
    /// `seed,track,event`: like or skip of a track that was offered for a seed.
    Feedback,
}

impl JudgmentKind {
    /// What is measured on held-out judgments of the kind.
    pub fn figure(self) -> &'static str {
        match self {
            JudgmentKind::Triplets => "triplet accuracy",
            _ => "AUC",
        }
    }

    fn columns(self) -> [&'static str; 3] {
        match self {
            JudgmentKind::Pairs => ["a", "b", "label"],
            JudgmentKind::Triplets => ["a", "b", "odd"],
            JudgmentKind::Feedback => ["seed", "track", "event"],
        }
    }
}

/// The judgments of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgments {
    /// The kind.
    pub kind: JudgmentKind,
    /// SHA-256 of the file.
    pub sha256: String,
    /// The judgments of tracks in the catalogue, in the file's order.
    pub items: Vec<Judgment>,
    /// The number of rows with a file that the catalogue does not have.
    pub unmatched: usize,
    /// The first of those files.
    pub unmatched_files: Vec<String>,
    /// The number of rows that compare a track with itself.
    pub same_track: usize,
}

impl Judgments {
    /// Reads judgments of tracks of `catalogue`. Files are found by path, otherwise relative to the folder of the file of
    /// judgments.
    ///
    /// # Errors
    /// [`SearchError::Io`], and [`SearchError::Judgments`] for other columns, labels and events.
    pub fn read(path: &Path, catalogue: &Catalogue) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(SearchError::io(path))?;
        let failed = |reason: String| SearchError::Judgments { path: path.to_path_buf(), reason };
        // A byte order mark would belong to the first column's name.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
        let header = reader.headers().map_err(|error| failed(error.to_string()))?.clone();
        let place = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
        let kinds = [JudgmentKind::Triplets, JudgmentKind::Pairs, JudgmentKind::Feedback];
        let found = kinds.into_iter().find_map(|kind| {
            let [a, b, c] = kind.columns().map(place);
            Some((kind, [a?, b?, c?]))
        });
        let (kind, columns) = found.ok_or_else(|| {
            let columns = header.iter().collect::<Vec<_>>().join(",");
            failed(format!("expected the columns a,b,label or a,b,odd or seed,track,event, found {columns}"))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let find = |text: &str| catalogue.find(text.as_ref()).or_else(|| catalogue.find(&folder.join(text)));
        let sha256 = mert_fs::sha256_bytes(&bytes);
        let mut judgments =
            Judgments { kind, sha256, items: Vec::new(), unmatched: 0, unmatched_files: Vec::new(), same_track: 0 };
        for record in reader.records() {
            let record = record.map_err(|error| failed(error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let [first, second, third] = columns.map(|column| record.get(column).unwrap_or_default());
            // A row that says nothing valid is an error whether its files are known or not.
            let alike = match (kind, third.to_lowercase().as_str()) {
                (JudgmentKind::Triplets, _) => false,
                (JudgmentKind::Pairs, "1") | (JudgmentKind::Feedback, "like") => true,
                (JudgmentKind::Pairs, "0") | (JudgmentKind::Feedback, "skip") => false,
                (JudgmentKind::Pairs, _) => {
                    return Err(failed(format!("line {line}: expected the label 1 or 0, found `{third}`")));
                }
                (JudgmentKind::Feedback, _) => {
                    return Err(failed(format!("line {line}: expected the event like or skip, found `{third}`")));
                }
            };
            let files: &[&str] =
                if kind == JudgmentKind::Triplets { &[first, second, third] } else { &[first, second] };
            let tracks: Vec<Option<usize>> = files.iter().map(|file| find(file)).collect();
            let missing = files.iter().zip(&tracks).filter(|(_, track)| track.is_none());
            for (file, _) in missing {
                let file = (*file).to_string();
                if judgments.unmatched_files.len() < NAMED && !judgments.unmatched_files.contains(&file) {
                    judgments.unmatched_files.push(file);
                }
            }
            let item = match tracks[..] {
                [Some(a), Some(b)] => Judgment::Pair { a, b, alike },
                [Some(a), Some(b), Some(odd)] => Judgment::Triplet { a, b, odd },
                _ => {
                    judgments.unmatched += 1;
                    continue;
                }
            };
            let distinct: BTreeSet<usize> = item.tracks().collect();
            if distinct.len() < files.len() {
                judgments.same_track += 1;
                continue;
            }
            judgments.items.push(item);
        }
        Ok(judgments)
    }

    /// The judged tracks, ascending.
    pub fn tracks(&self) -> Vec<usize> {
        self.items.iter().flat_map(Judgment::tracks).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
