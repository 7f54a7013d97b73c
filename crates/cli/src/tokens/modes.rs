//! `mert-tokens modes`: the modes that a recording would choose by CLAP, to find a threshold before one plays.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use mert_audio::{Damage, Seconds, Tail, Track, WindowPolicy};
use mert_clap::{ClapAudio, ClapSelector, Decision, Listening, Modes, Settings};
use mert_cli::terminal::{Exit, say};
use serde_json::json;

use crate::file_kind::{FileKind, read_as};

/// Shows which mode a recording would choose by CLAP, every few seconds: a line of JSON with the score of each mode, the
/// current mode, and why it is so.
///
/// docs/clap.md has the Python that writes the vectors of the modes' texts.
#[derive(Debug, Args)]
pub(crate) struct ModesArgs {
    /// A CLAP checkpoint as transformers saved it, a folder
    checkpoint: PathBuf,
    /// The vectors of the modes' texts, JSON
    modes: PathBuf,
    /// A recording
    input: PathBuf,
    /// The seconds of sound that a choice is made from
    #[arg(long, value_name = "SECONDS", default_value_t = Listening::default().seconds)]
    seconds: f64,
    /// The seconds from a choice to the next
    #[arg(long, value_name = "SECONDS", default_value_t = Listening::default().interval)]
    interval: f64,
    /// The smallest score that chooses a mode, a cosine
    #[arg(long, value_name = "NUMBER", default_value_t = Settings::default().threshold)]
    threshold: f32,
    /// How much better than the current mode another one must be
    #[arg(long, value_name = "NUMBER", default_value_t = Settings::default().margin)]
    margin: f32,
    /// The shortest time that a mode stays, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Settings::default().min_stay)]
    min_stay: f64,
    /// Print nothing but the lines and errors
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the subcommand.
pub(crate) fn run(args: &ModesArgs) -> anyhow::Result<Exit> {
    let clap = read_as(&args.checkpoint, FileKind::ClapCheckpoint, ClapAudio::open(&args.checkpoint))?;
    if !args.quiet {
        clap.notes().iter().for_each(|note| say(note));
    }
    let rate = clap.preprocessor().sampling_rate;
    let settings = Settings { threshold: args.threshold, margin: args.margin, min_stay: args.min_stay };
    let listening = Listening { seconds: args.seconds, interval: args.interval };
    let mut selector = ClapSelector::new(
        clap,
        read_as(&args.modes, FileKind::ClapTexts, Modes::read(&args.modes))?,
        settings,
        listening,
    )?;
    let names: Vec<String> = selector.modes().names().map(Into::into).collect();

    let seconds = |value| Seconds::new(value).with_context(|| format!("{value} is no length in seconds"));
    let policy = WindowPolicy::Sliding { length: seconds(args.seconds)?, hop: seconds(args.interval)? };
    let mut windows = Track::open(&args.input, rate, Damage::Refuse)?.windows(&policy, Tail::Drop, 1)?;
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut count = 0;
    while let Some(window) = windows.next_window()? {
        let time = (window.start + window.samples.len() as u64) as f64 / f64::from(rate);
        let decision = selector.listen(&window.samples, rate, time)?.cloned();
        let line = match decision {
            Some(Decision { mode, scores, reason, .. }) => {
                let scores: BTreeMap<&String, f32> = names.iter().zip(scores).collect();
                json!({ "time": time, "mode": mode, "reason": reason, "scores": scores })
            }
            None => json!({ "time": time, "mode": selector.mode(), "reason": "silence" }),
        };
        writeln!(output, "{line}")?;
        count += 1;
    }
    output.flush()?;
    ensure!(count > 0, "the recording is shorter than {} s: give a longer one, or a smaller --seconds", args.seconds);
    Ok(Exit::Success)
}
