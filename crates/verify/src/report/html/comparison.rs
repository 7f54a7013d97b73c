//! The part of a comparison: its verdict, its limits, the plots, and the table of hidden states.

use super::markup::{Element, el, number};
use super::{frames_plot, layers_plot, passage};
use crate::candidate::Output;
use crate::gate::{Comparison, FrameRecord, LayerVerdict, MAX_FRAME_RECORDS};
use crate::metrics::{Cosine, LayerMetrics};
use crate::report::summary::{headline, place_in_network};

/// The part of a comparison, folded unless it is `open`.
pub(super) fn section(comparison: &Comparison, id: &str, open: bool) -> Element {
    let passed = comparison.passed();
    let title =
        format!("{}, {}: against {}", comparison.question.name(), comparison.output.name(), comparison.reference);
    let heading = el("h3").child(badge(passed)).text(format!(" {title}"));
    let mut details =
        el("details").class(if passed { "comparison passed" } else { "comparison failed" }).attr("id", id);
    if open {
        details = details.attr("open", "open");
    }
    details = details.child(el("summary").child(heading)).child(el("p").class("headline").text(headline(comparison)));
    if let Some(reason) = &comparison.tolerance.below_floor {
        let strong = el("strong").text("A floor is lowered:");
        details = details.child(el("p").class("notice").child(strong).text(format!(" {reason}")));
    }
    details = details.children(findings(comparison));
    if comparison.layers.is_empty() {
        return details;
    }
    details = details.child(layers_plot::plots(comparison));
    let (figures, frames) = match &comparison.frames {
        Some(record) if record.frames() > 0 => {
            let figures = vec![frames_plot::plots(comparison, record), passage::plot(comparison, record)];
            (figures, Some(passage::table(comparison, record)))
        }
        _ => (vec![el("p").class("absent").text(why_no_frames(comparison))], None),
    };
    let tables = el("div").class("tables").children(frames).child(limits(comparison));
    details.children(figures).child(tables).child(layers_table(comparison))
}

/// A verdict as a word and a symbol, so that colour is not all that tells it.
pub(super) fn badge(passed: bool) -> Element {
    let (class, text) = if passed { ("badge ok", "✓ passed") } else { ("badge bad", "✗ FAILED") };
    el("span").class(class).text(text)
}

/// The findings to look at first: where in the network and where in the clip the comparison fails.
fn findings(comparison: &Comparison) -> Vec<Element> {
    let layers = &comparison.layers;
    let failed: Vec<&LayerVerdict> = layers.iter().filter(|layer| !layer.passed()).collect();
    let mut lines = Vec::new();
    match failed.first() {
        _ if layers.is_empty() => lines.push(el("p").class("finding bad").text("No hidden state was compared.")),
        None => {
            let text = format!("{} hidden states compared, all within tolerance.", layers.len());
            lines.push(el("p").class("finding").text(text));
        }
        Some(first) => {
            let place = format!("The first bad one is hidden state {}", place_in_network(first.layer));
            let reasons =
                format!(": {}. {} of {} hidden states fail.", first.failures.join("; "), failed.len(), layers.len());
            lines.push(el("p").class("finding bad").child(el("strong").text(place)).text(reasons));
        }
    }
    if let Some(text) = comparison.frames.as_ref().and_then(passage::worst_frame_text) {
        lines.push(el("p").class("finding").child(el("strong").text("The worst: ")).text(format!("{text}.")));
    }
    lines.extend(comparison.frames.as_ref().and_then(nan_frames).map(|text| el("p").class("finding bad").text(text)));
    lines
}

/// The sentence about frames that are not numbers, of which none is worse than another.
fn nan_frames(record: &FrameRecord) -> Option<String> {
    let (count, frames) = (record.lowest().iter().filter(|lowest| lowest.cosine.is_nan()).count(), record.frames());
    match count {
        0 => None,
        all if all == frames => {
            Some("Every frame is NaN in a hidden state, so that no passage is worse than another.".into())
        }
        some => Some(format!("{some} of {frames} frames are NaN in a hidden state.")),
    }
}

fn why_no_frames(comparison: &Comparison) -> String {
    if comparison.output == Output::Pooled {
        return "The model returns a mean over frames here, which has no place in the music: there are no frames to show.".into();
    }
    match &comparison.frames {
        Some(_) => {
            "No hidden state could be compared frame by frame, so that there is no worst passage to show.".into()
        }
        None => format!(
            "The frames of this comparison are not shown: a page has those of at most {MAX_FRAME_RECORDS} comparisons of a model, \
             the failed ones first, then those with the largest NMSE."
        ),
    }
}

/// A measure in the table of limits.
struct Measure {
    name: &'static str,
    /// The limit with its sign.
    sign: &'static str,
    limit: f64,
    is_cosine: bool,
    value: fn(&LayerMetrics) -> f64,
    within: fn(f64, f64) -> bool,
}

/// The limits beside the worst value of each measure.
fn limits(comparison: &Comparison) -> Element {
    let limits = &comparison.tolerance.limits;
    let at_most = |value: f64, limit: f64| value <= limit;
    let measures = [
        Measure {
            name: "pooled cosine",
            sign: ">",
            limit: limits.pooled_cosine,
            is_cosine: true,
            value: |m| m.pooled_cosine,
            within: |value, limit| value > limit,
        },
        Measure {
            name: "lowest frame cosine",
            sign: "≥",
            limit: limits.frame_cosine,
            is_cosine: true,
            value: |m| m.min_frame_cosine,
            within: |value, limit| value >= limit,
        },
        Measure { name: "NMSE", sign: "≤", limit: limits.nmse, is_cosine: false, value: |m| m.nmse, within: at_most },
        Measure {
            name: "max |Δ| of the largest value",
            sign: "≤",
            limit: limits.max_abs_diff,
            is_cosine: false,
            value: LayerMetrics::relative_max_abs_diff,
            within: at_most,
        },
    ];
    let heads = ["measure", "limit", "worst", "in hidden state", "verdict"];
    let head = el("tr").children(heads.map(|head| el("th").attr("scope", "col").text(head)));
    let name = &comparison.tolerance.name;
    let table = el("table")
        .class("limits")
        .child(el("caption").text(format!("Tolerance “{name}”")))
        .child(el("thead").child(head))
        .child(el("tbody").children(measures.iter().map(|measure| limit_row(measure, &comparison.layers))));
    el("div").class("scroll").child(table)
}

fn limit_row(measure: &Measure, layers: &[LayerVerdict]) -> Element {
    let shown = |value: f64| {
        if measure.is_cosine { Cosine(value).to_string() } else { format!("{value:e}") }
    };
    let values = layers.iter().filter_map(|layer| Some((layer.layer, (measure.value)(layer.metrics.as_ref()?))));
    let worst = values.min_by(|(_, a), (_, b)| {
        let order = if measure.is_cosine { a.total_cmp(b) } else { b.total_cmp(a) };
        b.is_nan().cmp(&a.is_nan()).then(order)
    });
    let limit = number(measure.limit, shown(measure.limit));
    let row = el("tr")
        .child(el("th").attr("scope", "row").text(measure.name))
        .child(el("td").text(format!("{} ", measure.sign)).child(limit));
    let Some((layer, value)) = worst else {
        return row.children(["–", "–", "not measured"].map(|cell| el("td").text(cell)));
    };
    let within = (measure.within)(value, measure.limit);
    let text = if measure.is_cosine { Cosine(value).to_string() } else { format!("{value:.1e}") };
    row.class(if within { "ok" } else { "bad" })
        .child(el("td").child(number(value, text)))
        .child(el("td").text(layer))
        .child(el("td").class("verdict").text(if within { "ok" } else { "FAIL" }))
}

/// All that was measured, by hidden state.
fn layers_table(comparison: &Comparison) -> Element {
    let heads = [
        "hidden state",
        "pooled cosine",
        "lowest frame cosine",
        "worst frame",
        "NMSE",
        "max |Δ|",
        "largest value of the reference",
        "NaN or infinite values",
        "of the reference",
        "verdict",
    ];
    let head = el("tr").children(heads.map(|head| el("th").attr("scope", "col").text(head)));
    let rows = comparison.layers.iter().flat_map(|layer| {
        let reasons = (!layer.failures.is_empty()).then(|| reasons_row(layer, heads.len()));
        std::iter::once(layer_row(layer, comparison.frames.as_ref())).chain(reasons)
    });
    let table = el("table")
        .class("layers")
        .child(el("caption").text("Hidden states"))
        .child(el("thead").child(head))
        .child(el("tbody").children(rows));
    let region =
        el("div").class("scroll").attr("tabindex", 0).attr("role", "region").attr("aria-label", "Hidden states");
    region.child(table)
}

fn layer_row(layer: &LayerVerdict, record: Option<&FrameRecord>) -> Element {
    let passed = layer.passed();
    let mut row = el("tr").class(if passed { "ok" } else { "bad" });
    row = row.child(el("th").attr("scope", "row").text(layer.layer));
    row = match &layer.metrics {
        None => row.children((0..8).map(|_| el("td").text("–"))),
        Some(m) => {
            let time =
                record.map(|record| format!(" ({:.2} s)", record.times.middle(m.worst_frame))).unwrap_or_default();
            row.child(el("td").child(number(m.pooled_cosine, Cosine(m.pooled_cosine))))
                .child(el("td").child(number(m.min_frame_cosine, Cosine(m.min_frame_cosine))))
                .child(el("td").child(el("data").attr("value", m.worst_frame).text(m.worst_frame)).text(time))
                .child(el("td").child(number(m.nmse, format!("{:.1e}", m.nmse))))
                .child(el("td").child(number(m.max_abs_diff, format!("{:.1e}", m.max_abs_diff))))
                .child(el("td").child(number(m.max_abs_reference, format!("{:.3}", m.max_abs_reference))))
                .child(el("td").child(el("data").attr("value", m.non_finite).text(m.non_finite)))
                .child(el("td").child(el("data").attr("value", m.non_finite_reference).text(m.non_finite_reference)))
        }
    };
    row.child(el("td").class("verdict").text(if passed { "ok" } else { "FAIL" }))
}

/// The reasons why a hidden state failed, below its row.
fn reasons_row(layer: &LayerVerdict, columns: usize) -> Element {
    let text = el("div").class("sticky").text(layer.failures.join("; "));
    el("tr").class("bad reasons").child(el("td").attr("colspan", columns).child(text))
}
