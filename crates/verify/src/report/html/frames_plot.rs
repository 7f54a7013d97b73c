//! The distances of single frames over the clip: every hidden state as a row of a map, and the worst one as a curve. Where in
//! the network and where in the music a model differs.

use mert_plots::png_data_uri;

use super::markup::{Element, el};
use super::passage::is_within;
use super::plot::{Plot, Tick, curve, line, line_across, percent, seconds, text};
use super::scale::LogScale;
use crate::gate::{Comparison, FrameRecord};

/// The most columns of a map and points of a curve.
const MAX_COLUMNS: usize = 1000;

/// The height of a row of the map, of all rows, and of the curve, in pixels.
const ROW: usize = 15;
const MAX_MAP: usize = 320;
const CURVE: u32 = 130;

/// The height that a label of the map takes, in pixels.
const LABEL: usize = 14;

/// The steps of the map's colours on each side of the limit, and the decades that they cover.
const STEPS: usize = 16;
const DECADES: f64 = 6.0;

/// The colours at the ends of both sides: white to blue within the limit, orange to dark red beyond it.
const WITHIN: [[u8; 3]; 2] = [[0xF7, 0xFB, 0xFF], [0x8F, 0xC1, 0xE3]];
const BEYOND: [[u8; 3]; 2] = [[0xFD, 0xA3, 0x4B], [0x8C, 0x1D, 0x04]];
const NOT_A_NUMBER: [u8; 3] = [0, 0, 0];
const NOT_COMPARED: [u8; 3] = [0xB4, 0xB4, 0xB4];

/// The lowest cosines of at most [`MAX_COLUMNS`] parts of equal length.
fn columns(cosines: &[f64]) -> Vec<f64> {
    let count = cosines.len().min(MAX_COLUMNS);
    let lowest = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) };
    (0..count)
        .map(|part| {
            let part = &cosines[part * cosines.len() / count..(part + 1) * cosines.len() / count];
            part.iter().copied().fold(f64::INFINITY, lowest)
        })
        .collect()
}

/// The frames of a comparison as a map and a curve over the same time.
pub(super) fn plots(comparison: &Comparison, record: &FrameRecord) -> Element {
    let mut figure = el("figure").child(caption(record)).child(map(comparison, record)).child(map_legend());
    if let Some(worst) = record.worst(1).first() {
        let mut states = vec![worst.hidden_state];
        states.extend(comparison.first_bad_layer().filter(|first| !states.contains(first)));
        states.retain(|state| record.cosines.contains_key(state));
        figure = figure.child(curves(comparison, record, &states));
    }
    figure
}

fn caption(record: &FrameRecord) -> Element {
    let per_column = record.frames().div_ceil(MAX_COLUMNS);
    let merged =
        if per_column > 1 { format!(" A column is the worst of up to {per_column} frames.") } else { String::new() };
    let frames = record.frames();
    el("figcaption")
        .child(el("strong").text("1 − cosine of each frame over the clip"))
        .text(format!(" – hidden states upwards, {frames} frames from left to right.{merged}"))
}

/// The place across of a time in seconds, and of a frame's borders.
fn across(record: &FrameRecord, seconds: f64) -> f64 {
    let length = record.times.seconds(record.clip_samples);
    if length > 0.0 { (seconds / length).clamp(0.0, 1.0) } else { 0.0 }
}

/// The times at which the first frame begins and the last one ends, as long as the hop each.
fn span(record: &FrameRecord) -> (f64, f64) {
    let half = record.times.seconds(record.times.hop) / 2.0;
    let last = record.frames().saturating_sub(1);
    (record.times.middle(0) - half, record.times.middle(last) + half)
}

/// The width of the map, and its colours: rows of the hidden states `layers` from the last to the first.
pub(super) fn cells(record: &FrameRecord, layers: &[usize], limit: f64) -> (usize, Vec<u8>) {
    let width = record.frames().min(MAX_COLUMNS);
    let mut cells = Vec::with_capacity(width * layers.len());
    for layer in layers.iter().rev() {
        match record.cosines.get(layer).map(|cosines| columns(cosines)) {
            Some(columns) if columns.len() == width => {
                cells.extend(columns.iter().map(|cosine| color(1.0 - cosine, limit)))
            }
            _ => cells.extend(std::iter::repeat_n((2 * STEPS + 1) as u8, width)),
        }
    }
    (width, cells)
}

fn map(comparison: &Comparison, record: &FrameRecord) -> Element {
    let layers: Vec<usize> = comparison.layers.iter().map(|layer| layer.layer).collect();
    let rows = layers.len().max(1);
    let height = (rows * ROW).clamp(ROW * 3, MAX_MAP) as u32;
    let limit = 1.0 - comparison.tolerance.limits.frame_cosine;
    let (width, cells) = cells(record, &layers, limit);
    let mut marks = Vec::new();
    if let Ok(uri) = png_data_uri((width, rows), &cells, palette()) {
        let (start, end) = span(record);
        let (left, right) = (across(record, start), across(record, end));
        marks.push(
            el("image")
                .class("map")
                .attr("x", percent(left))
                .attr("y", 0)
                .attr("width", percent(right - left))
                .attr("height", height)
                .attr("preserveAspectRatio", "none")
                .attr("href", uri),
        );
    }
    let row = |index: usize| 1.0 - (index as f64 + 0.5) / rows as f64;
    let step = (rows * LABEL).div_ceil(height as usize).max(1);
    let y: Vec<Tick> =
        layers.iter().enumerate().step_by(step).map(|(at, layer)| (row(at), layer.to_string())).collect();
    let place = |hidden_state: usize| layers.iter().position(|layer| *layer == hidden_state).map(row);
    let worst = record.worst(1).first().copied();
    if let Some((worst, y)) = worst.and_then(|worst| Some((worst, place(worst.hidden_state)?))) {
        let x = percent(across(record, record.times.middle(worst.frame)));
        let y = format!("{:.1}", y * f64::from(height));
        marks.push(el("circle").class("worst-cell outer").attr("cx", &x).attr("cy", &y).attr("r", 8));
        marks.push(el("circle").class("worst-cell").attr("cx", &x).attr("cy", &y).attr("r", 8));
    }
    let beyond = record.lowest().iter().filter(|lowest| !is_within(comparison, lowest)).count();
    let worst = worst.map_or(String::new(), |worst| {
        let time = record.times.middle(worst.frame);
        format!("; the worst is frame {} at {time:.2} s in hidden state {}", worst.frame, worst.hidden_state)
    });
    let description = format!(
        "Map of 1 − cosine by hidden state and time: {beyond} of {} frames are beyond the limit {limit:.1e} in a hidden \
         state{worst}",
        record.frames()
    );
    let x = (time_ticks(record), "time in the clip (s)");
    Plot { description, height, x, y, grid: false, marks }.render()
}

fn time_ticks(record: &FrameRecord) -> Vec<Tick> {
    seconds(0.0, record.times.seconds(record.clip_samples), 6)
}

/// The colour of a distance: its place on one of the sides of the limit, by decades.
fn color(distance: f64, limit: f64) -> u8 {
    if distance.is_nan() {
        return (2 * STEPS) as u8;
    }
    let step = |part: f64| (part.clamp(0.0, 1.0) * (STEPS - 1) as f64).round() as u8;
    let decades = (distance.max(f64::MIN_POSITIVE) / limit.max(1e-16)).log10();
    if distance <= limit { step(1.0 + decades / DECADES) } else { STEPS as u8 + step(decades / DECADES) }
}

fn palette() -> Vec<u8> {
    let mix = |[from, to]: [[u8; 3]; 2], step: usize| {
        let part = step as f64 / (STEPS - 1) as f64;
        std::array::from_fn(|i| (f64::from(from[i]) + (f64::from(to[i]) - f64::from(from[i])) * part).round() as u8)
    };
    let within = (0..STEPS).map(|step| mix(WITHIN, step));
    let beyond = (0..STEPS).map(|step| mix(BEYOND, step));
    within.chain(beyond).chain([NOT_A_NUMBER, NOT_COMPARED]).flatten().collect()
}

fn map_legend() -> Element {
    let key = |class: &str, name: &str| {
        el("span")
            .child(el("span").class(&format!("swatch {class}")).attr("aria-hidden", "true"))
            .text(format!(" {name}"))
    };
    el("p")
        .class("legend keys")
        .child(key("within", "within the limit, darker towards it"))
        .child(key("beyond", "beyond it, darker away from it"))
        .child(key("nan", "NaN"))
        .child(key("not-compared", "not compared"))
        .child(key("ring-key", "the worst"))
}

/// The curves of hidden states, the first of which is the worst.
fn curves(comparison: &Comparison, record: &FrameRecord, states: &[usize]) -> Element {
    let limit = 1.0 - comparison.tolerance.limits.frame_cosine;
    let distances: Vec<Vec<f64>> = states
        .iter()
        .filter_map(|state| record.cosines.get(state))
        .map(|cosines| columns(cosines).into_iter().map(|cosine| 1.0 - cosine).collect())
        .collect();
    let scale = LogScale::of(distances.iter().flatten().copied(), &[limit]);
    let height = f64::from(CURVE);
    let (start, end) = span(record);
    let mut marks = Vec::new();
    // The worst lies on top.
    for (distances, class) in distances.iter().zip(["curve fine first", "curve fine second"]).rev() {
        let width = (end - start) / distances.len().max(1) as f64;
        let points = distances.iter().enumerate().map(|(index, distance)| {
            let time = start + (index as f64 + 0.5) * width;
            (across(record, time), Some(scale.place(*distance) * height))
        });
        marks.push(curve(points, CURVE, class));
    }
    let y = scale.place(limit) * height;
    marks.push(line_across(y).class("limit"));
    let baseline = if y < 16.0 { y + 13.0 } else { y - 5.0 };
    marks.push(text("1%", &format!("{baseline:.1}"), format!("limit {limit:.1e}")).class("limit-label"));
    let from = record.times.seconds(record.passage_start);
    let to = from + record.times.seconds(record.passage.len());
    if record.passage.len() < record.clip_samples {
        for edge in [from, to] {
            let x = percent(across(record, edge));
            marks.push(line((&x, "0"), (&x, &CURVE.to_string())).class("passage-edge"));
        }
    }
    let names: Vec<String> = states
        .iter()
        .zip(["solid line: the worst, hidden state", "dashed line: the first that failed, hidden state"])
        .map(|(state, what)| format!("{what} {state}"))
        .collect();
    let names = names.join("; ");
    let passage = if record.passage.len() < record.clip_samples {
        format!("; the vertical lines border the passage below, {from:.2} to {to:.2} s")
    } else {
        String::new()
    };
    let description = format!("1 − cosine of each frame over time, limit {limit:.1e}; {names}");
    let x = (time_ticks(record), "time in the clip (s)");
    let plot = Plot { description, height: CURVE, x, y: scale.ticks(), grid: true, marks }.render();
    el("div").child(el("p").class("legend").text(format!("1 − cosine; {names}{passage}."))).child(plot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_the_worst_frame() {
        let mut cosines = vec![1.0; 2500];
        cosines[1234] = 0.25;
        cosines[2000] = f64::NAN;
        let columns = columns(&cosines);
        assert_eq!(columns.len(), MAX_COLUMNS);
        assert_eq!((columns[493], columns[492], columns[800].is_nan()), (0.25, 1.0, true));
        assert_eq!(super::columns(&[0.5, 1.0]), [0.5, 1.0]);
        assert!(super::columns(&[]).is_empty());
    }

    #[test]
    fn colours_tell_the_sides_of_the_limit_apart() {
        let limit = 1e-8;
        assert_eq!([0.0, -1e-16, limit].map(|distance| color(distance, limit)), [0, 0, 15]);
        assert_eq!([1.1e-8, 1.0, 2.0, f64::INFINITY].map(|distance| color(distance, limit)), [16, 31, 31, 31]);
        assert_eq!(color(f64::NAN, limit), 32);
        assert_eq!((color(0.0, 0.0), color(1e-12, 0.0)), (0, 26));
        assert_eq!(palette().len(), 3 * (2 * STEPS + 2));
    }
}
