//! An image inside an SVG: a PNG with a palette, so that a spectrogram takes tens of kilobytes instead of megabytes of
//! rectangles.

use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{PlotsError, Result};

/// A PNG at a place of the drawing.
pub(crate) struct Image {
    uri: String,
    x: Range<i32>,
    y: Range<i32>,
}

impl Image {
    /// An image of indices of a palette, rows from above, that fills the place `x`, `y` in units of the drawing.
    pub(crate) fn new(
        size: (usize, usize),
        indices: &[u8],
        palette: Vec<u8>,
        (x, y): (Range<i32>, Range<i32>),
    ) -> Result<Self> {
        Ok(Image { uri: png_data_uri(size, indices, palette)?, x, y })
    }

    /// The element.
    pub(crate) fn write(&self, svg: &mut String) {
        let (x, y) = (&self.x, &self.y);
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" href=\"{}\"/>",
            x.start,
            y.start,
            x.end - x.start,
            y.end - y.start,
            self.uri
        );
    }
}

/// A PNG as a `data:` URI, for pages and pictures that load no other file. `indices` has a byte for each pixel, rows from above,
/// which is the place of its colour in `palette`: red, green and blue of at most 256 colours.
///
/// # Errors
/// [`PlotsError::Draw`] for a size of zero, and for another number of indices than the size has pixels.
pub fn png_data_uri((width, height): (usize, usize), indices: &[u8], palette: Vec<u8>) -> Result<String> {
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
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(&png)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_as_many_indices_as_pixels() {
        let palette = vec![0, 0, 0, 255, 255, 255];
        let uri = png_data_uri((2, 1), &[0, 1], palette.clone()).unwrap();
        let png = STANDARD.decode(uri.strip_prefix("data:image/png;base64,").unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![9; 2];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!((reader.info().palette.as_deref(), pixels), (Some(&palette[..]), vec![0, 1]));
        assert!(png_data_uri((2, 2), &[0, 1], palette.clone()).is_err());
        assert!(png_data_uri((0, 1), &[], palette).is_err());
    }
}
