//! The report as Markdown in the dialect of GitHub and GitLab. Names and messages are escaped: they may hold characters
//! that Markdown interprets as markup, a link or HTML.

use mert_arch::{printable, printable_line};

use super::summary::{COLUMNS, headline, row, verdict_lines, worst_line};
use crate::gate::{ModelVerdict, Verdict};

/// Renders the verdict as Markdown for a pull request or the summary of a CI job.
pub fn to_markdown(verdict: &Verdict) -> String {
    let mut text = format!("## mert-verify: {}\n", if verdict.passed() { "passed" } else { "FAILED" });
    for model in &verdict.models {
        text += &model_section(model);
    }
    for error in &verdict.errors {
        let (model, error) = (code(&error.model.display().to_string()), escape(&error.error));
        text += &format!("\n### {model}\n\n**Could not be checked:** {error}\n");
    }
    if verdict.models.is_empty() && verdict.errors.is_empty() {
        text += "\nNothing was compared.\n";
    }
    text
}

fn model_section(model: &ModelVerdict) -> String {
    let ModelVerdict { format, encoding, device, compute, .. } = model;
    let origin = match model.source_sha256.as_str() {
        "" => "saved by MLX".to_string(),
        digest => format!("made from checkpoint `{digest}`"),
    };
    let mut text = format!(
        "\n### {}\n\n{format} format, {encoding} weights, {compute} arithmetic on {device}; {origin}\n\n**{}**\n",
        code(&model.model.display().to_string()),
        escape(&verdict_lines(model)),
    );
    for comparison in &model.comparisons {
        text += &format!("\n{}\n\n", escape(&headline(comparison)));
        if let Some(reason) = &comparison.tolerance.below_floor {
            text += &format!("**A floor is lowered:** {}\n\n", escape(reason));
        }
        text += &table_row(&COLUMNS.map(escape));
        text += &table_row(&["---:", "---:", "---:", "---:", "---:", "---"].map(String::from));
        for layer in &comparison.layers {
            text += &table_row(&row(layer).map(|cell| escape(&cell)));
        }
    }
    for worst in &model.worst {
        text += &format!("\n{}\n", escape(&worst_line(worst)));
    }
    for note in &model.notes {
        text += &format!("\n> {}\n", escape(note));
    }
    text
}

fn table_row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Renders text as a code span, whose fence is longer than any run of backticks in the text.
fn code(text: &str) -> String {
    let text = printable_line(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // Markdown strips one space on each side; it separates the fence from a backtick.
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// Escapes text for Markdown, including table cells; line breaks become `<br>`.
fn escape(text: &str) -> String {
    let text = printable(text);
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let inside_word = before.is_alphanumeric() && characters.peek().is_some_and(|c| c.is_alphanumeric());
        match c {
            '\n' => escaped += "<br>",
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' | '#' => escaped.extend(['\\', c]),
            // An underscore within a word is not emphasis.
            '_' if !inside_word => escaped += "\\_",
            c => escaped.push(c),
        }
        before = c;
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_stays_text() {
        assert_eq!(escape("a|b <x> *y* `z` [l](u) &lt;"), "a\\|b &lt;x> \\*y\\* \\`z\\` \\[l\\](u) &amp;lt;");
        assert_eq!(escape("hidden_states_f16 _a_\n#"), "hidden_states_f16 \\_a\\_<br>\\#");
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("`a``"), "``` `a`` ```");
        assert_eq!(code("a\nb"), "`a\\nb`");
    }
}
