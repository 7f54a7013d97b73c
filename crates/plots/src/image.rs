//! An image inside an SVG: a PNG with a palette, so that a spectrogram takes tens of kilobytes instead of megabytes of
//! rectangles.

use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{PlotsError, Result};

/// A PNG at a place of the drawing.
pub(crate) struct Image {
    png: Vec<u8>,
    x: Range<i32>,
    y: Range<i32>,
}

impl Image {
    /// An image of indices of a palette, rows from above, that fills the place `x`, `y` in units of the drawing.
    pub(crate) fn new(
        (width, height): (usize, usize),
        indices: &[u8],
        palette: Vec<u8>,
        (x, y): (Range<i32>, Range<i32>),
    ) -> Result<Self> {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, width as u32, height as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(palette);
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let failed = |error: png::EncodingError| PlotsError::Draw(error.to_string());
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(indices).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(Image { png, x, y })
    }

    /// The element.
    pub(crate) fn write(&self, svg: &mut String) {
        let (x, y) = (&self.x, &self.y);
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" href=\"data:image/png;base64,{}\"/>",
            x.start,
            y.start,
            x.end - x.start,
            y.end - y.start,
            STANDARD.encode(&self.png)
        );
    }
}
