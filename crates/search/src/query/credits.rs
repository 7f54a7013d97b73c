//! Who tracks are by and what albums they are from, as numbers.

use std::collections::HashMap;

use crate::Catalogue;
use crate::catalogue::Column;

/// The artist and album of each track as numbers, equal for equal ones; unknown ones are `None`.
///
/// The artist is the column `artist`, or where it is unknown `album_artist`. An album is its title together with
/// `album_artist`, or where that is unknown the artist: two artists' `Greatest Hits` are two albums.
#[derive(Debug, Clone, PartialEq)]
pub struct Credits {
    artists: Vec<Option<u32>>,
    albums: Vec<Option<u32>>,
}

impl Credits {
    /// The credits of all tracks of `catalogue`. Names are compared without case.
    pub fn of(catalogue: &Catalogue) -> Self {
        let [artist, album_artist, album] =
            ["artist", "album_artist", "album"].map(|column| catalogue.column(column).ok());
        let text = |column: &Option<std::sync::Arc<Column>>, track| -> Option<String> {
            column.as_ref()?.text(track).map(str::to_lowercase).filter(|text| !text.is_empty())
        };
        let (mut artists, mut albums) = (Numbers::default(), Numbers::default());
        let tracks = 0..catalogue.tracks();
        let credits = |track: usize| {
            let own = text(&artist, track);
            let of_album = text(&album_artist, track);
            let album = text(&album, track).map(|album| (album, of_album.clone().or_else(|| own.clone())));
            (artists.number(own.or(of_album)), albums.number(album))
        };
        let (artists, albums) = tracks.map(credits).unzip();
        Credits { artists, albums }
    }

    /// Credits with these artists, and without albums.
    #[cfg(test)]
    pub(super) fn of_artists(artists: Vec<Option<u32>>) -> Self {
        Credits { albums: vec![None; artists.len()], artists }
    }

    /// The artist of a track.
    pub fn artist(&self, track: usize) -> Option<u32> {
        self.artists.get(track).copied().flatten()
    }

    /// The album of a track.
    pub fn album(&self, track: usize) -> Option<u32> {
        self.albums.get(track).copied().flatten()
    }

    /// Whether both artists are known and the same.
    pub fn same_artist(&self, a: usize, b: usize) -> bool {
        self.artist(a).is_some_and(|artist| self.artist(b) == Some(artist))
    }
}

/// Numbers for different keys, in the order in which they come.
struct Numbers<K>(HashMap<K, u32>);

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Numbers(HashMap::new())
    }
}

impl<K: std::hash::Hash + Eq> Numbers<K> {
    fn number(&mut self, key: Option<K>) -> Option<u32> {
        let next = self.0.len() as u32;
        Some(*self.0.entry(key?).or_insert(next))
    }
}
