//! The frame of a plot: axes with labels, and marks between them. A plot is as wide as its place on the page: places across are
//! percentages, and text and marks keep their size on a phone and on paper.

use super::markup::{Element, el};

/// The tick of an axis: a place from 0 to 1 and its label.
pub(super) type Tick = (f64, String);

/// A plot.
pub(super) struct Plot {
    /// What the plot shows, for those who do not see it.
    pub(super) description: String,
    /// The height between the axes, in pixels.
    pub(super) height: u32,
    /// The ticks across, from the left, and the name of the axis.
    pub(super) x: (Vec<Tick>, &'static str),
    /// The ticks from the top.
    pub(super) y: Vec<Tick>,
    /// Whether ticks have lines across the plot.
    pub(super) grid: bool,
    /// The marks, in the order in which they are drawn.
    pub(super) marks: Vec<Element>,
}

impl Plot {
    /// The drawing.
    pub(super) fn render(self) -> Element {
        let height = f64::from(self.height);
        let mut svg = el("svg")
            .attr("width", "100%")
            .attr("height", self.height)
            .attr("role", "img")
            .attr("aria-label", self.description);
        for (place, label) in self.y {
            let y = format!("{:.1}", place * height);
            if self.grid {
                svg = svg.child(line(("0%", &y), ("100%", &y)).class("grid"));
            }
            svg = svg.child(text("0%", &y, label).class("y-tick").attr("dx", -7).attr("dy", "0.32em"));
        }
        svg = svg.children(self.marks);
        let rect = el("rect").class("frame").attr("width", "100%").attr("height", self.height);
        svg = svg.child(rect);
        let (ticks, name) = self.x;
        for (place, label) in ticks {
            let x = percent(place);
            svg = svg.child(line((&x, &height.to_string()), (&x, &(height + 4.0).to_string())).class("tick"));
            svg = svg.child(text(&x, &(height + 17.0).to_string(), label).class("x-tick"));
        }
        svg = svg.child(text("50%", &(height + 35.0).to_string(), name).class("axis-name"));
        el("div").class("plot").child(svg)
    }
}

/// A place across, as the attributes of SVG have it.
pub(super) fn percent(place: f64) -> String {
    format!("{:.2}%", place * 100.0)
}

/// A line between two points, as texts.
pub(super) fn line((x1, y1): (&str, &str), (x2, y2): (&str, &str)) -> Element {
    el("line").attr("x1", x1).attr("y1", y1).attr("x2", x2).attr("y2", y2)
}

/// A line across at a height in pixels.
pub(super) fn line_across(y: f64) -> Element {
    let y = format!("{y:.1}");
    line(("0%", &y), ("100%", &y))
}

/// Text at a point.
pub(super) fn text(x: &str, y: &str, content: impl std::fmt::Display) -> Element {
    el("text").attr("x", x).attr("y", y).text(content)
}

/// Lines through points, `(across from 0 to 1, pixels from the top)`, broken where a point has no height. A point alone is a dot.
pub(super) fn curve(points: impl IntoIterator<Item = (f64, Option<f64>)>, height: u32, class: &str) -> Element {
    let (mut path, mut before) = (String::new(), false);
    for (x, y) in points {
        if let Some(y) = y {
            // Zero-length lines with round ends show points without neighbours.
            let command = if before { "L" } else { "M" };
            path += &format!("{command}{:.1} {y:.1}", x * CURVE_WIDTH);
            if !before {
                path += "h0";
            }
        }
        before = y.is_some();
    }
    // A coordinate system of its own that is stretched to the width of the plot; lines keep their width.
    el("svg")
        .attr("width", "100%")
        .attr("height", height)
        .attr("viewBox", format!("0 0 {CURVE_WIDTH} {height}"))
        .attr("preserveAspectRatio", "none")
        .child(el("path").class(class).attr("d", path))
}

/// The units of a curve across the plot.
const CURVE_WIDTH: f64 = 2000.0;

/// Ticks of seconds, about `count`, for a plot from `start` to `end`.
pub(super) fn seconds(start: f64, end: f64, count: usize) -> Vec<Tick> {
    if !(end > start && end.is_finite()) {
        return Vec::new();
    }
    let ticks = mert_plots::linear_ticks(&(start..end), count);
    ticks.into_iter().map(|tick| ((tick - start) / (end - start), mert_plots::number(tick))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_broken_where_it_has_no_value() {
        let points = [(0.0, Some(1.0)), (0.5, Some(2.0)), (0.6, None), (1.0, Some(3.0))];
        assert!(curve(points, 10, "x").render().contains("d=\"M0.0 1.0h0L1000.0 2.0M2000.0 3.0h0\""));
    }

    #[test]
    fn seconds_are_round_and_within_the_plot() {
        let ticks = seconds(2.5, 10.5, 5);
        assert_eq!(ticks.first(), Some(&(0.1875, "4".to_string())));
        assert!(ticks.iter().all(|(place, _)| (0.0..=1.0).contains(place)));
        assert!(seconds(1.0, 1.0, 5).is_empty() && seconds(0.0, f64::NAN, 5).is_empty());
    }
}
