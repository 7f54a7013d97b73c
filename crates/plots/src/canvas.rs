//! The sheet that all pictures are drawn on: a title above, a caption below, and the drawing between them.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::image::Image;
use crate::palette::{INK, PAPER, QUIET_INK};
use crate::text::{clean, shorten, wrap};
use crate::{PlotsError, Result};

/// The units of the drawing in a pixel: plotters' coordinates are whole numbers, and whole pixels are too coarse for curves.
pub(crate) const UNITS: i32 = 4;

/// The width of all pictures in pixels.
pub(crate) const WIDTH: i32 = 1200;

/// The heights of the title and of a line of the caption, and the margin below, in pixels.
const TITLE: i32 = 40;
const LINE: i32 = 17;
const MARGIN: i32 = 10;

/// The columns of a title and of a line of the caption.
const TITLE_COLUMNS: usize = 110;
const CAPTION_COLUMNS: usize = 175;

/// A part of the sheet.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Pixels in units of the drawing.
pub(crate) fn px(pixels: i32) -> i32 {
    pixels * UNITS
}

/// A font of a size in pixels. plotters divides sizes by 1.24 in SVG.
pub(crate) fn font(pixels: f64) -> TextStyle<'static> {
    colored(pixels, INK)
}

/// A font of a size in pixels and a colour.
pub(crate) fn colored(pixels: f64, color: RGBColor) -> TextStyle<'static> {
    TextStyle { color: color.to_backend_color(), ..("sans-serif", pixels * f64::from(UNITS) * 1.24).into() }
}

/// A line of a width in quarters of a pixel.
pub(crate) fn stroke(color: &impl Color, units: u32) -> ShapeStyle {
    color.stroke_width(units)
}

/// A font with the place of its text beside the point that is given.
pub(crate) fn anchored(style: TextStyle<'static>, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    style.pos(Pos::new(horizontal, vertical))
}

/// The SVG of a drawing of `height` pixels. `draw` gets the part of the sheet between title and caption, and returns the images
/// that lie behind its marks.
pub(crate) fn picture(
    title: &str,
    height: i32,
    caption: &[String],
    draw: impl FnOnce(&Area<'_>) -> Result<Vec<Image>>,
) -> Result<String> {
    let title = clean(title);
    let lines: Vec<String> = caption.iter().flat_map(|text| wrap(&clean(text), CAPTION_COLUMNS)).collect();
    let total = TITLE + height + LINE * lines.len() as i32 + MARGIN;
    let size = (px(WIDTH) as u32, px(total) as u32);
    let mut svg = String::new();
    let images = {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&PAPER)?;
        let heading = anchored(font(17.0), HPos::Left, VPos::Center);
        root.draw(&Text::new(shorten(&title, TITLE_COLUMNS), (px(14), px(TITLE / 2)), heading))?;
        let below = anchored(colored(12.0, QUIET_INK), HPos::Left, VPos::Center);
        for (index, line) in lines.iter().enumerate() {
            let y = TITLE + height + LINE * index as i32 + LINE / 2;
            root.draw(&Text::new(line.clone(), (px(14), px(y)), below.clone()))?;
        }
        let images = draw(&root.clone().shrink((0, px(TITLE)), (px(WIDTH), px(height))))?;
        root.present()?;
        images
    };
    assemble(&svg, &title, &lines.join(" "), total, &images)
}

/// The document with a size in pixels instead of units, its title and caption for those who do not see it, and images behind
/// the marks, which plotters cannot place.
fn assemble(svg: &str, title: &str, caption: &str, height: i32, images: &[Image]) -> Result<String> {
    // plotters writes an element a line: the root, the background, the marks.
    let mut parts = svg.splitn(3, '\n');
    let (Some(_), Some(background), Some(marks)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(PlotsError::Draw("the drawing has no background".into()));
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {} {}\" role=\"img\">\n\
         <title>{}</title>\n<desc>{}</desc>\n{background}\n",
        px(WIDTH),
        px(height),
        escape(title),
        escape(caption)
    );
    for image in images {
        image.write(&mut text);
    }
    text.push_str(marks);
    Ok(text)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
