//! The errors over the hidden states, a plot for each measure with its limits as lines: where in the network a model differs.

use super::markup::{Element, el};
use super::plot::{Plot, Tick, curve, line_across, percent, text};
use super::scale::LogScale;
use crate::gate::{Comparison, LayerVerdict};
use crate::metrics::LayerMetrics;

const HEIGHT: u32 = 190;

/// The most labels of hidden states.
const MAX_LABELS: usize = 13;

/// The distance in pixels below which the labels of two limits would touch.
const LABEL_HEIGHT: f64 = 14.0;

/// A measure over the hidden states, and its limit.
struct Series {
    /// The name in the legend and in the labels of limits.
    name: &'static str,
    /// The class, which gives colour and shape.
    class: &'static str,
    value: fn(&LayerMetrics) -> f64,
    limit: f64,
    /// The gate's condition that a value is within the limit.
    within: fn(&LayerMetrics, &Comparison) -> bool,
}

/// The plots of a comparison.
pub(super) fn plots(comparison: &Comparison) -> Element {
    let limits = &comparison.tolerance.limits;
    let nmse = Series {
        name: "NMSE",
        class: "first",
        value: |m| m.nmse,
        limit: limits.nmse,
        within: |m, c| m.nmse <= c.tolerance.limits.nmse,
    };
    let pooled = Series {
        name: "pooled",
        class: "first",
        value: |m| 1.0 - m.pooled_cosine,
        limit: 1.0 - limits.pooled_cosine,
        within: |m, c| m.pooled_cosine > c.tolerance.limits.pooled_cosine,
    };
    let frame = Series {
        name: "worst frame",
        class: "second",
        value: |m| 1.0 - m.min_frame_cosine,
        limit: 1.0 - limits.frame_cosine,
        within: |m, c| m.min_frame_cosine >= c.tolerance.limits.frame_cosine,
    };
    let max = Series {
        name: "max |Δ|",
        class: "first",
        value: LayerMetrics::relative_max_abs_diff,
        limit: limits.max_abs_diff,
        within: |m, c| m.relative_max_abs_diff() <= c.tolerance.limits.max_abs_diff,
    };
    el("div")
        .class("charts")
        .child(chart(comparison, "NMSE", &[nmse]))
        .child(chart(comparison, "1 − cosine", &[pooled, frame]))
        .child(chart(comparison, "max |Δ| of the largest value", &[max]))
}

fn chart(comparison: &Comparison, title: &str, series: &[Series]) -> Element {
    let layers = &comparison.layers;
    let measured =
        |series: &Series| layers.iter().filter_map(|l| l.metrics.as_ref()).map(series.value).collect::<Vec<_>>();
    let limits: Vec<f64> = series.iter().map(|series| series.limit).collect();
    let scale = LogScale::of(series.iter().flat_map(measured), &limits);
    let height = f64::from(HEIGHT);
    let (mut marks, labels) = limit_lines(series, &scale);
    for series in series {
        let points = layers.iter().map(|layer| {
            (across(layers, layer), layer.metrics.as_ref().map(|m| scale.place((series.value)(m)) * height))
        });
        marks.push(curve(points, HEIGHT, &format!("curve {}", series.class)));
        marks.extend(layers.iter().map(|layer| mark(comparison, series, layer, &scale)));
    }
    marks.extend(labels);
    let description = format!("{title} by hidden state: {}", series_text(comparison, series));
    let y = scale.ticks();
    let x = (ticks(layers), "hidden state");
    let plot = Plot { description, height: HEIGHT, x, y, grid: true, marks }.render();
    let caption = el("figcaption").child(el("strong").text(title)).child(legend(series));
    el("figure").child(caption).child(plot)
}

/// The names of several series beside their marks.
fn legend(series: &[Series]) -> Element {
    let mut legend = el("span").class("legend");
    if series.len() > 1 {
        for Series { name, class, .. } in series {
            let key = el("svg").attr("width", 14).attr("height", 14).attr("aria-hidden", "true");
            legend = legend.child(key.child(shape(class, "50%", 7.0))).text(format!(" {name} "));
        }
    }
    legend
}

/// The sentence that tells what a plot shows.
fn series_text(comparison: &Comparison, series: &[Series]) -> String {
    let text_of = |series: &Series| {
        let measured: Vec<&LayerMetrics> =
            comparison.layers.iter().filter_map(|layer| layer.metrics.as_ref()).collect();
        let beyond = measured.iter().filter(|metrics| !(series.within)(metrics, comparison)).count();
        let missing = comparison.layers.len() - measured.len();
        let largest =
            measured.iter().map(|m| (series.value)(m)).max_by(|a, b| a.is_nan().cmp(&b.is_nan()).then(a.total_cmp(b)));
        let largest = largest.map_or("nothing measured".to_string(), |value| format!("largest {value:.1e}"));
        let missing = if missing == 0 { String::new() } else { format!(", {missing} not compared") };
        format!(
            "{}: {largest}, limit {:.1e}, {beyond} of {} beyond it{missing}",
            series.name,
            series.limit,
            comparison.layers.len()
        )
    };
    series.iter().map(text_of).collect::<Vec<_>>().join("; ")
}

/// The limits as lines, and their labels, which are drawn last. Of two lines that are close, the labels stand on both sides.
fn limit_lines(series: &[Series], scale: &LogScale) -> (Vec<Element>, Vec<Element>) {
    let height = |series: &Series| scale.place(series.limit) * f64::from(HEIGHT);
    let equal = series.windows(2).all(|pair| pair[0].limit == pair[1].limit);
    let shown = if equal { &series[..series.len().min(1)] } else { series };
    let lines = shown.iter().map(|series| line_across(height(series)).class(&format!("limit {}", series.class)));
    let label = |series: &Series| {
        let y = height(series);
        let close = |other: &Series| height(other) < y && y - height(other) < 2.0 * LABEL_HEIGHT;
        let below = y < LABEL_HEIGHT || shown.iter().any(close);
        let baseline = if below { y + 13.0 } else { y - 5.0 };
        let name = if shown.len() == 1 { String::new() } else { format!("{} ", series.name) };
        // On the left: errors grow from layer to layer.
        text("1%", &format!("{baseline:.1}"), format!("limit {name}{:.1e}", series.limit)).class("limit-label")
    };
    (lines.collect(), shown.iter().map(label).collect())
}

/// The mark of a hidden state, ringed if it is beyond the limit; a cross at the top if it could not be compared.
fn mark(comparison: &Comparison, series: &Series, layer: &LayerVerdict, scale: &LogScale) -> Element {
    let x = percent(across(&comparison.layers, layer));
    let Some(metrics) = &layer.metrics else {
        let title = el("title").text(format!("hidden state {}: not compared", layer.layer));
        return el("g").child(title).child(text(&x, "12", "×").class("missing"));
    };
    let value = (series.value)(metrics);
    let y = scale.place(value) * f64::from(HEIGHT);
    let within = (series.within)(metrics, comparison);
    let verdict = if within { "within the limit" } else { "beyond the limit" };
    let title = format!("hidden state {}: {} {value:.2e}, {verdict}", layer.layer, series.name);
    let mut group = el("g").child(el("title").text(title)).child(shape(series.class, &x, y));
    if !within {
        group = group.child(el("circle").class("ring").attr("cx", &x).attr("cy", format!("{y:.1}")).attr("r", 7));
    }
    group
}

/// The shape of a series: discs for the first, squares for the second.
fn shape(class: &str, x: &str, y: f64) -> Element {
    let y = format!("{y:.1}");
    if class == "first" {
        return el("circle").class("mark first").attr("cx", x).attr("cy", y).attr("r", 3.5);
    }
    let square = el("rect").class("mark second").attr("x", x).attr("y", y).attr("width", 6.5).attr("height", 6.5);
    square.attr("transform", "translate(-3.25 -3.25)")
}

/// The place of a hidden state across.
fn across(layers: &[LayerVerdict], layer: &LayerVerdict) -> f64 {
    let (first, last) = (layers.first().map_or(0, |l| l.layer), layers.last().map_or(0, |l| l.layer));
    if last <= first {
        return 0.5;
    }
    0.04 + 0.92 * (layer.layer.saturating_sub(first) as f64 / (last - first) as f64)
}

fn ticks(layers: &[LayerVerdict]) -> Vec<Tick> {
    let step = layers.len().div_ceil(MAX_LABELS).max(1);
    layers.iter().step_by(step).map(|layer| (across(layers, layer), layer.layer.to_string())).collect()
}
