//! The root of notes that sound together, as a pitch class.

/// The weights with which a note supports a root that lies 0 to 11 semitones below it. Source: R. Parncutt, "Revision of
/// Terhardt's psychoacoustical model of the root(s) of a musical chord", Music Perception 6(1), 1988, with the weights of
/// his commentary in Music Perception 23(5), 2006.
const SUPPORT: [u32; 12] = [10, 0, 1, 0, 3, 0, 0, 5, 0, 0, 2, 0];

/// The weight of each pitch class as the root of the pitch classes of `keys`; a pitch class counts once.
pub fn root_weights(keys: &[u8]) -> [u32; 12] {
    let mut sounds = [false; 12];
    for key in keys {
        sounds[usize::from(key % 12)] = true;
    }
    std::array::from_fn(|root| {
        (0..12).filter(|interval| sounds[(root + interval) % 12]).map(|interval| SUPPORT[interval]).sum()
    })
}

/// The pitch class of the largest weight. Among equal ones it is that of the lowest key, or else the next one above it, so
/// that a transposed chord has the transposed root. `None` without keys.
pub fn root(keys: &[u8]) -> Option<u8> {
    let lowest = *keys.iter().min()? % 12;
    let weights = root_weights(keys);
    let largest = *weights.iter().max()?;
    (0..12).map(|step| (lowest + step) % 12).find(|&class| weights[usize::from(class)] == largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_major_triad_are_those_of_another_implementation() {
        // parn88 of the R package of that name (Harrison 2018), for the pitch classes 0, 4 and 7.
        assert_eq!(root_weights(&[60, 64, 67]), [18, 0, 3, 3, 10, 6, 2, 10, 3, 7, 1, 0]);
    }

    #[test]
    fn inversions_keep_the_root_and_transpositions_move_it() {
        for keys in [[60, 64, 67], [64, 67, 72], [67, 72, 76], [48, 67, 76]] {
            assert_eq!(root(&keys), Some(0));
            for shift in 0..12 {
                assert_eq!(root(&keys.map(|key| key + shift)), Some(shift));
            }
        }
        assert_eq!(root(&[67, 71, 74, 77]), Some(7)); // a dominant seventh
        assert_eq!(root(&[60]), Some(0));
        assert_eq!(root(&[]), None);
        // A tie: the tritone of C and F sharp stands on its lower note.
        assert_eq!([root(&[60, 66]), root(&[66, 72])], [Some(0), Some(6)]);
    }
}
