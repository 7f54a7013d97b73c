//! The tokens by rank: how evenly a vocabulary is used.

use std::collections::BTreeMap;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::axis::{Axis, X_AXIS, number, panel};
use crate::canvas::{anchored, colored, picture, px, stroke};
use crate::palette::{BLUE, INK, VERMILION};
use crate::runs::percent;
use crate::text::{counted, grouped};
use crate::thinning::thin;
use crate::{PlotsError, Result};

/// The height of the panel in pixels, and the tokens that are named.
const PANEL: i32 = 340;
const NAMED: usize = 10;

/// The share of each token, the most frequent first, on logarithmic axes.
#[derive(Debug, Clone)]
pub struct RanksPicture {
    /// The title.
    pub title: String,
    /// The tokens, in any order.
    pub tokens: Vec<u32>,
    /// What they are the tokens of: ("frame", "frames").
    pub item_name: (&'static str, &'static str),
    /// The number of tokens of the vocabulary, if it is known.
    pub k: Option<u32>,
}

impl RanksPicture {
    /// The picture.
    ///
    /// # Errors
    /// [`PlotsError::Empty`] without a token, [`PlotsError::Value`] for a token beyond `k`, and [`PlotsError::Draw`].
    pub fn svg(&self) -> Result<String> {
        if self.tokens.is_empty() {
            return Err(PlotsError::Empty { what: "tokens" });
        }
        let largest = self.tokens.iter().max().copied().unwrap_or(0);
        if let Some(k) = self.k.filter(|k| *k <= largest) {
            return Err(PlotsError::value(
                "k",
                format!("{k}, and there is a token {largest}"),
                "more than the largest token",
            ));
        }
        let shares = self.shares();
        let used = shares.len();
        let k = self.k.map_or(used, |k| k as usize);
        let uniform = 1.0 / k as f64;
        let least = shares.last().map_or(uniform, |(_, share)| *share).min(uniform);
        let caption = self.caption(&shares);
        picture(&self.title, PANEL + X_AXIS, &[caption], |sheet| {
            let x = Axis::logarithmic(0.9..(k as f64 * 1.1).max(2.0), "rank, most frequent first");
            let y = Axis::logarithmic(least * 50.0..200.0, "share (%)");
            let place = panel(sheet, &x, &y, true)?;
            let point =
                |(rank, (_, share)): (usize, &(u32, f64))| ((rank as f64 + 1.0).log10(), (100.0 * share).log10());
            let points: Vec<_> = shares.iter().enumerate().map(point).collect();
            place.draw(&PathElement::new(thin(&points), stroke(&BLUE, 6)))?;
            for point in points.iter().take(NAMED) {
                place.draw(&Circle::new(*point, px(3), BLUE.filled()))?;
            }
            let level = (100.0 * uniform).log10();
            let range = place.as_coord_spec().get_x_range();
            place.draw(&PathElement::new(vec![(range.start, level), (range.end, level)], stroke(&VERMILION, 4)))?;
            let style = anchored(colored(12.0, VERMILION), HPos::Left, VPos::Bottom);
            let text = format!("all {} equally frequent: {}", grouped(k), percent(uniform));
            let (left, height) = place.map_coordinate(&(range.start, level));
            let plain = place.strip_coord_spec();
            let (across, down) = plain.get_pixel_range();
            plain.draw(&Text::new(text, (left + px(6) - across.start, height - px(1) - down.start), style))?;
            for (index, (token, share)) in shares.iter().take(NAMED).enumerate() {
                let style = anchored(colored(12.0, INK), HPos::Right, VPos::Center);
                let text = format!("token {token}: {}", percent(*share));
                let row = px(14 + 17 * index as i32);
                plain.draw(&Text::new(text, (across.end - across.start - px(8), row), style))?;
            }
            Ok(Vec::new())
        })
    }

    /// The tokens with their shares, the most frequent first, of equally frequent ones the lowest.
    fn shares(&self) -> Vec<(u32, f64)> {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for token in &self.tokens {
            *counts.entry(*token).or_default() += 1;
        }
        let total = self.tokens.len() as f64;
        let mut shares: Vec<_> = counts.into_iter().map(|(token, count)| (token, count as f64 / total)).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        shares
    }

    fn caption(&self, shares: &[(u32, f64)]) -> String {
        let entropy: f64 = shares.iter().map(|(_, share)| -share * share.log2()).sum::<f64>().abs();
        let (singular, plural) = self.item_name;
        let used = match self.k {
            Some(k) => format!("{} of {} tokens occur", grouped(shares.len()), grouped(k as usize)),
            None => counted(shares.len(), "different token", "different tokens"),
        };
        let maximum = f64::from(self.k.unwrap_or(shares.len() as u32)).log2();
        format!(
            "{}: {used}; entropy {} of at most {} bits, as of {} equally frequent tokens.{}",
            counted(self.tokens.len(), singular, plural),
            number((entropy * 100.0).round() / 100.0),
            number((maximum * 100.0).round() / 100.0),
            number((entropy.exp2() * 10.0).round() / 10.0),
            if shares.len() > NAMED { format!(" The {NAMED} most frequent are named.") } else { String::new() }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, numbers, texts};

    #[test]
    fn shares_are_at_their_places() {
        let picture = RanksPicture {
            title: "ranks".into(),
            tokens: vec![5, 5, 5, 5, 5, 5, 5, 5, 3, 9],
            item_name: ("frame", "frames"),
            k: Some(16),
        };
        let svg = picture.svg().unwrap();
        let curve = elements(&svg).into_iter().find(|e| e.name == "polyline" && e.is("stroke", "#0072B2")).unwrap();
        let points = numbers(curve.attribute("points"));
        // The axes are logarithmic: ranks from 0.9 to 17.6, shares from half of 1/16 to 200%.
        let x = |rank: f64| 304.0 + (rank / 0.9f64).ln() / (17.6f64 / 0.9).ln() * 4239.0;
        let y = |share: f64| 160.0 + (1.0 - (share / 3.125f64).ln() / (200.0f64 / 3.125).ln()) * (4.0 * 340.0 - 1.0);
        for (point, (rank, share)) in points.chunks_exact(2).zip([(1.0, 80.0), (2.0, 10.0), (3.0, 10.0)]) {
            assert!((point[0] - x(rank)).abs() <= 1.0 && (point[1] - y(share)).abs() <= 1.0, "{points:?}");
        }
        let text = texts(&svg).join(" ");
        assert!(text.contains("10 frames: 3 of 16 tokens occur; entropy 0.92 of at most 4 bits"), "{text}");
        assert!(text.contains("token 5: 80%"));
    }

    #[test]
    fn one_token_and_none() {
        let one = RanksPicture { title: String::new(), tokens: vec![0], item_name: ("frame", "frames"), k: None };
        assert!(texts(&one.svg().unwrap()).join(" ").contains("1 frame: 1 different token;"));
        assert!(RanksPicture { tokens: Vec::new(), ..one.clone() }.svg().is_err());
        assert!(RanksPicture { tokens: vec![4], k: Some(4), ..one }.svg().is_err());
    }
}
