//! The trims and the length of a file's samples, as far as they come from outside the packets.

use super::file::AudioFile;
use super::options::Damage;
use super::quirks::layout::Layout;
use super::quirks::ogg_pages::{Ogg, Pages};
use super::quirks::{matroska, mp4_edits};
use crate::Result;

impl AudioFile {
    /// Applies an MP4 edit list, or the encoder delay of iTunes.
    pub(super) fn apply_edits(&mut self, edits: mp4_edits::Edits) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |seconds: f64| (seconds * rate).round() as u64;
        let delay = edits.delay.filter(|_| edits.edit.is_none() && self.info.codec == "aac");
        self.skip = edits.edit.map(|edit| samples(edit.start)).or(delay).unwrap_or(self.skip);
        // The last packet may decode to more samples than the media's duration.
        let media = self.info.frames.map(|frames| frames.saturating_sub(self.skip));
        let edited = edits.edit.and_then(|edit| edit.duration).map(samples);
        self.keep = [media, edited].into_iter().flatten().min();
        self.info.frames = media.and(self.keep);
    }

    /// Applies the codec delay and the discard padding of Matroska.
    pub(super) fn apply_matroska(&mut self, trims: matroska::Trims) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |nanoseconds: u64| (nanoseconds as f64 * 1e-9 * rate).round() as u64;
        // Opus states its delay in its own header, too.
        if self.info.codec != "opus" {
            self.skip = samples(trims.delay);
        }
        self.discard = trims.discard.map(|(packet, nanoseconds)| (packet, samples(nanoseconds)));
        self.is_truncated |= trims.is_truncated;
    }

    /// Applies the positions of the pages of Ogg, and refuses damaged pages.
    pub(super) fn apply_pages(&mut self, ogg: Ogg) -> Result<()> {
        let seconds = |samples: u64, rate: u32| samples as f64 / f64::from(rate);
        let rate = self.info.sample_rate;
        let blocks = ogg.vorbis.get(&self.track_id).filter(|_| self.info.codec == "vorbis");
        let extent = blocks.and_then(|blocks| blocks.extent());
        match ogg.pages {
            Pages::Whole if extent.is_none() => return Ok(()),
            // Data after the stream is refused when reading reaches it.
            Pages::Whole | Pages::Chained => {}
            Pages::Truncated => self.is_truncated = true,
            Pages::Damaged { time } => self.damaged(seconds(time, rate), "a page is missing or has changed")?,
        }
        // The reader computed the length from the first and the last page that are left.
        self.info.frames = None;
        let Some(extent) = extent.filter(|_| !matches!(ogg.pages, Pages::Damaged { .. })) else { return Ok(()) };
        self.own_trims = true;
        self.skip = extent.skip;
        if ogg.pages != Pages::Truncated {
            self.keep = Some(extent.keep);
        }
        if ogg.pages == Pages::Whole {
            self.info.frames = Some(extent.keep);
            if extent.surplus_pages > 0 {
                let note = "pages after the first end of the stream were skipped, as other players do";
                self.notes.push(format!("{} {note}", extent.surplus_pages));
            }
        }
        if let Some(missing) = extent.missing {
            let reason = format!("the pages count {} samples more than they hold", missing.count);
            self.damaged(seconds(missing.at, rate), &reason)?;
        }
        Ok(())
    }

    /// Applies the findings of the layout, and refuses data between frames.
    pub(super) fn apply_layout(&mut self, layout: Layout) -> Result<()> {
        self.info.container = layout.container.unwrap_or(self.info.container);
        self.info.frames = layout.frames.or(self.info.frames);
        self.is_truncated |= layout.is_truncated;
        self.notes.extend(layout.notes);
        // A tag without a delay does not count as a statement of the length.
        if let Some(count) = layout.surplus_frames.filter(|_| self.info.frames.is_some()) {
            let frames = if count == 1 { "frame" } else { "frames" };
            let note = "after the end that the tag states were skipped: several files may have been joined";
            self.notes.push(format!("{count} {frames} {note}"));
        }
        for gap in layout.gaps {
            let repair = match (self.damage, gap.filled) {
                (Damage::Refuse, _) => "",
                (Damage::Keep, true) => "; they were replaced with silence",
                (Damage::Keep, false) => "; their length is unknown and they were skipped",
            };
            let reason = format!("{} bytes between two frames are not audio{repair}", gap.bytes);
            self.damaged(gap.sample as f64 / f64::from(self.info.sample_rate), &reason)?;
            self.resets.push_back(gap.packet);
        }
        Ok(())
    }
}
