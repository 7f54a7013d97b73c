//! What need not be decoded, because nothing of it is wanted.

use super::AudioFile;
use crate::Result;

impl AudioFile {
    /// How many samples a decoder must have seen before those that are wanted come out as if it had seen all;
    /// `None` if that needs all.
    pub(super) fn decoder_lead(&self) -> Option<u64> {
        match self.info.codec {
            "flac" | "alac" => Some(0),
            codec if codec.starts_with("pcm") => Some(0),
            // The data of a frame may begin 255 bytes earlier, of which each frame before holds at least one (MPEG-2,
            // 8 kbit/s in stereo with checksums), and its filters reach over two frames.
            "mp3" => Some(260 * 1152),
            // A packet overlaps with the one before, and the longest has 8192 samples.
            "vorbis" => Some(2 * 8192),
            // AAC may hold noise from a generator that runs on from packet to packet.
            _ => None,
        }
    }

    /// Reads the packets that end before the sample `end`, of which only those less than `lead` before it are decoded.
    pub(super) fn pass_over_packets(&mut self, end: u64, lead: u64) -> Result<()> {
        while let Some(packet) = self.next_packet()? {
            let frames = self.frames_of(&packet);
            let left_out = self.skip.min(frames);
            let next = self.position + frames - left_out;
            if next > end || self.gap_before(&packet) > 0 {
                self.unread(packet);
                return Ok(());
            }
            // The first tells the decoder how many channels there are.
            if end - next < lead || (lead > 0 && self.position == 0) {
                // For what the decoder remembers of it. The first of these may come out wrong and in a wrong length.
                let _ = self.decoder.decode(&packet);
            }
            self.passed_over = true;
            self.skip -= left_out;
            self.position = next;
        }
        self.ended = true;
        self.check_end()
    }
}
