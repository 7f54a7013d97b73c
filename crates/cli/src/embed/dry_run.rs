//! The listing of `--dry-run`: the inputs with their format and length, and totals.

use std::io::{self, Write};

use mert_arch::printable_line;
use mert_audio::{AudioError, Track};
use mert_cli::terminal::Exit;
use mert_embed::failures::{Failure, count_by_reason};
use mert_embed::inputs::Input;
use mert_embed::{EmbedError, InputOptions};
use mert_table::printable_path;
use rayon::prelude::*;

/// Prints a line for each input to standard output, then the totals. `is_done` says whether an output or a journal
/// already holds a file.
pub(super) fn list(
    inputs: &[Input],
    rate: u32,
    options: &InputOptions,
    is_done: impl Fn(&Input) -> bool,
) -> (Exit, Vec<Failure>) {
    /// Files opened in parallel before the first of them is printed.
    const BLOCK: usize = 64;
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    let mut out = io::stdout().lock();
    for block in inputs.chunks(BLOCK) {
        let opened: Vec<_> = block.par_iter().map(|input| describe(input, rate, options)).collect();
        for (input, described) in block.iter().zip(opened) {
            let line = match described {
                Ok(file) => totals.add(&file, is_done(input)),
                Err(error) => {
                    failures.push(Failure::new(input, &error));
                    format!("cannot read  {:>10}  {}", "", printable_line(&error.to_string()))
                }
            };
            // The reader may close the pipe early.
            if writeln!(out, "{line}  {}", printable_path(&input.path)).is_err() {
                return (Exit::Success, failures);
            }
        }
    }
    let _ = writeln!(out, "{}", totals.text(inputs.len(), &failures));
    (if failures.is_empty() { Exit::Success } else { Exit::Failure }, failures)
}

/// The description of a file that can be opened.
struct File {
    /// Codec, container, rate and channels.
    format: String,
    /// Length in seconds, if the file states it.
    length: Option<f64>,
}

fn describe(input: &Input, rate: u32, options: &InputOptions) -> Result<File, EmbedError> {
    if input.is_stdin() {
        let rate = options.input_rate.unwrap_or(0);
        return Ok(File { format: format!("samples on standard input, {rate} Hz"), length: None });
    }
    let track = match Track::open(&input.path, rate, options.read_options()) {
        Err(AudioError::Open { .. }) if input.is_address() => return Err(EmbedError::Address),
        track => track?,
    };
    let info = track.info();
    let container = if info.container == info.codec { String::new() } else { format!(" in {}", info.container) };
    let channels = if info.channels == 1 { "mono".to_string() } else { format!("{} channels", info.channels) };
    let format = format!("{}{container}, {} Hz, {channels}", info.codec, info.sample_rate);
    Ok(File { format, length: info.frames.map(|frames| frames as f64 / f64::from(info.sample_rate)) })
}

/// Counts over all inputs.
#[derive(Default)]
struct Totals {
    /// Files to embed.
    embed: usize,
    /// Files that the output holds already.
    done: usize,
    /// The length of the files to embed, as far as they state it.
    seconds: f64,
    /// Files to embed that do not state their length.
    unknown: usize,
}

impl Totals {
    /// Counts a file and returns its line.
    fn add(&mut self, file: &File, is_done: bool) -> String {
        let what = if is_done { "done" } else { "embed" };
        if is_done {
            self.done += 1;
        } else {
            self.embed += 1;
            self.seconds += file.length.unwrap_or(0.0);
            self.unknown += usize::from(file.length.is_none());
        }
        let length = file.length.map_or("?".to_string(), clock);
        format!("{what:11}  {length:>10}  {:40}", file.format)
    }

    fn text(&self, inputs: usize, failures: &[Failure]) -> String {
        let mut text = format!("{inputs} files: {} to embed ({}", self.embed, clock(self.seconds));
        if self.unknown > 0 {
            text += &format!(", and {} of a length that only decoding shows", self.unknown);
        }
        text += ")";
        if self.done > 0 {
            text += &format!(", {} done already", self.done);
        }
        if !failures.is_empty() {
            text += &format!(", {} cannot be read ({})", failures.len(), count_by_reason(failures));
        }
        text
    }
}

/// Formats seconds as `3:07.2` or `1:02:03.4`: minutes, seconds and tenths, and hours if there are any.
fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (hours, minutes, seconds, tenths) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60, tenths % 10);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{tenths}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{tenths}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_to_tenths() {
        assert_eq!(clock(0.0), "0:00.0");
        assert_eq!(clock(59.96), "1:00.0");
        assert_eq!(clock(187.24), "3:07.2");
        assert_eq!(clock(3723.4), "1:02:03.4");
    }
}
