//! Axes: round ticks, linear and logarithmic, and the panel that plotters draws them around.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::Result;
use crate::canvas::{Area, font, px, stroke};
use crate::palette::{GRID, INK};

/// The widths to the left and to the right of all panels, in pixels, so that panels of a picture have their x axes in line.
pub(crate) const LEFT: i32 = 76;
pub(crate) const RIGHT: i32 = 64;

/// The part of the left width that stays free: plotters writes the description of an axis at the edge of its room.
const EDGE: i32 = 14;

/// The height of an x axis with its labels and description, in pixels.
pub(crate) const X_AXIS: i32 = 42;

/// The place of a panel, with data coordinates; logarithmic axes have the decimal logarithm of their values.
pub(crate) type Panel<'a> = DrawingArea<SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// An axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) range: Range<f64>,
    ticks: Vec<f64>,
    logarithmic: bool,
    description: String,
    shown: bool,
}

impl Axis {
    /// A linear axis with about `count` ticks.
    pub(crate) fn linear(range: Range<f64>, count: usize, description: &str) -> Self {
        let ticks = linear_ticks(&range, count);
        Axis { range, ticks, logarithmic: false, description: description.into(), shown: true }
    }

    /// A linear axis of whole numbers, which has no ticks between them.
    pub(crate) fn whole(range: Range<f64>, count: usize, description: &str) -> Self {
        let mut axis = Axis::linear(range, count, description);
        axis.ticks.retain(|tick| tick.fract() == 0.0);
        axis
    }

    /// A logarithmic axis of positive values.
    pub(crate) fn logarithmic(range: Range<f64>, description: &str) -> Self {
        let ticks = logarithmic_ticks(&range).into_iter().map(f64::log10).collect();
        let range = range.start.log10()..range.end.log10();
        Axis { range, ticks, logarithmic: true, description: description.into(), shown: true }
    }

    /// The same axis without labels.
    pub(crate) fn hidden(mut self) -> Self {
        self.shown = false;
        self
    }

    fn label(&self, tick: f64) -> String {
        if !self.shown {
            return String::new();
        }
        number(if self.logarithmic { 10f64.powf(tick) } else { tick })
    }
}

/// A number with as many digits as it needs, at most six.
pub fn number(value: f64) -> String {
    let scale = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let digits = (5 - scale).clamp(0, 12) as usize;
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.into() }
}

/// Multiples of 1, 2 or 5 times a power of ten within the range, about `count` of them.
pub fn linear_ticks(range: &Range<f64>, count: usize) -> Vec<f64> {
    let length = range.end - range.start;
    if !(length > 0.0 && length.is_finite()) {
        return vec![range.start];
    }
    let rough = length / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((range.start / step - 1e-9).ceil(), (range.end / step + 1e-9).floor());
    (0..=(last - first).clamp(0.0, 1000.0) as usize)
        .map(|index| {
            // A multiple of 0.1 is rounded to the nearest decimal number.
            let tick = (first + index as f64) * step;
            (tick / power * 10.0).round() * power / 10.0
        })
        .collect()
}

/// 1, 2 and 5 times powers of ten within the range; powers alone where it has more than four of them.
pub fn logarithmic_ticks(range: &Range<f64>) -> Vec<f64> {
    let (first, last) = (range.start.log10().floor() as i32, range.end.log10().ceil() as i32);
    let factors: &[f64] = if last - first > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let ticks = (first..=last).flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
    ticks.filter(|tick| (range.start * 0.999..=range.end * 1.001).contains(tick)).collect()
}

/// A linear coordinate whose ticks are given; plotters' own combinator for this has no labels for floats.
struct Ticked {
    inner: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticked {
    fn of(axis: &Axis) -> Self {
        Ticked { inner: axis.range.clone().into(), ticks: axis.ticks.clone() }
    }
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.inner.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.inner.range()
    }
}

/// A panel with its axes; an x axis that is hidden takes no room.
pub(crate) fn panel<'a>(area: &Area<'a>, x: &Axis, y: &Axis, grid: bool) -> Result<Panel<'a>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_left(px(EDGE)).margin_right(px(RIGHT)).y_label_area_size(px(LEFT - EDGE));
    if x.shown {
        builder.x_label_area_size(px(X_AXIS));
    }
    let mut chart = builder.build_cartesian_2d(Ticked::of(x), Ticked::of(y))?;
    let line = stroke(&GRID, 2);
    let mut mesh = chart.configure_mesh();
    let x_label = |tick: &f64| x.label(*tick);
    let y_label = |tick: &f64| y.label(*tick);
    mesh.bold_line_style(line)
        .light_line_style(TRANSPARENT)
        .axis_style(stroke(&INK, 3))
        .label_style(font(12.0))
        .axis_desc_style(font(12.0))
        .set_all_tick_mark_size(px(4))
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label);
    if !grid {
        mesh.disable_mesh();
    }
    if x.shown {
        mesh.x_desc(x.description.clone());
    }
    if y.shown {
        mesh.y_desc(y.description.clone());
    } else {
        mesh.disable_y_axis();
    }
    mesh.draw()?;
    let place = chart.plotting_area().strip_coord_spec();
    let (horizontal, vertical) = place.get_pixel_range();
    let places = (horizontal.start..horizontal.end - 1, vertical.end - 1..vertical.start);
    Ok(place.apply_coord_spec(Cartesian2d::new(x.range.clone(), y.range.clone(), places)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(linear_ticks(&(0.0..1.0), 5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(linear_ticks(&(0.0..2.99), 10), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(linear_ticks(&(12.0..61.0), 5), [20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(linear_ticks(&(3.0..3.0), 5), [3.0]);
        assert_eq!(Axis::whole(0.0..1.2, 6, "").ticks, [0.0, 1.0]);
    }

    #[test]
    fn logarithmic_ticks_are_1_2_5() {
        assert_eq!(logarithmic_ticks(&(40.0..1200.0)), [50.0, 100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(logarithmic_ticks(&(1e-6..1.0)).len(), 7);
    }

    #[test]
    fn numbers_have_the_digits_they_need() {
        assert_eq!(
            [0.0, 0.30000000000000004, 1500.0, 0.00002, -0.25].map(number),
            ["0", "0.3", "1500", "0.00002", "-0.25"]
        );
        assert_eq!(number(10f64.powf(200f64.log10())), "200");
    }
}
