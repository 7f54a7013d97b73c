//! The tokens of a recording under its spectrogram.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::axis::{Axis, Panel, RIGHT, X_AXIS, panel};
use crate::canvas::{Area, WIDTH, anchored, font, picture, px, stroke};
use crate::image::Image;
use crate::palette::{INK, loudness};
use crate::runs::{Colours, Drawn, Run};
use crate::spectrogram_image::{SILENCE, STEPS, levels_palette};
use crate::strip::{self, COLUMNS, LEGEND};
use crate::text::{counted, grouped};
use crate::{PlotsError, Result, Spectrogram};

/// The heights in pixels.
const SPECTROGRAM: i32 = 300;
const STRIP: i32 = 64;

/// The tokens of a recording under its spectrogram. All times are seconds of the recording; the picture shows the spectrogram's
/// range.
#[derive(Debug, Clone)]
pub struct TokensPicture {
    /// The title.
    pub title: String,
    /// The spectrogram.
    pub spectrogram: Spectrogram,
    /// The runs of tokens, ascending.
    pub runs: Vec<Run>,
    /// The name of a run in the caption, such as ("event", "events").
    pub run_name: (&'static str, &'static str),
    /// The onsets of events, if they are known.
    pub onsets: Option<Vec<f64>>,
}

impl TokensPicture {
    /// The picture.
    ///
    /// # Errors
    /// [`PlotsError::Empty`] if no run lies in the range, and [`PlotsError::Draw`].
    pub fn svg(&self) -> Result<String> {
        let Spectrogram { start, end, .. } = self.spectrogram;
        let drawn = Drawn::new(&self.runs, (start, end), COLUMNS);
        if drawn.total == 0 {
            return Err(PlotsError::Empty { what: "tokens in this range" });
        }
        let colours = Colours::new(&self.runs, (start, end));
        let loudest = self.spectrogram.loudest();
        let onsets = self.onsets.as_deref().map(|onsets| ticks(onsets, (start, end)));
        let mut caption = vec![self.sound_caption(loudest)];
        let (singular, plural) = self.run_name;
        let different = colours.named.len() + colours.others.0;
        caption.push(format!(
            "Below: {} {}, the share of time behind each.",
            drawn.caption(singular, plural),
            if different == 1 {
                "One token".to_string()
            } else {
                format!("{} different tokens; the most frequent have a colour", grouped(different))
            }
        ));
        if let Some((ticks, count)) = &onsets {
            let note = if ticks.len() < *count {
                format!(" {} share their half pixel with another.", grouped(count - ticks.len()))
            } else {
                String::new()
            };
            caption.push(format!("Ticks above them: {}.{note}", counted(*count, "onset", "onsets")));
        }
        picture(&self.title, SPECTROGRAM + STRIP + X_AXIS + LEGEND, &[caption.join(" ")], |sheet| {
            let (top, below) = sheet.split_vertically(px(SPECTROGRAM));
            let (middle, bottom) = below.split_vertically(px(STRIP + X_AXIS));
            let image = self.sound(&top)?;
            let x = Axis::linear(start..end, 12, "time (s)");
            let strip = panel(&middle, &x, &Axis::linear(0.0..1.0, 1, "").hidden(), false)?;
            strip::draw(&strip, &drawn, &colours, (0.0, 0.72))?;
            for place in onsets.iter().flat_map(|(ticks, _)| ticks) {
                strip.draw(&PathElement::new(vec![(*place, 0.76), (*place, 0.98)], stroke(&INK, 3)))?;
            }
            strip::legend(&bottom, &colours, "token:")?;
            Ok(vec![image])
        })
    }

    /// The panel of the spectrogram with its scale of loudness, and the image that lies in it.
    fn sound(&self, area: &Area<'_>) -> Result<Image> {
        let spectrogram = &self.spectrogram;
        let x = Axis::linear(spectrogram.start..spectrogram.end, 12, "").hidden();
        let y = Axis::logarithmic(spectrogram.lowest..spectrogram.highest, "frequency (Hz)");
        let place: Panel<'_> = panel(area, &x, &y, false)?;
        let left = px(WIDTH - RIGHT + 14);
        let (top, height) = (px(24), px(SPECTROGRAM - 48));
        for step in 0..STEPS as i32 {
            let [red, green, blue] = loudness(step as usize, STEPS);
            let edge = |step: i32| top + height - height * step / STEPS as i32;
            let corners = [(left, edge(step + 1)), (left + px(12), edge(step))];
            area.draw(&Rectangle::new(corners, RGBColor(red, green, blue).filled()))?;
        }
        area.draw(&Rectangle::new([(left, top), (left + px(12), top + height)], stroke(&INK, 1)))?;
        let style = anchored(font(11.0), HPos::Left, VPos::Center);
        for (text, y) in [("0", top), ("−40", top + height / 2), ("−80", top + height)] {
            area.draw(&Text::new(text, (left + px(16), y), style.clone()))?;
        }
        area.draw(&Text::new("dB", (left, top - px(10)), style))?;
        let size = (spectrogram.columns, spectrogram.rows);
        Image::new(size, &spectrogram.levels(), levels_palette(), place.get_pixel_range())
    }

    fn sound_caption(&self, loudest: f64) -> String {
        if loudest < SILENCE {
            return "Above: the spectrogram, which is silent.".into();
        }
        let Spectrogram { columns, rows, resolution, .. } = self.spectrogram;
        format!(
            "Above: the spectrogram in {columns} × {rows} cells of {:.3} s; 0 dB is the loudest cell, {:.0} dB of full scale.",
            resolution,
            10.0 * loudest.log10()
        )
        .replace(" -", " −")
    }
}

/// The onsets within a range, one for each column of the strip, and the number of all of them.
fn ticks(onsets: &[f64], (start, end): (f64, f64)) -> (Vec<f64>, usize) {
    let within: Vec<f64> = onsets.iter().copied().filter(|onset| (start..end).contains(onset)).collect();
    let mut drawn: Vec<f64> = Vec::new();
    let column = |onset: f64| ((onset - start) / (end - start) * COLUMNS as f64) as i64;
    for onset in &within {
        if drawn.last().is_none_or(|last| column(*last) != column(*onset)) {
            drawn.push(*onset);
        }
    }
    (drawn, within.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SpectrogramBuilder;
    use crate::testing::{elements, numbers, texts};

    fn picture_of(runs: Vec<Run>, onsets: Option<Vec<f64>>) -> TokensPicture {
        let mut builder = SpectrogramBuilder::new(24_000, 0.0, 10.0).unwrap();
        let samples: Vec<f32> = (0..240_000).map(|n| (n as f32 * 0.1).sin() * 0.5).collect();
        builder.push(&samples);
        let run_name = ("event", "events");
        TokensPicture { title: "<a> & \"b\"\u{1}".into(), spectrogram: builder.finish(), runs, run_name, onsets }
    }

    #[test]
    fn runs_lie_at_their_times() {
        let runs = vec![Run { token: 7, start: 0.0, end: 4.0 }, Run { token: 300, start: 4.0, end: 10.0 }];
        let svg = picture_of(runs, Some(vec![0.0, 4.0])).svg().unwrap();
        let elements = elements(&svg);
        // The panel is from 76 to 1,136 px, in quarters of a pixel, less the last.
        let place = |time: f64| (304.0 + time / 10.0 * 4239.0) as i64;
        let rectangle = |color: &str| {
            let found = elements.iter().find(|e| e.name == "rect" && e.is("fill", color) && e.number("height") > 150.0);
            let found = found.unwrap();
            (found.number("x") as i64, (found.number("x") + found.number("width")) as i64)
        };
        assert_eq!(rectangle("#0072B2"), (place(4.0), place(10.0)));
        assert_eq!(rectangle("#E69F00"), (place(0.0), place(4.0)));
        let texts = texts(&svg);
        assert!(texts.contains(&"7".to_string()) && texts.contains(&"300".to_string()));
        assert!(texts.iter().any(|text| text == "<a> & \"b\"\u{fffd}"), "{texts:?}");
        let ticks = elements.iter().filter(|e| e.name == "polyline" && e.is("stroke", "#222222"));
        let places: Vec<i64> = ticks.map(|e| numbers(e.attribute("points"))[0] as i64).collect();
        assert!(places.contains(&place(4.0)), "{places:?}");
        assert_eq!(elements.iter().filter(|e| e.name == "image").count(), 1);
    }

    #[test]
    fn long_recordings_stay_small_and_say_so() {
        let runs: Vec<Run> = (0..100_000u32)
            .map(|at| Run { token: at * 7919 % 2048, start: f64::from(at) * 1e-4, end: f64::from(at + 1) * 1e-4 })
            .collect();
        let onsets = Some(runs.iter().map(|run| run.start).collect());
        let svg = picture_of(runs, onsets).svg().unwrap();
        assert!(svg.len() < 800_000, "{}", svg.len());
        let text = texts(&svg).join(" ");
        assert!(text.contains("100,000 events, some too short to draw") && text.contains("100,000 onsets"), "{text}");
        assert!(text.contains("share their half pixel"));
    }

    #[test]
    fn silence_is_white_and_said() {
        let spectrogram = SpectrogramBuilder::new(24_000, 0.0, 1.0).unwrap().finish();
        let runs = vec![Run { token: 0, start: 0.0, end: 1.0 }];
        let picture =
            TokensPicture { title: String::new(), spectrogram, runs, run_name: ("run", "runs"), onsets: None };
        assert!(picture.svg().unwrap().contains("which is silent"));
        let none = TokensPicture { runs: Vec::new(), ..picture };
        assert!(matches!(none.svg(), Err(PlotsError::Empty { .. })));
    }

    #[test]
    fn the_same_data_gives_the_same_bytes() {
        let runs = vec![Run { token: 7, start: 0.0, end: 4.0 }];
        assert_eq!(picture_of(runs.clone(), None).svg().unwrap(), picture_of(runs, None).svg().unwrap());
    }
}
