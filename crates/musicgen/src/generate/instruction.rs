//! The wording of instructions.

/// The beginning of every text that Instruct-MusicGen was trained on.
const BEGINNING: &str = "Music piece.";

/// The part of the beginning by which a text in the wording of the training is recognised, in any case.
const RECOGNISED: &str = "music piece";

/// An instruction in the wording of the training: `Only Drums` becomes `Music piece. Instruct: Only Drums.`, and a text that
/// begins with `Music piece` stays as it is. The trained instructions are `Only X`, `No X` and `Add X`.
pub fn instruction(text: &str) -> String {
    let text = text.trim();
    if text.get(..RECOGNISED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RECOGNISED)) {
        return text.to_string();
    }
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{BEGINNING} Instruct: {text}{end}")
}

#[cfg(test)]
mod tests {
    use super::instruction;

    #[test]
    fn wording_of_the_training() {
        assert_eq!(instruction("Only Drums"), "Music piece. Instruct: Only Drums.");
        assert_eq!(instruction(" No Bass. "), "Music piece. Instruct: No Bass.");
        assert_eq!(instruction("Music piece. Instruct: Add Piano."), "Music piece. Instruct: Add Piano.");
        assert_eq!(instruction("music piece. instruct: no bass."), "music piece. instruct: no bass.");
        assert_eq!(instruction("Música"), "Music piece. Instruct: Música.");
    }
}
