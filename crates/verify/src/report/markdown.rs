use super::table::{COLUMNS, headline, row, verdict, worst};
use super::{ModelReport, Report};

impl Report {
    /// Markdown for a pull request or a job summary.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("## mert-verify: {}\n", if self.passed { "passed" } else { "FAILED" });
        for model in &self.models {
            text += &model_section(model);
        }
        for error in &self.errors {
            let (model, error) = (error.model.display(), escape(&error.error));
            text += &format!("\n### `{model}`\n\n**Could not be checked:** {error}\n");
        }
        text
    }
}

fn model_section(model: &ModelReport) -> String {
    let ModelReport { format, dtype, device, compute, .. } = model;
    let mut text = format!(
        "\n### `{}`\n\n{format} format, {dtype} weights, {compute} arithmetic on {device}; made from checkpoint \
         `{}`\n\n**{}**\n",
        model.model.display(),
        model.source_sha256,
        escape(&verdict(model)),
    );
    for comparison in &model.comparisons {
        text += &format!("\n{}\n\n", escape(&headline(comparison)));
        if let Some(reason) = &comparison.tolerance.below_floor {
            text += &format!("**A floor is lowered:** {}\n\n", escape(reason));
        }
        text += &line(&COLUMNS.map(escape));
        text += &line(&["---:", "---:", "---:", "---:", "---:", "---"].map(String::from));
        for layer in &comparison.layers {
            text += &line(&row(layer).map(|cell| escape(&cell)));
        }
    }
    for line in &model.worst {
        text += &format!("\n{}\n", escape(&worst(line)));
    }
    for note in &model.notes {
        text += &format!("\n> {}\n", escape(note));
    }
    text
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A bar would end a table's cell, and file names may hold characters that Markdown reads as markup.
fn escape(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*").replace('\n', "<br>")
}
