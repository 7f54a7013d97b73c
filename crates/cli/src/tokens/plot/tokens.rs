//! The picture of a recording: its tokens under its spectrogram.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, bail, ensure};
use clap::Args;
use mert_audio::{AudioFile, Damage, ReadOptions, Resampler, Source};
use mert_cli::embedding::interrupt::STOP;
use mert_cli::terminal::{Exit, say};
use mert_events::file::EventsFile;
use mert_plots::{Run, Spectrogram, SpectrogramBuilder, TokensPicture};
use mert_table::{escape, printable_path, unescape};
use mert_tokens::output::{ReadTokens, TokenSequence, deduplicate};

use super::OutputArgs;
use super::input::{Input, base_name, line_infos, read};

/// The rate of the spectrogram in hertz, whose upper end is 12 kHz.
const RATE: u32 = 24_000;

/// The seconds by which the lengths of tokens and sound may differ without a note: a frame that no window covers.
const TOLERANCE: f64 = 0.5;

/// The options of `plot tokens`.
#[derive(Debug, Args)]
pub(crate) struct TokensArgs {
    /// Events, or the tokens of frames
    tokens: PathBuf,
    /// The recording [default: the file that the tokens name]
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// The recording's number in the file, from 1 [default: the only one, or the one named as --audio]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    recording: Option<u32>,
    /// The part to draw, in seconds [default: all]
    #[arg(long, value_name = "START:END", value_parser = range)]
    range: Option<(f64, f64)>,
    /// The distance of frames in samples, for tokens whose file does not say it
    #[arg(long, value_name = "SAMPLES", value_parser = clap::value_parser!(u32).range(1..))]
    frame_hop: Option<u32>,
    /// The model's rate in hertz, for tokens whose file does not say it
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..))]
    sample_rate: Option<u32>,
    /// Decode formats that are not supported (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    ffmpeg: bool,
    #[command(flatten)]
    output: OutputArgs,
}

fn range(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once(':').and_then(|(start, end)| Some((start.parse().ok()?, end.parse().ok()?)));
    match parts {
        Some((start, end)) if start >= 0.0 && end > start && end < f64::INFINITY => Ok((start, end)),
        _ => Err("expected START:END in seconds, such as 10:25.5".into()),
    }
}

/// The tokens of a recording in time.
struct Recording {
    name: String,
    runs: Vec<Run>,
    run_name: (&'static str, &'static str),
    onsets: Option<Vec<f64>>,
    /// The length in seconds, as far as the tokens know it.
    duration: f64,
    sha256: Option<String>,
}

/// Draws the tokens.
pub(crate) fn run(args: &TokensArgs) -> anyhow::Result<Exit> {
    let audio = args.audio.as_deref();
    args.output.check(&[&[&*args.tokens][..], audio.as_slice()].concat())?;
    let recording = match read(&args.tokens)? {
        Input::Events(file) => args.of_events(file)?,
        Input::Tokens(ReadTokens::Sequences(sequences)) => args.of_tokens(sequences)?,
        Input::Tokens(ReadTokens::Vectors { .. }) => bail!("{} has vectors, not tokens", printable_path(&args.tokens)),
        Input::Oracle(_) => bail!(
            "{} is an oracle: give the file of events or tokens that it was built from, or draw it with `plot oracle`",
            printable_path(&args.tokens)
        ),
    };
    let named = unescape(&recording.name);
    let path = audio.unwrap_or(&named);
    ensure!(path.exists(), "{}: there is no such recording; name it with --audio", printable_path(path));
    if let Some(expected) = &recording.sha256 {
        let found = mert_fs::sha256_file(path).with_context(|| format!("cannot read {}", printable_path(path)))?;
        ensure!(
            *expected == found,
            "{} is not the recording of these events: its SHA-256 is {found}, theirs is {expected}",
            printable_path(path)
        );
    }
    let (start, end) = args.range.unwrap_or((0.0, recording.duration));
    ensure!(
        start < recording.duration,
        "--range starts at {start} s, and the recording ends at {:.3} s",
        recording.duration
    );
    let end = end.min(recording.duration);
    let (spectrogram, heard) = args.spectrogram(path, start, end)?;
    if STOP.load(Ordering::Relaxed) {
        say("interrupted: nothing is written");
        return Ok(Exit::Interrupted);
    }
    ensure!(
        heard + TOLERANCE >= end,
        "{} ends at {heard:.3} s, and its tokens at {:.3} s: is it the recording of these tokens?",
        printable_path(path),
        recording.duration
    );
    let picture = TokensPicture {
        title: args.output.title(|| {
            let part = args.range.map(|_| format!(", {} to {} s", rounded(start), rounded(end))).unwrap_or_default();
            format!("Tokens of {}{part}", base_name(&escape(path)))
        }),
        spectrogram,
        runs: recording.runs,
        run_name: recording.run_name,
        onsets: recording.onsets,
    };
    args.output.write(&picture.svg()?)
}

impl TokensArgs {
    fn of_events(&self, mut file: EventsFile) -> anyhow::Result<Recording> {
        ensure!(
            self.frame_hop.is_none() && self.sample_rate.is_none(),
            "events have times: leave --frame-hop and --sample-rate out"
        );
        let names: Vec<&str> = file.recordings.iter().map(|recording| recording.file.as_str()).collect();
        let recording = file.recordings.swap_remove(self.chosen(&names)?);
        let run = |event: &mert_events::Event| Run { token: event.token, start: event.start, end: event.end };
        Ok(Recording {
            runs: recording.events.iter().map(run).collect(),
            run_name: ("event", "events"),
            onsets: Some(recording.events.iter().map(|event| event.start).collect()),
            duration: recording.duration,
            sha256: Some(recording.sha256),
            name: recording.file,
        })
    }

    fn of_tokens(&self, mut sequences: Vec<TokenSequence>) -> anyhow::Result<Recording> {
        let names: Vec<&str> = sequences.iter().map(|sequence| sequence.file.as_str()).collect();
        let index = self.chosen(&names)?;
        let info = line_infos(&self.tokens)?.into_iter().nth(index).unwrap_or_default();
        let (hop, rate) = (
            stated("--frame-hop", self.frame_hop, info.frame_hop)?,
            stated("--sample-rate", self.sample_rate, info.sample_rate)?,
        );
        let sequence = sequences.swap_remove(index);
        let (units, durations) = deduplicate(&sequence.tokens);
        let frame = f64::from(hop) / f64::from(rate);
        let mut frames = 0u64;
        let runs = units.into_iter().zip(durations).map(|(token, duration)| {
            let start = frames as f64 * frame;
            frames += u64::from(duration);
            Run { token, start, end: frames as f64 * frame }
        });
        let runs: Vec<Run> = runs.collect();
        Ok(Recording {
            name: sequence.file,
            run_name: ("run of equal tokens", "runs of equal tokens"),
            onsets: None,
            duration: runs.last().map_or(0.0, |run| run.end),
            sha256: None,
            runs,
        })
    }

    /// The index of the recording that is asked for.
    fn chosen(&self, names: &[&str]) -> anyhow::Result<usize> {
        let name = printable_path(&self.tokens);
        if let Some(number) = self.recording {
            ensure!(number as usize <= names.len(), "--recording is {number}, and {name} has {}", names.len());
            return Ok(number as usize - 1);
        }
        if names.len() == 1 {
            return Ok(0);
        }
        ensure!(!names.is_empty(), "{name} has no recording");
        let audio = self.audio.as_deref().map(escape);
        let same = |wanted: &str| names.iter().position(|name| *name == wanted);
        let found = audio.as_deref().and_then(|audio| {
            let last: Vec<usize> = (0..names.len()).filter(|&at| base_name(names[at]) == base_name(audio)).collect();
            same(audio).or(if last.len() == 1 { Some(last[0]) } else { None })
        });
        found.with_context(|| {
            let some: Vec<String> =
                names.iter().take(5).zip(1..).map(|(name, number)| format!("{number} {name}")).collect();
            let more = if names.len() > 5 { ", …" } else { "" };
            format!("{name} has {} recordings: choose one by --recording ({}{more})", names.len(), some.join(", "))
        })
    }

    /// The spectrogram of a part of a file, and the second up to which there was sound to read.
    fn spectrogram(&self, path: &Path, start: f64, end: f64) -> anyhow::Result<(Spectrogram, f64)> {
        if self.ffmpeg {
            mert_audio::ffmpeg_version()?;
        }
        let mut file = AudioFile::open(path, ReadOptions { damage: Damage::Keep, ffmpeg: self.ffmpeg })?;
        let mut resampler = Resampler::new(file.sample_rate(), RATE)?;
        let mut builder = SpectrogramBuilder::new(RATE, start, end)?;
        let mut samples = 0u64;
        let mut take = |block: &[f32]| {
            samples += block.len() as u64;
            builder.push(block);
            builder.is_complete()
        };
        let mut complete = false;
        while let (false, false, Some(block)) = (complete, STOP.load(Ordering::Relaxed), file.next_block()?) {
            resampler.push(block, |block| complete |= take(block));
        }
        if !complete {
            resampler.finish(|block| complete |= take(block));
        }
        Ok((builder.finish(), samples as f64 / f64::from(RATE)))
    }
}

/// A value of the file, or of an option where the file does not have it.
fn stated(option: &str, given: Option<u32>, found: Option<u32>) -> anyhow::Result<u32> {
    match (given, found) {
        (Some(given), Some(found)) => {
            ensure!(given == found, "{option} is {given}, and the file says {found}");
            Ok(given)
        }
        (given, found) => given.or(found).with_context(|| {
            format!("the file does not say when its frames are: give {option}, as the model's configuration has it")
        }),
    }
}

/// A time in milliseconds, without zeros at the end.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}
