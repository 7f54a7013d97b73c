//! The part of a model: what was judged and how, the verdict with its notes, and its comparisons.

use super::comparison;
use super::markup::{Element, el, number};
use crate::gate::{Comparison, ForwardTime, ModelVerdict, Outcome, WeightsVerdict};
use crate::report::summary::{verdict_lines, worst_line};

/// The number of comparisons up to which those that passed are unfolded, too.
const MAX_OPEN: usize = 4;

/// The outcome as a class and the words of a headline.
pub(super) fn outcome_words(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Passed => ("ok", "✓ passed"),
        Outcome::Failed => ("bad", "✗ FAILED"),
        Outcome::Incomplete => ("incomplete", "? NOT COMPLETELY CHECKED"),
    }
}

/// The part of the model of this number, with all of its comparisons unfolded if they are few and the whole run passed.
pub(super) fn section(model: &ModelVerdict, index: usize, run_passed: bool) -> Element {
    let id = anchor(index);
    let (class, words) = outcome_words(model.outcome());
    let badge = el("span").class(&format!("badge {class}")).text(words);
    let heading = el("h2").child(badge).text(" ").child(el("span").class("name").text(model.model.display()));
    let mut section = el("section").attr("id", &id).child(heading);
    for (at, line) in verdict_lines(model).lines().enumerate() {
        section = section.child(el("p").class(if at == 0 { "verdict-line" } else { "reason" }).text(line));
    }
    for error in &model.errors {
        let strong = el("strong").text("Could not be compared:");
        section = section.child(el("p").class("notice").child(strong).text(format!(" {error}")));
    }
    section = section.children(model.worst.iter().map(|worst| el("p").text(worst_line(worst))));
    section = section.children(notes(model)).child(facts(model));
    section = section.children(model.weights.as_ref().map(weights));
    if model.comparisons.len() > 1 {
        section = section.child(contents(model, &id));
    }
    let open_all = model.comparisons.len() <= MAX_OPEN && run_passed;
    let comparisons = model.comparisons.iter().enumerate().map(|(at, comparison)| {
        let open = open_all || !comparison.passed() || model.comparisons.len() == 1;
        comparison::section(comparison, &comparison_anchor(&id, at), open)
    });
    section.children(comparisons)
}

/// The fragment that leads to a model.
pub(super) fn anchor(index: usize) -> String {
    format!("model-{}", index + 1)
}

fn comparison_anchor(model: &str, index: usize) -> String {
    format!("{model}-comparison-{}", index + 1)
}

fn notes(model: &ModelVerdict) -> Option<Element> {
    let list = el("ul").class("notes").children(model.notes.iter().map(|note| el("li").text(note)));
    (!model.notes.is_empty()).then(|| el("div").child(el("h3").text("Notes")).child(list))
}

/// What was judged, and how.
fn facts(model: &ModelVerdict) -> Element {
    let ModelVerdict { format, dtype, encoding, source_sha256, device, compute, timings, .. } = model;
    let origin = match source_sha256.as_str() {
        "" => el("span").text("not recorded: saved by MLX"),
        digest => el("code").text(digest),
    };
    let row = |name: &str, value: Element| el("div").child(el("dt").text(name)).child(el("dd").child(value));
    let word = |value: String| el("span").text(value);
    let mut list = el("dl")
        .class("facts")
        .child(row("format", word((*format).to_string())))
        .child(row("weights", word(format!("{encoding}, floats in {dtype}"))))
        .child(row("arithmetic", word(compute.to_string())))
        .child(row("device", word(device.clone())))
        .child(row("SHA-256 of the original checkpoint", origin));
    if !timings.is_empty() {
        list = list.child(row("forward pass", timings_list(model)));
    }
    list
}

/// The duration of each forward pass.
fn timings_list(model: &ModelVerdict) -> Element {
    let item = |time: &ForwardTime| {
        el("li")
            .child(el("data").attr("value", time.samples).text(time.samples))
            .text(" samples in ")
            .child(number(time.seconds, format!("{:.3}", time.seconds)))
            .text(format!(" s: {}", time.reference))
    };
    el("ul").class("timings").children(model.timings.iter().map(item))
}

/// The verdict on the quantized weights themselves.
fn weights(weights: &WeightsVerdict) -> Element {
    let WeightsVerdict { codes, tensors, values, different, failed, .. } = weights;
    let text = format!(
        "Codes of the quantized weights, judged as {codes}: {different} of {values} values of {tensors} tensors are not what \
         mx.quantize makes of the original on the CPU."
    );
    let mut part = el("div").child(el("h3").text("Quantized weights")).child(el("p").text(text));
    if !failed.is_empty() {
        let names = failed.iter().map(|name| el("li").child(el("code").text(name)));
        part = part.child(el("p").class("reason").text("Failed:")).child(el("ul").children(names));
    }
    part
}

/// The comparisons with their verdicts, as links.
fn contents(model: &ModelVerdict, id: &str) -> Element {
    let row = |(at, found): (usize, &Comparison)| {
        let link = el("a").attr("href", format!("#{}", comparison_anchor(id, at))).text(&found.reference);
        let failed = found.layers.iter().filter(|layer| !layer.passed()).count();
        let first = found.first_bad_layer().map_or("–".to_string(), |layer| layer.to_string());
        el("tr")
            .child(el("th").attr("scope", "row").child(link))
            .child(el("td").text(found.question.name()))
            .child(el("td").text(found.output.name()))
            .child(el("td").text(format!("{failed} of {}", found.layers.len())))
            .child(el("td").text(first))
            .child(el("td").child(comparison::badge(found.passed())))
    };
    let heads = ["reference", "question", "output", "bad hidden states", "the first", "verdict"];
    let table = el("table")
        .class("contents")
        .child(el("caption").text("Comparisons"))
        .child(el("thead").child(el("tr").children(heads.map(|head| el("th").attr("scope", "col").text(head)))))
        .child(el("tbody").children(model.comparisons.iter().enumerate().map(row)));
    el("div").class("scroll").child(table)
}
