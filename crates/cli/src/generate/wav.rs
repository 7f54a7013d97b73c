//! The WAV output: a file that appears when it is complete, or standard output as parts are finished.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use mert_fs::AtomicFile;

/// An output of samples.
pub(crate) struct WavOutput {
    to: To,
    is_float: bool,
    /// The number of samples beyond ±1, which integers cannot hold.
    pub(crate) clipped: u64,
}

enum To {
    File(AtomicFile, WavWriter<BufWriter<std::fs::File>>),
    Stream(io::Stdout),
}

impl WavOutput {
    /// A file, which is refused if it exists, without `force`.
    pub(crate) fn file(path: &Path, force: bool, spec: WavSpec) -> anyhow::Result<Self> {
        let file = AtomicFile::create(path, force)?;
        let writer = WavWriter::new(BufWriter::new(file.file().try_clone()?), spec)?;
        Ok(WavOutput { to: To::File(file, writer), is_float: spec.sample_format == SampleFormat::Float, clipped: 0 })
    }

    /// Standard output. Its header states the largest length, since the stream may be cut off: players read to the end.
    pub(crate) fn stream(spec: WavSpec) -> io::Result<Self> {
        let mut out = io::stdout();
        out.write_all(&spec.into_header_for_infinite_file())?;
        Ok(WavOutput { to: To::Stream(out), is_float: spec.sample_format == SampleFormat::Float, clipped: 0 })
    }

    /// Appends samples, channel by channel.
    pub(crate) fn write(&mut self, channels: &[Vec<f32>]) -> io::Result<()> {
        let count = channels.first().map_or(0, Vec::len);
        let mut bytes = Vec::new();
        for sample in (0..count).flat_map(|i| channels.iter().map(move |channel| channel[i])) {
            self.clipped += u64::from(!self.is_float && sample.abs() > 1.0);
            let integer = || (f64::from(sample) * 32_767.0).round().clamp(-32_767.0, 32_767.0) as i16;
            match (&mut self.to, self.is_float) {
                (To::File(_, writer), true) => writer.write_sample(sample).map_err(io::Error::other)?,
                (To::File(_, writer), false) => writer.write_sample(integer()).map_err(io::Error::other)?,
                (To::Stream(_), true) => bytes.extend(sample.to_le_bytes()),
                (To::Stream(_), false) => bytes.extend(integer().to_le_bytes()),
            }
        }
        match &mut self.to {
            To::Stream(out) => out.write_all(&bytes).and_then(|()| out.flush()),
            To::File(..) => Ok(()),
        }
    }

    /// Completes the output, which then appears under its name.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        if let To::File(file, writer) = self.to {
            writer.finalize()?;
            file.commit()?;
        }
        Ok(())
    }
}

/// The format of the output.
pub(crate) fn spec(channels: usize, rate: u32, is_float: bool) -> WavSpec {
    let (bits_per_sample, sample_format) = if is_float { (32, SampleFormat::Float) } else { (16, SampleFormat::Int) };
    // A model has one channel or two.
    WavSpec { channels: channels as u16, sample_rate: rate, bits_per_sample, sample_format }
}
