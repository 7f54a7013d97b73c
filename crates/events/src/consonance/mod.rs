//! The three features of sounding notes: consonance, harmonicity and root. All of them are octave-invariant.

mod pairs;
mod root;

pub use self::pairs::{consonance_of_interval, harmonicity_of_interval, ratio_of_interval};
pub use self::root::{root, root_weights};

/// The features of the notes that sound together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consonance {
    /// The mean consonance of all pairs of notes, 0 to 1; `None` without a pair.
    pub consonance: Option<f64>,
    /// The mean magnitude of Barlow's harmonicity of all pairs of notes, 0 to 1; `None` without a pair.
    pub harmonicity: Option<f64>,
    /// The pitch class of the root, 0 (C) to 11; `None` without a note.
    pub root: Option<u8>,
}

/// The features of the MIDI keys `sounding`; keys that occur twice sound in unison.
///
/// A single note has no pair. Its interval is then that from `before`, the note that sounded before it, as in a melody; its
/// root is its own pitch class. Without `before` both means are `None`, and without a note all three are.
pub fn consonance(sounding: &[u8], before: Option<u8>) -> Consonance {
    let mut intervals = Vec::with_capacity(sounding.len() * sounding.len() / 2);
    for (index, &a) in sounding.iter().enumerate() {
        intervals.extend(sounding[index + 1..].iter().map(|&b| a.abs_diff(b)));
    }
    if let (&[single], Some(before)) = (sounding, before) {
        intervals.push(single.abs_diff(before));
    }
    let mean = |value: fn(u8) -> f64| {
        (!intervals.is_empty())
            .then(|| intervals.iter().map(|&interval| value(interval)).sum::<f64>() / intervals.len() as f64)
    };
    Consonance {
        consonance: mean(consonance_of_interval),
        harmonicity: mean(harmonicity_of_interval),
        root: root(sounding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consonance_ranks_chords_as_listeners_do() {
        let value = |keys: &[u8]| consonance(keys, None).consonance.unwrap();
        let (fifth, major, minor) = (value(&[60, 67]), value(&[60, 64, 67]), value(&[60, 63, 67]));
        let (diminished, cluster) = (value(&[60, 63, 66]), value(&[60, 61, 62]));
        // An interval class is its own inversion: both triads have a fifth, a major and a minor third.
        assert!((major - minor).abs() < 1e-12);
        assert!(fifth > major && major > diminished && diminished > cluster, "{fifth} {major} {diminished} {cluster}");
    }

    #[test]
    fn values_do_not_change_with_octaves_order_or_transposition() {
        let chord = [60, 64, 67, 70];
        let here = consonance(&chord, None);
        let moved = consonance(&[70 - 12, 67 + 24, 64, 60 - 36], None);
        // Sums in another order may differ in the last digits.
        assert!((here.consonance.unwrap() - moved.consonance.unwrap()).abs() < 1e-12);
        assert_eq!(here.root, moved.root);
        let transposed = consonance(&chord.map(|key| key + 5), None);
        assert_eq!(transposed.root, Some(5));
        assert_eq!(transposed.harmonicity, here.harmonicity);
    }

    #[test]
    fn one_note_is_paired_with_the_note_before_and_none_has_no_value() {
        assert_eq!(consonance(&[], Some(60)), Consonance { consonance: None, harmonicity: None, root: None });
        assert_eq!(consonance(&[62], None), Consonance { consonance: None, harmonicity: None, root: Some(2) });
        let fifth = consonance(&[67], Some(60));
        assert_eq!(fifth.consonance, consonance(&[60, 67], None).consonance);
        assert_eq!(fifth.root, Some(7));
        // With two notes the one before does not count.
        assert_eq!(consonance(&[60, 61], Some(67)), consonance(&[60, 61], None));
    }

    #[test]
    fn a_unison_counts_as_an_octave() {
        assert_eq!(consonance(&[60, 60], None), consonance(&[60, 72], None));
        assert_eq!(consonance(&[60, 60], None).harmonicity, Some(1.0));
    }
}
