//! The strip of coloured runs, with the tokens' numbers where there is room, and its legend.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::Result;
use crate::axis::{LEFT, Panel, RIGHT};
use crate::canvas::{Area, UNITS, WIDTH, anchored, colored, px};
use crate::palette::{QUIET_INK, ink_on};
use crate::runs::{Colours, Drawn};
use crate::text::width;

/// The columns of a strip: half pixels of the width of a panel.
pub(crate) const COLUMNS: usize = 2 * (WIDTH - LEFT - RIGHT) as usize;

/// The size of numbers in pixels.
const NUMBERS: f64 = 11.0;

/// The height of the legend in pixels.
pub(crate) const LEGEND: i32 = 26;

/// Draws runs between two heights of a panel.
pub(crate) fn draw(panel: &Panel<'_>, drawn: &Drawn, colours: &Colours, (low, high): (f64, f64)) -> Result<()> {
    for (run, color) in drawn.runs.iter().zip(colours.of(&drawn.runs)) {
        panel.draw(&Rectangle::new([(run.start, high), (run.end, low)], color.filled()))?;
    }
    let mut end = i32::MIN;
    for (run, color) in drawn.runs.iter().zip(colours.of(&drawn.runs)) {
        let (left, right) = (panel.map_coordinate(&(run.start, low)).0, panel.map_coordinate(&(run.end, low)).0);
        let text = run.token.to_string();
        let needed = ((width(&text, NUMBERS) + 3.0) * f64::from(UNITS)) as i32;
        if right - left < needed || left < end {
            continue;
        }
        end = right;
        let style = anchored(colored(NUMBERS, ink_on(color)), HPos::Center, VPos::Center);
        panel.draw(&Text::new(text, ((run.start + run.end) / 2.0, (low + high) / 2.0), style))?;
    }
    Ok(())
}

/// Draws the legend, which has `name` in front of it.
pub(crate) fn legend(area: &Area<'_>, colours: &Colours, name: &str) -> Result<()> {
    let style = anchored(colored(12.0, QUIET_INK), HPos::Left, VPos::Center);
    let middle = px(LEGEND / 2);
    let mut x = px(LEFT);
    let advance = |text: &str| px((width(text, 12.0) + 10.0) as i32);
    let mut place = |text: &str, color: Option<RGBColor>| -> Result<()> {
        if let Some(color) = color {
            area.draw(&Rectangle::new([(x, middle - px(6)), (x + px(12), middle + px(6))], color.filled()))?;
            x += px(17);
        }
        area.draw(&Text::new(text.to_string(), (x, middle), style.clone()))?;
        x += advance(text);
        Ok(())
    };
    place(name, None)?;
    colours.legend().iter().try_for_each(|(color, text)| place(text, Some(*color)))
}
