//! `mert-tokens events`: the events of recordings, with tokens, notes and features.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{bail, ensure};
use clap::Args;
use mert_audio::Seconds;
use mert_cli::embedding::interrupt::{STOP, while_embedding, while_writing};
use mert_cli::embedding::{file_line, report_left_out};
use mert_cli::terminal::{Exit, counted, say};
use mert_embed::failures;
use mert_embed::inputs::Input;
use mert_events::file::{EventsFile, Recording};
use mert_events::onset::OnsetSettings;
use mert_events::scale::FeatureScales;
use mert_events::segment::SegmentSettings;
use mert_fs::{replace_file, sha256_file};
use mert_table::printable_path;
use rayon::prelude::*;

use crate::analysis::{Analysed, AnalysisSettings, Notes, analyse_file};
use crate::encode::{Opened, Stated, encode_inputs};
use crate::inputs::recordings;
use crate::run_args::RunArgs;

/// The quantiles of the training's features that become 0 and 1.
const QUANTILES: (f64, f64) = (0.05, 0.95);

/// Cuts recordings into events at their onsets, each with the token of its frames, its notes and fourteen features of
/// consonance and rhythm: what an oracle learns.
///
/// Onsets are those of the sound, as in live use. Notes come from a MIDI file beside the recording (track.mid beside
/// track.flac) if there is one, else from a pitch tracker, which hears one note at a time.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// A file that mert-convert wrote, a folder with it, or a model of the hub (owner/name)
    model: PathBuf,
    /// The vocabulary, a file of mert-tokens train
    vocabulary: PathBuf,
    /// Files and folders
    #[arg(required_unless_present = "list")]
    inputs: Vec<PathBuf>,
    /// The file to write, JSON lines
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The origin of notes: auto, midi (files without a MIDI file are left out) or tracker
    #[arg(long, value_enum, default_value_t = Notes::Auto)]
    notes: Notes,
    /// How small a rise of the sound is an onset, 0 to 1
    #[arg(long, value_name = "NUMBER", default_value = "0.5", value_parser = unit)]
    sensitivity: f64,
    /// The shortest event
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    min_length: Seconds,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
}

fn unit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &EventsArgs) -> anyhow::Result<Exit> {
    let quiet = args.run.quiet();
    let inputs = recordings(&args.inputs, args.run.files.list(), quiet)?;
    ensure!(args.force || !args.output.exists(), mert_fs::FsError::OutputExists { path: args.output.clone() });
    let read = inputs.iter().map(|input| &input.path).chain([&args.model, &args.vocabulary]);
    if let Some(path) = read.into_iter().find(|path| mert_fs::is_same_file(path, &args.output)) {
        bail!("{} is an input; give another output", printable_path(path));
    }
    let opened = Stated::nothing().open(&args.model, &args.vocabulary, &args.run.model)?;
    let settings = AnalysisSettings {
        onsets: OnsetSettings { sensitivity: args.sensitivity, ..OnsetSettings::default() },
        segments: SegmentSettings { min_length: args.min_length.get(), ..SegmentSettings::default() },
        notes: args.notes,
        options: args.run.read.options()?,
    };
    let (recordings, failures) = while_embedding(|| events_of(&opened, &inputs, args, &settings))?;
    if STOP.load(Ordering::Relaxed) {
        say("interrupted: nothing is written");
        return Ok(Exit::Interrupted);
    }
    args.run.files.write_report(&failures)?;
    let events: Vec<_> = recordings.iter().flat_map(|recording| recording.events.iter().cloned()).collect();
    if events.is_empty() {
        report_left_out(&failures, inputs.len());
        bail!("no recording has an event: nothing is written");
    }
    let file = EventsFile {
        vocabulary: sha256_file(&args.vocabulary)?,
        model: opened.model_sha256.clone(),
        scales: FeatureScales::of(&events, QUANTILES.0, QUANTILES.1)?,
        recordings,
    };
    let mut text = Vec::new();
    file.write(&mut text)?;
    while_writing(|| replace_file(&args.output, |output| BufWriter::new(output).write_all(&text)))?;
    if !quiet {
        let notes: usize = events.iter().map(|event| event.notes.len()).sum();
        let without = events.iter().filter(|event| event.notes.is_empty()).count();
        let mut tokens: Vec<u32> = events.iter().map(|event| event.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        say(&format!(
            "{} of {} with {} of {} tokens and {}; {} without a note",
            counted(events.len(), "event"),
            counted(file.recordings.len(), "recording"),
            tokens.len(),
            opened.tokenizer.vocabulary().k(),
            counted(notes, "note"),
            counted(without, "event"),
        ));
    }
    Ok(report_left_out(&failures, inputs.len()))
}

/// The events of all inputs, in their order.
fn events_of(
    opened: &Opened,
    inputs: &[Input],
    args: &EventsArgs,
    settings: &AnalysisSettings,
) -> anyhow::Result<(Vec<Recording>, Vec<failures::Failure>)> {
    let mut encoded = Vec::new();
    let mut left_out = encode_inputs(opened, inputs, &args.run, &mut |index, tokens| {
        encoded.push((index, tokens.tokens));
        Ok(())
    })?;
    if STOP.load(Ordering::Relaxed) {
        return Ok((Vec::new(), left_out));
    }
    let grid = opened.encoder.grid();
    let analysed: Vec<(usize, Result<Analysed, _>)> = encoded
        .par_iter()
        .map(|(index, tokens)| (*index, analyse_file(&inputs[*index].path, tokens, grid, settings)))
        .collect();
    let mut recordings = Vec::with_capacity(analysed.len());
    for (index, analysed) in analysed {
        let input = &inputs[index];
        match analysed {
            Ok(Analysed { mut recording, notes }) => {
                if !args.run.quiet() {
                    notes.iter().for_each(|note| say(&file_line(input, note)));
                }
                let source = u32::try_from(recordings.len()).unwrap_or(u32::MAX);
                recording.events.iter_mut().for_each(|event| event.source = source);
                recordings.push(recording);
            }
            Err(error) => {
                let failure = error.into_failure(input);
                say(&file_line(input, &failure.message));
                left_out.push(failure);
            }
        }
    }
    Ok((recordings, left_out))
}
