//! The report as an HTML page: what failed, where in the network and where in the music. One file that loads nothing, needs no
//! script, and is well-formed XML, so that programs read it, too.
//!
//! `markup.rs` has the elements, `plot.rs` and `scale.rs` the frame of every plot; `layers_plot.rs` draws errors over hidden
//! states, `frames_plot.rs` over frames, and `passage.rs` the sound around the worst frame.

mod comparison;
mod frames_plot;
mod layers_plot;
mod markup;
mod model;
mod passage;
mod plot;
mod scale;
#[cfg(test)]
mod tests;

use self::markup::{Element, el};
use crate::gate::{ModelError, ModelVerdict, Outcome, Verdict};

/// The style sheet of the page.
const STYLE: &str = include_str!("style.css");

/// What the page may load: nothing but its own styles and the images that are in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The terms of the page.
const TERMS: [(&str, &str); 7] = [
    ("hidden state", "0 enters the first layer, i is the output of layer i"),
    ("NMSE", "the energy of the error over the energy of the reference"),
    ("pooled cosine", "the cosine between the means over frames of model and reference"),
    ("frame cosine", "the cosine between two corresponding frames; the lowest one counts"),
    ("max |Δ|", "the largest difference; its limit is a fraction of the largest value of the reference"),
    (
        "structure",
        "is it the same function? The reference has the same weights as the model, and only the order of sums differs",
    ),
    ("rounding", "what did 16 bits, or fewer, cost? The reference has the original weights"),
];

/// Renders the full verdict as an HTML page. Its plots of single frames and of sound need
/// [`keep_frames`](crate::gate::CompareOptions::keep_frames); without, the page says that they are not there.
pub fn to_html(verdict: &Verdict) -> String {
    let (class, words) = outcome(verdict);
    let subject =
        verdict.models.iter().map(|model| &model.model).chain(verdict.errors.iter().map(|error| &error.model)).next();
    let subject = subject.map_or(String::new(), |path| format!(" – {}", path.display()));
    let head = el("head")
        .child(el("meta").attr("charset", "utf-8"))
        .child(el("meta").attr("name", "viewport").attr("content", "width=device-width, initial-scale=1"))
        .child(el("meta").attr("name", "color-scheme").attr("content", "light dark"))
        .child(el("meta").attr("http-equiv", "Content-Security-Policy").attr("content", POLICY))
        .child(el("title").text(format!("mert-verify: {words}{subject}")))
        .child(el("style").style_sheet(STYLE));
    let banner =
        el("header").class(class).child(el("h1").text(format!("mert-verify: {words}"))).children(summary(verdict));
    let main = el("main").children(errors(&verdict.errors)).children(
        verdict.models.iter().enumerate().map(|(index, found)| model::section(found, index, verdict.passed())),
    );
    let body = el("body").child(banner).child(main).child(footer());
    let page = el("html").attr("lang", "en").child(head).child(body);
    format!("<!DOCTYPE html>\n{}", page.render())
}

/// The outcome of the run as a class and words.
fn outcome(verdict: &Verdict) -> (&'static str, &'static str) {
    let failed = verdict.models.iter().any(|model| model.outcome() == Outcome::Failed);
    match (verdict.outcome(), failed, verdict.models.is_empty()) {
        (Outcome::Incomplete, true, _) => ("bad", "✗ FAILED, and not completely checked"),
        (Outcome::Incomplete, false, true) => ("incomplete", "? COULD NOT BE CHECKED"),
        (found, ..) => model::outcome_words(found),
    }
}

/// The lines of the banner: one for each model, with a link where there are several.
fn summary(verdict: &Verdict) -> Vec<Element> {
    if verdict.models.is_empty() && verdict.errors.is_empty() {
        return vec![el("p").text("Nothing was compared.")];
    }
    let mut lines: Vec<Element> =
        verdict.models.iter().enumerate().map(|(index, found)| model_line(found, index)).collect();
    if !verdict.errors.is_empty() {
        let text = match verdict.errors.len() {
            1 => "One error: not everything could be checked.".to_string(),
            several => format!("{several} errors: not everything could be checked."),
        };
        lines.push(el("p").child(el("a").attr("href", "#errors").text(text)));
    }
    lines
}

/// A model's verdict in a line, with the place of its first failure.
fn model_line(found: &ModelVerdict, index: usize) -> Element {
    let (_, words) = model::outcome_words(found.outcome());
    let link = el("a").attr("href", format!("#{}", model::anchor(index))).text(found.model.display());
    let mut line = el("p").text(format!("{words}: ")).child(link);
    let failed = found.comparisons.iter().filter(|comparison| !comparison.passed()).count();
    if failed > 0 {
        line = line.text(format!(" – {failed} of {} comparisons failed", found.comparisons.len()));
    }
    if let Some(layer) = found.first_bad_layer() {
        line = line.text(format!(", the first bad hidden state is {layer}"));
    }
    let first_bad = found.comparisons.iter().find(|comparison| !comparison.passed());
    if let Some(text) = first_bad.and_then(|bad| passage::worst_frame_text(bad.frames.as_ref()?)) {
        line = line.text(format!("; the worst is {text}"));
    }
    line
}

/// What could not be checked.
fn errors(errors: &[ModelError]) -> Option<Element> {
    let item = |error: &ModelError| {
        el("li").child(el("span").class("name").text(error.model.display())).text(format!(": {}", error.error))
    };
    let list = el("ul").children(errors.iter().map(item));
    let heading = el("h2").child(el("span").class("badge incomplete").text("?")).text(" Could not be checked");
    (!errors.is_empty()).then(|| el("section").attr("id", "errors").child(heading).child(list))
}

fn footer() -> Element {
    let term = |(name, meaning): (&str, &str)| el("div").child(el("dt").text(name)).child(el("dd").text(meaning));
    let terms = el("details")
        .child(el("summary").text("What the terms mean"))
        .child(el("dl").class("facts").children(TERMS.map(term)));
    let generator = concat!("mert-verify ", env!("CARGO_PKG_VERSION"));
    el("footer").child(terms).child(el("p").class("quiet").text(format!("Written by {generator}.")))
}
