//! The passage of the clip around the worst frame as a spectrogram, with the worst frames marked on its time axis, and the
//! table of these frames.

use mert_plots::{PlotsError, Spectrogram, SpectrogramBuilder, logarithmic_ticks, number as digits};

use super::markup::{Element, el, number};
use super::plot::{Plot, Tick, line, percent, seconds, text};
use crate::gate::{Comparison, FrameDistance, FrameRecord};
use crate::metrics::Cosine;

/// The number of frames that are listed and marked.
const WORST: usize = 8;

const HEIGHT: u32 = 200;

/// The distance across below which two labels would touch on a phone.
const LABEL_WIDTH: f64 = 0.045;

/// The frames to list: those beyond the limit, or if there are none, those that are closest to it.
fn listed(comparison: &Comparison, record: &FrameRecord) -> Vec<FrameDistance> {
    let mut frames = record.worst(WORST);
    let beyond = frames.iter().filter(|frame| !is_within(comparison, frame)).count();
    if beyond > 0 {
        frames.truncate(beyond);
    }
    frames
}

/// Whether a frame is within the limit of frames; NaN is not.
pub(super) fn is_within(comparison: &Comparison, frame: &FrameDistance) -> bool {
    frame.cosine >= comparison.tolerance.limits.frame_cosine
}

/// The spectrogram, or the reason why there is none.
pub(super) fn plot(comparison: &Comparison, record: &FrameRecord) -> Element {
    if record.passage.is_empty() {
        return el("p").class("absent").text("The clip is not available, so that no spectrogram of it can be drawn.");
    }
    match spectrogram(record) {
        Ok(spectrogram) => match spectrogram.png_data_uri() {
            Ok(uri) => figure(record, &spectrogram, uri, &listed(comparison, record)),
            Err(error) => absent(&error),
        },
        Err(error) => absent(&error),
    }
}

fn absent(error: &PlotsError) -> Element {
    el("p").class("absent").text(format!("The spectrogram of the clip cannot be drawn: {error}."))
}

fn spectrogram(record: &FrameRecord) -> Result<Spectrogram, PlotsError> {
    let mut builder =
        SpectrogramBuilder::new(record.times.sampling_rate, 0.0, record.times.seconds(record.passage.len()))?;
    builder.push(&record.passage);
    Ok(builder.finish())
}

fn figure(record: &FrameRecord, spectrogram: &Spectrogram, uri: String, frames: &[FrameDistance]) -> Element {
    let start = record.times.seconds(record.passage_start);
    let end = start + record.times.seconds(record.passage.len());
    let height = f64::from(HEIGHT);
    let image = el("image")
        .class("sound")
        .attr("width", "100%")
        .attr("height", HEIGHT)
        .attr("preserveAspectRatio", "none")
        .attr("href", uri);
    let mut marks = vec![image];
    let mut labels: Vec<f64> = Vec::new();
    for (rank, worst) in frames.iter().enumerate() {
        let place = (record.times.middle(worst.frame) - start) / (end - start);
        if !(0.0..=1.0).contains(&place) {
            continue;
        }
        let x = percent(place);
        let title = el("title").text(frame_text(record, worst));
        let bar = line((&x, "0"), (&x, &HEIGHT.to_string())).class("worst-frame");
        let mut group = el("g").child(title).child(bar);
        // The rank is written where it does not touch that of a worse frame.
        if labels.iter().all(|other| (other - place).abs() > LABEL_WIDTH) {
            labels.push(place);
            group = group.child(text(&x, "-4", format!("▾{}", rank + 1)).class("rank"));
        }
        marks.push(group);
    }
    let range = spectrogram.frequencies();
    let octave = |frequency: f64| 1.0 - (frequency / range.start).ln() / (range.end / range.start).ln();
    let y: Vec<Tick> = logarithmic_ticks(&range)
        .into_iter()
        .map(|tick| (octave(tick), if tick < 1000.0 { digits(tick) } else { format!("{}k", digits(tick / 1000.0)) }))
        .filter(|(place, _)| (4.0..height - 4.0).contains(&(place * height)))
        .collect();
    let silent = if spectrogram.is_silent() { " It is silent." } else { "" };
    let description =
        format!("Spectrogram of the clip from {start:.2} to {end:.2} s with the worst frames marked.{silent}");
    let caption = el("figcaption").child(el("strong").text("The worst passage")).text(format!(
        " – spectrogram of the clip from {start:.2} to {end:.2} s, frequencies (Hz) upwards, dark is loud (80 dB; light in the dark \
         scheme). Lines mark those of the worst frames that lie in it, numbered as in the table.{silent}"
    ));
    let x = (seconds(start, end, 6), "time in the clip (s)");
    let plot = Plot { description, height: HEIGHT, x, y, grid: false, marks }.render();
    el("figure").class("passage").child(caption).child(plot)
}

fn frame_text(record: &FrameRecord, worst: &FrameDistance) -> String {
    let FrameDistance { hidden_state, frame, cosine } = worst;
    let time = record.times.middle(*frame);
    format!("frame {frame} at {time:.3} s, hidden state {hidden_state}: cosine {}", Cosine(*cosine))
}

/// The sentence about the worst frame.
pub(super) fn worst_frame_text(record: &FrameRecord) -> Option<String> {
    record.worst(1).first().map(|worst| frame_text(record, worst))
}

/// The table of the worst frames.
pub(super) fn table(comparison: &Comparison, record: &FrameRecord) -> Element {
    let heads = ["", "frame", "time (s)", "hidden state", "cosine", "1 − cosine", "verdict"];
    let head = el("tr").children(heads.map(|head| el("th").attr("scope", "col").text(head)));
    let row = |(rank, worst): (usize, &FrameDistance)| {
        let FrameDistance { hidden_state, frame, cosine } = *worst;
        let time = record.times.middle(frame);
        let within = is_within(comparison, worst);
        el("tr")
            .class(if within { "ok" } else { "bad" })
            .child(el("th").attr("scope", "row").text(rank + 1))
            .child(el("td").text(frame))
            .child(el("td").child(number(time, format!("{time:.3}"))))
            .child(el("td").text(hidden_state))
            .child(el("td").child(number(cosine, Cosine(cosine))))
            .child(el("td").child(number(1.0 - cosine, format!("{:.1e}", 1.0 - cosine))))
            .child(el("td").class("verdict").text(if within { "ok" } else { "FAIL" }))
    };
    let table = el("table")
        .class("worst-frames")
        .child(el("caption").text("The worst frames, of each frame in its worst hidden state"))
        .child(el("thead").child(head))
        .child(el("tbody").children(listed(comparison, record).iter().enumerate().map(row)));
    let receptive_field = record.times.seconds(record.times.receptive_field);
    let note = format!(
        "Times are from the start of the clip to the middle of the {receptive_field:.3} s of samples that the feature extractor \
         computes a frame from. Attention mixes frames: a frame may be wrong because of another one."
    );
    el("div").child(el("div").class("scroll").child(table)).child(el("p").class("quiet").text(note))
}
