//! The suffix links of an oracle as arcs over its sequence.

use std::f64::consts::PI;

use plotters::prelude::*;

use crate::axis::{Axis, Panel, X_AXIS, panel};
use crate::canvas::{UNITS, picture, px, stroke};
use crate::palette::{BLUE, VERMILION};
use crate::runs::{Colours, Drawn, Run};
use crate::strip::{self, COLUMNS, LEGEND};
use crate::text::{counted, grouped};
use crate::{PlotsError, Result, SourceSpan, sources};

/// The most arcs that a picture may have.
pub const MAX_ARCS: usize = 5000;

/// The heights in pixels: of the panel of arcs and of the strip.
const ARCS: i32 = 380;
const STRIP: i32 = 34;

/// The suffix link of an event. Events count from 0, as in the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuffixLink {
    /// The event whose suffix is repeated.
    pub event: u32,
    /// The earlier event where the repeated suffix ends, or `None` for the first of its kind.
    pub target: Option<u32>,
    /// The length of the repeated suffix in events, `lrs`.
    pub length: u32,
}

/// The suffix links of an oracle as arcs over its sequence: as high as the repeated suffix is long.
#[derive(Debug, Clone)]
pub struct OraclePicture {
    /// The title.
    pub title: String,
    /// The token or cluster of each event.
    pub tokens: Vec<u32>,
    /// The name of those numbers: "token" or "cluster".
    pub token_name: &'static str,
    /// The suffix link of each event, in their order.
    pub links: Vec<SuffixLink>,
    /// The recordings, or none.
    pub sources: Vec<SourceSpan>,
    /// The most arcs to draw, at most [`MAX_ARCS`].
    pub max_arcs: usize,
}

impl OraclePicture {
    /// The picture.
    ///
    /// # Errors
    /// [`PlotsError::Empty`] without an event, [`PlotsError::Value`] for links or sources that are not those of the events and
    /// for too many arcs, and [`PlotsError::Draw`].
    pub fn svg(&self) -> Result<String> {
        self.check()?;
        let events = self.tokens.len();
        let arcs = self.chosen();
        let longest = self.links.iter().map(|link| link.length).max().unwrap_or(0);
        let runs: Vec<Run> = (0..).zip(&self.tokens).map(|(at, &token)| event_run(at, token)).collect();
        let range = (0.0, events as f64);
        let (drawn, colours) = (Drawn::new(&runs, range, COLUMNS), Colours::new(&runs, range));
        let source = sources::by_event(&self.sources);
        let mut caption = self.arcs_caption(arcs.len());
        caption.push(format!("Below: {}", drawn.caption("event", "events")));
        // Names of recordings are written above the panel.
        let top = if self.sources.len() > 1 { sources::HEIGHT } else { 0 };
        let mut borders = None;
        // The borders are described after they are drawn, and the caption is drawn first: so they are drawn twice.
        for pass in 0..2 {
            let text = caption.iter().chain(&borders).cloned().collect::<Vec<_>>().join(" ");
            let mut found = None;
            let svg = picture(&self.title, top + ARCS + STRIP + X_AXIS + LEGEND, &[text], |sheet| {
                let (_, sheet) = sheet.split_vertically(px(top));
                let (above, below) = sheet.split_vertically(px(ARCS));
                let (middle, bottom) = below.split_vertically(px(STRIP + X_AXIS));
                let x = Axis::whole(0.0..events as f64, 12, "event");
                let highest = f64::from(longest.max(1)) * 1.06;
                let y = Axis::whole(0.0..highest, 6, "length of the repeated suffix, lrs (events)");
                let place = panel(&above, &x.clone().hidden(), &y, true)?;
                for link in &arcs {
                    self.arc(&place, link, longest, &source)?;
                }
                found = sources::draw(&place, &self.sources, highest)?;
                let strip = panel(&middle, &x, &Axis::linear(0.0..1.0, 1, "").hidden(), false)?;
                strip::draw(&strip, &drawn, &colours, (0.05, 0.95))?;
                strip::legend(&bottom, &colours, &format!("{}:", self.token_name))?;
                Ok(Vec::new())
            })?;
            if pass == 1 || found.is_none() {
                return Ok(svg);
            }
            borders = found;
        }
        Err(PlotsError::Draw("the picture was not drawn".into()))
    }

    fn check(&self) -> Result<()> {
        let events = self.tokens.len();
        if events == 0 {
            return Err(PlotsError::Empty { what: "events" });
        }
        if self.links.len() != events {
            return Err(PlotsError::value("links", self.links.len(), "one link for each event"));
        }
        if let Some(link) = self.links.iter().find(|link| link.target.is_some_and(|target| target >= link.event)) {
            return Err(PlotsError::value("target", format!("{:?}", link.target), "an event before that of the link"));
        }
        if self.links.iter().zip(0..).any(|(link, event)| link.event != event) {
            return Err(PlotsError::value("links", "out of order", "the links in the order of the events"));
        }
        if self.max_arcs > MAX_ARCS {
            return Err(PlotsError::value("max_arcs", self.max_arcs, "at most 5000"));
        }
        sources::check(&self.sources, events)
    }

    /// The links to draw, the shortest first, so that longer ones lie on top. Of the links of one repetition, each of which is
    /// one event further than the one before, the last is the longest and counts first; then longest first. Of equally long ones
    /// those count first that are spread over the sequence: the order of reversed bits.
    fn chosen(&self) -> Vec<SuffixLink> {
        let goes_on = |link: &SuffixLink| {
            self.links
                .get(link.event as usize + 1)
                .is_some_and(|next| next.target == link.target.map(|target| target + 1))
        };
        let mut links: Vec<(bool, SuffixLink)> =
            self.links.iter().filter(|link| link.target.is_some()).map(|link| (goes_on(link), *link)).collect();
        links.sort_by_key(|(goes_on, link)| (*goes_on, u32::MAX - link.length, link.event.reverse_bits()));
        links.truncate(self.max_arcs);
        let mut links: Vec<SuffixLink> = links.into_iter().map(|(_, link)| link).collect();
        links.sort_by_key(|link| (link.length, link.event));
        links
    }

    fn arc(&self, panel: &Panel<'_>, link: &SuffixLink, longest: u32, source: &[u32]) -> Result<()> {
        let Some(target) = link.target else { return Ok(()) };
        let crosses = source.get(target as usize) != source.get(link.event as usize);
        let color = if crosses { VERMILION } else { BLUE };
        let (from, to) = (f64::from(target) + 0.5, f64::from(link.event) + 0.5);
        let pixels = (panel.map_coordinate(&(to, 0.0)).0 - panel.map_coordinate(&(from, 0.0)).0) / UNITS;
        let pieces = (pixels / 4).clamp(16, 96) & !1;
        let points = (0..=pieces).map(|index| {
            let angle = PI * f64::from(index) / f64::from(pieces);
            ((from + to) / 2.0 - (to - from) / 2.0 * angle.cos(), f64::from(link.length) * angle.sin())
        });
        let opacity = opacity(link.length, longest, self.max_arcs.min(self.links.len()));
        Ok(panel.draw(&PathElement::new(points.collect::<Vec<_>>(), stroke(&color.mix(opacity), 4)))?)
    }

    fn arcs_caption(&self, drawn: usize) -> Vec<String> {
        let all = self.links.iter().filter(|link| link.target.is_some()).count();
        let first = self.links.len() - all;
        let mut caption = vec![];
        if all == 0 {
            caption.push("No suffix link: no event repeats an earlier one.".to_string());
        } else {
            let links = counted(all, "suffix link", "suffix links");
            caption.push(if drawn < all {
                format!(
                    "{} of {links}, the longest repetitions first; {} are left out.",
                    grouped(drawn),
                    grouped(all - drawn)
                )
            } else {
                format!("{links}.")
            });
            caption.push(
                "An arc joins an event with an earlier one that ends the same passage, as high and as dark as the passage is long."
                    .to_string(),
            );
            if self.sources.len() > 1 {
                caption.push("Blue: within a recording; vermilion: to another recording.".to_string());
            }
        }
        if all > 0 {
            let events = if first == 1 { "1 event is".to_string() } else { format!("{} events are", grouped(first)) };
            caption.push(format!("{events} the first of a kind, and have no arc."));
        }
        caption
    }
}

/// The opacity of an arc, in hundredths: 0.9 for the longest; the more arcs there may be, the paler are the short ones, which
/// are many.
fn opacity(length: u32, longest: u32, arcs: usize) -> f64 {
    let palest = (40.0 / arcs.max(1) as f64).clamp(0.1, 0.5);
    let part = f64::from(length.saturating_sub(1)) / f64::from(longest.saturating_sub(1).max(1));
    ((palest + (0.9 - palest) * part * part) * 100.0).round() / 100.0
}

/// The run of an event on the axis of events.
fn event_run(at: u32, token: u32) -> Run {
    Run { token, start: f64::from(at), end: f64::from(at) + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Element, elements, numbers, texts};

    /// `abbbaab`: the links of the published example, by event.
    fn example() -> OraclePicture {
        let links = [(None, 0), (None, 0), (Some(1), 1), (Some(2), 2), (Some(0), 1), (Some(0), 1), (Some(1), 2)];
        let links = (0..).zip(links).map(|(event, (target, length))| SuffixLink { event, target, length }).collect();
        OraclePicture {
            title: "abbbaab".into(),
            tokens: b"abbbaab".map(u32::from).to_vec(),
            token_name: "token",
            links,
            sources: Vec::new(),
            max_arcs: 1000,
        }
    }

    fn arcs(svg: &str) -> Vec<Element> {
        let colours = ["#0072B2", "#D55E00"];
        let is_arc = |e: &Element| e.name == "polyline" && colours.iter().any(|color| e.is("stroke", color));
        elements(svg).into_iter().filter(is_arc).collect()
    }

    #[test]
    fn arcs_join_the_middles_of_their_events_and_are_as_high_as_lrs() {
        let svg = example().svg().unwrap();
        let arcs = arcs(&svg);
        assert_eq!(arcs.len(), 5);
        // The last drawn is the longest and latest: event 6 to event 1, of length 2 of 2 (1.06 times which is the axis).
        let points = numbers(arcs[4].attribute("points"));
        let place = |event: f64| 304.0 + (event + 0.5) / 7.0 * 4239.0;
        assert!(
            (points[0] - place(1.0)).abs() <= 1.0 && (points[points.len() - 2] - place(6.0)).abs() <= 1.0,
            "{points:?}"
        );
        let top = points.chunks_exact(2).map(|point| point[1]).fold(f64::INFINITY, f64::min);
        let (first, height) = (160.0, 4.0 * f64::from(ARCS) - 1.0);
        assert!((top - (first + height * (1.0 - 1.0 / 1.06))).abs() <= 1.0, "{top}");
        assert!(arcs[4].is("opacity", "0.9") && arcs[0].is("opacity", "0.5"));
        assert!(texts(&svg).join(" ").contains("2 events are the first of a kind"));
    }

    #[test]
    fn too_many_arcs_are_left_out_by_length_and_counted() {
        let mut picture = example();
        picture.max_arcs = 2;
        let svg = picture.svg().unwrap();
        assert_eq!(arcs(&svg).len(), 2);
        assert!(texts(&svg).join(" ").contains("2 of 5 suffix links, the longest repetitions first; 3 are left out."));
        picture.max_arcs = MAX_ARCS + 1;
        assert!(picture.svg().is_err());
    }

    #[test]
    fn links_to_another_recording_have_another_colour() {
        let span = |name: &str, events| SourceSpan { name: name.into(), events };
        let mut picture = example();
        picture.sources = vec![span("a<b>&.ogg", 4), span("second.ogg", 3)];
        let svg = picture.svg().unwrap();
        let crossing = arcs(&svg).iter().filter(|arc| arc.is("stroke", "#D55E00")).count();
        assert_eq!(crossing, 3);
        let texts = texts(&svg);
        assert!(texts.contains(&"a<b>&.ogg".to_string()) && texts.contains(&"second.ogg".to_string()), "{texts:?}");
        assert!(texts.join(" ").contains("2 recordings, separated by lines."));
        picture.sources.pop();
        assert!(matches!(picture.svg(), Err(PlotsError::Value { field: "sources", .. })));
    }

    #[test]
    fn a_long_repetition_does_not_take_the_place_of_others() {
        // 0..100 twice, then 200 once more somewhere else: 100 links of one repetition, and one of another.
        let mut tokens: Vec<u32> = (0..100).chain(0..100).collect();
        tokens.extend([500, 42]);
        let links = (0..202u32).map(|event| match event {
            100..=199 => SuffixLink { event, target: Some(event - 100), length: event - 99 },
            201 => SuffixLink { event, target: Some(42), length: 1 },
            _ => SuffixLink { event, target: None, length: 0 },
        });
        let picture = OraclePicture { tokens, links: links.collect(), max_arcs: 2, ..example() };
        assert_eq!(picture.chosen().iter().map(|link| link.event).collect::<Vec<_>>(), [201, 199]);
    }

    #[test]
    fn a_hundred_thousand_events_stay_small() {
        let links = (0..100_000u32).map(|event| {
            let target = event.checked_sub(1 + event * 7919 % 500);
            SuffixLink { event, target, length: if target.is_some() { 1 + event % 37 } else { 0 } }
        });
        let tokens = (0..100_000u32).map(|event| event * 31 % 512).collect();
        let picture = OraclePicture { tokens, links: links.collect(), ..example() };
        let svg = picture.svg().unwrap();
        assert_eq!(arcs(&svg).len(), 1000);
        assert!(svg.len() < 1_000_000, "{}", svg.len());
        assert_eq!(svg, picture.svg().unwrap());
    }

    #[test]
    fn one_event_has_no_arc() {
        let mut picture = example();
        picture.tokens.truncate(1);
        picture.links.truncate(1);
        assert!(texts(&picture.svg().unwrap()).join(" ").contains("No suffix link"));
        picture.links[0].target = Some(0);
        assert!(matches!(picture.svg(), Err(PlotsError::Value { field: "target", .. })));
        let none = OraclePicture { tokens: Vec::new(), links: Vec::new(), ..picture };
        assert!(matches!(none.svg(), Err(PlotsError::Empty { .. })));
    }
}
