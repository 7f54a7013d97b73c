//! `mert-tokens improvise`: a path through an oracle, as MIDI, sound or a list of steps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use mert_audio::{AudioFile, ReadOptions, Seconds, Source as _};
use mert_cli::embedding::interrupt::while_writing;
use mert_cli::terminal::{Exit, counted, print, say};
use mert_events::Event;
use mert_events::render::{MidiOptions, Segment, WavFormat, end_to_end, join_segments, midi_file, write_wav};
use mert_fs::{replace_file, sha256_file};
use mert_oracle::{Compiled, Memory, Navigator, OracleFile, Rule, Step};
use mert_table::{printable_path, unescape};
use serde_json::json;

use crate::analysis::samples_of;
use crate::oracle::open_oracle;
use crate::request_args::{NavigationArgs, key_range};

/// The most sound that is held at once, in seconds: 1.3 GB at 48 kHz.
const LONGEST: f64 = 2.0 * 3600.0;

/// The length of a cross-fade in seconds, if no other is given.
const CROSSFADE: f64 = 0.02;

/// Walks through an oracle under a request, and writes what it chooses: the notes of the events as MIDI (.mid), their own
/// sound joined with cross-fades (.wav), or each step with the rule that chose it (.jsonl).
///
/// The same oracle, options and seed give the same bytes. A condition that no event meets is dropped and named.
#[derive(Debug, Args)]
pub(crate) struct ImproviseArgs {
    /// An oracle of mert-tokens oracle
    oracle: PathBuf,
    /// A file to write: .mid, .wav or .jsonl; may be repeated [default: the steps on standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// The number of events [default: 64, or as many as --seconds takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "seconds")]
    events: Option<u32>,
    /// The length of the music
    #[arg(long, value_name = "TIME")]
    seconds: Option<Seconds>,
    #[command(flatten)]
    navigation: NavigationArgs,
    /// The folder of the recordings, if they are no longer where the oracle found them; for .wav
    #[arg(long, value_name = "FOLDER")]
    audio: Option<PathBuf>,
    /// The length of a cross-fade between events that do not follow each other, or 0 for none; for .wav [default: 20ms]
    #[arg(long, value_name = "TIME", value_parser = crossfade)]
    crossfade: Option<f64>,
    /// The samples of a .wav: 16 (bits) or float [default: 16]
    #[arg(long, value_enum)]
    samples: Option<Samples>,
    /// Semitones by which notes are moved; for .mid [default: 0]
    #[arg(long, value_name = "SEMITONES")]
    transpose: Option<i32>,
    /// The lowest and the highest key: notes outside are moved by octaves; for .mid [default: 0:127]
    #[arg(long, value_name = "LOW:HIGH", value_parser = key_range)]
    range: Option<(u8, u8)>,
    /// The tempo that a .mid states, in quarter notes per minute; the notes sound at the same times [default: 120]
    #[arg(long, value_name = "BPM")]
    tempo: Option<f64>,
    /// The MIDI channel of a .mid, 1 to 16 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    channel: Option<u8>,
    /// The program (instrument) of General MIDI, 1 to 128; for .mid
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=128))]
    program: Option<u8>,
    /// Replace outputs that exist
    #[arg(long)]
    force: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

/// The values of `--samples`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Samples {
    /// 16-bit integers
    #[value(name = "16")]
    Bits16,
    /// 32-bit floats
    Float,
}

/// The kinds of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Midi,
    Sound,
    Steps,
}

/// A time in seconds, which may be 0.
fn crossfade(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("ms").or_else(|| text.strip_suffix('s')).unwrap_or(text);
    match number.parse() {
        Ok(0.0) => Ok(0.0),
        _ => text.parse().map(Seconds::get),
    }
}

fn kind_of(path: &Path) -> anyhow::Result<Kind> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("mid" | "midi") => Ok(Kind::Midi),
        Some("wav") => Ok(Kind::Sound),
        Some("jsonl") => Ok(Kind::Steps),
        _ => bail!("{}: name the output .mid, .wav or .jsonl", printable_path(path)),
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &ImproviseArgs) -> anyhow::Result<Exit> {
    let kinds: Vec<Kind> = args.output.iter().map(|path| kind_of(path)).collect::<Result<_, _>>()?;
    for (index, path) in args.output.iter().enumerate() {
        let is_same = |other: &PathBuf| mert_fs::resolved(other) == mert_fs::resolved(path);
        ensure!(!args.output[..index].iter().any(is_same), "{} is named twice as an output", printable_path(path));
        ensure!(args.force || !path.exists(), mert_fs::FsError::OutputExists { path: path.clone() });
        ensure!(!mert_fs::is_same_file(path, &args.oracle), "the output is the oracle; give another output");
    }
    args.check_options(&kinds)?;
    let oracle = Arc::new(open_oracle(&args.oracle)?);
    let request = args.navigation.request()?.map(|request| request.compile(oracle.material()));
    if let Some(request) = &request {
        for remark in request.remarks().iter().filter(|_| !args.quiet) {
            say(&request.explain(remark));
        }
    }
    let events = oracle.material().events();
    if events.is_none() {
        let needs = kinds.iter().any(|&kind| kind != Kind::Steps);
        ensure!(
            !needs,
            "the oracle holds tokens or vectors without notes and sound: build it from `mert-tokens events`, or write .jsonl"
        );
        ensure!(args.seconds.is_none(), "--seconds is for an oracle of events: give --events");
    }
    let steps = args.walk(&oracle, request.as_ref())?;
    let chosen: Vec<&Event> = match events {
        Some(events) => steps.iter().filter_map(|step| events.get(step.event as usize)).collect(),
        None => Vec::new(),
    };
    let mut outputs: Vec<(&Path, Vec<u8>)> = Vec::with_capacity(kinds.len());
    for (path, kind) in args.output.iter().zip(&kinds) {
        let bytes = match kind {
            Kind::Midi => args.midi(&chosen)?,
            Kind::Sound => args.sound(&oracle, &chosen)?,
            Kind::Steps => step_lines(&steps, &oracle, request.as_ref())?.into_bytes(),
        };
        outputs.push((path, bytes));
    }
    while_writing(|| -> anyhow::Result<()> {
        for (path, bytes) in &outputs {
            replace_file(path, |output| output.write_all(bytes))?;
        }
        Ok(())
    })?;
    if outputs.is_empty() {
        print(&step_lines(&steps, &oracle, request.as_ref())?)?;
    }
    if !args.quiet {
        say(&summary(&steps, &chosen));
    }
    Ok(Exit::Success)
}

impl ImproviseArgs {
    /// Refuses options of outputs that are not asked for.
    fn check_options(&self, kinds: &[Kind]) -> anyhow::Result<()> {
        for (option, given, kind, name) in [
            ("--audio", self.audio.is_some(), Kind::Sound, ".wav"),
            ("--crossfade", self.crossfade.is_some(), Kind::Sound, ".wav"),
            ("--samples", self.samples.is_some(), Kind::Sound, ".wav"),
            ("--transpose", self.transpose.is_some(), Kind::Midi, ".mid"),
            ("--range", self.range.is_some(), Kind::Midi, ".mid"),
            ("--tempo", self.tempo.is_some(), Kind::Midi, ".mid"),
            ("--channel", self.channel.is_some(), Kind::Midi, ".mid"),
            ("--program", self.program.is_some(), Kind::Midi, ".mid"),
        ] {
            ensure!(
                !given || kinds.contains(&kind),
                "{option} is for a {name}: name one as the output, or leave it out"
            );
        }
        Ok(())
    }

    /// The steps of the path.
    fn walk(&self, oracle: &Arc<OracleFile>, request: Option<&Compiled>) -> anyhow::Result<Vec<Step>> {
        let mut navigator = Navigator::new(Memory::new(Arc::clone(oracle)), self.navigation.options())?;
        let Some(seconds) = self.seconds else {
            return Ok(navigator.walk(request, self.events.unwrap_or(64) as usize).collect());
        };
        let (mut steps, mut length) = (Vec::new(), 0.0);
        let events = oracle.material().events().unwrap_or_default();
        while length < seconds.get() {
            ensure!(
                steps.len() < 1_000_000,
                "a million events are shorter than --seconds: events have hardly any length"
            );
            let step = navigator.next(request);
            length += events.get(step.event as usize).map_or(0.0, |event| event.end - event.start);
            steps.push(step);
        }
        Ok(steps)
    }

    /// The notes of events, one after another.
    fn midi(&self, events: &[&Event]) -> anyhow::Result<Vec<u8>> {
        let default = MidiOptions::default();
        let options = MidiOptions {
            tempo: self.tempo.unwrap_or(default.tempo),
            transpose: self.transpose.unwrap_or(default.transpose),
            range: self.range.unwrap_or(default.range),
            channel: self.channel.map_or(default.channel, |channel| channel - 1),
            program: self.program.map(|program| program - 1),
        };
        let (bytes, report) = midi_file(&end_to_end(events.iter().copied()), &options)?;
        ensure!(
            report.notes > 0,
            "no event that was chosen has a note for a .mid, and nothing is written: leave the .mid out, or put a MIDI file beside \
             the recordings and find their events again"
        );
        if report.folded > 0 && !self.quiet {
            say(&format!("{} of {} notes were moved into the range by octaves", report.folded, report.notes));
        }
        Ok(bytes)
    }

    /// The sound of events, joined.
    fn sound(&self, oracle: &OracleFile, events: &[&Event]) -> anyhow::Result<Vec<u8>> {
        let mut used: BTreeMap<u32, f64> = BTreeMap::new();
        for event in events {
            let source = oracle.sources().get(event.source as usize);
            used.insert(event.source, source.and_then(|source| source.duration).unwrap_or(0.0));
        }
        let total: f64 = used.values().sum();
        ensure!(
            total <= LONGEST,
            "the {} recordings of the chosen events have {:.1} hours, more than the {:.0} that are held at once: take fewer \
             --events, or an oracle of fewer recordings",
            used.len(),
            total / 3600.0,
            LONGEST / 3600.0
        );
        let options = ReadOptions::default();
        let paths: BTreeMap<u32, PathBuf> =
            used.keys().map(|&source| Ok((source, self.recording(oracle, source)?))).collect::<anyhow::Result<_>>()?;
        // The highest rate, so that no recording loses anything.
        let rates = paths.values().map(|path| Ok(AudioFile::open(path, options)?.sample_rate()));
        let rate = rates.collect::<anyhow::Result<Vec<u32>>>()?.into_iter().max().unwrap_or(44_100);
        let mut recordings = BTreeMap::new();
        for (source, path) in paths {
            let samples = samples_of(&path, rate, options).with_context(|| printable_path(&path).to_string())?;
            recordings.insert(source, samples);
        }
        let segments = events.iter().map(|event| {
            let recording: &[f32] = recordings.get(&event.source).ok_or_else(|| anyhow!("a source is missing"))?;
            let at = |seconds: f64| ((seconds * f64::from(rate)).round() as usize).min(recording.len());
            Ok(Segment { recording, start: at(event.start), end: at(event.end) })
        });
        let segments: Vec<Segment<'_>> = segments.collect::<anyhow::Result<_>>()?;
        let segments: Vec<Segment<'_>> = segments.into_iter().filter(|segment| segment.start < segment.end).collect();
        let fade = (self.crossfade.unwrap_or(CROSSFADE) * f64::from(rate)).round() as usize;
        let rendered = join_segments(&segments, fade)?;
        if rendered.gain < 1.0 && !self.quiet {
            say(&format!(
                "the sound was lowered by {:.1} dB so that it does not clip",
                -20.0 * f64::from(rendered.gain).log10()
            ));
        }
        let format = match self.samples {
            None | Some(Samples::Bits16) => WavFormat::Int16,
            Some(Samples::Float) => WavFormat::Float32,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let clipped = write_wav(&mut bytes, &rendered.samples, rate, format)?;
        if clipped > 0 && !self.quiet {
            say(&format!("clipped: {}", counted(clipped, "sample")));
        }
        Ok(bytes.into_inner())
    }

    /// The file of a source, unchanged since its events were found.
    fn recording(&self, oracle: &OracleFile, source: u32) -> anyhow::Result<PathBuf> {
        let source =
            oracle.sources().get(source as usize).ok_or_else(|| anyhow!("the oracle has no source {source}"))?;
        let recorded = unescape(&source.name);
        let path = match &self.audio {
            Some(folder) => below(folder, &recorded),
            None => recorded,
        };
        ensure!(
            path.is_file(),
            "{} is not there: give the folder of the recordings with --audio FOLDER",
            printable_path(&path)
        );
        if let Some(expected) = &source.sha256 {
            let found = sha256_file(&path)?;
            ensure!(
                *expected == found,
                "{} has changed since its events were found (SHA-256 {found}, expected {expected}): run `mert-tokens events` again",
                printable_path(&path)
            );
        }
        Ok(path)
    }
}

/// The recording in `folder`: below it by as much of its path as is there.
fn below(folder: &Path, recorded: &Path) -> PathBuf {
    let names: Vec<_> = recorded.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let candidates = (0..names.len()).map(|skipped| folder.join(names[skipped..].iter().collect::<PathBuf>()));
    let name = recorded.file_name().map_or_else(|| folder.to_path_buf(), |name| folder.join(name));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or(name)
}

/// A line of JSON for each step, with all conditions that were dropped for it, also those of the whole memory.
fn step_lines(steps: &[Step], oracle: &OracleFile, request: Option<&Compiled>) -> anyhow::Result<String> {
    let mut text = String::new();
    for step in steps {
        let mut line = serde_json::to_value(step)?;
        if let Some(line) = line.as_object_mut() {
            line.insert("token".into(), json!(oracle.material().token(step.event as usize)));
            line.insert("rule_text".into(), json!(step.rule.to_string()));
            let explain = |request: &Compiled| {
                request.dropped().chain(&step.dropped).map(|dropped| request.explain(dropped)).collect::<Vec<_>>()
            };
            line.insert("dropped".into(), json!(request.map(explain).unwrap_or_default()));
        }
        text += &format!("{line}\n");
    }
    Ok(text)
}

/// The number of steps that each rule chose, as a sentence.
fn summary(steps: &[Step], chosen: &[&Event]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for step in steps {
        let rule = match step.rule {
            Rule::Start => "start",
            Rule::Continuation => "continuations",
            Rule::Jump { .. } => "jumps",
            Rule::Request => "by request alone",
            Rule::LastResort => "last resort",
        };
        *counts.entry(rule).or_default() += 1;
    }
    let rules: Vec<String> = counts.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
    let ends = steps.iter().filter(|step| step.end.is_some()).count();
    let broken = steps.iter().filter(|step| step.taboo_broken).count();
    let mut text = format!("{}: {}", counted(steps.len(), "event"), rules.join(", "));
    if !chosen.is_empty() {
        let seconds: f64 = chosen.iter().map(|event| event.end - event.start).sum();
        let notes: usize = chosen.iter().map(|event| event.notes.len()).sum();
        text += &format!("; {seconds:.1} s, {}", counted(notes, "note"));
    }
    if ends > 0 {
        text += &format!("; {} at the end of a recording", counted(ends, "time"));
    }
    if broken > 0 {
        text += &format!(
            "; {} an event was played again too soon, because every other choice was, too",
            counted(broken, "time")
        );
    }
    text
}
