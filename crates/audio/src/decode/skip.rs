//! Skipping packets that no window depends on, without decoding them.

use super::file::AudioFile;
use crate::Result;

impl AudioFile {
    /// The number of samples that must be decoded before a position so that the samples from there on are the same as
    /// if everything had been decoded; `None` if everything must be.
    pub(super) fn decoder_lead(&self) -> Option<u64> {
        match self.info.codec {
            "flac" | "alac" => Some(0),
            codec if codec.starts_with("pcm") => Some(0),
            // The data of a frame may begin 255 bytes earlier, of which each frame before holds at least one (MPEG-2,
            // 8 kbit/s in stereo with checksums), and its filters reach over two frames.
            "mp3" => Some(260 * 1152),
            // A packet overlaps with the one before, and the longest has 8192 samples.
            "vorbis" => Some(2 * 8192),
            // AAC may hold noise from a generator whose state carries over from packet to packet.
            _ => None,
        }
    }

    /// Reads the packets that end before sample `end`, and decodes only those within `lead` samples of it.
    pub(super) fn skip_packets(&mut self, end: u64, lead: u64) -> Result<()> {
        while let Some(packet) = self.next_packet()? {
            let frames = self.frames_of(&packet);
            let trimmed = self.skip.min(frames);
            let next = self.position + frames - trimmed;
            if next > end || self.gap_before(&packet) > 0 {
                self.unread(packet);
                return Ok(());
            }
            // From the first packet, some decoders learn the number of channels.
            if end - next < lead || (lead > 0 && self.position == 0) {
                // Only for the decoder's state. The first of these may decode to wrong samples of a wrong length.
                let _ = self.decoder.decode(&packet);
            }
            self.has_skipped = true;
            self.skip -= trimmed;
            self.position = next;
        }
        self.ended = true;
        self.check_end()
    }
}
