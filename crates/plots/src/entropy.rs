//! The entropy of tokens over time, beside its maximum.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::axis::{Axis, Panel, X_AXIS, number, panel};
use crate::canvas::{anchored, colored, picture, px, stroke};
use crate::palette::{BLUE, QUIET_INK, VERMILION};
use crate::text::{counted, grouped};
use crate::thinning::{MAX_POINTS, summaries};
use crate::{PlotsError, Result, SourceSpan, sources};

/// The height of the panel in pixels.
const PANEL: i32 = 320;

/// The entropy of tokens over time, beside its maximum.
#[derive(Debug, Clone)]
pub struct EntropyPicture {
    /// The title.
    pub title: String,
    /// The entropy of the last `window` events in bits, at each event.
    pub values: Vec<f64>,
    /// The length of the window in events.
    pub window: u32,
    /// The number of different tokens that could occur.
    pub tokens: u32,
    /// What `tokens` counts, in the plural, such as "tokens of the vocabulary".
    pub token_name: &'static str,
    /// The recordings, or none.
    pub sources: Vec<SourceSpan>,
}

impl EntropyPicture {
    /// The picture.
    ///
    /// # Errors
    /// [`PlotsError::Empty`] without a value, [`PlotsError::Value`] for one that is not a number from 0, a window or number of
    /// tokens of 0, and sources that are not those of the events; [`PlotsError::Draw`].
    pub fn svg(&self) -> Result<String> {
        self.check()?;
        let events = self.values.len() as f64;
        let maximum = f64::from(self.tokens).log2();
        let window = f64::from(self.window).log2();
        let largest = self.values.iter().copied().fold(0.0, f64::max);
        let highest = if maximum.max(largest) > 0.0 { maximum.max(largest) * 1.12 } else { 1.0 };
        let parts = summaries(&self.values, 0.0..events);
        let thinned = self.values.len() > MAX_POINTS;
        let mean = self.values.iter().sum::<f64>() / events;
        let caption = self.caption(mean, thinned);
        let top = if self.sources.len() > 1 { sources::HEIGHT } else { 0 };
        picture(&self.title, top + PANEL + X_AXIS, &[caption], |sheet| {
            let (_, sheet) = sheet.split_vertically(px(top));
            let x = Axis::whole(0.0..events, 12, "event");
            let place = panel(&sheet, &x, &Axis::linear(0.0..highest, 6, "entropy (bits)"), true)?;
            if thinned {
                let above = parts.iter().map(|part| (part.place, part.largest));
                let below = parts.iter().rev().map(|part| (part.place, part.least));
                place.draw(&Polygon::new(above.chain(below).collect::<Vec<_>>(), BLUE.mix(0.25)))?;
            }
            let curve: Vec<_> = parts.iter().map(|part| (part.place, part.mean)).collect();
            match curve[..] {
                [point] => place.draw(&Circle::new(point, px(3), BLUE.filled()))?,
                _ => place.draw(&PathElement::new(curve, stroke(&BLUE, 6)))?,
            }
            let name = format!("log2 {} = {} bits", grouped(self.tokens as usize), number(round(maximum)));
            level(&place, maximum, VERMILION, format!("{name}: all {} equally frequent", self.token_name))?;
            // A window that can hold more than there is has no maximum of its own.
            if window < maximum && f64::from(self.window) <= events {
                let name = format!("log2 {} = {} bits", grouped(self.window as usize), number(round(window)));
                level(&place, window, QUIET_INK, format!("{name}: a window of different ones"))?;
            }
            sources::draw(&place, &self.sources, highest)?;
            Ok(Vec::new())
        })
    }

    fn check(&self) -> Result<()> {
        if self.values.is_empty() {
            return Err(PlotsError::Empty { what: "events" });
        }
        if let Some(value) = self.values.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            return Err(PlotsError::value("values", value, "finite numbers from 0"));
        }
        if self.window == 0 || self.tokens == 0 {
            return Err(PlotsError::value("window and tokens", 0, "at least 1"));
        }
        sources::check(&self.sources, self.values.len())
    }

    fn caption(&self, mean: f64, thinned: bool) -> String {
        let mut caption = format!(
            "Entropy of the last {} at each of {}; in the mean {} bits, as of {} equally frequent ones.",
            counted(self.window as usize, "event", "events"),
            counted(self.values.len(), "event", "events"),
            number(round(mean)),
            number((mean.exp2() * 10.0).round() / 10.0)
        );
        if self.window > 1 {
            caption.push_str(" At the start there are fewer.");
        }
        if thinned {
            let each = grouped(self.values.len().div_ceil(MAX_POINTS));
            caption.push_str(&format!(
                " The line is the mean of about {each} events, the band from the least to the largest."
            ));
        }
        if self.sources.len() > 1 {
            let count = self.sources.len();
            caption.push_str(&format!(
                " {count} recordings, separated by lines if there are at most 100; windows go across them."
            ));
        }
        caption
    }
}

fn round(bits: f64) -> f64 {
    (bits * 100.0).round() / 100.0
}

/// A horizontal line with its meaning above it.
fn level(panel: &Panel<'_>, bits: f64, color: RGBColor, text: String) -> Result<()> {
    let range = panel.as_coord_spec().get_x_range();
    panel.draw(&PathElement::new(vec![(range.start, bits), (range.end, bits)], stroke(&color, 5)))?;
    let (right, y) = panel.map_coordinate(&(range.end, bits));
    let place = panel.strip_coord_spec();
    let (across, down) = place.get_pixel_range();
    let style = anchored(colored(12.0, color), HPos::Right, VPos::Bottom);
    Ok(place.draw(&Text::new(text, (right - px(6) - across.start, y - px(1) - down.start), style))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, numbers, texts};

    fn picture_of(values: Vec<f64>) -> EntropyPicture {
        EntropyPicture {
            title: "entropy".into(),
            values,
            window: 4,
            tokens: 8,
            token_name: "tokens",
            sources: Vec::new(),
        }
    }

    #[test]
    fn the_curve_and_the_maximum_are_at_their_heights() {
        let svg = picture_of(vec![0.0, 1.0, 2.0, 1.5]).svg().unwrap();
        let lines = elements(&svg);
        let line = |color: &str| {
            let found =
                lines.iter().find(|e| e.name == "polyline" && e.is("stroke", color) && !e.is("stroke-width", "3"));
            numbers(found.unwrap().attribute("points"))
        };
        // The axis is from 0 to 1.12 log2 8, over 320 px below the title.
        let place = |bits: f64| 160.0 + (1.0 - bits / 3.36) * (4.0 * 320.0 - 1.0);
        assert!((line("#D55E00")[1] - place(3.0)).abs() <= 1.0);
        let curve = line("#0072B2");
        assert_eq!(curve.len(), 8);
        assert!((curve[5] - place(2.0)).abs() <= 1.0 && (curve[1] - place(0.0)).abs() <= 1.0, "{curve:?}");
        let text = texts(&svg).join(" ");
        assert!(
            text.contains("log2 8 = 3 bits: all tokens equally frequent") && text.contains("log2 4 = 2 bits"),
            "{text}"
        );
        assert!(text.contains("in the mean 1.13 bits"), "{text}");
    }

    #[test]
    fn many_events_are_a_band() {
        let svg = picture_of((0..100_000).map(|n| f64::from(n % 7) / 3.0).collect()).svg().unwrap();
        assert!(svg.len() < 120_000 && svg.contains("<polygon"), "{}", svg.len());
        assert!(texts(&svg).join(" ").contains("the mean of about 50 events"));
    }

    #[test]
    fn one_event_and_one_token() {
        let mut picture = picture_of(vec![0.0]);
        (picture.tokens, picture.window) = (1, 1);
        assert!(picture.svg().unwrap().contains("<circle"));
        assert!(picture_of(vec![f64::NAN]).svg().is_err() && picture_of(Vec::new()).svg().is_err());
    }
}
