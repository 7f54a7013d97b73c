//! The recordings of a memory on an axis of events: their borders and names.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::axis::Panel;
use crate::canvas::{UNITS, anchored, colored, px, stroke};
use crate::palette::QUIET_INK;
use crate::text::{clean, counted, shorten, width};
use crate::{PlotsError, Result};

/// The recordings whose borders are drawn; more would hide what is drawn of them.
const MAX_BORDERS: usize = 100;

/// The size of names in pixels, and the columns that one needs at least.
const NAMES: f64 = 11.0;
const LEAST: usize = 6;

/// The height of the names, in pixels.
pub(crate) const HEIGHT: i32 = 18;

/// A recording in a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpan {
    /// The name of the recording.
    pub name: String,
    /// The number of its events.
    pub events: u32,
}

/// The number of events of the sources must be that of the memory, or there are none.
pub(crate) fn check(sources: &[SourceSpan], events: usize) -> Result<()> {
    let sum: u64 = sources.iter().map(|source| u64::from(source.events)).sum();
    if !sources.is_empty() && sum != events as u64 {
        return Err(PlotsError::value("sources", format!("{sum} events"), "as many events as the memory has"));
    }
    Ok(())
}

/// The recording of each event, by index.
pub(crate) fn by_event(sources: &[SourceSpan]) -> Vec<u32> {
    (0..).zip(sources).flat_map(|(index, source)| std::iter::repeat_n(index, source.events as usize)).collect()
}

/// Draws the borders over the height of a panel, and the names above it. Returns what the caption says of them.
pub(crate) fn draw(panel: &Panel<'_>, sources: &[SourceSpan], top: f64) -> Result<Option<String>> {
    if sources.len() < 2 {
        return Ok(None);
    }
    let count = counted(sources.len(), "recording", "recordings");
    if sources.len() > MAX_BORDERS {
        return Ok(Some(format!("{count}, more than {MAX_BORDERS}, so that their borders are not drawn.")));
    }
    let bottom = panel.as_coord_spec().get_y_range().start;
    let mut start = 0.0;
    let mut named = 0;
    for source in sources {
        let end = start + f64::from(source.events);
        if start > 0.0 {
            panel.draw(&PathElement::new(vec![(start, bottom), (start, top)], stroke(&QUIET_INK.mix(0.6), 3)))?;
        }
        let (left, high) = panel.map_coordinate(&(start, top));
        let room = f64::from(panel.map_coordinate(&(end, top)).0 - left) / f64::from(UNITS) - 8.0;
        let columns = (room / width("n", NAMES)).max(0.0) as usize;
        if columns >= LEAST && source.events > 0 {
            let style = anchored(colored(NAMES, QUIET_INK), HPos::Left, VPos::Center);
            let text = shorten(&clean(&source.name), columns);
            let place = panel.strip_coord_spec();
            let (across, down) = place.get_pixel_range();
            let at = (left + px(4) - across.start, high - px(HEIGHT / 2) - down.start);
            place.draw(&Text::new(text, at, style))?;
            named += 1;
        }
        start = end;
    }
    let unnamed = sources.len() - named;
    let note = if unnamed > 0 { format!(" ({unnamed} too short for their names)") } else { String::new() };
    Ok(Some(format!("{count}, separated by lines{note}.")))
}
