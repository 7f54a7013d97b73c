//! What is known about tracks: columns of numbers, texts and lists of texts, in which a value may be unknown.

use std::collections::HashMap;

/// The kind of the values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A number for each track, such as a tempo.
    Number,
    /// Texts for each track: none, one, or several, such as genres.
    Text,
}

/// A column: for each track of a catalogue, removed ones included, what is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// A number for each track; unknown ones are NaN.
    Number(Vec<f64>),
    /// Texts for each track.
    Text(Texts),
}

/// Texts for each track, each different text once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Texts {
    /// The different texts.
    names: Vec<String>,
    /// The indices in `names` of all tracks' texts.
    codes: Vec<u32>,
    /// The first index in `codes` of each track, and the number of all.
    starts: Vec<u32>,
}

impl Column {
    /// The kind of the values.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Column::Number(_) => ColumnKind::Number,
            Column::Text(_) => ColumnKind::Text,
        }
    }

    /// The number of a track; `None` if it is unknown or the column holds texts.
    pub fn number(&self, track: usize) -> Option<f64> {
        match self {
            Column::Number(numbers) => numbers.get(track).copied().filter(|number| !number.is_nan()),
            Column::Text(_) => None,
        }
    }

    /// The first text of a track; `None` if it is unknown or the column holds numbers.
    pub fn text(&self, track: usize) -> Option<&str> {
        self.texts(track).next()
    }

    /// The texts of a track; none if they are unknown or the column holds numbers.
    pub fn texts(&self, track: usize) -> impl Iterator<Item = &str> {
        let texts = if let Column::Text(texts) = self { Some(texts) } else { None };
        texts.into_iter().flat_map(move |texts| {
            texts.codes(track).iter().filter_map(|&code| texts.names.get(code as usize)).map(String::as_str)
        })
    }

    /// Whether anything is known about a track.
    pub fn is_known(&self, track: usize) -> bool {
        self.number(track).is_some() || self.text(track).is_some()
    }
}

impl Texts {
    /// Texts of tracks in order.
    pub fn new<'a, T: IntoIterator<Item = &'a str>>(tracks: impl IntoIterator<Item = T>) -> Self {
        let mut texts = Texts { starts: vec![0], ..Texts::default() };
        let mut known: HashMap<&str, u32> = HashMap::new();
        for track in tracks {
            for text in track {
                let next = texts.names.len() as u32;
                let code = *known.entry(text).or_insert_with(|| {
                    texts.names.push(text.to_string());
                    next
                });
                texts.codes.push(code);
            }
            texts.starts.push(texts.codes.len() as u32);
        }
        texts
    }

    /// Texts by their codes: those of track `i` are the codes from `starts[i]` to `starts[i + 1]`.
    pub(super) fn from_codes(names: Vec<String>, codes: Vec<u32>, starts: Vec<u32>) -> Self {
        Texts { names, codes, starts }
    }

    /// The different texts, in the order of their first track.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The indices in [`Texts::names`] of a track's texts.
    pub fn codes(&self, track: usize) -> &[u32] {
        match (self.starts.get(track), self.starts.get(track + 1)) {
            (Some(&start), Some(&end)) => &self.codes[start as usize..end as usize],
            _ => &[],
        }
    }
}
