//! A map as an SVG picture.

use std::collections::HashMap;
use std::fmt::Write;

use super::Map;
use crate::catalogue::Column;

/// The width and height of the picture, and its margin.
const SIZE: f32 = 1000.0;
const MARGIN: f32 = 20.0;

/// Okabe and Ito's colours, which people with any colour vision tell apart; the last is for all other values.
const COLORS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800", "#9a9a9a"];

/// The picture of a map, with a colour for each of the seven most frequent texts of a column.
pub fn svg(map: &Map, title: &str, column: Option<&Column>) -> String {
    let range = |values: &dyn Fn(&(usize, f32, f32)) -> f32| {
        let values = map.points.iter().map(values);
        values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x, y) = (range(&|point| point.1), range(&|point| point.2));
    // One scale for both axes, so that distances are what they are.
    let extent = (x.1 - x.0).max(y.1 - y.0).max(f32::MIN_POSITIVE);
    let place = |value: f32, (low, high): (f32, f32)| {
        SIZE / 2.0 + (value - (low + high) / 2.0) / extent * (SIZE - 2.0 * MARGIN)
    };
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let text = |track: usize| column.and_then(|column| column.text(track));
    map.points.iter().filter_map(|&(track, ..)| text(track)).for_each(|text| *counts.entry(text).or_default() += 1);
    let mut names: Vec<(&str, usize)> = counts.into_iter().collect();
    names.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    names.truncate(COLORS.len() - 1);
    let color = |track: usize| match (column, text(track)) {
        (None, _) => COLORS[0],
        (_, text) => {
            let place = names.iter().position(|(name, _)| Some(*name) == text);
            COLORS[place.unwrap_or(COLORS.len() - 1)]
        }
    };
    let radius = (200.0 / (map.points.len() as f32).sqrt()).clamp(1.0, 5.0);
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {SIZE} {SIZE}\">\n<title>{}</title>\n\
         <rect width=\"{SIZE}\" height=\"{SIZE}\" fill=\"#fff\"/>\n<g fill-opacity=\"0.7\">\n",
        escaped(title)
    );
    for &point in &map.points {
        let (cx, cy) = (place(point.1, x), SIZE - place(point.2, y));
        // Writing to a string cannot fail.
        let _ =
            writeln!(picture, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"{radius:.1}\" fill=\"{}\"/>", color(point.0));
    }
    picture += "</g>\n<g font-family=\"sans-serif\" font-size=\"16\">\n";
    for (index, (name, count)) in names.iter().enumerate() {
        let y = 30 + 22 * index;
        let _ = writeln!(
            picture,
            "<circle cx=\"20\" cy=\"{}\" r=\"6\" fill=\"{}\"/><text x=\"34\" y=\"{y}\">{} ({count})</text>",
            y - 5,
            COLORS[index],
            escaped(name)
        );
    }
    picture += "</g>\n</svg>\n";
    picture
}

/// Text without characters that XML reserves or forbids.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}
