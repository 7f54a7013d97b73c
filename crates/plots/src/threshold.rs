//! The information rate over the thresholds of a search, with the one that was chosen.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::axis::{Axis, Panel, X_AXIS, number, panel};
use crate::canvas::{anchored, colored, picture, px, stroke};
use crate::palette::{BLUE, QUIET_INK, VERMILION};
use crate::text::{counted, grouped};
use crate::thinning::thin;
use crate::{PlotsError, Result};

/// The heights of the panels and of the gap between them, in pixels.
const RATE: i32 = 280;
const GAP: i32 = 14;
const CLUSTERS: i32 = 130;

/// A threshold of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdPoint {
    /// The threshold θ.
    pub threshold: f64,
    /// The sum of the information rate over all events, in bits.
    pub information_rate: f64,
    /// The number of clusters.
    pub clusters: u32,
}

/// The information rate over the thresholds of a search, and below it the number of clusters.
#[derive(Debug, Clone)]
pub struct ThresholdPicture {
    /// The title.
    pub title: String,
    /// The thresholds, ascending.
    pub curve: Vec<ThresholdPoint>,
    /// The threshold that was chosen.
    pub best: ThresholdPoint,
}

impl ThresholdPicture {
    /// The picture.
    ///
    /// # Errors
    /// [`PlotsError::Empty`] without a threshold, [`PlotsError::Value`] for values that are not finite or not ascending, and
    /// for a best one that is not in the curve; [`PlotsError::Draw`].
    pub fn svg(&self) -> Result<String> {
        let (Some(first), Some(last)) = (self.curve.first(), self.curve.last()) else {
            return Err(PlotsError::Empty { what: "thresholds" });
        };
        self.check()?;
        let mut range = first.threshold..last.threshold;
        if range.start == range.end {
            range = range.start - 0.5..range.end + 0.5;
        }
        let best = self.best;
        let highest = |value: f64| if value > 0.0 { value * 1.15 } else { 1.0 };
        let most = self.curve.iter().map(|point| point.clusters).max().unwrap_or(1);
        let caption = self.caption();
        picture(&self.title, RATE + GAP + CLUSTERS + X_AXIS, &[caption], |sheet| {
            let (above, below) = sheet.split_vertically(px(RATE));
            let (_, below) = below.split_vertically(px(GAP));
            let x = Axis::linear(range, 12, "threshold θ");
            let y = Axis::linear(0.0..highest(best.information_rate), 5, "information rate (bits)");
            let rate = panel(&above, &x.clone().hidden(), &y, true)?;
            line(&rate, self.curve.iter().map(|point| (point.threshold, point.information_rate)), BLUE)?;
            mark(&rate, (best.threshold, best.information_rate))?;
            self.label(&rate)?;
            let y = Axis::whole(0.0..highest(f64::from(most)), 4, "clusters");
            let clusters = panel(&below, &x, &y, true)?;
            line(&clusters, self.curve.iter().map(|point| (point.threshold, f64::from(point.clusters))), QUIET_INK)?;
            mark(&clusters, (best.threshold, f64::from(best.clusters)))?;
            Ok(Vec::new())
        })
    }

    fn check(&self) -> Result<()> {
        let finite = |point: &&ThresholdPoint| {
            point.threshold.is_finite() && point.information_rate.is_finite() && point.information_rate >= 0.0
        };
        if self.curve.iter().filter(finite).count() < self.curve.len() {
            return Err(PlotsError::value("curve", "a value that is not finite or below 0", "finite numbers"));
        }
        if !self.curve.is_sorted_by(|a, b| a.threshold < b.threshold) {
            return Err(PlotsError::value("curve", "not in order", "ascending thresholds"));
        }
        if !self.curve.contains(&self.best) {
            return Err(PlotsError::value("best", self.best.threshold, "a threshold of the curve"));
        }
        Ok(())
    }

    /// The text beside the mark, on the side that has room.
    fn label(&self, panel: &Panel<'_>) -> Result<()> {
        let best = self.best;
        let text = format!(
            "θ = {}: {} bits, {}",
            number(best.threshold),
            number((best.information_rate * 100.0).round() / 100.0),
            counted(best.clusters as usize, "cluster", "clusters")
        );
        let (x, y) = panel.map_coordinate(&(best.threshold, best.information_rate));
        let place = panel.strip_coord_spec();
        let (across, down) = place.get_pixel_range();
        let right = x > (across.start + across.end) / 2;
        let (side, offset) = if right { (HPos::Right, -px(8)) } else { (HPos::Left, px(8)) };
        let style = anchored(colored(13.0, VERMILION), side, VPos::Bottom);
        Ok(place.draw(&Text::new(text, (x + offset - across.start, y - px(6) - down.start), style))?)
    }

    fn caption(&self) -> String {
        let count = counted(self.curve.len(), "threshold", "thresholds");
        let equal = self.curve.iter().filter(|point| point.information_rate == self.best.information_rate).count();
        let mut caption =
            format!("{count}; the mark is the one that was chosen, the first with the largest information rate.");
        if equal > 1 {
            caption.push_str(&format!(" {} have it.", grouped(equal)));
        }
        if self.best.information_rate == 0.0 {
            caption.push_str(" It is 0: no threshold of this search finds repetitions.");
        }
        caption
    }
}

fn line(panel: &Panel<'_>, points: impl Iterator<Item = (f64, f64)>, color: RGBColor) -> Result<()> {
    let points = thin(&points.collect::<Vec<_>>());
    if points.len() > 1 {
        panel.draw(&PathElement::new(points, stroke(&color, 6)))?;
    }
    Ok(())
}

/// A vertical line and a disc.
fn mark(panel: &Panel<'_>, (x, y): (f64, f64)) -> Result<()> {
    let range = panel.as_coord_spec().get_y_range();
    panel.draw(&PathElement::new(vec![(x, range.start), (x, range.end)], stroke(&VERMILION.mix(0.5), 4)))?;
    Ok(panel.draw(&Circle::new((x, y), px(4), VERMILION.filled()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, texts};

    fn point(threshold: f64, information_rate: f64, clusters: u32) -> ThresholdPoint {
        ThresholdPoint { threshold, information_rate, clusters }
    }

    #[test]
    fn the_mark_is_at_the_best_threshold() {
        let curve = vec![point(0.0, 0.0, 20), point(0.5, 8.0, 6), point(1.0, 8.0, 5), point(2.0, 1.0, 1)];
        let picture = ThresholdPicture { title: "search".into(), best: curve[1], curve };
        let svg = picture.svg().unwrap();
        let discs: Vec<_> = elements(&svg).into_iter().filter(|e| e.name == "circle").collect();
        assert_eq!(discs.len(), 2);
        let x = 304.0 + 0.5 / 2.0 * 4239.0;
        let y = 160.0 + (1.0 - 1.0 / 1.15) * (4.0 * 280.0 - 1.0);
        assert!((discs[0].number("cx") - x).abs() <= 1.0 && (discs[0].number("cy") - y).abs() <= 1.0, "{discs:?}");
        let text = texts(&svg).join(" ");
        assert!(text.contains("θ = 0.5: 8 bits, 6 clusters") && text.contains("2 have it"), "{text}");
    }

    #[test]
    fn degenerate_searches_are_drawn_and_said() {
        let only = point(0.3, 0.0, 1);
        let picture = ThresholdPicture { title: String::new(), best: only, curve: vec![only] };
        assert!(texts(&picture.svg().unwrap()).join(" ").contains("no threshold of this search"));
        let wrong = ThresholdPicture { best: point(0.4, 0.0, 1), ..picture.clone() };
        assert!(matches!(wrong.svg(), Err(PlotsError::Value { field: "best", .. })));
        assert!(ThresholdPicture { curve: vec![only, only], ..picture.clone() }.svg().is_err());
        assert!(ThresholdPicture { curve: Vec::new(), ..picture }.svg().is_err());
    }

    #[test]
    fn the_longest_search_stays_small() {
        let curve: Vec<_> =
            (0..10_000).map(|n| point(f64::from(n) * 1e-3, f64::from(n * 7919 % 1000), 10_000 - n as u32)).collect();
        let best = *curve.iter().find(|point| point.information_rate == 999.0).unwrap();
        let svg = ThresholdPicture { title: String::new(), best, curve }.svg().unwrap();
        assert!(svg.len() < 250_000, "{}", svg.len());
    }
}
