//! Who made each track: what an evaluation leaves out, and what a split keeps together.
//!
//! Tracks of one artist or album sound alike for reasons that have nothing to do with the question, such as the voice and the
//! mastering, so that figures without these filters are too good: Flexer and Schnitzer,
//! "Effects of album and artist filters in audio similarity computed for very large music databases", 2010.

use std::collections::HashMap;

use crate::Column;
use crate::catalogue::Catalogue;

/// The artists and albums of all tracks of a catalogue.
#[derive(Debug)]
pub struct Artists {
    /// The artists of each track; unknown artists are one of their own.
    artists: Vec<Vec<u32>>,
    /// The album of each track and the artist of that album, if they are known.
    albums: Vec<Option<(u32, Option<u32>)>>,
    /// The group of each track: tracks that share an artist, directly or through others, have one number.
    groups: Vec<usize>,
    unknown: usize,
}

impl Artists {
    /// The artists of `catalogue`: `artist`, otherwise `album_artist`.
    pub fn of(catalogue: &Catalogue) -> Self {
        let column = |name| catalogue.column(name).ok();
        let (artist, album_artist, album) = (column("artist"), column("album_artist"), column("album"));
        let texts = |column: &Option<std::sync::Arc<Column>>, track| -> Vec<String> {
            column.iter().flat_map(|column| column.texts(track)).map(str::to_lowercase).collect()
        };
        let mut codes: HashMap<String, u32> = HashMap::new();
        let mut code = |text: String| {
            let next = codes.len() as u32 + 1;
            *codes.entry(text).or_insert(next)
        };
        let tracks = catalogue.tracks();
        let (mut artists, mut albums) = (Vec::with_capacity(tracks), Vec::with_capacity(tracks));
        let mut unknown = 0;
        for track in 0..tracks {
            let mut names = texts(&artist, track);
            if names.is_empty() {
                names = texts(&album_artist, track);
            }
            if names.is_empty() && catalogue.live().contains(track) {
                unknown += 1;
            }
            let mut own: Vec<u32> = names.into_iter().map(&mut code).collect();
            if own.is_empty() {
                own.push(0);
            }
            artists.push(own);
            let owner = texts(&album_artist, track).into_iter().next().map(&mut code);
            albums.push(texts(&album, track).into_iter().next().map(|album| (code(album), owner)));
        }
        let groups = groups(&artists, &albums);
        Artists { artists, albums, groups, unknown }
    }

    /// The number of tracks of the catalogue whose artist is unknown.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    /// Whether two tracks are by the same artist. Two unknown artists count as the same.
    pub fn same_artist(&self, a: usize, b: usize) -> bool {
        self.artists[a].iter().any(|artist| self.artists[b].contains(artist))
    }

    /// Whether two tracks are of the same album: one of the same name, unless their album artists are known to differ.
    pub fn same_album(&self, a: usize, b: usize) -> bool {
        match (self.albums[a], self.albums[b]) {
            (Some((a, owner_a)), Some((b, owner_b))) => {
                a == b && (owner_a == owner_b || owner_a.is_none() || owner_b.is_none())
            }
            _ => false,
        }
    }

    /// Whether two tracks share an artist or an album.
    pub fn related(&self, a: usize, b: usize) -> bool {
        self.same_artist(a, b) || self.same_album(a, b)
    }

    /// The group of a track. Tracks of different groups have no artist in common; tracks of unknown artists are grouped by
    /// their albums, and those without an album are one group.
    pub fn group(&self, track: usize) -> usize {
        self.groups[track]
    }
}

/// The groups of tracks that are connected by artists.
fn groups(artists: &[Vec<u32>], albums: &[Option<(u32, Option<u32>)>]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..artists.len()).collect();
    fn root(parents: &mut [usize], mut track: usize) -> usize {
        while parents[track] != track {
            parents[track] = parents[parents[track]];
            track = parents[track];
        }
        track
    }
    let mut first: HashMap<(u32, Option<u32>), usize> = HashMap::new();
    for (track, artists) in artists.iter().enumerate() {
        for &artist in artists {
            // An unknown artist's album stands for the artist.
            let key = (artist, if artist == 0 { albums[track].map(|(album, _)| album) } else { None });
            let other = *first.entry(key).or_insert(track);
            let (a, b) = (root(&mut parents, track), root(&mut parents, other));
            parents[a.max(b)] = a.min(b);
        }
    }
    (0..artists.len()).map(|track| root(&mut parents, track)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn unknown_artists_are_one_of_their_own_and_grouped_by_album() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 40);
        let artists = Artists::of(&catalogue);
        // Tracks 6, 13, 20, … have no artist; the album is the number modulo 10.
        assert_eq!(artists.unknown(), 5);
        assert!(artists.same_artist(0, 5) && !artists.same_artist(0, 1) && artists.same_artist(6, 13));
        assert!(!artists.same_artist(5, 20) && !artists.same_album(5, 20) && artists.same_album(10, 20));
        assert!(artists.related(10, 20) && !artists.related(0, 1));
        assert_eq!(artists.group(0), artists.group(5));
        assert_ne!(artists.group(0), artists.group(1));
        assert_ne!(artists.group(6), artists.group(13));
    }

    #[test]
    fn artists_of_one_track_connect_all_theirs() {
        let artists = [vec![1], vec![2], vec![1, 2], vec![3], vec![0], vec![0]];
        let albums = [None, None, None, None, Some((9, None)), None];
        assert_eq!(groups(&artists, &albums), [0, 0, 0, 3, 4, 5]);
    }
}
