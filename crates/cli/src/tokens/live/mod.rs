//! `mert-tokens live`: notes that answer sound while it is played.
//!
//! - `args.rs`: the options. `source.rs`: blocks from a file, standard input or a sound card. `commands.rs`: lines of a player.
//! - `report.rs`: the status line and the summary.

mod args;
mod commands;
mod report;
mod source;

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use mert_audio::Seconds;
use mert_clap::{ClapAudio, ClapSelector, Listening, Settings};
use mert_cli::embedding::interrupt::{STOP, while_embedding};
use mert_cli::terminal::{Exit, say};
use mert_fs::sha256_file;
use mert_live::answer::{AnswerMode, AnswerSettings, Centres};
use mert_live::mode::{Fixed, ModeSelector, Modes, Rules};
use mert_live::sink::{LinesSink, MidiFileSink, MidiSink, Outlet};
use mert_live::{Command, Ending, Engine, EngineSettings, ModelEncoder, Pace, Report, Session, TokenUse};
use mert_oracle::OracleFile;
use mert_table::printable_path;

pub(crate) use self::args::LiveArgs;
use self::args::ModeBy;
use self::report::StatusLine;
use self::source::Source;
use crate::encode::{Opened, Stated};
use crate::file_kind::{FileKind, read_as, read_text};
use crate::oracle::open_oracle;

/// The seconds that a mode chosen by rule stays at least, so that a value at a threshold does not go back and forth.
const RULE_HOLD: f64 = 2.0;

/// Runs the subcommand.
pub(crate) fn run(args: &LiveArgs) -> anyhow::Result<Exit> {
    let quiet = args.options.quiet;
    #[cfg(not(feature = "live"))]
    args.devices.check()?;
    if let Some(output) = &args.output {
        let is_midi = output
            .extension()
            .is_some_and(|extension| ["mid", "midi"].iter().any(|midi| extension.eq_ignore_ascii_case(midi)));
        ensure!(is_midi, "{}: name the output .mid; --lines writes JSON lines", printable_path(output));
        ensure!(args.force || !output.exists(), mert_fs::FsError::OutputExists { path: output.clone() });
    }
    let request = args.navigation.request()?;
    let modes = match &args.modes {
        None => Modes::default(),
        Some(path) => Modes::parse(&read_text(path)?).with_context(|| printable_path(path))?,
    };
    let planned = args.script.as_deref().map(|path| commands::read_script(path, &modes)).transpose()?;
    let selector = selector(args, &modes)?;
    let oracle = open_oracle(&args.oracle)?;
    let opened = Stated::nothing().open(&args.model, &args.vocabulary, &args.options)?;
    check_digests(args, &oracle, &opened)?;
    let vocabulary = opened.tokenizer.vocabulary();
    let centres = Centres { values: vocabulary.centroids().to_vec(), dim: vocabulary.dim() };
    let training = vocabulary.counts.as_ref().map(|counts| TokenUse::of(counts.iter().copied()));

    let source = Source::open(args)?;
    if !quiet {
        say(&source.describe());
    }
    let pace = match source.is_live() {
        true => Pace::Clock,
        false => Pace::Samples { compute_delay: args.compute_delay.map_or(0.0, |delay| delay.get()) },
    };
    let mut settings = EngineSettings { pace, answer: args.answer_settings()?, ..EngineSettings::new(source.rate()) };
    settings.onset.sensitivity = args.sensitivity;
    let encoder = Box::new(ModelEncoder::new(opened.encoder, opened.tokenizer));
    let mut engine = Engine::new(settings, encoder, Arc::new(oracle), centres, modes, selector)?;
    for output in engine.command(Command::Request(request)) {
        if let mert_live::Output::Notice(notice) = output {
            say(&notice);
        }
    }
    planned.into_iter().flatten().for_each(|(time, command)| engine.plan(time, command));

    let outlet = Outlet::new(sinks(args)?);
    let mut line = StatusLine::new(quiet || !std::io::stderr().is_terminal(), training);
    let mut report = |report: Report<'_>| match report {
        Report::Notice(notice) => line.notice(notice, quiet),
        Report::Status(status, dropped) => line.show(status, dropped),
    };
    let session = Session { engine, outlet, stop: &STOP, report: &mut report };
    let summary = while_embedding(|| source.play(session))?;
    line.finish();
    if !quiet {
        report::summary(&summary, training.as_ref(), pace).iter().for_each(|text| say(text));
    }
    Ok(if summary.ending == Ending::Stopped { Exit::Interrupted } else { Exit::Success })
}

fn selector(args: &LiveArgs, modes: &Modes) -> anyhow::Result<Option<Box<dyn ModeSelector>>> {
    if modes.is_empty() {
        ensure!(args.mode.is_none() && args.mode_by == ModeBy::Line, "--mode and --mode-by need --modes FILE");
        return Ok(None);
    }
    ensure!(args.clap.is_none() || args.mode_by == ModeBy::Text, "--clap is for --mode-by text");
    ensure!(args.mode_hold.is_none() || args.mode_by != ModeBy::Line, "--mode-hold is for --mode-by rule and text");
    if let Some(mode) = &args.mode {
        modes.get(mode)?;
        return Ok(Some(Box::new(Fixed::new(mode))));
    }
    Ok(match args.mode_by {
        ModeBy::Line => None,
        ModeBy::Rule => {
            let rules = Rules::new(modes, args.mode_hold.map_or(RULE_HOLD, Seconds::get));
            ensure!(!rules.is_empty(), "--mode-by rule: no mode of the file has a condition (`when`)");
            Some(Box::new(rules))
        }
        ModeBy::Text => {
            let (Some(checkpoint), Some(texts)) = (&args.clap, &args.clap_modes) else {
                bail!("--mode-by text: give --clap CHECKPOINT and --clap-modes FILE");
            };
            let clap = read_as(checkpoint, FileKind::ClapCheckpoint, ClapAudio::open(checkpoint))?;
            let texts = read_as(texts, FileKind::ClapTexts, mert_clap::Modes::read(texts))?;
            let selector = ClapSelector::new(clap, texts, args.clap_settings(), args.clap_listening())?;
            selector.check_session(modes)?;
            Some(Box::new(selector))
        }
    })
}

/// Refuses an oracle of another vocabulary or model, whose tokens are other names.
fn check_digests(args: &LiveArgs, oracle: &OracleFile, opened: &Opened) -> anyhow::Result<()> {
    let vocabulary = sha256_file(&args.vocabulary)?;
    let oracle_name = printable_path(&args.oracle);
    for (what, file, used, recorded) in [
        ("vocabulary", &args.vocabulary, &vocabulary, oracle.vocabulary_sha256()),
        ("model", &args.model, &opened.model_sha256, oracle.model_sha256()),
    ] {
        match recorded {
            Some(recorded) if recorded == used => {}
            Some(recorded) => bail!(
                "{oracle_name} is for the {what} {}…, and {} is {}…: its tokens have other meanings; give the {what} that the \
                 oracle was built with, or build it again",
                &recorded[..12.min(recorded.len())],
                printable_path(file),
                &used[..12.min(used.len())]
            ),
            None => {
                say(&format!("{oracle_name} does not record its {what}: it is taken to be {}", printable_path(file)))
            }
        }
    }
    Ok(())
}

fn sinks(args: &LiveArgs) -> anyhow::Result<Vec<Box<dyn MidiSink>>> {
    let mut sinks: Vec<Box<dyn MidiSink>> = Vec::new();
    if let Some(output) = &args.output {
        sinks.push(Box::new(MidiFileSink::new(output.clone(), args.force)));
    }
    #[cfg(feature = "live")]
    if args.virtual_port {
        sinks.push(Box::new(mert_live::sink::PortSink::create_virtual()?));
    } else if let Some(part) = &args.port {
        let port = mert_live::sink::PortSink::open(part)?;
        if !args.options.quiet {
            say(&format!("notes go to {}", port.name()));
        }
        sinks.push(Box::new(port));
    }
    if args.lines || sinks.is_empty() {
        sinks.push(Box::new(LinesSink::new(std::io::stdout())));
    }
    Ok(sinks)
}

impl LiveArgs {
    fn clap_settings(&self) -> Settings {
        let Settings { threshold, margin, min_stay } = Settings::default();
        Settings {
            threshold: self.clap_choice.clap_threshold.unwrap_or(threshold),
            margin: self.clap_choice.clap_margin.unwrap_or(margin),
            min_stay: self.mode_hold.map_or(min_stay, Seconds::get),
        }
    }

    fn clap_listening(&self) -> Listening {
        let Listening { seconds, interval } = Listening::default();
        Listening {
            seconds: self.clap_choice.clap_seconds.map_or(seconds, Seconds::get),
            interval: self.clap_choice.clap_interval.map_or(interval, Seconds::get),
        }
    }

    fn answer_settings(&self) -> anyhow::Result<AnswerSettings> {
        let mut settings = AnswerSettings {
            mode: self.answer.into(),
            cut: self.cut,
            navigation: self.navigation.options(),
            ..AnswerSettings::default()
        };
        if let Some(rest) = self.rest {
            let is_used = settings.mode == AnswerMode::Continuous || self.modes.is_some();
            ensure!(is_used, "--rest is for --answer continuous");
            settings.rest = rest.get();
        }
        settings.midi.channel = self.channel - 1;
        settings.midi.transpose = self.transpose;
        settings.midi.range = self.range;
        settings.midi.check()?;
        Ok(settings)
    }
}
