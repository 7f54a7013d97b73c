//! Colours that people with any colour vision tell apart: Okabe and Ito's set (2008), and greys.

use plotters::style::RGBColor;

/// The colours of the tokens with the most time, in that order.
pub(crate) const TOKENS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xF0, 0xE4, 0x42),
    RGBColor(0xCC, 0x79, 0xA7),
];

/// The greys of all other tokens, which alternate so that neighbours are told apart.
pub(crate) const OTHERS: [RGBColor; 2] = [RGBColor(0xD9, 0xD9, 0xD9), RGBColor(0xA6, 0xA6, 0xA6)];

pub(crate) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub(crate) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(crate) const QUIET_INK: RGBColor = RGBColor(0x55, 0x55, 0x55);
pub(crate) const GRID: RGBColor = RGBColor(0xE6, 0xE6, 0xE6);
pub(crate) const BLUE: RGBColor = TOKENS[0];
pub(crate) const VERMILION: RGBColor = TOKENS[3];

/// The colour of text on a colour: the one of black and white with the larger contrast by WCAG 2.
pub(crate) fn ink_on(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) { RGBColor(0, 0, 0) } else { PAPER }
}

/// Step `step` of `steps` from white (quiet) to a dark blue (loud), whose lightness falls evenly.
pub(crate) fn loudness(step: usize, steps: usize) -> [u8; 3] {
    let part = step as f64 / (steps.max(2) - 1) as f64;
    let mix = |dark: f64| (255.0 + (dark - 255.0) * part).round() as u8;
    [mix(8.0), mix(24.0), mix(64.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_contrasts_with_its_ground() {
        assert_eq!(ink_on(TOKENS[0]), PAPER);
        assert_eq!(ink_on(TOKENS[5]), RGBColor(0, 0, 0));
        assert_eq!(ink_on(OTHERS[0]), RGBColor(0, 0, 0));
    }

    #[test]
    fn loudness_goes_from_white_to_dark() {
        assert_eq!(loudness(0, 32), [255, 255, 255]);
        assert_eq!(loudness(31, 32), [8, 24, 64]);
    }
}
