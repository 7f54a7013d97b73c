//! The name that was probably meant.

/// The most characters of a name that others are likened to: the work grows with the product of both lengths.
const LONGEST: usize = 200;

/// The one of `names` that is most like `name`, if more than half of its characters are the same; case does not matter.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.chars().nth(LONGEST).is_some() {
        return None;
    }
    let name = name.to_lowercase();
    let likeness = |other: &str| strsim::normalized_damerau_levenshtein(&name, &other.to_lowercase());
    let best = names
        .filter(|other| other.len() <= 4 * LONGEST)
        .map(|other| (likeness(other), other))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.5).then_some(best.1)
}
